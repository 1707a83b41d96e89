/** Writes a tenant's place and phase into a mesh file or pluginConfig. Comments and the order of everything else stay. */
import { isMap } from 'yaml';
import { CommandError } from '../../errors.ts';
import { findTenant } from '../../tenants/edit.ts';
import { PLACE_FIELDS } from '../place.ts';
import type { Orders, OtherSide } from './mesh.ts';

/** Where else a tenant has an entry. Only a move between two storage layers says so. */
const SIDES = ['movesTo', 'movedFrom'] as const;
const FIELDS = [...PLACE_FIELDS, 'state', 'move', ...SIDES] as const;

/** A tenant's entry at the other storage layer, as the mesh file has it. */
function sideOf({ place, move }: OtherSide): object {
  return { ...place, ...(move ? { move } : {}) };
}

/**
 * A move that the configuration tells of may have its record at a PD that nobody has asked.
 * @throws CommandError when the tenant's entry says that it is being moved
 */
export function mustNotBeMoving(entry: object): void {
  const { name, move, movesTo } = entry as { name?: string; move?: { serial?: number }; movesTo?: unknown };
  if (move === undefined && movesTo === undefined) return;
  const serial = move?.serial === undefined ? '' : `, at serial ${move.serial}`;
  throw new CommandError(
    'REFUSED',
    `${name ?? ''} is being moved already, as the configuration says${serial}`,
    'end that move first; where no PD has a record of it: docs/move.md#to-tell-the-end-of-a-move-by-hand',
  );
}

/** The highest serial of a move in a tenant's entry, on whichever side; 0 without one. */
export function serialIn(entry: object): number {
  const { move, movesTo, movedFrom } = entry as Record<string, unknown>;
  const sides = [{ move }, movesTo, movedFrom] as ({ move?: { serial?: number } } | undefined)[];
  return Math.max(...sides.map((side) => side?.move?.serial ?? 0));
}

/**
 * The text with these orders.
 * @param file names the text in errors
 * @throws CommandError when the text has no such tenant
 */
export function withOrders(
  text: string,
  file: string,
  tenant: string,
  { place, state, move, other }: Orders,
): string {
  const isJson = /^\s*\{/.test(text);
  const { document, tenant: entry, node } = findTenant(text, file, tenant);
  const known = serialIn(entry);
  if (move && known > move.serial)
    throw new CommandError(
      'REFUSED',
      `${file}: ${tenant} is at serial ${known} of its move already, after ${move.serial}`,
      'another worker has gone on; end this one',
    );
  const fields: Partial<Record<(typeof FIELDS)[number], unknown>> = {
    ...place,
    // A state that the move does not change is the operator's. Without one, a tenant is active.
    state: state === undefined ? entry['state'] : state === 'active' ? undefined : state,
    ...(move ? { move } : {}),
    ...Object.fromEntries(SIDES.map((side) => [side, place.storage === undefined ? entry[side] : undefined])),
    ...(other ? { [other.as]: sideOf(other) } : {}),
  };
  if (!isMap(node))
    throw new CommandError('INVALID', `${file}: ${tenant} is not written as an object`, 'correct it');
  if (place.storage !== undefined) node.set('storage', place.storage);
  for (const name of FIELDS) {
    if (fields[name] === undefined) node.delete(name);
    else node.set(name, document.createNode(fields[name], { flow: true }));
  }
  return isJson ? `${JSON.stringify(document.toJS(), undefined, 2)}\n` : document.toString({ lineWidth: 0 });
}
