/**
 * A storage layer is gone while a tenant is half-way between it and another one: PD, store and Envoy are killed. What `move doctor` and the
 * worker say of it, that nothing fails open, and that the ways out lead out. `npm run test:proofs -- between-gone`.
 */
import { create, toBinary } from '@bufbuild/protobuf';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Diagnosis } from '../../src-ts/move/diagnosis/diagnosis.ts';
import type { Progress } from '../../src-ts/move/diagnosis/show.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { safePoints } from '../../src-ts/pd/cluster.ts';
import { RangeRequestSchema } from '../../src-ts/pd/generated/etcd/rpc_pb.ts';
import { callGrpc } from '../harness/stack/caller.ts';
import { REPOSITORY } from '../harness/stack/builds.ts';
import { Layers, WAIT_MS } from './layers.ts';
import { OnceAt } from './once-at.ts';
import { committed, UnderLoad } from './under-load.ts';

const ALPHA = { name: 'alpha', number: 1 };
/** Of a copy that does not end before the source is gone. */
const SLOW = { bytesPerSecond: 100_000 };
const PAUSE_MS = 50;
const KEY = Buffer.from('/tidb/server/info/');
/** As long as clients are watched. */
const WATCH_MS = 3000;
/** TiDB's client of etcd asks for PD's members so often (store/etcd.go, AutoSyncInterval). */
const SYNC_MS = 30_000;

let layers: Layers;
let load: UnderLoad;
let reach: string[];
const once = new OnceAt();

async function start(): Promise<void> {
  layers = await Layers.start(['a', 'b'], [ALPHA], { a: { regionSize: 20_000 } });
  reach = [...(await layers.reachOf('b', 'a')), '--config', layers.file];
  load = await UnderLoad.start(await layers.of('a').stack.startTidb({ tenant: ALPHA.name }));
}

const startWorker = (): void => layers.startWorker({ reached: once.reached });

afterEach(async () => {
  once.clear();
  await layers?.end();
});

/** Ends all of a storage layer. */
async function lose(name: string): Promise<void> {
  const { pds, store, envoy } = layers.of(name).stack;
  for (const pd of pds) await pd.kill();
  for (const pid of [store.pid, envoy!.pid]) process.kill(pid, 'SIGKILL');
}

/** What `move doctor` prints, whatever its exit code is. */
async function findings(): Promise<Diagnosis[]> {
  const args = ['move', 'doctor', ALPHA.name, '--json', ...reach, '--envoy', ...layers.of('b').urls];
  const text = await new Promise<string>((resolve) => {
    execFile(process.execPath, [join(REPOSITORY, 'src-ts/cli/bin.mjs'), ...args], (_, stdout, stderr) => {
      resolve(stdout === '' ? stderr : stdout);
    });
  });
  try {
    return JSON.parse(text) as Diagnosis[];
  } catch {
    throw new Error(text);
  }
}

/** Asks until the doctor says what is wanted. */
async function doctor(isWanted: (found: Diagnosis) => boolean): Promise<Diagnosis> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const [found] = await findings();
    if (found && isWanted(found)) return found;
    if (Date.now() > deadline) throw new Error(JSON.stringify(found, undefined, 2));
    await sleep(500);
  }
}

function show(how: string, { served, requests, holds, forward, back }: Diagnosis): void {
  console.log(`${how}: ${JSON.stringify({ served, requests, holds, forward, back }, undefined, 2)}`);
}

/** What a client of the tenant gets at a storage layer that asks for a key of its own. */
async function callAt(name: string): Promise<string> {
  const { meshAddress } = layers.of(name).stack.pd;
  const request = Buffer.from(toBinary(RangeRequestSchema, create(RangeRequestSchema, { key: KEY })));
  return (await callGrpc(meshAddress, await layers.clientCerts(), '/etcdserverpb.KV/Range', request)).status;
}

const phasesAt = async (name: string): Promise<string[]> =>
  (await layers.movesAt(name)).map(({ phase }) => phase);

async function untilPhases(name: string, isWanted: (phases: readonly string[]) => boolean): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const phases = await phasesAt(name);
    if (isWanted(phases)) return;
    if (Date.now() > deadline) throw new Error(phases.join());
    await sleep(50);
  }
}

/** What an entry has beside its place. */
const OWN = ['name', 'number', 'keyspace'];

/** What the doctor says of an entry in the middle of a switch: it gets what its `movedFrom` says, and nothing else of its place. */
function takeBack(entry: Record<string, unknown>): void {
  const place = { ...(entry['movedFrom'] as Record<string, unknown>) };
  delete place['move'];
  for (const field of Object.keys(entry)) if (!OWN.includes(field)) Reflect.deleteProperty(entry, field);
  Object.assign(entry, place);
}

/** As the doctor says: tells A's filters that the move is over, and that A serves the tenant. */
async function endByHand({ back }: Diagnosis): Promise<void> {
  const [, serial] = /\{serial: (\d+), phase: over\}/.exec(back.what) ?? [];
  expect(back.what).toContain('bring the file to the Envoys');
  await layers.edit((entry) => {
    if (back.what.includes('what its `movedFrom` says')) takeBack(entry);
    entry['move'] = { serial: Number(serial), phase: 'over' };
  });
  await untilPhases('a', (phases) => phases.length > 0 && phases.every((phase) => phase === 'over'));
  await layers.edit((entry) => {
    delete entry['move'];
    delete entry['movesTo'];
    delete entry['movedFrom'];
  });
  await untilPhases('a', (phases) => phases.length === 0);
}

test('A is gone, and B serves the tenant: it works on, and the move ends without A', async () => {
  await start();
  await layers.begin('a', 'b');
  startWorker();
  await layers.switches();
  await sleep(SYNC_MS + 5000);
  const { pd } = layers.of('b');
  const ledger = await load.run(
    'A is gone',
    async () => {
      await lose('a');
      const found = await doctor(({ holds }) => holds.join().includes('storage a does not answer'));
      show('A is gone, B serves', found);
      expect(found).toMatchObject({
        needsYou: true,
        served: 'at number 1 in storage b',
        back: { isOpen: false },
        forward: { isOpen: true },
      });
      expect(found.forward.commands.at(-1)).toContain('complete alpha --other-is-gone');
      await sleep(WATCH_MS);
      const { switches } = await layers.record();
      expect(switches).toBe(1);
      await ask(pd, ALPHA.name, 'complete', { otherIsGone: true });
      await fulfilled(pd, ALPHA.name, { verb: 'complete', timeoutMs: WAIT_MS, tell: () => undefined });
    },
    PAUSE_MS,
    true,
  );
  expect(committed(ledger)).toBeGreaterThan(20);
  expect(await layers.isMoving()).toBe(false);
  const services = (await safePoints(pd)).services.map(({ service }) => service);
  expect(services.filter((service) => service.includes(ALPHA.name))).toEqual([]);
  expect(await layers.movesAt('b')).toEqual([]);
  expect(layers.entry()).not.toHaveProperty('move');
  await load.run('afterwards', () => sleep(WATCH_MS), PAUSE_MS);
});

test('A is gone, and the tenant is being copied from there: it is served nowhere, and the copy stays closed', async () => {
  await start();
  await layers.begin('a', 'b', ALPHA.name, SLOW);
  startWorker();
  await layers.until(({ state, progress }) => {
    const { copied } = (progress ?? {}) as Progress;
    return state === 'copying' && (copied?.keys ?? 0) > 0;
  });
  await lose('a');
  const found = await doctor(({ holds }) => holds.join().includes('the last step has failed'));
  show('A is gone, copying', found);
  expect(found).toMatchObject({
    state: 'copying',
    needsYou: true,
    forward: { isOpen: false },
    requests: 'none are answered while storage a does not answer',
  });
  expect(found.served).toMatch(/^nowhere/);
  expect(await callAt('b')).toBe('PERMISSION_DENIED');
  // The copy may be the last one.
  await ask(layers.of('b').pd, ALPHA.name, 'cancel');
  const given = await doctor(({ holds }) => holds.join().includes('may be the last one'));
  show('A is gone, given up', given);
  expect(given).toMatchObject({ state: 'copying', back: { isOpen: true } });
  expect(given.back.commands.at(-1)).toContain('cancel alpha --without-storage');
  await ask(layers.of('b').pd, ALPHA.name, 'cancel', { withoutStorage: true });
  await fulfilled(layers.of('b').pd, ALPHA.name, {
    verb: 'cancel',
    timeoutMs: WAIT_MS,
    tell: () => undefined,
  });
  expect(await layers.isMoving()).toBe(false);
  expect(await layers.keysAt('b')).toBeGreaterThan(0);
  expect(await callAt('b')).toBe('PERMISSION_DENIED');
});

describe('B is gone for good', () => {
  test.each([
    ['while changes are followed: A serves the tenant, and the move ends by hand', undefined],
    ['in a switch, at final: the tenant is held until it is given back to A by hand', 'final'],
    ['in a switch, handed over: nobody serves the tenant until A is made to by hand', 'handed over'],
  ] as const)('%s', async (_, step) => {
    await start();
    await layers.begin('a', 'b');
    startWorker();
    await layers.follows();
    const ledger = await load.run(
      `B is gone ${step ?? 'while changes are followed'}`,
      async () => {
        if (step === undefined) await lose('b');
        else {
          once.set(step, () => lose('b'));
          await ask(layers.of('b').pd, ALPHA.name, 'switch');
        }
        const found = await doctor(({ state }) => state === 'unknown');
        const since = Date.now();
        show(`B is gone, ${step ?? 'following'}`, found);
        expect(found).toMatchObject({ needsYou: true, forward: { isOpen: false }, back: { isOpen: true } });
        expect(found.served).toMatch(
          step === 'handed over' ? /^nowhere/ : /^at number 1 in storage a, by the configuration$/,
        );
        if (step !== undefined) expect(found.requests).toBe('all are held, without an end');
        await sleep(WATCH_MS);
        if (step !== undefined) expect(new Set(await phasesAt('a'))).toEqual(new Set(['final']));
        await layers.stopWorker();
        await endByHand(found);
        console.log(`given back ${Date.now() - since} ms after the doctor had found out`);
        await sleep(WATCH_MS);
      },
      PAUSE_MS,
      true,
    );
    expect(committed(ledger)).toBeGreaterThan(0);
    expect(layers.entry()).toEqual({ ...ALPHA, storage: 'a' });
    const after = await load.run('afterwards', () => sleep(WATCH_MS), PAUSE_MS, true);
    expect(committed(after)).toBeGreaterThan(0);
  });
});

test('PD of B is gone in a hand-over: nobody serves the tenant, and the switch ends when PD is back', async () => {
  await start();
  await layers.begin('a', 'b');
  startWorker();
  await layers.follows();
  const ledger = await load.run(
    'PD of B is gone at the hand-over',
    async () => {
      const { pd } = layers.of('b').stack;
      once.set('handed over', () => pd.kill());
      await ask(layers.of('b').pd, ALPHA.name, 'switch');
      const found = await doctor(({ state }) => state === 'unknown');
      show('PD of B is gone, handed over', found);
      expect(found).toMatchObject({ needsYou: true, forward: { isOpen: false } });
      expect(found.served).toMatch(/^nowhere/);
      await sleep(WATCH_MS);
      expect(new Set(await phasesAt('a'))).toEqual(new Set(['final']));
      await pd.start();
      await layers.follows();
    },
    PAUSE_MS,
    true,
  );
  const { from, switches, problem } = await layers.record();
  console.log(`afterwards at ${from.storage ?? ''}, ${switches} switches; ${problem ?? ''}`);
  expect(committed(ledger)).toBeGreaterThan(0);
  const after = await load.run('afterwards', () => sleep(WATCH_MS), PAUSE_MS, true);
  expect(committed(after)).toBeGreaterThan(0);
});
