/** The laws of the table codec, on both builds and on the model. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Mapped, type MapName } from './filter.ts';
import { compare, concat, EMPTY, hex, unhex } from '../harness/model/bytes.ts';
import { Random } from '../harness/model/random.ts';
import * as model from '../harness/model/table-codec.ts';
import type { Result } from '../harness/model/table-codec.ts';

const TENANTS = [1, 2, 255, 256, 257, 32765, 32766];
const RECORD = unhex('5f72 8000000000000001');

/** `t` and a table id as TiDB writes it. */
function table(id: bigint, rest: Uint8Array = EMPTY): Uint8Array {
  const bytes = new Uint8Array(9);
  bytes[0] = 0x74;
  new DataView(bytes.buffer).setBigUint64(1, id ^ (1n << 63n));
  return concat(bytes, rest);
}

const MAX_INT64 = (1n << 63n) - 1n;
const ADVERSARIAL: Uint8Array[] = [
  EMPTY,
  ...[
    '00',
    '6d',
    '6d44423a3100',
    '6dff',
    '73',
    '73ffffff',
    '75',
    '7480',
    '74',
    '7400',
    '747f',
    '74ff',
    'ff',
  ].map(unhex),
  ...['748000', '7480000000000000', '748000000000000000', '74800000000000000000', '7480000000000001'].map(
    unhex,
  ),
  ...['748001', '74800100', '748001000000000000', '748002', '7481', '72000000', '78000000', '78000001'].map(
    unhex,
  ),
  table(0n),
  table(0n, RECORD),
  table(1n),
  table(1n, RECORD),
  table((1n << 48n) - 2n, RECORD),
  table((1n << 48n) - 1n),
  table((1n << 48n) - 1n, RECORD),
  table(1n << 48n),
  table((1n << 48n) + 1n, RECORD),
  table(MAX_INT64),
  table(MAX_INT64, unhex('ffff')),
];

function randomKey(random: Random): Uint8Array {
  switch (random.below(6)) {
    case 0:
      return concat([0x6d], random.bytes(random.below(20)));
    case 1:
      return table(random.bigint(48), random.bytes(random.below(24)));
    case 2:
      return table(random.bigint(48), concat(RECORD, random.bytes(random.below(4))));
    case 3:
      return table(random.bigint(48)).subarray(0, random.below(10));
    case 4:
      return random.bytes(random.below(30));
    default: {
      const key = Uint8Array.from(random.pick(ADVERSARIAL));
      if (key.length > 0) key[random.below(key.length)] = random.below(256);
      return key;
    }
  }
}

function logicalKeys(seed: number, count: number): Uint8Array[] {
  const random = new Random(seed);
  return [...ADVERSARIAL, ...Array.from({ length: count }, () => randomKey(random))];
}

/** Keys of the store: of this tenant, of its neighbours, and whatever else lies there. */
function physicalKeys(tenant: number, seed: number, count: number): Uint8Array[] {
  const random = new Random(seed);
  const edges = [tenant - 1, tenant, tenant + 1, tenant + 2].flatMap((n) => {
    const p = model.first(n);
    return [
      p,
      p.subarray(0, 3),
      p.subarray(0, 5),
      concat(p, [0]),
      concat(p, [0x74]),
      concat(p, [0x75]),
      concat(p, model.TAGGABLE),
      p.subarray(0, 8),
    ];
  });
  const own = Array.from({ length: count }, () => {
    const owner = tenant + random.pick([-1, 0, 0, 0, 1]);
    const mapped = model.encodeLower(Math.max(owner, 0), randomKey(random));
    return mapped as Uint8Array;
  });
  return [...logicalKeys(seed + 1, count), ...edges, ...own];
}

beforeAll(buildFilter);

const RAW: [MapName, (tenant: number, key: Uint8Array) => Result][] = [
  ['encodeKey', model.encodeKey],
  ['encodeLower', model.encodeLower],
  ['encodeUpper', model.encodeUpper],
];
const RAW_BACK: typeof RAW = [
  ['decodeKey', model.decodeKey],
  ['decodeStart', model.decodeStart],
  ['decodeEnd', model.decodeEnd],
];
const ENCODED: typeof RAW = [
  ['encodeEncodedKey', (t, k) => model.encodeEncoded(t, k, 'key')],
  ['encodeEncodedLower', (t, k) => model.encodeEncoded(t, k, 'lower')],
  ['encodeEncodedUpper', (t, k) => model.encodeEncoded(t, k, 'upper')],
];
const ENCODED_BACK: typeof RAW = [
  ['decodeEncodedKey', (t, k) => model.decodeEncoded(t, k, 'key')],
  ['decodeEncodedStart', (t, k) => model.decodeEncoded(t, k, 'lower')],
  ['decodeEncodedEnd', (t, k) => model.decodeEncoded(t, k, 'upper')],
];

function shown(result: Result): string {
  return typeof result === 'string' ? result : hex(result);
}

function asked(filter: Filter, name: MapName, key: Uint8Array): Result {
  const { mapped, bytes } = filter.map(name, key);
  if (mapped === Mapped.OUTSIDE) return model.OUTSIDE;
  return mapped === Mapped.BROKEN ? model.BROKEN : bytes;
}

function agree(filter: Filter, tenant: number, functions: typeof RAW, keys: Uint8Array[]): void {
  for (const [name, expected] of functions)
    for (const key of keys) {
      const want = `${name} ${tenant} ${hex(key)} -> ${shown(expected(tenant, key))}`;
      const got = `${name} ${tenant} ${hex(key)} -> ${shown(asked(filter, name, key))}`;
      if (want !== got) expect(got).toBe(want);
    }
}

describe.each(BUILD_NAMES)('the %s build agrees with the model', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  test.each(TENANTS)('tenant %i', (tenant) => {
    filter.select(tenant, 'alpha');
    const logical = logicalKeys(tenant, 600);
    const physical = physicalKeys(tenant, tenant, 400);
    agree(filter, tenant, RAW, logical);
    agree(filter, tenant, RAW_BACK, physical);
    agree(filter, tenant, ENCODED, logical.map(model.memcomparable));
    agree(filter, tenant, ENCODED_BACK, physical.map(model.memcomparable));
  });

  test('bytes that are no encoded key', () => {
    filter.select(7, 'alpha');
    const odd = [
      ...physicalKeys(7, 3, 50).filter((key) => model.fromMemcomparable(key) === undefined),
      ...physicalKeys(7, 4, 50).map((key) => model.memcomparable(key).subarray(0, -1)),
    ].filter((key) => key.length > 0 && (key.length < 18 || key[8] !== 0xff));
    agree(filter, 7, ENCODED, odd);
    agree(filter, 7, ENCODED_BACK, odd);
  });
});

/** Everything below asks the release build, which the model was just compared with. */
describe('laws', () => {
  const filter = { release: undefined as Filter | undefined };
  const map = (tenant: number, name: MapName, key: Uint8Array): Result => {
    const f = (filter.release ??= new Filter('release'));
    f.select(tenant, 'alpha');
    return asked(f, name, key);
  };
  const own = (seed: number, count: number): Uint8Array[] => {
    const keys = logicalKeys(seed, count).filter((key) => compare(key, model.LIMIT) < 0);
    return keys.sort(compare).filter((key, i) => i === 0 || compare(key, keys[i - 1] as Uint8Array) !== 0);
  };

  test.each(TENANTS)('tenant %i: order is kept, so nothing collides, and images lie in [P, E)', (tenant) => {
    let last: Uint8Array | undefined;
    for (const key of own(tenant, 800)) {
      const image = map(tenant, 'encodeKey', key) as Uint8Array;
      expect(compare(image, model.first(tenant))).toBeGreaterThanOrEqual(0);
      expect(compare(image, unhex(hex(model.behind(tenant)).slice(0, 6)))).toBeLessThan(0);
      if (last) expect(compare(last, image)).toBeLessThan(0);
      last = image;
    }
  });

  test.each(TENANTS)('tenant %i: what is decoded is what was encoded', (tenant) => {
    for (const key of own(tenant + 50, 400)) {
      const image = map(tenant, 'encodeKey', key) as Uint8Array;
      expect(hex(map(tenant, 'decodeKey', image) as Uint8Array)).toBe(hex(key));
      const encoded = map(tenant, 'encodeEncodedKey', model.memcomparable(key)) as Uint8Array;
      expect(hex(encoded)).toBe(hex(model.memcomparable(image)));
      // An empty key has no encoded form of its own: PD writes '' for it.
      const back = key.length === 0 ? EMPTY : model.memcomparable(key);
      expect(hex(map(tenant, 'decodeEncodedKey', encoded) as Uint8Array)).toBe(hex(back));
    }
  });

  test("another tenant's image is outside, for every pair", () => {
    const keys = own(9, 60);
    for (const a of TENANTS)
      for (const b of TENANTS)
        for (const key of keys) {
          if (a === b) continue;
          const image = map(a, 'encodeKey', key) as Uint8Array;
          expect(map(b, 'decodeKey', image)).toBe(model.OUTSIDE);
          expect(map(b, 'decodeEncodedKey', model.memcomparable(image))).toBe(model.OUTSIDE);
        }
  });

  test('a key that holds a tag already is refused, whoever sends it', () => {
    for (const a of TENANTS)
      for (const b of TENANTS)
        expect(map(b, 'encodeKey', model.encodeKey(a, table(5n, RECORD)) as Uint8Array)).toBe(model.OUTSIDE);
  });

  test.each(TENANTS)("tenant %i: the store's regions, clamped, are contiguous from '' to ''", (tenant) => {
    const boundaries = physicalKeys(tenant, tenant + 99, 200)
      .filter((key) => key.length > 0)
      .sort(compare);
    const all = [EMPTY, ...boundaries, EMPTY].filter(
      (key, i, list) => i === 0 || i === list.length - 1 || compare(key, list[i - 1] as Uint8Array) !== 0,
    );
    for (const form of ['raw', 'encoded'] as const) {
      const seen: [string, string][] = [];
      for (let i = 0; i + 1 < all.length; i++) {
        const [from, to] = [all[i] as Uint8Array, all[i + 1] as Uint8Array];
        const [start, end] =
          form === 'raw'
            ? [map(tenant, 'decodeStart', from), map(tenant, 'decodeEnd', to)]
            : [
                map(tenant, 'decodeEncodedStart', i === 0 ? from : model.memcomparable(from)),
                map(tenant, 'decodeEncodedEnd', i + 2 === all.length ? to : model.memcomparable(to)),
              ];
        if (typeof start === 'string' || typeof end === 'string') continue;
        seen.push([hex(start), hex(end)]);
      }
      expect(seen.length).toBeGreaterThan(10);
      expect(seen[0]?.[0]).toBe('');
      expect(seen.at(-1)?.[1]).toBe('');
      seen.slice(1).forEach(([start], i) => expect(start).toBe(seen[i]?.[1]));
    }
  });

  test.each(TENANTS)('tenant %i: bounds are clamped, never followed', (tenant) => {
    const e = hex(model.behind(tenant));
    const p = hex(model.first(tenant));
    for (const name of ['encodeLower', 'encodeUpper'] as const)
      for (const key of ['75', '748001', '7481', 'ff', '748000ffff'].map(unhex)) {
        const bound = map(tenant, name, key) as Uint8Array;
        expect(hex(bound) >= p && hex(bound) <= e).toBe(true);
      }
    expect(hex(map(tenant, 'encodeLower', EMPTY) as Uint8Array)).toBe(p);
    expect(hex(map(tenant, 'encodeUpper', EMPTY) as Uint8Array)).toBe(e);
    expect(hex(map(tenant, 'encodeUpper', unhex('75')) as Uint8Array)).toBe(e);
    expect(map(tenant, 'encodeKey', unhex('75'))).toBe(model.OUTSIDE);
  });
});
