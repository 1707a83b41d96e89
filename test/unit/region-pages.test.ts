/** PD is asked for regions in pages: the answer for a hundred thousand at once stops a worker for seconds. */
import { expect, test } from '@jest/globals';
import { highestEpoch } from '../../src-ts/move/engine/space.ts';
import { keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { regionsIn } from '../../src-ts/pd/regions.ts';

const COUNT = 1300;
const space = keySpaceOf({ name: 'a', number: 1 });

/** A PD whose regions cut the key space of the tenant. */
function pdOf(): { pd: Endpoint; limits: number[] } {
  const limits: number[] = [];
  const boundary = (i: number): string => {
    if (i === 0 || i === COUNT) return '';
    return space.toPd(space.encode(Buffer.from(`t${String(i).padStart(6, '0')}`))!).toString('hex');
  };
  const regions = Array.from({ length: COUNT }, (_, i) => ({
    id: i + 1,
    start_key: boundary(i),
    end_key: boundary(i + 1),
    epoch: { conf_ver: 1, version: i === 700 ? 999 : 2 },
  }));
  const http = async (_: string, path: string): Promise<unknown> => {
    const query = new URL(path, 'http://pd').search;
    const key = (/[?&]key=([^&]*)/.exec(query)?.[1] ?? '').replaceAll('%', '');
    const limit = Number(/limit=(-?\d+)/.exec(query)?.[1]);
    limits.push(limit);
    const behind = regions.filter(({ end_key: end }) => end === '' || end > key);
    return { regions: limit < 0 ? behind : behind.slice(0, limit) };
  };
  return { pd: { http } as unknown as Endpoint, limits };
}

test('all regions are found, in order, each once', async () => {
  const { pd, limits } = pdOf();
  const all = await regionsIn(pd, Buffer.alloc(0), Buffer.alloc(0));
  expect(all.map(({ id }) => id)).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1));
  for (const limit of limits) expect(limit > 0 && limit < COUNT).toBe(true);
});

test('their highest version is found in any page', async () => {
  const { pd } = pdOf();
  expect(await highestEpoch({ storage: new Storage(pd), space })).toEqual({ version: 999, confVer: 1 });
});
