/** A stack that is ended while it starts, installs or builds leaves no process behind, however it is ended. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { ROOT } from '../../src-ts/wasm/builds.ts';
import { prepare } from '../harness/stack/builds.ts';
import { markedPids } from '../harness/stack/marks.mjs';
import { silent } from '../harness/stack/progress.ts';

/** In the environment of all that a test starts, besides the mark of the run itself. */
const NAME = 'TIDB_MESH_ENDS_TEST';
/** Names the file that a stand-in makes when it begins. */
const BEGUN = 'TIDB_MESH_ENDS_BEGUN';
const STEP_TIMEOUT_MS = 240_000;
const END_TIMEOUT_MS = 60_000;

let folder: string;
const started = new Set<string>();

beforeAll(async () => {
  await prepare(silent);
  folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-ends-'));
  // Stand-ins for what installs and builds: they take for ever, and so does what they start.
  for (const name of ['go', 'python3'])
    writeFileSync(join(folder, name), `#!/bin/sh\ntouch "$${BEGUN}"\nsleep 3600 &\nwait\n`, { mode: 0o755 });
});

afterEach(() => {
  for (const mark of started)
    for (const pid of markedPids(mark, NAME))
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
  started.clear();
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Demo {
  readonly child: ChildProcess;
  readonly mark: string;
  /** Resolves when the progress says so. */
  says(text: string): Promise<void>;
}

function demo(env: Record<string, string> = {}): Demo {
  const mark = randomUUID();
  started.add(mark);
  const child = spawn(process.execPath, ['test/harness/run/demo.mjs', '--once'], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, CI: '1', ...env, [NAME]: mark },
  });
  let said = '';
  child.stderr.on('data', (part: Buffer) => (said += part.toString()));
  return {
    child,
    mark,
    async says(text) {
      const end = Date.now() + STEP_TIMEOUT_MS;
      while (!said.includes(text)) {
        if (child.exitCode !== null || Date.now() > end) throw new Error(`no "${text}" in\n${said}`);
        await sleep(20);
      }
    },
  };
}

/** What is left of it some time after it was asked to end. */
async function left({ mark }: Demo): Promise<number> {
  const end = Date.now() + END_TIMEOUT_MS;
  while (markedPids(mark, NAME).length > 0 && Date.now() < end) await sleep(100);
  return markedPids(mark, NAME).length;
}

test.each<[NodeJS.Signals, string]>([
  ['SIGTERM', 'Start Envoy'],
  ['SIGTERM', 'Start PD'],
  ['SIGHUP', 'Start the store'],
  ['SIGTERM', 'Start TiDB'],
  // Nobody can handle this one: the reapers end what is left.
  ['SIGKILL', 'Start the store'],
  ['SIGKILL', 'Start TiDB'],
])('%s at "%s"', async (signal, step) => {
  const one = demo();
  await one.says(`  ...  ${step}`);
  expect(markedPids(one.mark, NAME).length).toBeGreaterThan(2);
  one.child.kill(signal);
  expect(await left(one)).toBe(0);
});

test.each<NodeJS.Signals>(['SIGTERM', 'SIGKILL'])('%s while something is installed', async (signal) => {
  const cache = join(folder, `cache-${signal}`);
  const path = `${folder}:${process.env['PATH'] ?? ''}`;
  const begun = join(folder, `begun-${signal}`);
  const one = demo({ TIDB_MESH_CACHE: cache, PATH: path, [BEGUN]: begun });
  await one.says('  ...  Install');
  const end = Date.now() + STEP_TIMEOUT_MS;
  while (!existsSync(begun) && Date.now() < end) await sleep(100);
  expect(existsSync(begun)).toBe(true);
  expect(markedPids(one.mark, NAME).length).toBeGreaterThan(2);
  one.child.kill(signal);
  expect(await left(one)).toBe(0);
});
