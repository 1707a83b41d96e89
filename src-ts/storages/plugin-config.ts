/** Gives each storage the part of a mesh file's pluginConfig that is its own. */
import type { PluginConfig, PolicyConfig, RuleConfig } from '../config/types.ts';
import { fail } from '../manifests/mesh-file.ts';
import {
  entriesOf,
  sideOf,
  type Entry,
  type NamedStorage,
  type Placed,
  type PlacedTenant,
} from './placed.ts';
import { mayMatchBoth } from './principal.ts';

type Names = ReadonlySet<string>;

/** A storage's own configuration, and where in the mesh file its tenants and rules are, in its order. */
export interface Part {
  readonly config: Omit<PluginConfig, 'pd'>;
  /** Like `tenants[0]` and `tenants[2].movedFrom`. */
  readonly tenants: readonly string[];
  /** Like `rules[0]`; the storage's principal of which the mesh makes the rule. */
  readonly rules: readonly string[];
}

/** A rule, and where the mesh file has it. */
interface Found {
  readonly rule: RuleConfig;
  readonly where: string;
}

/** The filter's configuration for one storage: the tenants that it has, and nothing of another's. @throws MeshFileError */
export function partOf({ storages, pluginConfig }: Placed, at: string): Part {
  const { tenants, rules, policy, dryRun, ...rest } = pluginConfig;
  const entries = tenants.flatMap((tenant, i) => entriesOf(tenant, `tenants[${i}]`, storages));
  const own = entries.filter(({ storage }) => storage === at);
  const here: Names = new Set(own.map(({ tenant }) => tenant.name));
  const others: Names = new Set(tenants.map(({ name }) => name).filter((name) => !here.has(name)));
  const found = [...handingOver(tenants, storages, at), ...(rules ? ownRules(rules, others, here, at) : [])];
  return {
    config: {
      ...rest,
      tenants: own.map(({ tenant }) => tenant),
      ...(rules ? { rules: found.map(({ rule }) => rule) } : {}),
      ...(policy ? { policy: policyWithout(others, policy) } : {}),
      // It is for tenant 0, so it goes where that tenant is.
      ...(dryRun === undefined || isElsewhere(entries, at) ? {} : { dryRun }),
    },
    tenants: own.map(({ where }) => where),
    rules: found.map(({ where }) => where),
  };
}

/** True when tenant 0 is in other storages only. */
function isElsewhere(entries: readonly Entry[], at: string): boolean {
  const zero = entries.filter(({ tenant }) => tenant.number === 0);
  return zero.length > 0 && zero.every(({ storage }) => storage !== at);
}

/**
 * Rules for the Envoys of the storages that hand tenants over to this one. They are the first, so that no rule for a storage layer's own
 * workloads takes such a call for one of those, which pass unread.
 */
function handingOver(
  tenants: readonly PlacedTenant[],
  storages: readonly NamedStorage[],
  at: string,
): Found[] {
  const names = new Map<string, { readonly where: string; readonly mayActFor: string[] }>();
  for (const { name, storage, movedFrom } of tenants) {
    if (storage !== at || movedFrom === undefined) continue;
    const from = storages.findIndex((one) => one.name === sideOf(movedFrom).storage);
    const principal = storages[from]?.principal ?? '';
    const found = names.get(principal) ?? { where: `storages[${from}].principal`, mayActFor: [] };
    names.set(principal, found);
    found.mayActFor.push(name);
  }
  return [...names].map(([principal, { where, mayActFor }]) => ({ rule: { principal, mayActFor }, where }));
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
function ownRules(rules: readonly RuleConfig[], others: Names, here: Names, at: string): Found[] {
  const isKept = ({ tenant }: RuleConfig): boolean => tenant === undefined || !others.has(tenant);
  for (const [i, { principal = '*', tenant = '' }] of rules.entries()) {
    if (isKept(rules[i] ?? {})) continue;
    const next = rules.findIndex(
      (later, j) => j > i && isKept(later) && mayMatchBoth(later.principal ?? '*', principal, here),
    );
    if (next >= 0)
      fail(
        `pluginConfig.rules[${i}].principal`,
        `tenant "${tenant}" is not in storage "${at}", where rules[${next}] would give its callers another tenant: make the two patterns differ`,
      );
  }
  return rules.flatMap((rule, i) => (isKept(rule) ? [{ rule, where: `rules[${i}]` }] : []));
}
