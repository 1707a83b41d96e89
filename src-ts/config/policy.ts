/** What `policy` and `dryRun` of a configuration that the filter takes say of one tenant. */
import type { PluginConfig } from './types.ts';

export interface TenantPolicy {
  /** What it is refused beyond the tables, as it is written. */
  readonly refuse: readonly string[];
  /** How far that is in a dry run: `policy` that only, `all` what the tables refuse too. Absent: it is in force. */
  readonly trial?: 'policy' | 'all';
}

export function policyOf({ tenants, policy, dryRun }: PluginConfig, tenant: string): TenantPolicy {
  const refuse = [...(policy?.refuse ?? []), ...(policy?.tenants?.[tenant]?.refuse ?? [])];
  const isFirst = tenants.find(({ name }) => name === tenant)?.number === 0;
  if (dryRun !== true || !isFirst) return { refuse };
  return { refuse, trial: tenants.length === 1 ? 'all' : 'policy' };
}
