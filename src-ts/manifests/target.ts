/** The version of Istio that manifests are for: what they may hold depends on it. */

/** As a mesh file writes it, for example `istio-1.31`. */
export type Target = `istio-1.${number}`;

/** The versions between which every one is a target. */
export const OLDEST_TARGET = 'istio-1.22';
export const NEWEST_TARGET = 'istio-1.31';

/** The manifests for it hold what every version from then on takes. */
export const DEFAULT_TARGET: Target = OLDEST_TARGET;

const minorOf = (target: string): number => Number(/^istio-1\.(\d+)$/.exec(target)?.[1]);

export function isTarget(text: unknown): text is Target {
  if (typeof text !== 'string') return false;
  const minor = minorOf(text);
  return minor >= minorOf(OLDEST_TARGET) && minor <= minorOf(NEWEST_TARGET);
}

/** From 1.24 on, Istio's types have the version v1 (kubernetes/customresourcedefinitions.gen.yaml of istio.io/api 1.24.2). */
const hasV1 = (target: Target): boolean => minorOf(target) >= 24;

/** From 1.30 on, TrafficExtension supersedes WasmPlugin (extensions/v1alpha1/traffic_extension.proto of istio.io/api 1.30.8). */
export const hasTrafficExtension = (target: Target): boolean => minorOf(target) >= 30;

/**
 * From 1.30 on, Istio's API can ask Envoy to start a filter that trapped anew (extensions/v1alpha1/wasm.proto of istio.io/api 1.30.8;
 * that of 1.26 cannot). An older istiod drops the field.
 */
export const canReload = (target: Target): boolean => minorOf(target) >= 30;

export const securityApi = (target: Target): string =>
  `security.istio.io/${hasV1(target) ? 'v1' : 'v1beta1'}`;
/** Of the Sidecar. */
export const networkingApi = (target: Target): string =>
  `networking.istio.io/${hasV1(target) ? 'v1' : 'v1beta1'}`;
export const telemetryApi = (target: Target): string =>
  `telemetry.istio.io/${hasV1(target) ? 'v1' : 'v1alpha1'}`;
