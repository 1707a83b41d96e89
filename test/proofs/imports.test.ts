/**
 * Measures imports: the copy of one cluster beside a bare scan, three at once that share what a worker may do, how far they are behind, how
 * long the cluster is down and its clients need, and what another tenant sees of it. Prints a table, and asserts no times. Run it on a quiet
 * machine: `npm run test:proofs -- imports`. `TIDB_MESH_MIB` is the size of the first cluster.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { short, tableOf } from '../../bench/rows.ts';
import type { Clusters } from '../../src-ts/move/clusters.ts';
import { Applier, type Row } from '../../src-ts/move/engine/apply.ts';
import { diff, type Difference } from '../../src-ts/move/engine/diff.ts';
import { makeEngine, sidesOf } from '../../src-ts/move/engine/engine-of.ts';
import type { Following } from '../../src-ts/move/engine/engine.ts';
import { forEach } from '../../src-ts/move/engine/for-each.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { Snapshot } from '../../src-ts/move/engine/snapshot.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { vmsOf, type Orders } from '../../src-ts/move/filters/mesh.ts';
import { createImport } from '../../src-ts/move/import.ts';
import { moveOf, type MoveRecord } from '../../src-ts/move/record.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { addTenant } from '../../src-ts/tenants/add.ts';
import { startStack, SYSTEM_PRINCIPAL, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { rowKey } from '../harness/support/keys.ts';
import { createBank, judge, runBank, type Ledger } from '../move/ledger.ts';
import { committed } from './under-load.ts';

const MIB = 2 ** 20;
/** What is imported, by the name of the cluster and of the tenant that it becomes. */
const CLUSTERS = [
  { name: 'shop', number: 11, mib: Number(process.env['TIDB_MESH_MIB'] ?? 256) },
  { name: 'blog', number: 12, mib: 64 },
  { name: 'mail', number: 13, mib: 64 },
] as const;
const [SHOP] = CLUSTERS;
/** Works in the mesh all the time. */
const BETA = { name: 'beta', number: 2 };
/** For all imports of the worker together. */
const BUDGET = 8 * MIB;
const VALUE_BYTES = 1000;
const ROWS_AT_ONCE = 250;
const WAIT_MS = 600_000;
const LOOK_MS = 25;
/** How long another tenant works alone, for comparison, and how long the lag is looked at. */
const ALONE_MS = 10_000;
const LAG_MS = 15_000;
/** So many commits behind a switch say that clients go on. */
const GO_ON = 100;
const OUTSIDE = keySpaceOf({ name: 'outside', number: 0 });

const rows: string[][] = [];
const note = (what: string, value: number, unit: string): void => void rows.push([what, short(value), unit]);

let mesh: Stack;
let config: PluginConfig;
let home: Endpoint;
let beta: Tidb;
const envoys: Endpoint[] = [];
const stacks = new Map<string, Stack>();
const pds = new Map<string, Endpoint>();
const orders = new Map<string, Orders>();
const following = new Map<string, Following>();
/** What clients were told, of each bank, in their order. */
const ledgers = new Map<string, Ledger[]>();
const budget = new Throttle();
const stop = new AbortController();
const said: string[] = [];
let working: Promise<void> | undefined;
let turn: Promise<unknown> = Promise.resolve();

const clusters = (): Clusters =>
  new Map([...stacks].map(([name, { pd }]) => [name, { pd: pd.directUrl }] as const));

/** The filters' configuration with all orders so far. */
function configNow(): unknown {
  const imported = CLUSTERS.map(({ name, number }) => {
    const { place = {}, state, move } = orders.get(name) ?? { state: 'suspended' };
    return { name, number, ...place, ...(state ? { state } : {}), ...(move ? { move } : {}) };
  });
  return { ...config, tenants: [...imported, BETA] };
}

beforeAll(async () => {
  mesh = await startStack({
    watched: true,
    startTidbs: false,
    boundaries: false,
    pluginConfig: (standard: PluginConfig) => {
      config = standard;
      return configNow();
    },
  });
  home = new Endpoint({ pd: mesh.pd.directUrl });
  const certs = await mesh.certs.client(SYSTEM_PRINCIPAL);
  for (const { meshAddress } of [mesh.pd, mesh.store])
    envoys.push(new Endpoint({ pd: `https://${meshAddress}`, ...certs }));
  for (const tenant of [...CLUSTERS, BETA])
    await addTenant(
      home,
      { name: tenant.name, number: tenant.number },
      { withData: false, timeoutMs: WAIT_MS, tell: () => undefined },
    );
  beta = await mesh.startTidb({ tenant: BETA.name });
  await createBank(beta.mysqlPort);
  for (const { name, mib } of CLUSTERS) {
    const stack = await startStack({ mesh: false, startTidbs: false });
    stacks.set(name, stack);
    pds.set(name, new Endpoint({ pd: stack.pd.directUrl }));
    // What the clusters of a platform are: each with its own TiDB, and a bank of its own.
    const tidb = await stack.startTidb({ direct: true, name: `tidb-${name}` });
    await createBank(tidb.mysqlPort);
    if (name === SHOP.name) shop = tidb;
    else {
      await useFor(name, tidb, 1000);
      await tidb.stop();
    }
    const groups = Array.from({ length: Math.ceil((mib * MIB) / VALUE_BYTES / ROWS_AT_ONCE) }, (_, i) => i);
    await forEach(groups, 4, (group) => write(name, group));
  }
});
let shop: Tidb;

afterAll(async () => {
  stop.abort();
  await working;
  for (const endpoint of [home, ...envoys, ...pds.values()]) endpoint?.close();
  await Promise.all([mesh, ...stacks.values()].map((stack) => stack?.stop()));
  console.log(tableOf(['imports', '', ''], rows));
});

/** Lets clients of a bank work until it is over. */
async function use(
  name: string,
  { mysqlPort }: Tidb,
  isOver: () => boolean,
  onCommit?: () => void,
): Promise<Ledger> {
  const before = ledgers.get(name) ?? [];
  const firstEntry = before.length * 1_000_000;
  const load = {
    clients: 4,
    pauseMs: 10,
    readersMayFail: true,
    firstEntry,
    ...(onCommit ? { onCommit } : {}),
  };
  const ledger = await runBank(mysqlPort, load, isOver);
  ledgers.set(name, [...before, ledger]);
  expect(ledger.wrong).toEqual([]);
  return ledger;
}
function useFor(name: string, tidb: Tidb, ms: number): Promise<Ledger> {
  const end = Date.now() + ms;
  return use(name, tidb, () => Date.now() > end);
}
async function sumsAreExact(name: string, { mysqlPort }: Tidb): Promise<void> {
  for (const ledger of ledgers.get(name) ?? []) expect(await judge(mysqlPort, ledger)).toEqual([]);
}
function noteErrors(when: string, { errors }: Ledger): void {
  for (const [kind, count] of errors) rows.push([`${when}: ${kind}`, String(count), 'errors']);
}

/** Writes rows of an index at a cluster, past its TiDB. */
async function write(name: string, group: number): Promise<void> {
  const storage = storageOf(name);
  const [startTs, commitTs] = [await storage.timestamp(), await storage.timestamp()];
  const some = Array.from({ length: ROWS_AT_ONCE }, (_, i): Row => {
    const key = rowKey(9000, group * ROWS_AT_ONCE + i);
    key.write('_i', 9, 'latin1');
    return { startTs, commitTs, key, op: 'put', value: Buffer.alloc(VALUE_BYTES, group) };
  });
  const side = { storage, space: OUTSIDE };
  const map = new KeyMap(OUTSIDE, OUTSIDE);
  await new Applier({ source: side, target: side, map, throttle: new Throttle() }).apply(some);
}
const storages = new Map<string, Storage>();
function storageOf(name: string): Storage {
  const found = storages.get(name) ?? new Storage(pds.get(name)!);
  storages.set(name, found);
  return found;
}

const mibPerSecond = (bytes: number, ms: number): number => bytes / MIB / (ms / 1000);

/** Reads everything of a cluster, and does nothing with it. */
async function scan(name: string): Promise<number> {
  const began = performance.now();
  const storage = storageOf(name);
  let bytes = 0;
  const snapshot = new Snapshot({ storage, space: OUTSIDE }, await storage.timestamp(), { locks: 'meet' });
  for await (const page of snapshot.pages({ start: OUTSIDE.start, end: OUTSIDE.end })) bytes += page.bytes;
  return mibPerSecond(bytes, performance.now() - began);
}

function startWorker(): void {
  working = work(
    {
      pd: home,
      mesh: {
        hosts: envoys.map(({ url }) => url.host),
        vms: () => vmsOf(envoys),
        tell: (name, its) => {
          orders.set(name, its);
          const next = turn.then(() => mesh.configure(configNow()));
          turn = next.catch(() => undefined);
          return next;
        },
      },
      id: 'the test',
      limits: { calmMs: 1000 },
      engineOf: (record, isMine) => {
        const engine = makeEngine({ pd: mesh.pd.directUrl }, record, clusters(), budget, isMine);
        const follow: typeof engine.follow = async (from) => {
          const found = await engine.follow(from);
          following.set(record.tenant, found);
          return found;
        };
        return { ...engine, follow };
      },
      tell: (line) => said.push(line),
    },
    stop.signal,
  );
}

async function until(name: string, isSo: (record: MoveRecord) => boolean): Promise<MoveRecord> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const { record } = await moveOf(home, name);
    if (isSo(record)) return record;
    if (Date.now() > deadline)
      throw new Error(`${name}: ${record.state}, ${record.problem ?? ''}: ${said.slice(-5).join('; ')}`);
    await sleep(LOOK_MS);
  }
}
const follows = (name: string): Promise<MoveRecord> =>
  until(name, ({ state, wish }) => state === 'following' && wish === undefined);

const begin = ({ name, number }: (typeof CLUSTERS)[number]): Promise<MoveRecord> =>
  createImport(home, {
    tenant: { name, number, state: 'suspended' },
    cluster: name,
    outside: pds.get(name)!,
  });
async function finish(name: string, verb: 'complete' | 'cancel'): Promise<void> {
  await ask(home, name, verb);
  await fulfilled(home, name, { verb, timeoutMs: WAIT_MS, tell: () => undefined });
}
async function switches(name: string, verb: 'switch' | 'reverse'): Promise<MoveRecord> {
  const before = await follows(name);
  await ask(home, name, verb);
  const options = { verb, switches: before.switches, timeoutMs: WAIT_MS, tell: () => undefined } as const;
  return (await fulfilled(home, name, options))!;
}

/** How both sides differ, at a timestamp of now. */
async function differences(name: string): Promise<readonly Difference[]> {
  const { from } = await follows(name);
  const ts = await (from.cluster === undefined ? new Storage(home) : storageOf(name)).timestamp();
  const record = await until(name, ({ progress }) => {
    const { resolvedTs = '0' } = (progress ?? {}) as { resolvedTs?: string };
    return BigInt(resolvedTs) >= ts;
  });
  const sides = sidesOf({ pd: mesh.pd.directUrl }, clusters(), record);
  try {
    return (await diff({ ...sides, ts, throttle: new Throttle() })).differences;
  } finally {
    sides.close();
  }
}

/** What another tenant gets done while something happens. */
async function beside<T>(what: string, act: () => Promise<T>): Promise<T> {
  let over = false;
  const began = performance.now();
  const working = use(BETA.name, beta, () => over);
  let done: T;
  try {
    done = await act();
  } finally {
    over = true;
  }
  const ledger = await working;
  const seconds = (performance.now() - began) / 1000;
  note(`another tenant, ${what}`, committed(ledger) / seconds, 'transactions/s');
  note(`its longest transaction, ${what}`, ledger.longestMs, 'ms');
  await sumsAreExact(BETA.name, beta);
  return done;
}

test('one cluster is copied beside a bare scan', async () => {
  await beside('alone', () => sleep(ALONE_MS));
  // The first one warms up.
  await scan(SHOP.name);
  note('bare scan of the cluster', await scan(SHOP.name), 'MiB/s');
  startWorker();
  await begin(SHOP);
  const { copied } = await beside('beside a copy without a limit', async () => {
    await until(SHOP.name, ({ state }) => state === 'copying');
    const began = performance.now();
    const record = await follows(SHOP.name);
    note(
      `import of ${SHOP.mib} MiB, without a limit`,
      mibPerSecond(record.copied?.bytes ?? 0, performance.now() - began),
      'MiB/s',
    );
    return record;
  });
  expect(copied?.bytes).toBeGreaterThan(SHOP.mib * MIB);
  expect(await differences(SHOP.name)).toEqual([]);
  await finish(SHOP.name, 'cancel');
});

test('three clusters are copied at once, with one limit for all', async () => {
  budget.set({ bytesPerSecond: BUDGET });
  for (const one of CLUSTERS) await begin(one);
  const all = await beside(`beside ${CLUSTERS.length} copies with one limit`, async () => {
    const began = performance.now();
    const records = await Promise.all(CLUSTERS.map(({ name }) => follows(name)));
    const bytes = records.reduce((sum, { copied }) => sum + (copied?.bytes ?? 0), 0);
    note(`limit of ${CLUSTERS.length} imports together`, BUDGET / MIB, 'MiB/s');
    note('what they reached', mibPerSecond(bytes, performance.now() - began), 'MiB/s');
    return records;
  });
  expect(all.map(({ tenant }) => tenant)).toEqual(CLUSTERS.map(({ name }) => name));
  budget.set({});
  for (const { name } of CLUSTERS) expect(await differences(name)).toEqual([]);
});

test('what is written is carried over', async () => {
  const lags: number[] = [];
  let over = false;
  const writing = use(SHOP.name, shop, () => over);
  const end = Date.now() + LAG_MS;
  while (Date.now() < end) {
    await sleep(LOOK_MS);
    const { lagMs = Infinity } = following.get(SHOP.name) ?? {};
    if (lagMs < Infinity) lags.push(lagMs);
  }
  over = true;
  const ledger = await writing;
  lags.sort((a, b) => a - b);
  note('the copy is behind, p50', lags[Math.floor(lags.length / 2)] ?? NaN, 'ms');
  note(`the copy is behind, worst of ${lags.length}`, lags.at(-1) ?? NaN, 'ms');
  note('committed meanwhile', committed(ledger), 'transactions');
  noteErrors('clients of the cluster', ledger);
  expect(await differences(SHOP.name)).toEqual([]);
});

/** Notes what a switch took, from the stop of one TiDB to the commits of clients at the other one. */
async function cross(
  what: string,
  verb: 'switch' | 'reverse',
  stopFirst: () => Promise<void>,
  start: () => Promise<Tidb>,
): Promise<Tidb> {
  const began = performance.now();
  await stopFirst();
  const asked = performance.now();
  const { history } = await switches(SHOP.name, verb);
  const { writesHeldMs, allHeldMs } = history.at(-1)!;
  note(`${what}: the command`, performance.now() - asked, 'ms');
  note(`${what}: writes are held`, writesHeldMs, 'ms');
  note(`${what}: everything is held`, allHeldMs, 'ms');
  const tidb = await start();
  note(`${what}: down, with stop and start of TiDB`, performance.now() - began, 'ms');
  let since = 0;
  const ledger = await use(
    SHOP.name,
    tidb,
    () => since >= GO_ON,
    () => void since++,
  );
  note(`${what}: until ${GO_ON} commits of clients`, performance.now() - began, 'ms');
  noteErrors(`clients after the ${verb}`, ledger);
  await sumsAreExact(SHOP.name, tidb);
  return tidb;
}

test('the cluster is switched, and taken back under load', async () => {
  const inMesh = await cross(
    'switch',
    'switch',
    () => shop.stop(),
    () => mesh.startTidb({ tenant: SHOP.name }),
  );
  expect(await differences(SHOP.name)).toEqual([]);
  let over = false;
  const running = use(SHOP.name, inMesh, () => over);
  await sleep(1000);
  shop = await cross(
    'reverse',
    'reverse',
    () => Promise.resolve(),
    async () => {
      over = true;
      noteErrors('clients in the mesh during the reverse', await running);
      await inMesh.stop();
      return stacks.get(SHOP.name)!.startTidb({ direct: true, name: 'tidb-shop-again' });
    },
  );
  for (const { name } of CLUSTERS) expect(await differences(name)).toEqual([]);
  await sumsAreExact(BETA.name, beta);
});

test('the others are switched, and what their clients were told is there', async () => {
  for (const { name } of CLUSTERS.slice(1)) {
    await switches(name, 'switch');
    const tidb = await mesh.startTidb({ tenant: name });
    await sumsAreExact(name, tidb);
    await finish(name, 'complete');
    await useFor(name, tidb, 500);
    await sumsAreExact(name, tidb);
    await tidb.stop();
  }
});
