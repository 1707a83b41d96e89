/** Whose ranges a move touches: where it begins, what it reserves and what it destroys. PD, etcd and a store are models. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createMove } from '../../src-ts/move/create.ts';
import type { Engine } from '../../src-ts/move/engine/engine.ts';
import { fileMesh } from '../../src-ts/move/filters/file-mesh.ts';
import type { Mesh, Order } from '../../src-ts/move/filters/mesh.ts';
import { tenantAt, type Place } from '../../src-ts/move/place.ts';
import { findMove, moveOf, save, type MoveRecord } from '../../src-ts/move/record.ts';
import { isKept, reserve } from '../../src-ts/move/engine/reservation.ts';
import { Move } from '../../src-ts/move/steps/move.ts';
import { ask } from '../../src-ts/move/wishes.ts';
import { putIfUnchanged } from '../../src-ts/pd/etcd.ts';
import { destroyKeysIn } from '../../src-ts/pd/ranges.ts';
import { addTenant } from '../../src-ts/tenants/add.ts';
import { rangeOf } from '../../src-ts/tenants/belongings.ts';
import { tenantsIn } from '../../src-ts/tenants/config-file.ts';
import { findTenant } from '../../src-ts/tenants/edit.ts';
import { registered, ruleOf, targetRuleId } from '../../src-ts/tenants/registry.ts';
import { memcomparable, spaceOf, type Tenant } from '../../src-ts/tenants/tenant.ts';
import { rowKey } from '../harness/support/keys.ts';
import { PdModel } from '../harness/support/pd-model.ts';
import { moveRecord } from '../harness/support/move-record.ts';

const ALPHA = { name: 'alpha', number: 1 };
/** Where a first move has left it. */
const MOVED: Place = { keyNumber: 5, epochOffset: 70_000, readableSince: '450000000000000000' };

let pd: PdModel;
let folder: string;
let file: string;
beforeEach(() => {
  pd = new PdModel();
  folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-move-'));
  file = join(folder, 'config.json');
});
afterEach(() => rmSync(folder, { recursive: true }));

const configured = (place: Place): void =>
  writeFileSync(file, JSON.stringify({ tenants: [{ ...ALPHA, ...place }] }));
const entry = (): Record<string, unknown> => findTenant(readFileSync(file, 'utf8'), file, 'alpha').tenant;

/** PD and the store as they are after that move. */
function movedTo(place: Place): void {
  pd.rules = [ruleOf(tenantAt(ALPHA, place))];
  pd.keys.add(rowAt(place.keyNumber ?? ALPHA.number));
}

const rowAt = (number: number): string => memcomparable(rowKey(100, 1, number)).toString('latin1');

const create = (to: Place): Promise<MoveRecord> => {
  const all = tenantsIn(readFileSync(file, 'utf8'));
  return createMove(pd.endpoint, { tenant: all[0]!, to, all });
};

/** Envoys that obey the file at once. */
function obedient(): Mesh {
  const moves = (): Order[] => [entry()['move'] as Order | undefined].filter((move) => move !== undefined);
  const quiet = { lifted: false, writesOutstanding: 0, finishesOutstanding: 0, bulkOutstanding: 0 };
  const vms: Mesh['vms'] = async () => [
    {
      name: 'VM 1',
      stale: false,
      moves: moves().map((move) => ({ tenant: 'alpha', ...move, ...quiet, outstanding: 0, held: 0 })),
    },
  ];
  return { ...fileMesh(file, undefined, []), vms };
}

/** Works on alpha's move until it ends or cannot go on. */
async function run(
  engine: Partial<Engine> | ((isMine: () => Promise<void>) => Partial<Engine>) = {},
  id = 'worker',
): Promise<boolean> {
  const engineOf = (_: MoveRecord, isMine: () => Promise<void>): Engine =>
    ({
      close: () => undefined,
      endBegun: async () => 0,
      ...(typeof engine === 'function' ? engine(isMine) : engine),
    }) as Engine;
  const tools = { pd: pd.endpoint, mesh: obedient(), id, engineOf, tell: () => undefined };
  const limits = { obeyMs: 100, calmMs: 0 };
  return new Move({ ...tools, limits, isGone: () => true }, 'alpha', new AbortController().signal).run();
}

describe('a second move', () => {
  test('keeps what the first one has left in the configuration', async () => {
    configured(MOVED);
    movedTo(MOVED);
    expect((await create({ keyNumber: 7 })).from).toEqual(MOVED);
    const prepare = async (): Promise<void> => {
      throw new Error('far enough');
    };
    await expect(run({ prepare })).rejects.toThrow('far enough');
    expect(entry()).toMatchObject({ ...ALPHA, ...MOVED, move: { phase: 'prepare' } });
  });

  test('within its storage keeps what its clients know of another one', async () => {
    const shown: Place = {
      confVerOffset: 300,
      clusterId: { seen: '7012', own: '7013' },
      latestSeen: '450000000000000001',
    };
    const from: Place = { ...MOVED, ...shown };
    configured(from);
    movedTo(from);
    const record = await create({ keyNumber: 7 });
    expect(record).toMatchObject({ from, to: { keyNumber: 7, ...shown } });
    const prepare = async (): Promise<void> => {
      throw new Error('far enough');
    };
    await expect(run({ prepare })).rejects.toThrow('far enough');
    expect(entry()).toMatchObject({ ...ALPHA, ...from, move: { phase: 'prepare' } });
  });

  test('of a tenant 0 that is at a keyspace now begins there', async () => {
    const at: Place = { keyspace: { id: 7, mode: 'txn' }, readableSince: '450000000000000000' };
    writeFileSync(file, JSON.stringify({ tenants: [{ name: 'alpha', number: 0, ...at }] }));
    pd.rules = [ruleOf(tenantAt({ name: 'alpha', number: 0 }, at))];
    pd.keys.add(memcomparable(Buffer.from('78000007' + '7480', 'hex')).toString('latin1'));
    expect((await create({ keyNumber: 7 })).from).toEqual(at);
  });
});

describe('a move of tenant 0', () => {
  const ZERO: Tenant = { name: 'zero', number: 0 };
  const to: Place = { keyNumber: 7 };

  test('begins only when somebody has said that no TiDB of the storage layer works in its keys', async () => {
    pd.rules = [ruleOf(ZERO)];
    pd.keys.add(memcomparable(rowKey(100, 1)).toString('latin1'));
    const server = JSON.stringify({ ip: '10.0.0.9', listening_port: 4000 });
    await putIfUnchanged(pd.endpoint, [{ key: '/tidb/server/info/a', value: server, revision: 0n }]);
    const begin = { tenant: ZERO, to, all: [ZERO] };
    await expect(createMove(pd.endpoint, begin)).rejects.toMatchObject({
      message: expect.stringMatching(/^zero is tenant 0: .*; 1 TiDB runs at its names: 10\.0\.0\.9:4000$/),
      hint: expect.stringContaining('--without-collector'),
    });
    expect(await findMove(pd.endpoint, 'zero')).toBeUndefined();
    expect((await createMove(pd.endpoint, { ...begin, withoutCollector: true })).to).toEqual(to);
  });
});

describe('a move does not begin', () => {
  test('by the configuration of a storage layer that does not serve the tenant', async () => {
    configured({ servedBy: 'b' } as object);
    movedTo({});
    await expect(create({ keyNumber: 7 })).rejects.toMatchObject({
      message: expect.stringContaining('storage b serves alpha'),
      hint: expect.stringContaining('PD of storage b'),
    });
  });

  test('where the configuration tells of another one, whose record another PD may have', async () => {
    configured({ move: { serial: 9, phase: 'calm', until: 1 } } as object);
    movedTo({});
    await expect(create({ keyNumber: 7 })).rejects.toThrow(
      'alpha is being moved already, as the configuration says, at serial 9',
    );
    expect(await findMove(pd.endpoint, 'alpha')).toBeUndefined();
  });

  test.each<[string, Place, string]>([
    [
      'at the place before the last move',
      {},
      'alpha is at number 1 in the configuration, and at number 5 in PD',
    ],
    [
      'at a third place',
      { keyNumber: 6 },
      'alpha is at number 6 in the configuration, and at number 5 in PD',
    ],
  ])('%s, where PD has it elsewhere', async (_, place, why) => {
    configured(place);
    movedTo(MOVED);
    await expect(create({ keyNumber: 7 })).rejects.toThrow(why);
    expect(await findMove(pd.endpoint, 'alpha')).toBeUndefined();
  });

  test('for a tenant that PD does not know, or that has no keys', async () => {
    configured({});
    await expect(create({ keyNumber: 7 })).rejects.toThrow('PD does not know alpha');
    pd.rules = [ruleOf(ALPHA)];
    await expect(create({ keyNumber: 7 })).rejects.toThrow('alpha has no keys at number 1');
  });

  test.each<[string, Place]>([
    ['another range', {}],
    ['another offset', { ...MOVED, epochOffset: 1 }],
    ['no offset', { keyNumber: 5, readableSince: MOVED.readableSince! }],
    ['another earliest time', { ...MOVED, readableSince: '1' }],
  ])('where the configuration has %s meanwhile; it can be given up', async (_, place) => {
    configured(MOVED);
    movedTo(MOVED);
    await create({ keyNumber: 7 });
    const { rules } = pd;
    configured(place);
    await expect(run()).rejects.toThrow('alpha is not where its move is to begin: its place is {');
    expect(entry()).toEqual({ ...ALPHA, ...place });
    expect((await moveOf(pd.endpoint, 'alpha')).record.problem).toContain('in the record of the move');
    await ask(pd.endpoint, 'alpha', 'cancel');
    expect(await run()).toBe(true);
    expect(entry()).toEqual({ ...ALPHA, ...place });
    expect([await findMove(pd.endpoint, 'alpha'), pd.rules]).toEqual([undefined, rules]);
  });

  test('where PD has it elsewhere meanwhile; it can be given up', async () => {
    configured({});
    movedTo({});
    await create({ keyNumber: 7 });
    movedTo(MOVED);
    await expect(run()).rejects.toThrow('PD has it at number 5, and the record of the move at number 1');
    expect(entry()).toEqual(ALPHA);
    await ask(pd.endpoint, 'alpha', 'cancel');
    expect(await run()).toBe(true);
    expect(entry()).toEqual(ALPHA);
    expect(pd.rules).toEqual([ruleOf(tenantAt(ALPHA, MOVED))]);
  });
});

const TARGET: Tenant = { ...ALPHA, keyNumber: 5 };
const TARGET_RULE = { ...ruleOf(TARGET), id: targetRuleId('alpha') };
const DELTA: Tenant = { name: 'delta', number: 5 };
const ids = (): string[] => pd.rules.map(({ id }) => id).sort();
const tell = (): void => undefined;

async function copied(fields: Partial<MoveRecord> = {}): Promise<void> {
  const record = moveRecord({ progress: {}, ...fields });
  await save(pd.endpoint, { record, revision: 0n });
}

describe('the end of a move', () => {
  /** As the engine of two places in one storage layer. */
  function ending(fails: () => boolean = () => false): Partial<Engine> {
    return {
      destroyTarget: async (isMine) => {
        if (!(await isKept(pd.endpoint, TARGET))) return false;
        await destroyKeysIn(pd.endpoint, rangeOf(spaceOf(TARGET)), isMine);
        return true;
      },
      release: async () => {
        pd.rules = pd.rules.filter(({ id }) => id !== targetRuleId('alpha'));
        if (fails()) throw new Error('Envoy does not obey');
        return undefined;
      },
    };
  }
  const cancelled = async (): Promise<void> => {
    configured({});
    movedTo({});
    pd.rules.push(TARGET_RULE);
    pd.keys.add(rowAt(5));
    await copied({ state: 'cancelling' });
  };

  test('destroys the copy, and only that', async () => {
    await cancelled();
    expect(await run(ending())).toBe(true);
    expect([...pd.keys]).toEqual([rowAt(1)]);
    expect(ids()).toEqual(['tidb-mesh/alpha']);
  });

  test.each([['with'], ['without']])(
    'never destroys what came to the range after it was given up, %s a rule',
    async (which) => {
      await cancelled();
      await expect(run(ending(() => true))).rejects.toThrow('Envoy does not obey');
      expect([...pd.keys]).toEqual([rowAt(1)]);
      if (which === 'with') pd.rules.push(ruleOf(DELTA));
      // Even where somebody has set the rule of the move again.
      else pd.rules.push(TARGET_RULE);
      pd.keys.add(rowAt(5));
      expect(await run(ending(), 'another')).toBe(true);
      expect([...pd.keys]).toEqual([rowAt(1), rowAt(5)]);
    },
  );

  test('destroys nothing in a range that no rule keeps, or that another tenant has as well', async () => {
    await cancelled();
    pd.rules.push(ruleOf(DELTA));
    await expect(run(ending())).rejects.toThrow('would lie among the keys of tenant delta');
    expect([...pd.keys]).toEqual([rowAt(1), rowAt(5)]);
    pd.rules = [ruleOf(ALPHA)];
    expect(await run(ending())).toBe(true);
    expect([...pd.keys]).toEqual([rowAt(1), rowAt(5)]);
  });

  test('destroys nothing by a worker that has stood still while another one has ended the move', async () => {
    await cancelled();
    let stood = 0;
    pd.onConnected = async () => {
      if (stood++ > 0) return;
      expect(await run(ending(), 'another')).toBe(true);
      pd.rules.push(ruleOf(DELTA));
      pd.keys.add(rowAt(5));
    };
    expect(await run(ending()).catch(String)).not.toBe(true);
    expect(stood).toBeGreaterThan(1);
    expect([...pd.keys]).toEqual([rowAt(1), rowAt(5)]);
  });

  test('has ended, too, when the record was removed without an answer', async () => {
    await cancelled();
    const { grpc } = pd.endpoint;
    Object.assign(pd.endpoint, {
      grpc: async (method: { path: string }, fields: { success?: { request: { case: string } }[] }) => {
        const send = (): unknown => grpc(method as never, fields as never);
        // It is sent again.
        if (fields.success?.[0]?.request.case === 'requestDeleteRange') await send();
        return send();
      },
    });
    expect(await run(ending())).toBe(true);
    expect(await findMove(pd.endpoint, 'alpha')).toBeUndefined();
  });

  test('asks anew whose the range is when the answer is old', async () => {
    const asked: string[] = [];
    const isMine = async (): Promise<void> => {
      asked.push('asked');
      if (asked.length === 2) await sleep(1100);
    };
    pd.onConnected = async () => void asked.push('connected');
    await destroyKeysIn(pd.endpoint, rangeOf(spaceOf(TARGET)), isMine);
    expect(asked).toEqual(['connected', 'asked', 'connected', 'asked']);
  });

  test('its old place is kept by the rule of the tenant', async () => {
    pd.rules = [ruleOf(ALPHA)];
    expect(await isKept(pd.endpoint, ALPHA)).toBe(true);
    expect(await isKept(pd.endpoint, TARGET)).toBe(false);
  });
});

describe('both places of a move', () => {
  test.each([[{ from: {}, to: { keyNumber: 5 } }], [{ from: { keyNumber: 5 }, to: { keyNumber: 7 } }]])(
    'are nobody else’s, whatever rules there are: %p',
    async (places) => {
      await copied(places);
      pd.rules = [ruleOf({ name: 'alpha', number: 1, keyNumber: 9 })];
      await expect(addTenant(pd.endpoint, DELTA, { withData: true, tell })).rejects.toThrow(
        'would lie among the keys of tenant alpha',
      );
      const { tenant } = await addTenant(pd.endpoint, { name: 'eps' }, { withData: false, tell });
      expect(tenant.number).toBe(2);
    },
  );

  test('a tenant that moves is not added again', async () => {
    await copied();
    const adding = addTenant(pd.endpoint, { name: 'alpha', number: 3 }, { withData: true, tell });
    await expect(adding).rejects.toThrow('alpha is being moved');
  });
});

describe('two that take one range at the same time', () => {
  const comes = (): void => {
    if (!ids().includes('tidb-mesh/delta')) pd.rules.push(ruleOf(DELTA));
  };

  test('a move gives it up again, but never one that it had', async () => {
    movedTo({});
    pd.onRuleWritten = comes;
    await expect(reserve(pd.endpoint, TARGET)).rejects.toThrow('among the keys of tenant delta');
    expect(ids()).toEqual(['tidb-mesh/alpha', 'tidb-mesh/delta']);
    pd.rules = [ruleOf(ALPHA), TARGET_RULE];
    await expect(reserve(pd.endpoint, TARGET)).rejects.toThrow('among the keys of tenant delta');
    expect(ids()).toEqual(['tidb-mesh/alpha', 'tidb-mesh/alpha.move', 'tidb-mesh/delta']);
  });

  test('a move that has just been created is forgotten', async () => {
    configured({});
    movedTo({});
    const grpc = pd.endpoint.grpc.bind(pd.endpoint);
    pd.endpoint.grpc = async (method, fields, address) => {
      const answer = await grpc(method, fields, address);
      if (method.path.endsWith('/Txn')) comes();
      return answer;
    };
    await expect(create({ keyNumber: 5 })).rejects.toThrow('among the keys of tenant delta');
    expect(await findMove(pd.endpoint, 'alpha')).toBeUndefined();
    expect((await registered(pd.endpoint)).map(({ name }) => name)).toEqual(['alpha', 'delta']);
  });
});

describe('a worker that has stood still while another one took its move', () => {
  const clock = performance.now.bind(performance);
  afterEach(() => void (performance.now = clock));

  async function taken(): Promise<void> {
    const { record, revision } = await moveOf(pd.endpoint, 'alpha');
    await save(pd.endpoint, { record: { ...record, worker: { id: 'another', until: 0 } }, revision });
  }
  const copying = async (): Promise<void> => {
    configured({});
    movedTo({});
    await save(pd.endpoint, { record: moveRecord({ state: 'copying' }), revision: 0n });
  };

  test('writes nothing more', async () => {
    await copying();
    const written: string[] = [];
    const engine = (isMine: () => Promise<void>): Partial<Engine> => ({
      prepare: async () => undefined,
      copy: async () => {
        await isMine();
        written.push('before');
        await taken();
        performance.now = () => clock() + 10_000;
        await isMine();
        written.push('behind');
      },
    });
    expect(await run(engine)).toBe(false);
    expect(written).toEqual(['before']);
    expect((await moveOf(pd.endpoint, 'alpha')).record.worker?.id).toBe('another');
  });

  test('ends what it has begun', async () => {
    await copying();
    const engine: Partial<Engine> = {
      prepare: async () => undefined,
      limit: () => undefined,
      copy: async (_, __, signal) => {
        await taken();
        await sleep(60_000, undefined, { signal });
      },
    };
    expect(await run(engine)).toBe(false);
  });
});
