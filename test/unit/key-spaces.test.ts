/** The laws of all kinds of key spaces, on both builds and on the model. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  BUILD_NAMES,
  buildFilter,
  Filter,
  Mapped,
  type MapName,
  type SpaceChoice,
  Status,
} from './filter.ts';
import { compare, concat, EMPTY, hex, unhex } from '../harness/model/bytes.ts';
import * as model from '../harness/model/key-spaces.ts';
import type { KeySpace } from '../harness/model/key-spaces.ts';
import { Random } from '../harness/model/random.ts';
import { messageId } from '../harness/model/schema.ts';
import { ADVERSARIAL, edges, mutated, randomKey, ROW, sorted, table } from '../harness/model/some-keys.ts';
import { BROKEN, memcomparable, OUTSIDE, type Result } from '../harness/model/table-codec.ts';
import { bytes, scalar } from '../harness/model/wire.ts';

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const keyspace = (id: number, mode: 'txn' | 'raw'): SpaceChoice => ({ number: 3, keyspace: { id, mode } });
const prefix = (bytes: Uint8Array, mode: 'txn' | 'raw'): SpaceChoice => ({
  number: 4,
  prefix: { bytes, mode },
});

/** Prefixes of lengths around the groups of the memcomparable form, and such that end in FF. */
const PREFIXES = [
  ascii('app1:'),
  ...['00', '01', 'ff00', 'fffe', '61ffff', '6162636465ffffff', '61626364656667ff', '616263646566676869'].map(
    unhex,
  ),
  ascii('0123456789abcdef'),
  ascii('0123456789abcdefg'),
];

/** Those of them of which none begins another one. */
const APART = PREFIXES.slice(0, -1);

const TABLES = [1, 2, 255, 256, 32766].map((number) => ({ number }));
const CHOICES: SpaceChoice[] = [
  { number: 0 },
  ...TABLES,
  { number: 2000, keyNumber: 2001 },
  { number: 0, keyNumber: 2002 },
  ...[0, 1, 7, 255, 256, 0xffff, 0xfffffe, 0xffffff].map((id) => keyspace(id, 'txn')),
  ...[0, 1, 255, 0xffffff].map((id) => keyspace(id, 'raw')),
  ...PREFIXES.map((bytes) => prefix(bytes, 'txn')),
  ...PREFIXES.map((bytes) => prefix(bytes, 'raw')),
];
const SPACES = CHOICES.map(model.spaceOf);
const NAMED = SPACES.map((space): [string, KeySpace] => [space.name, space]);

function logicalKeys(seed: number, count: number): Uint8Array[] {
  const random = new Random(seed);
  return sorted([...ADVERSARIAL, ...Array.from({ length: count }, () => randomKey(random))]);
}

/** Raw keys of the store: of this space, around its edges, of the other kinds, and whatever else. */
function physicalKeys(space: KeySpace, seed: number, count: number): Uint8Array[] {
  const random = new Random(seed);
  const images = Array.from({ length: count }, () => {
    const owner = random.chance(60) ? space : random.pick(SPACES);
    return owner.encodeLower(randomKey(random)) as Uint8Array;
  });
  return sorted([
    ...ADVERSARIAL,
    ...edges(space),
    ...images,
    ...images.slice(0, 40).map((key) => mutated(random, key)),
  ]);
}

function asked(filter: Filter, name: MapName, key: Uint8Array): Result {
  const { mapped, bytes } = filter.map(name, key);
  if (mapped === Mapped.OUTSIDE) return OUTSIDE;
  return mapped === Mapped.BROKEN ? BROKEN : bytes;
}

const shown = (result: Result): string => (typeof result === 'string' ? result : hex(result) || "''");

type Expected = (space: KeySpace, key: Uint8Array) => Result;
const EXPECTED: Record<MapName, Expected> = {
  encodeKey: (space, key) => space.encodeKey(key),
  encodeLower: (space, key) => space.encodeLower(key),
  encodeUpper: (space, key) => space.encodeUpper(key),
  decodeKey: (space, key) => space.decodeKey(key),
  decodeStart: (space, key) => space.decodeStart(key),
  decodeEnd: (space, key) => space.decodeEnd(key),
  encodeEncodedKey: (space, key) => model.encodeEncoded(space, key, 'key'),
  encodeEncodedLower: (space, key) => model.encodeEncoded(space, key, 'lower'),
  encodeEncodedUpper: (space, key) => model.encodeEncoded(space, key, 'upper'),
  decodeEncodedKey: (space, key) => model.decodeEncoded(space, key, 'key'),
  decodeEncodedStart: (space, key) => model.decodeEncoded(space, key, 'lower'),
  decodeEncodedEnd: (space, key) => model.decodeEncoded(space, key, 'upper'),
  encodePlaceLower: (space, key) => model.encodePlace(space, key, 'lower') ?? BROKEN,
  encodePlaceUpper: (space, key) => model.encodePlace(space, key, 'upper') ?? BROKEN,
};

function agree(filter: Filter, space: KeySpace, names: MapName[], keys: Uint8Array[]): void {
  for (const name of names)
    for (const key of keys) {
      const want = `${name} ${hex(key)} -> ${shown(EXPECTED[name](space, key))}`;
      const got = `${name} ${hex(key)} -> ${shown(asked(filter, name, key))}`;
      if (want !== got) expect(got).toBe(want);
    }
}

/** A message's fields in hex, sorted: an inserted one may lie anywhere. Lengths and tags take one byte each here. */
function fieldsOf(message: Uint8Array): string[] {
  const fields: string[] = [];
  for (let at = 0; at < message.length;) {
    const size = (message[at] as number) % 8 === 2 ? 2 + (message[at + 1] as number) : 2;
    fields.push(hex(message.subarray(at, at + size)));
    at += size;
  }
  return fields.sort();
}

beforeAll(buildFilter);

/** What must come out, spelled: space, mapping, key, result in hex; memcomparable bytes with their groups apart. */
const CASES: [string, SpaceChoice, MapName, string, string][] = [
  ['a meta key of a table tenant', { number: 5 }, 'encodeKey', '6d31', '748005000000000000 6d31'],
  [
    'a row of a table tenant',
    { number: 5 },
    'encodeKey',
    `748000000000000007${ROW}`,
    `748005000000000007${ROW}`,
  ],
  ['the open end of a table tenant', { number: 5 }, 'encodeUpper', '', '748006000000000000'],
  ['a row of tenant 0', { number: 0 }, 'encodeKey', `748000000000000007${ROW}`, `748000000000000007${ROW}`],
  [
    "a table tenant's row, named by tenant 0",
    { number: 0 },
    'encodeKey',
    `748005000000000007${ROW}`,
    OUTSIDE,
  ],
  ['the empty key, named by tenant 0', { number: 0 }, 'encodeKey', '', OUTSIDE],
  ["the place of tenant 0's first region", { number: 0 }, 'encodeEncodedKey', '', ''],
  [
    "the place of tenant 0's first region, encoded",
    { number: 0 },
    'encodeEncodedKey',
    '0000000000000000f7',
    '0000000000000000f7',
  ],
  ['the open start of tenant 0', { number: 0 }, 'encodeLower', '', ''],
  ['the open end of tenant 0', { number: 0 }, 'encodeUpper', '', '748001000000000000'],
  ['a far end of tenant 0', { number: 0 }, 'encodeUpper', '75', '748001000000000000'],
  ['a far start of tenant 0', { number: 0 }, 'encodeLower', '748001', '748001000000000000'],
  [
    'the open end of tenant 0, encoded',
    { number: 0 },
    'encodeEncodedUpper',
    '',
    '7480010000000000ff 0000000000000000f8',
  ],
  [
    'a region that ends where table tenants begin',
    { number: 0 },
    'decodeEncodedEnd',
    '7480010000000000ff 0000000000000000f8',
    '',
  ],
  [
    'a region that starts where table tenants begin',
    { number: 0 },
    'decodeEncodedStart',
    '7480010000000000ff 0000000000000000f8',
    OUTSIDE,
  ],
  ['a key of a keyspace', keyspace(7, 'txn'), 'encodeKey', '6161', '78000007 6161'],
  ['a key of a raw keyspace', keyspace(7, 'raw'), 'encodeKey', '6161', '72000007 6161'],
  ['the open end of a keyspace', keyspace(255, 'txn'), 'encodeUpper', '', '78000100'],
  ['the open end of the last keyspace', keyspace(0xffffff, 'txn'), 'encodeUpper', '', '79000000'],
  [
    'a place in a keyspace',
    keyspace(7, 'txn'),
    'encodeEncodedKey',
    '6161000000000000f9',
    '7800000761610000fd',
  ],
  ['a place in a raw keyspace', keyspace(7, 'raw'), 'encodeEncodedKey', '6161', '7200000761610000fd'],
  ['the whole of a keyspace', keyspace(7, 'txn'), 'encodeEncodedUpper', '', '7800000800000000fb'],
  [
    'a boundary in a keyspace',
    keyspace(7, 'txn'),
    'decodeEncodedStart',
    '7800000761610000fd',
    '6161000000000000f9',
  ],
  ['a boundary in a raw keyspace', keyspace(7, 'raw'), 'decodeEncodedStart', '7200000761610000fd', '6161'],
  ['the boundary before a keyspace', keyspace(7, 'txn'), 'decodeEncodedStart', '7800000700000000fb', ''],
  ['the boundary behind a keyspace', keyspace(7, 'txn'), 'decodeEncodedEnd', '7800000800000000fb', ''],
  ['a boundary between two keyspaces', keyspace(255, 'txn'), 'decodeStart', '780001', OUTSIDE],
  ['a key behind a prefix', prefix(ascii('app1:'), 'raw'), 'encodeKey', '01', '617070313a 01'],
  ['the open end of a prefix', prefix(ascii('app1:'), 'raw'), 'encodeUpper', '', '617070313b'],
  ['the open end of a prefix that ends in FF', prefix(unhex('61ffff'), 'raw'), 'encodeUpper', '', '62'],
  ['a place behind a raw prefix', prefix(ascii('app1:'), 'raw'), 'encodeEncodedKey', '01', '617070313a01'],
  [
    'a place behind a prefix',
    prefix(ascii('app1:'), 'txn'),
    'encodeEncodedKey',
    '0100000000000000f8',
    '617070313a010000fd',
  ],
];

describe.each([...BUILD_NAMES, 'model'] as const)('%s', (build) => {
  let ask: (choice: SpaceChoice, name: MapName, key: Uint8Array) => Result = (choice, name, key) =>
    EXPECTED[name](model.spaceOf(choice), key);
  beforeAll(() => {
    if (build === 'model') return;
    const filter = new Filter(build);
    ask = (choice, name, key) => {
      filter.selectSpace(choice);
      return asked(filter, name, key);
    };
  });

  test.each(CASES)('%s', (_name, choice, name, key, expected) => {
    const got = ask(choice, name, unhex(key));
    expect(typeof got === 'string' ? got : hex(got)).toBe(expected.replace(/ /g, ''));
  });
});

describe.each(BUILD_NAMES)('the %s build agrees with the model', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  test.each(NAMED)('%s', (_name, space) => {
    const seed = space.choice.number + space.first.length;
    filter.selectSpace(space.choice);
    const { capabilities, apiVersion, keyspaceId, tag } = filter.spaceFacts();
    const { choice } = space;
    expect(capabilities).toBe(model.capabilities(space));
    expect([apiVersion, keyspaceId]).toEqual(choice.keyspace ? [2, choice.keyspace.id] : [0, 0]);
    expect(tag).toBe(choice.keyspace || choice.prefix ? 0 : (choice.keyNumber ?? choice.number));

    const logical = logicalKeys(seed, 300);
    const physical = physicalKeys(space, seed, 300);
    agree(filter, space, ['encodeKey', 'encodeLower', 'encodeUpper'], logical);
    agree(filter, space, ['decodeKey', 'decodeStart', 'decodeEnd'], physical);
    const encode: MapName[] = ['encodeEncodedKey', 'encodeEncodedLower', 'encodeEncodedUpper'];
    const decode: MapName[] = ['decodeEncodedKey', 'decodeEncodedStart', 'decodeEncodedEnd'];
    agree(filter, space, encode, [EMPTY, ...logical.map(memcomparable)]);
    agree(filter, space, decode, [EMPTY, ...physical.map(memcomparable)]);
    const clientForms = logical.map((key) => (space.clientEncodes ? memcomparable(key) : key));
    agree(filter, space, ['encodePlaceLower', 'encodePlaceUpper'], [EMPTY, ...clientForms]);
    // The other form than the one that is expected, and encodings cut short. Keys that look like two groups are patched unseen.
    const odd = [...logical, ...physical, ...physical.map((key) => memcomparable(key).subarray(0, -1))];
    const strange = odd.filter((key) => key.length < 18 || key[8] !== 0xff);
    agree(filter, space, encode, strange);
    agree(filter, space, decode, strange);
  });
});

/** Everything below asks the release build, which the model was just compared with. */
describe('laws', () => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter('release');
  });
  const map = (name: MapName, key: Uint8Array): Result => asked(filter, name, key);
  const own = (space: KeySpace, seed: number, count: number): Uint8Array[] =>
    logicalKeys(seed, count).filter(space.takes);
  const clientForm = (space: KeySpace, key: Uint8Array): Uint8Array =>
    space.clientEncodes ? memcomparable(key) : key;

  const rising = (keys: Uint8Array[]): boolean =>
    keys.every((key, i) => i === 0 || compare(keys[i - 1] as Uint8Array, key) < 0);

  test.each(NAMED)('%s: order is kept, so nothing collides, and images lie in [P, E)', (_name, space) => {
    filter.selectSpace(space.choice);
    const keys = own(space, 11, 500);
    expect(keys.length).toBeGreaterThan(300);
    expect(rising(keys)).toBe(true);
    const images = keys.map((key) => map('encodeKey', key) as Uint8Array);
    expect(rising(images)).toBe(true);
    expect(compare(images[0] as Uint8Array, space.first)).toBeGreaterThanOrEqual(0);
    expect(compare(images.at(-1) as Uint8Array, space.behind)).toBeLessThan(0);
    const encoded = keys.map((key) => map('encodeEncodedKey', clientForm(space, key)) as Uint8Array);
    expect(rising(encoded)).toBe(true);
    expect(encoded.map(hex)).toEqual(
      images.map((image) => hex(space.storeEncodes ? memcomparable(image) : image)),
    );
  });

  test.each(NAMED)('%s: all bytes have a place among the keys of the space', (_name, space) => {
    filter.selectSpace(space.choice);
    const random = new Random(17);
    // Behind the boundary of the very first key lies all.
    const keys = own(space, 17, 40).filter((key) => key.length > 0);
    const boundaries = keys.map((key) => ({
      key: clientForm(space, key),
      stored: model.stored(space, map('encodeLower', key) as Uint8Array),
    }));
    // Encodings, what is next to them, and what has nothing to do with them.
    const forms = logicalKeys(18, 40).flatMap((key) => [
      clientForm(space, key),
      memcomparable(key).subarray(0, -1),
      concat(memcomparable(key), [random.below(256)]),
      mutated(random, memcomparable(key)),
      key,
    ]);
    const places = sorted(forms)
      .filter((bytes) => bytes.length > 0)
      .map((bytes) => ({ bytes, place: map('encodePlaceLower', bytes) as Uint8Array }));
    for (const { bytes, place } of places) {
      expect(hex(map('encodePlaceUpper', bytes) as Uint8Array)).toBe(hex(place));
      const isIn =
        compare(place, model.stored(space, space.first)) >= 0 &&
        compare(place, model.stored(space, space.behind)) < 0;
      if (!isIn) expect(`${hex(bytes)} -> ${hex(place)}`).toBe('a place in the space');
      for (const { key, stored } of boundaries) {
        const isBehind = compare(bytes, key) >= 0;
        if (compare(place, stored) >= 0 !== isBehind)
          expect(`${hex(bytes)} -> ${hex(place)}, ${hex(key)} -> ${hex(stored)}`).toBe(`${isBehind}`);
      }
    }
  });

  test.each(NAMED)('%s: what is decoded is what was encoded', (_name, space) => {
    filter.selectSpace(space.choice);
    const keys = own(space, 12, 300);
    const images = keys.map((key) => map('encodeKey', key) as Uint8Array);
    expect(images.map((image) => shown(map('decodeKey', image)))).toEqual(keys.map(shown));
    const encoded = keys.map((key) => map('encodeEncodedKey', clientForm(space, key)) as Uint8Array);
    const back = keys.map((key) => shown(key.length === 0 ? EMPTY : clientForm(space, key)));
    for (const name of ['decodeEncodedKey', 'decodeEncodedStart'] as const)
      expect(encoded.map((key) => shown(map(name, key)))).toEqual(back);
    // What ends at the very first key ends before the space.
    const ends = back.map((key) => (key === shown(EMPTY) ? OUTSIDE : key));
    expect(encoded.map((key) => shown(map('decodeEncodedEnd', key)))).toEqual(ends);
  });

  test.each(NAMED)('%s: a range maps to the range of the images', (_name, space) => {
    filter.selectSpace(space.choice);
    const keys = own(space, 13, 60);
    const images = keys.map((key) => map('encodeKey', key) as Uint8Array);
    const random = new Random(13);
    const bounds = [EMPTY, ...logicalKeys(14, 60)];
    for (let i = 0; i < 200; i++) {
      const [lower, upper] = [random.pick(bounds), random.pick(bounds)];
      const [from, to] = [map('encodeLower', lower) as Uint8Array, map('encodeUpper', upper) as Uint8Array];
      const clamped = [from, to].every(
        (edge) => compare(edge, space.first) >= 0 && compare(edge, space.behind) <= 0,
      );
      expect(clamped).toBe(true);
      expect(to.length).toBeGreaterThan(0);
      keys.forEach((key, at) => {
        const image = images[at] as Uint8Array;
        const isIn = compare(key, lower) >= 0 && (upper.length === 0 || compare(key, upper) < 0);
        const isMapped = compare(image, from) >= 0 && compare(image, to) < 0;
        if (isIn !== isMapped) expect(`${hex(lower)} ${hex(upper)} ${hex(key)} ${isMapped}`).toBe(`${isIn}`);
      });
    }
  });

  test.each(NAMED.filter(([, { choice }]) => (choice.keyspace ?? choice.prefix)?.mode !== 'raw'))(
    '%s: a reverse scan has its bounds the other way round',
    (_name, space) => {
      filter.selectSpace(space.choice);
      const scan = messageId('kvrpcpb.ScanRequest');
      // start_key = 2, reverse = 6, end_key = 7; a keyspace says so in the context: api_version = 21, keyspace_id = 32.
      const version = space.choice.keyspace
        ? bytes(1, scalar(21, 2), scalar(32, space.choice.keyspace.id))
        : EMPTY;
      const field = (number: number, key: Uint8Array): Uint8Array =>
        key.length > 0 ? bytes(number, key) : EMPTY;
      const [low, high] = [unhex('6d31'), table(5n, ROW)];
      for (const [lower, upper] of [
        [low, high],
        [EMPTY, high],
        [low, EMPTY],
        [EMPTY, EMPTY],
      ] as const) {
        const from = field(7, space.encodeLower(lower) as Uint8Array);
        const to = field(2, space.encodeUpper(upper) as Uint8Array);
        const asked = concat(field(2, upper), scalar(6, 1), field(7, lower));
        const { status, bytes: got } = filter.message(scan, asked, 'request');
        expect(Status[status]).toBe('OK');
        expect(fieldsOf(got)).toEqual(fieldsOf(concat(version, to, scalar(6, 1), from)));
      }
    },
  );

  test("another's image is outside, for every pair that a configuration takes", () => {
    const pairs = SPACES.flatMap((a) => SPACES.map((b) => [a, b] as const)).filter(
      ([a, b]) => compare(a.behind, b.first) <= 0 || compare(b.behind, a.first) <= 0 || bothTables(a, b),
    );
    expect(pairs.length).toBeGreaterThan(500);
    const keys = logicalKeys(15, 20).filter((_key, i) => i % 5 === 0);
    for (const [a, b] of pairs) {
      if (a === b) continue;
      const images = keys.filter(a.takes).map((key) => a.encodeKey(key) as Uint8Array);
      filter.selectSpace(b.choice);
      const seen = images.filter(
        (image) =>
          map('decodeKey', image) !== OUTSIDE || map('decodeEncodedKey', model.stored(b, image)) !== OUTSIDE,
      );
      expect(seen.map((image) => `${a.name} in ${b.name}: ${hex(image)}`)).toEqual([]);
    }
  });

  /** Table tenants and tenant 0: the last boundary of one is a key of nobody's behind the first of the next. */
  const bothTables = (a: KeySpace, b: KeySpace): boolean =>
    a !== b && [a, b].every(({ choice }) => !choice.keyspace && !choice.prefix);

  /** Whole stores: tenants that can stand beside each other, and the form of the boundaries between their regions. */
  const STORES: [string, SpaceChoice[]][] = [
    [
      'API V1, transactions',
      [{ number: 0 }, ...TABLES, prefix(unhex('fffe'), 'txn'), prefix(ascii('zoo'), 'txn')],
    ],
    ['API V1, prefixes', APART.map((bytes) => prefix(bytes, 'txn'))],
    ['API V1, raw', APART.map((bytes) => prefix(bytes, 'raw'))],
    [
      'API V2',
      [
        ...TABLES,
        ...CHOICES.filter(({ keyspace: chosen }) => chosen !== undefined),
        prefix(ascii('m1:'), 'txn'),
      ],
    ],
  ];

  describe.each(STORES)('a store with %s', (_name, choices) => {
    const spaces = choices.map(model.spaceOf);
    const [some] = spaces as [KeySpace];

    /** The store's regions, in PD's form: random boundaries, and those at and around the edges of the spaces. */
    function regions(seed: number): [Uint8Array, Uint8Array][] {
      const random = new Random(seed);
      const inner = spaces.flatMap((space) => [
        ...edges(space),
        ...Array.from({ length: 25 }, () => space.encodeLower(randomKey(random)) as Uint8Array),
      ]);
      const few = sorted([...ADVERSARIAL, ...inner]).filter((key) => key.length > 0 && random.chance(70));
      const boundaries = [EMPTY, ...few.map((key) => model.stored(some, key)), EMPTY];
      return boundaries.slice(1).map((end, i) => [boundaries[i] as Uint8Array, end]);
    }

    test.each(spaces.map((space): [string, KeySpace] => [space.name, space]))(
      "%s: the regions, clamped, are contiguous from '' to ''",
      (_space, space) => {
        for (let seed = 0; seed < 4; seed++) {
          filter.selectSpace(space.choice);
          const seen: [string, string][] = [];
          for (const [start, end] of regions(seed)) {
            const from = map('decodeEncodedStart', start);
            const to = map('decodeEncodedEnd', end);
            if (typeof from !== 'string' && typeof to !== 'string') seen.push([hex(from), hex(to)]);
          }
          expect(seen.length).toBeGreaterThan(5);
          expect(seen[0]?.[0]).toBe('');
          expect(seen.at(-1)?.[1]).toBe('');
          seen.slice(1).forEach(([start], i) => expect(start).toBe(seen[i]?.[1]));
        }
      },
    );

    test("a region is owned by one space at most, and then no other's key lies in it", () => {
      const keys = logicalKeys(16, 40);
      const all = spaces.flatMap((space) =>
        keys
          .filter(space.takes)
          .map((key) => ({ space, at: model.stored(space, space.encodeKey(key) as Uint8Array) })),
      );
      let owned = 0;
      for (const [start, end] of regions(5)) {
        const owners = spaces.filter((space) => {
          filter.selectSpace(space.choice);
          return filter.owns(start, end);
        });
        const inside = all.filter(
          ({ at }) => compare(at, start) >= 0 && (end.length === 0 || compare(at, end) < 0),
        );
        const [owner] = owners;
        // Between `t` tag and the first key of the tenant with that tag lies nobody's key: both neighbours may have such a region.
        if (owners.length > 1) expect(inside.map(({ space }) => space.name)).toEqual([]);
        if (owner) {
          owned++;
          expect(inside.filter(({ space }) => space !== owner).map(({ space }) => space.name)).toEqual([]);
          continue;
        }
        // Nobody's: it has keys of two spaces, or reaches into what is no space's.
        for (const space of new Set(inside.map((one) => one.space))) {
          const reaches =
            compare(start, model.unpadded(space.first)) < 0 ||
            end.length === 0 ||
            compare(end, model.stored(space, space.behind)) > 0;
          expect(`${space.name} ${hex(start)} ${hex(end)} ${space.storeEncodes ? reaches : true}`).toMatch(
            /true$/,
          );
        }
      }
      expect(owned).toBeGreaterThan(20);
    });

    test('a space owns the region that is exactly itself, and none that is a key longer', () => {
      for (const space of spaces) {
        filter.selectSpace(space.choice);
        const start = model.stored(space, space.first);
        const end = model.stored(space, space.behind);
        expect(`${space.name} ${filter.owns(start, end)}`).toBe(`${space.name} true`);
        expect(filter.owns(start, model.stored(space, concat(space.behind, [0])))).toBe(false);
        expect(filter.owns(start, EMPTY)).toBe(false);
        if (space.first.length > 0) {
          const before = concat(space.first.subarray(0, -1), [(space.first.at(-1) as number) - 1, 0xff]);
          if ((space.first.at(-1) as number) > 0)
            expect(filter.owns(model.stored(space, before), end)).toBe(false);
          expect(filter.owns(EMPTY, end)).toBe(false);
        }
      }
    });
  });
});
