/**
 * Envoy's configuration in front of one storage layer, without Istio: a listener for each PD and each TiKV, for mTLS only. The test
 * stack uses it too, and adds what is for tests only (test/harness/stack/envoy-config.ts).
 */
import { HTTP_MANAGER, ROUTER, UPSTREAM_IDLE, UPSTREAM_KEEPALIVE } from '../manifests/filters.ts';
import { METRIC_LABELS } from '../observability/metrics.ts';
import { handOverPrefix, storageHeader } from '../storages/route.ts';
import type { Address } from './address.ts';
import { STDOUT, type Member, type ProxyLimits } from './mesh.ts';
import { PD_HTTP_CLUSTER } from './plugin-config.ts';

export const API = 'type.googleapis.com/envoy.extensions';
const LOOPBACK = '127.0.0.1';
const MIB = 1024 * 1024;
/** HTTP/2 flow-control windows in bytes: large, since one stream of BatchCommands carries all of a TiDB's traffic. */
const STREAM_WINDOW = 16 * MIB;
const CONNECTION_WINDOW = 64 * MIB;
/** Bytes that Envoy buffers for a connection that reads slowly; Envoy's own default, written down. */
const CONNECTION_BUFFER = MIB;
/** Tenants' limits are the filter's. Envoy's circuit breakers would hit all tenants at once. */
const UNLIMITED = 1_000_000;
/** Streams that Envoy opens on one connection to a server. */
const UPSTREAM_STREAMS = 100_000;
/** Who has shown no certificate by then is cut off: anybody can hold connections without one. Envoy's own default is no limit. */
const HANDSHAKE = '10s';
/** Shares of the heap from which Envoy gives memory back, and turns new requests away. */
const SHRINK_AT = 0.9;
const STOP_AT = 0.98;

export interface Proxy {
  /** The storage's name, in metrics, the access log and a header. */
  readonly storage?: string;
  readonly pd: readonly Member[];
  readonly tikv: readonly Member[];
  /** The address that Envoy listens on. */
  readonly listen: string;
  /** The port of the admin interface. */
  readonly admin: number;
  readonly accessLog: string;
  readonly limits: ProxyLimits;
  /** Envoy's TLS contexts, and the clusters that deliver their secrets. */
  readonly tls: Tls;
  /** Storage layers that serve tenants of this one by now. */
  readonly others?: readonly Other[];
  /** HTTP filters in front of the router. */
  readonly filters: readonly HttpFilter[];
}

/** Another storage layer, as the Envoy of this one calls it: by the listeners of its Envoy, whose rules let this one act for tenants. */
export interface Other {
  readonly name: string;
  /** The addresses that its PDs advertise. */
  readonly pd: readonly Address[];
  readonly tls: Tls;
}

export interface HttpFilter {
  readonly name: string;
  readonly [field: string]: unknown;
}

export interface Tls {
  /** For clients, who must show a certificate. */
  readonly downstream: object;
  /** For a server, whose certificate must name its host. */
  readonly upstream: (server: Address) => object;
  readonly clusters: readonly Cluster[];
}

export interface Cluster {
  readonly name: string;
  readonly [field: string]: unknown;
}

export interface FilterChain {
  readonly name: string;
  readonly transport_socket?: object;
  readonly filters: readonly { readonly name: string; readonly typed_config: HttpManager }[];
  readonly [field: string]: unknown;
}

export interface HttpManager {
  readonly stat_prefix: string;
  readonly access_log: readonly object[];
  readonly http_filters: readonly HttpFilter[];
  readonly [field: string]: unknown;
}

export interface Listener {
  readonly name: string;
  readonly filter_chains: readonly FilterChain[];
  readonly [field: string]: unknown;
}

export interface Bootstrap {
  readonly static_resources: {
    readonly listeners: readonly Listener[];
    readonly clusters: readonly Cluster[];
  };
  readonly [field: string]: unknown;
}

export function bootstrap(proxy: Proxy): Bootstrap {
  const { pd, tikv, limits, tls, others = [] } = proxy;
  const header = proxy.storage === undefined ? {} : storageHeader(proxy.storage);
  return {
    node: { id: proxy.storage ?? 'storage', cluster: 'tidb-mesh' },
    admin: { address: socket(LOOPBACK, proxy.admin) },
    stats_config: { stats_tags: statsTags(proxy.storage) },
    overload_manager: overload(limits),
    static_resources: {
      listeners: [
        ...pd.map((member, i) =>
          listener(`pd_${i}`, member, proxy, [
            ...others.flatMap(routesTo),
            ...pdRoutes(i).map((route) => ({ ...route, ...header })),
          ]),
        ),
        ...tikv.map((member, i) => listener(`tikv_${i}`, member, proxy, [{ ...to(`tikv_${i}`), ...header }])),
      ],
      clusters: [
        { ...cluster(PD_HTTP_CLUSTER, pd, 'http', tls), ...(pd.length > 1 ? AVOID_UNREACHABLE : {}) },
        ...pd.flatMap((member, i) => [failover(i, pd, tls), cluster(`pd_${i}_http`, [member], 'http', tls)]),
        ...tikv.map((member, i) => cluster(`tikv_${i}`, [member], 'grpc', tls)),
        ...others.flatMap(clustersTo),
        ...tls.clusters,
      ],
    },
  };
}

/** Makes labels of Prometheus of the filter's metrics, see docs/metrics.md. */
function statsTags(storage: string | undefined): object[] {
  return [
    ...METRIC_LABELS.map((label) => ({ tag_name: label, regex: `(${label}=\\.=(.*?);\\.;)` })),
    ...(storage === undefined ? [] : [{ tag_name: 'storage', fixed_value: storage }]),
  ];
}

function overload({ heapBytes, connections }: ProxyLimits): object {
  const heap = 'envoy.resource_monitors.fixed_heap';
  const type = `${API}.resource_monitors`;
  const above = (value: number): object[] => [{ name: heap, threshold: { value } }];
  return {
    refresh_interval: '0.25s',
    resource_monitors: [
      {
        name: heap,
        typed_config: {
          '@type': `${type}.fixed_heap.v3.FixedHeapConfig`,
          max_heap_size_bytes: heapBytes,
        },
      },
      {
        name: 'envoy.resource_monitors.global_downstream_max_connections',
        typed_config: {
          '@type': `${type}.downstream_connections.v3.DownstreamConnectionsConfig`,
          max_active_downstream_connections: connections,
        },
      },
    ],
    actions: [
      { name: 'envoy.overload_actions.shrink_heap', triggers: above(SHRINK_AT) },
      { name: 'envoy.overload_actions.stop_accepting_requests', triggers: above(STOP_AT) },
    ],
  };
}

const IS_GRPC = { headers: [{ name: 'content-type', string_match: { prefix: 'application/grpc' } }] };

/** PD's HTTP API speaks HTTP/1.1 only: over HTTP/2 it answers 415. gRPC is told from it by its content type. */
function pdRoutes(i: number): object[] {
  return [to(`pd_${i}_grpc`, IS_GRPC), to(`pd_${i}_http`)];
}

/**
 * What the filter hands over to another storage layer. It writes these paths, and lets no tenant send one (assembly/streams/hand-over.ts).
 * Where the routes are missing, PD refuses the path.
 */
function routesTo({ name }: Other): object[] {
  const prefix = handOverPrefix(name);
  const over = (kind: string, match: object): object => ({
    match: { prefix, ...match },
    route: { cluster: `storage_${name}_${kind}`, timeout: '0s', prefix_rewrite: '/' },
    ...storageHeader(name),
  });
  return [over('grpc', IS_GRPC), over('http', {})];
}

function clustersTo({ name, pd, tls }: Other): Cluster[] {
  const members = pd.map((address) => ({ advertise: address, server: address }));
  return [
    { ...cluster(`storage_${name}_grpc`, members, 'pd', tls), ...AVOID_UNREACHABLE },
    { ...cluster(`storage_${name}_http`, members, 'http', tls), ...AVOID_UNREACHABLE },
  ];
}

/** No time limit: streams live as long as their client. */
function to(name: string, match: object = {}): object {
  return { match: { prefix: '/', ...match }, route: { cluster: name, timeout: '0s' } };
}

function listener(name: string, { advertise }: Member, proxy: Proxy, routes: readonly object[]): Listener {
  return {
    name,
    address: socket(proxy.listen, advertise.port),
    per_connection_buffer_limit_bytes: CONNECTION_BUFFER,
    socket_options: KEEP_ALIVE,
    filter_chains: [
      {
        name,
        transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: proxy.tls.downstream },
        transport_socket_connect_timeout: HANDSHAKE,
        filters: [httpManager(name, proxy, routes)],
      },
    ],
  };
}

const SOL_SOCKET = 1;
const IPPROTO_TCP = 6;
/** Ends connections of clients whose machine is gone: after a minute of silence, and four questions 15 seconds apart. Numbers of Linux. */
const KEEP_ALIVE = [
  [SOL_SOCKET, 9, 1],
  [IPPROTO_TCP, 4, 60],
  [IPPROTO_TCP, 5, 15],
  [IPPROTO_TCP, 6, 4],
].map(([level, name, value]) => ({ level, name, int_value: value, state: 'STATE_PREBIND' }));

function httpManager(
  name: string,
  { storage, accessLog: path, limits, filters }: Proxy,
  routes: readonly object[],
): { name: string; typed_config: HttpManager } {
  return {
    name: HTTP_MANAGER,
    typed_config: {
      '@type': `${API}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: name,
      codec_type: 'AUTO',
      http2_protocol_options: http2(limits.streamsPerConnection),
      // Streams of BatchCommands, TSO and etcd watches live as long as their client.
      stream_idle_timeout: '0s',
      common_http_protocol_options: { idle_timeout: '0s' },
      generate_request_id: false,
      access_log: [accessLog(name, storage, path)],
      route_config: { name, virtual_hosts: [{ name, domains: ['*'], routes }] },
      http_filters: [
        ...filters,
        {
          name: ROUTER,
          typed_config: { '@type': `${API}.filters.http.router.v3.Router`, suppress_envoy_headers: true },
        },
      ],
    },
  };
}

/** One JSON object a line; `listener` tells which PD or TiKV was called. */
function accessLog(listener: string, storage: string | undefined, path: string): object {
  const isStdout = path === STDOUT;
  const type = isStdout ? 'stream.v3.StdoutAccessLog' : 'file.v3.FileAccessLog';
  return {
    name: `envoy.access_loggers.${isStdout ? 'stdout' : 'file'}`,
    typed_config: {
      '@type': `${API}.access_loggers.${type}`,
      ...(isStdout ? {} : { path }),
      log_format: {
        json_format: {
          start: '%START_TIME%',
          ...(storage === undefined ? {} : { storage }),
          listener,
          principal: '%DOWNSTREAM_PEER_URI_SAN%',
          tenant: '%FILTER_STATE(wasm.tidb_mesh_tenant:PLAIN)%',
          protocol: '%PROTOCOL%',
          method: '%REQ(:METHOD)%',
          path: '%REQ(:PATH)%',
          contentType: '%REQ(CONTENT-TYPE)%',
          status: '%RESPONSE_CODE%',
          grpcStatus: '%GRPC_STATUS(NUMBER)%',
          details: '%RESPONSE_CODE_DETAILS%',
          refusal: '%FILTER_STATE(wasm.tidb_mesh_refusal:PLAIN)%',
          flags: '%RESPONSE_FLAGS%',
          cluster: '%UPSTREAM_CLUSTER%',
          received: '%BYTES_RECEIVED%',
          sent: '%BYTES_SENT%',
          milliseconds: '%DURATION%',
        },
      },
    },
  };
}

/** The filter asks any PD. One that cannot be reached is left out for a while. */
const AVOID_UNREACHABLE = {
  outlier_detection: {
    split_external_local_origin_errors: true,
    consecutive_local_origin_failure: 2,
    base_ejection_time: '5s',
    max_ejection_percent: 100,
  },
};

/**
 * The PDs to which Envoy passes calls of one listener on: its own, and the others while that one does not answer. One that is frozen or cut
 * off is silent, but connections to Envoy look well. So gRPC would call it again and again, and each call would wait for its time limit:
 * PDs do so themselves while they elect a leader. Any PD serves etcd, and tells who leads.
 */
function failover(i: number, pd: readonly Member[], tls: Tls): Cluster {
  const own = pd.slice(i, i + 1);
  const others = pd.filter((_, j) => j !== i);
  const name = `pd_${i}_grpc`;
  if (others.length === 0) return cluster(name, own, 'pd', tls);
  const made = cluster(name, [...own, ...others], 'pd', tls);
  const [{ lb_endpoints: endpoints }] = made.load_assignment.endpoints;
  return {
    ...made,
    load_assignment: {
      cluster_name: name,
      endpoints: [
        { priority: 0, lb_endpoints: endpoints.slice(0, 1) },
        { priority: 1, lb_endpoints: endpoints.slice(1) },
      ],
    },
    health_checks: [
      {
        interval: '2s',
        timeout: '2s',
        unhealthy_threshold: 2,
        healthy_threshold: 1,
        // One that starts or comes back is found at once.
        unhealthy_interval: '0.5s',
        no_traffic_interval: '0.5s',
        no_traffic_healthy_interval: '2s',
        // Of etcd, which is in each PD.
        grpc_health_check: {},
      },
    ],
    // Otherwise Envoy calls PDs that do not answer when none does.
    common_lb_config: { healthy_panic_threshold: { value: 0 } },
    // Watches and streams of timestamps go over as well.
    close_connections_on_host_health_failure: true,
  };
}

function cluster(
  name: string,
  members: readonly Member[],
  kind: 'pd' | 'grpc' | 'http',
  tls: Tls,
): Cluster & { load_assignment: { cluster_name: string; endpoints: [{ lb_endpoints: object[] }] } } {
  const servers = members.map(({ server }) => server);
  return {
    name,
    type: servers.every(({ isIp }) => isIp) ? 'STATIC' : 'STRICT_DNS',
    connect_timeout: '2s',
    per_connection_buffer_limit_bytes: CONNECTION_BUFFER,
    circuit_breakers: {
      thresholds: [
        {
          max_connections: UNLIMITED,
          max_pending_requests: UNLIMITED,
          max_requests: UNLIMITED,
          max_retries: UNLIMITED,
        },
      ],
    },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${API}.upstreams.http.v3.HttpProtocolOptions`,
        ...(kind === 'pd' ? { common_http_protocol_options: UPSTREAM_IDLE } : {}),
        explicit_http_config:
          kind === 'http'
            ? { http_protocol_options: {} }
            : {
                http2_protocol_options: {
                  ...http2(UPSTREAM_STREAMS),
                  ...(kind === 'pd' ? { connection_keepalive: UPSTREAM_KEEPALIVE } : {}),
                },
              },
      },
    },
    ...transports(servers, tls),
    load_assignment: {
      cluster_name: name,
      endpoints: [
        {
          lb_endpoints: servers.map(({ host, port }, i) => ({
            endpoint: { address: socket(host, port) },
            ...(servers.length > 1 ? { metadata: { filter_metadata: { [MATCH]: { server: `${i}` } } } } : {}),
          })),
        },
      ],
    },
  };
}

const MATCH = 'envoy.transport_socket_match';

/** Each server's certificate must name its own host. */
function transports(servers: readonly Address[], { upstream }: Tls): object {
  const socketFor = (server: Address): object => ({
    name: 'envoy.transport_sockets.tls',
    typed_config: upstream(server),
  });
  const [only, ...others] = servers;
  if (only === undefined || others.length > 0)
    return {
      transport_socket_matches: servers.map((server, i) => ({
        name: `server_${i}`,
        match: { server: `${i}` },
        transport_socket: socketFor(server),
      })),
    };
  return { transport_socket: socketFor(only) };
}

function http2(streams: number): object {
  return {
    initial_stream_window_size: STREAM_WINDOW,
    initial_connection_window_size: CONNECTION_WINDOW,
    max_concurrent_streams: streams,
  };
}

function socket(address: string, port: number): object {
  return { socket_address: { address, port_value: port } };
}
