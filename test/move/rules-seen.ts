/** What PD has for a TiDB's tables, as that TiDB sees it. */
import { placementBundles } from '../../src-ts/pd/cluster.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { labelRules } from '../../src-ts/pd/regions.ts';

export interface RulesSeen {
  readonly bundles: unknown[];
  readonly labels: unknown[];
}

/** Placement rules and attributes, by an endpoint with the TiDB's certificate. */
export async function rulesSeen(pd: Endpoint): Promise<RulesSeen> {
  const bundles = (await placementBundles(pd)).filter(({ group_id: group }) => group.startsWith('TiDB_'));
  const labels = (await labelRules(pd)).filter(({ id }) => id.startsWith('schema/'));
  // The second time that PD tells a rule, it has other times and versions.
  const plain = (text: string): unknown =>
    JSON.parse(text, (name, value: unknown) =>
      name === 'version' || name === 'create_timestamp' ? undefined : value,
    );
  return plain(JSON.stringify({ bundles, labels })) as RulesSeen;
}
