/** What plain Envoy cannot load of that which Istio sends to its own build. */
import { ISTIO_NAMESPACE } from './control-plane.ts';
import type { KubeObject } from './objects.ts';

/**
 * Stands in for Istio's own build of Envoy, in tests only: takes its `istio.alpn` filter out of the outbound listeners,
 * which plain Envoy refuses for it.
 */
export function withoutIstioFilters(): KubeObject {
  return {
    apiVersion: 'networking.istio.io/v1alpha3',
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
              filterChain: {
                filter: {
                  name: 'envoy.filters.network.http_connection_manager',
                  subFilter: { name: 'istio.alpn' },
                },
              },
            },
          },
          patch: { operation: 'REMOVE' },
        },
      ],
    },
  };
}
