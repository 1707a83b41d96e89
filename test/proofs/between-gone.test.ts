/**
 * A storage layer is gone while a tenant is half-way between it and another one: PD, store and Envoy are killed. What `move doctor` and the
 * worker say of it, that nothing fails open, and that the ways out lead out. `npm run test:proofs -- between-gone`.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Diagnosis } from '../../src-ts/move/diagnosis/diagnosis.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { safePoints } from '../../src-ts/pd/cluster.ts';
import { REPOSITORY } from '../harness/stack/builds.ts';
import { Layers, WAIT_MS } from './layers.ts';
import { committed, UnderLoad } from './under-load.ts';

const ALPHA = { name: 'alpha', number: 1 };
const PAUSE_MS = 50;
/** As long as clients are watched. */
const WATCH_MS = 3000;
/** TiDB's client of etcd asks for PD's members so often (store/etcd.go, AutoSyncInterval). */
const SYNC_MS = 30_000;

let layers: Layers;
let load: UnderLoad;
let reach: string[];

async function start(): Promise<void> {
  layers = await Layers.start(['a', 'b'], [ALPHA], { a: { regionSize: 20_000 } });
  reach = [...(await layers.reachOf('b', 'a')), '--config', layers.file];
  load = await UnderLoad.start(await layers.of('a').stack.startTidb({ tenant: ALPHA.name }));
}

afterEach(async () => {
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

/** As the doctor says: tells A's filters that the move is over, and that A serves the tenant. */
async function endByHand({ back }: Diagnosis): Promise<void> {
  const [, serial] = /\{serial: (\d+), phase: over\}/.exec(back.what) ?? [];
  expect(back.what).toContain('bring the file to the Envoys');
  await layers.edit((entry) => (entry['move'] = { serial: Number(serial), phase: 'over' }));
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
  layers.startWorker();
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

test('B is gone for good while changes are followed: A serves the tenant, and the move ends by hand', async () => {
  await start();
  await layers.begin('a', 'b');
  layers.startWorker();
  await layers.follows();
  const ledger = await load.run(
    'B is gone while changes are followed',
    async () => {
      await lose('b');
      const found = await doctor(({ state }) => state === 'unknown');
      show('B is gone, following', found);
      expect(found).toMatchObject({
        needsYou: true,
        served: 'at number 1 in storage a, by the configuration',
        forward: { isOpen: false },
        back: { isOpen: true },
      });
      await sleep(WATCH_MS);
      await layers.stopWorker();
      await endByHand(found);
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
