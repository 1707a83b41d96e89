import { describe, expect, test } from '@jest/globals';
import { refusedStart } from './mesh.ts';

const tenants = [{ name: 'alpha', number: 1 }];
const rules = [{ principal: 'spiffe://*/ns/{tenant}/sa/*' }];

describe('Envoy does not start with a configuration that is wrong, and says why', () => {
  test.each<[string, unknown, string]>([
    [
      'an unknown field',
      { tenants, rules, failOpen: true },
      'failOpen: unknown field; known here: tenants, rules',
    ],
    [
      'two tenants with one number',
      { tenants: [...tenants, { name: 'beta', number: 1 }], rules },
      'tenants[1].number: 1 is the number of tenants[0] already',
    ],
    [
      'a number out of range',
      { tenants: [{ name: 'alpha', number: 32767 }], rules },
      'tenants[0].number: must be a whole number from 0 to 32766',
    ],
    ['no rules', { tenants, rules: [] }, 'rules: must list at least one rule'],
    ['an empty configuration', {}, 'tenants: must list at least one tenant'],
  ])('%s', async (_name, pluginConfig, reason) => {
    const { code, log } = await refusedStart(pluginConfig);
    expect(code).not.toBe(0);
    expect(log).toContain(`tidb-mesh: the pluginConfig is refused: ${reason}`);
  });
});
