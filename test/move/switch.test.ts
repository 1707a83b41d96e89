/** A tenant under load is moved to another key range and back, as often as TIDB_MESH_ROUNDS says, while its TiDB runs on. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { createMove } from '../../src-ts/move/create.ts';
import { makeEngine } from '../../src-ts/move/engine-of.ts';
import { vmsOf, type Mesh, type Orders } from '../../src-ts/move/mesh.ts';
import { moveOf, type MoveRecord } from '../../src-ts/move/record.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { spaceOf, type Tenant } from '../../src-ts/tenants/tenant.ts';
import { startStack, SYSTEM_PRINCIPAL, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import { createBank, judge, runBank, type Ledger } from './ledger.ts';

const ROUNDS = Number(process.env['TIDB_MESH_ROUNDS'] ?? 4);
const CLIENTS = 8;
const ALPHA: Tenant = { name: 'alpha', number: 1 };
const BETA: Tenant = { name: 'beta', number: 2 };
const AWAY = { keyNumber: 5 };
const WAIT_MS = 60_000;

let stack: Stack;
let pd: Endpoint;
let envoys: Endpoint[];
let config: PluginConfig;
const stop = new AbortController();
let working: Promise<void>;
const said: string[] = [];

/** The configuration with these orders for alpha. */
function withOrders({ place, move }: Orders): unknown {
  const alpha = { ...ALPHA, ...place, ...(move ? { move } : {}) };
  return { ...config, tenants: [alpha, BETA] };
}

beforeAll(async () => {
  stack = await startStack({
    watched: true,
    pluginConfig: (standard: PluginConfig) => (config = standard),
  });
  pd = new Endpoint({ pd: stack.pd.directUrl });
  const { cert, key, ca } = await stack.certs.client(SYSTEM_PRINCIPAL);
  envoys = [stack.pd.meshAddress, stack.store.meshAddress].map(
    (address) => new Endpoint({ pd: `https://${address}`, cert, key, ca }),
  );
  const mesh: Mesh = {
    tell: (_, orders) => stack.configure(withOrders(orders)),
    vms: () => vmsOf(envoys),
  };
  await createBank(stack.tidbs.get('alpha')!.mysqlPort);
  working = work(
    {
      pd,
      mesh,
      id: 'the test',
      engineOf: (record: MoveRecord) => makeEngine({ pd: stack.pd.directUrl }, record),
      tell: (line) => said.push(`${Date.now() % 1_000_000} ${line}`),
    },
    stop.signal,
  );
});

afterAll(async () => {
  stop.abort();
  await working;
  for (const endpoint of [pd, ...(envoys ?? [])]) endpoint?.close();
  await stack?.stop();
});

async function until(state: MoveRecord['state']): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while ((await moveOf(pd, 'alpha')).record.state !== state) {
    if (Date.now() > deadline) throw new Error(`not ${state}: ${said.slice(-5).join('; ')}`);
    await sleep(50);
  }
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

  test('is copied and followed', async () => {
    const { mysqlPort: port } = stack.tidbs.get('alpha')!;
    running = runBank(port, CLIENTS, () => over);
    await createMove(pd, { tenant: ALPHA, to: AWAY, all: [ALPHA, BETA] });
    await until('following');
    expect(await keysAt(AWAY)).toBeGreaterThan(100);
  });

  test('is switched there and back, again and again', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { switches } = (await moveOf(pd, 'alpha')).record;
      await ask(pd, 'alpha', round % 2 === 0 ? 'switch' : 'reverse');
      await fulfilled(pd, 'alpha', { switches, timeoutMs: WAIT_MS, tell: () => undefined });
      await sleep(500);
    }
    over = true;
    ledger = await running;
    const { record } = await moveOf(pd, 'alpha');
    console.log(
      record.history.map((one) => `held: writes ${one.writesHeldMs} ms, all ${one.allHeldMs} ms`).join('\n'),
      `\ncommitted ${ledger.told.reduce((sum, { committed }) => sum + committed.length, 0)}, longest ${ledger.longestMs} ms`,
      [...ledger.errors].map(([kind, count]) => `\n${count} × ${kind}`).join(''),
    );
    expect(record.switches).toBe(ROUNDS);
  });

  test('has lost nothing, and got nothing that was refused', async () => {
    expect(ledger.wrong).toEqual([]);
    expect(await judge(stack.tidbs.get('alpha')!.mysqlPort, ledger)).toEqual([]);
  });
});

describe('at the end of the move', () => {
  test('the place that the tenant has left is empty, and the tenant works on', async () => {
    if (ROUNDS % 2 === 0) {
      const { switches } = (await moveOf(pd, 'alpha')).record;
      await ask(pd, 'alpha', 'switch');
      await fulfilled(pd, 'alpha', { switches, timeoutMs: WAIT_MS, tell: () => undefined });
    }
    await ask(pd, 'alpha', 'complete');
    await fulfilled(pd, 'alpha', { switches: Infinity, timeoutMs: WAIT_MS, tell: () => undefined });
    expect(await keysAt({})).toBe(0);
    expect(await keysAt(AWAY)).toBeGreaterThan(100);
    const session = await stack.tidbs.get('alpha')!.connect();
    await session.query('CREATE TABLE bank.after (id INT PRIMARY KEY)');
    await session.query('INSERT INTO bank.after VALUES (1)');
    expect(await session.query('SELECT COUNT(*) AS n FROM bank.after')).toEqual([{ n: 1 }]);
    await session.close();
  });
});
