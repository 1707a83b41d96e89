/** Resource groups of an imported tenant: the cluster's `reports` is `7:reports` in the mesh, as the filter names it (assembly/keys/group-names.ts). */
import { CommandError } from '../../errors.ts';
import {
  deleteResourceGroup,
  putResourceGroup,
  resourceGroups,
  type ResourceGroup,
} from '../../pd/cluster.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import { isTenantsGroup } from '../../tenants/belongings.ts';

/** Each cluster has its own, and the operator limits a tenant's. */
const DEFAULT = 'default';

/** PD takes no longer name (pkg/mcs/resourcemanager/server/manager.go, AddResourceGroup). Ids of its rules have no limit there. */
const MAX_NAME_BYTES = 32;

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

function nameAt({ number }: GroupSide, name: string): string {
  return number === undefined ? name : `${number}:${name}`;
}

function mustFit(names: Iterable<string>, target: GroupSide): void {
  for (const name of names) {
    const there = nameAt(target, name);
    const bytes = Buffer.byteLength(there);
    if (bytes <= MAX_NAME_BYTES) continue;
    const room = MAX_NAME_BYTES - Buffer.byteLength(nameAt(target, ''));
    throw new CommandError(
      'REFUSED',
      `resource group ${name} would be ${there} at the target, ${bytes} bytes, and PD takes ${MAX_NAME_BYTES}`,
      `make a group with a name of at most ${room} bytes, give it to the users of this one, and drop this one`,
    );
  }
}

/** @throws CommandError when a name of the source's groups is too long for the target's PD */
export async function groupsMustFit(source: GroupSide, target: GroupSide): Promise<void> {
  mustFit((await groupsOf(source)).keys(), target);
}

/**
 * Gives the target the source's groups, and removes those that the source has not.
 * @throws CommandError when a name is too long for the target's PD; nothing is changed there
 */
export async function carryGroups(source: GroupSide, target: GroupSide): Promise<void> {
  const [wanted, there] = await Promise.all([groupsOf(source), groupsOf(target)]);
  mustFit(wanted.keys(), target);
  for (const [name, group] of wanted)
    await putResourceGroup(target.pd, { ...group, name: nameAt(target, name) });
  for (const name of there.keys())
    if (!wanted.has(name)) await deleteResourceGroup(target.pd, nameAt(target, name));
}
