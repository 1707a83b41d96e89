/** Messages that are not walked, because one like them was: whatever is changed in them, they become what walking makes of them. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { typicalMessages, type TypicalMessage } from '../../bench/messages.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { BUILD_NAMES, buildFilter, Filter, Status, type SpaceChoice, type Way } from './filter.ts';
import { hex } from '../harness/model/bytes.ts';
import { spaceOf, storedKey, type KeySpace } from '../harness/model/key-spaces.ts';
import { Random } from '../harness/model/random.ts';
import { messageId } from '../harness/model/schema.ts';
import { memcomparable } from '../harness/model/table-codec.ts';
import { bytes as field } from '../harness/model/wire.ts';
import { rounds } from '../harness/support/rounds.ts';

const SPACES: SpaceChoice[] = [
  { number: 1 },
  { number: 12, ownDefaultGroup: true },
  { number: 7, keyNumber: 300 },
  { number: 3, keyspace: { id: 7, mode: 'txn' } },
  { number: 5, prefix: { bytes: Buffer.from('app1:'), mode: 'txn' } },
  { number: 0 },
];

/** A message of a list, its field in the list, and the list's type; or a message by itself. */
interface Sample {
  readonly name: string;
  readonly type: string;
  readonly list?: string;
  readonly number?: number;
  readonly way: Way;
  make(space: KeySpace): Fields;
  /** What the list's message must have besides. */
  readonly rest?: Fields;
  /** Key spaces that serve it and have it learned; all unless it says so. */
  readonly serves?: (choice: SpaceChoice) => boolean;
}

const row = (handle: number): Uint8Array => rowKey(112, handle);

const TIMESTAMP = 453128812934103041n;
const CONTEXT = {
  regionId: 1042n,
  regionEpoch: { confVer: 5n, version: 61n },
  peer: { id: 1043n, storeId: 4n },
  resourceGroupTag: Buffer.alloc(12, 7),
  requestSource: 'external_Select',
  resourceControlContext: { resourceGroupName: 'default' },
};

const SAMPLES: Sample[] = [
  {
    name: 'a get in a batch',
    type: 'tikvpb.BatchCommandsRequest.Request',
    list: 'tikvpb.BatchCommandsRequest',
    number: 1,
    way: 'request',
    make: () => ({
      cmd: { case: 'Get', value: { context: CONTEXT, key: row(1), version: TIMESTAMP } },
    }),
  },
  {
    // Not one of a prewrite, which may not name a key twice.
    name: 'a row of a bulk load',
    type: 'import_sstpb.Pair',
    list: 'import_sstpb.WriteBatch',
    number: 2,
    way: 'request',
    rest: { commitTs: TIMESTAMP },
    make: () => ({ key: row(2), value: Buffer.alloc(40, 9), op: 1 }),
  },
  {
    name: 'a range of a coprocessor request',
    type: 'coprocessor.KeyRange',
    list: 'coprocessor.Request',
    number: 4,
    way: 'request',
    serves: ({ prefix }) => prefix === undefined,
    make: () => ({ start: row(1), end: row(2) }),
  },
  {
    name: 'a row of a scan',
    type: 'kvrpcpb.KvPair',
    list: 'kvrpcpb.ScanResponse',
    number: 2,
    way: 'response',
    make: (space) => ({ key: storedKey(space, row(1)), value: Buffer.alloc(30, 3) }),
  },
  {
    name: 'a region',
    type: 'pdpb.Region',
    list: 'pdpb.ScanRegionsResponse',
    number: 4,
    way: 'response',
    serves: ({ number, keyspace, prefix }) => number !== 0 && !keyspace && !prefix,
    make: (space) => ({
      region: {
        id: 5000n,
        startKey: memcomparable(storedKey(space, row(1))),
        endKey: memcomparable(storedKey(space, row(9))),
        regionEpoch: { confVer: 5n, version: 61n },
        peers: [1n, 2n, 3n].map((storeId) => ({ id: 1000n + storeId, storeId })),
      },
      leader: { id: 1001n, storeId: 1n },
    }),
  },
];

interface Outcome {
  readonly status: Status;
  readonly bytes: string;
  readonly failed: string;
}

/** Messages by themselves, of those that are measured: one has a context, one many fields, one a plan. */
const ALONE: Sample[] = ['point get', 'prewrite, 1 mutation', 'coprocessor request'].map((name) => {
  const of = (space: KeySpace): TypicalMessage => typicalMessages(space).find((m) => m.name === name)!;
  const { type, way } = of(spaceOf(SPACES[0]!));
  const serves = ({ prefix }: SpaceChoice): boolean => prefix === undefined || name !== 'coprocessor request';
  return { name, type, way, serves, make: (space) => decode(type, of(space).bytes) };
});

/** Some seconds later: a prewrite names the latest commit that it allows. */
const LATEST = TIMESTAMP + (4000n << 18n);
/** As in assembly/rewrite/fast-path/layout.ts. */
const LONGEST = 4096;
/** Times that a message is seen before it counts as known: others may have its place. */
const TIMES = 100;
const RANDOM_CHANGES = 300;
/** The debug build, which is slow, tries every so many of the changes; the release build tries all. */
const DEBUG_STEP = rounds(4, 1);

/** All changes of one bit, some other values for each byte, and several bytes at random. */
function* changes(good: Uint8Array, random: Random): Generator<Uint8Array> {
  for (let at = 0; at < good.length; at++) {
    const values = [1, 2, 4, 8, 16, 32, 64, 128].map((bit) => good[at]! ^ bit);
    for (const value of [...values, 0, 0xff, 0x7f]) {
      const changed = Uint8Array.from(good);
      changed[at] = value;
      yield changed;
    }
  }
  for (let i = 0; i < RANDOM_CHANGES; i++) {
    const changed = Uint8Array.from(good);
    const other = random.bytes(8);
    for (let n = 0; n < 4; n++)
      changed[(other[2 * n]! * 256 + other[2 * n + 1]!) % good.length] = random.bytes(1)[0]!;
    yield changed;
  }
}

beforeAll(async () => {
  await buildFilter();
});

test('the build without the fast path knows no message, however often it comes', () => {
  const filter = new Filter('walking');
  const { type, way, bytes } = typicalMessages(spaceOf({ number: 1 }))[0]!;
  for (let n = 0; n < TIMES; n++) filter.message(messageId(type), bytes, way);
  expect(filter.knows(messageId(type), bytes, way)).toBe(false);
});

describe.each(BUILD_NAMES)('the %s build', (build) => {
  test("a list that lost another tenant's row teaches nothing to one with a row of the tenant", () => {
    const filter = new Filter(build);
    const [own, other] = [1, 2].map((number) => {
      const key = storedKey(spaceOf({ number }), row(1));
      return field(2, encode('kvrpcpb.KvPair', { key, value: Buffer.alloc(30, 3) }));
    }) as [Uint8Array, Uint8Array];
    const id = messageId('kvrpcpb.ScanResponse');
    const seen = (list: Uint8Array): number => filter.message(id, list, 'response').bytes.length;
    for (let n = 0; n < TIMES; n++) expect(seen(other)).toBe(0);
    expect(seen(own)).toBe(own.length);
  });

  test('contexts of one length that change in different places do not pass for each other', () => {
    const choice = { number: 12, ownDefaultGroup: true };
    const [filter, walked] = [new Filter(build), new Filter('walking')];
    for (const one of [filter, walked]) one.selectSpace(choice);
    const id = messageId('kvrpcpb.GetRequest');
    const { resourceControlContext, ...before } = CONTEXT;
    const [rest, group] = [before, { resourceControlContext }].map((fields) =>
      encode('kvrpcpb.Context', fields),
    ) as [Uint8Array, Uint8Array];
    const behind = encode('kvrpcpb.GetRequest', { key: row(1), version: TIMESTAMP });
    // Decoders take fields in any order.
    const messages = [
      [rest, group],
      [group, rest],
    ].map((parts) => Buffer.concat([field(1, Buffer.concat(parts)), behind]));
    expect(messages[0]!.length).toBe(messages[1]!.length);
    const become = (of: Filter, bytes: Uint8Array): string => hex(of.message(id, bytes, 'request').bytes);
    for (let n = 0; n < TIMES; n++)
      for (const bytes of messages) expect(become(filter, bytes)).toBe(become(walked, bytes));
    expect(messages.some((bytes) => filter.knows(id, bytes, 'request'))).toBe(true);
  });

  const cases = [...SAMPLES, ...ALONE].flatMap((sample) =>
    SPACES.filter((choice) => sample.serves?.(choice) ?? true).map(
      (choice) => [sample.name, spaceOf(choice).name, sample, choice] as const,
    ),
  );

  test.each(cases)(
    '%s, %s: is known, and changed becomes what walking makes of it',
    (_n, _s, sample, choice) => {
      const { type, list, number = 0, way, rest = {} } = sample;
      const [id, whole] = [messageId(type), messageId(list ?? type)];
      const good = encode(type, sample.make(spaceOf(choice)));
      const behind = list ? encode(list, rest) : Buffer.alloc(0);
      const filter = new Filter(build);
      filter.selectSpace(choice);
      const walked = new Filter('walking');
      walked.selectSpace(choice);
      for (const one of [filter, walked]) one.latestTimestamp = LATEST;
      const listed = (one: Uint8Array): Uint8Array => (list ? field(number, one) : one);
      const outcome = (of: Filter, ...all: Uint8Array[]): Outcome => {
        of.newStream();
        const message = Buffer.concat([...all, behind]);
        const { status, bytes, failedMessage, failedField } = of.message(whole, message, way);
        return {
          status,
          bytes: hex(bytes),
          failed: status === Status.OK ? '' : `${failedMessage}.${failedField}`,
        };
      };
      const walk = (...all: Uint8Array[]): Outcome => outcome(walked, ...all);
      const one = walk(listed(good)).bytes;
      const two = list ? walk(listed(good), listed(good)).bytes : one;
      const becomes = one.slice(0, two.length - one.length);
      const end = list ? one.slice(becomes.length) : one;
      if (list) expect(two).toBe(becomes + becomes + end);
      // A list that is short would be known as a whole.
      const many = list ? Math.ceil(LONGEST / 2 / good.length) : 1;
      const goods = Buffer.concat(Array.from({ length: many }, () => listed(good)));
      const [all, learned] = list ? [becomes.repeat(many), [goods, goods]] : ['', [good]];
      const learn = (): void => {
        for (let n = 0; n < TIMES; n++) {
          if (filter.knows(id, good, way)) return;
          expect(outcome(filter, ...learned).bytes).toBe(all + all + end);
        }
        throw new Error('it is not learned');
      };

      /** Asks jest only where they differ: it is asked a hundred thousand times. */
      const same = (got: Outcome, wanted: Outcome): void => {
        const isSame =
          got.bytes === wanted.bytes && got.status === wanted.status && got.failed === wanted.failed;
        if (!isSame) expect(got).toEqual(wanted);
      };

      let followed = 0;
      let unlike = 0;
      let count = 0;
      for (const changed of changes(good, new Random(good.length))) {
        if (build === 'debug' && count++ % DEBUG_STEP !== 0) continue;
        learn();
        if (filter.knows(id, changed, way)) followed++;
        else unlike++;
        const expected = walk(listed(changed));
        same(outcome(filter, listed(changed)), expected);
        if (!list || expected.status !== Status.OK) continue;
        // Among good ones, too.
        const bytes = all + expected.bytes.slice(0, expected.bytes.length - end.length) + all + end;
        same(outcome(filter, goods, listed(changed), goods), { ...expected, bytes });
      }
      // Values and keys are free; fields and lengths are not.
      const step = build === 'debug' ? DEBUG_STEP : 1;
      expect(followed).toBeGreaterThan(100 / step);
      expect(unlike).toBeGreaterThan(50 / step);
    },
  );
});
