/** Names of resource groups at the place that a tenant moves to. PD is a model. */
import { beforeEach, describe, expect, test } from '@jest/globals';
import { createBetween } from '../../src-ts/move/between.ts';
import { carryGroups } from '../../src-ts/move/engine/groups.ts';
import { createImport } from '../../src-ts/move/import.ts';
import { ruleOf } from '../../src-ts/tenants/registry.ts';
import { memcomparable, type Tenant } from '../../src-ts/tenants/tenant.ts';
import { rowKey } from '../harness/support/keys.ts';
import { PdModel } from '../harness/support/pd-model.ts';

const ALPHA: Tenant = { name: 'alpha', number: 12_345 };
const rowOf = (number: number): string => memcomparable(rowKey(100, 1, number)).toString('latin1');
/** With `12345:` before them, PD takes 26 bytes. */
const FITS = 'g'.repeat(26);
const TOO_LONG = 'g'.repeat(27);

let mesh: PdModel;
let other: PdModel;
beforeEach(() => {
  [mesh, other] = [new PdModel(), new PdModel()];
  mesh.rules = [ruleOf(ALPHA)];
  other.clusterId = 8;
});

const refusal = {
  code: 'REFUSED',
  message: `resource group ${TOO_LONG} would be 12345:${TOO_LONG} at the target, 33 bytes, and PD takes 32`,
  hint: expect.stringContaining('at most 26 bytes'),
};

describe('a resource group whose name does not fit', () => {
  test('keeps an import from beginning', async () => {
    other.keys.add(rowOf(0));
    const begin = (): Promise<unknown> =>
      createImport(mesh.endpoint, {
        tenant: { ...ALPHA, state: 'suspended' },
        cluster: 'shop',
        outside: other.endpoint,
        dryRun: true,
      });
    other.groups = new Set(['default', FITS]);
    await expect(begin()).resolves.toMatchObject({ from: { cluster: 'shop' } });
    other.groups.add(TOO_LONG);
    await expect(begin()).rejects.toMatchObject(refusal);
  });

  test('keeps a move to another storage from beginning', async () => {
    other.rules = [ruleOf(ALPHA)];
    other.keys.add(rowOf(ALPHA.number));
    const begin = (): Promise<unknown> =>
      createBetween({
        tenant: ALPHA,
        from: { name: 'a', pd: other.endpoint },
        to: { name: 'b', pd: mesh.endpoint },
        dryRun: true,
      });
    other.groups = new Set([`12345:${FITS}`]);
    await expect(begin()).resolves.toMatchObject({ home: 'b' });
    other.groups.add(`12345:${TOO_LONG}`);
    await expect(begin()).rejects.toMatchObject(refusal);
  });

  test('is named at the switch when it has been made since, and nothing is changed there', async () => {
    const [source, target] = [
      { pd: other.endpoint, number: undefined },
      { pd: mesh.endpoint, number: ALPHA.number },
    ];
    mesh.groups = new Set(['12345:old']);
    other.groups = new Set(['new', TOO_LONG]);
    await expect(carryGroups(source, target)).rejects.toMatchObject(refusal);
    expect([...mesh.groups]).toEqual(['12345:old']);
    other.groups.delete(TOO_LONG);
    await carryGroups(source, target);
    expect([...mesh.groups]).toEqual(['12345:new']);
  });

  test('fits a cluster, where nothing stands before it', async () => {
    mesh.groups = new Set([`12345:${FITS}`]);
    await carryGroups({ pd: mesh.endpoint, number: ALPHA.number }, { pd: other.endpoint, number: undefined });
    expect([...other.groups]).toEqual([FITS]);
  });
});
