/** The walker against a model that works on decoded messages; and what it refuses. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { clone, equals, fromBinary, toBinary, toJsonString, type FileRegistry } from '@bufbuild/protobuf';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { judge, type JudgedMessage, type Judgement } from '../../src-ts/schema/judgement.ts';
import { layOut, type Layout } from '../../src-ts/schema/layout.ts';
import {
  ALL_BUILD_NAMES,
  buildFilter,
  Filter,
  LEASE_SEED,
  Status,
  type SpaceChoice,
  type Way,
} from './filter.ts';
import { hex } from '../harness/model/bytes.ts';
import { MessageMaker } from '../harness/model/messages.ts';
import { Random } from '../harness/model/random.ts';
import { mixed, PACKED, reform, SINGLE } from '../harness/model/forms.ts';
import { spaceOf } from '../harness/model/key-spaces.ts';
import { Refused, WalkerModel, type World } from '../harness/model/walker.ts';

const ROUNDS = 20;

let registry: FileRegistry;
let judgement: Judgement;
let layout: Layout;
let judged: ReadonlyMap<string, JudgedMessage>;
let maker: MessageMaker;
let model: WalkerModel;

beforeAll(async () => {
  await buildFilter();
  registry = readDescriptors();
  judgement = judge(registry);
  layout = layOut(judgement);
  judged = new Map(judgement.messages.map((message) => [message.name, message]));
  maker = new MessageMaker(registry, judgement);
  model = new WalkerModel(registry, judgement);
});

/** Lists of numbers as some encoder writes them, somewhere among the other fields. */
function inSomeForm(name: string, bytes: Uint8Array, random: Random): Uint8Array {
  const split = random.pick([PACKED, SINGLE, mixed(random)]);
  return reform(judged, name, bytes, split, random.pick(['behind', 'before', 'between'] as const), random);
}

function id(name: string): number {
  return layout.names.indexOf(name);
}

/** One of each kind. */
const SPACES: SpaceChoice[] = [
  { number: 1 },
  { number: 12, ownDefaultGroup: true },
  { number: 3, keyspace: { id: 7, mode: 'txn' } },
  { number: 4, keyspace: { id: 0xffffff, mode: 'raw' } },
  { number: 5, prefix: { bytes: Buffer.from('app1:'), mode: 'txn' } },
  { number: 6, prefix: { bytes: Buffer.from('ff00', 'hex'), mode: 'raw' } },
  { number: 0 },
  { number: 7, keyNumber: 300 },
];

/** The earliest timestamp that may be kept from GC. */
const OLDEST = 1000n << 18n;
/** Seconds for which a lease in etcd may be taken. */
const LONGEST_LEASE = 86400n;

function newWorld(choice: SpaceChoice = SPACES[0]!): World {
  return {
    space: spaceOf(choice),
    name: 'alpha',
    leaseSeed: LEASE_SEED,
    safePoint: 0n,
    oldest: OLDEST,
    longestHold: 3600n,
    longestLease: LONGEST_LEASE,
  };
}

describe.each(ALL_BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  test.each(SPACES.map((choice) => [spaceOf(choice).name, choice] as const))(
    '%s: rewrites random messages of every mapped method as the model does',
    (_, choice) => {
      filter.selectSpace(choice);
      filter.lookups = true;
      filter.holdBack(OLDEST, 3600);
      filter.longestLease(LONGEST_LEASE);
      const refused = new Map<Status, number>();
      const methods = judgement.methods.filter((m) => m.decision === 'MAP');
      expect(methods.length).toBeGreaterThan(40);
      for (const [m, method] of methods.entries())
        for (let round = 0; round < ROUNDS; round++) {
          const world = newWorld(choice);
          filter.newStream();
          const random = new Random(m * 1000 + round);
          for (const way of ['request', 'response'] as const) {
            const name = (way === 'request' ? method.request : method.response) ?? '';
            const desc = maker.desc(name);
            const message = maker.make(name, way, world, random);
            const sent = inSomeForm(name, toBinary(desc, message), random);
            const wanted = clone(desc, message);
            let status = Status.OK;
            try {
              model.rewrite(name, wanted, way, world);
            } catch (error) {
              if (!(error instanceof Refused)) throw error;
              status = error.status;
            }
            const got = filter.message(id(name), sent, way);
            const where = `${method.path} ${way} ${round} ${hex(sent)}`;
            if (status !== Status.OK && got.status === status) {
              refused.set(status, (refused.get(status) ?? 0) + 1);
              break;
            }
            if (got.status !== Status.OK || status !== Status.OK) {
              const field = `${layout.names[got.failedMessage]} ${got.failedField}`;
              throw new Error(
                `${where}: ${Status[got.status]} instead of ${Status[status]} ${field} ${toJsonString(desc, message, { registry })}`,
              );
            }
            const after = fromBinary(desc, got.bytes);
            if (!equals(desc, after, wanted, { unknown: true, registry }))
              expect({ where, json: toJsonString(desc, after) }).toEqual({
                where,
                json: toJsonString(desc, wanted),
              });
          }
        }
      // Which kinds of requests a key space turns away: RawKV in one of transactions, and the other way round.
      expect(refused.has(Status.WRONG_SPACE)).toBe(true);
      filter.selectSpace(SPACES[0]!);
    },
  );

  test('takes every message cut short at every byte, and then a good one', () => {
    const good = toBinary(
      maker.desc('kvrpcpb.GetRequest'),
      maker.make('kvrpcpb.GetRequest', 'request', newWorld(), new Random(1)),
    );
    const wanted = hex(filter.message(id('kvrpcpb.GetRequest'), good, 'request').bytes);
    for (const [m, method] of judgement.methods.filter((x) => x.decision === 'MAP').entries())
      for (const way of ['request', 'response'] as Way[]) {
        const name = (way === 'request' ? method.request : method.response) ?? '';
        const sent = toBinary(maker.desc(name), maker.make(name, way, newWorld(), new Random(m)));
        filter.newStream();
        for (let cut = 0; cut < Math.min(sent.length, 250); cut++)
          expect(Status[filter.message(id(name), sent.subarray(0, cut), way).status]).toBeDefined();
        expect(hex(filter.message(id('kvrpcpb.GetRequest'), good, 'request').bytes)).toBe(wanted);
      }
  });

  test('takes messages with bytes changed at random', () => {
    const random = new Random(77);
    const methods = judgement.methods.filter((x) => x.decision === 'MAP');
    for (let round = 0; round < 2500; round++) {
      const way = random.pick(['request', 'response'] as const);
      const method = random.pick(methods);
      const name = (way === 'request' ? method.request : method.response) ?? '';
      const bytes = toBinary(maker.desc(name), maker.make(name, way, newWorld(), random));
      for (let i = 0; i < 1 + random.below(4) && bytes.length > 0; i++)
        bytes[random.below(bytes.length)] = random.below(256);
      filter.newStream();
      const { status } = filter.message(id(name), bytes, way);
      expect(Status[status]).toBeDefined();
      expect(status).not.toBe(Status.DROP);
    }
  });
});
