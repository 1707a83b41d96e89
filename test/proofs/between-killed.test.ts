/**
 * Processes of `tidb-mesh move run` are killed by SIGKILL at the steps of a move between two storage layers, while clients commit: before
 * and after each change of the record in B's PD, between hand-over and decision, and when the mesh file has just been changed, before
 * `--apply` brings it to the Envoys. Minutes: `npm run test:proofs -- between-killed`.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Verb } from '../../src-ts/move/wishes.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { REPOSITORY } from '../harness/stack/builds.ts';
import { standing } from '../move/waiting.ts';
import { Layers } from './layers.ts';
import { askAgain, live, type Step } from './dying.ts';
import { UnderLoad } from './under-load.ts';
import { UNDECIDED } from '../harness/support/switch-steps.ts';

const ALPHA: Tenant = { name: 'alpha', number: 1 };
const COPY = ['before copying', 'after copying', 'copied', 'before following', 'after following'];
const [BEFORE_LOCKS, FROM_LOCKS] = [UNDECIDED.slice(0, -2), UNDECIDED.slice(-2)];
/** Of a switch, there or back. The last ones come when it is decided. */
const SWITCH = [
  'before switching',
  ...BEFORE_LOCKS,
  'handed over',
  ...FROM_LOCKS,
  'after committing',
  'opened',
  'committed',
  'before following',
  'after following',
];
/** Of a reverse: those from the hand-over on have another home of the record. */
const REVERSE = [
  'final',
  'handed over',
  ...FROM_LOCKS,
  'after committing',
  'opened',
  'committed',
  'after following',
];
const END = ['before completing', 'after completing', 'destroyed', 'released', 'told over', 'told the end'];
/** A text of the mesh file: the worker is killed when it has written it for the first time, and nothing is brought to the Envoys. */
const inFile = (text: string): string => `file: ${text}`;
const NAMES = ['a', 'b'];

let layers: Layers;
let load: UnderLoad;
let script: string;
let mark: string;
let reach: string[];
beforeAll(async () => {
  layers = await Layers.start(NAMES, [ALPHA], { a: { regionSize: 20_000 } });
  load = await UnderLoad.start(await layers.of('a').stack.startTidb({ tenant: ALPHA.name }));
  reach = await layers.reachOf('b', 'a');
  const copy = layers.watchCopy();
  const folder = layers.of('a').stack.run.data;
  [script, mark] = [join(folder, 'apply.sh'), join(folder, 'killed')];
  writeFileSync(
    script,
    `#!/bin/sh -e
if [ -n "$DIE_AT_TEXT" ] && [ ! -e ${mark} ] && grep -q "$DIE_AT_TEXT" "$1"; then
  touch ${mark}
  kill -9 $WORKER
  exit 1
fi
cp "$1" ${copy}.new
mv ${copy}.new ${copy}
`,
    { mode: 0o755 },
  );
});
afterAll(async () => {
  await layers?.end();
});

function run(dieAt: Step): ChildProcess {
  const text = dieAt?.startsWith(inFile('')) ? dieAt.slice(inFile('').length) : '';
  rmSync(mark, { force: true });
  const child = spawn(
    process.execPath,
    [
      ...['test/proofs/die-at.mjs', 'move', 'run', '--config', layers.file, ...reach],
      // The shell is the worker's child.
      ...['--apply', `WORKER=$PPID ${script} "$1"`, '--envoy', ...layers.of('b').urls],
      ...['--max-lag', '30', '--hold', '30'],
      ...(dieAt === undefined ? ['--until-done'] : []),
    ],
    {
      cwd: REPOSITORY,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        NODE_NO_WARNINGS: '1',
        TIDB_MESH_DIE_AT: text === '' ? (dieAt ?? '') : '',
        DIE_AT_TEXT: text,
      },
    },
  );
  child.stderr.on('data', (line: Buffer) => layers.said.push(line.toString().trimEnd()));
  return child;
}

const survive = (how: string, steps: readonly Step[], wish: () => Promise<unknown>): Promise<void> =>
  live(how, steps, wish, {
    load,
    // It starts on a busy machine.
    pauseMs: 500,
    readersMayFail: true,
    start: run,
    standing: async () => standing(await layers.record(), layers.said),
  });

const asks = (verb: Verb) => (): Promise<void> => askAgain(layers.of('b').pd, ALPHA.name, verb);

test('at each step of the copy, nothing is lost or invented', async () => {
  await layers.begin('a', 'b');
  await survive('the copy', [inFile('movesTo'), ...COPY], async () => undefined);
  expect(layers.entry()).toMatchObject({ storage: 'a', movesTo: { storage: 'b' } });
});

test('at each step of a switch, nothing is lost or invented', async () => {
  // Of the hand-over, of the opening, and of the last order.
  const files = ['"state": "suspended"', '"confVerOffset"'].map(inFile);
  await survive(
    'a switch',
    [...SWITCH.slice(0, 9), files[0], ...SWITCH.slice(9, -4), files[1], ...SWITCH.slice(-4)],
    asks('switch'),
  );
  expect((await layers.follows()).switches).toBe(1);
  expect(layers.entry()).toMatchObject({ storage: 'b', movedFrom: { storage: 'a' } });
});

test('from final on of a reverse, nothing is lost or invented', async () => {
  await survive('a reverse', REVERSE, asks('reverse'));
  expect((await layers.follows()).switches).toBe(2);
  expect(layers.entry()).toMatchObject({ storage: 'a', movedFrom: { storage: 'b' } });
});

test('at each step of a complete: it works at B, and nothing is left at A', async () => {
  await survive('another switch', ['after following'], asks('switch'));
  await survive('a complete', [...END, undefined], asks('complete'));
  expect(layers.entry()).toMatchObject({ storage: 'b', movedFrom: { storage: 'a' } });
  expect(layers.entry()).not.toHaveProperty('move');
  expect(await layers.keysAt('a')).toBe(0);
  expect(await layers.keysAt('b')).toBeGreaterThan(100);
  for (const name of NAMES) expect(await layers.movesAt(name)).toEqual([]);
});
