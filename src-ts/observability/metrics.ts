/**
 * Every metric that the filter keeps. `npm run docs` writes docs/metrics.md from it, and a test compares it with the names in assembly/.
 */

export interface MetricRow {
  /** As Prometheus sees it. */
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  /** Labels beside those of Envoy. */
  readonly labels?: readonly string[];
  readonly means: string;
  /** What a person does who sees it rise. */
  readonly remedy: string;
}

export const METRICS: readonly MetricRow[] = [
  {
    name: 'tidbmesh_streams_total',
    type: 'counter',
    means: 'HTTP streams that reached the filter, of all callers.',
    remedy: 'If it stands still while clients call, their calls pass the filter by: check the listeners.',
  },
  {
    name: 'tidbmesh_streams_active',
    type: 'gauge',
    means: 'Streams that are open now.',
    remedy:
      'Each TiDB keeps a few streams open to each store. Growth without new TiDBs is a client that leaks streams.',
  },
  {
    name: 'tidbmesh_refused_total',
    type: 'counter',
    means: 'Refused streams and requests, of all causes.',
    remedy:
      'Look at `tidbmesh_refused` for the code, and at [refusals](refusals.md) for what to do about it.',
  },
  {
    name: 'tidbmesh_refused',
    type: 'counter',
    labels: ['code'],
    means: 'The same by code. A code has a series from its first refusal on.',
    remedy: 'Find the code in [refusals](refusals.md). Envoy’s log names the tenant and the method.',
  },
  {
    name: 'tidbmesh_refused_late_total',
    type: 'counter',
    means:
      'Refusals that ended a stream after its answer had begun. The caller sees a reset, without the reason.',
    remedy: 'The reason is in Envoy’s log and in the access log’s response code details.',
  },
  {
    name: 'tidbmesh_identity_conflicts_total',
    type: 'counter',
    means:
      'Callers whose certificate and metadata name different tenants, or whose sources of metadata disagree.',
    remedy: 'A wrong label, or an attack. Envoy’s log has the callers.',
  },
  {
    name: 'tidbmesh_would_be_refused_total',
    type: 'counter',
    means: 'Operations that a dry run let through.',
    remedy: 'Wait until it stands still, or change the policy. Then end the dry run.',
  },
  {
    name: 'tidbmesh_region_lookups_total',
    type: 'counter',
    means: 'Questions to PD about whose a region is.',
    remedy:
      'It rises after a start and when regions split. A steady high rate means that regions are not remembered.',
  },
  {
    name: 'tidbmesh_region_lookups_failed_total',
    type: 'counter',
    means: 'Such questions that Envoy could not send.',
    remedy: 'Check `pd.cluster` in the pluginConfig: it must name a cluster that Envoy has.',
  },
  {
    name: 'tidbmesh_holdings_lookups_total',
    type: 'counter',
    means: 'Questions to PD about how much it keeps of a tenant.',
    remedy: 'There are none without limits of keys, leases or groups.',
  },
  {
    name: 'tidbmesh_holdings_lookups_failed_total',
    type: 'counter',
    means: 'Such questions without a good answer. What was added meanwhile counts until there is one.',
    remedy:
      'Check `pd.cluster` in the pluginConfig, and that PD’s `enable-grpc-gateway` is true: tenants with such limits are refused after a while.',
  },
  {
    name: 'tidbmesh_time_lookups_failed_total',
    type: 'counter',
    means: 'Questions to PD about its clock without a good answer. The clock that was known runs on.',
    remedy:
      'Check `pd.cluster` in the pluginConfig, and that PD’s `enable-grpc-gateway` is true: before the first good answer, timestamps may lie 600 seconds ahead.',
  },
  {
    name: 'tidbmesh_region_acts_turned_away_total',
    type: 'counter',
    means:
      'Requests on a whole region that went on without an owner, so that the store or PD turns them away.',
    remedy: 'Statements that split regions wait for it. Check `tidbmesh_region_lookups_failed_total` and PD.',
  },
  {
    name: 'tidbmesh_streams_drained_total',
    type: 'counter',
    means:
      'Streams that were ended because their caller is another one, or none, under the new configuration.',
    remedy: 'Expected after a change of tenants or rules.',
  },
  {
    name: 'tidbmesh_streams_draining',
    type: 'gauge',
    means: 'Streams that are to end for this reason, and are not at rest yet.',
    remedy:
      'If it stays above 0 for minutes, `limits.drainTimeoutSeconds` is long, or a client sends without a pause.',
  },
  {
    name: 'tidbmesh_held_bytes',
    type: 'gauge',
    means: 'Bytes of messages that have not arrived whole, and of notes about open requests.',
    remedy:
      'Near `limits.heldBytesPerVM` streams are refused: look for slow senders and very large messages.',
  },
  {
    name: 'tidbmesh_vm_memory_bytes',
    type: 'gauge',
    means: 'Memory of all VMs. Envoy has one for each worker. It does not shrink.',
    remedy: 'If it grows without end, report it.',
  },
  {
    name: 'tidbmesh_build_info',
    type: 'gauge',
    labels: ['version'],
    means: '1 for each version that runs in this Envoy, 0 for one that has gone.',
    remedy: 'After an upgrade, look for proxies that still run the former version.',
  },
  {
    name: 'tidbmesh_config_hash',
    type: 'gauge',
    labels: ['vm'],
    means:
      'A hash of the configuration that a VM runs. Envoy has a VM for each worker. VMs with one value have the same text. A VM that is made anew after a failure takes a new number, and the series of the former one stays until Envoy restarts.',
    remedy:
      'After a change, look for Envoys and VMs that still have the former value. `GET /tidb-mesh/status` has the same hash ([status](status.md)).',
  },
  {
    name: 'tidbmesh_config_loaded_timestamp_seconds',
    type: 'gauge',
    labels: ['vm'],
    means: 'When the VM loaded that configuration, in seconds since 1970.',
    remedy: 'An Envoy whose time is older than the last change has not got it, or has refused it.',
  },
  {
    name: 'tidbmesh_tenant_requests_total',
    type: 'counter',
    labels: ['tenant', 'kind'],
    means:
      'Requests that went on, and refused requests of a batch. [Surface](surface.md) gives each method its kind: `read`, `scan`, `coprocessor`, `write`, `finish` (commits and locks), `find` (timestamps and places), `pd`, `etcd` or `other`.',
    remedy: 'It says who is loud, and with what. Compare the rates of the tenants.',
  },
  {
    name: 'tidbmesh_tenant_refused_total',
    type: 'counter',
    labels: ['tenant', 'code'],
    means: 'Refusals, and streams that ended with a code.',
    remedy: 'Find the code in [refusals](refusals.md).',
  },
  {
    name: 'tidbmesh_tenant_delayed_total',
    type: 'counter',
    labels: ['tenant', 'limit'],
    means:
      'Requests over a rate of the tenant. `limit` is the one that delayed them: `requestsPerSecond`, `bytesPerSecond` or `pdRequestsPerSecond`. A request of a batch counts each time it is sent again.',
    remedy: 'The tenant is at its limit, see [limits](limits.md#rates). Raise it if the tenant needs more.',
  },
  {
    name: 'tidbmesh_tenant_delayed_milliseconds_total',
    type: 'counter',
    labels: ['tenant'],
    means:
      'Milliseconds in which at least one request of the tenant was delayed by a rate, in steps of 100 and of each worker. Its rate, divided by a thousand, says for which part of the time the tenant is held back.',
    remedy: 'Near 1,000 a second the tenant always wants more than its limit.',
  },
  {
    name: 'tidbmesh_tenant_etcd_watches',
    type: 'gauge',
    labels: ['tenant'],
    means: 'Watches of PD’s etcd that are open now.',
    remedy: 'A TiDB keeps some dozens. Growth without new TiDBs is a client that leaks watches.',
  },
  {
    name: 'tidbmesh_tenant_holdings',
    type: 'gauge',
    labels: ['tenant', 'limit'],
    means:
      'What PD keeps of the tenant, by the limit: `etcdKeys`, `etcdLeases`, `resourceGroups` or `pdRecords`. PD counts it, and only where there is a limit, at least every ten seconds while the tenant has streams.',
    remedy: 'Near the limit, further ones are refused, see [limits](limits.md#counts).',
  },
  {
    name: 'tidbmesh_tenant_errors_total',
    type: 'counter',
    labels: ['tenant', 'class'],
    means:
      'Errors that the stores answered the tenant. `region`: the region is elsewhere, is another one by now, or cannot answer yet. `busy`: the store is overloaded, or its disk is full. `lock`: another transaction has locked a key. `conflict`: write conflicts, deadlocks, and what else makes a transaction begin again. `other`: the rest, such as a key that is there already.',
    remedy:
      'TiDB repeats most of them by itself, and its statements take longer. [Operations](operations.md) says what each class means for a tenant that is slow.',
  },
  {
    name: 'tidbmesh_tenant_request_bytes_total',
    type: 'counter',
    labels: ['tenant'],
    means: 'Bytes of bodies that came from the tenant.',
    remedy: 'A high rate is a bulk load, or a client in a loop.',
  },
  {
    name: 'tidbmesh_tenant_response_bytes_total',
    type: 'counter',
    labels: ['tenant'],
    means: 'Bytes of bodies that the storage layer answered, before they are rewritten.',
    remedy: 'A high rate is a scan of large tables, or a dump.',
  },
  {
    name: 'tidbmesh_tenant_rewrites_total',
    type: 'counter',
    labels: ['tenant'],
    means: 'Keys that were mapped, in requests and answers, and other fields that were changed with them.',
    remedy: "It is proportional to the filter's work for the tenant.",
  },
  {
    name: 'tidbmesh_tenant_streams_total',
    type: 'counter',
    labels: ['tenant'],
    means: 'Streams that the tenant has opened. A unary call is a stream.',
    remedy: 'A high rate is a client that connects again and again.',
  },
  {
    name: 'tidbmesh_tenant_streams_active',
    type: 'gauge',
    labels: ['tenant'],
    means: 'Streams that are open now.',
    remedy: 'Growth without new TiDBs is a client that leaks streams.',
  },
  {
    name: 'tidbmesh_tenant_request_milliseconds_bucket',
    type: 'counter',
    labels: ['tenant', 'le'],
    means:
      'Requests that took `le` milliseconds or less, with `observability.latency`: a histogram of Prometheus. From the message that brings a request to the one that brings its answer, in batches; unary calls as a whole. Streams of other methods are not measured.',
    remedy:
      '`histogram_quantile(0.99, sum by (tenant, le) (rate(tidbmesh_tenant_request_milliseconds_bucket[5m])))` is the time that 99 of 100 requests keep. Where it rises for all tenants, look at the stores. Where it rises for one, look at its requests by kind and its errors.',
  },
  {
    name: 'tidbmesh_tenant_request_milliseconds_count',
    type: 'counter',
    labels: ['tenant'],
    means: 'Requests that were measured: the same as the bucket `+Inf`.',
    remedy:
      'A request counts when its answer comes. `tidbmesh_tenant_requests_total` counts it when it goes on.',
  },
  {
    name: 'tidbmesh_tenant_request_milliseconds_sum',
    type: 'counter',
    labels: ['tenant'],
    means: 'Milliseconds that these requests took together.',
    remedy: 'Divided by the count, it is the mean.',
  },
  {
    name: 'tidbmesh_tenant_held_bytes',
    type: 'gauge',
    labels: ['tenant'],
    means: 'Bytes of messages that have not arrived whole, and of notes about open requests.',
    remedy: 'Near `limits.heldBytesPerTenant` the tenant is refused with HELD_TOO_MUCH.',
  },
  {
    name: 'tidbmesh_tenant_oldest_transaction_seconds',
    type: 'gauge',
    labels: ['tenant'],
    means:
      'Age of the oldest transaction, as the tenant’s TiDBs tell PD twice a minute. The one that told last sets it: take the highest value of three minutes. 0 after two minutes without.',
    remedy:
      'It holds garbage collection back for all tenants, up to `limits.maxHoldBackSeconds`. Ask the tenant to end it.',
  },
];

/** The labels of all metrics. */
export const METRIC_LABELS: readonly string[] = [...new Set(METRICS.flatMap(({ labels }) => labels ?? []))];
