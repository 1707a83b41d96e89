/**
 * Measures moves through Envoy: copy and comparison beside a bare scan, the worker's memory, how far the copy is behind, how long requests
 * are held at a switch, and the errors of clients. Prints a table, and asserts no times. Run it on a quiet machine:
 * `npm run test:proofs -- figures --json FILE`.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { machine } from '../../bench/machine.ts';
import { short, tableOf } from '../../bench/rows.ts';
import { Applier, type Row } from '../../src-ts/move/engine/apply.ts';
import { forEach } from '../../src-ts/move/engine/for-each.ts';
import { makeEngine } from '../../src-ts/move/engine/engine-of.ts';
import type { Following } from '../../src-ts/move/engine/engine.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { Snapshot } from '../../src-ts/move/engine/snapshot.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { REPOSITORY } from '../harness/stack/builds.ts';
import { rowKey } from '../harness/support/keys.ts';
import { Moving } from '../move/moving.ts';
import { Command } from './command.ts';
import { committed, UnderLoad } from './under-load.ts';

const ALPHA = { name: 'alpha', number: 1 };
/** Has rows, and no TiDB. */
const SOLO = { name: 'solo', number: 30 };
const AWAY_BY = 10;
const MIB = 2 ** 20;
const SIZE_MIB = Number(process.env['TIDB_MESH_MIB'] ?? 64);
const ROUNDS = Number(process.env['TIDB_MESH_ROUNDS'] ?? 20);
const VALUE_BYTES = 1000;
const ROWS_AT_ONCE = 250;
/** How long, and how often, rows are written while the copy follows. */
const WRITE_MS = 15_000;
const WRITE_EACH_MS = 10;
const LOOK_MS = 25;
/** A process of the command has started by then. */
const START_MS = 3000;

interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
}

const SPACE = keySpaceOf(SOLO);
const figures: Figure[] = [];
let errors: Record<string, number> = {};
let moving: Moving;
/** As the worker has it: through Envoy, as a system principal. */
let storage: Storage;
let applier: Applier;
let following: Following | undefined;
let load: UnderLoad;
beforeAll(async () => {
  moving = await Moving.start([ALPHA, SOLO], { startTidbs: false });
  const [pd = ''] = moving.urls;
  storage = new Storage(new Endpoint({ pd, ...moving.certs }));
  const side = { storage, space: SPACE };
  const map = new KeyMap(SPACE, SPACE);
  applier = new Applier({ source: side, target: side, map, throttle: new Throttle() });
  load = await UnderLoad.start(await moving.stack.startTidb({ tenant: ALPHA.name }));
});
afterAll(async () => {
  storage?.close();
  await moving?.end();
  const cells = figures.map(({ what, value, unit }) => [what, short(value), unit]);
  const kinds = Object.entries(errors).map(([kind, count]) => [kind, String(count), 'errors']);
  console.log(tableOf(['a move', '', ''], [...cells, ...kinds]));
  const file = process.env['TIDB_MESH_JSON'];
  if (file === undefined) return;
  const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: REPOSITORY, encoding: 'utf8' }).trim();
  writeFileSync(file, `${JSON.stringify({ commit, machine: machine(), figures, errors }, undefined, 1)}\n`);
});

function note(what: string, value: number, unit: string): void {
  figures.push({ what, value, unit });
}

/** @param values in no order */
function noteSpread(what: string, values: readonly number[]): void {
  const sorted = [...values].sort((a, b) => a - b);
  note(`${what}, p50`, sorted[Math.floor(sorted.length / 2)] ?? NaN, 'ms');
  note(`${what}, worst of ${sorted.length}`, sorted.at(-1) ?? NaN, 'ms');
}

/** Writes rows of one transaction, by their handles. */
async function write(handles: readonly number[]): Promise<void> {
  const startTs = await storage.timestamp();
  const commitTs = await storage.timestamp();
  const rows = handles.map((handle): Row => {
    // An index: the store reads rows.
    const key = rowKey(100, handle);
    key.write('_i', 9, 'latin1');
    return {
      startTs,
      commitTs,
      key: SPACE.encode(key)!,
      op: 'put',
      value: Buffer.alloc(VALUE_BYTES, handle),
    };
  });
  await applier.apply(rows);
}

const mibPerSecond = (bytes: number, since: number): number =>
  bytes / MIB / ((performance.now() - since) / 1000);

/** Reads everything, and does nothing with it. */
async function scan(): Promise<number> {
  const began = performance.now();
  let bytes = 0;
  const snapshot = new Snapshot({ storage, space: SPACE }, await storage.timestamp(), { locks: 'meet' });
  for await (const page of snapshot.pages({ start: SPACE.start, end: SPACE.end })) bytes += page.bytes;
  return mibPerSecond(bytes, began);
}

/** In MiB: what a process has in memory now (`VmRSS`), or had at most (`VmHWM`). */
function memoryOf(pid: number, what: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
}

function startWorker(): void {
  const [pd = ''] = moving.urls;
  moving.startWorker({
    engineOf: (record) => {
      const engine = makeEngine({ pd, ...moving.certs }, record);
      return { ...engine, follow: async (from) => (following = await engine.follow(from)) };
    },
  });
}

test('a process of the command copies', async () => {
  const rows = Math.ceil((SIZE_MIB * MIB) / VALUE_BYTES);
  const groups = Array.from({ length: Math.ceil(rows / ROWS_AT_ONCE) }, (_, i) =>
    Array.from({ length: ROWS_AT_ONCE }, (_row, j) => i * ROWS_AT_ONCE + j),
  );
  await forEach(groups, 4, write);
  // The first one warms up.
  await scan();
  note('bare scan', await scan(), 'MiB/s');

  const command = new Command(moving);
  const worker = command.run();
  try {
    await sleep(START_MS);
    const pid = worker.pid!;
    note('memory of the worker at its start', memoryOf(pid, 'VmRSS'), 'MiB');
    await moving.begin(SOLO.name, { keyNumber: SOLO.number + AWAY_BY });
    await moving.until(SOLO.name, ({ state }) => state === 'copying');
    const began = performance.now();
    const { copied } = await moving.follows(SOLO.name);
    note(`copy of ${SIZE_MIB} MiB`, mibPerSecond(copied?.bytes ?? 0, began), 'MiB/s');
    note('memory of the worker at most', memoryOf(pid, 'VmHWM'), 'MiB');
    expect(copied?.keys).toBeGreaterThanOrEqual(rows);
    // So that no wait for the feed is measured.
    expect(await moving.diff(SOLO.name)).toEqual([]);
    const beganDiff = performance.now();
    expect(await moving.diff(SOLO.name)).toEqual([]);
    note('comparison', mibPerSecond(copied?.bytes ?? 0, beganDiff), 'MiB/s');
  } finally {
    worker.kill('SIGKILL');
    command.end();
  }
});

test('what is written is carried over', async () => {
  startWorker();
  await moving.until(SOLO.name, () => following !== undefined);
  const lags: number[] = [];
  const end = Date.now() + WRITE_MS;
  const writing = (async () => {
    for (let handle = 0; Date.now() < end; handle++) {
      await write([handle % ROWS_AT_ONCE]);
      await sleep(WRITE_EACH_MS);
    }
  })();
  while (Date.now() < end) {
    await sleep(LOOK_MS);
    if (following && following.lagMs < Infinity) lags.push(following.lagMs);
  }
  await writing;
  noteSpread('the copy is behind', lags);
  await moving.finish(SOLO.name, 'cancel');
});

test('a tenant under load is switched there and back', async () => {
  await moving.begin(ALPHA.name, { keyNumber: ALPHA.number + AWAY_BY });
  await moving.follows(ALPHA.name);
  const ledger = await load.run('the load', () => moving.switchTo(ALPHA.name, ROUNDS));
  const { history } = await moving.record(ALPHA.name);
  noteSpread(
    'writes are held',
    history.map(({ writesHeldMs }) => writesHeldMs),
  );
  noteSpread(
    'everything is held',
    history.map(({ allHeldMs }) => allHeldMs),
  );
  note('transactions committed', committed(ledger), '');
  errors = Object.fromEntries(ledger.errors);
});
