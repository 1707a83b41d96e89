/** Whether each Envoy is asked by itself that clients can reach. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import { filtersAt } from '../../src-ts/move/filters/file-mesh.ts';
import { hiddenBehind, SeenEnvoys, type Answers } from '../../src-ts/move/filters/envoys.ts';
import { obeyed, vmsOf, type Order } from '../../src-ts/move/filters/mesh.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { statusOf } from '../../src-ts/tenants/mesh-status.ts';

const opened: (Server | Endpoint)[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) {
    if ('closeAllConnections' in one) one.closeAllConnections();
    one.close();
  }
});

/** An address behind which these Envoys take turns with new connections. */
async function address(host: string, ...envoys: (string | undefined)[]): Promise<Endpoint> {
  const turns = new WeakMap<object, string | undefined>();
  let count = 0;
  const server = createServer(({ socket }, answer) => {
    const vms = [{ id: 0, stale: false, configs: [] }];
    answer.end(JSON.stringify({ envoy: turns.get(socket), vms, tenants: {} }));
  });
  server.on('connection', (socket) => turns.set(socket, envoys[count++ % envoys.length]));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = new Endpoint({ pd: `http://${host}:${(server.address() as AddressInfo).port}` });
  opened.push(server, endpoint);
  return endpoint;
}

describe('the Envoys that a worker of moves asks', () => {
  test('are all, when each has an address of its own', async () => {
    const envoys = await Promise.all([
      address('127.0.0.1', 'a'),
      address('127.0.0.1', 'a'),
      address('localhost', 'b'),
    ]);
    expect(await hiddenBehind(envoys)).toEqual([]);
    expect((await vmsOf(envoys)).length).toBe(3);
  });

  test('are not all, when several are behind one address', async () => {
    const [pd, store] = [await address('127.0.0.1', 'a', 'b'), await address('localhost', 'b', 'a')];
    const hosts = [pd, store].map(({ url }) => url.host);
    expect(await hiddenBehind([pd, store])).toEqual(hosts);
    const one = await address('127.0.0.1', 'a');
    expect(await hiddenBehind([pd, store, one])).toEqual(hosts);
    expect(await hiddenBehind([pd, store, one, await address('127.0.0.1', 'b')])).toEqual([]);
  });

  test('are not known, when a filter does not say which Envoy it is of', async () => {
    const old = await address('127.0.0.1', undefined);
    expect(await hiddenBehind([old])).toEqual([old.url.host]);
  });

  test('are named with the address that does not answer', async () => {
    // Ports below 1024 are nobody's that a test starts.
    const closed = new Endpoint({ pd: 'http://localhost:1' });
    opened.push(closed);
    await expect(statusOf(closed, { address: '127.0.0.1' })).rejects.toThrow(
      'no answer from localhost:1 (127.0.0.1)',
    );
  });
});

describe('moves beside each other', () => {
  test('share what they ask the Envoys: one question at a time, and none that began before', async () => {
    let phase = 'calm';
    const asked: (() => void)[] = [];
    const server = createServer((_, answer) => {
      const moves = [{ tenant: 'alpha', serial: 1, phase }];
      const vms = [{ id: 0, stale: false, configs: [], moves }];
      asked.push(() => answer.end(JSON.stringify({ vms, tenants: {} })));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const envoy = new Endpoint({ pd: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    opened.push(server, envoy);
    const filters = filtersAt([envoy]);
    const questions = async (count: number): Promise<void> => {
      while (asked.length < count) await sleep(1);
    };
    const phases = async (vms: ReturnType<typeof filters.vms>): Promise<string[]> =>
      (await vms).flatMap(({ moves }) => moves.map((one) => one.phase));

    const first = phases(filters.vms());
    await questions(1);
    phase = 'drain';
    const others = Array.from({ length: 9 }, () => phases(filters.vms()));
    asked[0]?.();
    expect(await first).toEqual(['calm']);
    await questions(2);
    asked[1]?.();
    for (const one of others) expect(await one).toEqual(['drain']);
    expect(asked.length).toBe(2);
  });

  test('share what they ask after a question that failed', async () => {
    const closed = new Endpoint({ pd: 'http://127.0.0.1:1' });
    opened.push(closed);
    const filters = filtersAt([closed]);
    for (let i = 0; i < 2; i++) await expect(filters.vms()).rejects.toThrow('no answer');
  });
});

/** Envoys behind names with an address for each. */
class Envoys {
  readonly seen: SeenEnvoys;
  /** Who answers at which address of which name. */
  answering: Record<string, string> = { '10.0.0.1': 'a', '10.0.0.2': 'b' };
  private readonly order: Order = { serial: 7, phase: 'drain' };

  constructor(seen = new SeenEnvoys()) {
    this.seen = seen;
  }

  private answers(): Answers[] {
    const status = (envoy: string) => ({ envoy, vms: [], tenants: {} });
    const all = Object.entries(this.answering).map(([address, id]) => ({ address, status: status(id) }));
    return [{ envoy: { url: new URL('http://tikv:20160') } as Endpoint, all }];
  }

  /** Ids of those that are missing. */
  look(now = 0): string[] {
    return this.seen.note(this.answers(), now).map(({ id }) => id);
  }

  /** Whether a step goes on that waits for all who answer, and for those that are missing. */
  async obey(quiet: object): Promise<void> {
    const { serial, phase } = this.order;
    const moves = [{ tenant: 'alpha', serial, phase, lifted: false, writesOutstanding: 0 }];
    const vms = async () => [
      { name: 'VM', stale: false, moves: moves as never },
      ...this.look().map((id) => ({ name: `Envoy ${id}`, stale: true, moves: [], missing: 'is gone' })),
    ];
    await obeyed({ vms }, 'alpha', this.order, { timeoutMs: 50, ...quiet });
  }
}

describe('an Envoy that answers no more', () => {
  test('is waited for where something must be over there, and named', async () => {
    const envoys = new Envoys();
    await envoys.obey({ writes: true });
    // It drains, or its pod is out of DNS: streams of clients go on through it.
    delete envoys.answering['10.0.0.2'];
    await expect(envoys.obey({ writes: true })).rejects.toThrow('Envoy b, which is gone');
    await envoys.obey({});
    envoys.answering['10.0.0.2'] = 'b';
    await envoys.obey({ writes: true });
  });

  test('is known to have ended when another one is in its place, or after a time', () => {
    const envoys = new Envoys(new SeenEnvoys(1000));
    expect(envoys.look()).toEqual([]);
    envoys.answering['10.0.0.2'] = 'c';
    expect(envoys.look()).toEqual([]);
    delete envoys.answering['10.0.0.2'];
    envoys.answering['10.0.0.3'] = 'd';
    expect(envoys.look(5000)).toEqual(['c']);
    expect(envoys.look(5999)).toEqual(['c']);
    expect(envoys.look(6000)).toEqual([]);
  });

  test('that was seen at a shared address, too, counts while its own answers nobody', () => {
    const envoys = new Envoys();
    envoys.answering = { '10.0.0.2': 'b', '10.0.0.9': 'b' };
    envoys.look();
    envoys.answering = { '10.0.0.1': 'a', '10.0.0.9': 'a' };
    expect(envoys.look()).toEqual(['b']);
  });

  test('is known to the next worker', () => {
    const before = new Envoys();
    before.look();
    delete before.answering['10.0.0.2'];
    before.look(1000);
    const after = new Envoys(new SeenEnvoys(2000));
    after.answering = before.answering;
    after.seen.recall(before.seen.all());
    expect(after.look(2000)).toEqual(['b']);
    expect(after.look(3000)).toEqual([]);
  });
});
