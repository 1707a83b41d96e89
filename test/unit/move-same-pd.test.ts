/** An address of a side leads to another PD than when the move began: nothing is read or written there. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Engine } from '../../src-ts/move/engine/engine.ts';
import { makeEngine } from '../../src-ts/move/engine/engine-of.ts';
import { save, type MoveRecord } from '../../src-ts/move/record.ts';
import { mustBeHome } from '../../src-ts/move/same-pd.ts';
import { ask } from '../../src-ts/move/wishes.ts';
import { CommandError } from '../../src-ts/errors.ts';
import { CallError, Endpoint } from '../../src-ts/pd/endpoint.ts';
import { ruleOf, targetRuleId } from '../../src-ts/tenants/registry.ts';
import { memcomparable } from '../../src-ts/tenants/tenant.ts';
import { rowKey } from '../harness/support/keys.ts';
import { moveRecord } from '../harness/support/move-record.ts';
import { PdModel } from '../harness/support/pd-model.ts';

const NUMBER = 7;
const IDS = { a: '7001', b: '7002', c: '7003' };
const HOME = { pd: 'http://b:2379' };

/** PDs by the host of their address. */
let pds: Record<string, PdModel>;
const own = Object.getOwnPropertyDescriptors(Endpoint.prototype);

beforeEach(() => {
  pds = Object.fromEntries(
    Object.entries(IDS).map(([name, id]) => {
      const pd = new PdModel();
      pd.clusterId = id;
      pd.rules = [ruleOf({ name: 'alpha', number: NUMBER })];
      pd.keys.add(memcomparable(rowKey(100, 1, NUMBER)).toString('latin1'));
      return [name, pd];
    }),
  );
  const at = ({ url }: Endpoint): Endpoint => pds[url.hostname]!.endpoint;
  Object.assign(Endpoint.prototype, {
    async http(this: Endpoint, ...asked: Parameters<Endpoint['http']>) {
      return at(this).http(...asked);
    },
    async grpc(this: Endpoint, ...asked: Parameters<Endpoint['grpc']>) {
      const [{ path }] = asked;
      return path.endsWith('KvScanLock') ? { locks: [] } : at(this).grpc(...asked);
    },
    connected: async () => undefined,
  });
});
afterEach(() => void Object.defineProperties(Endpoint.prototype, own));

/** A move from a to b, or an import from a, that was switched, and whose worker reaches a at this host. */
function engineWith(host: string, fields: Partial<MoveRecord> = {}): Engine {
  const record = moveRecord({
    number: NUMBER,
    state: 'completing',
    home: 'b',
    pdIds: { home: IDS.b, other: IDS.a },
    from: { storage: 'b' },
    to: { storage: 'a' },
    switches: 1,
    progress: {},
    ...fields,
  });
  return makeEngine(HOME, record, new Map([['a', { pd: `http://${host}:2379` }]]));
}

const keysAt = (): number[] => Object.values(pds).map(({ keys }) => keys.size);
const called = (): string[] => Object.values(pds).flatMap(({ calls }) => calls);
const destroy = (engine: Engine): Promise<boolean> =>
  engine.destroyTarget(async () => undefined).finally(() => engine.close());

describe('an address of a side', () => {
  test('that leads where it did is used', async () => {
    expect(await destroy(engineWith('a'))).toBe(true);
    expect(keysAt()).toEqual([0, 1, 1]);
  });

  test.each([
    ['b', '7002', 'the serving side'],
    ['c', '7003', 'a third PD'],
  ])('that leads to %s, %s, is refused: %s', async (host, id) => {
    await expect(destroy(engineWith(host))).rejects.toMatchObject({
      code: 'REFUSED',
      message: `PD of storage a is another one: its cluster id is ${id}, and was 7001 when the move of alpha began; nothing was done there`,
      hint: 'give the address of the PD whose cluster id is 7001: --storages',
    });
    expect([keysAt(), called()]).toEqual([[1, 1, 1], []]);
  });

  test('of a cluster that is imported is compared as well, and so is that of the mesh', async () => {
    const fields = { from: {}, to: { cluster: 'a' }, home: undefined };
    await expect(engineWith('c', fields as object).targetTimestamp()).rejects.toThrow(
      'PD of cluster a is another one: its cluster id is 7003, and was 7001',
    );
    const elsewhere = engineWith('a', { pdIds: { home: IDS.c, other: IDS.a } });
    await expect(elsewhere.timestamp()).rejects.toThrow('its cluster id is 7002, and was 7003');
    expect(called()).toEqual([]);
  });

  test('that does not answer, or refuses a call, is named with its side', async () => {
    const errors = {
      a: new CommandError('UNREACHABLE', 'no answer from a:2379', ''),
      b: new CallError('Tso: PD answers 500', 500),
    };
    const engine = engineWith('a');
    await engine.clusterIds();
    for (const [name, error] of Object.entries(errors))
      pds[name]!.endpoint.grpc = async () => Promise.reject(error);
    // The same error twice, as of one connection.
    await expect(engine.targetTimestamp()).rejects.toThrow('no answer');
    await expect(engine.targetTimestamp()).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: 'storage a: no answer from a:2379',
    });
    await expect(engine.timestamp()).rejects.toThrow('storage b: Tso: PD answers 500');
    const cluster = engineWith('a', { from: {}, to: { cluster: 'a' }, home: undefined } as object);
    pds['a']!.endpoint.http = async () => Promise.reject(new CallError('GET /: PD answers 500', 500));
    await expect(cluster.targetTimestamp()).rejects.toThrow('cluster a: GET /: PD answers 500');
  });

  test('that leads elsewhere later is found out before the next step', async () => {
    const engine = engineWith('a');
    expect(await engine.targetTimestamp()).toBeGreaterThan(0n);
    pds['a']!.clusterId = IDS.c;
    await expect(engine.renew()).rejects.toThrow('its cluster id is 7003, and was 7001');
    await expect(destroy(engine)).rejects.toThrow('its cluster id is 7003, and was 7001');
    expect(keysAt()).toEqual([1, 1, 1]);
  });
});

describe('a record of an earlier version, which has no ids', () => {
  const before = { pdIds: undefined } as object;

  test('is believed where PD has the tenant at that place', async () => {
    expect(await destroy(engineWith('a', before))).toBe(true);
  });

  test('is refused where both sides are one PD, or the other one has not the tenant', async () => {
    await expect(destroy(engineWith('b', before))).rejects.toThrow('has the cluster id 7002, as PD of --pd');
    pds['a']!.rules = [];
    await expect(destroy(engineWith('a', before))).rejects.toThrow('no rule of alpha');
    expect(keysAt()).toEqual([1, 1, 1]);
  });

  test('of an import can only be ended', async () => {
    const engine = engineWith('a', { ...before, from: { cluster: 'a' }, to: {}, switches: 0 });
    await expect(engine.timestamp()).rejects.toThrow('does not say which PD cluster a had');
    expect(await destroy(engine)).toBe(true);
    expect(keysAt()).toEqual([1, 0, 1]);
  });
});

test('a wish is not written at another PD than the one where the move began', async () => {
  const { endpoint } = pds['b']!;
  const record = moveRecord({ pdIds: { home: IDS.a } });
  await save(endpoint, { record, revision: 0n });
  await expect(ask(endpoint, 'alpha', 'cancel')).rejects.toThrow('its cluster id is 7002, and was 7001');
  await mustBeHome(pds['a']!.endpoint, record);
});

describe('the source of a move that is given up', () => {
  const fields: Partial<MoveRecord> = {
    state: 'cancelling',
    from: { storage: 'a' },
    to: { storage: 'b' },
    switches: 0,
  };

  test('may have lost its keys where a store is silent, or has none', async () => {
    const engine = engineWith('a', fields);
    expect(await engine.sourceLoss()).toBeUndefined();
    pds['a']!.keys.clear();
    expect(await engine.sourceLoss()).toMatch(/^it has no key of /);
    const { http } = pds['a']!.endpoint;
    pds['a']!.endpoint.http = async (...asked: Parameters<Endpoint['http']>) =>
      asked[1].endsWith('/stores')
        ? { stores: [{ store: { id: 4, address: 'tikv-4:20160', state_name: 'Down' } }] }
        : http(...asked);
    expect(await engine.sourceLoss()).toBe('store 4 (tikv-4:20160) is Down');
  });

  test('is asked for nothing when it is gone for good, and the range of the copy stays the tenant’s', async () => {
    const target = { name: 'alpha', number: NUMBER, keyNumber: 9 };
    pds['b']!.rules.push({ ...ruleOf(target), id: targetRuleId('alpha') });
    const { keys } = pds['b']!;
    const to = { storage: 'b', keyNumber: 9 };
    const record = moveRecord({
      ...fields,
      number: NUMBER,
      home: 'b',
      pdIds: { home: IDS.b, other: IDS.a },
      to,
      otherIsGone: true,
    });
    // The file of the storages has it no more.
    const engine = makeEngine(HOME, record, new Map());
    expect(await engine.release()).toBeUndefined();
    engine.close();
    expect(pds['b']!.rules).toEqual([ruleOf(target)]);
    expect([keys.size, pds['a']!.calls]).toEqual([1, []]);
  });
});
