/** What the examples for all versions of TiDB Operator have in common. */
import { METRIC_LABELS } from '../observability/metrics.ts';
import type { KubeObject } from './storage.ts';

export interface Example {
  /** Relative to the folder of the examples. */
  readonly path: string;
  /** What it is, for its reader. */
  readonly header: readonly string[];
  readonly objects: readonly KubeObject[];
}

/** Starts the sidecar before TiDB, which needs PD, and stops it after TiDB. A native sidecar does so without it. */
const SIDECAR_FIRST = { holdApplicationUntilProxyStarts: true };
/** Istio shows few of Envoy's own metrics (istio pkg/bootstrap/config.go). This is what the alerts need beside those. */
export const SHOWN_PREFIXES = ['extension_config_discovery'] as const;
/** Makes the labels of the filter's metrics labels of Prometheus, see docs/metrics.md. */
const WITH_LABELS = {
  ...SIDECAR_FIRST,
  extraStatTags: METRIC_LABELS,
  proxyStatsMatcher: { inclusionPrefixes: SHOWN_PREFIXES },
};
const INJECTED = { 'istio-injection': 'enabled' };

/** The annotation of the storage layer's pods that configures their sidecars, and that of the tenants'. */
export const SIDECAR_ANNOTATIONS = {
  storage: { 'proxy.istio.io/config': JSON.stringify(WITH_LABELS) },
  tenant: { 'proxy.istio.io/config': JSON.stringify(SIDECAR_FIRST) },
} as const;

export function namespaceOf(name: string): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: INJECTED } };
}

export function serviceAccount(namespace: string, name: string): KubeObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name } };
}
