/** The state of a tenant in a mesh file or pluginConfig. What is written there stays byte by byte, comments included. */
import { isDeepStrictEqual } from 'node:util';
import { isMap, isPair, isScalar, isSeq, parseDocument, type Pair, type Scalar, type YAMLMap } from 'yaml';
import { CommandError } from '../errors.ts';
import { unknownTenant } from './registry.ts';
import type { State } from './tenant.ts';

export interface StateChange {
  /** The text with the new state. */
  readonly text: string;
  readonly before: State;
}

/** The paths of the tenants in a pluginConfig and in a mesh file. */
const PLACES = [['tenants'], ['pluginConfig', 'tenants']];

type Entry = YAMLMap<Scalar<string>, Scalar>;

function entryOf(map: Entry, key: string): Pair<Scalar<string>, Scalar> | undefined {
  return map.items.find((pair) => isPair(pair) && pair.key.value === key);
}

function cannot(file: string, why: string): CommandError {
  return new CommandError(
    'INVALID',
    `${file}: ${why}`,
    'give the mesh file, and render the manifests from it; or change the pluginConfig by hand',
  );
}

/** Where a text is replaced. */
interface Splice {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

function replaced({ value }: Pair<Scalar<string>, Scalar>, state: State): Splice | undefined {
  if (!isScalar(value) || !value.range) return undefined;
  const [from, to] = value.range;
  return { from, to, text: value.type === 'PLAIN' ? state : `"${state}"` };
}

/** A new member behind the tenant's number. */
function inserted(text: string, map: Entry, state: State): Splice | undefined {
  const number = entryOf(map, 'number');
  if (!number?.key.range || !isScalar(number.value) || !number.value.range) return undefined;
  const { key, value } = number;
  const [keyAt] = key.range ?? [0];
  const [, end] = value.range ?? [0, 0];
  if (map.flow) {
    const member = key.type === 'PLAIN' ? `state: ${state}` : `"state": "${state}"`;
    return { from: end, to: end, text: `, ${member}` };
  }
  const indent = ' '.repeat(keyAt - (text.lastIndexOf('\n', keyAt) + 1));
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  // A comment may follow the number.
  const lineEnd = text.slice(end).search(/\r?\n|$/) + end;
  return { from: lineEnd, to: lineEnd, text: `${newline}${indent}state: ${state}` };
}

/**
 * Changes the state of a tenant.
 * @param file names the text in errors
 * @throws CommandError
 */
export function changeState(text: string, file: string, name: string, state: State): StateChange {
  const document = parseDocument(text, { merge: true });
  const [problem] = document.errors;
  if (problem) throw cannot(file, problem.message.split('\n')[0] ?? '');
  const root = document.toJS() as Record<string, unknown> | null;
  if (root?.['kind'] !== undefined) throw cannot(file, 'is a manifest');
  const path = PLACES.find((place) => isSeq(document.getIn(place, true)));
  const list = path && document.getIn(path, true);
  if (!path || !isSeq<Entry>(list)) throw cannot(file, 'has no list of tenants to change');
  const tenants = document.toJS() as object;
  const plain = path.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], tenants) as {
    name?: string;
    number?: number;
    state?: State;
  }[];
  const index = plain.findIndex((tenant) => tenant.name === name);
  const tenant = plain[index];
  if (!tenant) {
    const known = plain.flatMap((one) => (typeof one.name === 'string' ? [one.name] : []));
    throw unknownTenant(name, known, file);
  }
  const before = tenant.state ?? 'active';
  if (tenant.number === 0 && state !== 'active')
    throw new CommandError(
      'REFUSED',
      `${name} is tenant 0, which must stay active: its TiDBs may lead the garbage collection of the whole store`,
      'stop its TiDBs instead',
    );
  if (before === state) return { text, before };
  const map = list.items[index];
  const written = isMap(map) ? entryOf(map as Entry, 'state') : undefined;
  const splice = written
    ? replaced(written, state)
    : isMap(map)
      ? inserted(text, map as Entry, state)
      : undefined;
  const changed = splice && text.slice(0, splice.from) + splice.text + text.slice(splice.to);
  tenant.state = state;
  if (changed === undefined || !isDeepStrictEqual(parseDocument(changed, { merge: true }).toJS(), tenants))
    throw cannot(file, `the entry of ${name} is written in a way that cannot be changed here`);
  return { text: changed, before };
}
