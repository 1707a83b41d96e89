/**
 * What a TiDB has PD keep for its tables: placement rules and attributes. In the mesh their names begin with the tenant's, but those of
 * tenant 0, and their keys are the store's, as the filter writes them (assembly/pd-http/rule-names.ts). So they must follow a move.
 */
import {
  deletePlacementGroup,
  placementBundles,
  setPlacementBundles,
  type PlacementBundle,
} from '../../pd/cluster.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import { deleteLabelRule, labelRules, setLabelRule, type LabelRule } from '../../pd/regions.ts';
import { ownPrefix } from '../../tenants/belongings.ts';
import type { MoveSpace } from './key-space.ts';

/** TiDB's names: pkg/ddl/placement GroupID and bundles of ranges, pkg/ddl/label IDPrefix. */
const OWN_GROUP = /^TiDB_(DDL_\d+|GLOBAL|META)$/;
const OWN_LABEL = /^schema\//;

/** One side of a move. */
export interface RulesSide {
  readonly pd: Endpoint;
  readonly space: MoveSpace;
  /** The tenant's name where it stands before its names; undefined in a cluster outside of the mesh, and for tenant 0. */
  readonly tenant: string | undefined;
  /** A cluster outside of the mesh: nobody else's keys lie behind the tenant's. */
  readonly isOutside: boolean;
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
  const unbounded = to.isOutside ? '' : hexOf(to.space.end);
  return {
    start_key: hexOf(to.space.boundary(logical(start_key) ?? Buffer.alloc(0))),
    end_key: end === undefined ? unbounded : hexOf(to.space.boundary(end)),
  };
}

function moved(bundle: PlacementBundle, from: RulesSide, to: RulesSide, group: string): PlacementBundle {
  const rules = (bundle.rules ?? []).map((rule) => ({ ...rule, group_id: group, ...mapped(from, to, rule) }));
  return { ...bundle, group_id: group, rules };
}

function movedLabels(rule: LabelRule, from: RulesSide, to: RulesSide, id: string): LabelRule {
  return { ...rule, id, data: (rule.data ?? []).map((range) => ({ ...range, ...mapped(from, to, range) })) };
}

async function carryPlacement(source: RulesSide, target: RulesSide): Promise<void> {
  const [all, there] = await Promise.all([placementBundles(source.pd), placementBundles(target.pd)]);
  const wanted: PlacementBundle[] = [];
  for (const bundle of all) {
    const name = ownName(source, OWN_GROUP, bundle.group_id);
    if (name === undefined) continue;
    wanted.push(moved(bundle, source, target, nameAt(target, name)));
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
    const id = nameAt(target, name);
    await setLabelRule(target.pd, movedLabels(rule, source, target, id));
    kept.add(id);
  }
  for (const { id } of there)
    if (ownName(target, OWN_LABEL, id) !== undefined && !kept.has(id)) await deleteLabelRule(target.pd, id);
}

/** Gives the target the source's placement rules and attributes, and removes those that the source has not. */
export async function carryRules(source: RulesSide, target: RulesSide): Promise<void> {
  await carryPlacement(source, target);
  await carryAttributes(source, target);
}

/** Makes rules of the place that a tenant has left rules of the place where it is served now. Both are in one cluster. */
export async function takeRulesAlong(left: RulesSide, served: RulesSide): Promise<void> {
  const liesThere = ({ start_key }: Keys): boolean =>
    left.space.owns(left.space.fromPd(Buffer.from(start_key, 'hex')));
  const bundles = (await placementBundles(left.pd)).filter(
    ({ group_id: group, rules }) =>
      ownName(left, OWN_GROUP, group) !== undefined && (rules ?? []).some(liesThere),
  );
  const placed = bundles.map((bundle) => moved(bundle, left, served, bundle.group_id));
  if (placed.length > 0) await setPlacementBundles(served.pd, placed);
  for (const rule of await labelRules(left.pd))
    if (ownName(left, OWN_LABEL, rule.id) !== undefined && (rule.data ?? []).some(liesThere))
      await setLabelRule(served.pd, movedLabels(rule, left, served, rule.id));
}
