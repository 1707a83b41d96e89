/** Prometheus' rules: what is recorded, and what alerts. */

export interface Alert {
  readonly name: string;
  readonly expr: string;
  /** How long it must hold before somebody is told, as Prometheus writes it. */
  readonly for: string;
  readonly severity: 'warning' | 'critical';
  /** One line, with the labels of the series in `{{ }}`. */
  readonly summary: string;
  /** What it means, and what to do. */
  readonly description: string;
}

export interface Recording {
  readonly record: string;
  readonly expr: string;
}

/** Rates that the dashboard and people ask for again and again. */
export const RECORDINGS: readonly Recording[] = [
  {
    record: 'tenant:tidbmesh_requests:rate1m',
    expr: 'sum by (tenant, kind) (rate(tidbmesh_tenant_requests_total[1m]))',
  },
  ...['request', 'response'].map((way) => ({
    record: `tenant:tidbmesh_${way}_bytes:rate1m`,
    expr: `sum by (tenant) (rate(tidbmesh_tenant_${way}_bytes_total[1m]))`,
  })),
  {
    record: 'tenant:tidbmesh_refused:rate1m',
    expr: 'sum by (tenant, code) (rate(tidbmesh_tenant_refused_total[1m]))',
  },
];

/** The bytes that one VM may hold where the pluginConfig does not say (`limits.heldBytesPerVM`). */
const HELD_BYTES_PER_VM = 256 * 1024 * 1024;

/** The storage layer that the alerts watch. */
export interface Watched {
  readonly namespace: string;
  readonly cluster: string;
  /** The limit in the pluginConfig, if it has one. */
  readonly heldBytesPerVM?: number | undefined;
}

/** The name of the PodMonitor of a component, by which Prometheus calls its series: `job` is namespace and name. */
export const monitorName = (component: string): string => `tidb-mesh-${component}`;

export function alerts({ namespace, cluster, heldBytesPerVM = HELD_BYTES_PER_VM }: Watched): Alert[] {
  const live = (component: string): string =>
    `envoy_server_live{job="${namespace}/${monitorName(component)}"}`;
  // TiDB Operator 1 names them by StatefulSets, 2 by PodName in pkg/apiutil/core/v1alpha1: group, component, suffix.
  const pods = `namespace="${namespace}",pod=~"${cluster}-(pd|tikv)-.+"`;
  const sidecars = ['container', 'init_container']
    .map((kind) => `kube_pod_${kind}_info{namespace="${namespace}",container="istio-proxy"}`)
    .join(' or ');
  return [
    {
      name: 'TidbMeshFilterNotLoaded',
      // Envoy answers, and has no metric of the filter. Other sidecars of the mesh have none either.
      expr: `envoy_server_live{job=~"${namespace}/${monitorName('(pd|tikv)')}"} == 1 unless on (instance) tidbmesh_streams_total`,
      for: '2m',
      severity: 'critical',
      summary: 'The filter does not run in {{ $labels.instance }}.',
      description:
        'If its log names a pluginConfig that is refused or an image that cannot be fetched, no tenant is served there. If the listener has no filter at all, every caller with a certificate reaches the store: apply the manifests at once.',
    },
    {
      name: 'TidbMeshSidecarMissing',
      expr: `kube_pod_status_phase{${pods},phase="Running"} == 1 unless on (namespace, pod) (${sidecars})`,
      for: '2m',
      severity: 'critical',
      summary: '{{ $labels.pod }} runs without a sidecar.',
      description:
        'Nothing filters its ports, and nothing asks callers for a certificate: every pod of the Kubernetes cluster reaches the store. See that the namespace has the label istio-injection=enabled, and delete the pod, so that it starts anew with a sidecar.',
    },
    {
      name: 'TidbMeshNotScraped',
      // Where a sidecar is not injected, there is no series at all.
      expr: `absent(${live('pd')}) or absent(${live('tikv')})`,
      for: '5m',
      severity: 'critical',
      summary: 'Prometheus gets no metrics of {{ $labels.job }}.',
      description:
        'No other alert about these Envoys can fire. Either Prometheus does not scrape them, or their pods run without a sidecar: then every pod reaches the store.',
    },
    {
      name: 'TidbMeshConfigurationRefused',
      expr: 'increase({__name__=~"envoy_extension_config_discovery_http_filter_.+_config_fail"}[10m]) > 0',
      for: '0s',
      severity: 'critical',
      summary: 'Envoy refused a configuration in {{ $labels.instance }}.',
      description:
        'The configuration before it goes on. `tidb-mesh validate` says what is wrong with the new one; Envoy’s log has the same line.',
    },
    {
      name: 'TidbMeshVmFailed',
      expr: 'increase(envoy_wasm_tidb_mesh_vm_reload[10m]) > 0 or increase(envoy_wasm_tidb_mesh_vm_reload_failure[10m]) > 0',
      for: '0s',
      severity: 'critical',
      summary: 'A VM of the filter failed in {{ $labels.instance }}.',
      description:
        'Streams of that worker were ended. Nothing passed unread. Report it with Envoy’s log: the filter should never fail.',
    },
    {
      name: 'TidbMeshRefusals',
      expr: 'sum by (code) (rate(tidbmesh_refused[5m])) > 0.1',
      for: '5m',
      severity: 'warning',
      summary: 'Requests are refused with {{ $labels.code }}.',
      description: 'docs/refusals.md says what the code means. Envoy’s log names the tenant and the method.',
    },
    {
      name: 'TidbMeshTenantAtLimit',
      expr: 'sum by (tenant, code) (increase(tidbmesh_tenant_refused_total{code=~"HELD_TOO_MUCH|TOO_LONG|TOO_MANY_(STREAMS|WATCHES|ETCD_KEYS|LEASES|GROUPS)|OVER_RATE"}[5m])) > 0 or sum by (tenant, limit) (increase(tidbmesh_tenant_delayed_total[5m])) > 0',
      for: '2m',
      severity: 'warning',
      summary:
        '{{ $labels.tenant }} is at a limit: {{ if $labels.code }}refused with {{ $labels.code }}{{ else }}delayed by {{ $labels.limit }}{{ end }}.',
      description:
        'Raise the limit in the mesh file if the tenant needs more, or find the client that opens too many streams or sends too much.',
    },
    {
      name: 'TidbMeshDrainDoesNotEnd',
      expr: 'tidbmesh_streams_draining > 0',
      for: '5m',
      severity: 'warning',
      summary: '{{ $value }} streams in {{ $labels.instance }} wait for their end.',
      description:
        'Their callers are others under the new configuration. They end when nothing is outstanding, or after limits.drainTimeoutSeconds.',
    },
    {
      name: 'TidbMeshHeldBytes',
      expr: `tidbmesh_held_bytes > ${Math.floor(0.8 * heldBytesPerVM)}`,
      for: '5m',
      severity: 'warning',
      summary: '{{ $labels.instance }} holds {{ $value | humanize1024 }}B of messages.',
      description:
        'Near limits.heldBytesPerVM streams are refused. Look for slow senders and very large messages.',
    },
    {
      name: 'TidbMeshRegionLookupsFail',
      expr: 'increase(tidbmesh_region_lookups_failed_total[5m]) > 0',
      for: '2m',
      severity: 'warning',
      summary: '{{ $labels.instance }} cannot ask PD whose a region is.',
      description:
        'Requests on whole regions are turned away. Check pd.cluster in the pluginConfig, and whether PD answers.',
    },
    {
      name: 'TidbMeshGcHeldBack',
      // The upper bits of PD's timestamps are milliseconds since 1970.
      expr: 'time() - max(pd_gc_gc_safepoint) / 2 ^ 18 / 1000 > 6 * 3600',
      for: '10m',
      severity: 'warning',
      summary: 'Garbage collection is {{ $value | humanizeDuration }} behind.',
      description:
        'Old versions pile up for all tenants. `tidb-mesh doctor` names who holds it back, or says that no TiDB of the storage layer leads it.',
    },
  ];
}
