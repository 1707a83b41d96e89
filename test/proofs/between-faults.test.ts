/**
 * The leader of PD of either side is killed in each phase of a move between two storage layers, three PDs at each, while clients commit: in
 * the copy, in a switch, in a reverse. No commit may be lost or invented, and the tenant is served by one side in the end. Minutes:
 * `npm run test:proofs -- between-faults`; `--long` tries every step.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MoveRecord } from '../../src-ts/move/record.ts';
import { ask } from '../../src-ts/move/wishes.ts';
import { leaderOf, type PdMember } from '../harness/stack/pd.ts';
import { standing, WAIT_MS } from '../move/waiting.ts';
import { Layers } from './layers.ts';
import { OnceAt } from './once-at.ts';
import { committed, UnderLoad } from './under-load.ts';

const ALPHA = { name: 'alpha', number: 1 };
const NAMES = ['a', 'b'];
const PDS = 3;
/** Of a copy that lasts until a leader is gone. */
const SLOW = { bytesPerSecond: 200_000 };
const PAUSE_MS = 50;
/** Steps at which a leader is killed. From `after committing` on, the switch is decided. */
const STEPS = process.env['TIDB_MESH_LONG']
  ? [
      'calm',
      'drain',
      'fence',
      'final',
      'handed over',
      'locks carried',
      'after committing',
      'opened',
      'committed',
      'after following',
    ]
  : ['calm', 'handed over', 'after committing'];

let layers: Layers;
let load: UnderLoad;
const once = new OnceAt();

beforeAll(async () => {
  layers = await Layers.start(NAMES, [ALPHA], { a: { pds: PDS, regionSize: 20_000 }, b: { pds: PDS } });
  load = await UnderLoad.start(await layers.of('a').stack.startTidb({ tenant: ALPHA.name }));
});
afterAll(async () => {
  await layers?.end();
});

async function leader(name: string): Promise<PdMember> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found = await leaderOf(layers.of(name).stack.pds);
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`PD of ${name} has no leader`);
    await sleep(100);
  }
}

/** Kills the leader; when there is another one, the old one comes back. */
async function killLeader(name: string): Promise<{ readonly back: Promise<void> }> {
  const member = await leader(name);
  await member.kill();
  return { back: leader(name).then(() => member.start()) };
}

/** Asks for a switch, there or back, again and again until so many were done. @returns how many were given up, and why the last one was */
async function untilSwitched(count: number): Promise<{ record: MoveRecord; givenUp: string[] }> {
  const deadline = Date.now() + 2 * WAIT_MS;
  const givenUp: string[] = [];
  let asked = 0;
  for (;;) {
    const record = await layers.record();
    const { switches, state, wish, problem } = record;
    if (switches >= count && state === 'following') return { record, givenUp };
    if (Date.now() > deadline) throw new Error(standing(record, layers.said));
    if (state === 'following' && wish === undefined) {
      if (asked++ > 0) givenUp.push(problem ?? 'nobody says why');
      const { pd } = layers.homeLayer;
      await ask(pd, ALPHA.name, switches % 2 === 0 ? 'switch' : 'reverse').catch(() => undefined);
    }
    await sleep(200);
  }
}

test.each(NAMES)('in the copy, PD of %s loses its leader', async (victim) => {
  const ledger = await load.run(
    `the copy, PD of ${victim}`,
    async () => {
      await layers.begin('a', 'b', ALPHA.name, SLOW);
      if (victim === 'a') layers.startWorker({ reached: once.reached });
      await layers.until(({ state, progress }) => state === 'copying' && progress !== undefined);
      const { back } = await killLeader(victim);
      await back;
      await layers.follows();
    },
    PAUSE_MS,
    true,
  );
  expect(committed(ledger)).toBeGreaterThan(0);
  expect(await layers.diff()).toEqual([]);
  // The second one begins anew; the last one goes on.
  if (victim === 'a') await layers.finish('cancel');
});

const cases = ['to b', 'back to a'].map((way) =>
  NAMES.flatMap((victim) => STEPS.map((step) => [way, victim, step] as const)),
);
const [there = [], back = []] = cases;
// There and back take turns.
const inTurns = there.flatMap((one, i) => [one, back[i]!]);

test.each(inTurns)('%s: PD of %s loses its leader at %s', async (way, victim, step) => {
  const { switches } = await layers.follows();
  let killed: Promise<{ readonly back: Promise<void> }> | undefined;
  let done!: Awaited<ReturnType<typeof untilSwitched>>;
  const ledger = await load.run(
    `${way}, PD of ${victim} at ${step}`,
    async () => {
      once.set(step, async () => {
        killed = killLeader(victim);
        await killed;
      });
      try {
        done = await untilSwitched(switches + 1);
      } finally {
        once.clear();
        await (
          await killed
        )?.back;
      }
    },
    PAUSE_MS,
    true,
  );
  expect(killed).toBeDefined();
  const { writesHeldMs, allHeldMs } = done.record.history.at(-1)!;
  console.log(
    `${way}, ${victim} at ${step}: writes held ${writesHeldMs} ms, all ${allHeldMs} ms in the last try; given up before: ${done.givenUp.join(' | ') || 'none'}`,
  );
  expect(committed(ledger)).toBeGreaterThan(0);
  expect(done.record.alarm).toBeUndefined();
});

test('both sides are equal at the end', async () => {
  expect(await layers.diff()).toEqual([]);
});
