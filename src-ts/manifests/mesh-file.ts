/** The mesh file: users edit it, and all manifests are rendered from it. */
import { parseDocument, type Document } from 'yaml';
import type { PluginConfig } from '../config/types.ts';
import { isOperator, OPERATORS, principals, type Operator, type Principals } from './operator.ts';
import { DEFAULT_TARGET, isTarget, NEWEST_TARGET, OLDEST_TARGET, type Target } from './target.ts';

export interface MeshFile {
  /** The version of Istio that the manifests are for. */
  target: Target;
  /** The major version of TiDB Operator that makes the storage layer's pods. */
  operator: Operator;
  storage: {
    /** Namespace of the storage layer. */
    namespace: string;
    /** `metadata.name` of the TidbCluster that is the storage layer; of its Cluster, PDGroup and TiKVGroup with TiDB Operator v2. */
    cluster: string;
  };
  /** Istio's trust domain, the authority of every SPIFFE principal. */
  trustDomain: string;
  /** The DNS domain of the Kubernetes cluster. */
  clusterDomain: string;
  /** Principals, besides the storage layer's own, that may use its other ports (peers, status). `*` may end one. */
  alsoTrusted: string[];
  /** Where the OCI artifact is, without a scheme. Tag and digest are those of the filter at hand, where it has none. */
  image: string;
  /** The name of the Secret by which Istio's agents fetch the artifact from a registry that asks for a login. */
  imagePullSecret?: string;
  /** The filter's configuration without `pd`, which follows from `storage`. */
  pluginConfig: PluginConfig;
  /** Other storage layers of the same mesh file, which may get tenants of this one. */
  handsOverTo?: readonly OtherLayer[];
}

export interface OtherLayer {
  readonly name: string;
  readonly namespace: string;
  readonly cluster: string;
}

const FIELDS = [
  'target',
  'operator',
  'storage',
  'trustDomain',
  'clusterDomain',
  'alsoTrusted',
  'image',
  'imagePullSecret',
  'pluginConfig',
];
const STORAGE_FIELDS = ['namespace', 'cluster'];
/** Fields of a mesh file without Istio that somebody might expect here, and what to do with Istio. */
const WITHOUT_ISTIO: Readonly<Record<string, string>> = {
  certificates: "leave it out: Istio's control plane makes the certificates",
  listen: 'leave it out: Istio opens the listeners',
};
export const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const DNS_NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
/** A principal as AuthorizationPolicy writes it, without `spiffe://`. */
const PRINCIPAL = /^[^\s*:]+\/ns\/[^\s*/]+\/sa\/([^\s*/]+|\*)$/;
const IMAGE = /^[a-z0-9][a-z0-9._:-]*(\/[a-z0-9][a-z0-9._-]*)+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$/;

export const DEFAULT_DOMAIN = 'cluster.local';
export const DEFAULT_IMAGE = 'registry.example.com/tidb-mesh';

/** An error in a mesh file or manifest outside its pluginConfig: one line that names the field, or the place in the file. */
export class MeshFileError extends Error {
  constructor(
    message: string,
    /** Where text is no YAML, counted from 1. */
    readonly place?: { readonly line: number; readonly column: number },
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** @throws MeshFileError when the text is no YAML */
export function valueOf(document: Document | Document.Parsed): unknown {
  const [error] = document.errors;
  if (error) {
    const [{ line, col } = { line: 1, col: 1 }] = error.linePos ?? [];
    const what = error.message.replace(/ at line \d+, column \d+:[^]*$/, '');
    throw new MeshFileError(`not valid YAML: ${what}`, { line, column: col });
  }
  try {
    return document.toJS();
  } catch (cause) {
    throw new MeshFileError(`not valid YAML: ${(cause as Error).message}`, undefined, { cause });
  }
}

export function fail(where: string, why: string): never {
  throw new MeshFileError(`${where}: ${why}`);
}

export function record(value: unknown, where: string, known: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(where, 'must be a mapping');
  for (const name of Object.keys(value))
    if (!known.includes(name))
      fail(
        where === 'mesh file' ? name : `${where}.${name}`,
        `unknown field; known here: ${known.join(', ')}`,
      );
  return value as Record<string, unknown>;
}

export function text(
  value: unknown,
  where: string,
  pattern: RegExp,
  what: string,
  byDefault?: string,
): string {
  if (value === undefined && byDefault !== undefined) return byDefault;
  if (typeof value !== 'string' || !pattern.test(value)) fail(where, `must be ${what}`);
  return value;
}

export function list(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) fail(where, 'must be a list with at least one element');
  return value as unknown[];
}

export function mustBeObjects(value: unknown, where: string): void {
  if (!Array.isArray(value)) fail(where, 'must be a list');
  for (const [i, one] of (value as unknown[]).entries())
    if (typeof one !== 'object' || one === null) fail(`${where}[${i}]`, 'must be a mapping');
}

/** True when the text is a mesh file rather than a bare pluginConfig. */
export function isMeshFile(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'pluginConfig' in value;
}

/** Reads a mesh file (YAML, so JSON too) without checking its pluginConfig. @throws MeshFileError */
export function readMeshFile(source: string): MeshFile {
  return meshFileOf(valueOf(parseDocument(source, { merge: true })));
}

/**
 * The mesh file with this content.
 * @param at where the file describes the storage layer
 * @throws MeshFileError
 */
export function meshFileOf(value: unknown, at = 'storage'): MeshFile {
  fitsIstio(value);
  const root = record(value, 'mesh file', FIELDS);
  const storage = record(root['storage'], at, STORAGE_FIELDS);
  const trusted = root['alsoTrusted'] ?? [];
  if (!Array.isArray(trusted)) fail('alsoTrusted', 'must be a list of principals');
  if (!isMeshFile(root)) fail('pluginConfig', 'is missing: who may call, and which tenant they are');
  const pluginConfig = root['pluginConfig'];
  if (typeof pluginConfig !== 'object' || pluginConfig === null || Array.isArray(pluginConfig))
    fail('pluginConfig', 'must be an object');
  if ('pd' in pluginConfig) fail('pluginConfig.pd', 'follows from "storage": leave it out here');
  const target = root['target'] ?? DEFAULT_TARGET;
  if (!isTarget(target))
    fail(
      'target',
      `must be envoy, or a version of Istio from ${OLDEST_TARGET} to ${NEWEST_TARGET}, written like that`,
    );
  const operator = root['operator'] ?? 'v1';
  if (!isOperator(operator))
    fail('operator', `must be a major version of TiDB Operator: ${OPERATORS.join(' or ')}`);
  const namespace = text(storage['namespace'], `${at}.namespace`, DNS_LABEL, 'the name of a namespace');
  const cluster = text(storage['cluster'], `${at}.cluster`, DNS_LABEL, 'the name of a TidbCluster');
  const secret = root['imagePullSecret'];
  const trustDomain = text(root['trustDomain'], 'trustDomain', DNS_NAME, 'a trust domain', DEFAULT_DOMAIN);
  return {
    target,
    operator,
    storage: { namespace, cluster },
    trustDomain,
    clusterDomain: text(root['clusterDomain'], 'clusterDomain', DNS_NAME, 'a DNS domain', DEFAULT_DOMAIN),
    alsoTrusted: trusted.map((one, i) =>
      text(one, `alsoTrusted[${i}]`, PRINCIPAL, 'a principal like cluster.local/ns/monitoring/sa/prometheus'),
    ),
    image: text(root['image'], 'image', IMAGE, 'an image like registry.example.com/tidb-mesh', DEFAULT_IMAGE),
    ...(secret === undefined
      ? {}
      : { imagePullSecret: text(secret, 'imagePullSecret', DNS_NAME, 'the name of a Secret') }),
    pluginConfig: withRules(
      pluginConfig as PluginConfig,
      principals(operator, trustDomain, namespace, cluster),
    ),
  };
}

/** @throws MeshFileError that says what to do instead of a field that only a mesh file without Istio has */
function fitsIstio(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [name, instead] of Object.entries(WITHOUT_ISTIO))
    if (name in value) fail(name, `is for "target: envoy", without Istio; with Istio, ${instead}`);
}

/**
 * Without rules, those that the mesh file's own trust domain and names give: the storage layer's workloads are system principals, and
 * elsewhere the namespace is the tenant, or the service account where all share one namespace. The filter's own default knows neither.
 */
function withRules(config: PluginConfig, { system, tenant }: Principals): PluginConfig {
  if (config.rules !== undefined || config.requirePrincipal === false) return config;
  const principal = (of: string): string => `spiffe://${of}`;
  return {
    ...config,
    rules: [{ principal: principal(system), system: true }, { principal: principal(tenant) }],
  };
}
