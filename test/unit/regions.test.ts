/** What is known of whose a region is: how it is learned, how long it holds, and what waits for it. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Status, UNLIMITED, type SpaceChoice } from './filter.ts';
import { hex } from '../harness/model/bytes.ts';
import { spaceOf, stored } from '../harness/model/key-spaces.ts';
import { Random } from '../harness/model/random.ts';
import { messageId } from '../harness/model/schema.ts';
import { frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const FRESH = 30_000;
const STALE = 600_000;
const LEARNING = 600_000;
const SCATTER = 'pdpb.ScatterRegionRequest';
const RESOLVE = 'kvrpcpb.ResolveLockRequest';
/** Behind what other tests have learned. */
let now = 1_700_000_000_000;
let region = 1_000_000n;

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
    filter.lookups = true;
  });
  beforeEach(() => {
    now += 10 * STALE;
    region += 1000n;
    filter.selectSpace({ number: 1 });
    filter.regionClock = now;
    filter.newStream();
    filter.forgetWanted();
  });

  /** The region's id as PD gets to see it. */
  function byId(id: bigint): bigint {
    const { status, bytes } = filter.message(
      messageId(SCATTER),
      encode(SCATTER, { regionId: id }),
      'request',
    );
    expect(Status[status]).toBe('OK');
    return decode(SCATTER, bytes)['regionId'] as bigint;
  }

  /** The version as the store gets to see it. */
  function byVersion(id: bigint, version: bigint): bigint {
    const context = { regionId: id, regionEpoch: { confVer: 1n, version } };
    const message = encode(RESOLVE, { context, startVersion: 5n });
    const { status, bytes } = filter.message(messageId(RESOLVE), message, 'request');
    expect(Status[status]).toBe('OK');
    return decode(RESOLVE, bytes)['context'].regionEpoch.version as bigint;
  }

  const after = (ms: number): void => {
    filter.regionClock = now + ms;
  };

  describe('how long it holds', () => {
    test('of a version: for good, whatever time passes and whatever is configured', () => {
      filter.learn(region, 300n, true);
      after(1000 * STALE);
      filter.doubtRegions();
      expect(byVersion(region, 300n)).toBe(300n);
      expect(byVersion(region, 301n)).toBe(0n);
      expect(filter.wanted).toEqual([region]);
    });

    test('without a version: PD is asked anew, and what was known holds meanwhile', () => {
      filter.learn(region, 300n, true);
      after(FRESH);
      expect([byId(region), filter.wanted]).toEqual([region, []]);
      after(FRESH + 1);
      expect([byId(region), filter.wanted]).toEqual([region, [region]]);
      after(STALE);
      expect(byId(region)).toBe(region);
      after(STALE + 1);
      expect(byId(region)).toBe(0n);
    });

    test('without a version: what was learned again is as new', () => {
      filter.learn(region, 300n, true);
      after(STALE);
      filter.learn(region, 300n, true);
      after(2 * STALE);
      expect(byId(region)).toBe(region);
    });

    test('without a version: no longer than a configuration', () => {
      filter.learn(region, 300n, true);
      filter.doubtRegions();
      expect([byId(region), filter.wanted]).toEqual([0n, [region]]);
      filter.learn(region, 300n, true);
      expect(byId(region)).toBe(region);
    });

    test('without a version: the latest version counts, in whatever order they are learned', () => {
      filter.learn(region, 301n, false);
      filter.learn(region, 300n, true);
      expect(byId(region)).toBe(0n);
      filter.learn(region, 302n, true);
      expect(byId(region)).toBe(region);
    });

    test('a number that comes to mean another key space knows nothing', () => {
      const spaces = [7, 8].map((id): SpaceChoice => ({ number: 3, keyspace: { id, mode: 'txn' } }));
      filter.selectSpace(spaces[0]!);
      filter.learn(region, 300n, true);
      filter.selectSpace(spaces[1]!);
      expect([byId(region), byVersion(region, 300n)]).toEqual([0n, 0n]);
      filter.selectSpace(spaces[0]!);
      expect([byId(region), byVersion(region, 300n)]).toEqual([region, 300n]);
    });
  });

  describe('answers that are read', () => {
    const VERSION = 61n;
    const ANSWERS: [string, (regions: Fields[]) => Fields][] = [
      ['pdpb.GetRegionResponse', ([first]) => ({ region: first })],
      ['pdpb.ScanRegionsResponse', (all) => ({ regions: all.map((each) => ({ region: each })) })],
      ['pdpb.BatchScanRegionsResponse', (all) => ({ regions: all.map((each) => ({ region: each })) })],
      ['kvrpcpb.SplitRegionResponse', (all) => ({ regions: all })],
      ['kvrpcpb.SplitRegionResponse', ([left, right]) => ({ left, right })],
    ];
    const SPACES: SpaceChoice[] = [
      { number: 0 },
      { number: 1 },
      { number: 2 },
      { number: 5, keyspace: { id: 5, mode: 'txn' } },
      { number: 6, keyspace: { id: 5, mode: 'raw' } },
      { number: 7, prefix: { bytes: Buffer.from('app1:'), mode: 'txn' } },
      { number: 8, prefix: { bytes: Buffer.from('app1:'), mode: 'raw' } },
    ];
    /** Boundaries of all kinds, as the store's PD has them: rows of each space, each space's ends, and a byte around them. */
    const boundaries = SPACES.flatMap((choice) => {
      const space = spaceOf(choice);
      const rows = [1, 2, 3].map((row) => space.encodeKey(rowKey(100, row)) as Uint8Array);
      const ends = [space.first, space.behind, Buffer.concat([space.behind, Buffer.of(0)])];
      return [...rows, ...ends].map((key) => stored(space, key));
    });
    boundaries.push(Buffer.alloc(0));

    test.each(ANSWERS)('%s: inside is known as such, all else is not', (type, answer) => {
      const random = new Random(7);
      const pick = (): Uint8Array => boundaries[random.below(boundaries.length)]!;
      // Somebody must act on a region first.
      byId(1n);
      let inside = 0;
      for (let round = 0; round < 400; round++) {
        filter.selectSpace(SPACES[round % SPACES.length]!);
        filter.newStream();
        const regions = [0, 1].map((i) => ({
          id: region + BigInt(round * 2 + i),
          startKey: pick(),
          endKey: pick(),
          regionEpoch: { confVer: 1n, version: VERSION },
        }));
        filter.message(messageId(type), encode(type, answer(regions)), 'response');
        const shown = type === 'pdpb.GetRegionResponse' ? regions.slice(0, 1) : regions;
        for (const { id, startKey, endKey } of shown) {
          const owns = filter.owns(startKey, endKey);
          if (owns) inside++;
          const what = `${hex(startKey)} ${hex(endKey)}`;
          expect([what, byId(id)]).toEqual([what, owns ? id : 0n]);
        }
      }
      expect(inside).toBeGreaterThan(10);
    });

    const regionOf = (version: bigint, tag: number): Fields => {
      const space = spaceOf({ number: tag });
      const [startKey, endKey] = [1, 2].map((row) =>
        stored(space, space.encodeKey(rowKey(100, row)) as Uint8Array),
      );
      return { id: region, startKey, endKey, regionEpoch: { confVer: 1n, version } };
    };
    const show = (version: bigint, tag: number): void => {
      const type = 'pdpb.GetRegionResponse';
      filter.message(messageId(type), encode(type, { region: regionOf(version, tag) }), 'response');
    };

    test('lists whose layout is known are read too', () => {
      byId(1n);
      const type = 'pdpb.ScanRegionsResponse';
      const list = (from: bigint): Uint8Array =>
        encode(type, {
          regions: Array.from({ length: 64 }, (_, i) => ({
            region: { ...regionOf(VERSION, 1), id: from + BigInt(i) },
          })),
        });
      for (const from of [region, region + 64n]) filter.message(messageId(type), list(from), 'response');
      for (let i = 0n; i < 128n; i++) expect(byId(region + i)).toBe(region + i);
    });

    test("a region that has become another's is not taken for the tenant's any more", () => {
      byId(1n);
      show(1n, 1);
      expect(byId(region)).toBe(region);
      show(2n, 2);
      expect(byId(region)).toBe(0n);
    });

    test('only while somebody acts on regions', () => {
      byId(1n);
      after(LEARNING);
      show(1n, 1);
      expect(byId(region)).toBe(0n);
      show(1n, 1);
      expect(byId(region)).toBe(region);
    });

    test('and without their ids or epochs they say nothing', () => {
      byId(1n);
      const type = 'pdpb.GetRegionResponse';
      for (const missing of ['id', 'regionEpoch']) {
        const partial = { ...regionOf(VERSION, 1), [missing]: undefined };
        filter.message(messageId(type), encode(type, { region: partial }), 'response');
        expect(byId(region)).toBe(0n);
      }
    });
  });

  describe('a message that waits', () => {
    const message = (fields: Fields): Uint8Array => frame(encode(SCATTER, fields));
    const feed = (bytes: Uint8Array, mayWait = true) =>
      filter.body(messageId(SCATTER), bytes, 'request', UNLIMITED, mayWait);

    test('is held as it came, and goes on when all is known', () => {
      const bytes = message({ regionId: region, regionsId: [region, region + 1n], group: 'g' });
      expect(feed(bytes)).toMatchObject({ status: Status.OK, waits: true, changed: true });
      expect(filter.wanted).toEqual([region, region + 1n]);
      expect(filter.heldBytes).toBeGreaterThanOrEqual(bytes.length);
      filter.learn(region, 1n, true);
      expect(feed(Buffer.alloc(0))).toMatchObject({ waits: true });
      filter.learn(region + 1n, 1n, true);
      const got = feed(Buffer.alloc(0));
      expect(got).toMatchObject({ status: Status.OK, waits: false, turnedAway: 0 });
      expect(hex(got.bytes)).toBe(
        hex(message({ regionId: region, regionsId: [region, region + 1n], group: '1:g' })),
      );
    });

    test('is found in any piece, and what comes behind it is kept', () => {
      const bytes = message({ regionId: region, group: 'group' });
      const behind = message({ regionId: 0n, group: 'other' });
      const behindStored = message({ regionId: 0n, group: '1:other' });
      for (let cut = 0; cut <= bytes.length; cut++) {
        const id = ++region;
        const whole = message({ regionId: id, group: 'group' });
        filter.newStream();
        feed(whole.subarray(0, cut));
        expect(feed(whole.subarray(cut))).toMatchObject({ waits: true });
        expect(feed(behind)).toMatchObject({ waits: true });
        filter.learn(id, 1n, true);
        const stored = message({ regionId: id, group: '1:group' });
        expect(hex(feed(Buffer.alloc(0)).bytes)).toBe(hex(Buffer.concat([stored, behindStored])));
      }
    });

    test('goes on as one that is turned away where nobody waits', () => {
      const got = feed(message({ regionId: region, group: 'g' }), false);
      expect(got).toMatchObject({ waits: false, turnedAway: 1 });
      expect(decode(SCATTER, got.bytes.subarray(5))).toMatchObject({ regionId: 0n, group: '1:g' });
    });

    test('names a group of its tenant: none stays none', () => {
      const group = (name: string): string => {
        const { status, bytes } = feed(message({ regionId: 0n, group: name }), false);
        return Status[status] === 'OK'
          ? (decode(SCATTER, bytes.subarray(5))['group'] as string)
          : Status[status]!;
      };
      const names = ['', '104', 'default', '2:104', 'x'.repeat(100)];
      expect(names.map(group)).toEqual(['', ...names.slice(1).map((name) => `1:${name}`)]);
      filter.selectSpace({ number: 0 });
      filter.newStream();
      expect([...names, '104:'].map(group)).toEqual([
        '',
        '104',
        'default',
        'NAME_OUTSIDE',
        'x'.repeat(100),
        'NAME_OUTSIDE',
      ]);
      filter.selectSpace({ number: 1 });
      filter.newStream();
    });

    test('gives all back that it held', () => {
      feed(message({ regionId: region }));
      expect(filter.heldBytes).toBeGreaterThan(0);
      filter.newStream();
      expect(filter.heldBytes).toBe(0);
    });

    test('must find room', () => {
      filter.newStream(UNLIMITED, 100);
      expect(Status[feed(message({ regionId: region, group: 'g'.repeat(8000) })).status]).toBe(
        'HELD_TOO_MUCH',
      );
      filter.newStream();
    });
  });
});
