/** TidbClusters for TiDB Operator: one storage layer, and two clusters with TiDB only that use it. */
import { METRIC_LABELS } from '../observability/metrics.ts';
import type { MeshFile } from './mesh-file.ts';
import type { KubeObject } from './storage.ts';

export interface ExampleVersion {
  readonly folder: string;
  readonly tidb: string;
  /** The version of TiDB Operator that it is for. */
  readonly operator: string;
}

export const EXAMPLE_VERSIONS: readonly ExampleVersion[] = [
  { folder: 'v8.5', tidb: 'v8.5.4', operator: 'TiDB Operator 1.6' },
  { folder: 'v5.2.1', tidb: 'v5.2.1', operator: 'TiDB Operator 1.2' },
];

/** Starts the sidecar before TiDB, which needs PD, and stops it after TiDB. */
const SIDECAR_FIRST = { holdApplicationUntilProxyStarts: true };
/** Makes the labels of the filter's metrics labels of Prometheus, see docs/metrics.md. */
const WITH_LABELS = { ...SIDECAR_FIRST, extraStatTags: METRIC_LABELS };
const INJECTED = { 'istio-injection': 'enabled' };

function namespaceOf(name: string): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: INJECTED } };
}

function serviceAccount(namespace: string, name: string): KubeObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name } };
}

function tidbCluster(namespace: string, name: string, spec: object): KubeObject {
  return { apiVersion: 'pingcap.com/v1alpha1', kind: 'TidbCluster', metadata: { namespace, name }, spec };
}

function common({ tidb }: ExampleVersion, account: string, sidecar: object): object {
  return {
    version: tidb,
    timezone: 'UTC',
    configUpdateStrategy: 'RollingUpdate',
    pvReclaimPolicy: 'Retain',
    enableDynamicConfiguration: true,
    serviceAccount: account,
    annotations: { 'proxy.istio.io/config': JSON.stringify(sidecar) },
  };
}

/** PD and TiKV, and the one TiDB that collects garbage for all: a system principal, no tenant. */
export function storageLayer({ storage }: MeshFile, version: ExampleVersion): KubeObject[] {
  const { namespace, cluster } = storage;
  return [
    namespaceOf(namespace),
    serviceAccount(namespace, cluster),
    tidbCluster(namespace, cluster, {
      ...common(version, cluster, WITH_LABELS),
      pd: { baseImage: 'pingcap/pd', replicas: 3, requests: { storage: '10Gi' }, config: {} },
      tikv: { baseImage: 'pingcap/tikv', replicas: 3, requests: { storage: '100Gi' }, config: {} },
      tidb: { baseImage: 'pingcap/tidb', replicas: 1, service: { type: 'ClusterIP' }, config: {} },
    }),
  ];
}

/** A tenant: TiDB only, in its own namespace. The namespace's name is the tenant's. */
export function tenantCluster({ storage }: MeshFile, tenant: string, version: ExampleVersion): KubeObject[] {
  const account = `${tenant}-tidb`;
  return [
    namespaceOf(tenant),
    serviceAccount(tenant, account),
    tidbCluster(tenant, tenant, {
      ...common(version, account, SIDECAR_FIRST),
      cluster: { name: storage.cluster, namespace: storage.namespace },
      tidb: {
        baseImage: 'pingcap/tidb',
        replicas: 2,
        labels: { 'tidb-mesh.io/tenant': tenant },
        service: { type: 'ClusterIP' },
        config: {},
      },
    }),
  ];
}
