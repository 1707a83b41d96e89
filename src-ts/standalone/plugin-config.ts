/** Gives each storage the part of a mesh file's pluginConfig that is its own. */
import type { PluginConfig, PolicyConfig, RuleConfig, TenantConfig } from '../config/types.ts';
import { fail } from '../manifests/mesh-file.ts';
import type { EnvoyMesh, PlacedTenant, Storage } from './mesh.ts';

/** The cluster by which the filter asks PD for regions. */
export const PD_HTTP_CLUSTER = 'pd_http';

type Names = ReadonlySet<string>;
const namesOf = (tenants: readonly PlacedTenant[]): Names => new Set(tenants.map(({ name }) => name));

/** The places in the mesh file's lists of what a storage's configuration has, in its order. */
export function placesOf(
  { storages, pluginConfig: { tenants, rules = [] } }: EnvoyMesh,
  storage: Storage,
): { readonly tenants: readonly number[]; readonly rules: readonly number[] } {
  const isHere = inStorage(storages, storage);
  const others = namesOf(tenants.filter((tenant) => !isHere(tenant)));
  const places = <T>(list: readonly T[], isKept: (one: T) => boolean): number[] =>
    list.flatMap((one, i) => (isKept(one) ? [i] : []));
  return { tenants: places(tenants, isHere), rules: places(rules, isNotFor(others)) };
}

const inStorage =
  (storages: readonly Storage[], { name }: Storage) =>
  ({ storage }: PlacedTenant): boolean =>
    storages.length === 1 || storage === name;
const isNotFor =
  (others: Names) =>
  ({ tenant }: RuleConfig): boolean =>
    tenant === undefined || !others.has(tenant);

/** The filter's configuration for one storage: its own tenants, and nothing of another's. @throws MeshFileError */
export function pluginConfigOf({ storages, pluginConfig }: EnvoyMesh, storage: Storage): PluginConfig {
  const { tenants, rules, policy, dryRun, ...rest } = pluginConfig;
  const isHere = inStorage(storages, storage);
  const own = tenants.filter(isHere);
  const others = namesOf(tenants.filter((tenant) => !isHere(tenant)));
  // It is for tenant 0, so it goes where that tenant is.
  const isForOthers = tenants.some((tenant) => tenant.number === 0 && !isHere(tenant));
  return {
    ...rest,
    tenants: own.map(withoutPlace),
    ...(rules ? { rules: rulesWithout(others, rules, namesOf(own), storage) } : {}),
    ...(policy ? { policy: policyWithout(others, policy) } : {}),
    ...(dryRun === undefined || isForOthers ? {} : { dryRun }),
    pd: { cluster: PD_HTTP_CLUSTER, authority: 'pd' },
  };
}

/** The filter knows no field `storage`. */
function withoutPlace(placed: PlacedTenant): TenantConfig {
  const tenant = { ...placed };
  delete tenant.storage;
  return tenant;
}

function policyWithout(others: Names, { tenants, ...policy }: PolicyConfig): PolicyConfig {
  if (!tenants) return policy;
  return {
    ...policy,
    tenants: Object.fromEntries(Object.entries(tenants).filter(([name]) => !others.has(name))),
  };
}

/**
 * Leaves out the rules for tenants of other storages. The first rule that matches counts, so callers of one that is left out must not
 * fall to a later one.
 */
function rulesWithout(
  others: Names,
  rules: readonly RuleConfig[],
  own: Names,
  storage: Storage,
): RuleConfig[] {
  const isKept = isNotFor(others);
  for (const [i, { principal = '*', tenant = '' }] of rules.entries()) {
    if (isKept(rules[i] ?? {})) continue;
    const next = rules.findIndex(
      (later, j) => j > i && isKept(later) && canTakeOver(later.principal ?? '*', principal, own),
    );
    if (next >= 0)
      fail(
        `pluginConfig.rules[${i}].principal`,
        `tenant "${tenant}" is not in storage "${storage.name}", where rules[${next}] would give its callers another tenant: make the two patterns differ`,
      );
  }
  return rules.filter(isKept);
}

const PLACEHOLDER = /\*|\{tenant\}/;

/** What `{tenant}` captures of a text, '' where there is none; undefined where the pattern does not match. */
function captured(pattern: string, text: string): string | undefined {
  const escaped = pattern.replace(/[.+?^$()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
  const found = new RegExp(`^${escaped.replace('{tenant}', '(.+)')}$`).exec(text);
  return found ? (found[1] ?? '') : undefined;
}

/** True when some principal of the left-out pattern may match the later one, which makes it one of these tenants or system. */
function canTakeOver(later: string, leftOut: string, tenants: Names): boolean {
  const [parts, gone] = [later.split('/'), leftOut.split('/')];
  if (parts.length !== gone.length) return false;
  return parts.every((part, i) => {
    const other = gone[i] ?? '';
    if (PLACEHOLDER.test(other)) return PLACEHOLDER.test(part) || captured(other, part) !== undefined;
    const name = captured(part, other);
    return name !== undefined && (!part.includes('{tenant}') || tenants.has(name));
  });
}
