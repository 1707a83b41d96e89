/**
 * What a TiDB has PD keep for its tables, of an imported tenant: placement rules and attributes. In the mesh their names begin with the
 * tenant's, and their keys are the store's, as the filter writes them (assembly/pd-http/rule-names.ts).
 */
import {
  deletePlacementGroup,
  placementBundles,
  setPlacementBundles,
  type PlacementBundle,
} from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { deleteLabelRule, labelRules, setLabelRule, type LabelRule } from '../pd/regions.ts';
import { ownPrefix } from '../tenants/belongings.ts';
import type { MoveSpace } from './key-space.ts';

/** TiDB's names: pkg/ddl/placement GroupID and bundles of ranges, pkg/ddl/label IDPrefix. */
const OWN_GROUP = /^TiDB_(DDL_\d+|GLOBAL|META)$/;
const OWN_LABEL = /^schema\//;

/** One side of an import. */
export interface RulesSide {
  readonly pd: Endpoint;
  readonly space: MoveSpace;
  /** Undefined in a cluster outside of the mesh. */
  readonly tenant: string | undefined;
}

interface Keys {
  readonly start_key: string;
  readonly end_key: string;
}

/** The name that TiDB knows; undefined for what is not the tenant's. */
function ownName({ tenant }: RulesSide, pattern: RegExp, id: string): string | undefined {
  if (tenant === undefined) return pattern.test(id) ? id : undefined;
  const prefix = ownPrefix(tenant);
  return id.startsWith(prefix) ? id.slice(prefix.length) : undefined;
}

function nameAt({ tenant }: RulesSide, name: string): string {
  return tenant === undefined ? name : ownPrefix(tenant) + name;
}

/** A range in hex, in PD's form, of one key space in another. An empty end has no bound; in the mesh it becomes the tenant's. */
function mapped(from: RulesSide, to: RulesSide, { start_key, end_key }: Keys): Keys {
  const logical = (hex: string): Buffer | undefined =>
    from.space.logicalBoundary(from.space.fromPd(Buffer.from(hex, 'hex')));
  const hexOf = (physical: Buffer): string => to.space.toPd(physical).toString('hex');
  const end = end_key === '' ? undefined : logical(end_key);
  const unbounded = to.tenant === undefined ? '' : hexOf(to.space.end);
  return {
    start_key: hexOf(to.space.boundary(logical(start_key) ?? Buffer.alloc(0))),
    end_key: end === undefined ? unbounded : hexOf(to.space.boundary(end)),
  };
}

async function carryPlacement(source: RulesSide, target: RulesSide): Promise<void> {
  const [all, there] = await Promise.all([placementBundles(source.pd), placementBundles(target.pd)]);
  const wanted: PlacementBundle[] = [];
  for (const bundle of all) {
    const name = ownName(source, OWN_GROUP, bundle.group_id);
    if (name === undefined) continue;
    const group = nameAt(target, name);
    const rules = (bundle.rules ?? []).map((rule) => ({
      ...rule,
      group_id: group,
      ...mapped(source, target, rule),
    }));
    wanted.push({ ...bundle, group_id: group, rules });
  }
  if (wanted.length > 0) await setPlacementBundles(target.pd, wanted);
  const kept = new Set(wanted.map(({ group_id }) => group_id));
  for (const { group_id: group } of there)
    if (ownName(target, OWN_GROUP, group) !== undefined && !kept.has(group))
      await deletePlacementGroup(target.pd, group);
}

async function carryAttributes(source: RulesSide, target: RulesSide): Promise<void> {
  const [all, there] = await Promise.all([labelRules(source.pd), labelRules(target.pd)]);
  const kept = new Set<string>();
  for (const rule of all) {
    const name = ownName(source, OWN_LABEL, rule.id);
    if (name === undefined) continue;
    const data = (rule.data ?? []).map((range) => ({ ...range, ...mapped(source, target, range) }));
    const carried: LabelRule = { ...rule, id: nameAt(target, name), data };
    await setLabelRule(target.pd, carried);
    kept.add(carried.id);
  }
  for (const { id } of there)
    if (ownName(target, OWN_LABEL, id) !== undefined && !kept.has(id)) await deleteLabelRule(target.pd, id);
}

/** Gives the target the source's placement rules and attributes, and removes those that the source has not. */
export async function carryRules(source: RulesSide, target: RulesSide): Promise<void> {
  await carryPlacement(source, target);
  await carryAttributes(source, target);
}
