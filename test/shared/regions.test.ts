import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Caller, type Answer } from '../e2e/support/caller.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { memcomparable, rowKey } from '../harness/support/keys.ts';
import type { Fields } from '../harness/support/messages.ts';

/* PD's regions, called as a program of a tenant would that wants to see or move a neighbour's. Regions are split at the boundaries of tenants. */
const TABLE = 100;
const NAMES = ['alpha', 'beta'] as const;
type Name = (typeof NAMES)[number];
const REGION_NOT_FOUND = 6;
/** Long enough for the filter to have asked PD whose region it is. */
const TRIES = 20;
const PAUSE = 250;

let stack: Stack;
const callers = {} as Record<Name, Caller>;
const regions = {} as Record<Name, bigint>;
let header: Fields;

beforeAll(async () => {
  stack = await startStack({ startTidbs: false, boundaries: true });
  for (const name of NAMES) {
    callers[name] = await Caller.of(stack, name);
    regions[name] = (await callers[name].regionOf(rowKey(TABLE, 1))).id;
  }
  header = await callers.alpha.header();
});
afterAll(async () => {
  await stack?.stop();
});

/** Ids of the regions in an answer to ScanRegions. */
function idsOf(answer: Answer): bigint[] {
  return (answer.fields!['regions'] as Fields[]).map(({ region }) => region.id as bigint);
}

const scan = (fields: Fields, tenant: Name = 'alpha'): Promise<Answer> =>
  callers[tenant].pd('ScanRegions', { header, ...fields });

describe('regions', () => {
  test('are different ones for each tenant, and cover all of its keys', async () => {
    const seen = await Promise.all(NAMES.map((name) => callers[name].regions()));
    for (const all of seen) {
      expect(all[0]!.start).toHaveLength(0);
      expect(all.at(-1)!.end).toHaveLength(0);
      for (const [i, region] of all.entries()) if (i > 0) expect(region.start).toEqual(all[i - 1]!.end);
    }
    const [alpha, beta] = seen.map((all) => all.map(({ id }) => id));
    expect(alpha!.filter((id) => beta!.includes(id))).toEqual([]);
  });

  test.each([1, 2, 3, 1024, 0])('a limit of %i counts no foreign ones', async (limit) => {
    const all = (await callers.alpha.regions()).map(({ id }) => id);
    const wanted = limit === 0 ? all : all.slice(0, limit);
    expect(idsOf(await scan({ limit }))).toEqual(wanted);
    // From the last key on: the regions behind it are others'.
    const last = memcomparable(rowKey(TABLE, 1));
    const behind = idsOf(await scan({ startKey: last, limit }));
    expect(behind).toEqual(all.slice(all.indexOf(regions.alpha)).slice(0, limit || undefined));
  });

  test('the old lists beside the regions are left out', async () => {
    const { fields, bytes } = await scan({ limit: 1024 });
    expect(fields!['regionMetas']).toEqual([]);
    expect(fields!['leaders']).toEqual([]);
    const beta = rowKey(0, 0, 2).subarray(0, 3).toString('hex');
    expect(bytes.toString('hex')).not.toContain(beta);
  });

  test('every key lies in the region that is shown for it, also behind the last key of all', async () => {
    const all = await callers.alpha.regions();
    const texts = [
      '',
      '00',
      '6d',
      '74',
      '7480',
      '748000ffffffffffff',
      '748001',
      '74c0',
      '74c000000000000001',
    ];
    texts.push('75', '7a', 'ff', 'ffffffffffffffffff');
    const keys: Buffer[] = texts.map((text) => Buffer.from(text, 'hex'));
    keys.push(rowKey(TABLE, 1), rowKey(TABLE, 2, 1));
    for (const key of keys) {
      const wanted = all.find(
        ({ start, end }) =>
          Buffer.compare(start, key) <= 0 && (end.length === 0 || Buffer.compare(key, end) < 0),
      )!;
      const form = memcomparable(key);
      const { id, start, end } = await callers.alpha.regionOf(key);
      expect([key.toString('hex'), id, start, end]).toEqual([
        key.toString('hex'),
        wanted.id,
        wanted.start,
        wanted.end,
      ]);
      expect(idsOf(await scan({ startKey: form, limit: 1 }))).toEqual([wanted.id]);
      const path = `/pd/api/v1/region/key/${[...form].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')}`;
      const overHttp = await callers.alpha.http(path);
      expect([overHttp.status, BigInt((JSON.parse(overHttp.body) as { id: number }).id)]).toEqual([
        200,
        wanted.id,
      ]);
    }
    // Bytes that are no encoded key have a place as well.
    for (const key of ['74c0', '75', '7a', 'ff'].map((text) => Buffer.from(text, 'hex'))) {
      const { fields } = await callers.alpha.pd('GetRegion', { header, regionKey: key });
      expect((fields!['region'] as Fields)['id']).toBe(all.at(-1)!.id);
    }
  });

  test('before the first one there is none, before the second the first', async () => {
    const before = async (key: Uint8Array): Promise<Fields | undefined> => {
      const types: [string, string] = ['pdpb.GetRegionRequest', 'pdpb.GetRegionResponse'];
      const answer = await callers.alpha.pdService('pdpb.PD/GetPrevRegion', types, {
        header,
        regionKey: key,
      });
      expect(answer.status).toBe('OK');
      return answer.fields!['region'] as Fields | undefined;
    };
    const [first, second] = await callers.alpha.regions();
    expect(await before(Buffer.alloc(0))).toBeUndefined();
    expect(await before(memcomparable(Buffer.from('m')))).toBeUndefined();
    if (second) expect((await before(memcomparable(second.start)))?.['id']).toBe(first!.id);
  });

  test('several ranges at once stay inside', async () => {
    const answer = await callers.alpha.pd('BatchScanRegions', {
      header,
      ranges: [{}, { startKey: memcomparable(rowKey(TABLE, 1)) }],
      limit: 1024,
      containAllKeyRange: true,
    });
    // The PD of this stack may be older than the method.
    if (answer.status === 'UNIMPLEMENTED') {
      process.stderr.write('skipped: this PD has no BatchScanRegions\n');
      return;
    }
    expect(answer.status).toBe('OK');
    const all = (await callers.alpha.regions()).map(({ id }) => id);
    expect(idsOf(answer).every((id) => all.includes(id))).toBe(true);
  });

  test('by id: its own is shown, a foreign one is as if it were not there', async () => {
    const ask = (tenant: Name): Promise<Answer> =>
      callers[tenant].pd('GetRegionByID', { header, regionId: regions.alpha }, {}, 'GetRegion');
    expect((await ask('alpha')).fields!['region'].id).toBe(regions.alpha);
    const foreign = await ask('beta');
    expect(foreign.status).toBe('OK');
    expect(foreign.fields!['region']).toBeUndefined();
  });
});

describe('operators', () => {
  const operator = (tenant: Name, regionId: bigint): Promise<Answer> =>
    callers[tenant].pd('GetOperator', { header, regionId });

  beforeAll(async () => {
    for (const name of NAMES) {
      const made = await fetch(`${stack.pd.directUrl}/pd/api/v1/operators`, {
        method: 'POST',
        body: JSON.stringify({
          name: 'split-region',
          region_id: Number(regions[name]),
          policy: 'usekey',
          keys: [memcomparable(rowKey(TABLE, 7, name === 'alpha' ? 1 : 2)).toString('hex')],
        }),
      });
      expect([made.status, await made.text()]).toEqual([200, expect.any(String)]);
    }
  });

  test("a tenant sees those of its own regions, and not a neighbour's", async () => {
    let own = await operator('alpha', regions.alpha);
    for (let i = 0; i < TRIES && own.fields?.['regionId'] !== regions.alpha; i++) {
      await sleep(PAUSE);
      own = await operator('alpha', regions.alpha);
    }
    expect(own.fields!['regionId']).toBe(regions.alpha);
    expect(Buffer.from(own.fields!['desc'] as Uint8Array).toString()).toContain('split');
    for (let i = 0; i < 4; i++) {
      const foreign = await operator('alpha', regions.beta);
      expect(foreign.fields!['header'].error.type).toBe(REGION_NOT_FOUND);
      expect(foreign.fields!['desc']).toHaveLength(0);
      await sleep(PAUSE);
    }
  });

  test("no tenant scatters a neighbour's", async () => {
    for (let i = 0; i < 4; i++) {
      const { fields } = await callers.alpha.pd('ScatterRegion', {
        header,
        regionId: regions.beta,
        regionsId: [regions.beta],
      });
      const { error } = fields!['header'] as Fields;
      expect(error).toBeDefined();
      await sleep(PAUSE);
    }
  });
});

describe('settings of all', () => {
  test.each(['StoreGlobalConfig', 'SetExternalTimestamp'])('%s is for its owner', async (method) => {
    // Their messages are not read, so proto/ does not have them.
    const answer = await callers.alpha.pdService(
      `pdpb.PD/${method}`,
      ['pdpb.LoadGlobalConfigRequest', 'pdpb.LoadGlobalConfigResponse'],
      {},
    );
    expect([answer.status, answer.message]).toEqual(['PERMISSION_DENIED', expect.stringMatching(/owner/)]);
  });

  test.each(['/pd/', '/tidb/', 'resource_group/settings', '/global/config/../../pd/', '/global/config'])(
    'no configuration is read at %s',
    async (configPath) => {
      for (const method of ['LoadGlobalConfig', 'WatchGlobalConfig'])
        expect((await callers.alpha.pd(method, { configPath })).status).toBe('PERMISSION_DENIED');
    },
  );

  test('names lead out of no path', async () => {
    for (const name of ['../../pd/1', '..', '.', '/pd'])
      expect((await callers.alpha.pd('LoadGlobalConfig', { names: [name] })).status).toBe(
        'PERMISSION_DENIED',
      );
    expect((await callers.alpha.pd('LoadGlobalConfig', { names: ['default'] })).status).toBe('OK');
  });
});
