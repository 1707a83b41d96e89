/** PD's HTTP API and the forms of requests: paths, queries with key ranges, JSON with regions. */
import { Status, UNLIMITED, type Filter } from '../../test/unit/filter.ts';
import { compare, concat, hex, unhex } from '../../test/harness/model/bytes.ts';
import type { Random } from '../../test/harness/model/random.ts';
import { memcomparable } from '../../test/harness/model/table-codec.ts';
import { mayQuoteKeys } from '../../test/harness/model/walker.ts';
import { step, type Input } from '../input.ts';
import { anyKey, foreignKey, formOf, storedKey } from '../keys.ts';
import { mutateBytes } from '../mutate.ts';
import { SPACES, type Space } from '../spaces.ts';
import { Problem, type World } from '../world.ts';
import type { Target } from './target.ts';

const utf8 = new TextEncoder();
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const fromLatin1 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

const METHODS = ['GET', 'POST', 'PATCH', 'PUT', 'CONNECT', 'post', ''];
const TYPES = [
  'application/grpc',
  'application/grpc+proto',
  'application/grpc+json',
  'application/grpc-web',
  'application/json',
  '',
];
const SEGMENTS = [
  'pd',
  'api',
  'v1',
  'regions',
  'tikvpb.Tikv',
  'KvGet',
  '.',
  '..',
  '...',
  '',
  '%2e',
  'a;b',
  'a\\b',
  'key=1',
  'ü',
  'a b',
];

/** The paths whose last segment may have escapes. */
const REGION_BY_KEY = '/pd/api/v1/region/key/';
const LABEL_RULE = '/pd/api/v1/config/region-label/rule/';

function path(world: World, random: Random): string {
  if (random.chance(30)) return random.pick(world.schema.paths);
  if (random.chance(10)) return `${LABEL_RULE}${escapeKey(utf8.encode(random.pick(RULE_IDS)), random)}`;
  if (random.chance(20)) {
    const key = escapeKey(memcomparable(anyKey(random)), random);
    return `${REGION_BY_KEY}${random.chance(90) ? key : random.pick(['', '..', 'a/b', '%', 'a b'])}`;
  }
  const segments = Array.from({ length: 1 + random.below(4) }, () => random.pick(SEGMENTS));
  return `/${segments.join('/')}${random.pick(['', '', '?', '?a=b', '#'])}`;
}

const RULE_IDS = ['a7b3-11', 'schema/d/t', '../x', 'ü', '', 'a"b', 'tidb-mesh/x', '.', 'a'.repeat(1025)];

function form(world: World, random: Random): Uint8Array {
  return fromLatin1([random.pick(METHODS), path(world, random), random.pick(TYPES)].join('\0'));
}

function escapeKey(key: Uint8Array, random: Random): string {
  return [...key]
    .map((byte) => {
      const letter = String.fromCharCode(byte);
      if (/[A-Za-z0-9_.~-]/.test(letter) && random.chance(90)) return letter;
      return byte === 0x20 ? '+' : `%${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}

const QUERY_NAMES = ['key', 'end_key', 'key', 'end_key', 'limit', 'ke%79', 'end_key2', ''];

function query(isHex: boolean, space: Space, random: Random): string {
  return Array.from({ length: random.below(5) }, () => {
    const name = random.pick(QUERY_NAMES);
    const raw = random.chance(80) ? anyKey(random) : storedKey(space, random);
    const bytes = random.chance(15) ? raw.subarray(0, 0) : formOf(space, raw, 'client', random);
    return random.chance(95) ? `${name}=${isHex ? hex(bytes) : escapeKey(bytes, random)}` : name;
  }).join('&');
}

function json(space: Space, random: Random, depth: number): unknown {
  const roll = random.below(depth > 4 ? 5 : 9);
  const key = (): string => {
    const raw = storedKey(space, random);
    return raw.length === 0 ? '' : hex(formOf(space, raw, 'store', random)).toUpperCase();
  };
  switch (roll) {
    case 0:
      return random.pick([null, true, false, 0, -1.5e300, 12345]);
    case 1:
      return random.pick(['', 'plain', 'a "quoted" text', 'Ключ', '\u0000\u001f', 'a\\']);
    case 2:
      return hex(foreignKey(space, random));
    case 3:
    case 4:
    case 5:
      return {
        id: random.below(99),
        start_key: key(),
        end_key: key(),
        ...(random.chance(30) ? { more: json(space, random, depth + 1) } : {}),
      };
    case 6:
      return Object.fromEntries(
        Array.from({ length: random.below(4) }, (_, i) => [
          random.pick(['a', 'regions', 'start_key', 'end_key', `n${i}`]),
          json(space, random, depth + 1),
        ]),
      );
    default:
      return Array.from({ length: random.below(4) }, () => json(space, random, depth + 1));
  }
}

function nested(random: Random): string {
  const depth = random.pick([10, 23, 24, 25, 26, 1000]);
  return random.chance(50)
    ? '['.repeat(depth) + ']'.repeat(depth)
    : '{"a":'.repeat(depth) + '1' + '}'.repeat(depth);
}

function labelRule(space: Space, random: Random): object {
  const bound = (): string => {
    const key = random.chance(80) ? anyKey(random) : storedKey(space, random);
    return key.length === 0 ? '' : hex(formOf(space, key, 'client', random));
  };
  const label = random.chance(80)
    ? { key: 'schedule', value: 'deny', ...(random.chance(50) ? { ttl: '5m' } : {}) }
    : {
        key: random.pick(['schedule', 'merge_option', 'tidb-mesh-tenant', 'db']),
        value: random.pick(['deny', 'allow', 'ü', '"']),
      };
  return {
    id: random.chance(80) ? 'a7b3-11' : random.pick(['/x', 'a/../b', ...RULE_IDS]),
    ...(random.chance(80) ? { index: random.pick([0, 7, 1e9, -1, 1.5]) } : {}),
    labels: Array.from({ length: random.below(3) }, () => label),
    rule_type: random.chance(90) ? 'key-range' : 'other',
    data: Array.from({ length: random.below(3) }, () => ({ start_key: bound(), end_key: bound() })),
    ...(random.chance(5) ? { more: 1 } : {}),
  };
}

function rulePatch(space: Space, random: Random): object {
  return {
    ...(random.chance(80) ? { sets: random.chance(20) ? null : [labelRule(space, random)] } : {}),
    ...(random.chance(80)
      ? { deletes: random.chance(20) ? null : [random.pick(RULE_IDS), random.pick(RULE_IDS)] }
      : {}),
  };
}

const KINDS = ['form', 'method', 'query', 'hexQuery', 'regions', 'regions', 'rule', 'patch'] as const;

function content(kind: string, world: World, space: Space, random: Random): Uint8Array {
  switch (kind) {
    case 'form':
      return form(world, random);
    case 'method':
      return fromLatin1(path(world, random));
    case 'query':
    case 'hexQuery':
      return fromLatin1(query(kind === 'hexQuery', space, random));
    case 'rule':
    case 'patch':
      return utf8.encode(
        JSON.stringify((kind === 'rule' ? labelRule : rulePatch)(space, random), null, random.below(2)),
      );
    default:
      return utf8.encode(
        random.chance(5) ? nested(random) : JSON.stringify(json(space, random, 0), null, random.below(2)),
      );
  }
}

export const http: Target = {
  name: 'http',

  make(world, random) {
    const space = random.pick(SPACES);
    const kind = random.pick(KINDS);
    const steps = [step(kind, content(kind, world, space, random))];
    return { target: 'http', space: space.name, messageLimit: UNLIMITED, heldLimit: UNLIMITED, steps };
  },

  mutate(input, other, _world, random) {
    const steps = input.steps.map((one) => {
      if (random.chance(80)) return { ...one, bytes: mutateBytes(one.bytes, random) };
      const donor = random.pick(other.steps).bytes;
      const at = random.below(one.bytes.length + 1);
      return {
        ...one,
        bytes: concat(one.bytes.subarray(0, at), donor, random.chance(50) ? one.bytes.subarray(at) : []),
      };
    });
    return { ...input, steps };
  },

  run(input, world): string[] {
    const space = world.begin(input);
    return input.steps.map(({ what, bytes }) => {
      switch (what) {
        case 'form':
          return checkForm(input, bytes, world);
        case 'method':
          return checkMethod(input, bytes, world);
        case 'query':
        case 'hexQuery':
          return checkQuery(input, bytes, what === 'hexQuery', space, world);
        case 'rule':
        case 'patch':
          return checkRules(input, bytes, what === 'patch', space, world);
        default:
          return checkRegions(input, bytes, space, world);
      }
    });
  },
};

/** One reading of the rules in assembly/policy/classify.ts. */
function expectedKind(method: string, whole: string, type: string): string {
  const [plain = ''] = whole.split('?', 1);
  if (method === 'CONNECT') return 'refused';
  const escaped = [REGION_BY_KEY, LABEL_RULE].find((start) => plain.startsWith(start));
  if (escaped !== undefined && !/^[A-Za-z0-9\-._~+%]+$/.test(plain.slice(escaped.length))) return 'refused';
  if (escaped === undefined && !/^\/[A-Za-z0-9\-._~,=:/]*$/.test(plain)) return 'refused';
  const segments = escaped !== undefined ? [] : plain.slice(1).split('/');
  if (segments.some((s, i) => (s === '' && i < segments.length - 1) || s === '.' || s === '..'))
    return 'refused';
  if (!type.startsWith('application/grpc')) return 'http';
  const exact = type === 'application/grpc' || type === 'application/grpc+proto';
  return exact && plain === whole && method === 'POST' ? 'grpc' : 'refused';
}

function checkForm(input: Input, bytes: Uint8Array, world: World): string {
  const [method = '', whole = '', type = ''] = latin1(bytes).split('\0');
  const got = world.both(input, (filter) => filter.requestKind(method, whole, type), String);
  // The harness sends UTF-8.
  const seen = [method, whole, type].map((part) => latin1(utf8.encode(part))) as [string, string, string];
  const wanted = expectedKind(...seen);
  if (got !== wanted) throw new Problem(`${method} ${whole} ${type} is ${got}, not ${wanted}`);
  return `form ${got}`;
}

function checkMethod(input: Input, bytes: Uint8Array, world: World): string {
  const name = latin1(bytes);
  const found = world.both(
    input,
    (filter) => filter.method(name),
    (result) => JSON.stringify(result ?? null),
  );
  const known = world.schema.paths.includes(name);
  if (known !== (found !== undefined)) throw new Problem(`${name} is ${known ? 'not ' : ''}found`);
  return `method ${found?.decision ?? 'unknown'}`;
}

/** As Go's url.QueryUnescape does. */
function unescape(text: string): Uint8Array {
  return fromLatin1(
    text
      .replace(/\+/g, ' ')
      .replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 16))),
  );
}

function parameters(text: string): [string, string][] {
  return text
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const sign = part.indexOf('=');
      return sign < 0 ? [part, ''] : [part.slice(0, sign), part.slice(sign + 1)];
    });
}

const BOUND_NAMES = ['key', 'end_key'];

function checkQuery(input: Input, bytes: Uint8Array, isHex: boolean, space: Space, world: World): string {
  const run = (filter: Filter): { status: Status; text: string } => filter.query(latin1(bytes), isHex);
  const got = world.both(input, run, ({ status, text }) => `${Status[status]} ${text}`);
  if (Status[got.status] === undefined) throw new Problem(`ends in the status ${got.status}`);
  if (got.status !== Status.OK) return `query ${Status[got.status]}`;
  const sent = latin1(utf8.encode(latin1(bytes)));
  const out = parameters(latin1(utf8.encode(got.text)));
  for (const [i, name] of BOUND_NAMES.entries()) {
    const values = out.filter(([n]) => latin1(unescape(n)) === name);
    if (values.length !== 1) throw new Problem(`${values.length} values of ${name} in ${got.text}`);
    const value = values[0]![1];
    const place = isHex ? unhex(value) : unescape(value);
    if (value === '' && i === 0 && space.isTenant0) continue;
    if (!space.holdsPlace(place)) throw new Problem(`${name} reaches ${hex(place)}, outside, in ${got.text}`);
  }
  const others = (list: [string, string][]): string =>
    JSON.stringify(list.filter(([n]) => !BOUND_NAMES.includes(n)));
  if (others(out) !== others(parameters(sent)))
    throw new Problem(`other parameters of ${sent} became ${got.text}`);
  return 'query OK';
}

/** Every string in a JSON value, with the name it has. */
function* strings(value: unknown, name = ''): Generator<[string, string]> {
  if (typeof value === 'string') yield [name, value];
  else if (Array.isArray(value)) for (const item of value) yield* strings(item);
  else if (typeof value === 'object' && value !== null)
    for (const [key, item] of Object.entries(value)) yield* strings(item, key);
}

function parsed(text: string): unknown {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

function checkRegions(input: Input, bytes: Uint8Array, space: Space, world: World): string {
  const text = new TextDecoder().decode(bytes);
  const got = world.both(
    input,
    (filter) => filter.regions(text),
    ({ status, text: out }) => `${Status[status]} ${out}`,
  );
  if (Status[got.status] === undefined) throw new Problem(`ends in the status ${got.status}`);
  if (got.status !== Status.OK) return `regions ${Status[got.status]}`;
  const before = parsed(text);
  if (before === undefined) return 'regions OK, no JSON';
  const after = parsed(got.text);
  if (after === undefined) throw new Problem(`${text} became ${got.text}, which is not JSON`);
  const given = text.toLowerCase();
  for (const [name, value] of strings(after)) {
    if (name !== 'start_key' && name !== 'end_key') {
      if (mayQuoteKeys(value) && /^[\x20-\x7e]*$/.test(value) && !/["\\/]/.test(value))
        throw new Problem(`tells ${value}`);
      continue;
    }
    if (value === '') continue;
    const key = space.fromForm(unhex(value), 'client');
    if (key === undefined) {
      if (space.ownsBroken(unhex(value)) && given.includes(value.toLowerCase())) continue;
      throw new Problem(`${name} is ${value}, which is no encoded key`);
    }
    const stored = space.encode(key, 'key');
    const clamp = space.decode(concat(space.start, [0xff]), 'lower');
    if (clamp instanceof Uint8Array && compare(clamp, key) === 0) continue;
    if (!(stored instanceof Uint8Array) || !given.includes(hex(space.toForm(stored, 'store'))))
      throw new Problem(`${name} shows ${value}, which is not the tenant's`);
  }
  return `regions OK ${got.text.length === text.length}`;
}

interface RulesOut {
  sets?: RuleOut[] | null;
  deletes?: string[] | null;
}

interface RuleOut {
  id: string;
  labels: { key: string; value: string }[];
  data: { start_key: string; end_key: string }[];
}

function rulesPrefix(space: Space): string {
  return space.isTenant0 ? '' : `tidb-mesh:${space.tenant}:`;
}

function ruleProblem(rule: RuleOut, space: Space): string | undefined {
  const prefix = rulesPrefix(space);
  if (!rule.id.startsWith(prefix) || rule.id === prefix) return `the id ${rule.id}`;
  const own = rule.id.slice(prefix.length);
  if (own.split('/').some((segment) => /^\.{0,2}$/.test(segment))) return `the id ${rule.id} leads elsewhere`;
  if (own.startsWith('tidb-mesh/') || (space.isTenant0 && own.startsWith('tidb-mesh:')))
    return `the id ${rule.id}, which is reserved`;
  const label = rule.labels.find(({ key }) => key.startsWith('tidb-mesh'));
  if (label !== undefined) return `the label ${label.key}=${label.value}`;
  for (const { start_key: start, end_key: end } of rule.data)
    for (const [bound, isStart] of [
      [start, true],
      [end, false],
    ] as const) {
      if (bound === '' && isStart && space.isTenant0) continue;
      const key = space.fromForm(unhex(bound), 'store');
      if (key === undefined) return `the bound ${bound}, which is no encoded key`;
      if (!space.contains(key) && compare(key, space.behind) !== 0) return `the bound ${bound}, outside`;
    }
  return undefined;
}

function checkRules(input: Input, bytes: Uint8Array, patch: boolean, space: Space, world: World): string {
  const text = new TextDecoder().decode(bytes);
  const got = world.both(
    input,
    (filter) => filter.labelRules(text, patch),
    ({ status, text: out }) => `${Status[status]} ${out}`,
  );
  if (Status[got.status] === undefined) throw new Problem(`ends in the status ${got.status}`);
  const word = `${Status[got.status]} ${patch ? 'patch' : 'rule'}`;
  if (got.status !== Status.OK || parsed(text) === undefined) return word;
  const after = parsed(got.text) as { value: RuleOut & RulesOut } | undefined;
  if (after === undefined) throw new Problem(`${text} became ${got.text}, which is not JSON`);
  const rules = patch ? (after.value.sets ?? []) : [after.value];
  for (const rule of rules) {
    const problem = ruleProblem(rule, space);
    if (problem !== undefined) throw new Problem(`sets ${problem}`);
  }
  const deletes = patch ? (after.value.deletes ?? []) : [];
  const foreign = deletes.find((id) => !id.startsWith(rulesPrefix(space)));
  if (foreign !== undefined) throw new Problem(`deletes ${foreign}`);
  return word;
}
