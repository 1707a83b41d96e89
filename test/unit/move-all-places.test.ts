/** A worker brings the whole file to the Envoys: what it says of other tenants than the one that moves must be right, too. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandError } from '../../src-ts/errors.ts';
import { placesCheck } from '../../src-ts/move/all-places.ts';
import { fileMesh } from '../../src-ts/move/filters/file-mesh.ts';
import { forgetStorage, keepLast, save, type MoveRecord } from '../../src-ts/move/record.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { ruleOf } from '../../src-ts/tenants/registry.ts';
import { moveRecord } from '../harness/support/move-record.ts';
import { PdModel } from '../harness/support/pd-model.ts';

const ALPHA = { name: 'alpha', number: 1 };
const BETA = { name: 'beta', number: 2 };
const STORAGES = [{ name: 'a' }, { name: 'b' }];

let folder: string;
let file: string;
let pd: PdModel;
let other: PdModel;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'places-'));
  file = join(folder, 'config.json');
  [pd, other] = [new PdModel(), new PdModel()];
  pd.rules = [ruleOf({ ...BETA, keyNumber: 9 }), ruleOf(ALPHA)];
});
afterEach(() => rmSync(folder, { recursive: true }));

const applied = (): string => `${file}.applied`;
const record = (fields: Partial<MoveRecord>): Promise<unknown> =>
  save(pd.endpoint, { record: moveRecord(fields), revision: 0n });

/** Tells this tenant's place by a worker's mesh. */
function tell(
  tenant: string,
  place: object,
  others = new Map<string, { readonly pd: Endpoint }>(),
): Promise<void> {
  const check = placesCheck(file, { home: pd.endpoint, others });
  const mesh = fileMesh(file, `cp "$1" ${applied()}`, [], { check });
  return mesh.tell(tenant, { place, move: { serial: 5, phase: 'prepare' } });
}

describe('a file', () => {
  const write = (tenants: readonly object[], storages?: readonly object[]): void =>
    writeFileSync(file, JSON.stringify(storages ? { storages, pluginConfig: { tenants } } : { tenants }));

  test("from before another tenant's move, which has ended, is not brought to the Envoys", async () => {
    write([ALPHA, BETA]);
    await expect(tell('alpha', {})).rejects.toMatchObject({
      code: 'REFUSED',
      message: `${file} has beta at number 2, and PD has it at number 9; the file was not brought to the Envoys, which would lead that tenant there`,
    });
    expect(existsSync(applied())).toBe(false);
  });

  test('that has all tenants where PD has them is, and with tenants that PD does not know', async () => {
    write([ALPHA, { ...BETA, keyNumber: 9 }, { name: 'gamma', number: 3 }]);
    await tell('alpha', {});
    expect(readFileSync(applied(), 'utf8')).toContain('prepare');
  });

  test.each<[string, Partial<MoveRecord>, object, boolean]>([
    ['where a move began', {}, { keyNumber: 9 }, true],
    ['where a switch leads, before it is done', {}, { keyNumber: 5 }, false],
    ['where a switch leads, while it is told', { state: 'committing' }, { keyNumber: 5 }, true],
    [
      'where a move has led, though PD has it there still',
      { from: { keyNumber: 5 } },
      { keyNumber: 9 },
      false,
    ],
    ['in the mesh, of a cluster that is imported', { from: { cluster: 'shop' }, to: {} }, {}, true],
  ])('is judged by the record of a move: %s', async (_, fields, place, isRight) => {
    await record({ tenant: 'beta', number: 2, from: { keyNumber: 9 }, to: { keyNumber: 5 }, ...fields });
    write([ALPHA, { ...BETA, ...place }]);
    const telling = tell('alpha', {});
    if (isRight) await telling;
    else await expect(telling).rejects.toThrow('the record of its move at number');
    expect(existsSync(applied())).toBe(isRight);
  });

  test('from before two moves is right when each of both has told its place', async () => {
    pd.rules = [ruleOf(ALPHA), ruleOf(BETA)];
    await record({ from: { keyNumber: 5 }, to: {}, switches: 1 });
    await record({ tenant: 'beta', number: 2, from: { keyNumber: 6 }, to: {}, switches: 1 });
    write([ALPHA, BETA]);
    await expect(tell('alpha', { keyNumber: 5 })).rejects.toThrow('has beta at number 2');
    await tell('beta', { keyNumber: 6 });
    const { tenants } = JSON.parse(readFileSync(applied(), 'utf8')) as { tenants: { keyNumber: number }[] };
    expect(tenants.map(({ keyNumber }) => keyNumber)).toEqual([5, 6]);
  });

  test('is compared with the PD of each storage, and with where a move to another one has ended', async () => {
    other.rules = [ruleOf(BETA)];
    const others = new Map([['a', { pd: other.endpoint }]]);
    const alpha = { ...ALPHA, storage: 'b' };
    write([alpha, { ...BETA, storage: 'a' }], STORAGES);
    await tell('alpha', { storage: 'b' }, others);
    await keepLast(pd.endpoint, 'beta', { serial: 4, storage: 'b' });
    await keepLast(other.endpoint, 'beta', { serial: 3, storage: 'a' });
    await expect(tell('alpha', { storage: 'b' }, others)).rejects.toThrow(
      'has beta at number 2 in storage a, and its last move has ended in storage b',
    );
    await forgetStorage(pd.endpoint, 'beta');
    await tell('alpha', { storage: 'b' }, others);
  });

  test('is not held back by a storage whose PD does not answer', async () => {
    const gone = async (): Promise<never> => {
      throw new CommandError('UNREACHABLE', 'no answer', '');
    };
    const others = new Map([['a', { pd: { http: gone, grpc: gone } as unknown as Endpoint }]]);
    write(
      [
        { ...ALPHA, storage: 'b' },
        { ...BETA, storage: 'a' },
      ],
      STORAGES,
    );
    await tell('alpha', { storage: 'b' }, others);
    expect(existsSync(applied())).toBe(true);
  });
});
