/** Istio's own policies and port declarations: they decide who reaches the storage layer before the filter identifies callers. */
import type { MeshFile } from './mesh-file.ts';
import { FILTERED_PORTS, operatorLabels, type KubeObject } from './storage.ts';

const SECURITY = 'security.istio.io/v1beta1';

/** Requires mTLS. */
function strict({ storage }: MeshFile): KubeObject {
  return {
    apiVersion: SECURITY,
    kind: 'PeerAuthentication',
    metadata: { namespace: storage.namespace, name: 'default' },
    spec: { mtls: { mode: 'STRICT' } },
  };
}

const ports = FILTERED_PORTS.map(({ number }) => String(number));

/** A second lock on the filtered ports: without a certificate there is no access, even if STRICT was loosened. */
function callersAreKnown({ storage }: MeshFile): KubeObject {
  return {
    apiVersion: SECURITY,
    kind: 'AuthorizationPolicy',
    metadata: { namespace: storage.namespace, name: 'tidb-mesh-known-callers' },
    spec: {
      action: 'DENY',
      rules: [{ from: [{ source: { notPrincipals: ['*'] } }], to: [{ operation: { ports } }] }],
    },
  };
}

/**
 * Keeps peer and status ports for the storage layer itself, whatever the protocol. The status ports also accept a new configuration
 * for TiKV and PD, so whoever can read metrics there can change it.
 */
function otherPortsAreClosed({ storage, trustDomain, alsoTrusted }: MeshFile): KubeObject {
  const own = `${trustDomain}/ns/${storage.namespace}/sa/*`;
  return {
    apiVersion: SECURITY,
    kind: 'AuthorizationPolicy',
    metadata: { namespace: storage.namespace, name: 'tidb-mesh-other-ports' },
    spec: {
      action: 'DENY',
      rules: [
        {
          from: [{ source: { notPrincipals: [own, ...alsoTrusted] } }],
          to: [{ operation: { notPorts: ports } }],
        },
      ],
    },
  };
}

export function accessPolicies(mesh: MeshFile): KubeObject[] {
  return [strict(mesh), callersAreKnown(mesh), otherPortsAreClosed(mesh)];
}

/**
 * Declares the protocols of the ports. Istio would otherwise follow the operator's Services and make TCP chains, which have no HTTP
 * filters.
 */
export function portDeclarations({ storage }: MeshFile): KubeObject[] {
  return FILTERED_PORTS.map(({ component, number, protocol }) => ({
    apiVersion: 'networking.istio.io/v1beta1',
    kind: 'Sidecar',
    metadata: { namespace: storage.namespace, name: `tidb-mesh-${component}` },
    spec: {
      workloadSelector: { labels: operatorLabels(storage.cluster, component) },
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
