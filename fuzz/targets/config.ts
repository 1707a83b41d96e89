/** pluginConfigs, and callers under those that are accepted. */
import { UNLIMITED } from '../../test/unit/filter.ts';
import { concat } from '../../test/harness/model/bytes.ts';
import type { Random } from '../../test/harness/model/random.ts';
import { step } from '../input.ts';
import { mutateBytes } from '../mutate.ts';
import { SPACES } from '../spaces.ts';
import { Problem, type World } from '../world.ts';
import type { Target } from './target.ts';

const utf8 = new TextEncoder();
const NAMES = ['alpha', 'beta', 'a', '', 'A', 'a_b', 'a'.repeat(63), 'a'.repeat(64), 'é'];
const PRINCIPALS = [
  'spiffe://cluster.local/ns/{tenant}/sa/*',
  'spiffe://cluster.local/ns/alpha/sa/tidb',
  'spiffe://*/ns/{tenant}-tidb/sa/*',
  'spiffe://*/ns/pd/sa/pd',
  '*',
  '**',
  '{tenant}{tenant}',
  '{tenant',
  '',
];

function numberOf(random: Random): unknown {
  return random.chance(70)
    ? 1 + random.below(9)
    : random.pick([0, -1, 1.5, 32766, 32767, 1e300, '1', null, 4294967297]);
}

function space(random: Random): object {
  const mode = random.pick(['txn', 'raw', 'both']);
  return random.pick([
    {},
    {},
    {},
    { keyspace: { id: random.pick([0, 7, 0xffffff, 0x1000000, -1, 1.5]), mode } },
    { prefix: { text: random.pick(['app1:', 'app', '', 'é']), mode } },
    { prefix: { hex: random.pick(['ff00', 'ff', 'f', 'zz', '']), mode } },
  ]);
}

const RULES = [
  'tikvpb.Tikv/KvScan',
  'tikvpb.Tikv/*',
  'GET /pd/api/v1/region/key/{key}',
  'GET /pd/api/v1/config/*',
  'tikvpb.Tikv/KvGC',
  '* /pd/api/v1/operators',
  '/*',
  '*',
  '',
  'é',
  '\ud800',
];

function policy(random: Random): object {
  const refuse = (): object => ({
    refuse: Array.from({ length: random.below(3) }, () => (random.chance(90) ? random.pick(RULES) : 7)),
  });
  const one = random.chance(50) ? { tenants: { [random.pick(['t0', 't9', '\ud800'])]: refuse() } } : {};
  return {
    ...(random.chance(80) ? { policy: { ...refuse(), ...one } } : {}),
    ...(random.chance(40) ? { dryRun: random.pick([true, false, 'yes']) } : {}),
  };
}

/** One that is accepted. */
function good(random: Random): unknown {
  const named = random.chance(50);
  return {
    tenants: [
      { name: 't0', number: 1 },
      { name: 't1', number: random.pick([2, 0]) },
      ...(random.chance(50) ? [{ name: 't2', number: 9, keyspace: { id: 7, mode: 'txn' } }] : []),
    ],
    rules: [
      { principal: 'spiffe://*/ns/pd/sa/pd', system: true },
      ...(named ? [{ principal: 'spiffe://cluster.local/ns/alpha/sa/*', tenant: 't1' }] : []),
      {
        principal: random.pick([
          'spiffe://cluster.local/ns/{tenant}/sa/*',
          'spiffe://*/ns/{tenant}-tidb/sa/*',
        ]),
      },
    ],
    ...(random.chance(50) ? { pd: { cluster: 'pd' } } : {}),
    ...(random.chance(30) ? { policy: { refuse: [random.pick(RULES.slice(0, 4))] } } : {}),
    ...(random.chance(50) ? { limits: { maxTsDriftSeconds: random.pick([0, 1, 600]) } } : {}),
  };
}

const CALLERS = [
  'spiffe://cluster.local/ns/t0/sa/tidb',
  'spiffe://cluster.local/ns/t9/sa/tidb',
  'spiffe://cluster.local/ns/t1-tidb/sa/tidb',
  'spiffe://cluster.local/ns/alpha/sa/tidb',
  'spiffe://cluster.local/ns/pd/sa/pd',
  'spiffe://cluster.local/ns/t0/sa/a/b',
  'spiffe://cluster.local/ns//sa/',
  '',
];

function configuration(random: Random): unknown {
  if (random.chance(40)) return good(random);
  const tenants = Array.from({ length: random.below(4) }, (_, i) => ({
    name: random.chance(80) ? `t${i}` : random.pick(NAMES),
    number: random.chance(80) ? i + 1 : numberOf(random),
    ...space(random),
  }));
  const rules = Array.from({ length: random.below(4) }, () => ({
    principal: random.chance(60) ? PRINCIPALS[0] : random.pick(PRINCIPALS),
    ...random.pick([{}, {}, {}, { tenant: 't0' }, { system: true }, { system: 'yes' }, { tenant: 5 }]),
  }));
  return {
    tenants,
    rules,
    ...random.pick([
      {},
      {},
      { requirePrincipal: true },
      { requirePrincipal: false },
      { limits: {} },
      { more: 1 },
    ]),
    ...(random.chance(30) ? policy(random) : {}),
    ...(random.chance(20)
      ? { limits: { maxMessageBytes: random.pick([1023, 1024, 2 ** 30, 2 ** 30 + 1, 'x']) } }
      : {}),
  };
}

function text(random: Random): string {
  const roll = random.below(20);
  if (roll === 0) {
    const depth = random.pick([31, 32, 33, 34, 10_000]);
    return random.chance(50)
      ? '['.repeat(depth) + ']'.repeat(depth)
      : `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
  }
  if (roll === 1)
    return random.pick(['', ' ', 'null', '1e999', '-', '"\\ud800"', '"\\u12', '[1,]', '{"a":1,"a":2}']);
  return JSON.stringify(configuration(random), null, random.below(3));
}

export const config: Target = {
  name: 'config',

  make(_world, random) {
    const callers = Array.from({ length: 1 + random.below(3) }, () =>
      random.pick(random.chance(80) ? CALLERS : PRINCIPALS),
    );
    const steps = [
      step('config', utf8.encode(text(random))),
      ...callers.map((caller) => step('identity', utf8.encode(caller))),
    ];
    return { target: 'config', space: SPACES[0]!.name, messageLimit: UNLIMITED, heldLimit: UNLIMITED, steps };
  },

  mutate(input, other, _world, random) {
    const steps = [...input.steps];
    const i = random.below(steps.length);
    const one = steps[i]!;
    const donor = random.pick(other.steps).bytes;
    const at = random.below(one.bytes.length + 1);
    const bytes = random.chance(80)
      ? mutateBytes(one.bytes, random)
      : concat(one.bytes.subarray(0, at), donor, one.bytes.subarray(at));
    steps[i] = { ...one, bytes: bytes.subarray(0, 20_000) };
    return { ...input, steps };
  },

  run(input, world): string[] {
    world.begin(input);
    const words: string[] = [];
    let accepted: { tenants: { name: string }[] } | undefined;
    for (const { what, bytes } of input.steps) {
      const given = new TextDecoder().decode(bytes);
      if (what === 'identity') {
        if (accepted !== undefined) words.push(identity(input, given, accepted.tenants, world));
        continue;
      }
      const error = world.both(
        input,
        (filter) => filter.config(given),
        (result) => result,
      );
      accepted = error === '' ? (readJson(given) as typeof accepted) : undefined;
      words.push(`config ${error.replace(/\d+|"[^"]*"/g, '').slice(0, 60)}`);
    }
    return words;
  },
};

function readJson(given: string): unknown {
  try {
    return JSON.parse(given) as unknown;
  } catch (error) {
    throw new Problem(`accepts what is not JSON: ${given}`, { cause: error });
  }
}

function identity(
  input: Parameters<Target['run']>[0],
  principal: string,
  tenants: readonly { name: string }[],
  world: World,
): string {
  const found = world.both(input, (filter) => filter.identity(principal), JSON.stringify);
  if (found.access === 'tenant' && !tenants.some(({ name }) => name === found.text))
    throw new Problem(`${principal} is the tenant ${found.text}, which is not configured`);
  return `identity ${found.access}`;
}
