/**
 * A tenant under load is moved to another key range and back, as often as TIDB_MESH_ROUNDS says, while its TiDB runs on. First by a worker
 * that lives, then by processes of the command that are killed at any moment.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { readFileSync, unwatchFile, watchFile, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { createMove } from '../../src-ts/move/create.ts';
import { lookAt } from '../../src-ts/move/diagnosis/look.ts';
import { makeEngine, sidesOf } from '../../src-ts/move/engine/engine-of.ts';
import { tableNames } from '../../src-ts/move/engine/table-names.ts';
import { vmsOf, type Mesh, type Orders } from '../../src-ts/move/filters/mesh.ts';
import { moveOf, type MoveRecord } from '../../src-ts/move/record.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { UNSAFE_DESTROY_RANGE } from '../../src-ts/pd/ranges.ts';
import { spaceOf, type Tenant } from '../../src-ts/tenants/tenant.ts';
import { REPOSITORY } from '../harness/stack/builds.ts';
import { principalOf, type CertFiles } from '../harness/stack/certs.ts';
import { startStack, SYSTEM_PRINCIPAL, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import { createBank, judge, runBank, type Ledger } from './ledger.ts';
import { rulesSeen, type RulesSeen } from './rules-seen.ts';

const ROUNDS = Number(process.env['TIDB_MESH_ROUNDS'] ?? 4);
const KILLED_ROUNDS = Math.max(1, Math.round(ROUNDS / 4));
const CLIENTS = 8;
/** What each worker has to repeat that goes on where another one was killed. */
const FEW = { clients: 3, firstEntry: 1_000_000, pauseMs: 50 };
/** How long a process of the command lives before it is killed. It takes a second or two to begin. */
const SHORTEST_MS = 6000;
const LONGEST_MS = 14_000;
/** Each lives longer than the one before, so that a busy machine gets there, too. */
const LONGER = 1.5;
const ALPHA: Tenant = { name: 'alpha', number: 1 };
const BETA: Tenant = { name: 'beta', number: 2 };
const AWAY = { keyNumber: 5 };
const WAIT_MS = 60_000;

let stack: Stack;
let pd: Endpoint;
let envoys: Endpoint[];
/** As alpha's TiDBs see PD. */
let asAlpha: Endpoint;
let config: PluginConfig;
let certs: CertFiles;
/** The configuration that the command changes. */
let file: string;
let stop = new AbortController();
let working: Promise<void> | undefined;
const said: string[] = [];

/** The configuration with these orders for alpha. */
function withOrders({ place, move }: Orders): unknown {
  const alpha = { ...ALPHA, ...place, ...(move ? { move } : {}) };
  return { ...config, tenants: [alpha, BETA] };
}

const urls = (): string[] => [stack.pd.meshAddress, stack.store.meshAddress].map((at) => `https://${at}`);

beforeAll(async () => {
  stack = await startStack({
    watched: true,
    pluginConfig: (standard: PluginConfig) => (config = standard),
  });
  pd = new Endpoint({ pd: stack.pd.directUrl });
  certs = await stack.certs.client(SYSTEM_PRINCIPAL);
  envoys = urls().map((url) => new Endpoint({ pd: url, ...certs }));
  const own = await stack.certs.client(principalOf('alpha'));
  asAlpha = new Endpoint({ pd: `https://${stack.pd.meshAddress}`, ...own });
  await createBank(stack.tidbs.get('alpha')!.mysqlPort);
  startWorker();
});

/** A worker that lives until `stopWorker`. */
function startWorker(): void {
  stop = new AbortController();
  const mesh: Mesh = {
    hosts: envoys.map(({ url }) => url.host),
    tell: (_, orders) => stack.configure(withOrders(orders)),
    vms: () => vmsOf(envoys),
  };
  working = work(
    {
      pd,
      mesh,
      id: 'the test',
      limits: { calmMs: 3000 },
      engineOf: (record: MoveRecord) => makeEngine({ pd: stack.pd.directUrl }, record),
      tell: (line) => said.push(line),
    },
    stop.signal,
  );
}

async function stopWorker(): Promise<void> {
  stop.abort();
  await working;
}

afterAll(async () => {
  await stopWorker();
  if (file !== undefined) unwatchFile(file);
  for (const endpoint of [pd, asAlpha, ...(envoys ?? [])]) endpoint?.close();
  await stack?.stop();
});

/** Asks for switches until so many were done. */
async function switchTo(count: number, timeoutMs = WAIT_MS): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const { record } = await moveOf(pd, 'alpha');
    if (record.switches >= count && record.state === 'following') return;
    if (Date.now() > deadline)
      throw new Error(`${record.switches} switches, ${record.state}: ${record.problem ?? ''}`);
    const isFree = record.state === 'following' && record.wish === undefined;
    if (isFree)
      await ask(pd, 'alpha', record.switches % 2 === 0 ? 'switch' : 'reverse').catch(() => undefined);
    await sleep(50);
  }
}

/** Runs one process of the command after another, each until it is killed. Returns their number. */
async function mortalWorkers(isOver: () => boolean): Promise<number> {
  let count = 0;
  while (!isOver()) {
    const tls = ['--cert', certs.cert, '--key', certs.key, '--ca', certs.ca];
    const [pdUrl = ''] = urls();
    const child = spawn(
      process.execPath,
      ['src-ts/cli/bin.mjs', 'move', 'run', '--config', file, '--pd', pdUrl, ...tls, '--envoy', ...urls()],
      { cwd: REPOSITORY, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    child.stderr.on('data', (text: Buffer) => said.push(text.toString()));
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const lifeMs = SHORTEST_MS + Math.random() * (LONGEST_MS - SHORTEST_MS);
    const end = Date.now() + lifeMs * LONGER ** count;
    while (Date.now() < end && !isOver()) await sleep(20);
    child.kill('SIGKILL');
    await ended;
    count++;
  }
  return count;
}

async function until(state: MoveRecord['state']): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while ((await moveOf(pd, 'alpha')).record.state !== state) {
    if (Date.now() > deadline) throw new Error(`not ${state}: ${said.slice(-5).join('; ')}`);
    await sleep(50);
  }
}

async function report({ told, errors, longestMs }: Ledger, how: string): Promise<void> {
  const { record } = await moveOf(pd, 'alpha');
  const committed = told.reduce((sum, one) => sum + one.committed.length, 0);
  const unknown = told.reduce((sum, one) => sum + one.unknown.length, 0);
  console.log(
    [
      `${how}: ${record.switches} switches so far; held for ms, writes and all:`,
      record.history.map((one) => `${one.writesHeldMs}/${one.allHeldMs}`).join(' '),
      `${committed} transactions committed, ${unknown} unknown, the longest took ${longestMs} ms`,
      ...[...errors].map(([kind, count]) => `${count} x ${kind}`),
    ].join('\n'),
  );
}

/** Number of keys that the store has at a place of alpha. */
async function keysAt(place: object): Promise<number> {
  const { start, end } = spaceOf({ ...ALPHA, ...place });
  return (await stack.store.inspect.values(start, end)).length;
}

describe('a tenant under load', () => {
  let over = false;
  let running: Promise<Ledger>;
  let ledger: Ledger;
  let seen: RulesSeen;

  test('is copied and followed', async () => {
    const { mysqlPort: port } = stack.tidbs.get('alpha')!;
    const session = await stack.tidbs.get('alpha')!.connect();
    await session.query('CREATE PLACEMENT POLICY two FOLLOWERS = 1');
    await session.query('ALTER TABLE bank.log PLACEMENT POLICY = two');
    await session.query("ALTER TABLE bank.accounts ATTRIBUTES = 'merge_option=deny'");
    await session.close();
    seen = await rulesSeen(asAlpha);
    expect([seen.bundles.length, seen.labels.length]).toEqual([1, 1]);
    running = runBank(port, { clients: CLIENTS }, () => over);
    await createMove(pd, { tenant: ALPHA, to: AWAY, all: [ALPHA, BETA] });
    await until('following');
    expect(await keysAt(AWAY)).toBeGreaterThan(100);
  });

  test('is shown with all that obey, and with the names of its tables', async () => {
    const { record } = await moveOf(pd, 'alpha');
    const endpoint = { pd: stack.pd.directUrl };
    const clusters = new Map();
    const look = await lookAt(record, { endpoint, clusters, envoys, locks: true, timeoutMs: WAIT_MS });
    expect(look).toMatchObject({ failures: [], acknowledged: { missing: [], phase: 'prepare' } });
    expect(look.acknowledged?.vms).toBeGreaterThan(0);
    const session = await stack.tidbs.get('alpha')!.connect();
    const rows = await session.query(
      "SELECT table_name AS name, tidb_table_id AS id FROM information_schema.tables WHERE table_schema = 'bank'",
    );
    await session.close();
    const tables = rows as unknown as { name: string; id: number | string }[];
    const { source, close } = sidesOf(endpoint, clusters, record);
    const ids = tables.map(({ id }) => String(id));
    const names = await tableNames(source, [...ids, '999999'], await source.storage.timestamp());
    expect([...names].sort()).toEqual(tables.map(({ name, id }) => [String(id), `bank.${name}`]).sort());
    close();
    expect(ids.length).toBeGreaterThan(0);
  });

  test('is switched there and back, again and again', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await switchTo(round + 1);
      await sleep(500);
      // The worker takes them along when it follows the other way.
      const deadline = Date.now() + WAIT_MS;
      const isSeen = async (): Promise<boolean> => isDeepStrictEqual(await rulesSeen(asAlpha), seen);
      while (!(await isSeen()) && Date.now() < deadline) await sleep(50);
      expect(await rulesSeen(asAlpha)).toEqual(seen);
    }
    over = true;
    ledger = await running;
    await report(ledger, 'by a worker that lives');
    const { switches, alarm, copied } = (await moveOf(pd, 'alpha')).record;
    expect({ switches, alarm }).toEqual({ switches: ROUNDS, alarm: undefined });
    expect(copied?.keys).toBeGreaterThan(100);
  });

  test('has lost nothing, and got nothing that was refused', async () => {
    expect(ledger.wrong).toEqual([]);
    expect(await judge(stack.tidbs.get('alpha')!.mysqlPort, ledger)).toEqual([]);
  });
});

describe('while no worker lives', () => {
  test('a configuration without the move lets nothing pass that no feed shows', async () => {
    await stopWorker();
    const { record } = await moveOf(pd, 'alpha');
    await stack.configure(withOrders({ place: record.from }));
    const deadline = Date.now() + WAIT_MS;
    const phases = async (): Promise<string[]> =>
      (await vmsOf(envoys)).flatMap(({ moves }) => moves.map(({ phase }) => phase));
    while (new Set(await phases()).size !== 1 || !(await phases()).includes('untold')) {
      if (Date.now() > deadline) throw new Error((await phases()).join());
      await sleep(20);
    }
    const own = await stack.certs.client(principalOf('alpha'));
    const store = new Endpoint({ pd: `https://${stack.store.meshAddress}`, ...own });
    const { start: startKey, end: endKey } = spaceOf(ALPHA);
    await expect(store.grpc(UNSAFE_DESTROY_RANGE, { startKey, endKey })).rejects.toThrow('TENANT_MOVES');
    store.close();
  });
});

describe('while processes that work on the move are killed', () => {
  test('nothing is lost either', async () => {
    await stopWorker();
    file = join(stack.run.data, 'plugin-config.json');
    const { record } = await moveOf(pd, 'alpha');
    const move = { serial: record.serial, phase: 'prepare' } as const;
    writeFileSync(file, JSON.stringify(withOrders({ place: record.from, move })));
    watchFile(file, { interval: 20 }, () => void stack.configure(JSON.parse(readFileSync(file, 'utf8'))));
    let over = false;
    const workers = mortalWorkers(() => over);
    const bank = runBank(stack.tidbs.get('alpha')!.mysqlPort, FEW, () => over);
    try {
      await switchTo(ROUNDS + KILLED_ROUNDS, 240_000);
    } finally {
      over = true;
    }
    const ledger = await bank;
    await report(ledger, `by ${await workers} that were killed`);
    expect(ledger.wrong).toEqual([]);
    expect(await judge(stack.tidbs.get('alpha')!.mysqlPort, ledger)).toEqual([]);
  });
});

describe('at the end of the move', () => {
  test('the place that the tenant has left is empty, and the tenant works on', async () => {
    unwatchFile(file);
    startWorker();
    const { switches } = (await moveOf(pd, 'alpha')).record;
    if (switches % 2 === 0) await switchTo(switches + 1);
    await ask(pd, 'alpha', 'complete');
    await fulfilled(pd, 'alpha', { verb: 'complete', timeoutMs: WAIT_MS, tell: () => undefined });
    expect(await keysAt({})).toBe(0);
    expect(await keysAt(AWAY)).toBeGreaterThan(100);
    const session = await stack.tidbs.get('alpha')!.connect();
    await session.query('CREATE TABLE bank.after (id INT PRIMARY KEY)');
    await session.query('INSERT INTO bank.after VALUES (1)');
    expect(await session.query('SELECT COUNT(*) AS n FROM bank.after')).toEqual([{ n: 1 }]);
    await session.close();
  });
});
