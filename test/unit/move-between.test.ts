/** A move between two storage layers of one mesh file: how the other one is reached, what the file says meanwhile, and what etcd gets. */
import { describe, expect, test } from '@jest/globals';
import { Judge } from '../../src-ts/config/judge.ts';
import { createBetween } from '../../src-ts/move/between.ts';
import { mustStayValid } from '../../src-ts/move/filters/renders.ts';
import { readStorages } from '../../src-ts/move/clusters.ts';
import { withOrders } from '../../src-ts/move/filters/config.ts';
import { carryEtcd, keepLeases, namesIn, raiseRevision } from '../../src-ts/move/engine/etcd.ts';
import type { Orders } from '../../src-ts/move/filters/mesh.ts';
import { isSamePlace, placeOf, placeText, type Place } from '../../src-ts/move/place.ts';
import { entries, grantLease, putAll, putIfUnchanged, snapshot } from '../../src-ts/pd/etcd.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { readEnvoyMesh } from '../../src-ts/standalone/mesh.ts';
import { pluginConfigOf } from '../../src-ts/standalone/plugin-config.ts';
import { EtcdModel } from '../harness/support/etcd-model.ts';

describe('the file of storages', () => {
  const read = (text: string): ReturnType<typeof readStorages> =>
    readStorages(text, '/etc/mesh/storages.yaml');

  test('names PDs, Envoys and files beside it', () => {
    expect([
      ...read('storages: { a: { pd: "https://pd:2379", ca: ca.pem, envoys: "https://x:1,https://y:2" } }'),
    ]).toEqual([
      ['a', { pd: 'https://pd:2379', ca: '/etc/mesh/ca.pem', envoys: ['https://x:1', 'https://y:2'] }],
    ]);
  });

  test.each([
    ['clusters: {}', 'it has no `storages`'],
    ['storages: { a: { pd: x } }', 'a has no envoys'],
    ['storages: { a: { envoys: x } }', 'a has no pd'],
    ['storages: { A: { pd: x, envoys: y } }', 'A is no name for a storage'],
    ['storages: { a: { pd: x, envoy: y } }', 'a has an unknown field envoy'],
  ])('%s is refused', (text, why) => {
    expect(() => read(text)).toThrow(why);
  });
});

const member = (name: string, port: number): object => ({
  advertise: `${name}.example.com:${port}`,
  server: `${name}.internal:${port + 10_000}`,
});
const storage = (name: string, port: number, clusterId: string): object => ({
  name,
  clusterId,
  principal: `spiffe://x/ns/proxies/sa/${name}`,
  pd: [member(`pd-${name}`, port)],
  tikv: [member(`tikv-${name}`, port + 1)],
});
const FILE = JSON.stringify({
  target: 'envoy',
  storages: [storage('a', 2379, '7001'), storage('b', 3379, '7002')],
  pluginConfig: {
    tenants: [
      { name: 'alpha', number: 1, storage: 'a', limits: { maxStreams: 50 } },
      { name: 'beta', number: 1, storage: 'b' },
    ],
    rules: [{ principal: 'spiffe://x/ns/{tenant}/sa/*' }],
  },
});
const A: Place = { storage: 'a' };
const B: Place = { storage: 'b', readableSince: '7' };
const SERVED_AT_B: Place = {
  ...B,
  epochOffset: 4100,
  confVerOffset: 257,
  latestSeen: '9',
  clusterId: { seen: '7001', own: '7002' },
};

/** What both filters are told of alpha when the file says so. */
function told(text: string): unknown[] {
  const mesh = readEnvoyMesh(text);
  return mesh.storages.map((one) => pluginConfigOf(mesh, one).tenants.find(({ name }) => name === 'alpha'));
}

describe('the mesh file', () => {
  const write = (text: string, orders: Orders): string => withOrders(text, 'mesh.json', 'alpha', orders);
  const move = (serial: number, phase: 'calm' | 'final' | 'over'): Required<Pick<Orders, 'move'>> => ({
    move: { serial, phase },
  });
  const common = { name: 'alpha', limits: { maxStreams: 50 } };
  const alpha = { ...common, number: 1 };

  test('says at each step who serves the tenant, and the other side knows', () => {
    const copied = write(FILE, {
      place: A,
      state: 'active',
      other: { as: 'movesTo', place: B, ...move(1, 'calm') },
      ...move(1, 'calm'),
    });
    expect(told(copied)).toEqual([
      { ...alpha, ...move(1, 'calm') },
      { ...alpha, readableSince: '7', state: 'suspended', ...move(1, 'calm') },
    ]);
    const handedOver = write(copied, {
      place: B,
      state: 'suspended',
      other: { as: 'movedFrom', place: A, ...move(2, 'final') },
      ...move(2, 'final'),
    });
    expect(told(handedOver)).toEqual([
      { ...alpha, servedBy: 'b', ...move(2, 'final') },
      { ...alpha, readableSince: '7', state: 'suspended', ...move(2, 'final') },
    ]);
    const shown = placeOf({ ...SERVED_AT_B });
    const opened = write(handedOver, {
      place: SERVED_AT_B,
      state: 'active',
      other: { as: 'movedFrom', place: A, ...move(3, 'final') },
      ...move(3, 'calm'),
    });
    expect(told(opened)).toEqual([
      { ...alpha, servedBy: 'b', ...move(3, 'final') },
      { ...alpha, ...shown, ...move(3, 'calm') },
    ]);
    const back = write(opened, {
      place: { ...A, epochOffset: 9000 },
      state: 'active',
      other: { as: 'movedFrom', place: SERVED_AT_B, ...move(4, 'calm') },
      ...move(4, 'calm'),
    });
    expect(told(back)).toEqual([
      { ...alpha, epochOffset: 9000, ...move(4, 'calm') },
      { ...alpha, ...shown, servedBy: 'a', ...move(4, 'calm') },
    ]);
    expect(told(write(back, { place: A, state: 'active' }))).toEqual([alpha, undefined]);
  });

  test('keeps what it says of another storage when the tenant moves within its own', () => {
    const moved = write(FILE, { place: SERVED_AT_B, state: 'active', other: { as: 'movedFrom', place: A } });
    const place = placeOf({ ...SERVED_AT_B });
    const within = write(moved, { place: { ...place, keyNumber: 5 }, ...move(1, 'calm') });
    expect(told(within)).toEqual([
      { ...alpha, servedBy: 'b' },
      { ...alpha, ...place, keyNumber: 5, ...move(1, 'calm') },
    ]);
  });

  test('takes no order from before what the other side was told', () => {
    const newer = write(FILE, { place: A, other: { as: 'movesTo', place: B, ...move(5, 'calm') } });
    expect(() => write(newer, { place: A, ...move(4, 'calm') })).toThrow(
      'is at serial 5 of its move already',
    );
  });
});

describe('a mesh file that would not be valid during a move', () => {
  const check = async (text: string): Promise<void> =>
    mustStayValid(text, 'mesh.json', 'alpha', { from: A, to: { storage: 'b' } }, await Judge.load());

  const VALID = FILE.replace(
    '"rules":[',
    '"rules":[{"principal":"spiffe://x/ns/servers/sa/*","system":true},',
  ).replace('"beta","number":1', '"beta","number":2');

  test('is refused before anything is held', async () => {
    await check(VALID);
    for (const [name, when] of [
      ['a', 'after the switch'],
      ['b', 'after a switch back'],
    ] as const)
      await expect(
        check(VALID.replace(`"principal":"spiffe://x/ns/proxies/sa/${name}",`, '')),
      ).rejects.toThrow(
        `mesh.json would not be valid ${when} of alpha: storages[${name === 'a' ? 0 : 1}].principal: is missing`,
      );
    await expect(check(VALID.replace('"beta","number":2', '"beta","number":1'))).rejects.toThrow(
      'mesh.json would not be valid before the switch of alpha: tenants[1].number: 1 is the number of',
    );
    const plain = JSON.stringify({ tenants: [{ name: 'alpha', number: 1 }] });
    await expect(check(plain)).rejects.toThrow('mesh.json would not be valid before the switch of alpha');
  });
});

test('a place is named with its storage, and two storages are two places', () => {
  expect(placeText({ number: 1 }, B)).toBe('number 1 in storage b');
  expect(isSamePlace(A, { storage: 'b' })).toBe(false);
});

describe('a tenant that cannot move to another storage', () => {
  const named = (name: string): { name: string; pd: Endpoint } => ({
    name,
    pd: new EtcdModel({ '/cluster': { id: '7' } }).endpoint,
  });

  test.each([
    [{ name: 'zero', number: 0 }, 'zero is tenant 0'],
    [
      { name: 'raw', number: 1, prefix: { text: 'x', mode: 'raw' as const } },
      'raw has a prefix or is for RawKV',
    ],
    [{ name: 'alpha', number: 1 }, 'storages a and b have the same PD'],
    [{ name: 'alpha', number: 1, movedFrom: { storage: 'c' } }, 'storage c hands alpha over'],
    [{ name: 'alpha', number: 1, movedFrom: 'b' }, 'storage b hands alpha over'],
    [
      { name: 'alpha', number: 1, move: { serial: 9, phase: 'prepare' }, movesTo: { storage: 'b' } },
      'alpha is being moved already, as the configuration says, at serial 9',
    ],
  ])('%o is refused', async (tenant, why) => {
    await expect(createBetween({ tenant, from: named('a'), to: named('b') })).rejects.toThrow(why);
  });
});

const ALPHA = { name: 'alpha', number: 1 };

describe('etcd of the target', () => {
  const put = (etcd: EtcdModel, all: Readonly<Record<string, string>>): Promise<unknown> =>
    putIfUnchanged(
      etcd.endpoint,
      [],
      Object.entries(all).map(([key, value]) => ({ key, value })),
    );

  test("gets the tenant's keys as they are, nothing of another one's, and the revision", async () => {
    const [source, target] = [new EtcdModel(), new EtcdModel()];
    await put(target, {
      '/tidb-mesh/alpha:/tidb/old': 'x',
      '/tidb-mesh/alpha:/tidb/same': '1',
      '/tidb-mesh/beta:/tidb/old': 'y',
    });
    for (let i = 0; i < 200; i++) await put(source, { '/tidb-mesh/alpha:/tidb/count': String(i) });
    await put(source, { '/tidb-mesh/alpha:/tidb/same': '1', '/tidb-mesh/gamma:/tidb/its': 'z' });
    await carryEtcd(source.endpoint, target.endpoint, ALPHA);
    const all = await entries(target.endpoint, '/tidb-mesh/');
    expect(Object.fromEntries(all.map(({ key, value }) => [key, value]))).toEqual({
      '/tidb-mesh/.revision': '',
      '/tidb-mesh/alpha:/tidb/count': '199',
      '/tidb-mesh/alpha:/tidb/same': '1',
      '/tidb-mesh/beta:/tidb/old': 'y',
    });
    const revision = async ({ endpoint }: EtcdModel): Promise<bigint> =>
      (await snapshot(endpoint, '/')).revision;
    expect(await revision(target)).toBeGreaterThanOrEqual(await revision(source));
    const before = await revision(target);
    await raiseRevision(source.endpoint, target.endpoint);
    expect(await revision(target)).toBe(before);
  });

  test('tells again of what has changed since before all was held, though it is the same', async () => {
    const [source, target] = [new EtcdModel(), new EtcdModel()];
    const [told, quiet] = ['/tidb-mesh/alpha:/tidb/privilege', '/tidb-mesh/alpha:/tidb/quiet'];
    await put(source, { [told]: '', [quiet]: '' });
    await carryEtcd(source.endpoint, target.endpoint, ALPHA);
    const before = await namesIn(source.endpoint, ALPHA.name);
    await put(source, { [told]: '' });
    const revisions = async (): Promise<bigint[]> =>
      (await entries(target.endpoint, '/tidb-mesh/alpha:')).map(({ revision }) => revision);
    const [tellsBefore, quietBefore] = await revisions();
    await carryEtcd(source.endpoint, target.endpoint, ALPHA, { before });
    const [tells, isQuiet] = await revisions();
    expect(tells).toBeGreaterThan(tellsBefore!);
    expect(isQuiet).toBe(quietBefore);
  });

  test('gets names and values byte by byte', async () => {
    const [source, target] = [new EtcdModel(), new EtcdModel()];
    const prefix = Buffer.from('/tidb-mesh/alpha:/');
    const key = Buffer.concat([prefix, Buffer.from('ff80', 'hex')]);
    const old = Buffer.concat([prefix, Buffer.from('ff81', 'hex')]);
    const value = Buffer.from('00c3fffe', 'hex');
    await putAll(source.endpoint, [{ key, value }]);
    await putAll(target.endpoint, [{ key: old, value }]);
    for (let i = 0; i < 2; i++) await carryEtcd(source.endpoint, target.endpoint, ALPHA);
    const all = await entries(target.endpoint, '/tidb-mesh/alpha:', 'latin1');
    expect(all.map((one) => [one.key, one.value])).toEqual([
      [key.toString('latin1'), value.toString('latin1')],
    ]);
  });

  test('tells of the last changes to whoever has watched the source until then', async () => {
    const [source, target] = [new EtcdModel(), new EtcdModel()];
    const count = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) await put(source, { '/other': String(i) });
    };
    await count();
    await raiseRevision(source.endpoint, target.endpoint);
    // Others go on writing before all is held.
    await count();
    const seen = (await snapshot(source.endpoint, '/')).revision;
    await put(source, { '/tidb-mesh/alpha:/tidb/privilege': 'new' });
    await carryEtcd(source.endpoint, target.endpoint, ALPHA);
    const [change] = await entries(target.endpoint, '/tidb-mesh/alpha:');
    expect(change?.revision).toBeGreaterThan(seen);
  });

  describe('and leases', () => {
    const FOLDER = '/tidb-mesh/alpha:/tidb';
    const SECONDS = 90n;
    /** As etcd has the lease of a tenant's client: `1 | number:15 | id:48`. */
    const leaseOf = (id: bigint, number = 1n): bigint =>
      BigInt.asIntN(64, (0x8000n << 48n) | (number << 48n) | id);
    const give = async (etcd: EtcdModel, key: string, lease: bigint, value = 'x'): Promise<void> => {
      await grantLease(etcd.endpoint, lease, SECONDS);
      await putAll(etcd.endpoint, [{ key: FOLDER + key, value, lease }]);
    };
    const leased = async ({ endpoint }: EtcdModel): Promise<Record<string, bigint>> => {
      const all = await entries(endpoint, FOLDER);
      return Object.fromEntries(
        all.filter(({ lease }) => lease !== 0n).map(({ key, lease }) => [key.slice(FOLDER.length), lease]),
      );
    };

    test('have the same ids and lifetimes, so that sessions go on', async () => {
      const [source, target] = [new EtcdModel(), new EtcdModel()];
      await give(source, '/server/info/one', leaseOf(7n));
      // Not of this tenant.
      await give(source, '/of-nobody', 5n);
      await give(source, '/of-another', leaseOf(7n, 2n));
      await carryEtcd(source.endpoint, target.endpoint, ALPHA);
      expect(await leased(target)).toEqual({ '/server/info/one': leaseOf(7n) });
      expect([...target.leases]).toEqual([[leaseOf(7n), SECONDS]]);
    });

    test('are kept alive while nobody can reach them, those of others not', async () => {
      const etcd = new EtcdModel();
      for (const lease of [leaseOf(7n), leaseOf(8n), leaseOf(7n, 2n), 5n])
        await grantLease(etcd.endpoint, lease, SECONDS);
      await keepLeases(etcd.endpoint, ALPHA);
      expect(etcd.kept).toEqual([leaseOf(7n), leaseOf(8n)]);
    });

    test('say what its TiDBs read, in the folder where garbage collection looks', async () => {
      const [source, target] = [new EtcdModel(), new EtcdModel()];
      const reads = '/tidb/server/minstartts/';
      const lease = leaseOf(7n);
      await give(source, '/server/info/one', lease);
      await putAll(source.endpoint, [
        { key: `${reads}alpha:one`, value: '450', lease },
        { key: `${reads}beta:one`, value: '1' },
        { key: `${reads}two`, value: '2' },
      ]);
      await grantLease(target.endpoint, leaseOf(6n), SECONDS);
      await putAll(target.endpoint, [
        { key: `${reads}alpha:old`, value: '3', lease: leaseOf(6n) },
        { key: `${reads}gamma:one`, value: '4' },
      ]);
      await carryEtcd(source.endpoint, target.endpoint, ALPHA);
      const found = await entries(target.endpoint, reads);
      expect(found.map((one) => [one.key.slice(reads.length), one.value, one.lease])).toEqual([
        ['alpha:one', '450', lease],
        ['gamma:one', '4', 0n],
      ]);
    });

    test('without keys come along as well: a client puts what it has just made', async () => {
      const [source, target] = [new EtcdModel(), new EtcdModel()];
      for (const lease of [leaseOf(7n), leaseOf(7n, 2n), 5n])
        await grantLease(source.endpoint, lease, SECONDS);
      for (const lease of [leaseOf(6n), leaseOf(6n, 2n)]) await grantLease(target.endpoint, lease, SECONDS);
      await carryEtcd(source.endpoint, target.endpoint, ALPHA);
      expect(new Set(target.leases.keys())).toEqual(new Set([leaseOf(7n), leaseOf(6n, 2n)]));
    });

    test('of many TiDBs take few transactions, and their elections go in order', async () => {
      const [source, target] = [new EtcdModel(), new EtcdModel()];
      for (let id = 1n; id <= 100n; id++) {
        const lease = leaseOf(id);
        for (const key of ['/server/info/', '/ddl/all_schema_versions/', '/topology/'])
          await give(source, `${key}tidb-${id}`, lease);
        await put(source, { [`/tidb-mesh/alpha:/plain/${id}`]: 'x' });
        await put(target, { [`/tidb-mesh/alpha:/gone/${id}`]: 'x' });
      }
      for (const id of [3n, 2n, 9n]) await give(source, `/owner/${id.toString(16)}`, leaseOf(id));
      await raiseRevision(source.endpoint, target.endpoint);
      const before = target.transactions;
      await carryEtcd(source.endpoint, target.endpoint, ALPHA);
      // Plain keys, those that are gone, 300 with leases, and three turns of an election.
      expect(target.transactions - before).toBe(1 + 1 + 3 + 3);
      const owners = [...(await entries(target.endpoint, `${FOLDER}/owner`))].sort((a, b) =>
        a.created < b.created ? -1 : 1,
      );
      expect(owners.map(({ key }) => key.at(-1))).toEqual(['3', '2', '9']);
    });

    test('keep the order in which an election goes', async () => {
      const [source, target] = [new EtcdModel(), new EtcdModel()];
      // The names say another order.
      for (const id of [9n, 3n, 5n]) await give(source, `/owner/${id.toString(16)}`, leaseOf(id));
      await carryEtcd(source.endpoint, target.endpoint, ALPHA);
      const created = (await entries(target.endpoint, FOLDER)).map(({ key, created: at }) => ({ key, at }));
      expect(created.sort((a, b) => (a.at < b.at ? -1 : 1)).map(({ key }) => key.at(-1))).toEqual([
        '9',
        '3',
        '5',
      ]);
      expect(new Set(created.map(({ at }) => at)).size).toBe(3);
    });

    test('of an earlier stay end, those of others stay, and the carrying can be done again', async () => {
      const [source, target] = [new EtcdModel(), new EtcdModel()];
      await give(source, '/server/info/one', leaseOf(7n), 'new');
      await give(target, '/server/info/one', leaseOf(7n), 'old');
      await give(target, '/owner/8', leaseOf(8n));
      await put(target, { [`${FOLDER}/was-plain`]: 'x' });
      await give(source, '/was-plain', leaseOf(7n));
      await grantLease(target.endpoint, leaseOf(7n, 2n), SECONDS);
      for (let i = 0; i < 2; i++) {
        await carryEtcd(source.endpoint, target.endpoint, ALPHA);
        expect(await leased(target)).toEqual({
          '/server/info/one': leaseOf(7n),
          '/was-plain': leaseOf(7n),
        });
        expect(new Set(target.leases.keys())).toEqual(new Set([leaseOf(7n), leaseOf(7n, 2n)]));
      }
      const [one] = await entries(target.endpoint, `${FOLDER}/server`);
      expect(one?.value).toBe('new');
    });

    test('that end while all is held end for those who wait in an election', async () => {
      const [source, target] = [new EtcdModel(), new EtcdModel()];
      await give(source, '/owner/7', leaseOf(7n));
      await give(source, '/owner/8', leaseOf(8n));
      await give(source, '/command/request', leaseOf(9n));
      const before = await entries(source.endpoint, FOLDER);
      source.leases.delete(leaseOf(7n));
      source.leases.delete(leaseOf(9n));
      await carryEtcd(source.endpoint, target.endpoint, ALPHA, { before });
      expect(await leased(target)).toEqual({ '/owner/8': leaseOf(8n) });
      expect(target.deleted).toEqual([`${FOLDER}/owner/7`]);
    });

    test("are changed only while the move is still this worker's", async () => {
      const [source, target] = [new EtcdModel(), new EtcdModel()];
      await give(source, '/server/info/one', leaseOf(7n));
      await give(target, '/server/info/one', leaseOf(7n), 'serves');
      const isMine = (): Promise<void> => Promise.reject(new Error('another worker has it'));
      await expect(carryEtcd(source.endpoint, target.endpoint, ALPHA, { isMine })).rejects.toThrow(
        'another worker',
      );
      const [one] = await entries(target.endpoint, FOLDER);
      expect(one?.value).toBe('serves');
    });
  });
});
