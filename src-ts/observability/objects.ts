/** What a Kubernetes cluster's monitoring is told: where the metrics are, the rules, the dashboard, access logs and traces. */
import type { MeshFile } from '../manifests/mesh-file.ts';
import { clusterLabel } from '../manifests/operator.ts';
import { FILTERED_PORTS, labelsOf, type KubeObject } from '../manifests/storage.ts';
import { telemetryApi } from '../manifests/target.ts';
import { alerts, monitorName, RECORDINGS, type Alert } from './alerts.ts';
import { dashboard } from './dashboard.ts';

const MONITORING = 'monitoring.coreos.com/v1';
/** Name of the provider of access logs in Istio's MeshConfig, see docs/operations.md. */
const LOG_PROVIDER = 'tidb-mesh-access-log';

/** Groups of rules, as a rule file of Prometheus has them. */
export function ruleGroups(of: readonly Alert[]): object[] {
  return [
    { name: 'tidb-mesh-rates', rules: RECORDINGS },
    {
      name: 'tidb-mesh-alerts',
      rules: of.map(({ name, expr, for: duration, severity, summary, description }) => ({
        alert: name,
        expr,
        for: duration,
        labels: { severity },
        annotations: { summary, description },
      })),
    },
  ];
}

export function rulesObject({ storage, pluginConfig }: MeshFile): KubeObject {
  return {
    apiVersion: MONITORING,
    kind: 'PrometheusRule',
    metadata: { namespace: storage.namespace, name: 'tidb-mesh' },
    spec: { groups: ruleGroups(alerts({ ...storage, heldBytesPerVM: pluginConfig.limits?.heldBytesPerVM })) },
  };
}

/** One for each kind of pod that has the filter. Envoy shows its metrics at a port of its own, without mTLS. */
export function monitors(mesh: MeshFile): KubeObject[] {
  const { storage } = mesh;
  return FILTERED_PORTS.map(({ component }) => ({
    apiVersion: MONITORING,
    kind: 'PodMonitor',
    metadata: { namespace: storage.namespace, name: monitorName(component) },
    spec: {
      selector: { matchLabels: labelsOf(mesh, component) },
      podMetricsEndpoints: [{ port: 'http-envoy-prom', path: '/stats/prometheus', interval: '15s' }],
    },
  }));
}

/** Access logs with the tenant and the code of a refusal, and the tenant as a tag of spans. */
export function telemetry({ storage, operator, target }: MeshFile): KubeObject {
  return {
    apiVersion: telemetryApi(target),
    kind: 'Telemetry',
    metadata: { namespace: storage.namespace, name: 'tidb-mesh' },
    spec: {
      selector: { matchLabels: clusterLabel(operator, storage.cluster) },
      accessLogging: [{ providers: [{ name: LOG_PROVIDER }] }],
      tracing: [{ customTags: { tenant: { header: { name: 'x-tidb-mesh-tenant' } } } }],
    },
  };
}

/** Grafana's sidecar loads dashboards from ConfigMaps with this label. */
export function dashboardObject({ storage }: MeshFile): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      namespace: storage.namespace,
      name: 'tidb-mesh-dashboard',
      labels: { grafana_dashboard: '1' },
    },
    data: { 'tidb-mesh.json': `${JSON.stringify(dashboard(), null, 2)}\n` },
  };
}
