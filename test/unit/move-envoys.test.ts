/** Whether each Envoy is asked by itself that clients can reach. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { hiddenBehind } from '../../src-ts/move/envoys.ts';
import { vmsOf } from '../../src-ts/move/mesh.ts';
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
