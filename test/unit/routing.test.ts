/** `tidb-mesh routing`: rules are read, compared and applied against a model of etcd. */
import { beforeEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandError } from '../../src-ts/errors.ts';
import { moveOf, save, update, type MoveRecord } from '../../src-ts/move/record.ts';
import { applyRouting, parseRules, planRouting, routing, type Wanted } from '../../src-ts/move/routing.ts';
import { ruleOf } from '../../src-ts/tenants/registry.ts';
import { EtcdModel } from '../harness/support/etcd-model.ts';

const RULES = [
  ruleOf({ name: 'alpha', number: 1 }),
  ruleOf({ name: 'user-12345', number: 2 }),
  ruleOf({ name: 'gamma', number: 3, keyNumber: 9 }),
  ruleOf({ name: 'delta', number: 4, keyspace: { id: 7, mode: 'txn' } }),
  { ...ruleOf({ name: 'alpha', number: 5 }), id: 'tidb-mesh/alpha.move' },
];

let etcd: EtcdModel;
let created = 0;

/** A move that follows. */
async function moving(tenant: string, fields: Partial<MoveRecord> = {}): Promise<void> {
  const record: MoveRecord = {
    tenant,
    number: tenant === 'alpha' ? 1 : 2,
    serial: 3,
    state: 'following',
    from: {},
    to: { keyNumber: tenant === 'alpha' ? 5 : 6 },
    switches: 0,
    history: [],
    isPaused: false,
    throttle: {},
    createdAt: ++created,
    ...fields,
  };
  await save(etcd.endpoint, { record, revision: 0n });
}

/** What a worker does when it has switched. */
async function switched(tenant: string): Promise<void> {
  await update(etcd.endpoint, tenant, (record) => ({
    ...record,
    wish: undefined as never,
    from: record.to,
    to: record.from,
    switches: record.switches + 1,
  }));
}

const beat = async (tenant: string): Promise<unknown> =>
  update(etcd.endpoint, tenant, (record) => ({
    ...record,
    worker: { id: 'a', until: Date.now() },
    progress: Math.random(),
  }));

const wishOf = async (tenant: string): Promise<string | undefined> =>
  (await moveOf(etcd.endpoint, tenant)).record.wish;

/** The rules with the present revision. */
async function wanted(rules: Record<string, string>): Promise<Wanted> {
  return { rules, revision: BigInt((await routing(etcd.endpoint)).revision) };
}

async function refusalOf(act: Promise<unknown>): Promise<string> {
  try {
    await act;
    return 'done';
  } catch (error) {
    const { code, message, hint } = error as CommandError;
    return `${code}: ${message} → ${hint}`;
  }
}

beforeEach(() => {
  etcd = new EtcdModel({ '/region-label/rules': RULES }, true);
});

describe('routing get', () => {
  test('says where each tenant is served, by rules for those that are being moved', async () => {
    await moving('user-12345');
    await moving('alpha', { switches: 1, from: { keyNumber: 5 }, to: {} });
    const { rules, tenants, revision } = await routing(etcd.endpoint);
    expect(rules).toEqual({ alpha: 'target', 'user-12345': 'source_12345' });
    expect(tenants).toEqual([
      {
        tenant: 'alpha',
        servedAt: 'number 5',
        rule: 'target',
        otherSide: 'number 1',
        state: 'following',
        switches: 1,
      },
      { tenant: 'delta', servedAt: 'keyspace 7' },
      { tenant: 'gamma', servedAt: 'number 9' },
      {
        tenant: 'user-12345',
        servedAt: 'number 2',
        rule: 'source_12345',
        otherSide: 'number 6',
        state: 'following',
        switches: 0,
      },
    ]);
    expect(revision).toMatch(/^\d+$/);
  });

  test('a switch that nothing leads back from counts as done', async () => {
    await moving('alpha', { state: 'committing' });
    const { rules, tenants } = await routing(etcd.endpoint);
    expect(rules).toEqual({ alpha: 'target' });
    expect(tenants[0]).toMatchObject({ servedAt: 'number 5', otherSide: 'number 1' });
  });

  test('what it prints is read again, in both forms', async () => {
    await moving('user-12345');
    const found = await routing(etcd.endpoint);
    expect(parseRules(JSON.stringify(found), 'f')).toEqual({
      rules: { 'user-12345': 'source_12345' },
      revision: BigInt(found.revision),
    });
    const rules = { 'user-12345': 'target' };
    expect(parseRules('{"user_12345": "target"}', 'f')).toEqual({ rules, revision: undefined });
  });

  test.each([
    ['{', 'is not JSON'],
    ['[]', 'is no JSON object'],
    ['{"alpha": 1}', 'the rule of alpha is no text'],
    ['{"rules": {"alpha": "target"}, "revision": 7}', 'no text of digits'],
    ['{"user_1": "target", "user-1": "target"}', 'two rules for user-1'],
    ['{"Alpha": "target"}', 'no tenant'],
  ])('%s is not taken', (text, why) => {
    expect(() => parseRules(text, 'rules.json')).toThrow(why);
  });
});

describe('routing plan', () => {
  test.each<[string, string, Partial<MoveRecord>, string]>([
    ['to the target', 'target', {}, 'switch'],
    ['to the target by its place', 'number 5', {}, 'switch'],
    ['where it is', 'source_alpha', {}, 'nothing'],
    ['where it is, by its place', 'number 1', {}, 'nothing'],
    ['back', 'source_alpha', { switches: 1, from: { keyNumber: 5 }, to: {} }, 'reverse'],
    ['at the target already', 'target', { switches: 1, from: { keyNumber: 5 }, to: {} }, 'nothing'],
    ['what is asked for already', 'target', { wish: 'switch' }, 'nothing'],
    ['what is under way', 'target', { state: 'switching', wish: 'switch' }, 'nothing'],
    ['against what is under way', 'source_alpha', { state: 'switching', wish: 'switch' }, 'refused'],
    ['what is given up under way', 'target', { state: 'switching', wish: 'cancel' }, 'refused'],
    ['the same, to stay', 'source_alpha', { state: 'switching', wish: 'cancel' }, 'nothing'],
    ['back while committing', 'source', { state: 'committing' }, 'refused'],
    ['before it follows', 'target', { state: 'copying' }, 'refused'],
    ['while it is paused', 'target', { isPaused: true }, 'refused'],
    ['while it is cancelled', 'target', { wish: 'cancel' }, 'refused'],
    ['to another place', 'number 8', {}, 'refused'],
    ['to a source that is not its own', 'source_beta', {}, 'refused'],
  ])('%s', async (_, rule, fields, action) => {
    await moving('alpha', fields);
    const { steps } = await planRouting(etcd.endpoint, { rules: { alpha: rule }, revision: undefined });
    expect(steps).toMatchObject([{ tenant: 'alpha', action }]);
    const [{ why = '', hint = '' }] = steps as [(typeof steps)[number]];
    if (action === 'refused') expect([why, hint]).not.toContain('');
    expect(await wishOf('alpha')).toBe(fields.wish);
  });

  test('tenants that are not being moved have one place', async () => {
    const rules = { gamma: 'number 9', delta: 'keyspace 7', alpha: 'target', nobody: 'target' };
    const { steps } = await planRouting(etcd.endpoint, { rules, revision: undefined });
    expect(steps.map(({ action }) => action)).toEqual(['nothing', 'nothing', 'refused', 'refused']);
    expect(steps[2]?.hint).toContain('tidb-mesh move create alpha');
    expect(steps[3]?.why).toBe('there is no tenant nobody');
  });
});

describe('routing apply', () => {
  test('asks for all switches at once, whatever workers write meanwhile', async () => {
    await moving('alpha', { switches: 1, from: { keyNumber: 5 }, to: {} });
    await moving('user-12345');
    const rules = await wanted({ alpha: 'source_alpha', 'user-12345': 'target', gamma: 'number 9' });
    let goesOn = true;
    const beats = (async () => {
      while (goesOn) {
        await beat('alpha');
        await sleep(1);
      }
    })();
    const plan = await applyRouting(etcd.endpoint, rules);
    goesOn = false;
    await beats;
    expect(plan.steps.map(({ action }) => action)).toEqual(['reverse', 'switch', 'nothing']);
    expect([await wishOf('alpha'), await wishOf('user-12345')]).toEqual(['switch', 'switch']);
    expect((await moveOf(etcd.endpoint, 'alpha')).record.worker?.id).toBe('a');
  });

  test('asks for nothing when one is refused', async () => {
    await moving('alpha', { state: 'copying' });
    await moving('user-12345');
    const rules = await wanted({ alpha: 'target', 'user-12345': 'target' });
    expect(await refusalOf(applyRouting(etcd.endpoint, rules))).toMatch(
      /^REFUSED: alpha: alpha is copying, and not yet followed → nothing was asked for\nalpha: wait; see/,
    );
    expect(await wishOf('user-12345')).toBeUndefined();
  });

  test.each<[string, () => Promise<unknown>, string]>([
    [
      'a switch',
      () => switched('alpha'),
      'alpha was served at source_alpha, after 0 switches; now it is served at target, after 1',
    ],
    [
      'a switch there and back',
      async () => {
        await switched('alpha');
        await switched('alpha');
      },
      'after 0 switches; now it is served at source_alpha, after 2',
    ],
    [
      'a wish',
      () => update(etcd.endpoint, 'alpha', (record) => ({ ...record, wish: 'cancel' })),
      'alpha was asked to cancel',
    ],
    [
      'another move',
      () => update(etcd.endpoint, 'alpha', (record) => ({ ...record, createdAt: ++created })),
      'alpha is in another move',
    ],
    ['a move that began', () => moving('user-12345'), 'user-12345 was not being moved, and is now'],
  ])('refuses after %s, and says so', async (_, act, what) => {
    await moving('alpha');
    const rules = await wanted({ alpha: 'target', 'user-12345': 'target' });
    await act();
    const refusal = await refusalOf(applyRouting(etcd.endpoint, rules));
    expect(refusal).toMatch(/^REFUSED: changed since revision \d+: /);
    expect(refusal).toContain(what);
    expect((await planRouting(etcd.endpoint, rules)).changed.join()).toContain(what);
  });

  test('what has changed of other tenants does not matter', async () => {
    await moving('alpha');
    await moving('user-12345');
    const rules = await wanted({ alpha: 'target' });
    await switched('user-12345');
    expect(await refusalOf(applyRouting(etcd.endpoint, rules))).toBe('done');
  });

  test('needs a revision, and one that etcd knows', async () => {
    await moving('alpha');
    const ask = (revision: bigint | undefined): Promise<string> =>
      refusalOf(applyRouting(etcd.endpoint, { rules: { alpha: 'target' }, revision }));
    expect(await ask(undefined)).toMatch(/^USAGE: .*revision.* → give --revision/);
    expect(await ask(99n)).toMatch(/revision 99 cannot be compared with: it has not been yet/);
    await beat('alpha');
    etcd.compacted = 2n;
    expect(await ask(1n)).toMatch(/revision 1 cannot be compared with: etcd has compacted it/);
    expect(await wishOf('alpha')).toBeUndefined();
  });
});
