/**
 * Several Envoys in front of the same servers, each with a TiDB of one tenant behind it: a switch waits for both. One that stops, or has an
 * old configuration, keeps the tenant where it was. A worker that does not wait for it loses commits. `npm run test:proofs -- envoys`.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Mesh } from '../../src-ts/move/filters/mesh.ts';
import type { MoveRecord } from '../../src-ts/move/record.ts';
import type { Endpoint as Asked } from '../../src-ts/pd/endpoint.ts';
import { portsOf } from '../harness/stack/link.ts';
import type { AnotherEnvoy } from '../harness/stack/stack.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { createBank, judge, runBank, type Ledger } from '../move/ledger.ts';
import type { Moving as Mover } from '../move/moving.ts';
import { committed } from './under-load.ts';

/** In the certificate of the test's Envoys. */
const NAME = 'localhost';
const HOSTS = ['127.0.0.1', '127.0.0.2'] as const;
const [, FAR] = HOSTS;
jest.unstable_mockModule('node:dns/promises', () => ({
  lookup: async (host: string) => (host === NAME ? HOSTS : [host]).map((address) => ({ address })),
}));
const { Moving } = await import('../move/moving.ts');
const { WAIT_MS } = await import('../move/waiting.ts');
const { hiddenBehind } = await import('../../src-ts/move/filters/envoys.ts');
const { lookAt } = await import('../../src-ts/move/diagnosis/look.ts');
const { vmsOf } = await import('../../src-ts/move/filters/mesh.ts');
const { Endpoint } = await import('../../src-ts/pd/endpoint.ts');

const ALPHA = { name: 'alpha', number: 1 };
const AWAY = { keyNumber: 5 };
/** A worker that has just begun is behind. */
const LIMITS = { calmMs: 1000, obeyMs: 4000, holdMs: 8000, maxLagMs: 60_000 };
/** Of the client behind the other Envoy: between two of its transactions, the worker must find no locks. */
const FAR_PAUSE_MS = 300;
const FEW_COMMITS = 5;

let moving: Mover;
let farEnvoy: AnotherEnvoy;
let near: Tidb;
let far: Tidb;
/** Both Envoys by one name, and each by an address of its own. */
let byName: Asked[];
let byAddress: Asked[];
/** The other Envoy gets no configuration. */
let isFarDeaf = false;
/** Commits of the client behind the other Envoy. */
let farCommits = 0;
let entries = 0;

beforeAll(async () => {
  moving = await Moving.start([ALPHA, { name: 'beta', number: 2 }], { startTidbs: false, fronted: true });
  const { stack, certs } = moving;
  farEnvoy = await stack.startEnvoy(FAR);
  const urls = farEnvoy.addresses.map((address) => `https://${address}`);
  byName = urls.map((url) => new Endpoint({ pd: url.replace(FAR, NAME), ...certs }));
  const other = urls.map((url) => new Endpoint({ pd: url, serverName: NAME, ...certs }));
  byAddress = [...moving.envoys, ...other];
  near = await stack.startTidb({ tenant: ALPHA.name, name: 'near' });
  await createBank(near.mysqlPort);
  // Whoever is none of these is the TiDB that is started now.
  const others = [process.pid, stack.pd.pid, stack.store.pid, near.pid];
  for (const front of stack.fronts)
    front.lead((from) => (others.some((pid) => portsOf(pid).has(from)) ? HOSTS[0] : FAR));
  far = await stack.startTidb({ tenant: ALPHA.name, name: 'far' });
});
afterEach(async () => {
  await moving.stopWorker();
});
afterAll(async () => {
  for (const endpoint of [...(byName ?? []), ...(byAddress ?? [])]) endpoint.close();
  await moving?.end();
});

/** Both Envoys get each configuration, unless one is deaf. These are asked. */
function meshOf(envoys: readonly Asked[]): Mesh {
  return {
    hosts: moving.heard().hosts,
    tell: async (tenant, orders) => {
      await moving.mesh.tell(tenant, orders);
      if (!isFarDeaf) await farEnvoy.configure(moving.config());
    },
    vms: () => vmsOf(envoys),
  };
}

async function hear(): Promise<void> {
  isFarDeaf = false;
  await farEnvoy.configure(moving.config());
}

interface Both {
  readonly near: Ledger;
  readonly far: Ledger;
}

/** Acts while clients commit by both TiDBs. */
async function underLoad(act: () => Promise<void>): Promise<Both> {
  let over = false;
  const isOver = (): boolean => over;
  const load = (port: number, clients: number, pauseMs: number): Promise<Ledger> => {
    const onCommit = (): void => void (port === far.mysqlPort && farCommits++);
    entries += 1_000_000;
    return runBank(port, { clients, firstEntry: entries, pauseMs, readersMayFail: true, onCommit }, isOver);
  };
  const running = Promise.all([load(near.mysqlPort, 3, 20), load(far.mysqlPort, 1, FAR_PAUSE_MS)]);
  try {
    await act();
    await sleep(300);
  } finally {
    over = true;
  }
  const [nearby, away] = await running;
  return { near: nearby, far: away };
}

/** What is wrong by both ledgers, where the tenant is served. */
async function wrongIn(both: Both): Promise<string[]> {
  const { told } = both.near;
  const judged = await judge(near.mysqlPort, { ...both.near, told: [...told, ...both.far.told] });
  return [...both.near.wrong, ...both.far.wrong, ...judged];
}

async function report(how: string, { near: nearby, far: away }: Both): Promise<MoveRecord> {
  const record = await moving.record(ALPHA.name);
  const kinds = [nearby, away].flatMap(({ errors }) => [...errors].map(([kind, n]) => `${n} x ${kind}`));
  console.log(
    [
      `${how}: ${record.switches} switches so far, ${committed(nearby)} and ${committed(away)} committed`,
      ...kinds,
    ].join('\n'),
  );
  return record;
}

/** Asks for a switch, which is not done. @returns the problem that names the other Envoy */
async function refused(): Promise<string> {
  await moving.wish(ALPHA.name);
  const isNamed = ({ problem = '' }: MoveRecord): boolean => problem.includes(FAR);
  return (await moving.until(ALPHA.name, isNamed)).problem ?? '';
}

/** What `move show` says of the other Envoy. */
async function shown(envoys: readonly Asked[]): Promise<string> {
  const options = { endpoint: { pd: moving.stack.pd.directUrl }, clusters: new Map(), envoys, locks: false };
  const { acknowledged } = await lookAt(await moving.record(ALPHA.name), options);
  return (acknowledged?.missing ?? []).map(({ vm, why }) => `${vm} ${why}`).join('; ');
}

async function someFarCommits(): Promise<void> {
  const enough = farCommits + FEW_COMMITS;
  const deadline = Date.now() + WAIT_MS;
  while (farCommits < enough) {
    if (Date.now() > deadline) throw new Error(`only ${farCommits} of ${enough} commits`);
    await sleep(50);
  }
}

const namesOf = async (envoys: readonly Asked[]): Promise<Set<string>> =>
  new Set((await vmsOf(envoys)).map(({ name }) => HOSTS.find((host) => name.includes(host)) ?? name));

test('both Envoys are asked, by one name and by an address of each', async () => {
  for (const envoys of [byName, byAddress]) expect(await namesOf(envoys)).toEqual(new Set(HOSTS));
  expect(await namesOf(moving.envoys)).toEqual(new Set([HOSTS[0]]));
});

test('an address that leads to both is seen to hide one, until each has an address', async () => {
  const { fronts } = moving.stack;
  const led = fronts.map((front) => {
    let turn = 0;
    return front.lead(() => HOSTS[turn++ % HOSTS.length] ?? FAR);
  });
  try {
    expect(await hiddenBehind(moving.envoys)).toEqual(moving.envoys.map(({ url }) => url.host));
    expect(await hiddenBehind([...moving.envoys, ...byName])).toEqual([]);
  } finally {
    for (const [i, front] of fronts.entries()) front.lead(led[i]!);
  }
});

describe('a worker that asks both', () => {
  test('copies, and switches there by one name and back by two addresses: nothing is lost', async () => {
    moving.startWorker({ mesh: meshOf(byName), limits: LIMITS });
    await moving.begin(ALPHA.name, AWAY);
    await moving.follows(ALPHA.name);
    const both = await underLoad(async () => {
      await moving.switchTo(ALPHA.name, 1);
      await moving.stopWorker();
      moving.startWorker({ mesh: meshOf(byAddress), limits: LIMITS });
      await moving.switchTo(ALPHA.name, 2);
      await someFarCommits();
    });
    await report('two Envoys', both);
    expect(await wrongIn(both)).toEqual([]);
  });

  describe.each([
    ['one name', () => byName],
    ['two addresses', () => byAddress],
  ])('by %s', (_, envoys) => {
    let switches = 0;
    beforeEach(async () => {
      moving.startWorker({ mesh: meshOf(envoys()), limits: LIMITS });
      switches = (await moving.follows(ALPHA.name)).switches;
    });

    test('does not switch while one has an old configuration, and names it: writes go on', async () => {
      const both = await underLoad(async () => {
        isFarDeaf = true;
        try {
          expect(await refused()).toContain('is not acknowledged by');
          expect(await shown(envoys())).toContain(FAR);
          await someFarCommits();
        } finally {
          await hear();
        }
        await moving.follows(ALPHA.name);
      });
      await report('an old configuration', both);
      expect((await moving.record(ALPHA.name)).switches).toBe(switches);
      expect(await wrongIn(both)).toEqual([]);
    });

    test('does not switch while one is stopped, and names it', async () => {
      process.kill(farEnvoy.pid, 'SIGSTOP');
      try {
        expect(await refused()).toContain('no answer');
        expect(await shown(envoys())).toContain('no answer');
      } finally {
        process.kill(farEnvoy.pid, 'SIGCONT');
      }
      expect((await moving.follows(ALPHA.name)).switches).toBe(switches);
    });
  });
});

test('a worker that does not wait for one of them loses what is committed there, and there is an alarm', async () => {
  // Only the test can leave it out: the mesh that the worker gets keeps its answers back.
  moving.startWorker({ mesh: meshOf(moving.envoys), limits: LIMITS, onAlarm: 'report' });
  const { switches } = await moving.follows(ALPHA.name);
  isFarDeaf = true;
  const both = await underLoad(async () => {
    await moving.switchTo(ALPHA.name, switches + 1);
    await someFarCommits();
    await moving.until(ALPHA.name, ({ alarm }) => alarm !== undefined);
  });
  const { alarm } = await report('without one of two Envoys', both);
  const told = both.far.told.flatMap(({ client, committed: all }) =>
    all.map((n) => `lost: client ${client}, entry ${n}`),
  );
  const judged = await judge(near.mysqlPort, { ...both.near, told: [...both.near.told, ...both.far.told] });
  const lost = judged.filter((text) => told.includes(text));
  console.log(
    [
      `${lost.length} of ${told.length} commits by the other Envoy are lost, ${alarm?.count ?? 0} keys in the alarm`,
      `wrong beside them: ${[...judged.filter((text) => !lost.includes(text)), ...both.near.wrong].join('; ') || 'nothing'}`,
      `seen at the old place: ${both.far.wrong.join('; ') || 'nothing wrong'}`,
    ].join('\n'),
  );
  expect(alarm?.place).not.toHaveProperty('keyNumber');
  expect(alarm?.count).toBeGreaterThan(0);
  expect(lost.length).toBeGreaterThanOrEqual(FEW_COMMITS);
});
