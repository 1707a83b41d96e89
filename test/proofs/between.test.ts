/**
 * A tenant moves from one storage layer to another one and back while its TiDB runs on: two PDs, two stores, an Envoy in front of each. The
 * mover does it, as `tidb-mesh move` does. Minutes: `npm run test:proofs -- between`.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createBetween } from '../../src-ts/move/between.ts';
import type { Clusters } from '../../src-ts/move/clusters.ts';
import { diff } from '../../src-ts/move/engine/diff.ts';
import { makeEngine, sidesOf } from '../../src-ts/move/engine/engine-of.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { filtersAt } from '../../src-ts/move/filters/file-mesh.ts';
import type { Mesh, Orders } from '../../src-ts/move/filters/mesh.ts';
import { placeOf, type Place } from '../../src-ts/move/place.ts';
import { moveOf, type MoveRecord } from '../../src-ts/move/record.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { timestamp } from '../../src-ts/pd/timestamp.ts';
import { addTenant } from '../../src-ts/tenants/add.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { TRUST_DOMAIN } from '../harness/stack/certs.ts';
import { freePorts } from '../harness/stack/ports.ts';
import { startStack, SYSTEM_PRINCIPAL, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { createBank, judge, runBank, type Ledger } from '../move/ledger.ts';

type Name = 'a' | 'b';

const ALPHA: Tenant = { name: 'alpha', number: 1 };
/** Another tenant of each layer. */
const OTHERS: Record<Name, Tenant> = { a: { name: 'gamma', number: 3 }, b: { name: 'beta', number: 2 } };
/** Of the other layer's Envoy, which may act for alpha. */
const proxyOf = (name: Name): string => `spiffe://${TRUST_DOMAIN}/ns/proxies/sa/${name}`;
const WAIT_MS = 180_000;
const MIB = 2 ** 20;

/** One storage layer. */
interface Layer {
  readonly name: Name;
  readonly stack: Stack;
  readonly pd: Endpoint;
  readonly envoys: readonly Endpoint[];
  readonly standard: PluginConfig;
}

const layers = new Map<Name, Layer>();
const layer = (name: Name): Layer => layers.get(name)!;
let orders: Orders = { place: { storage: 'a' } };
let working: Promise<void> | undefined;
const stop = new AbortController();
const said: string[] = [];

/** What the filters of a layer are told, as `render` makes it of the mesh file. */
function configOf(name: Name, standard: PluginConfig): unknown {
  const { place, state, move, other } = orders;
  const entry = (at: Place, more: object): object => ({ ...ALPHA, ...placeOf({ ...at }), ...more });
  const moving = (its: Orders['move']): object => (its ? { move: its } : {});
  const alpha =
    place.storage === name
      ? entry(place, { ...(state === 'suspended' ? { state } : {}), ...moving(move) })
      : other
        ? entry(other.place, {
            ...(other.as === 'movesTo' ? { state: 'suspended' } : { servedBy: place.storage }),
            ...moving(other.move),
          })
        : { ...ALPHA, state: 'suspended' };
  const from = name === 'a' ? 'b' : 'a';
  const rules = [{ principal: proxyOf(from), mayActFor: [ALPHA.name] }, ...standard.rules];
  return { ...standard, rules, tenants: [alpha, OTHERS[name]] };
}

beforeAll(async () => {
  const [portA = 0, portB = 0] = await freePorts(2);
  const start = async (name: Name, own: number, other: number, certs?: Stack['certs']): Promise<void> => {
    let standard!: PluginConfig;
    const to = name === 'a' ? 'b' : 'a';
    const stack = await startStack({
      watched: true,
      startTidbs: false,
      boundaries: false,
      pdPort: own,
      others: [{ name: to, pd: other, principal: proxyOf(name) }],
      ...(certs ? { certs } : {}),
      // Both have stores and regions with the same ids, and A's regions have higher versions.
      ...(name === 'a' ? { regionSize: 20_000 } : {}),
      pluginConfig: (made: PluginConfig) => configOf(name, (standard = made)),
    });
    const client = await stack.certs.client(SYSTEM_PRINCIPAL);
    const pd = new Endpoint({ pd: stack.pd.directUrl });
    const envoys = [stack.pd, stack.store].map(
      ({ meshAddress }) => new Endpoint({ pd: `https://${meshAddress}`, ...client }),
    );
    layers.set(name, { name, stack, pd, envoys, standard });
    for (const tenant of [ALPHA, OTHERS[name]])
      await addTenant(pd, tenant, { withData: false, timeoutMs: WAIT_MS, tell: () => {} });
  };
  await start('b', portB, portA);
  await start('a', portA, portB, layer('b').stack.certs);
});

afterAll(async () => {
  stop.abort();
  await working;
  for (const { pd, envoys } of layers.values()) for (const endpoint of [pd, ...envoys]) endpoint.close();
  await Promise.all([...layers.values()].map(({ stack }) => stack.stop()));
});

const mesh = (): Mesh => {
  const [a, b] = [layer('a'), layer('b')];
  return {
    ...filtersAt(b.envoys),
    others: new Map([['a', { ...filtersAt(a.envoys), pd: a.pd }]]),
    tell: async (_, its) => {
      orders = its;
      await Promise.all([a, b].map(({ name, stack, standard }) => stack.configure(configOf(name, standard))));
    },
    placeOf: () => orders.place,
  };
};

const options = (): { pd: string } => ({ pd: layer('b').stack.pd.directUrl });
const clusters = (): Clusters => new Map([['a', { pd: layer('a').stack.pd.directUrl }]]);

function startWorker(): void {
  working = work(
    {
      pd: layer('b').pd,
      mesh: mesh(),
      id: 'the test',
      limits: { calmMs: 3000, obeyMs: 30_000, holdMs: 30_000, maxLagMs: 15_000 },
      engineOf: (record) => makeEngine(options(), record, clusters()),
      tell: (line) => said.push(line),
    },
    stop.signal,
  );
}

async function until(isSo: (record: MoveRecord) => boolean): Promise<MoveRecord> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const { record } = await moveOf(layer('b').pd, ALPHA.name);
    if (isSo(record)) return record;
    if (Date.now() > deadline)
      throw new Error(`${record.state}, ${record.problem ?? ''}: ${said.slice(-8).join('; ')}`);
    await sleep(50);
  }
}

/** When the TiDB called a layer last, by the path of the call, ms after `from`: what its Envoy has logged. */
async function lastCallsAt(name: Name, from: number): Promise<Map<string, number>> {
  const last = new Map<string, number>();
  for (const line of (await readFile(layer(name).stack.envoy!.accessLogPath, 'utf8')).split('\n')) {
    if (!line.startsWith('{')) continue;
    const told = JSON.parse(line) as { start: string; path?: string; tenant?: string };
    const [plain = ''] = (told.path ?? '').split('?');
    const after = Date.parse(told.start) - from;
    if (told.tenant === ALPHA.name && after > 0) last.set(plain, Math.max(last.get(plain) ?? 0, after));
  }
  return last;
}

const count = ({ told }: Ledger, name: 'committed' | 'unknown' | 'refused'): number =>
  told.reduce((all, one) => all + one[name].length, 0);

describe('a tenant whose TiDB runs on', () => {
  let tidb: Tidb;
  let tables = 0;

  /** Switches, or back, under load. */
  async function goes(verb: 'switch' | 'reverse'): Promise<void> {
    let over = false;
    let switchedAt = 0;
    let since = 0;
    const running = runBank(
      tidb.mysqlPort,
      {
        clients: 4,
        pauseMs: 20,
        firstEntry: ++tables * 1_000_000,
        readersMayFail: true,
        onCommit: () => {
          if (switchedAt !== 0) since++;
        },
      },
      () => over,
    );
    let goesOnMs = 0;
    let ddlMs = 0;
    let record: MoveRecord | undefined;
    try {
      await sleep(2000);
      await until(({ state, wish }) => state === 'following' && wish === undefined);
      const { switches } = await ask(layer('b').pd, ALPHA.name, verb);
      record = await fulfilled(layer('b').pd, ALPHA.name, {
        verb,
        switches,
        timeoutMs: WAIT_MS,
        tell: () => {},
      });
      switchedAt = Date.now();
      const deadline = switchedAt + WAIT_MS;
      while (since < 100 && Date.now() < deadline) await sleep(50);
      goesOnMs = Date.now() - switchedAt;
      const ddlFrom = Date.now();
      const session = await tidb.connect();
      await session.query(`CREATE TABLE bank.later${tables} (id INT PRIMARY KEY, v INT)`);
      await session.query(`INSERT INTO bank.later${tables} VALUES (1, 1), (2, 4)`);
      await session.query(`ALTER TABLE bank.later${tables} ADD COLUMN w INT DEFAULT 9`);
      await session.close();
      ddlMs = Date.now() - ddlFrom;
    } finally {
      over = true;
    }
    const ledger = await running;
    const done = record?.history.at(-1);
    console.log(
      [
        `${verb}: writes held ${done?.writesHeldMs ?? 0} ms, all ${done?.allHeldMs ?? 0} ms; 100 commits after ${goesOnMs} ms, DDL ${ddlMs} ms`,
        `${count(ledger, 'committed')} committed, ${count(ledger, 'refused')} refused, ${count(ledger, 'unknown')} unknown, the longest took ${ledger.longestMs} ms`,
        ...[...ledger.errors].map(([kind, many]) => `${many} x ${kind}`),
        JSON.stringify(record?.from),
      ].join('\n'),
    );
    expect(since).toBeGreaterThanOrEqual(100);
    expect(ledger.wrong).toEqual([]);
    expect(await judge(tidb.mysqlPort, ledger)).toEqual([]);
  }

  /** Both sides are equal at a timestamp of now. */
  async function agrees(): Promise<void> {
    const { from } = await until(({ state }) => state === 'following');
    const ts = await timestamp(layer(from.storage as Name).pd);
    const record = await until(({ state, progress }) => {
      const { resolvedTs = '0' } = (progress ?? {}) as { resolvedTs?: string };
      return state === 'following' && BigInt(resolvedTs) >= ts;
    });
    const sides = sidesOf(options(), clusters(), record);
    try {
      expect((await diff({ ...sides, ts, throttle: new Throttle() })).differences).toEqual([]);
    } finally {
      sides.close();
    }
  }

  test('is copied and followed from A to B', async () => {
    tidb = await layer('a').stack.startTidb({ tenant: ALPHA.name });
    await createBank(tidb.mysqlPort);
    const named = (name: Name): { name: Name; pd: Endpoint } => ({ name, pd: layer(name).pd });
    await createBetween({ tenant: ALPHA, from: named('a'), to: named('b') });
    const from = Date.now();
    startWorker();
    const { copied } = await until(({ state }) => state === 'following');
    const seconds = (Date.now() - from) / 1000;
    const mib = (copied?.bytes ?? 0) / MIB;
    console.log(
      `copied ${copied?.keys ?? 0} keys, ${mib.toFixed(1)} MiB in ${seconds.toFixed(1)} s: ${(mib / seconds).toFixed(2)} MiB/s`,
    );
    await agrees();
  });

  test('goes on at B, under load', async () => {
    await goes('switch');
    await agrees();
  });

  test('goes back to A, under load, and to B again', async () => {
    await goes('reverse');
    await agrees();
    await goes('switch');
  });

  test('needs nothing of A any more', async () => {
    const switchedAt = (await moveOf(layer('b').pd, ALPHA.name)).record.history.at(-1)!.at;
    // A client of etcd asks for the members every 30 s.
    await sleep(Math.max(0, switchedAt + 45_000 - Date.now()));
    stop.abort();
    await working;
    const { stack } = layer('a');
    process.kill(stack.store.pid, 'SIGKILL');
    // It logs the streams that are open.
    await fetch(`${stack.envoy!.adminUrl}/quitquitquit`, { method: 'POST' });
    await sleep(2000);
    const last = [...(await lastCallsAt('a', switchedAt))].sort(([, one], [, other]) => other - one);
    console.log(['the last calls at A', ...last.map(([path, ms]) => `${path} ${ms} ms`)].join('\n'));
    let errors = 0;
    for (let i = 10; i < 110; i++) {
      const session = await tidb.connect();
      await session.query(`INSERT INTO bank.later${tables} VALUES (?, 1, 1)`, [i]).catch(() => errors++);
      await session.close();
    }
    expect(errors).toBe(0);
  });
});
