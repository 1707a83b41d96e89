/**
 * Proof that the other proofs can fail: what is lost when a move leaves out one of the things that keep commits. A step is left out by the
 * test alone, which gives the worker other tools; no option of the command does: `npm run test:proofs -- broken`.
 */
import { create } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Applier, isRow } from '../../src-ts/move/engine/apply.ts';
import { makeEngine, sidesOf } from '../../src-ts/move/engine/engine-of.ts';
import { KeyMap, keySpaceOf, type MoveSpace } from '../../src-ts/move/engine/key-space.ts';
import { settle } from '../../src-ts/move/engine/locks.ts';
import { COMMIT, PREWRITE } from '../../src-ts/move/engine/methods.ts';
import { Snapshot, after } from '../../src-ts/move/engine/snapshot.ts';
import type { MoveRecord } from '../../src-ts/move/record.ts';
import type { Tools } from '../../src-ts/move/steps/tools.ts';
import { Storage, type Located, type Side } from '../../src-ts/move/engine/storage.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { Op } from '../../src-ts/pd/generated/tikv/kvrpcpb_pb.ts';
import { RegionEpochSchema } from '../../src-ts/pd/generated/tikv/metapb_pb.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { rowKey } from '../harness/support/keys.ts';
import { Moving } from '../move/moving.ts';
import { lastOf } from '../move/waiting.ts';

/** No TiDB runs: transactions are written step by step. */
const BETA = { name: 'beta', number: 2 };
const AWAY_BY = 10;
/** From the beginning of a copy until it has read, of so few keys. */
const READING_MS = 3000;
/** Of a switch that is to be done in one attempt. */
const MOST_TRIES = 5;

/** A client of beta. PD's HTTP API gives versions of regions without the tenant's epochOffset. */
class BetaStorage extends Storage {
  override async locate(space: MoveSpace, key: Buffer): Promise<Located | undefined> {
    const located = await super.locate(space, key);
    if (!located) return undefined;
    const { version, confVer } = located.region.epoch;
    const offset = moving.ordersOf(BETA.name)?.place.epochOffset ?? 0;
    const regionEpoch = create(RegionEpochSchema, {
      confVer: BigInt(confVer),
      version: BigInt(version + offset),
    });
    return { ...located, context: { ...located.context, regionEpoch } };
  }
}

let moving: Moving;
/** As beta's TiDB would see it. */
let own: Side;
beforeAll(async () => {
  moving = await Moving.start([BETA, { name: 'gamma', number: 3 }], { startTidbs: false });
  const certs = await moving.stack.certs.client(principalOf(BETA.name));
  const storage = new BetaStorage(new Endpoint({ pd: `https://${moving.stack.pd.meshAddress}`, ...certs }));
  // A tenant sees its keys as TiDB makes them, as tenant 0 has them.
  own = { storage, space: keySpaceOf({ name: 'own', number: 0 }) };
});
const { apply } = Applier.prototype;
afterEach(async () => {
  await moving.stopWorker();
  Applier.prototype.apply = apply;
});
afterAll(async () => {
  own?.storage.close();
  await moving?.end();
});

/** What TiDB marks transactions with that rewrite rows for a change of a column's type (pkg/kv/option.go). */
const LOSSY = 1n << 8n;

let transfers = 0;

/** One transaction of a client that writes two keys, each by a request of its own, as client-go does for keys of two regions. */
class Transfer {
  readonly primary: Buffer;
  readonly secondary: Buffer;
  private startTs = 0n;
  private isAsync: boolean;
  private minCommitTs = 0n;

  constructor(
    private readonly way: 'asynchronously' | 'in two phases',
    private readonly txnSource = 0n,
  ) {
    transfers++;
    this.isAsync = way === 'asynchronously';
    [this.primary, this.secondary] = [1, 2].map((half) => {
      // An index: the store reads rows.
      const key = rowKey(100, 2 * transfers + half);
      key.write('_i', 9, 'latin1');
      return key;
    }) as [Buffer, Buffer];
  }

  async begin(): Promise<void> {
    this.startTs = await own.storage.timestamp();
  }

  /** Tries as long as a region is not served. @throws Error when the transaction cannot commit */
  async prewrite(key: Buffer): Promise<void> {
    const { minCommitTs, errors } = await own.storage.atRegion(own.space, key, async (located) => {
      const answer = await own.storage.ask(
        PREWRITE,
        {
          context: { ...located.context, txnSource: this.txnSource },
          mutations: [{ op: Op.Put, key, value: Buffer.from(`of ${this.startTs}`) }],
          primaryLock: this.primary,
          startVersion: this.startTs,
          lockTtl: 20_000n,
          txnSize: 2n,
          // As client-go does: a reader can push it.
          minCommitTs: this.startTs + 1n,
          ...(this.way === 'asynchronously' && {
            useAsyncCommit: true,
            ...(key === this.primary && { secondaries: [this.secondary] }),
          }),
        },
        located,
      );
      return answer.regionError ? { regionError: answer.regionError } : { value: answer };
    });
    if (errors.length > 0) throw new Error('it cannot be prewritten');
    // client-go does the same: the store does not want it, so the transaction commits in two phases.
    if (minCommitTs === 0n) this.isAsync = false;
    if (minCommitTs > this.minCommitTs) this.minCommitTs = minCommitTs;
  }

  /** All is prewritten. @returns what the client is told; what still has to be done is of no consequence to it */
  async commit(): Promise<'committed' | 'refused'> {
    if (this.isAsync) return 'committed';
    const commitTs = await own.storage.timestamp();
    if (!(await this.commitKey(this.primary, commitTs))) return 'refused';
    await this.commitKey(this.secondary, commitTs);
    return 'committed';
  }

  private commitKey(key: Buffer, commitVersion: bigint): Promise<boolean> {
    const { storage, space } = own;
    return storage.atRegion(space, key, async ({ context, address }) => {
      const fields = { context, startVersion: this.startTs, keys: [key], commitVersion };
      const answer = await storage.ask(COMMIT, fields, { address });
      return answer.regionError ? { regionError: answer.regionError } : { value: !answer.error };
    });
  }

  /** Which of its keys a reader sees. */
  async seen(): Promise<string[]> {
    const found: string[] = [];
    const snapshot = new Snapshot(own, await own.storage.timestamp(), { locks: 'meet' });
    for (const [name, key] of Object.entries({ primary: this.primary, secondary: this.secondary })) {
      const { pairs } = await snapshot.page({ start: key, end: after(key) });
      if (pairs.length > 0) found.push(name);
    }
    return found;
  }
}

/** A worker that tells `prepare` where it should tell `calm`, and takes it for calm. */
function withoutCalm(): Partial<Tools> {
  const mesh = moving.heard();
  let calm: number | undefined;
  return {
    mesh: {
      ...mesh,
      tell: (tenant, orders) => {
        const { move } = orders;
        calm = move?.phase === 'calm' ? move.serial : undefined;
        if (!move || calm === undefined) return mesh.tell(tenant, orders);
        return mesh.tell(tenant, { ...orders, move: { serial: move.serial, phase: 'prepare' } });
      },
      vms: async () =>
        (await mesh.vms()).map((vm) => ({
          ...vm,
          moves: vm.moves.map((one) => (one.serial === calm ? { ...one, phase: 'calm' } : one)),
        })),
    },
  };
}

/** A worker that rolls back at the source only, neither by itself nor when the feed tells it. */
function withoutRollbacks(): Partial<Tools> {
  Applier.prototype.apply = function (items): Promise<void> {
    return apply.call(this, items.filter(isRow));
  };
  const pd = moving.stack.pd.directUrl;
  return {
    engineOf: (record) => {
      const { source, target, close } = sidesOf({ pd }, new Map(), record);
      // Says that everything is rolled back there.
      const nowhere = {
        space: target.space,
        storage: {
          atRegion: async () => ({ commitVersion: 0n, lockTtl: 0n }),
          passed: async () => undefined,
        },
      } as unknown as Side;
      const engine = makeEngine({ pd }, record);
      return {
        ...engine,
        settle: async () => (await settle(source, nowhere, new KeyMap(source.space, target.space))).open,
        close: () => {
          engine.close();
          close();
        },
      };
    },
  };
}

describe('without waiting for commits that have begun, a transaction that rewrites rows', () => {
  /** What the target lacks of a transaction that is prewritten before a move begins, and commits when this says so. */
  async function lacks(given: Partial<Tools>, mayCommit: () => Promise<unknown>): Promise<string[]> {
    const transfer = new Transfer('in two phases', LOSSY);
    await transfer.begin();
    await transfer.prewrite(transfer.primary);
    await transfer.prewrite(transfer.secondary);
    await moving.begin(BETA.name, { keyNumber: BETA.number + AWAY_BY });
    moving.startWorker(given);
    await mayCommit();
    expect(await transfer.commit()).toBe('committed');
    expect(await transfer.seen()).toEqual(['primary', 'secondary']);
    await moving.follows(BETA.name);
    const lost = (await moving.diff(BETA.name)).map(({ what }) => what);
    await moving.finish(BETA.name, 'cancel');
    await moving.stopWorker();
    return lost;
  }

  test('is waited for by a whole move, and the target has it', async () => {
    const isWaitedFor = ({ state, problem }: MoveRecord): boolean =>
      state === 'planned' && (problem ?? '').includes('had begun to commit before the move');
    // It gives up before the locks expire, and tries again.
    const limits = { calmMs: 1000, obeyMs: 3000 };
    expect(await lacks({ limits }, () => moving.until(BETA.name, isWaitedFor))).toEqual([]);
  });

  test('is not at the target', async () => {
    const pd = moving.stack.pd.directUrl;
    const tools: Partial<Tools> = {
      engineOf: (record) => ({ ...makeEngine({ pd }, record), endBegun: async () => 0 }),
    };
    const missing = 'missing at the target';
    // A reader of the copy has its timestamp then, and may wait for the lock.
    const reads = async (): Promise<void> => {
      await moving.until(BETA.name, ({ state }) => state === 'copying');
      await sleep(READING_MS);
    };
    expect(await lacks(tools, reads)).toEqual([missing, missing]);
  });
});

describe.each([
  {
    left: 'calm',
    way: 'asynchronously',
    tools: withoutCalm,
    first: 'primary',
    lost: { told: 'committed', seen: [] },
    right: { told: 'refused', seen: [] },
  },
  {
    left: 'the rollback at the target',
    way: 'in two phases',
    tools: withoutRollbacks,
    first: 'secondary',
    lost: { told: 'committed', seen: ['primary'] },
    right: { told: 'refused', seen: [] },
  },
] as const)('without $left, a transaction that commits $way', ({ way, tools, first, lost, right }) => {
  /** A switch that comes between the first prewrite and the second. */
  async function outcome(
    given: Partial<Tools>,
    triesLeft = MOST_TRIES,
  ): Promise<{ told: string; seen: string[] }> {
    const transfer = new Transfer(way);
    const [one, other] =
      first === 'primary' ? [transfer.primary, transfer.secondary] : [transfer.secondary, transfer.primary];
    let told: Promise<string> | undefined;
    let attempts = 0;
    moving.startWorker({
      ...given,
      reached: async (step) => {
        if (step === 'calm') attempts++;
        if (step === 'calm' && told === undefined) {
          await transfer.begin();
          await transfer.prewrite(one);
        }
        if (step === 'drain')
          told ??= transfer
            .prewrite(other)
            .then(() => transfer.commit())
            .catch(() => 'refused');
      },
    });
    const { switches } = await moving.record(BETA.name);
    await moving.switchTo(BETA.name, switches + 1);
    expect(told).toBeDefined();
    const answer = (await told)!;
    const seen = await transfer.seen();
    await moving.stopWorker();
    // A busy machine: the transaction has ended between two attempts, and met no switch.
    if (attempts > 1) {
      if (triesLeft === 0) throw new Error(`no switch in one attempt:\n${lastOf(moving.said)}`);
      return outcome(given, triesLeft - 1);
    }
    return { told: answer, seen };
  }

  beforeAll(async () => {
    // The move of the last case cannot go on: half of a transaction is at one side, and rolled back at the other.
    if (await moving.isMoving(BETA.name)) {
      moving.startWorker();
      const { switches } = await moving.record(BETA.name);
      if (switches % 2 === 1) await moving.switchTo(BETA.name, switches + 1);
      await moving.finish(BETA.name, 'cancel');
      await moving.stopWorker();
    }
    const some = new Transfer('in two phases');
    await some.begin();
    await some.prewrite(some.primary);
    await some.prewrite(some.secondary);
    expect(await some.commit()).toBe('committed');
    await moving.begin(BETA.name, { keyNumber: BETA.number + AWAY_BY });
  });
  test('is refused by a whole move, and nothing of it is there', async () => {
    expect(await outcome({})).toEqual(right);
  });

  test('is lost, in whole or in part', async () => {
    const found = await outcome(tools());
    console.log(`told ${found.told}, seen: ${found.seen.join(', ') || 'nothing'}`);
    expect(found).toEqual(lost);
  });
});
