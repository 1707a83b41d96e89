/** `tidb-mesh tenants add`, `empty` and `remove`, and `doctor`, against a model of PD and a store: what belongs to another stays. */
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { CommandError } from '../../src-ts/errors.ts';
import { save, type MoveRecord } from '../../src-ts/move/record.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { putIfUnchanged } from '../../src-ts/pd/etcd.ts';
import { addTenant } from '../../src-ts/tenants/add.ts';
import { checkAdoption } from '../../src-ts/tenants/adopt.ts';
import { examine, type DoctorOptions } from '../../src-ts/tenants/doctor.ts';
import { listTenants } from '../../src-ts/tenants/list.ts';
import { registered, ruleOf } from '../../src-ts/tenants/registry.ts';
import { emptyTenant, removeTenant } from '../../src-ts/tenants/remove.ts';
import { memcomparable, type Tenant } from '../../src-ts/tenants/tenant.ts';
import { tablePrefix } from '../harness/support/keys.ts';
import { PdModel } from '../harness/support/pd-model.ts';
import { moveRecord } from '../harness/support/move-record.ts';

let pd: PdModel;
const tell = (): void => undefined;

const rowOf = (number: number): string =>
  memcomparable(Buffer.concat([tablePrefix(100, number), Buffer.from('_r1')])).toString('latin1');

const add = (tenant: Tenant): void => {
  pd.rules.push(ruleOf(tenant));
  pd.groups.add(`${tenant.number}:default`);
};

async function outcome(act: Promise<unknown>): Promise<string> {
  try {
    return JSON.stringify(await act);
  } catch (error) {
    const { code, message, hint } = error as CommandError;
    return `${code}: ${message} → ${hint}`;
  }
}

const ruleIds = (): string[] => pd.rules.map(({ id }) => id);
const destroys = (): string[] => pd.calls.filter((call) => /Destroy|DeleteRange/.test(call));

beforeEach(() => {
  pd = new PdModel();
});

async function move(fields: Partial<MoveRecord> = {}): Promise<void> {
  const record = moveRecord(fields);
  await save(pd.endpoint, { record, revision: 0n });
  pd.rules.push({ ...ruleOf({ name: 'alpha', number: 1, keyNumber: 5 }), id: 'tidb-mesh/alpha.move' });
}

describe('two tenants with the same keys', () => {
  beforeEach(() => {
    add({ name: 'alpha', number: 1 });
    pd.rules.push(ruleOf({ name: 'twin', number: 1 }));
    pd.keys.add(rowOf(1));
    pd.groups.add('1:app');
  });

  test.each(['twin', 'alpha'])('empty %s destroys nothing', async (name) => {
    expect(await outcome(emptyTenant(pd.endpoint, name, tell))).toMatch(
      /REFUSED: (alpha|twin) has the same keys as (twin|alpha); nothing was changed → .*tenants remove/,
    );
    expect([pd.keys.size, [...pd.groups], destroys()]).toEqual([1, ['1:default', '1:app'], []]);
  });

  test.each([['with'], ['without']])('remove takes one rule, %s keys of the other', async (which) => {
    if (which === 'without') pd.keys.clear();
    expect(await outcome(removeTenant(pd.endpoint, 'twin', tell))).toBe('true');
    expect([ruleIds(), [...pd.groups], destroys()]).toEqual([
      ['tidb-mesh/alpha'],
      ['1:default', '1:app'],
      [],
    ]);
    expect(pd.keys.size).toBe(which === 'with' ? 1 : 0);
  });

  test('what is kept by the name of a removed one can be emptied', async () => {
    const key = '/tidb-mesh/twin:/tidb/a';
    await putIfUnchanged(pd.endpoint, [{ key, value: 'x', revision: 0n }]);
    await removeTenant(pd.endpoint, 'twin', tell);
    expect(await outcome(removeTenant(pd.endpoint, 'twin', tell))).toMatch(/NOT_EMPTY.*tenants empty/s);
    expect(await outcome(emptyTenant(pd.endpoint, 'twin', tell))).toMatch('"stores":0');
    expect(await outcome(removeTenant(pd.endpoint, 'twin', tell))).toBe('false');
    expect(pd.keys.size).toBe(1);
  });
});

test('two tenants with one number and other keys: the groups of the number stay', async () => {
  add({ name: 'alpha', number: 1 });
  pd.rules.push(ruleOf({ name: 'twin', number: 1, keyspace: { id: 7, mode: 'txn' } }));
  const own = memcomparable(Buffer.from('78000007aa', 'hex')).toString('latin1');
  pd.keys = new Set([rowOf(1), own]);
  pd.groups.add('1:app');
  await emptyTenant(pd.endpoint, 'twin', tell);
  expect([pd.keys.has(own), pd.keys.has(rowOf(1))]).toEqual([false, true]);
  expect(await outcome(removeTenant(pd.endpoint, 'twin', tell))).toBe('true');
  expect([ruleIds(), [...pd.groups]]).toEqual([['tidb-mesh/alpha'], ['1:default', '1:app']]);
});

describe('remove', () => {
  test('destroys old versions, so that the next tenant of the number reads none', async () => {
    add({ name: 'alpha', number: 1 });
    expect(await outcome(removeTenant(pd.endpoint, 'alpha', tell))).toBe('true');
    expect(destroys()).toEqual(['tikv:20160 UnsafeDestroyRange']);
    expect([...pd.groups]).toEqual([]);
  });

  test('keeps the keys of tenant 0, and treats one that has moved as any other', async () => {
    pd.keys.add(memcomparable(Buffer.from('mDB')).toString('latin1'));
    pd.rules.push(ruleOf({ name: 'legacy', number: 0 }));
    expect(await outcome(removeTenant(pd.endpoint, 'legacy', tell))).toBe('true');
    expect(destroys()).toEqual([]);
    pd.rules.push(ruleOf({ name: 'legacy', number: 0, keyNumber: 5 }));
    pd.keys.add(rowOf(5));
    expect(await outcome(removeTenant(pd.endpoint, 'legacy', tell))).toMatch(
      /NOT_EMPTY.*1 keys in the store/,
    );
    pd.keys.delete(rowOf(5));
    expect(await outcome(removeTenant(pd.endpoint, 'legacy', tell))).toBe('true');
    expect([pd.keys.size, destroys()]).toEqual([1, ['tikv:20160 UnsafeDestroyRange']]);
  });
});

test('empty deletes groups of placement rules, whatever slashes their rules have', async () => {
  add({ name: 'alpha', number: 1 });
  pd.placement = [
    { group_id: 'tidb-mesh:alpha:TiDB_DDL_7', id: 'a/b' },
    { group_id: 'pd', id: 'default' },
  ];
  expect(await outcome(emptyTenant(pd.endpoint, 'alpha', tell))).toMatch('"rules":1');
  expect(pd.placement.map((rule) => rule.group_id)).toEqual(['pd']);
});

test('a tenant of a keyspace is found again by its name alone', async () => {
  const tenant: Tenant = { name: 'alpha', number: 1, keyspace: { id: 7, mode: 'txn' } };
  pd.rules.push(ruleOf(tenant));
  const options = { withData: false, tell };
  expect(await outcome(addTenant(pd.endpoint, { name: 'alpha' }, { ...options, isByName: true }))).toMatch(
    '"isNew":false',
  );
  expect([pd.rules, [...pd.groups]]).toEqual([[ruleOf(tenant)], ['1:default']]);
  // A configuration says more, and it must be the same.
  expect(await outcome(addTenant(pd.endpoint, { name: 'alpha', number: 1 }, options))).toMatch(/REFUSED/);
});

test('adopting sees that records of moves are nobody’s keys', async () => {
  add({ name: 'alpha', number: 1 });
  await move();
  const checks = await checkAdoption(pd.endpoint, 'legacy', tell);
  expect(checks.map(({ what }) => what)).toContain("no name in PD looks like a tenant's");
});

describe('doctor asks the filters', () => {
  const envoy = (host: string, answer?: object): Endpoint =>
    ({ url: new URL(`http://${host}`), http: async () => answer }) as unknown as Endpoint;
  const filter = { vms: [], tenants: {} };
  const found = async (...envoys: Endpoint[]): Promise<string[]> =>
    (await examine(pd.endpoint, { maxAgeSeconds: 1e9, envoys })).flatMap(({ code, level, what }) =>
      code.startsWith('FILTER') ? [`${level} ${code}: ${what}`] : [],
    );

  test('all answer', async () => {
    const all = ['pd:2379', 'tikv:20160'].map((host) => envoy(host, filter));
    expect(await found(...all)).toEqual(['ok FILTERS: a filter answers at 2 addresses']);
  });

  test('a server without a filter is open, and one that is not asked is named', async () => {
    expect(await found(envoy('pd:2379'))).toEqual([
      'wrong FILTER_MISSING: pd:2379: no filter answers /tidb-mesh/status',
      'warning FILTER_NOT_ASKED: no filter was asked at tikv:20160',
    ]);
  });

  test('none is asked without addresses', async () => {
    expect(await found()).toEqual([]);
  });
});

describe('raw keys', () => {
  test('of a prefix are deleted up to its end, and not beyond', async () => {
    add({ name: 'app', number: 1, prefix: { text: 'app', mode: 'raw' } });
    add({ name: 'apq', number: 2, prefix: { text: 'apq', mode: 'raw' } });
    // TiKV would encode `apq`, which lies behind these two.
    pd.keys = new Set(['app', 'app-z', 'apq', 'apq\0\0']);
    pd.splits = [Buffer.from('app-').toString('hex')];
    await emptyTenant(pd.endpoint, 'app', tell);
    expect([...pd.keys]).toEqual(['apq', 'apq\0\0']);
    expect(destroys().filter((call) => call.startsWith('tikv'))).toEqual([
      'tikv:20160 RawDeleteRange',
      'tikv:20160 RawDeleteRange',
    ]);
  });

  test('of a keyspace are encoded: all stores destroy them but TiFlash, which has none', async () => {
    add({ name: 'raw', number: 1, keyspace: { id: 7, mode: 'raw' } });
    await emptyTenant(pd.endpoint, 'raw', tell);
    expect(destroys().filter((call) => !call.startsWith('pd'))).toEqual(['tikv:20160 UnsafeDestroyRange']);
  });
});

describe('while a tenant is being moved', () => {
  beforeEach(async () => {
    add({ name: 'alpha', number: 1 });
    await move();
  });

  test.each<[string, () => Promise<unknown>]>([
    ['empty', () => emptyTenant(pd.endpoint, 'alpha', tell)],
    ['remove', () => removeTenant(pd.endpoint, 'alpha', tell)],
    ['add', () => addTenant(pd.endpoint, { name: 'alpha', number: 1 }, { withData: true, tell })],
  ])('%s is refused', async (_, act) => {
    const before = JSON.stringify(pd.rules);
    expect(await outcome(act())).toMatch(
      /REFUSED: alpha is being moved; nothing was changed → .*move complete alpha, or: .*move cancel alpha/,
    );
    expect([JSON.stringify(pd.rules), destroys()]).toEqual([before, []]);
  });

  test('the place that it moves to is nobody else’s, and no tenant', async () => {
    expect((await registered(pd.endpoint)).map(({ name }) => name)).toEqual(['alpha']);
    expect((await listTenants(pd.endpoint)).map(({ name }) => name)).toEqual(['alpha']);
    const options = { withData: true, tell, timeoutMs: 0 };
    expect(await outcome(addTenant(pd.endpoint, { name: 'beta', number: 5 }, options))).toMatch(
      /REFUSED: the key range of beta .* among the keys of tenant alpha/,
    );
    for (const number of [2, 3, 4]) add({ name: `t${number}`, number });
    expect(await outcome(addTenant(pd.endpoint, { name: 'beta' }, options))).toMatch(/"number":6/);
  });

  const found = async (options: Partial<DoctorOptions>): Promise<string[]> =>
    (await examine(pd.endpoint, { maxAgeSeconds: 1e9, ...options })).flatMap(({ code, level, what }) =>
      /^(STORES|GC_|LIMIT_)/.test(code) ? [] : [`${level} ${code}: ${what}`],
    );
  const BEING_MOVED = 'ok BEING_MOVED: alpha is being moved from number 1 to number 5: following';

  test.each<[string, Partial<Tenant>]>([
    ['before the switch', {}],
    ['after it', { keyNumber: 5 }],
  ])('doctor says so, and finds nothing wrong: %s', async (_, at) => {
    expect(await found({ configured: [{ name: 'alpha', number: 1, ...at }] })).toEqual([
      expect.stringMatching(/^ok TENANTS: 1 tenant,/),
      BEING_MOVED,
      expect.stringMatching(/^ok CONFIG:/),
    ]);
  });

  test('doctor never says to delete the safe point of a move', async () => {
    const service = (id: string): object => ({ service_id: id, safe_point: '4194304', expired_at: 2e10 });
    pd.services = [service('tidb-mesh/move/alpha'), service('tidb-mesh:alpha:br')];
    const holders = (await examine(pd.endpoint, { maxAgeSeconds: 1 })).filter(
      ({ code }) => code === 'GC_HOLDER',
    );
    expect(holders.map(({ level, what, remedy }) => `${level}: ${what} → ${remedy}`)).toEqual([
      expect.stringMatching(
        /^wrong: .*the move or import of tenant alpha, .* back → .*move doctor alpha.*move complete alpha, or: .*move cancel alpha$/,
      ),
      expect.stringMatching(/^wrong: .*service br of tenant alpha.*curl -X DELETE .*tidb-mesh%3Aalpha%3Abr$/),
    ]);
  });

  test('doctor sees a place that is neither', async () => {
    const all = await found({ configured: [{ name: 'alpha', number: 1, keyNumber: 6 }] });
    expect(all.slice(1)).toEqual([BEING_MOVED, expect.stringMatching(/^wrong CONFIG_DIFFERS/)]);
  });

  test('doctor shows why it does not go on, and who else has keys there', async () => {
    add({ name: 'beta', number: 5 });
    await save(pd.endpoint, {
      record: {
        tenant: 'beta',
        number: 5,
        from: {},
        to: { keyNumber: 9 },
        state: 'planned',
        problem: 'no VM',
      } as never,
      revision: 0n,
    });
    expect((await found({})).slice(1)).toEqual([
      BEING_MOVED,
      'warning BEING_MOVED: beta is being moved from number 5 to number 9: planned; no VM',
      expect.stringMatching(/^wrong KEYS_OVERLAP: the key ranges of beta and alpha overlap/),
    ]);
  });
});

test('an add that another one has overtaken leaves the rule of the other', async () => {
  const options = { withData: true, tell, timeoutMs: 0 };
  const theirs = ruleOf({ name: 'alpha', number: 2 });
  pd.onRuleWritten = () => {
    pd.rules = [theirs];
  };
  expect(await outcome(addTenant(pd.endpoint, { name: 'alpha', number: 1 }, options))).toMatch(
    /REFUSED: another operator added a conflicting tenant/,
  );
  expect(pd.rules).toEqual([theirs]);
  pd.rules = [];
  pd.onRuleWritten = () => {
    pd.rules = [...pd.rules, ruleOf({ name: 'beta', number: 1 })];
  };
  expect(await outcome(addTenant(pd.endpoint, { name: 'alpha', number: 1 }, options))).toMatch(/REFUSED/);
  expect(ruleIds()).toEqual(['tidb-mesh/beta']);
});
