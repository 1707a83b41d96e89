/** Writes a tenant's place and phase into a mesh file or pluginConfig. Comments and the order of everything else stay. */
import { isMap, isSeq, parseDocument, type YAMLMap } from 'yaml';
import { CommandError } from '../errors.ts';
import { unknownTenant } from '../tenants/registry.ts';
import type { Orders } from './mesh.ts';

const PLACES = [['tenants'], ['pluginConfig', 'tenants']];
const FIELDS = ['keyNumber', 'keyspace', 'epochOffset', 'readableSince', 'move'] as const;

/**
 * The text with these orders.
 * @param file names the text in errors
 * @throws CommandError when the text has no such tenant
 */
export function withOrders(text: string, file: string, tenant: string, { place, move }: Orders): string {
  const isJson = /^\s*\{/.test(text);
  const document = parseDocument(text, { merge: true });
  const [problem] = document.errors;
  if (problem)
    throw new CommandError('INVALID', `${file}: ${problem.message.split('\n')[0] ?? ''}`, 'correct it');
  const list = PLACES.map((path) => document.getIn(path, true)).find((node) => isSeq(node));
  const items = isSeq(list) ? list.items.filter((item): item is YAMLMap => isMap(item)) : [];
  const entry = items.find((item) => item.get('name') === tenant);
  if (!entry)
    throw unknownTenant(
      tenant,
      items.map((item) => String(item.get('name'))),
      file,
    );
  const known = (entry.toJS(document) as { move?: { serial?: number } }).move?.serial ?? 0;
  if (move && known > move.serial)
    throw new CommandError(
      'REFUSED',
      `${file}: ${tenant} is at serial ${known} of its move already, after ${move.serial}`,
      'another worker has gone on; end this one',
    );
  const fields: Partial<Record<(typeof FIELDS)[number], unknown>> = { ...place, ...(move ? { move } : {}) };
  for (const name of FIELDS) {
    if (fields[name] === undefined) entry.delete(name);
    else entry.set(name, document.createNode(fields[name], { flow: true }));
  }
  return isJson ? `${JSON.stringify(document.toJS(), undefined, 2)}\n` : document.toString({ lineWidth: 0 });
}
