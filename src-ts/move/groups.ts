/** Resource groups of an imported tenant: the cluster's `reports` is `7:reports` in the mesh, as the filter names it (assembly/keys/group-names.ts). */
import { deleteResourceGroup, putResourceGroup, resourceGroups, type ResourceGroup } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { isTenantsGroup } from '../tenants/belongings.ts';

/** Each cluster has its own, and the operator limits a tenant's. */
const DEFAULT = 'default';

/** One side: its PD, and what stands before the tenant's names there. */
export interface GroupSide {
  readonly pd: Endpoint;
  /** Undefined in a cluster outside of the mesh. */
  readonly number: number | undefined;
}

function ownName({ number }: GroupSide, name: string): string | undefined {
  if (number === undefined) return name === DEFAULT ? undefined : name;
  return isTenantsGroup(name, number) ? name.slice(`${number}:`.length) : undefined;
}

async function groupsOf(side: GroupSide): Promise<Map<string, ResourceGroup>> {
  const found = new Map<string, ResourceGroup>();
  for (const group of await resourceGroups(side.pd)) {
    const name = ownName(side, group.name);
    if (name !== undefined) found.set(name, group);
  }
  return found;
}

/** Gives the target the source's groups, and removes those that the source has not. */
export async function carryGroups(source: GroupSide, target: GroupSide): Promise<void> {
  const [wanted, there] = await Promise.all([groupsOf(source), groupsOf(target)]);
  const nameAt = (name: string): string => (target.number === undefined ? name : `${target.number}:${name}`);
  for (const [name, group] of wanted) await putResourceGroup(target.pd, { ...group, name: nameAt(name) });
  for (const name of there.keys()) if (!wanted.has(name)) await deleteResourceGroup(target.pd, nameAt(name));
}
