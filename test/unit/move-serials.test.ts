/** The serials of a tenant's moves: each begins above all that the filters remember of the ones before. */
import { describe, expect, test } from '@jest/globals';
import { createMove } from '../../src-ts/move/create.ts';
import type { Engine } from '../../src-ts/move/engine/engine.ts';
import { obeyed, Outdated, type Mesh, type Orders, type Vm } from '../../src-ts/move/filters/mesh.ts';
import { findMove, firstSerial, keepLast, save } from '../../src-ts/move/record.ts';
import { Move } from '../../src-ts/move/steps/move.ts';
import { ruleOf } from '../../src-ts/tenants/registry.ts';
import { memcomparable } from '../../src-ts/tenants/tenant.ts';
import { rowKey } from '../harness/support/keys.ts';
import { moveRecord } from '../harness/support/move-record.ts';
import { PdModel } from '../harness/support/pd-model.ts';

const ALPHA = { name: 'alpha', number: 1 };
/** The time of the model of PD, in seconds. */
const NOW = 1_700_000_000;

function pdOf(tenant: Parameters<typeof ruleOf>[0] = ALPHA): PdModel {
  const pd = new PdModel();
  pd.rules = [ruleOf(tenant)];
  pd.keys.add(memcomparable(rowKey(100, 1, 1)).toString('latin1'));
  return pd;
}

describe('a move begins', () => {
  test("with the seconds of PD's clock, whatever this host's says", async () => {
    const to = { keyNumber: 5 };
    const { serial } = await createMove(pdOf().endpoint, { tenant: ALPHA, to, all: [ALPHA] });
    expect(serial).toBe(NOW);
  });

  test('above the last serial of the tenant, at whichever PD that is', async () => {
    const [here, there] = [pdOf().endpoint, pdOf().endpoint];
    await keepLast(there, 'alpha', { serial: NOW + 3605 });
    await keepLast(there, 'alpha', { serial: 7 });
    await keepLast(here, 'alphabet', { serial: NOW + 9000 });
    expect(await firstSerial([here], 'alpha')).toBe(NOW);
    expect(await firstSerial([here, there], 'alpha')).toBe(NOW + 3606);
  });
});

/** A VM that has obeyed a serial of a former move. */
class Remembering {
  orders: Orders = { place: {} };

  constructor(private readonly latestSerial: number) {}

  readonly mesh: Mesh = {
    hosts: [],
    tell: async (_, orders) => void (this.orders = orders),
    vms: async () => [this.vm],
  };

  get vm(): Vm {
    const { move } = this.orders;
    if (!move) return { name: 'VM 1', stale: false, moves: [] };
    const isOutdated = move.serial < this.latestSerial;
    const said = isOutdated ? { phase: 'outdated', latestSerial: this.latestSerial } : { phase: move.phase };
    const none = {
      writesOutstanding: 0,
      finishesOutstanding: 0,
      bulkOutstanding: 0,
      outstanding: 0,
      held: 0,
    };
    const one = { tenant: 'alpha', serial: move.serial, lifted: false, ...said, ...none };
    return { name: 'VM 1', stale: false, moves: [one] };
  }
}

describe('a filter that remembers a higher serial', () => {
  const run = async (pd: PdModel, mesh: Mesh): Promise<boolean> => {
    const engine = {
      close: () => undefined,
      endBegun: async () => 0,
      release: async () => undefined,
      prepare: async () => {
        throw new Error('far enough');
      },
    } as unknown as Engine;
    const limits = { obeyMs: 500, calmMs: 1 };
    const tools = { pd: pd.endpoint, mesh, id: 'w', limits, engineOf: () => engine, tell: () => undefined };
    return new Move(tools, 'alpha', new AbortController().signal).run();
  };

  test('is told at once, and is not waited for', async () => {
    const there = new Remembering(90);
    const move = { serial: 5, phase: 'prepare' } as const;
    await there.mesh.tell('alpha', { place: {}, move });
    const timeoutMs = 60_000;
    const waiting = obeyed(there.mesh, 'alpha', move, { timeoutMs });
    await expect(waiting).rejects.toBeInstanceOf(Outdated);
    await expect(obeyed(there.mesh, 'alpha', move, { timeoutMs })).rejects.toThrow(
      'serial 5 of its move is below 90, which VM 1 has obeyed',
    );
  });

  test('gets one above it where the move begins', async () => {
    const [pd, there] = [pdOf(), new Remembering(90)];
    await save(pd.endpoint, { record: moveRecord({ state: 'planned' }), revision: 0n });
    await expect(run(pd, there.mesh)).rejects.toThrow('far enough');
    expect(there.orders.move).toEqual({ serial: 91, phase: 'prepare' });
  });

  test('and where such a move is given up, which keeps its serial for the next one', async () => {
    const [pd, there] = [pdOf(), new Remembering(90)];
    await save(pd.endpoint, { record: moveRecord({ state: 'planned', wish: 'cancel' }), revision: 0n });
    expect(await run(pd, there.mesh)).toBe(true);
    expect([there.orders.move, await findMove(pd.endpoint, 'alpha')]).toEqual([undefined, undefined]);
    await keepLast(pd.endpoint, 'alpha', { serial: NOW });
    expect(await firstSerial([pd.endpoint], 'alpha')).toBe(NOW + 1);
  });

  test('does not where PD has the tenant elsewhere: the record is the one that is old', async () => {
    const [pd, there] = [pdOf({ ...ALPHA, keyNumber: 9 }), new Remembering(90)];
    await save(pd.endpoint, { record: moveRecord({ state: 'cancelling' }), revision: 0n });
    await expect(run(pd, there.mesh)).rejects.toBeInstanceOf(Outdated);
    expect(there.orders.move?.serial).toBeLessThan(90);
  });
});
