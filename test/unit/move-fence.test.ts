/** A worker that has lost its move in the middle of a step writes nothing more. PDs and stores are models. */
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { makeEngine } from '../../src-ts/move/engine/engine-of.ts';
import type { Engine } from '../../src-ts/move/engine/engine.ts';
import { keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import type { Mesh } from '../../src-ts/move/filters/mesh.ts';
import { moveOf, save } from '../../src-ts/move/record.ts';
import { Move } from '../../src-ts/move/steps/move.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { Op } from '../../src-ts/pd/generated/tikv/kvrpcpb_pb.ts';
import { moveRecord } from '../harness/support/move-record.ts';
import { PdModel } from '../harness/support/pd-model.ts';

const source = keySpaceOf({ name: 'alpha', number: 1 });
const READS = ['Tso', 'KvScanLock', 'KvScan'];
const START_TS = 5n;

let home: PdModel;
let layer: PdModel;
/** What the stores and PD were told to change, in order. */
let written: string[];
/** Locks of the source. */
let locks: object[];
let answers: Record<string, object>;

/** Another worker takes the move, and this one's host has stood still for so long. */
async function takeOver(): Promise<void> {
  const { record, revision } = await moveOf(home.endpoint, 'alpha');
  await save(home.endpoint, { record: { ...record, worker: { id: 'another', until: 0 } }, revision });
  const clock = performance.now.bind(performance);
  jest.spyOn(performance, 'now').mockImplementation(() => clock() + 10_000);
}

/** The move is taken over when this worker has written for the first time. */
async function wrote(what: string): Promise<void> {
  written.push(what);
  if (written.length === 1) await takeOver();
}

beforeEach(() => {
  [home, layer] = [new PdModel(), new PdModel()];
  layer.splits = [source.toPd(source.encode(Buffer.from('m'))!).toString('hex')];
  [written, locks, answers] = [[], [], {}];
  jest.spyOn(Endpoint.prototype, 'http').mockImplementation(async (...asked) => {
    const [method, path] = asked as Parameters<Endpoint['http']>;
    const answer = await layer.endpoint.http(...(asked as Parameters<Endpoint['http']>));
    if (method !== 'GET') await wrote(`${method} ${path}`);
    return answer;
  });
  jest.spyOn(Endpoint.prototype, 'grpc').mockImplementation(async (method, fields) => {
    const call = method.path.split('/').at(-1) ?? '';
    if (call === 'Tso') return layer.endpoint.grpc(method, fields) as never;
    if (call === 'KvScanLock') {
      const { startKey, endKey } = fields as { startKey: Buffer; endKey: Buffer };
      const isIn = ({ key }: { key?: Buffer }): boolean =>
        key !== undefined && Buffer.compare(key, startKey) >= 0 && Buffer.compare(key, endKey) < 0;
      return { locks: locks.filter(isIn) } as never;
    }
    if (!READS.includes(call)) await wrote(call);
    return (answers[call] ?? {}) as never;
  });
});
afterEach(() => void jest.restoreAllMocks());

/** Runs the move of alpha, whose engine does this in place of a copy. */
async function runWith(act: (engine: Engine, signal: AbortSignal) => Promise<unknown>): Promise<boolean> {
  await save(home.endpoint, { record: moveRecord({ state: 'copying' }), revision: 0n });
  const tools = {
    pd: home.endpoint,
    mesh: {} as Mesh,
    id: 'worker',
    tell: () => undefined,
    engineOf: (
      ...[record, isMine]: Parameters<ConstructorParameters<typeof Move>[0]['engineOf']>
    ): Engine => {
      const engine = makeEngine({ pd: 'http://127.0.0.1:1' }, record, undefined, undefined, isMine);
      return {
        ...engine,
        prepare: async () => undefined,
        copy: (_, __, signal) => act(engine, signal),
      };
    },
  };
  return new Move(tools, 'alpha', new AbortController().signal).run();
}

const lock = (key: string, lockType: Op): object => ({
  key: source.encode(Buffer.from(key))!,
  primaryLock: source.encode(Buffer.from('a'))!,
  lockVersion: START_TS,
  lockForUpdateTs: START_TS,
  lockTtl: 3000n,
  minCommitTs: 0n,
  lockType,
});

describe('a worker whose move another one takes', () => {
  test('ends no more transactions, and forbids none', async () => {
    locks = [lock('a', Op.Put), lock('x', Op.Put)];
    answers['KvCheckTxnStatus'] = { commitVersion: 0n, lockTtl: 0n };
    expect(await runWith((engine, signal) => engine.settle(signal))).toBe(false);
    expect(written).toEqual(['KvCheckTxnStatus']);
  });

  test('takes no more locks at the target', async () => {
    locks = [lock('a', Op.PessimisticLock)];
    const conflict = { conflictTs: 9n, conflictCommitTs: 9n };
    answers['KvPessimisticLock'] = { errors: [{ conflict, abort: '', retryable: '' }] };
    expect(await runWith((engine, signal) => engine.carryLocks(signal))).toBe(false);
    expect(written).toEqual(['KvPessimisticLock']);
  });

  test('removes no more of them', async () => {
    const target = keySpaceOf({ name: 'alpha', number: 5 });
    // More than one request takes.
    locks = Array.from({ length: 300 }, (_, i) => ({
      ...lock('', Op.PessimisticLock),
      key: target.encode(Buffer.from(`k${1000 + i}`))!,
    }));
    answers['KVPessimisticRollback'] = { errors: [] };
    expect(await runWith((engine) => engine.dropCarriedLocks())).toBe(false);
    expect(written).toEqual(['KVPessimisticRollback']);
  });

  test('splits and scatters no more regions', async () => {
    answers['SplitRegion'] = { errors: [], regions: [{ id: 99n }] };
    expect(await runWith((engine, signal) => engine.copy(undefined, async () => undefined, signal))).toBe(
      false,
    );
    expect(written).toEqual(['SplitRegion']);
  });

  test("does not take what the next move has in PD for its own's", async () => {
    expect(await runWith((engine) => engine.release())).toBe(false);
    expect(written).toEqual(['UpdateServiceGCSafePoint']);
  });
});
