/** Istio's objects that the tests apply. */
import { readFileSync } from 'node:fs';
import { ISTIO_NAMESPACE, TRUST_DOMAIN } from './control-plane.ts';
import { operatorLabels, STORAGE, type KubeObject } from './objects.ts';

const NETWORKING = 'networking.istio.io/v1alpha3';
const API = 'type.googleapis.com/envoy.extensions';
const WASM_TYPE = `${API}.filters.http.wasm.v3.Wasm`;
const FILTER_NAME = 'tidb-mesh';
const HTTP_MANAGER = 'envoy.filters.network.http_connection_manager';

/**
 * Stands in for Istio's own build of Envoy, in tests only: takes its `istio.alpn` filter out of the outbound listeners,
 * which plain Envoy refuses for it.
 */
export function withoutIstioFilters(): KubeObject {
  return {
    apiVersion: NETWORKING,
    kind: 'EnvoyFilter',
    metadata: { namespace: ISTIO_NAMESPACE, name: 'test-plain-envoy' },
    spec: {
      priority: 10,
      configPatches: [
        {
          applyTo: 'HTTP_FILTER',
          match: {
            context: 'SIDECAR_OUTBOUND',
            listener: {
              filterChain: { filter: { name: HTTP_MANAGER, subFilter: { name: 'istio.alpn' } } },
            },
          },
          patch: { operation: 'REMOVE' },
        },
      ],
    },
  };
}

/** Only mTLS reaches the storage layer. */
export function strictStorage(): KubeObject {
  return {
    apiVersion: 'security.istio.io/v1beta1',
    kind: 'PeerAuthentication',
    metadata: { namespace: STORAGE.namespace, name: 'default' },
    spec: { mtls: { mode: 'STRICT' } },
  };
}

/** The storage layer's other ports are its own: nobody else may speak there, whatever the protocol. */
export function closedPorts(): KubeObject {
  return {
    apiVersion: 'security.istio.io/v1beta1',
    kind: 'AuthorizationPolicy',
    metadata: { namespace: STORAGE.namespace, name: 'tidb-mesh-other-ports' },
    spec: {
      action: 'DENY',
      rules: [
        {
          from: [{ source: { notPrincipals: [`${TRUST_DOMAIN}/ns/${STORAGE.namespace}/sa/*`] } }],
          to: [{ operation: { notPorts: STORAGE_PORTS.map(({ number }) => String(number)) } }],
        },
      ],
    },
  };
}

interface StoragePort {
  component: 'pd' | 'tikv';
  number: number;
  protocol: 'HTTP' | 'GRPC';
}

const STORAGE_PORTS: StoragePort[] = [
  { component: 'pd', number: 2379, protocol: 'HTTP' },
  { component: 'tikv', number: 20160, protocol: 'GRPC' },
];

/** Says what the ports speak, whatever the Services of the operator say. */
export function storageSidecars(): KubeObject[] {
  return STORAGE_PORTS.map(({ component, number, protocol }) => ({
    apiVersion: 'networking.istio.io/v1beta1',
    kind: 'Sidecar',
    metadata: { namespace: STORAGE.namespace, name: `tidb-mesh-${component}` },
    spec: {
      workloadSelector: { labels: operatorLabels(STORAGE.cluster, component) },
      ingress: [
        {
          port: { number, protocol, name: protocol.toLowerCase() },
          defaultEndpoint: `127.0.0.1:${number}`,
        },
      ],
      egress: [{ hosts: ['*/*'] }],
    },
  }));
}

/**
 * The filter in the inbound listeners of PD and TiKV. Its configuration is a resource of its own (ECDS), not a part of
 * the listener: a listener that changes closes all its connections after the drain time, whoever they belong to.
 */
export function meshFilters(wasmPath: string, pluginConfig: unknown): KubeObject[] {
  const code = readFileSync(wasmPath).toString('base64');
  return STORAGE_PORTS.map(({ component, number }) => ({
    apiVersion: NETWORKING,
    kind: 'EnvoyFilter',
    metadata: { namespace: STORAGE.namespace, name: `tidb-mesh-${component}` },
    spec: {
      workloadSelector: { labels: operatorLabels(STORAGE.cluster, component) },
      // After the patches of others, which may insert filters of their own; istioctl warns where there is none.
      priority: 10,
      configPatches: [
        {
          applyTo: 'HTTP_FILTER',
          match: {
            context: 'SIDECAR_INBOUND',
            listener: {
              filterChain: {
                destinationPort: number,
                filter: { name: HTTP_MANAGER, subFilter: { name: 'envoy.filters.http.router' } },
              },
            },
          },
          patch: {
            operation: 'INSERT_BEFORE',
            value: {
              name: FILTER_NAME,
              config_discovery: {
                // Without a time limit: the listener opens with the filter or not at all.
                config_source: { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' },
                type_urls: [WASM_TYPE],
              },
            },
          },
        },
        {
          applyTo: 'EXTENSION_CONFIG',
          match: { context: 'SIDECAR_INBOUND' },
          patch: { operation: 'ADD', value: wasmFilter(code, pluginConfig) },
        },
        ...(component === 'pd' ? [bothProtocols(number)] : []),
      ],
    },
  }));
}

/**
 * Without a `failure_policy`, which the Envoy of Istio 1.22 does not know: its istiod drops the field, and its agent
 * refuses the whole resource where the field comes in a TypedStruct. What Envoy does without one is to fail closed.
 */
function wasmFilter(code: string, pluginConfig: unknown): object {
  return {
    name: FILTER_NAME,
    typed_config: {
      '@type': WASM_TYPE,
      config: {
        name: FILTER_NAME,
        root_id: FILTER_NAME,
        configuration: {
          '@type': 'type.googleapis.com/google.protobuf.StringValue',
          value: typeof pluginConfig === 'string' ? pluginConfig : JSON.stringify(pluginConfig),
        },
        vm_config: {
          vm_id: FILTER_NAME,
          runtime: 'envoy.wasm.runtime.v8',
          code: { local: { inline_bytes: code } },
        },
      },
    },
  };
}

/** PD speaks gRPC over HTTP/2 and its own HTTP API over HTTP/1.1, on one port: what came in goes on as it came. */
function bothProtocols(port: number): object {
  return {
    applyTo: 'CLUSTER',
    match: { context: 'SIDECAR_INBOUND', cluster: { portNumber: port } },
    patch: {
      operation: 'MERGE',
      value: {
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': `${API}.upstreams.http.v3.HttpProtocolOptions`,
            use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: {} },
          },
        },
      },
    },
  };
}

/** Everything that a user applies. */
export function productManifests(wasmPath: string, pluginConfig: unknown): KubeObject[] {
  return [strictStorage(), closedPorts(), ...storageSidecars(), ...meshFilters(wasmPath, pluginConfig)];
}
