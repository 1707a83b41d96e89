/**
 * A stock cluster, filled before there was any mesh, becomes a tenant: its PD, store and TiDB are its own. It is copied and followed while
 * clients write, switched, written to in the mesh, taken back, and switched for good.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Clusters } from '../../src-ts/move/clusters.ts';
import type { Diagnosis } from '../../src-ts/move/diagnosis/diagnosis.ts';
import { Applier } from '../../src-ts/move/engine/apply.ts';
import { makeEngine } from '../../src-ts/move/engine/engine-of.ts';
import type { FollowState } from '../../src-ts/move/engine/feed.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { vmsOf, type Mesh, type Orders } from '../../src-ts/move/filters/mesh.ts';
import { createImport, type ImportOptions } from '../../src-ts/move/import.ts';
import { findMove, moveOf, type MoveRecord } from '../../src-ts/move/record.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import { resourceGroups, safePoints } from '../../src-ts/pd/cluster.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { deletePrefix, putIfUnchanged } from '../../src-ts/pd/etcd.ts';
import { addTenant } from '../../src-ts/tenants/add.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { REPOSITORY } from '../harness/stack/builds.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { startStack, SYSTEM_PRINCIPAL, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { rowKey } from '../harness/support/keys.ts';
import { createBank, judge, runBank, type Ledger } from './ledger.ts';
import { rulesSeen } from './rules-seen.ts';

const ALPHA: Tenant = { name: 'alpha', number: 1 };
const BETA: Tenant = { name: 'beta', number: 2 };
const CLUSTER = 'shop';
const WAIT_MS = 90_000;

let shop: Stack;
let mesh: Stack;
let home: Endpoint;
let outside: Endpoint;
/** As alpha's TiDBs see PD. */
let asAlpha: Endpoint;
let envoys: Endpoint[];
let config: PluginConfig;
let working: Promise<void> | undefined;
/** The other PD's clock, as the worker sees it. */
let isBehind = false;
const stop = new AbortController();
const said: string[] = [];

const clusters = (): Clusters => new Map([[CLUSTER, { pd: shop.pd.directUrl }]]);

/** The configuration with these orders for alpha. */
function withOrders({ place, state, move }: Orders): unknown {
  const alpha = { ...ALPHA, ...place, ...(state ? { state } : {}), ...(move ? { move } : {}) };
  return { ...config, tenants: [alpha, BETA] };
}

beforeAll(async () => {
  [shop, mesh] = await Promise.all([
    startStack({ mesh: false, startTidbs: false }),
    startStack({
      watched: true,
      startTidbs: false,
      boundaries: false,
      pluginConfig: (standard: PluginConfig) => {
        config = standard;
        return withOrders({ place: {}, state: 'suspended' });
      },
    }),
  ]);
  home = new Endpoint({ pd: mesh.pd.directUrl });
  outside = new Endpoint({ pd: shop.pd.directUrl });
  const certs = await mesh.certs.client(SYSTEM_PRINCIPAL);
  envoys = [mesh.pd.meshAddress, mesh.store.meshAddress].map(
    (at) => new Endpoint({ pd: `https://${at}`, ...certs }),
  );
  asAlpha = new Endpoint({
    pd: `https://${mesh.pd.meshAddress}`,
    ...(await mesh.certs.client(principalOf('alpha'))),
  });
  for (const tenant of [ALPHA, BETA])
    await addTenant(home, tenant, { withData: false, timeoutMs: WAIT_MS, tell: () => {} });
});

afterAll(async () => {
  stop.abort();
  await working;
  for (const endpoint of [home, outside, asAlpha, ...(envoys ?? [])]) endpoint?.close();
  await Promise.all([shop?.stop(), mesh?.stop()]);
});

function startWorker(): void {
  const filters: Mesh = {
    hosts: envoys.map(({ url }) => url.host),
    tell: (_, orders) => mesh.configure(withOrders(orders)),
    vms: () => vmsOf(envoys),
  };
  working = work(
    {
      pd: home,
      mesh: filters,
      id: 'the test',
      limits: { calmMs: 3000 },
      engineOf: (record: MoveRecord) => {
        const engine = makeEngine({ pd: mesh.pd.directUrl }, record, clusters());
        return { ...engine, targetTimestamp: async () => (isBehind ? 1n : engine.targetTimestamp()) };
      },
      tell: (line) => said.push(line),
    },
    stop.signal,
  );
}

async function until(isSo: (record: MoveRecord) => boolean): Promise<MoveRecord> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const { record } = await moveOf(home, 'alpha');
    if (isSo(record)) return record;
    if (Date.now() > deadline)
      throw new Error(`${record.state}, ${record.problem ?? ''}: ${said.slice(-5).join('; ')}`);
    await sleep(50);
  }
}

async function switched(verb: 'switch' | 'reverse'): Promise<MoveRecord> {
  const { switches } = await ask(home, 'alpha', verb);
  const record = await fulfilled(home, 'alpha', { verb, switches, timeoutMs: WAIT_MS, tell: () => {} });
  return record!;
}

/** Runs the command beside the mesh's PD, and reads what it prints. */
async function command(...args: string[]): Promise<unknown> {
  const bin = join(REPOSITORY, 'src-ts/cli/bin.mjs');
  const options = [...args, '--pd', mesh.pd.directUrl, '--json'];
  const run = promisify(execFile)(process.execPath, [bin, ...options], { timeout: WAIT_MS });
  // What `move doctor` finds ends it with 1.
  const { stdout } = await run.catch((error: { readonly stdout?: string }) => {
    if (!error.stdout) throw error;
    return { stdout: error.stdout };
  });
  return JSON.parse(stdout);
}

/** What the command reads: the clusters, and the mesh's configuration with alpha suspended. */
function files(): { clusters: string; config: string } {
  const paths = {
    clusters: join(mesh.run.data, 'clusters.yaml'),
    config: join(mesh.run.data, 'mesh.json'),
  };
  writeFileSync(paths.clusters, `clusters:\n  ${CLUSTER}:\n    pd: ${shop.pd.directUrl}\n`);
  writeFileSync(paths.config, JSON.stringify(withOrders({ place: {}, state: 'suspended' })));
  return paths;
}

/** Compares as soon as the copy is complete at some time. */
const differences = async (): Promise<readonly unknown[]> => {
  await until(({ progress, to }) => {
    const { resolvedTs = '0' } = (progress ?? {}) as { resolvedTs?: string };
    return resolvedTs !== '0' && BigInt(resolvedTs) >= BigInt(to.readableSince ?? 0);
  });
  const found = (await command('move', 'diff', 'alpha', '--clusters', files().clusters)) as {
    keys: number;
    differences: unknown[];
  };
  expect(found.keys).toBeGreaterThan(1000);
  return found.differences;
};

const phaseOfAlpha = async (): Promise<string | undefined> => {
  // What the filters have been told last.
  const [vm] = await vmsOf(envoys);
  return vm?.moves.find(({ tenant }) => tenant === 'alpha')?.phase;
};

/** Somebody who writes at the cluster, past the mesh. */
async function commitAtCluster(key: Buffer, op: 'put' | 'delete'): Promise<bigint> {
  const storage = new Storage(outside);
  const space = keySpaceOf({ name: CLUSTER, number: 0 });
  const [startTs, commitTs] = [await storage.timestamp(), await storage.timestamp()];
  const cluster = { storage, space };
  const stranger = new Applier({
    source: cluster,
    target: cluster,
    map: new KeyMap(space, space),
    throttle: new Throttle(),
  });
  await stranger.apply([{ startTs, commitTs, key, op, value: Buffer.from(op === 'put' ? 'lost' : '') }]);
  return commitTs;
}

/** What `move doctor` says of alpha, with the cluster's PD there. */
async function doctor(shopPd = shop.pd.directUrl): Promise<Diagnosis> {
  const path = join(mesh.run.data, 'asked.yaml');
  writeFileSync(path, `clusters:\n  ${CLUSTER}:\n    pd: ${shopPd}\n`);
  const [found] = (await command('move', 'doctor', 'alpha', '--clusters', path)) as Diagnosis[];
  return found!;
}

describe('a cluster outside of the mesh', () => {
  let tidb: Tidb;
  let over = false;
  let running: Promise<Ledger>;
  let ledger: Ledger;
  const options = (): ImportOptions => ({
    tenant: { ...ALPHA, state: 'suspended' },
    cluster: CLUSTER,
    outside,
  });

  test('is not imported into a tenant that could write, nor into itself', async () => {
    tidb = await shop.startTidb({ direct: true, name: 'tidb-shop' });
    await createBank(tidb.mysqlPort);
    const session = await tidb.connect();
    await session.query('CREATE RESOURCE GROUP reports RU_PER_SEC = 500');
    await session.query('CREATE USER clerk IDENTIFIED BY "secret"');
    await session.close();
    const begin = (fields: Partial<ImportOptions>): Promise<MoveRecord> =>
      createImport(home, { ...options(), ...fields, dryRun: true });
    await expect(begin({ tenant: ALPHA })).rejects.toThrow('alpha is active');
    await expect(begin({ outside: home })).rejects.toThrow("is the mesh's own storage layer");
    await expect(begin({ tenant: { name: 'gamma', number: 3, state: 'suspended' } })).rejects.toThrow(
      'PD does not know gamma',
    );
    await expect(findMove(home, 'alpha')).resolves.toBeUndefined();
  });

  test('is copied and followed while its TiDB works', async () => {
    running = runBank(tidb.mysqlPort, { clients: 4, pauseMs: 5 }, () => over);
    const paths = files();
    const begun = await command(
      ...[
        'move',
        'import',
        'alpha',
        '--from',
        CLUSTER,
        '--clusters',
        paths.clusters,
        '--config',
        paths.config,
      ],
    );
    expect(begun).toMatchObject({ tenant: 'alpha', from: { cluster: CLUSTER }, to: {}, state: 'planned' });
    startWorker();
    await until(({ state }) => state === 'following');
    const session = await tidb.connect();
    await session.query('CREATE TABLE bank.later (id INT PRIMARY KEY, v INT)');
    await session.query('INSERT INTO bank.later VALUES (1, 1), (2, 4)');
    await session.query('ALTER TABLE bank.later ADD COLUMN w INT DEFAULT 9');
    await session.query('CREATE PLACEMENT POLICY one FOLLOWERS = 2');
    await session.query('ALTER TABLE bank.later PLACEMENT POLICY = one');
    await session.query("ALTER TABLE bank.log ATTRIBUTES = 'merge_option=deny'");
    await session.close();
    expect(await differences()).toEqual([]);
  });

  test('is not left while a TiDB runs there', async () => {
    await expect(switched('switch')).rejects.toThrow(/1 TiDB runs at cluster shop: .+:\d+; stop all of them/);
    expect((await moveOf(home, 'alpha')).record).toMatchObject({ state: 'following', switches: 0 });
  });

  test('is served in the mesh when it has stopped, with all that was committed', async () => {
    over = true;
    ledger = await running;
    expect(ledger.wrong).toEqual([]);
    await tidb.stop();
    isBehind = true;
    await expect(switched('switch')).rejects.toThrow(/the clock of PD at number 1 is .* behind/);
    isBehind = false;
    const record = await switched('switch');
    expect(record.from).not.toHaveProperty('cluster');
    expect(record.to).toEqual({ cluster: CLUSTER });
    expect(await rulesSeen(asAlpha)).toEqual(await rulesSeen(outside));
    tidb = await mesh.startTidb({ tenant: 'alpha' });
    expect(await judge(tidb.mysqlPort, ledger)).toEqual([]);
    const session = await tidb.connect();
    expect(await session.query('SELECT * FROM bank.later')).toEqual([
      { id: 1, v: 1, w: 9 },
      { id: 2, v: 4, w: 9 },
    ]);
    expect(await session.query("SELECT COUNT(*) AS n FROM mysql.user WHERE user = 'clerk'")).toEqual([
      { n: 1 },
    ]);
    const groups = (await resourceGroups(home)).map(({ name }) => name);
    expect(groups).toContain('1:reports');
    expect(
      await session.query("SELECT name FROM information_schema.resource_groups WHERE name = 'reports'"),
    ).toEqual([{ name: 'reports' }]);
    await session.close();
  });

  test('what somebody still commits at the cluster is told, and holds the tenant', async () => {
    const key = rowKey(9999, 1);
    key.write('_i', 9, 'latin1');
    await commitAtCluster(key, 'put');
    const { alarm } = await until((record) => record.alarm?.isStopped === true);
    expect(alarm).toMatchObject({
      place: { cluster: CLUSTER },
      count: 1,
      commits: [{ key: key.toString('hex'), tableId: '9999', op: 'put' }],
    });
    expect(await phaseOfAlpha()).toBe('final');
    expect(await doctor()).toMatchObject({ tenant: 'alpha', needsYou: true, served: 'at number 1' });
    await expect(switched('reverse')).rejects.toThrow('has an alarm');
    await ask(home, 'alpha', 'resume');
    await until((record) => record.alarm === undefined);
    // A removal of what the tenant does not have is no loss.
    const removed = await commitAtCluster(key, 'delete');
    const after = await until(({ progress }) => {
      const { watch } = (progress ?? {}) as { watch?: FollowState };
      return (watch?.spans ?? []).length > 0 && watch!.spans.every((one) => BigInt(one.checkpoint) > removed);
    });
    expect(after.alarm).toBeUndefined();
    // A worker's claim may be late on a loaded machine.
    const deadline = Date.now() + WAIT_MS;
    let found = await doctor();
    while (found.needsYou && Date.now() < deadline) found = await doctor();
    expect(found).toMatchObject({ needsYou: false, state: 'following' });
  });

  test('a TiDB that is started at the cluster again is told, and holds the way back', async () => {
    // As one that systemd starts: it is registered before it takes a client.
    const key = '/tidb/server/info/started-again';
    const value = JSON.stringify({ ip: '10.0.0.7', listening_port: 4000 });
    await putIfUnchanged(outside, [{ key, value, revision: 0n }]);
    const { alarm } = await until((record) => record.alarm !== undefined);
    expect(alarm).toMatchObject({ tidbs: ['10.0.0.7:4000'], count: 0, isStopped: false });
    await expect(switched('reverse')).rejects.toThrow(
      '1 TiDB runs at cluster shop, where it is not served: 10.0.0.7:4000; its requests go on',
    );
    await deletePrefix(outside, key);
    await until((record) => record.alarm === undefined);
  });

  test('is explained when the cluster does not answer', async () => {
    const gone = await doctor('http://127.0.0.1:9');
    expect(gone).toMatchObject({
      needsYou: true,
      served: 'at number 1',
      requests: 'pass, apart from bulk loads',
      forward: { isOpen: true },
      back: { isOpen: false },
    });
    expect(gone.holds.join()).toContain('cluster shop does not answer');
  });

  test('has what was written in the mesh when it is taken back', async () => {
    let done = false;
    const written: number[] = [];
    const writing = (async () => {
      const session = await tidb.connect();
      await session.query('CREATE TABLE bank.more (id INT PRIMARY KEY)');
      await session.query('DROP RESOURCE GROUP reports');
      await session.query('ALTER TABLE bank.later PLACEMENT POLICY = DEFAULT');
      await session.query('ALTER TABLE bank.more PLACEMENT POLICY = one');
      await session.query('CREATE RESOURCE GROUP nights RU_PER_SEC = 100');
      for (let id = 0; !done; id++) {
        await session.query('INSERT INTO bank.more VALUES (?)', [id]);
        written.push(id);
        await sleep(5);
      }
    })().catch((error: unknown) => String(error));
    while (written.length < 50) await sleep(20);
    expect(await differences()).toEqual([]);
    const seen = await rulesSeen(asAlpha);
    expect([seen.bundles.length, seen.labels.length]).toEqual([1, 1]);
    await switched('reverse');
    // The TiDB in the mesh runs on, and is told so.
    done = (await Promise.race([writing, sleep(WAIT_MS)])) !== undefined;
    expect(String(await writing)).toContain('suspended');
    await tidb.stop();
    expect(await rulesSeen(outside)).toEqual(seen);
    tidb = await shop.startTidb({ direct: true, name: 'tidb-shop-again' });
    expect(await judge(tidb.mysqlPort, ledger)).toEqual([]);
    const session = await tidb.connect();
    const there = (await session.query('SELECT id FROM bank.more ORDER BY id')).map(({ id }) => Number(id));
    // The last one may have been committed without an answer.
    expect(there.slice(0, written.length)).toEqual(written);
    expect(there.length - written.length).toBeLessThanOrEqual(1);
    await session.query('ADMIN CHECK TABLE bank.more');
    await session.query('INSERT INTO bank.more VALUES (1000000)');
    await session.close();
    const groups = (await resourceGroups(outside)).map(({ name }) => name);
    expect(groups).toContain('nights');
    expect(groups).not.toContain('reports');
  });

  test('is left for good, and keeps its keys', async () => {
    await tidb.stop();
    await switched('switch');
    tidb = await mesh.startTidb({ tenant: 'alpha', name: 'tidb-alpha-again' });
    const session = await tidb.connect();
    expect(await session.query('SELECT COUNT(*) AS n FROM bank.more WHERE id = 1000000')).toEqual([{ n: 1 }]);
    expect(await judge(tidb.mysqlPort, ledger)).toEqual([]);
    await ask(home, 'alpha', 'complete');
    await fulfilled(home, 'alpha', { verb: 'complete', timeoutMs: WAIT_MS, tell: () => {} });
    expect(await findMove(home, 'alpha')).toBeUndefined();
    await session.query('INSERT INTO bank.more VALUES (1000001)');
    await session.close();
    expect(await phaseOfAlpha()).toBeUndefined();
    for (const pd of [home, outside]) {
      const points = (await safePoints(pd)).services.map(({ service }) => service);
      expect(points).not.toContain('tidb-mesh/move/alpha');
    }
    const old = await shop.startTidb({ direct: true, name: 'tidb-shop-old' });
    expect(await judge(old.mysqlPort, ledger)).toEqual([]);
  });
});
