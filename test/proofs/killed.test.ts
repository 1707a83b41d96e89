/**
 * Processes of `tidb-mesh move run` are killed by SIGKILL between each pair of steps of a move, while clients commit: of its copy, a
 * switch, a reverse, and both ends. Minutes: `npm run test:proofs -- killed`.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createMove } from '../../src-ts/move/create.ts';
import type { Verb } from '../../src-ts/move/wishes.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { Moving } from '../move/moving.ts';
import { standing } from '../move/waiting.ts';
import { Command } from './command.ts';
import { askAgain, live, type Step } from './dying.ts';
import { UnderLoad } from './under-load.ts';
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
const endOf = (state: string): Step[] => [
  ...[`before ${state}`, `after ${state}`, 'destroyed', 'released', 'told the end'],
  undefined,
];
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

const run = (how: string, steps: readonly Step[], wish: () => Promise<unknown>): Promise<void> =>
  live(how, steps, wish, {
    load,
    pauseMs: 150,
    start: (dieAt) => command.run({ dieAt, untilDone: dieAt === undefined }),
    standing: async () => standing(await moving.record(ALPHA.name), moving.said),
  });

const wait = async (): Promise<void> => undefined;

const asks = (verb: Verb) => (): Promise<void> => askAgain(moving.pd, ALPHA.name, verb);

async function isOver(served: object, left: object): Promise<void> {
  expect(command.entry(ALPHA.name)).not.toHaveProperty('move');
  expect(command.entry(ALPHA.name)).toMatchObject(served);
  expect(await moving.keysAt(ALPHA.name, left)).toBe(0);
  expect(await moving.keysAt(ALPHA.name, served)).toBeGreaterThan(100);
  expect((await moving.mesh.vms()).flatMap(({ moves }) => moves)).toEqual([]);
}

test('at each step of the copy, nothing is lost or invented', async () => {
  await create();
  await run('the copy', COPY, wait);
});

test('at each step of a switch, nothing is lost or invented', async () => {
  await run('a switch', SWITCH, asks('switch'));
  expect((await moving.record(ALPHA.name)).switches).toBe(1);
});

test('at each step of a reverse, nothing is lost or invented', async () => {
  await run('a reverse', SWITCH, asks('reverse'));
  expect((await moving.record(ALPHA.name)).switches).toBe(2);
});

test('at each step of a cancel: the source is as it was, and nothing is left at the target', async () => {
  await run('a cancel', endOf('cancelling'), asks('cancel'));
  await isOver({}, AWAY);
});

test('at each step of a complete: it works at its new place, and nothing is left at the old one', async () => {
  await create();
  await run('another switch', ['after following', 'committed'], asks('switch'));
  await run('a complete', endOf('completing'), asks('complete'));
  await isOver(AWAY, {});
});
