/** Puts the filter in front of PD and TiKV in one of Istio's three ways: EnvoyFilter, WasmPlugin, TrafficExtension. */
import { configText } from '../config/text.ts';
import type { PluginConfig } from '../config/types.ts';
import type { MeshFile } from './mesh-file.ts';
import { VERSION } from '../version.ts';
import { handOverPrefix, storageHeader } from '../storages/route.ts';
import { FILTERED_PORTS, labelsOf, pdCluster, pdOf, type KubeObject } from './storage.ts';
import { canReload, type Target } from './target.ts';

export const NETWORKING = 'networking.istio.io/v1alpha3';
const EXTENSIONS = 'extensions.istio.io/v1alpha1';
const ENVOY_API = 'type.googleapis.com/envoy.extensions';
const WASM_TYPE = `${ENVOY_API}.filters.http.wasm.v3.Wasm`;
export const HTTP_MANAGER = 'envoy.filters.network.http_connection_manager';
export const ROUTER = 'envoy.filters.http.router';
export const FILTER_NAME = 'tidb-mesh';
/** Of Envoy and of Istio: after a trap the filter starts anew, and nothing passes without it. */
const RELOAD = 'FAIL_RELOAD';
/** Applied after others' patches, which may insert filters of their own. */
export const PRIORITY = 10;

/** The filter's code, inlined and as the digest of its OCI artifact. */
export interface FilterCode {
  /** The wasm in base64. */
  readonly base64: string;
  /** `sha256:…` of the artifact's manifest. */
  readonly imageDigest: string;
}

/** The filter's configuration: the user's, and how to reach PD. */
export function filterConfig(mesh: MeshFile): PluginConfig {
  return { ...mesh.pluginConfig, pd: pdOf(mesh) };
}

/**
 * Inlines the filter. Its configuration is a resource of its own (ECDS), not a part of the listener: a changed listener closes all
 * its connections after the drain time.
 */
export function envoyFilters(mesh: MeshFile, code: FilterCode): KubeObject[] {
  const { storage } = mesh;
  return FILTERED_PORTS.map(({ component, number }) => ({
    apiVersion: NETWORKING,
    kind: 'EnvoyFilter',
    metadata: { namespace: storage.namespace, name: `tidb-mesh-${component}` },
    spec: {
      workloadSelector: { labels: labelsOf(mesh, component) },
      priority: PRIORITY,
      configPatches: [
        {
          applyTo: 'HTTP_FILTER',
          match: {
            context: 'SIDECAR_INBOUND',
            listener: {
              filterChain: {
                destinationPort: number,
                filter: { name: HTTP_MANAGER, subFilter: { name: ROUTER } },
              },
            },
          },
          patch: {
            operation: 'INSERT_BEFORE',
            value: adsFilter(),
          },
        },
        {
          applyTo: 'EXTENSION_CONFIG',
          match: { context: 'SIDECAR_INBOUND' },
          patch: { operation: 'ADD', value: inlined(mesh.target, filterConfig(mesh), code) },
        },
      ],
    },
  }));
}

/** The filter's place in a listener. Its code and configuration arrive by ADS. */
export function adsFilter(): object {
  return discoveredFilter({ ads: {} });
}

/** The filter's place in a listener, filled in from this source. */
export function discoveredFilter(source: object): { name: string; config_discovery: object } {
  return {
    name: FILTER_NAME,
    config_discovery: {
      // No time limit: the listener opens with the filter or not at all.
      config_source: { ...source, initial_fetch_timeout: '0s', resource_api_version: 'V3' },
      type_urls: [WASM_TYPE],
    },
  };
}

/** The filter's code and configuration, inlined. Where Istio cannot deliver a `failure_policy`, Envoy fails closed without one. */
export function inlined(target: Target, pluginConfig: PluginConfig, code: FilterCode): object {
  return wasmFilter(configText(pluginConfig), inlineCode(code), canReload(target));
}

export const inlineCode = ({ base64 }: FilterCode): object => ({ inline_bytes: base64 });

/** The filter as Envoy takes it. `code` is a data source of Envoy's. */
export function wasmFilter(
  configuration: string,
  code: object,
  isReloaded: boolean,
): { name: string; typed_config: object } {
  return {
    name: FILTER_NAME,
    typed_config: {
      '@type': WASM_TYPE,
      config: {
        name: FILTER_NAME,
        root_id: FILTER_NAME,
        ...(isReloaded ? { failure_policy: RELOAD } : {}),
        configuration: { '@type': 'type.googleapis.com/google.protobuf.StringValue', value: configuration },
        vm_config: {
          vm_id: FILTER_NAME,
          runtime: 'envoy.wasm.runtime.v8',
          code: { local: code },
        },
      },
    },
  };
}

/**
 * Envoy answers the pings of its clients itself, so they never notice that a PD behind it is frozen: a watch in etcd would wait for ever.
 * So Envoy asks PD, as often as TiDB would (DialKeepAliveTime in its etcd client).
 */
export const UPSTREAM_KEEPALIVE = { interval: '10s', timeout: '3s' };
/** PD ends connections with more than two pings and no stream (grpc-go's keepalive enforcement). Envoy ends them before. */
export const UPSTREAM_IDLE = { idle_timeout: '20s' };

/** A patch that forwards HTTP/2 as HTTP/2, and HTTP/1.1 as HTTP/1.1. */
export function bothProtocolsOn(
  context: string,
  cluster: { readonly portNumber: number } | { readonly name: string },
): object {
  return {
    applyTo: 'CLUSTER',
    match: { context, cluster },
    patch: {
      operation: 'MERGE',
      value: {
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': `${ENVOY_API}.upstreams.http.v3.HttpProtocolOptions`,
            common_http_protocol_options: UPSTREAM_IDLE,
            use_downstream_protocol_config: {
              http_protocol_options: {},
              http2_protocol_options: { connection_keepalive: UPSTREAM_KEEPALIVE },
            },
          },
        },
      },
    },
  };
}

/** PD serves gRPC over HTTP/2 and its HTTP API over HTTP/1.1 on one port. */
export function bothProtocols(mesh: MeshFile): KubeObject {
  const { storage } = mesh;
  return {
    apiVersion: NETWORKING,
    kind: 'EnvoyFilter',
    metadata: { namespace: storage.namespace, name: 'tidb-mesh-pd-protocols' },
    spec: {
      workloadSelector: { labels: labelsOf(mesh, 'pd') },
      priority: PRIORITY,
      configPatches: [bothProtocolsOn('SIDECAR_INBOUND', { portNumber: 2379 })],
    },
  };
}

/**
 * Routes in front of PD by which the filter hands tenants over to another storage layer: it writes their paths, and lets no tenant send one.
 * They lead to the other layer's PD through its own sidecars, so with mTLS and as this PD's account.
 */
export function handOver(mesh: MeshFile): KubeObject {
  const { storage, clusterDomain, handsOverTo = [] } = mesh;
  return {
    apiVersion: NETWORKING,
    kind: 'EnvoyFilter',
    metadata: { namespace: storage.namespace, name: 'tidb-mesh-pd-hand-over' },
    spec: {
      workloadSelector: { labels: labelsOf(mesh, 'pd') },
      priority: PRIORITY,
      configPatches: handsOverTo.flatMap(({ name, ...layer }) => {
        const cluster = pdCluster(layer, clusterDomain);
        return [
          {
            applyTo: 'HTTP_ROUTE',
            match: { context: 'SIDECAR_INBOUND', routeConfiguration: { portNumber: 2379 } },
            patch: {
              operation: 'INSERT_FIRST',
              value: {
                name: `tidb-mesh-${name}`,
                match: { prefix: handOverPrefix(name) },
                route: { cluster, timeout: '0s', prefix_rewrite: '/' },
                ...storageHeader(name),
              },
            },
          },
          bothProtocolsOn('SIDECAR_OUTBOUND', { name: cluster }),
        ];
      }),
    },
  };
}

/** With this version as the tag and the digest of the filter at hand, where the mesh file does not say others. */
function imageUrl({ image }: MeshFile, { imageDigest }: FilterCode): string {
  if (image.includes('@')) return `oci://${image}`;
  const isTagged = /:[^/]*$/.test(image);
  return `oci://${isTagged ? image : `${image}:${VERSION}`}@${imageDigest}`;
}

/** Where the agents fetch the artifact, and how. */
function fetched(mesh: MeshFile, code: FilterCode): object {
  const { imagePullSecret } = mesh;
  return {
    url: imageUrl(mesh, code),
    imagePullPolicy: 'IfNotPresent',
    ...(imagePullSecret === undefined ? {} : { imagePullSecret }),
  };
}

/** Istio's stable API. Istio fetches the artifact by its digest. Until then, every request gets 503. */
export function wasmPlugins(mesh: MeshFile, code: FilterCode): KubeObject[] {
  const { storage } = mesh;
  return FILTERED_PORTS.map(({ component, number }) => ({
    apiVersion: EXTENSIONS,
    kind: 'WasmPlugin',
    metadata: { namespace: storage.namespace, name: `tidb-mesh-${component}` },
    spec: {
      selector: { matchLabels: labelsOf(mesh, component) },
      match: [{ mode: 'SERVER', ports: [{ number }] }],
      ...fetched(mesh, code),
      failStrategy: 'FAIL_CLOSE',
      pluginName: FILTER_NAME,
      pluginConfig: filterConfig(mesh),
    },
  }));
}

/** Supersedes WasmPlugin from Istio 1.30 on. */
export function trafficExtensions(mesh: MeshFile, code: FilterCode): KubeObject[] {
  const { storage } = mesh;
  return FILTERED_PORTS.map(({ component, number }) => ({
    apiVersion: EXTENSIONS,
    kind: 'TrafficExtension',
    metadata: { namespace: storage.namespace, name: `tidb-mesh-${component}` },
    spec: {
      selector: { matchLabels: labelsOf(mesh, component) },
      match: [{ mode: 'SERVER', ports: [{ number }] }],
      wasm: {
        ...fetched(mesh, code),
        failStrategy: RELOAD,
        pluginName: FILTER_NAME,
        pluginConfig: filterConfig(mesh),
      },
    },
  }));
}
