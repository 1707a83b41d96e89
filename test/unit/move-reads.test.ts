/** A move between two PDs: garbage collection at each keeps what the tenant still reads at the other one. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Engine } from '../../src-ts/move/engine/engine.ts';
import { makeEngine } from '../../src-ts/move/engine/engine-of.ts';
import { carryServices, dropServices, type ServiceSide } from '../../src-ts/move/engine/reads.ts';
import type { MoveRecord } from '../../src-ts/move/record.ts';
import { placeAtTarget } from '../../src-ts/move/steps/target-place.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { putAll } from '../../src-ts/pd/etcd.ts';
import { EtcdModel } from '../harness/support/etcd-model.ts';
import { moveRecord } from '../harness/support/move-record.ts';

const MOVE = 'tidb-mesh/move/alpha';
const DAY_S = 86_400;
const nowS = (): number => Math.floor(Date.now() / 1000);

interface Asked {
  readonly serviceId: Uint8Array;
  readonly safePoint: bigint;
  readonly TTL: bigint;
}

/** A PD with the service safe points of pkg/gc/safepoint.go. */
class GcModel {
  readonly etcd = new EtcdModel();
  readonly services = new Map<string, { safePoint: bigint; expiresAt: bigint }>([
    ['gc_worker', { safePoint: 0n, expiresAt: (1n << 63n) - 1n }],
  ]);
  safePoint = 0n;

  constructor(readonly id: string) {}

  http = async (method: string, path: string): Promise<unknown> => {
    if (path.endsWith('/cluster')) return { id: this.id };
    if (!path.endsWith('/gc/safepoint')) return method === 'GET' ? [] : 'ok';
    const all = [...this.services].map(([service_id, { safePoint, expiresAt }]) => ({
      service_id,
      safe_point: String(safePoint),
      expired_at: String(expiresAt),
    }));
    return { gc_safe_point: String(this.safePoint), service_gc_safe_points: all };
  };

  grpc = async (method: { path: string }, fields: never): Promise<unknown> => {
    if (method.path.endsWith('/Tso')) return { timestamp: { physical: 1_700_000_000_000n, logical: 0n } };
    if (!method.path.endsWith('/UpdateServiceGCSafePoint'))
      return this.etcd.endpoint.grpc(method as never, fields);
    const { serviceId, safePoint, TTL } = fields as Asked;
    const service = Buffer.from(serviceId).toString();
    if (TTL <= 0n) this.services.delete(service);
    else if (safePoint >= this.lowest)
      this.services.set(service, { safePoint, expiresAt: BigInt(nowS()) + TTL });
    return { minSafePoint: this.lowest };
  };

  get lowest(): bigint {
    return [...this.services.values()].map((one) => one.safePoint).reduce((a, b) => (a < b ? a : b));
  }

  since(service = MOVE): bigint | undefined {
    return this.services.get(service)?.safePoint;
  }

  give(service: string, safePoint: bigint, seconds = DAY_S): void {
    this.services.set(service, { safePoint, expiresAt: BigInt(nowS() + seconds) });
  }

  /** What a TiDB says that it reads. */
  reads(tidb: string, start: bigint): Promise<void> {
    const key = `/tidb/server/minstartts/${tidb}`;
    return putAll(this.etcd.endpoint, [{ key, value: String(start) }]);
  }

  readonly side: ServiceSide = {
    pd: { http: this.http, grpc: this.grpc } as unknown as Endpoint,
    clusterId: async () => 7n,
  };
}

/** The tenant is served at a, and moves to b. */
let a: GcModel;
let b: GcModel;
const own = Object.getOwnPropertyDescriptors(Endpoint.prototype);

beforeEach(() => {
  [a, b] = [new GcModel('7001'), new GcModel('7002')];
  const at = ({ url }: Endpoint): GcModel => (url.hostname === 'a' ? a : b);
  Object.assign(Endpoint.prototype, {
    async http(this: Endpoint, ...asked: [string, string]) {
      return at(this).http(...asked);
    },
    async grpc(this: Endpoint, ...asked: [never, never]) {
      return at(this).grpc(...asked);
    },
  });
});
afterEach(() => void Object.defineProperties(Endpoint.prototype, own));

/** What is followed has been carried over up to here. */
const CARRIED = 900n;

function engineOf(fields: Partial<MoveRecord> = {}): Engine {
  const record = moveRecord({
    number: 7,
    state: 'following',
    home: 'b',
    pdIds: { home: '7002', other: '7001' },
    from: { storage: 'a' },
    to: { storage: 'b', readableSince: '300' },
    switches: 0,
    progress: { follow: { spans: [{ start: '', end: '', checkpoint: String(CARRIED) }] } },
    ...fields,
  });
  return makeEngine({ pd: 'http://b:2379' }, record, new Map([['a', { pd: 'http://a:2379' }]]));
}
const renew = (fields?: Partial<MoveRecord>): Promise<void> => engineOf(fields).renew();
const kept = (): unknown[] => [a.since(), b.since()];

describe('while a move follows, the target keeps', () => {
  test('what the feed needs', async () => {
    await renew();
    expect(kept()).toEqual([CARRIED, CARRIED]);
  });

  test("what the tenant's oldest transaction reads, and nothing for others", async () => {
    await a.reads('alpha:one', 700n);
    await a.reads('alpha:two', 500n);
    await a.reads('alpha:idle', 0n);
    await a.reads('beta:one', 400n);
    await a.reads('of-the-layer', 350n);
    await renew();
    expect(kept()).toEqual([499n, 499n]);
    // The transaction has ended.
    await a.reads('alpha:two', 800n);
    await renew();
    expect(kept()).toEqual([699n, 699n]);
  });

  test('what its changefeeds and dumps read', async () => {
    a.give('tidb-mesh:alpha:ticdc', 600n);
    a.give('tidb-mesh:alpha:dumpling', 400n, -1);
    a.give('tidb-mesh:beta:ticdc', 350n);
    await renew();
    expect(kept()).toEqual([600n, 600n]);
  });

  test('nothing from before its copy', async () => {
    await a.reads('alpha:one', 200n);
    await renew();
    expect(kept()).toEqual([199n, 300n]);
    // The old place has all.
    await renew({ to: { storage: 'b' }, switches: 2 });
    expect(kept()).toEqual([199n, 199n]);
  });

  test('as much as it has, where garbage collection is ahead', async () => {
    b.give('gc_worker', 550n);
    await a.reads('alpha:one', 500n);
    await renew();
    expect(kept()).toEqual([499n, 550n]);
    // A changefeed at b is ahead of its collector.
    b.give('gc_worker', 560n);
    await renew();
    expect(b.since()).toBe(550n);
  });

  test('what it has kept, while the source does not answer', async () => {
    await a.reads('alpha:one', 500n);
    await renew();
    a.http = () => Promise.reject(new Error('no answer'));
    b.give(MOVE, 499n, 10);
    await expect(renew()).rejects.toThrow('no answer');
    expect(b.since()).toBe(499n);
    expect(b.services.get(MOVE)?.expiresAt).toBeGreaterThan(BigInt(nowS() + 60));
  });

  test('what the copy reads, as long as it copies', async () => {
    await a.reads('alpha:one', 200n);
    await renew({ state: 'copying', progress: { copied: { since: '250' } }, to: { storage: 'b' } });
    expect(kept()).toEqual([250n, 250n]);
  });

  test('nothing more in a move within one storage layer, whose collector knows of the tenant', async () => {
    await b.reads('alpha:one', 200n);
    await renew({ from: {}, to: { keyNumber: 9 }, home: undefined, pdIds: { home: '7002' } } as object);
    expect(kept()).toEqual([undefined, CARRIED]);
  });

  test('the same for longer than its TiDBs need to tell the new PD', async () => {
    // After a switch to b.
    const record: Partial<MoveRecord> = { from: { storage: 'b' }, to: { storage: 'a' }, switches: 1 };
    const switched = (at: number): Partial<MoveRecord> => ({
      ...record,
      history: [{ at, writesHeldMs: 1, allHeldMs: 1, fence: '880' }],
    });
    b.give(MOVE, 499n);
    await renew(switched(Date.now() - 60_000));
    expect(kept()).toEqual([499n, 499n]);
    await b.reads('alpha:one', 600n);
    await renew(switched(Date.now() - 180_000));
    expect(kept()).toEqual([599n, 599n]);
  });
});

describe('from a switch on, the place that serves keeps', () => {
  test('what it has kept for the tenant, beside what a way back needs', async () => {
    await a.reads('alpha:one', 500n);
    await renew();
    await engineOf({ state: 'committing' }).keepWayBack(910n);
    expect(b.since()).toBe(499n);
  });

  test('what a way back needs, after a long time without a worker', async () => {
    await engineOf({ state: 'committing' }).keepWayBack(910n);
    expect(b.since()).toBe(910n);
    b.services.clear();
    b.give('gc_worker', 950n);
    await expect(engineOf({ state: 'committing' }).keepWayBack(910n)).rejects.toThrow(
      'has collected garbage',
    );
  });
});

describe('what the target has collected', () => {
  const SAVED = '/tidb/store/gcworker/saved_safe_point';

  test.each([
    ['nothing', '0', 0n, 300n],
    ['less than the copy is old', '200', 100n, 300n],
    ['more, as TiDB says', '700', 100n, 700n],
    ['more, as PD says', '200', 600n, 600n],
  ])('%s', async (_, saved, safePoint, expected) => {
    await putAll(b.etcd.endpoint, [{ key: SAVED, value: saved }]);
    await putAll(a.etcd.endpoint, [{ key: SAVED, value: '999' }]);
    b.safePoint = safePoint;
    // It asks for this, and waits for who needs less.
    b.give('gc_worker', 800n);
    expect(await engineOf().readableAtTarget()).toBe(expected);
  });

  test('is not readable for the tenant from the switch on', async () => {
    const record = moveRecord({ from: { storage: 'a' }, to: { storage: 'b', readableSince: '300' } });
    b.safePoint = 600n;
    const place = await placeAtTarget(record, engineOf(), { version: 1, confVer: 1 }, 999n);
    expect(place).toMatchObject({ storage: 'b', readableSince: '600', latestSeen: '999' });
    expect(await engineOf({ from: {}, to: { keyNumber: 9 } }).readableAtTarget()).toBeUndefined();
  });
});

describe("the tenant's service safe points", () => {
  test('come along for the rest of their time, and those of an earlier stay go', async () => {
    a.give('tidb-mesh:alpha:ticdc', 600n, 1000);
    a.give('tidb-mesh:alpha:over', 600n, -1);
    a.give('tidb-mesh:beta:ticdc', 500n);
    b.give('tidb-mesh:alpha:dumpling', 100n);
    b.give('tidb-mesh:beta:ticdc', 200n);
    b.give(MOVE, 550n);
    await carryServices(a.side, b.side, 'alpha');
    expect(new Set(b.services.keys())).toEqual(
      new Set(['gc_worker', 'tidb-mesh:alpha:ticdc', 'tidb-mesh:beta:ticdc', MOVE]),
    );
    const { safePoint, expiresAt } = b.services.get('tidb-mesh:alpha:ticdc')!;
    expect(safePoint).toBe(600n);
    expect(Math.abs(Number(expiresAt) - nowS() - 1000)).toBeLessThan(10);
    await dropServices(b.side, 'alpha');
    expect(new Set(b.services.keys())).toEqual(new Set(['gc_worker', 'tidb-mesh:beta:ticdc', MOVE]));
  });

  test('stay behind where garbage collection has passed them', async () => {
    a.give('tidb-mesh:alpha:ticdc', 600n);
    b.give('gc_worker', 700n);
    await carryServices(a.side, b.side, 'alpha');
    expect([...b.services.keys()]).toEqual(['gc_worker']);
  });

  test('go with the other names at a switch, and at the end of the move', async () => {
    a.give('tidb-mesh:alpha:ticdc', 600n);
    await a.reads('alpha:one', 700n);
    await engineOf().carryNames(new AbortController().signal);
    expect(b.since('tidb-mesh:alpha:ticdc')).toBe(600n);
    a.give(MOVE, 500n);
    await engineOf({ from: { storage: 'b' }, to: { storage: 'a' }, switches: 1 }).release();
    expect([a, b].map(({ services }) => [...services.keys()])).toEqual([
      ['gc_worker'],
      ['gc_worker', 'tidb-mesh:alpha:ticdc'],
    ]);
  });
});
