/** Writes a tenant's place and phase into a mesh file or pluginConfig. Comments and the order of everything else stay. */
import { isMap } from 'yaml';
import { CommandError } from '../errors.ts';
import { findTenant } from '../tenants/edit.ts';
import type { Orders } from './mesh.ts';

const FIELDS = ['keyNumber', 'keyspace', 'epochOffset', 'readableSince', 'state', 'move'] as const;

/**
 * The text with these orders.
 * @param file names the text in errors
 * @throws CommandError when the text has no such tenant
 */
export function withOrders(
  text: string,
  file: string,
  tenant: string,
  { place, state, move }: Orders,
): string {
  const isJson = /^\s*\{/.test(text);
  const { document, tenant: entry, node } = findTenant(text, file, tenant);
  const known = (entry['move'] as { serial?: number } | undefined)?.serial ?? 0;
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
  };
  if (!isMap(node))
    throw new CommandError('INVALID', `${file}: ${tenant} is not written as an object`, 'correct it');
  for (const name of FIELDS) {
    if (fields[name] === undefined) node.delete(name);
    else node.set(name, document.createNode(fields[name], { flow: true }));
  }
  return isJson ? `${JSON.stringify(document.toJS(), undefined, 2)}\n` : document.toString({ lineWidth: 0 });
}
