/** Finds callers of a mesh file that no rule can match: the storage layer's own workloads, and tenants. */
import type { MeshFile } from '../manifests/mesh-file.ts';
import { principals } from '../manifests/operator.ts';
import { ENVOY, type EnvoyMesh } from '../standalone/mesh.ts';
import type { RuleConfig } from './types.ts';

export interface Unserved {
  readonly severity: 'error' | 'warning';
  /** Like `rules[1].principal`. */
  readonly path: string;
  readonly text: string;
  readonly suggestion: string;
}

const SCHEME = 'spiffe://';
const CAPTURE = '{tenant}';
/** Finds trust domain and namespace of a principal. Its last part is the service account; a mesh file does not say which ones exist. */
const PARTS = /^spiffe:\/\/([^/]*)\/ns\/([^/]*)\/sa\/./;

/** True when a pattern without slashes can match a text. */
function matches(pattern: string, text: string): boolean {
  const escaped = pattern.replace(/[.+?^$()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll(CAPTURE, '.+')}$`).test(text);
}

/** True when a rule can match some service account of the namespace; without one, of any namespace. */
function canMatch({ principal }: RuleConfig, trustDomain: string, namespace?: string): boolean {
  if (principal === undefined) return true;
  const [, domain, ns] = PARTS.exec(principal) ?? [];
  // This is not the form of Istio's principals, but a pattern may match them.
  if (domain === undefined || ns === undefined)
    return principal.startsWith(SCHEME) && matches(principal.split('/')[2] ?? '', trustDomain);
  return matches(domain, trustDomain) && (namespace === undefined || matches(ns, namespace));
}

function withoutScheme(principal: string, i: number): Unserved[] {
  const path = `rules[${i}].principal`;
  return [
    {
      severity: 'error',
      path,
      text: `${path}: matches nobody: a principal begins with ${SCHEME}`,
      suggestion: `write "${SCHEME}${principal}"`,
    },
  ];
}

function badRule({ principal }: RuleConfig, i: number, trustDomain: string): Unserved[] {
  if (principal === undefined || canMatch({ principal }, trustDomain)) return [];
  if (!principal.includes('://')) return withoutScheme(principal, i);
  const path = `rules[${i}].principal`;
  const other = principal.split('/')[2] ?? '';
  return [
    {
      severity: 'warning',
      path,
      text: `${path}: names the trust domain "${other}", and the mesh file's trustDomain is "${trustDomain}"`,
      suggestion: `write "${principal.replace(`${SCHEME}${other}`, `${SCHEME}${trustDomain}`)}", or set trustDomain to "${other}"`,
    },
  ];
}

/**
 * With TiDB Operator v2 the tenants are accounts beside the storage layer's own: a rule for all of them would lift every barrier. With v1
 * it is the tenant with the name of the storage layer's namespace, unless a rule says where else it runs.
 */
function tenantsAsSystem({ principal, system }: RuleConfig, i: number, mesh: MeshFile): Unserved[] {
  const { operator, trustDomain, storage, pluginConfig } = mesh;
  if (system !== true || principal === undefined) return [];
  const own = principals(operator, trustDomain, storage.namespace, storage.cluster);
  const isOutside = (name: string): boolean =>
    operator === 'v1' &&
    (name !== storage.namespace || (pluginConfig.rules ?? []).some(({ tenant }) => tenant === name));
  const caught = pluginConfig.tenants.find(
    ({ name }) => matches(principal, `${SCHEME}${own.tenant.replace(CAPTURE, name)}`) && !isOutside(name),
  );
  if (caught === undefined) return [];
  const [reason, suggestion] =
    operator === 'v2'
      ? [
          `operator v2 has it in namespace "${storage.namespace}"`,
          `name the account: "${SCHEME}${own.system}"`,
        ]
      : [
          "its namespace is the storage layer's own",
          'name the tenant differently, and move it to a namespace of its own',
        ];
  const path = `rules[${i}].principal`;
  return [
    {
      severity: 'error',
      path,
      text: `${path}: makes tenant "${caught.name}" a system principal, because ${reason}`,
      suggestion,
    },
  ];
}

/** What no rule of a mesh file serves; empty for a correct file. */
export function unserved(mesh: MeshFile | EnvoyMesh): Unserved[] {
  return mesh.target === ENVOY ? unservedByEnvoy(mesh) : unservedByIstio(mesh);
}

/** Without Istio, principals have any form, and only rules say whose they are. */
function unservedByEnvoy({ pluginConfig: { tenants, rules = [] } }: EnvoyMesh): Unserved[] {
  const found = rules.flatMap(({ principal }, i) =>
    principal === undefined || principal.includes('://') ? [] : withoutScheme(principal, i),
  );
  if (!rules.some(({ system }) => system === true))
    found.push({
      severity: 'error',
      path: 'rules',
      text: 'rules: no system rule: PD and TiKV call each other through Envoy, and would be refused',
      suggestion: `put one for their principals first: {"principal": "${SCHEME}example.com/ns/storage/sa/*", "system": true}`,
    });
  for (const [i, { name }] of tenants.entries())
    if (!rules.some((rule) => mayServe(rule, name)))
      found.push({
        severity: 'error',
        path: `tenants[${i}]`,
        text: `tenants[${i}]: no rule makes a caller tenant "${name}"`,
        suggestion: `add a rule: {"principal": "${SCHEME}example.com/ns/${name}/sa/tidb", "tenant": "${name}"}`,
      });
  return found;
}

/** True when a rule can make a caller this tenant. */
function mayServe(rule: RuleConfig, name: string): boolean {
  if (rule.system === true) return false;
  return rule.tenant === undefined ? JSON.stringify(rule).includes(CAPTURE) : rule.tenant === name;
}

function unservedByIstio(mesh: MeshFile): Unserved[] {
  const { trustDomain, storage, pluginConfig } = mesh;
  const { tenants, rules = [] } = pluginConfig;
  const own = principals(mesh.operator, trustDomain, storage.namespace, storage.cluster);
  const found = rules.flatMap((rule, i) => [
    ...badRule(rule, i, trustDomain),
    ...tenantsAsSystem(rule, i, mesh),
  ]);
  if (!rules.some((rule) => rule.system === true && canMatch(rule, trustDomain, storage.namespace)))
    found.push({
      severity: 'error',
      path: 'rules',
      text: `rules: no system rule matches the storage layer's own PD and TiKV in namespace "${storage.namespace}"`,
      suggestion: `put this rule first: {"principal": "${SCHEME}${own.system}", "system": true}`,
    });
  const serves = (name: string): boolean =>
    rules.some((rule) => mayServe(rule, name) && canMatch(rule, trustDomain));
  for (const [i, { name }] of tenants.entries())
    if (!serves(name))
      found.push({
        severity: 'error',
        path: `tenants[${i}]`,
        text: `tenants[${i}]: no rule matches a workload of tenant "${name}" in the trust domain "${trustDomain}"`,
        suggestion: `add a rule: {"principal": "${SCHEME}${own.tenant}"}`,
      });
  return found;
}
