/** Istio's own policies and port declarations: they decide who reaches the storage layer before the filter identifies callers. */
import type { MeshFile } from './mesh-file.ts';
import { podLabels, principals } from './operator.ts';
import { FILTERED_PORTS, labelsOf, type KubeObject } from './storage.ts';
import { networkingApi, securityApi } from './target.ts';

/**
 * What else a storage layer may run. No filter is in front of it, so it is for the storage layer alone. With v1, the policies of the whole
 * namespace close all but the filtered ports there.
 */
const UNFILTERED = ['tiflash', 'ticdc', 'tso', 'scheduling', 'scheduler'];

const ports = FILTERED_PORTS.map(({ number }) => String(number));

/** The pods that a policy is for. */
interface Scope {
  /** Behind the names of its policies. */
  readonly suffix: string;
  readonly selector?: { readonly matchLabels: Record<string, string> };
}

/** The whole namespace where all in it belongs to the storage layer; its own pods where tenants are among them. */
function scopes(mesh: MeshFile): Scope[] {
  const { operator, storage } = mesh;
  if (operator === 'v1') return [{ suffix: '' }];
  const system = {
    ...podLabels(operator, storage.cluster, 'tidb'),
    'pingcap.com/group': storage.cluster,
  };
  return [
    ...FILTERED_PORTS.map(({ component }) => ({
      suffix: `-${component}`,
      selector: { matchLabels: labelsOf(mesh, component) },
    })),
    { suffix: '-tidb', selector: { matchLabels: system } },
  ];
}

function policy(
  mesh: MeshFile,
  kind: string,
  name: string,
  { suffix, selector }: Scope,
  spec: object,
): KubeObject {
  return {
    apiVersion: securityApi(mesh.target),
    kind,
    metadata: { namespace: mesh.storage.namespace, name: `${name}${suffix}` },
    spec: { ...(selector ? { selector } : {}), ...spec },
  };
}

/** Pods that only the storage layer itself may reach, at every port. */
function closedScopes(mesh: MeshFile): Scope[] {
  const { operator, storage } = mesh;
  if (operator === 'v1') return [];
  return UNFILTERED.map((component) => ({
    suffix: `-${component}`,
    selector: { matchLabels: podLabels(operator, storage.cluster, component) },
  }));
}

/** Requires mTLS. Istio takes the name `default` for a whole namespace's. */
function strict(mesh: MeshFile, scope: Scope): KubeObject {
  const name = scope.selector ? 'tidb-mesh' : 'default';
  return policy(mesh, 'PeerAuthentication', name, scope, { mtls: { mode: 'STRICT' } });
}

/** A second lock on the filtered ports: without a certificate there is no access, even if STRICT was loosened. */
function callersAreKnown(mesh: MeshFile, scope: Scope): KubeObject {
  return policy(mesh, 'AuthorizationPolicy', 'tidb-mesh-known-callers', scope, {
    action: 'DENY',
    rules: [{ from: [{ source: { notPrincipals: ['*'] } }], to: [{ operation: { ports } }] }],
  });
}

/**
 * Keeps peer and status ports for the storage layer itself, whatever the protocol. The status ports also accept a new configuration
 * for TiKV and PD, so whoever can read metrics there can change it.
 */
function otherPortsAreClosed(mesh: MeshFile, scope: Scope): KubeObject {
  return policy(mesh, 'AuthorizationPolicy', 'tidb-mesh-other-ports', scope, {
    action: 'DENY',
    rules: [{ from: [notOurs(mesh)], to: [{ operation: { notPorts: ports } }] }],
  });
}

function allPortsAreClosed(mesh: MeshFile, scope: Scope): KubeObject {
  return policy(mesh, 'AuthorizationPolicy', 'tidb-mesh-all-ports', scope, {
    action: 'DENY',
    rules: [{ from: [notOurs(mesh)] }],
  });
}

/** Everybody but the storage layer's own workloads, and those that the mesh file trusts. */
function notOurs({ operator, storage, trustDomain, alsoTrusted }: MeshFile): object {
  const { system } = principals(operator, trustDomain, storage.namespace, storage.cluster);
  return { source: { notPrincipals: [system, ...alsoTrusted] } };
}

export function accessPolicies(mesh: MeshFile): KubeObject[] {
  return [
    ...scopes(mesh).flatMap((scope) => [
      strict(mesh, scope),
      callersAreKnown(mesh, scope),
      otherPortsAreClosed(mesh, scope),
    ]),
    ...closedScopes(mesh).flatMap((scope) => [strict(mesh, scope), allPortsAreClosed(mesh, scope)]),
  ];
}

/**
 * Declares the protocols of the ports. Istio would otherwise follow the operator's Services and make TCP chains, which have no HTTP
 * filters.
 */
export function portDeclarations(mesh: MeshFile): KubeObject[] {
  const { storage, target } = mesh;
  return FILTERED_PORTS.map(({ component, number, protocol }) => ({
    apiVersion: networkingApi(target),
    kind: 'Sidecar',
    metadata: { namespace: storage.namespace, name: `tidb-mesh-${component}` },
    spec: {
      workloadSelector: { labels: labelsOf(mesh, component) },
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
