/** The filter on the tenants' side: in the outbound listeners of their TiDBs' sidecars. It protects nobody there: see docs/install.md. */
import type { PluginConfig } from '../config/types.ts';
import {
  adsFilter,
  bothProtocolsOn,
  HTTP_MANAGER,
  inlined,
  NETWORKING,
  PRIORITY,
  ROUTER,
  type FilterCode,
} from './filters.ts';
import type { MeshFile } from './mesh-file.ts';
import { FILTERED_PORTS, pdOf, type KubeObject } from './storage.ts';
import { networkingApi } from './target.ts';

/** Selects the TiDBs of every TidbCluster of a namespace. TiDB Operator v2 has none: there a tenant is no namespace. */
const TIDBS = {
  'app.kubernetes.io/name': 'tidb-cluster',
  'app.kubernetes.io/managed-by': 'tidb-operator',
  'app.kubernetes.io/component': 'tidb',
};

/** The configuration of a tenant's own sidecar: that tenant, by its namespace, and no other. */
function configOf(mesh: MeshFile, name: string): PluginConfig {
  const { tenants, policy, ...rest } = mesh.pluginConfig;
  const own = policy?.tenants?.[name];
  const refuse = policy?.refuse;
  return {
    ...rest,
    tenants: tenants.filter((tenant) => tenant.name === name),
    requirePrincipal: false,
    rules: [{ node: { namespace: '{tenant}' } }],
    ...(refuse || own
      ? { policy: { ...(refuse ? { refuse } : {}), ...(own ? { tenants: { [name]: own } } : {}) } }
      : {}),
    pd: pdOf(mesh),
  };
}

/**
 * Declares the protocols of the storage layer's ports. Istio would otherwise follow the names of the operator's Services and make TCP
 * listeners for some of PD's addresses. Those have no HTTP filters, and keys would leave unmapped.
 */
function outboundPorts({ storage, target }: MeshFile, namespace: string): KubeObject {
  return {
    apiVersion: networkingApi(target),
    kind: 'Sidecar',
    metadata: { namespace, name: 'tidb-mesh-client' },
    spec: {
      workloadSelector: { labels: TIDBS },
      egress: [
        ...FILTERED_PORTS.map(({ number, protocol }) => ({
          port: { number, protocol, name: `${protocol.toLowerCase()}-${number}` },
          hosts: [`${storage.namespace}/*`],
        })),
        // Not all namespaces: the storage layer's Services would bring listeners for its pods' addresses, which take precedence.
        { hosts: ['./*', 'istio-system/*'] },
      ],
    },
  };
}

/** PD gives its clients the names of its pods. Their Service names the port `tcp-peer-2379`, so Istio makes no route for it. */
function routeToPdPods({ storage, clusterDomain }: MeshFile, context: string): object {
  const service = `${storage.cluster}-pd-peer.${storage.namespace}`;
  const host = `${service}.svc.${clusterDomain}`;
  return {
    applyTo: 'VIRTUAL_HOST',
    match: { context, routeConfiguration: { name: '2379' } },
    patch: {
      operation: 'ADD',
      value: {
        name: `tidb-mesh-${storage.cluster}-pd-pods`,
        domains: [service, `${service}.svc`, host].flatMap((name) => [name, `*.${name}`]),
        routes: [{ match: { prefix: '/' }, route: { cluster: `outbound|2379||${host}`, timeout: '0s' } }],
      },
    },
  };
}

function outboundFilter(mesh: MeshFile, code: FilterCode, namespace: string): KubeObject {
  const context = 'SIDECAR_OUTBOUND';
  return {
    apiVersion: NETWORKING,
    kind: 'EnvoyFilter',
    metadata: { namespace, name: 'tidb-mesh-client' },
    spec: {
      workloadSelector: { labels: TIDBS },
      priority: PRIORITY,
      configPatches: [
        ...FILTERED_PORTS.map(({ number }) => ({
          applyTo: 'HTTP_FILTER',
          match: {
            context,
            listener: {
              portNumber: number,
              filterChain: { filter: { name: HTTP_MANAGER, subFilter: { name: ROUTER } } },
            },
          },
          patch: { operation: 'INSERT_BEFORE', value: adsFilter() },
        })),
        ...FILTERED_PORTS.map(({ number }) => bothProtocolsOn(context, { portNumber: number })),
        routeToPdPods(mesh, context),
        {
          applyTo: 'EXTENSION_CONFIG',
          match: { context },
          patch: { operation: 'ADD', value: inlined(mesh.target, configOf(mesh, namespace), code) },
        },
      ],
    },
  };
}

/** For each tenant, in the namespace of its name. Never beside the filter in front of the storage layer: keys would be mapped twice. */
export function clientSide(mesh: MeshFile, code: FilterCode): KubeObject[] {
  return mesh.pluginConfig.tenants.flatMap(({ name }) => [
    outboundPorts(mesh, name),
    outboundFilter(mesh, code, name),
  ]);
}
