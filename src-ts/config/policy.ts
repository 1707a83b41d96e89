/** Finds what `policy` and `dryRun` of a valid configuration mean for one tenant. */
import type { PluginConfig } from './types.ts';

export interface TenantPolicy {
  /** The operations refused beyond the tables, as written. */
  readonly refuse: readonly string[];
  /** The scope of dryRun: `policy` for the policy alone, `all` for the tables' refusals too. Absent: refusals are in force. */
  readonly trial?: 'policy' | 'all';
}

export function policyOf({ tenants, policy, dryRun }: PluginConfig, tenant: string): TenantPolicy {
  const refuse = [...(policy?.refuse ?? []), ...(policy?.tenants?.[tenant]?.refuse ?? [])];
  const isFirst = tenants.find(({ name }) => name === tenant)?.number === 0;
  if (dryRun !== true || !isFirst) return { refuse };
  return { refuse, trial: tenants.length === 1 ? 'all' : 'policy' };
}
