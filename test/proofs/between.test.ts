/**
 * A tenant moves from one storage layer to another one while its TiDB runs on: two PDs, two stores, an Envoy in front of each. The filters'
 * part is the product's: A's hands the tenant over, and B's shows it what it knows of A. What no command does yet is done by hand here
 * (docs/decisions/0017). Minutes: `npm run test:proofs -- between`.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clusters } from '../../src-ts/move/clusters.ts';
import { makeEngine, sidesOf } from '../../src-ts/move/engine-of.ts';
import { createImport } from '../../src-ts/move/import.ts';
import { KeyMap } from '../../src-ts/move/key-space.ts';
import { carryLocks } from '../../src-ts/move/locks.ts';
import { order, vmsOf, type Mesh, type Orders, type Phase } from '../../src-ts/move/mesh.ts';
import { moveOf, type MoveRecord } from '../../src-ts/move/record.ts';
import { highestEpoch } from '../../src-ts/move/space.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { putIfUnchanged, snapshot } from '../../src-ts/pd/etcd.ts';
import { clusterId, timestamp } from '../../src-ts/pd/timestamp.ts';
import { addTenant } from '../../src-ts/tenants/add.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { TRUST_DOMAIN } from '../harness/stack/certs.ts';
import { startStack, SYSTEM_PRINCIPAL, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { createBank, judge, runBank, type Ledger } from '../move/ledger.ts';

/** At A it is what was there first; at B one of several. */
const AT_A: Tenant = { name: 'alpha', number: 0 };
const AT_B: Tenant = { name: 'alpha', number: 1 };
const BETA: Tenant = { name: 'beta', number: 2 };
const CLUSTER = 'a';
/** Of A's Envoy, which B lets act for alpha. */
const PROXY_A = `spiffe://${TRUST_DOMAIN}/ns/proxies/sa/a`;
const WAIT_MS = 90_000;
const HOLD_MS = 20_000;
/** B's filter is told that A's clock was so far ahead of B's. */
const AHEAD_MS = 1500;

let a: Stack;
let b: Stack;
let pdA: Endpoint;
let pdB: Endpoint;
let envoysA: Endpoint[];
let envoysB: Endpoint[];
let configA: PluginConfig;
let configB: PluginConfig;
/** What B's filter needs to show alpha what it knows of A. */
let elsewhere: object = {};
let working: Promise<void> | undefined;
const stop = new AbortController();
const said: string[] = [];

const clusters = (): Clusters => new Map([[CLUSTER, { pd: a.pd.directUrl }]]);
const portOf = (address: string): number => Number(address.split(':')[1]);

function atB({ place, state, move }: Orders): unknown {
  const alpha = { ...AT_B, ...place, ...elsewhere, ...(state ? { state } : {}), ...(move ? { move } : {}) };
  const rules = [{ principal: PROXY_A, mayActFor: [AT_B.name] }, ...configB.rules];
  return { ...configB, rules, tenants: [alpha, BETA] };
}

beforeAll(async () => {
  b = await startStack({
    watched: true,
    startTidbs: false,
    boundaries: false,
    pluginConfig: (standard: PluginConfig) => {
      configB = standard;
      return atB({ place: {}, state: 'suspended' });
    },
  });
  a = await startStack({
    watched: true,
    startTidbs: false,
    boundaries: false,
    tenants: [{ name: 'alpha', number: 0 }],
    certs: b.certs,
    others: [{ name: 'b', pd: portOf(b.pd.meshAddress), principal: PROXY_A }],
    // Its regions have higher versions than B's.
    regionSize: 20_000,
    pluginConfig: (standard: PluginConfig) => {
      configA = standard;
      return standard;
    },
  });
  pdA = new Endpoint({ pd: a.pd.directUrl });
  pdB = new Endpoint({ pd: b.pd.directUrl });
  const certs = await b.certs.client(SYSTEM_PRINCIPAL);
  const filtersOf = ({ pd, store }: Stack): Endpoint[] =>
    [pd.meshAddress, store.meshAddress].map((at) => new Endpoint({ pd: `https://${at}`, ...certs }));
  envoysA = filtersOf(a);
  envoysB = filtersOf(b);
  for (const tenant of [AT_B, BETA])
    await addTenant(pdB, tenant, { withData: false, timeoutMs: WAIT_MS, tell: () => {} });
});

afterAll(async () => {
  stop.abort();
  await working;
  for (const endpoint of [pdA, pdB, ...(envoysA ?? []), ...(envoysB ?? [])]) endpoint?.close();
  await Promise.all([a?.stop(), b?.stop()]);
});

function startWorker(): void {
  const mesh: Mesh = {
    hosts: envoysB.map(({ url }) => url.host),
    tell: (_, orders) => b.configure(atB(orders)),
    vms: () => vmsOf(envoysB),
  };
  const options = { pd: b.pd.directUrl };
  working = work(
    {
      pd: pdB,
      mesh,
      id: 'the test',
      limits: { calmMs: 3000 },
      engineOf: (record: MoveRecord) => {
        const engine = makeEngine(options, record, clusters());
        return {
          ...engine,
          // They run on, and cannot reach A any more.
          tidbs: async () => [],
          carryNames: async () => {
            await engine.carryNames();
            const { source, target, close } = sidesOf(options, clusters(), record);
            await carryLocks(source, target, new KeyMap(source.space, target.space));
            close();
          },
        };
      },
      tell: (line) => said.push(line),
    },
    stop.signal,
  );
}

async function until(isSo: (record: MoveRecord) => boolean): Promise<MoveRecord> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const { record } = await moveOf(pdB, 'alpha');
    if (isSo(record)) return record;
    if (Date.now() > deadline)
      throw new Error(`${record.state}, ${record.problem ?? ''}: ${said.slice(-5).join('; ')}`);
    await sleep(50);
  }
}

/** What A's filters are told of alpha. */
const atA = (more: object): unknown => ({ ...configA, tenants: [{ ...AT_A, ...more }] });

const meshA: Mesh = {
  hosts: [],
  tell: (_, { place, move }) => a.configure(atA({ ...place, move })),
  vms: () => vmsOf(envoysA),
};

/** Has A's filters hold alpha, phase by phase, until nothing of it is on its way. Then nothing of A reaches it any more. */
async function holdAtA(): Promise<void> {
  const phases: [Phase, object, object?][] = [
    ['calm', {}],
    ['drain', { writes: true }],
    ['fence', { writes: true, finishes: true }],
    ['final', { writes: true, finishes: true }],
    ['final', {}, { servedBy: 'b' }],
  ];
  for (const [i, [phase, quiet, place = {}]] of phases.entries()) {
    const until = phase === 'final' ? {} : { until: Date.now() + HOLD_MS };
    const orders = { place, move: { serial: i + 1, phase, ...until } };
    await order(meshA, 'alpha', orders, { timeoutMs: HOLD_MS, ...quiet });
    await sleep(300);
  }
}

/** When the TiDB called A last, by the path of the call, ms after `from`: what A's Envoy has logged. */
async function lastCallsAtA(from: number): Promise<string[]> {
  const last = new Map<string, number>();
  for (const line of (await readFile(a.envoy!.accessLogPath, 'utf8')).split('\n')) {
    if (!line.startsWith('{')) continue;
    const {
      start,
      path = '',
      tenant,
    } = JSON.parse(line) as { start: string; path?: string; tenant?: string };
    const [plain = ''] = path.split('?');
    const after = Date.parse(start) - from;
    if (tenant === AT_A.name && after > 0) last.set(plain, Math.max(last.get(plain) ?? 0, after));
  }
  return [...last].sort(([, one], [, other]) => other - one).map(([path, ms]) => `${path} ${ms} ms`);
}

/** B's etcd must not be behind A's: a watch from a revision to come says nothing until then. */
async function raiseRevision(): Promise<number> {
  const { revision: there } = await snapshot(pdA, '/none');
  let puts = 0;
  for (; (await snapshot(pdB, '/none')).revision < there; puts++)
    await putIfUnchanged(pdB, [], [{ key: '/tidb-mesh/.revision', value: '' }]);
  return puts;
}

describe('a tenant whose TiDB runs on', () => {
  let tidb: Tidb;
  let over = false;
  let running: Promise<Ledger>;
  let switchedAt = 0;
  let committedSince = 0;

  test('is copied and followed from A to B', async () => {
    tidb = await a.startTidb({ tenant: 'alpha' });
    await createBank(tidb.mysqlPort);
    await createImport(pdB, { tenant: { ...AT_B, state: 'suspended' }, cluster: CLUSTER, outside: pdA });
    startWorker();
    await until(({ state }) => state === 'following');
  });

  test('goes on at B, under load, with what it knows of A', async () => {
    const onCommit = (): void => {
      if (switchedAt !== 0) committedSince++;
    };
    running = runBank(
      tidb.mysqlPort,
      { clients: 4, pauseMs: 20, readersMayFail: true, onCommit },
      () => over,
    );
    await sleep(2000);
    const began = Date.now();
    await holdAtA();
    const held = Date.now();
    const { source, close } = sidesOf(
      { pd: b.pd.directUrl },
      clusters(),
      (await moveOf(pdB, 'alpha')).record,
    );
    const { version, confVer } = await highestEpoch(source);
    close();
    elsewhere = {
      clusterId: { seen: String(await clusterId(pdA)), own: String(await clusterId(pdB)) },
      epochOffset: version + 4096,
      confVerOffset: confVer + 16,
      latestSeen: String((await timestamp(pdA)) + (BigInt(AHEAD_MS) << 18n)),
    };
    const { switches } = await ask(pdB, 'alpha', 'switch');
    await fulfilled(pdB, 'alpha', { verb: 'switch', switches, timeoutMs: WAIT_MS, tell: () => {} });
    const puts = await raiseRevision();
    for (const move of [{ move: { serial: 9, phase: 'over' } } as const, {}])
      await order(meshA, 'alpha', { place: { servedBy: 'b' } as object, ...move }, { timeoutMs: HOLD_MS });
    switchedAt = Date.now();
    const deadline = Date.now() + WAIT_MS;
    while (committedSince < 100 && Date.now() < deadline) await sleep(50);
    const goesOn = Date.now();
    const ddlFrom = goesOn + 35_000;
    // A client of etcd asks for the members every 30 s.
    await sleep(35_000);
    const session = await tidb.connect();
    await session.query('CREATE TABLE bank.later (id INT PRIMARY KEY, v INT)');
    await session.query('INSERT INTO bank.later VALUES (1, 1), (2, 4)');
    await session.query('ALTER TABLE bank.later ADD COLUMN w INT DEFAULT 9');
    await session.close();
    const ddl = Date.now();
    over = true;
    const ledger = await running;
    const sum = (name: 'committed' | 'unknown' | 'refused'): number =>
      ledger.told.reduce((all, one) => all + one[name].length, 0);
    console.log(
      [
        `phases ${held - began} ms, switch ${switchedAt - held} ms, ${puts} puts; 100 commits after ${goesOn - switchedAt} ms; DDL ${ddl - ddlFrom} ms`,
        `A's highest version ${version}, configuration version ${confVer}`,
        `${sum('committed')} committed, ${sum('refused')} refused, ${sum('unknown')} unknown, the longest took ${ledger.longestMs} ms`,
        ...[...ledger.errors].map(([kind, count]) => `${count} x ${kind}`),
      ].join('\n'),
    );
    expect(committedSince).toBeGreaterThanOrEqual(100);
    expect(ledger.wrong).toEqual([]);
    expect(await judge(tidb.mysqlPort, ledger)).toEqual([]);
  });

  test('needs nothing of A any more', async () => {
    process.kill(a.store.pid, 'SIGKILL');
    // It logs the streams that are open.
    await fetch(`${a.envoy!.adminUrl}/quitquitquit`, { method: 'POST' });
    await sleep(2000);
    console.log(['the last calls at A', ...(await lastCallsAtA(switchedAt))].join('\n'));
    const from = Date.now();
    let errors = 0;
    for (let i = 10; i < 200; i++) {
      const session = await tidb.connect();
      await session.query('INSERT INTO bank.later VALUES (?, 1, 1)', [i]).catch(() => errors++);
      await session.close();
    }
    console.log(`190 statements in ${Date.now() - from} ms, ${errors} errors`);
    expect(errors).toBe(0);
  });
});
