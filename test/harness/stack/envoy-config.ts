import { rename, writeFile } from 'node:fs/promises';
import { METRIC_LABELS } from '../../../src-ts/observability/metrics.ts';
import type { CertFiles } from './certs.ts';

/** The filter as it stands in the listeners. */
export interface FilterOptions {
  /** The wasm module's file. */
  wasmPath: string;
  /** The filter's own configuration, see docs. */
  pluginConfig: unknown;
  /**
   * A file that the filter's configuration is taken from and watched in (ECDS), see `watchedFilter`; it changes under open streams, as
   * a WasmPlugin of Istio does. Envoy then needs a node's name.
   */
  discovery?: string;
  /** HTTP filters that stand before it. */
  before?: readonly object[];
}

export interface EnvoyOptions {
  ports: { pd: number; store: number; admin: number };
  /** Where the servers behind Envoy listen, on 127.0.0.1. */
  upstream: { pd: number; store: number };
  certs: CertFiles;
  accessLog: string;
  /** Absent: Envoy passes everything on untouched. */
  filter?: FilterOptions;
  /** Envoy's node, as an injector of sidecars would fill it in. */
  node?: object;
}

/** PD's HTTP API, which speaks HTTP/1.1 only: over HTTP/2 it answers 415. The filter asks it, too. */
export const PD_HTTP_CLUSTER = 'pd_http';

const HOST = '127.0.0.1';
const API = 'type.googleapis.com/envoy.extensions';
/** HTTP/2 flow-control windows in bytes: large, since one stream of BatchCommands carries all of a TiDB's traffic. */
const STREAM_WINDOW = 16 * 1024 * 1024;
const CONNECTION_WINDOW = 64 * 1024 * 1024;

/**
 * Envoy's bootstrap. A listener for PD and one for the store, each with two filter chains on one port: TLS with a
 * required client certificate, for tenants, with the filter; and plaintext without it, for PD, which dials its own
 * advertised address. Plaintext is for tests only.
 */
export function envoyBootstrap(options: EnvoyOptions): object {
  const { ports, upstream } = options;
  return {
    ...(options.node ? { node: options.node } : {}),
    admin: { address: address(ports.admin) },
    // As Istio's bootstrap does with extraStatTags, see docs/metrics.md.
    stats_config: {
      stats_tags: METRIC_LABELS.map((label) => ({ tag_name: label, regex: `(${label}=\\.=(.*?);\\.;)` })),
    },
    static_resources: {
      listeners: [
        listener('pd', ports.pd, options, [
          {
            match: {
              prefix: '/',
              headers: [{ name: 'content-type', string_match: { prefix: 'application/grpc' } }],
            },
            route: { cluster: 'pd_grpc', timeout: '0s' },
          },
          { match: { prefix: '/' }, route: { cluster: PD_HTTP_CLUSTER, timeout: '0s' } },
        ]),
        listener('store', ports.store, options, [
          { match: { prefix: '/' }, route: { cluster: 'store_grpc', timeout: '0s' } },
        ]),
      ],
      clusters: [
        cluster('pd_grpc', upstream.pd, true),
        cluster(PD_HTTP_CLUSTER, upstream.pd, false),
        cluster('store_grpc', upstream.store, true),
      ],
    },
  };
}

function listener(name: string, port: number, options: EnvoyOptions, routes: object[]): object {
  return {
    name,
    address: address(port),
    listener_filters: [
      {
        name: 'envoy.filters.listener.tls_inspector',
        typed_config: { '@type': `${API}.filters.listener.tls_inspector.v3.TlsInspector` },
      },
    ],
    filter_chains: [
      {
        name: `${name}_tls`,
        filter_chain_match: { transport_protocol: 'tls' },
        transport_socket: {
          name: 'envoy.transport_sockets.tls',
          typed_config: {
            '@type': `${API}.transport_sockets.tls.v3.DownstreamTlsContext`,
            require_client_certificate: true,
            common_tls_context: {
              alpn_protocols: ['h2', 'http/1.1'],
              tls_certificates: [
                {
                  certificate_chain: { filename: options.certs.cert },
                  private_key: { filename: options.certs.key },
                },
              ],
              validation_context: { trusted_ca: { filename: options.certs.ca } },
            },
          },
        },
        filters: [httpManager(`${name}_tls`, options, routes, options.filter)],
      },
      {
        name: `${name}_plaintext`,
        filter_chain_match: { transport_protocol: 'raw_buffer' },
        filters: [httpManager(`${name}_plaintext`, options, routes)],
      },
    ],
  };
}

function httpManager(
  prefix: string,
  options: EnvoyOptions,
  routes: object[],
  filter?: FilterOptions,
): object {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${API}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: prefix,
      codec_type: 'AUTO',
      http2_protocol_options: http2(),
      // Streams of BatchCommands, TSO and etcd watches live as long as their client.
      stream_idle_timeout: '0s',
      common_http_protocol_options: { idle_timeout: '0s' },
      generate_request_id: false,
      access_log: [accessLog(prefix, options.accessLog)],
      route_config: { name: prefix, virtual_hosts: [{ name: prefix, domains: ['*'], routes }] },
      http_filters: [
        ...(filter ? [...(filter.before ?? []), wasmFilter(filter)] : []),
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': `${API}.filters.http.router.v3.Router`, suppress_envoy_headers: true },
        },
      ],
    },
  };
}

const FILTER_NAME = 'envoy.filters.http.wasm';
const FILTER_TYPE = `${API}.filters.http.wasm.v3.Wasm`;

/** What the file of `discovery` must hold. */
function discoveredFilter(filter: FilterOptions): object {
  const { name, typed_config } = inlineFilter(filter);
  const type = 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig';
  return { resources: [{ '@type': type, name, typed_config }] };
}

/** The filter with its configuration in a file, and what replaces that configuration. Envoy watches for a file being moved into place. */
export function watchedFilter(
  inline: FilterOptions,
  discovery: string,
): { filter: FilterOptions; configure: (pluginConfig: unknown) => Promise<void> } {
  const filter = { ...inline, discovery };
  return {
    filter,
    async configure(pluginConfig) {
      await writeFile(`${discovery}.new`, JSON.stringify(discoveredFilter({ ...filter, pluginConfig })));
      await rename(`${discovery}.new`, discovery);
    },
  };
}

function wasmFilter(filter: FilterOptions): object {
  if (filter.discovery === undefined) return inlineFilter(filter);
  const source = { path_config_source: { path: filter.discovery }, resource_api_version: 'V3' };
  return { name: FILTER_NAME, config_discovery: { config_source: source, type_urls: [FILTER_TYPE] } };
}

function inlineFilter(filter: FilterOptions): { name: string; typed_config: object } {
  return {
    name: FILTER_NAME,
    typed_config: {
      '@type': FILTER_TYPE,
      config: {
        name: 'tidb-mesh',
        root_id: 'tidb-mesh',
        failure_policy: 'FAIL_RELOAD',
        configuration: {
          '@type': 'type.googleapis.com/google.protobuf.StringValue',
          value: JSON.stringify(filter.pluginConfig),
        },
        vm_config: {
          vm_id: 'tidb-mesh',
          runtime: 'envoy.wasm.runtime.v8',
          code: { local: { filename: filter.wasmPath } },
        },
      },
    },
  };
}

/** One JSON object a line; `chain` tells which listener and filter chain. */
function accessLog(chain: string, path: string): object {
  return {
    name: 'envoy.access_loggers.file',
    typed_config: {
      '@type': `${API}.access_loggers.file.v3.FileAccessLog`,
      path,
      log_format: {
        json_format: {
          start: '%START_TIME%',
          chain,
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

function cluster(name: string, port: number, grpc: boolean): object {
  const unlimited = 1_000_000;
  return {
    name,
    type: 'STATIC',
    connect_timeout: '2s',
    circuit_breakers: {
      thresholds: [
        {
          max_connections: unlimited,
          max_pending_requests: unlimited,
          max_requests: unlimited,
          max_retries: unlimited,
        },
      ],
    },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${API}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: grpc ? { http2_protocol_options: http2() } : { http_protocol_options: {} },
      },
    },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  };
}

function http2(): object {
  return {
    initial_stream_window_size: STREAM_WINDOW,
    initial_connection_window_size: CONNECTION_WINDOW,
    max_concurrent_streams: 100_000,
  };
}

function address(port: number): object {
  return { socket_address: { address: HOST, port_value: port } };
}
