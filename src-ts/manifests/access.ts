/** Who reaches the storage layer at all, before the filter says who they are: Istio's own policies and port declarations. */
import type { MeshFile } from './mesh-file.ts';
import { FILTERED_PORTS, operatorLabels, type KubeObject } from './storage.ts';

const SECURITY = 'security.istio.io/v1beta1';

/** Only mTLS. */
function strict({ storage }: MeshFile): KubeObject {
  return {
    apiVersion: SECURITY,
    kind: 'PeerAuthentication',
    metadata: { namespace: storage.namespace, name: 'default' },
    spec: { mtls: { mode: 'STRICT' } },
  };
}

const ports = FILTERED_PORTS.map(({ number }) => String(number));

/** A second lock on the filtered ports: no certificate, no access, even where STRICT was loosened. */
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
 * Peer and status ports are the storage layer's own, whatever the protocol. The status ports also take a new configuration for TiKV
 * and PD, so who may read metrics there may change that.
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
 * Says what the ports speak, whatever the Services of the operator say: by those, Istio would make TCP chains, in which no HTTP
 * filter is.
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
