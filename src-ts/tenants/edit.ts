/** Changes one member of a tenant in a mesh file or pluginConfig. What is written there stays byte by byte, comments included. */
import { isDeepStrictEqual } from 'node:util';
import {
  isMap,
  isPair,
  isScalar,
  isSeq,
  parseDocument,
  type Document,
  type Pair,
  type Scalar,
  type YAMLMap,
} from 'yaml';
import { CommandError } from '../errors.ts';
import { unknownTenant } from './registry.ts';

/** The paths of the tenants in a pluginConfig and in a mesh file. */
const PLACES = [['tenants'], ['pluginConfig', 'tenants']];

type Entry = YAMLMap<Scalar<string>>;
type Member = Pair<Scalar<string>>;
type Value = string | number;

/** A tenant as the file has it. */
export type PlainTenant = { name?: string; number?: number } & Record<string, unknown>;

/** A member of the tenant, or one of an object in it. */
export type Path = readonly [string] | readonly [string, string];

function memberOf(map: Entry, key: string): Member | undefined {
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

function replaced({ value: old }: Member, value: Value): Splice | undefined {
  if (!isScalar(old) || !old.range) return undefined;
  const [from, to] = old.range;
  return { from, to, text: typeof value === 'number' || old.type === 'PLAIN' ? `${value}` : `"${value}"` };
}

/** A new member behind another, whose value is a scalar. An object of one member is written on one line. */
function inserted(
  text: string,
  map: Entry,
  behind: Member | undefined,
  path: Path,
  value: Value,
): Splice | undefined {
  if (!behind?.key.range || !isScalar(behind.value) || !behind.value.range) return undefined;
  const { key, value: before } = behind;
  const [keyAt] = key.range ?? [0];
  const [, end] = before.range ?? [0, 0];
  const isPlain = key.type === 'PLAIN';
  const quoted = (name: Value): string => (isPlain || typeof name === 'number' ? `${name}` : `"${name}"`);
  const [outer, inner] = path;
  const member =
    inner === undefined
      ? `${quoted(outer)}: ${quoted(value)}`
      : `${quoted(outer)}: { ${quoted(inner)}: ${quoted(value)} }`;
  if (map.flow) return { from: end, to: end, text: `, ${member}` };
  const indent = ' '.repeat(keyAt - (text.lastIndexOf('\n', keyAt) + 1));
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  // A comment may follow the number.
  const lineEnd = text.slice(end).search(/\r?\n|$/) + end;
  return { from: lineEnd, to: lineEnd, text: `${newline}${indent}${member}` };
}

function spliceOf(text: string, map: Entry, path: Path, value: Value): Splice | undefined {
  const [outer, inner] = path;
  const written = memberOf(map, outer);
  if (!written) return inserted(text, map, memberOf(map, 'number'), path, value);
  if (inner === undefined) return replaced(written, value);
  if (!isMap(written.value)) return undefined;
  const object = written.value as Entry;
  const member = memberOf(object, inner);
  return member ? replaced(member, value) : inserted(text, object, object.items[0], [inner], value);
}

function set(tenant: PlainTenant, [outer, inner]: Path, value: Value): void {
  tenant[outer] = inner === undefined ? value : { ...(tenant[outer] as object | undefined), [inner]: value };
}

/** A tenant in a parsed file. */
interface Found {
  readonly document: Document;
  /** The whole content; a change of `tenant` is one of it. */
  readonly whole: object;
  readonly tenant: PlainTenant;
  /** Where it is written. */
  readonly node: unknown;
}

/** The tenants that a mesh file or pluginConfig lists. */
interface Listed {
  readonly document: Document;
  readonly whole: object;
  readonly plain: readonly PlainTenant[];
  readonly nodes: readonly unknown[];
}

/**
 * Finds the tenants in a mesh file or pluginConfig.
 * @param file names the text in errors
 * @throws CommandError when the text is not one in which tenants can be changed
 */
export function listedTenants(text: string, file: string): Listed {
  const document = parseDocument(text, { merge: true });
  const [problem] = document.errors;
  if (problem)
    throw cannot(
      file,
      problem.code === 'MULTIPLE_DOCS' ? 'is a manifest' : (problem.message.split('\n')[0] ?? ''),
    );
  const root = document.toJS() as Record<string, unknown> | null;
  if (root?.['kind'] !== undefined) throw cannot(file, 'is a manifest');
  const place = PLACES.find((candidate) => isSeq(document.getIn(candidate, true)));
  const list = place && document.getIn(place, true);
  if (!place || !isSeq(list)) throw cannot(file, 'has no list of tenants to change');
  const whole = document.toJS() as object;
  const plain = place.reduce<unknown>(
    (at, key) => (at as Record<string, unknown>)[key],
    whole,
  ) as PlainTenant[];
  return { document, whole, plain, nodes: list.items };
}

/**
 * Finds a tenant in a mesh file or pluginConfig.
 * @param file names the text in errors
 * @throws CommandError
 */
export function findTenant(text: string, file: string, name: string): Found {
  const { document, whole, plain, nodes } = listedTenants(text, file);
  const index = plain.findIndex((tenant) => tenant.name === name);
  const tenant = plain[index];
  if (tenant) return { document, whole, tenant, node: nodes[index] };
  const known = plain.flatMap((one) => (typeof one.name === 'string' ? [one.name] : []));
  throw unknownTenant(name, known, file);
}

/**
 * Sets a member of a tenant.
 * @param file names the text in errors
 * @param byDefault what holds where the member is missing
 * @param check sees the tenant as it is, before anything is changed
 * @throws CommandError
 */
export function changeTenant(
  text: string,
  file: string,
  name: string,
  path: Path,
  value: Value,
  byDefault?: Value,
  check: (tenant: PlainTenant) => void = () => {},
): string {
  const { whole, tenant, node } = findTenant(text, file, name);
  check(tenant);
  const [outer, inner] = path;
  const old = inner === undefined ? tenant[outer] : (tenant[outer] as PlainTenant | undefined)?.[inner];
  if ((old ?? byDefault) === value) return text;
  const splice = isMap(node) ? spliceOf(text, node as Entry, path, value) : undefined;
  const changed = splice && text.slice(0, splice.from) + splice.text + text.slice(splice.to);
  set(tenant, path, value);
  if (changed === undefined || !isDeepStrictEqual(parseDocument(changed, { merge: true }).toJS(), whole))
    throw cannot(file, `the entry of ${name} is written in a way that cannot be changed here`);
  return changed;
}
