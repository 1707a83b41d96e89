/**
 * Processes of `tidb-mesh move run` are killed by SIGKILL between each pair of steps of a move, while clients commit: of its copy, a
 * switch, a reverse, and both ends. Minutes: `npm run test:proofs -- killed`.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { createMove } from '../../src-ts/move/create.ts';
import { ask } from '../../src-ts/move/wishes.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { Moving } from '../move/moving.ts';
import { WAIT_MS } from '../move/waiting.ts';
import { Command } from './command.ts';
import { committed, UnderLoad } from './under-load.ts';
import { UNDECIDED } from '../harness/support/switch-steps.ts';

const ALPHA: Tenant = { name: 'alpha', number: 1 };
const AWAY = { keyNumber: 5 };
/** Steps of a move from its beginning to the first switch. */
const COPY = ['before copying', 'after copying', 'copied', 'before following', 'after following'];
/** Of a switch, there or back. The last ones come when it is decided. */
const SWITCH = [
  'before switching',
  ...UNDECIDED,
  'after committing',
  'committed',
  'before following',
  'after following',
];
const endOf = (state: string): (string | undefined)[] => [
  ...[`before ${state}`, `after ${state}`, 'destroyed', 'released', 'told the end'],
  undefined,
];
/** Between two transactions of a client: each worker repeats what the one before had not kept. */
const PAUSE_MS = 150;

let moving: Moving;
let command: Command;
let load: UnderLoad;
beforeAll(async () => {
  moving = await Moving.start([ALPHA, { name: 'beta', number: 2 }], { startTidbs: false });
  load = await UnderLoad.start(await moving.stack.startTidb({ tenant: ALPHA.name }));
  command = new Command(moving);
});
afterAll(async () => {
  command?.end();
  await moving?.end();
});

async function create(): Promise<void> {
  await createMove(moving.pd, { tenant: command.entry(ALPHA.name), to: AWAY, all: moving.tenants });
}

/** A worker after the other, each killed at one of these steps, while clients commit. The one of `undefined` ends with the move. */
async function live(
  how: string,
  steps: readonly (string | undefined)[],
  wish: () => Promise<unknown>,
): Promise<void> {
  const began = Date.now();
  const act = async (): Promise<void> => {
    for (const step of steps) await lives(step, wish);
  };
  const ledger = await load.run(how, act, PAUSE_MS);
  expect(committed(ledger)).toBeGreaterThan(0);
  const killed = steps.filter((step) => step !== undefined).length;
  console.log(`${how}: ${killed} killed in ${Math.round((Date.now() - began) / 1000)} s`);
}

async function lives(step: string | undefined, wish: () => Promise<unknown>): Promise<void> {
  const child = command.run({ dieAt: step, untilDone: step === undefined });
  const deadline = Date.now() + WAIT_MS;
  while (child.exitCode === null && child.signalCode === null) {
    if (Date.now() > deadline) {
      child.kill('SIGKILL');
      const { state, problem } = await moving.record(ALPHA.name);
      throw new Error(
        `${step ?? 'the end'}: ${state}: ${problem ?? ''}\n${moving.said.slice(-20).join('\n')}`,
      );
    }
    // Somebody else may have asked for something, and the move may have ended.
    await wish().catch(() => undefined);
    await sleep(100);
  }
  expect([step, child.signalCode ?? child.exitCode]).toEqual([step, step === undefined ? 0 : 'SIGKILL']);
}

const wait = async (): Promise<void> => undefined;

/** Asks for it whenever the move follows, and nothing is asked for. */
const asks = (verb: Parameters<typeof ask>[2]) => async (): Promise<void> => {
  if (!(await moving.isMoving(ALPHA.name))) return;
  const { state, wish } = await moving.record(ALPHA.name);
  if (state === 'following' && wish === undefined) await ask(moving.pd, ALPHA.name, verb);
};

async function isOver(served: object, left: object): Promise<void> {
  expect(command.entry(ALPHA.name)).not.toHaveProperty('move');
  expect(command.entry(ALPHA.name)).toMatchObject(served);
  expect(await moving.keysAt(ALPHA.name, left)).toBe(0);
  expect(await moving.keysAt(ALPHA.name, served)).toBeGreaterThan(100);
  expect((await moving.mesh.vms()).flatMap(({ moves }) => moves)).toEqual([]);
}

test('at each step of the copy, nothing is lost or invented', async () => {
  await create();
  await live('the copy', COPY, wait);
});

test('at each step of a switch, nothing is lost or invented', async () => {
  await live('a switch', SWITCH, asks('switch'));
  expect((await moving.record(ALPHA.name)).switches).toBe(1);
});

test('at each step of a reverse, nothing is lost or invented', async () => {
  await live('a reverse', SWITCH, asks('reverse'));
  expect((await moving.record(ALPHA.name)).switches).toBe(2);
});

test('at each step of a cancel: the source is as it was, and nothing is left at the target', async () => {
  await live('a cancel', endOf('cancelling'), asks('cancel'));
  await isOver({}, AWAY);
});

test('at each step of a complete: it works at its new place, and nothing is left at the old one', async () => {
  await create();
  await live('another switch', ['after following', 'committed'], asks('switch'));
  await live('a complete', endOf('completing'), asks('complete'));
  await isOver(AWAY, {});
});
