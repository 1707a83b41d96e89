/** What `move diff` says of both sides of a move, at stores that are small models. The stores' checksums are in test/shared/move.test.ts. */
import { describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { diff, type DiffResult } from '../../src-ts/move/engine/diff.ts';
import { keySpaceOf, type MoveSpace } from '../../src-ts/move/engine/key-space.ts';
import { diffService, whileKept } from '../../src-ts/move/engine/space.ts';
import type { Side, Storage } from '../../src-ts/move/engine/storage.ts';
import { tableIds } from '../../src-ts/move/engine/table-names.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { holders } from '../../src-ts/tenants/holders.ts';
import { memcomparable } from '../../src-ts/tenants/tenant.ts';
import { rowKey } from '../harness/support/keys.ts';
import { PdModel } from '../harness/support/pd-model.ts';

const [source, target] = [1, 5].map((number) => keySpaceOf({ name: 'a', number })) as [MoveSpace, MoveSpace];

/** A side with these logical keys. It computes no checksums, so keys are compared. */
function sideOf(space: MoveSpace, keys: ReadonlyMap<string, string>, isBroken = false): Side {
  const pairs = [...keys]
    .map(([key, value]) => ({ key: space.encode(Buffer.from(key, 'hex'))!, value: Buffer.from(value) }))
    .sort((a, b) => Buffer.compare(a.key, b.key));
  const ask = async ({ path }: { path: string }, fields: Record<string, unknown>): Promise<object> => {
    if (!path.endsWith('/KvScan')) return { otherError: 'no checksums here' };
    const { startKey, endKey, limit } = fields as { startKey: Buffer; endKey: Buffer; limit: number };
    if (isBroken && space.decode(startKey)?.[0] === META) throw new Error('cannot be read');
    const isIn = ({ key }: { key: Buffer }): boolean =>
      Buffer.compare(key, startKey) >= 0 && Buffer.compare(key, endKey) < 0;
    return { pairs: pairs.filter(isIn).slice(0, limit) };
  };
  const storage = {
    regions: async () => [],
    ask,
    atRegion: async (_: unknown, __: unknown, act: (at: object) => Promise<{ value: unknown }>) =>
      (await act({ start: space.start, end: space.end, context: {} })).value,
  } as unknown as Storage;
  return { storage, space };
}

const META = 'm'.charCodeAt(0);

/** As TiDB writes a field of a hash (pkg/structure/type.go). */
function field(hash: string, name: string): string {
  const type = Buffer.from('0000000000000068', 'hex');
  return Buffer.concat([
    Buffer.from('m'),
    memcomparable(Buffer.from(hash)),
    type,
    memcomparable(Buffer.from(name)),
  ]).toString('hex');
}

const row = (table: number, handle: number): string => rowKey(table, handle).toString('hex');

/** Table 104, and 106 with the partitions 107 and 108, of which the last one goes; a counter that is no table. */
const SCHEMA: readonly (readonly [string, string])[] = [
  [field('DBs', 'DB:2'), JSON.stringify({ id: 2, db_name: { O: 'test' } })],
  [field('DB:2', 'Table:104'), JSON.stringify({ id: 104, name: { O: 'plain' } })],
  [
    field('DB:2', 'Table:106'),
    JSON.stringify({
      id: 106,
      partition: { definitions: [{ id: 107 }], dropping_definitions: [{ id: 108 }] },
    }),
  ],
  [field('DB:2', 'TID:104'), '120'],
];

async function compared(
  surplus: readonly string[],
  { isBroken = false, missing = [] as readonly string[] } = {},
): Promise<DiffResult> {
  const both = [...SCHEMA, [row(104, 1), 'one'] as const];
  const a = sideOf(source, new Map([...both, ...missing.map((key) => [key, 'x'] as const)]), isBroken);
  const b = sideOf(target, new Map([...both, ...surplus.map((key) => [key, 'x'] as const)]));
  const knownIds = (): Promise<ReadonlySet<string>> => tableIds(a, 9n);
  return diff({ source: a, target: b, ts: 9n, throttle: new Throttle(), knownIds });
}

describe('keys that only the target has', () => {
  test('are counted apart when their tables were dropped, however many there are', async () => {
    const dropped = [110, 111].flatMap((table) => Array.from({ length: 300 }, (_, i) => row(table, i)));
    expect(await compared(dropped)).toMatchObject({
      differences: [],
      isCut: false,
      dropped: { keys: 600, tableIds: ['110', '111'] },
    });
  });

  test.each([
    ['of a table', row(104, 2)],
    ['of a partition', row(107, 2)],
    ['of a partition that goes', row(108, 2)],
    ['of the schema', field('DB:2', 'Table:105')],
    ['of no table', '6e'],
  ])('are a difference: %s', async (_, key) => {
    const { differences, dropped } = await compared([key, row(110, 1)]);
    expect(differences).toMatchObject([{ key, what: 'only at the target' }]);
    expect(dropped).toEqual({ keys: 1, tableIds: ['110'] });
  });

  test('are a difference when the schema cannot be read', async () => {
    const a = sideOf(source, new Map([[row(104, 1), 'one']]), true);
    const b = sideOf(
      target,
      new Map([
        [row(110, 1), 'x'],
        [row(104, 1), 'one'],
      ]),
    );
    const knownIds = (): Promise<ReadonlySet<string>> => Promise.reject(new Error('no'));
    const found = await diff({ source: a, target: b, ts: 9n, throttle: new Throttle(), knownIds }).catch(
      String,
    );
    expect(found).toMatchObject({ differences: [{ tableId: '110' }], dropped: { keys: 0 } });
    await expect(tableIds(sideOf(source, new Map()), 9n)).rejects.toThrow('the databases are not known');
  });

  test('are no excuse for those that the target lacks', async () => {
    const { differences } = await compared([], { missing: [row(110, 1)] });
    expect(differences).toMatchObject([{ tableId: '110', what: 'missing at the target' }]);
  });
});

/** PD's service safe points: its lowest one, and what it has been asked. */
class Points {
  lowest = 5n;
  readonly asked: string[] = [];
  /** It does not answer. */
  isAway = false;

  constructor(readonly name: string) {}

  readonly storage = {
    clusterId: async () => 1n,
    pd: {
      grpc: async (_: unknown, { TTL, safePoint }: { TTL: bigint; safePoint: bigint }) => {
        this.asked.push(TTL === 0n ? 'released' : 'kept');
        if (this.isAway) throw new Error('away');
        return { minSafePoint: TTL > 0n && safePoint >= this.lowest ? safePoint : this.lowest };
      },
    },
  } as unknown as Storage;
}

describe('what is compared', () => {
  const RENEW_MS = 10;
  const both = (): [Points, Points] => [new Points('a'), new Points('b')];
  const kept = <T>(points: readonly Points[], act: (signal: AbortSignal) => Promise<T>): Promise<T> =>
    whileKept(
      points.map(({ storage }) => storage),
      diffService('alpha'),
      9n,
      act,
      RENEW_MS,
    );

  test('is kept at both sides from before it is read, as long as it takes, and no longer', async () => {
    const points = both();
    await kept(points, async () => {
      expect(points.map(({ asked }) => asked)).toEqual([['kept'], ['kept']]);
      while (points.some(({ asked }) => asked.length < 4)) await sleep(5);
    });
    for (const { asked } of points) {
      expect(asked.at(-1)).toBe('released');
      expect(new Set(asked.slice(0, -1))).toEqual(new Set(['kept']));
    }
    const count = points[0].asked.length;
    await sleep(60);
    expect(points[0].asked).toHaveLength(count);
  });

  test('is not read when garbage collection has passed it at one side', async () => {
    const points = both();
    points[1].lowest = 10n;
    let isRead = false;
    await expect(kept(points, async () => void (isRead = true))).rejects.toThrow(
      'garbage collection has passed the time that is compared, 1970',
    );
    expect(isRead).toBe(false);
    expect(points.map(({ asked }) => asked.at(-1))).toEqual(['released', 'released']);
  });

  test('is refused when that happens meanwhile, and reading ends', async () => {
    const points = both();
    const result = kept(points, async (signal) => {
      points[1].lowest = 10n;
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw new Error('ended');
    });
    await expect(result).rejects.toThrow('garbage collection has passed the time that is compared');
  });

  test('is refused when that has happened while PD was away', async () => {
    const points = both();
    const result = kept(points, async () => {
      points[0].isAway = true;
      await sleep(30);
      points[0].isAway = false;
      points[0].lowest = 10n;
      return 'equal';
    });
    await expect(result).rejects.toThrow('garbage collection has passed the time that is compared');
  });

  test('says who keeps it, and of which tenant', async () => {
    const pd = new PdModel();
    const service = diffService('alpha');
    pd.services = [{ service_id: service, safe_point: '4194304', expired_at: 2e10 }];
    expect(await holders(pd.endpoint)).toMatchObject([{ kind: 'diff', tenant: 'alpha', id: service }]);
    expect(diffService('alpha')).not.toBe(service);
  });
});
