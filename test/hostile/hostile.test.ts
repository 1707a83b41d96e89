/**
 * Hostile tenants: every method and endpoint, decided or not, with every field forged, against real servers. The secrets of the other
 * tenants, of tenant 0 and of the storage layer are planted before, and come back nowhere.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Schema } from '../../fuzz/schema.ts';
import { ENDPOINTS } from '../../proto/pd/endpoints.ts';
import { rounds } from '../harness/support/rounds.ts';
import { Attack, everything, METHODS, some } from './run.ts';
import { SCENES, startWorld, type World } from './world.ts';

const choose = rounds(0, 1) === 1 ? everything : some;
const schema = new Schema();

describe.each(SCENES)('$title', (scene) => {
  let world: World;
  let before: string[];
  let attacks: Attack[];

  beforeAll(async () => {
    world = await startWorld(scene);
    before = await world.snapshot();
    attacks = world.hostiles.map((hostile) => new Attack(schema, world, hostile, choose));
  });
  afterAll(() => world?.stop());

  /** All attackers at once. */
  async function all(part: 'unary' | 'batches' | 'http' | 'headers' | 'breaking'): Promise<void> {
    await Promise.all(attacks.map((attack) => attack[part]()));
    expect(attacks.flatMap(({ outcome }) => outcome.problems.splice(0))).toEqual([]);
  }

  /** What came of all of them. */
  function print(): void {
    for (const { hostile, outcome } of attacks)
      for (const part of ['batches', 'unary', 'http', 'headers'] as const)
        console.log(outcome[part].text(`${hostile.tenant} (${hostile.attacker.space.name}), ${part}`));
  }

  test('every request of a batch', async () => {
    await all('batches');
    for (const { outcome } of attacks) expect(outcome.batches.count('refused')).toBeGreaterThan(50);
  });

  test('every method', () => all('unary'));

  test('every endpoint', async () => {
    await all('http');
    const known = new Set(ENDPOINTS.map(({ path }) => path)).size;
    for (const { outcome } of attacks) expect(outcome.http.methodCount).toBeGreaterThanOrEqual(known);
  });

  test('headers that name somebody else', async () => {
    await all('headers');
    // Streams stay open. Whatever else did would have shown nothing.
    for (const { outcome } of attacks)
      expect(outcome.headers.count('open')).toBeLessThan(outcome.headers.forgeries / 4);
  });

  test('what breaks their own regions', async () => {
    await all('breaking');
    for (const { outcome } of attacks) expect(outcome.unary.methodCount).toBe(METHODS.length - 1);
    print();
  });

  test('what is not the attackers’ own is as it was', async () => {
    expect(await world.snapshot()).toEqual(before);
  });

  test('no log and no statistic shows a secret', async () => {
    const envoy = world.stack.envoy!;
    const shown = (text: string | Buffer): string | undefined => world.secrets.shownIn(Buffer.from(text));
    expect(shown(readFileSync(envoy.logPath))).toBeUndefined();
    // Paths of requests are in it, with what the attackers have put there themselves.
    expect(world.secrets.unknownIn(readFileSync(envoy.accessLogPath))).toBeUndefined();
    for (const path of ['/stats', '/stats/prometheus'])
      expect(shown(await (await fetch(envoy.adminUrl + path)).text())).toBeUndefined();
    expect([...(await envoy.stats(/vm_reload/)).values()].every((count) => count === 0)).toBe(true);
  });

  test('a secret would be seen', () => {
    for (const { attacker } of world.hostiles)
      for (const { key, number } of attacker.victims)
        expect(number === 0 || world.secrets.shownIn(Buffer.from(key)) !== undefined).toBe(true);
  });
});
