/** pluginConfig.policy and dryRun: names, what is an error, what they refuse to whom, batches. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../src-ts/wasm/builds.ts';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { ENDPOINTS } from '../../proto/pd/endpoints.ts';
import { judge } from '../../src-ts/schema/judgement.ts';
import { layOut } from '../../src-ts/schema/layout.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';

const descriptors = readDescriptors();
const judgement = judge(descriptors);
const { names } = layOut(judgement);
const BATCH = names.indexOf('tikvpb.BatchCommandsRequest');
const ANSWERS = names.indexOf('tikvpb.BatchCommandsResponse');

const TENANTS = [
  { name: 'alpha', number: 1 },
  { name: 'beta', number: 2 },
];
const RULES = [{ principal: 'spiffe://demo.mesh/ns/{tenant}/sa/*' }];
const LEGACY = { name: 'legacy', number: 0 };
const config = (extra: object, tenants: object[] = TENANTS): string =>
  JSON.stringify({ tenants, rules: RULES, ...extra });

const SCAN = 'tikvpb.Tikv/KvScan';
const REGIONS = 'GET /pd/api/v1/regions';

/** Trials, as in assembly/tenant/tenant.ts. */
const [NONE, POLICY, ALL] = [0, 1, 2];

const BAD: [string, object, string | RegExp][] = [
  ['a policy that is a list', { policy: [] }, 'policy: must be an object'],
  [
    'an unknown field',
    { policy: { allow: [SCAN] } },
    'policy.allow: unknown field; known here: refuse, tenants',
  ],
  ['a text for a list', { policy: { refuse: SCAN } }, /^policy\.refuse: must be a list, for example \[/],
  ['a number in the list', { policy: { refuse: [SCAN, 7] } }, 'policy.refuse[1]: must be a text'],
  ...[
    ['another case', 'tikvpb.tikv/kvscan'],
    ['a slip of the pen', 'pdpb.PD/ScanRegion'],
    ['the beginning of a name', 'tikvpb.Tikv/KvSca'],
    ['a slash in front', '/tikvpb.Tikv/KvScan'],
    ['a service without a star', 'pdpb.PD/'],
    ['a service that there is not', 'pdpb.pd/*'],
    ['a star for all', '*'],
    ['a star behind a part of a name', 'tikvpb.Tikv/Kv*'],
    ['a slash and a star', '/*'],
    ['an endpoint without its method', '/pd/api/v1/regions'],
    ['an endpoint with its query', 'GET /pd/api/v1/regions?limit=1'],
    ['a group in the place of {group}', 'GET /pd/api/v1/config/rules/group/TiDB_DDL_1'],
    ['an empty name', ''],
    ['a name that is no ASCII', 'tikvpb.Tikv/KvScän'],
    ['a name longer than all others', 'x'.repeat(5000)],
  ].map(([what, name]): [string, object, string] => [
    what!,
    { policy: { refuse: [name] } },
    `policy.refuse[0]: "${name}" is no method or endpoint`,
  ]),
  [
    'what the tables refuse',
    { policy: { refuse: ['tikvpb.Tikv/KvGC'] } },
    'policy.refuse[0]: "tikvpb.Tikv/KvGC" is refused already; leave it out',
  ],
  [
    'an endpoint that the tables refuse',
    { policy: { refuse: ['* /pd/api/v1/operators'] } },
    'policy.refuse[0]: "* /pd/api/v1/operators" is refused already; leave it out',
  ],
  [
    'the same twice',
    { policy: { refuse: [SCAN, SCAN] } },
    `policy.refuse[1]: "${SCAN}" is refused already; leave it out`,
  ],
  [
    'one of a service that is refused',
    { policy: { refuse: ['tikvpb.Tikv/*', SCAN] } },
    `policy.refuse[1]: "${SCAN}" is refused already; leave it out`,
  ],
  [
    'for a tenant what all are refused',
    { policy: { refuse: [REGIONS], tenants: { beta: { refuse: [REGIONS] } } } },
    `policy.tenants.beta.refuse[0]: "${REGIONS}" is refused already; leave it out`,
  ],
  [
    'a tenant that there is not',
    { policy: { tenants: { gamma: { refuse: [SCAN] } } } },
    'policy.tenants.gamma: "gamma" is not in tenants',
  ],
  [
    'the second tenant, a number',
    { policy: { tenants: { beta: { refuse: [SCAN] }, alpha: { refuse: [SCAN, 7] } } } },
    'policy.tenants.alpha.refuse[1]: must be a text',
  ],
  ['tenants as a list', { policy: { tenants: ['alpha'] } }, /^policy\.tenants: must be an object/],
  [
    'an unknown field of a tenant',
    { policy: { tenants: { alpha: { deny: [] } } } },
    'policy.tenants.alpha.deny: unknown field; known here: refuse',
  ],
  ['a dry run that is a text', { dryRun: 'true' }, 'dryRun: must be true or false'],
  [
    'a dry run without tenant 0',
    { dryRun: true },
    'dryRun: is for tenant 0, the keys that are there already, and tenants lists none with number 0',
  ],
];

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  /** Names of the rules that the loaded policy refuses to a tenant. */
  const refused = (number: number): string[] =>
    filter.rules().flatMap(({ name }, rule) => (filter.policyOf(number, rule).refused ? [name] : []));

  test('the stricter policy of docs/security.md closes what it names, to one tenant', () => {
    const page = readFileSync(join(ROOT, 'docs/security.md'), 'utf8');
    const example = JSON.parse(/### A stricter policy.*?```json\n(.*?)```/s.exec(page)![1]!) as {
      policy: { tenants: { alpha: { refuse: string[] } } };
    };
    expect(filter.config(config(example))).toBe('');
    const { refuse } = example.policy.tenants.alpha;
    expect(refused(1).sort()).toEqual([...refuse].sort());
    expect(refused(2)).toEqual([]);
  });

  test('every method has its name, and the name is the rule that its path is looked up by', () => {
    const rules = filter.rules();
    for (const { path, decision } of judgement.methods) {
      const rule = filter.placeOf(path);
      expect(`/${rules[rule]?.name}`).toBe(path);
      expect([path, rules[rule]?.open]).toEqual([path, decision === 'PASS' || decision === 'MAP']);
    }
    expect(filter.placeOf('/tikvpb.Tikv/Nothing')).toBe(-1);
    expect(rules.length).toBeGreaterThan(judgement.methods.length + 20);
    expect(new Set(rules.map(({ name }) => name)).size).toBe(rules.length);
  });

  test('a method that was found last is found again, and none that only looks like it', () => {
    for (const { path } of judgement.methods) {
      const rule = filter.placeOf(path);
      expect(filter.placeOf(path)).toBe(rule);
      for (const other of [`${path.slice(0, -1)}~`, `~${path.slice(1)}`, path.slice(0, -1), `${path}~`, ''])
        expect(filter.placeOf(other)).toBe(-1);
      expect(filter.placeOf(path)).toBe(rule);
    }
  });

  test('every endpoint has the name that it has in its table', () => {
    const listed = ENDPOINTS.filter(({ path }) => path.startsWith('/pd/api/'));
    expect(
      filter
        .rules()
        .slice(judgement.methods.length)
        .map(({ name, open, command }) => [name, open, command]),
    ).toEqual(listed.map(({ method, path, decision }) => [`${method} ${path}`, decision !== 'refuse', 0]));
  });

  test('every command of a batch that tenants may send has the method that does the same', () => {
    const request = descriptors.getMessage('tikvpb.BatchCommandsRequest.Request')!;
    const commands = new Map(
      request.fields
        .filter((field) => field.message?.typeName !== 'mesh.Unread' && field.name !== 'Empty')
        .map((field) => [field.number, field.name]),
    );
    const found = filter
      .rules()
      .flatMap(({ name, command }) => (command === 0 ? [] : [[name, command] as const]));
    expect(found.map(([, command]) => command).sort((a, b) => a - b)).toEqual(
      [...commands.keys()].sort((a, b) => a - b),
    );
    for (const [name, command] of found)
      expect(name.toLowerCase().replace(/^tikvpb\.tikv\/(?:kv)?/, '')).toBe(
        commands.get(command)?.toLowerCase(),
      );
  });

  test.each(BAD)('%s is an error', (_, extra, wanted) => {
    const error = filter.config(config(extra));
    if (typeof wanted === 'string') expect(error).toBe(wanted);
    else expect(error).toMatch(wanted);
  });

  test('without a policy nothing more is refused', () => {
    expect(filter.config(config({}))).toBe('');
    expect(refused(1)).toEqual([]);
    expect(filter.config(config({ policy: {} }))).toBe('');
    expect(refused(1)).toEqual([]);
  });

  test('a method and an endpoint, for all and for one', () => {
    const policy = { refuse: [SCAN], tenants: { beta: { refuse: [REGIONS] } } };
    expect(filter.config(config({ policy }))).toBe('');
    expect(refused(1)).toEqual([SCAN]);
    expect(refused(2)).toEqual([SCAN, REGIONS]);
  });

  test('a service, and all below a path', () => {
    const policy = { refuse: ['pdpb.PD/*', 'GET /pd/api/v1/config/*'] };
    expect(filter.config(config({ policy }))).toBe('');
    const open = filter.rules().filter((rule) => rule.open);
    const wanted = open
      .map(({ name }) => name)
      .filter((name) => name.startsWith('pdpb.PD/') || name.startsWith('GET /pd/api/v1/config/'));
    expect(wanted.length).toBeGreaterThan(20);
    expect(refused(1)).toEqual(wanted);
  });

  test.each(['{group}', '{label-id}', '{key}', '*'])('an endpoint with %s in its path', (segment) => {
    const open = filter.rules().filter((rule) => rule.open && rule.name.endsWith(`/${segment}`));
    expect(open.length).toBeGreaterThan(0);
    for (const { name } of open) {
      expect(filter.config(config({ policy: { refuse: [name] } }))).toBe('');
      const [first, ...others] = refused(1);
      expect(first).toBe(name);
      // A name that ends in a star is one for all below, too.
      if (segment !== '*') expect(others).toEqual([]);
    }
  });

  test('the next configuration does not keep it', () => {
    expect(filter.config(config({ policy: { refuse: ['tikvpb.Tikv/*'] } }))).toBe('');
    expect(refused(1).length).toBeGreaterThan(30);
    expect(filter.config(config({}))).toBe('');
    expect(refused(1)).toEqual([]);
  });

  test.each<[string, object, object[], number[]]>([
    ['nobody', { dryRun: false }, [LEGACY, ...TENANTS], [NONE, NONE, NONE]],
    ['tenant 0 by policy only, beside others', { dryRun: true }, [...TENANTS, LEGACY], [POLICY, NONE, NONE]],
    ['tenant 0 altogether, alone', { dryRun: true }, [LEGACY], [ALL]],
  ])('dryRun tries %s', (_, extra, tenants, trials) => {
    expect(filter.config(config(extra, tenants))).toBe('');
    expect(trials.map((_, number) => filter.policyOf(number, 0).trial)).toEqual(trials);
  });

  describe('in a batch', () => {
    const key = rowKey(100, 1);
    const fine = { key, version: 5n };
    const batch = (commands: [string, Fields][]): Uint8Array =>
      encode('tikvpb.BatchCommandsRequest', {
        requests: commands.map(([command, value]) => ({ cmd: { case: command, value } })),
        requestIds: commands.map((_, i) => BigInt(i + 1)),
      });
    const sent = (bytes: Uint8Array): string[] => {
      const found = filter.message(BATCH, bytes, 'request');
      if (found.status !== Status.OK) return [Status[found.status]!];
      const { requests } = decode('tikvpb.BatchCommandsRequest', found.bytes);
      return (requests as Fields[]).map(({ cmd }) => cmd.case as string);
    };
    const commands: [string, Fields][] = [
      ['Get', fine],
      ['Scan', { startKey: key, version: 5n }],
      ['Get', fine],
    ];

    beforeAll(() => {
      filter.select(1, 'alpha');
    });

    test('a refused command is answered in its own response, its neighbours go on', () => {
      expect(filter.config(config({ policy: { tenants: { alpha: { refuse: [SCAN] } } } }))).toBe('');
      filter.newStream();
      filter.usePolicy(1);
      expect(sent(batch(commands))).toEqual(['Get', 'Empty', 'Get']);
      expect(filter.pending).toBe(1);
      const answer = encode('tikvpb.BatchCommandsResponse', {
        responses: [{ cmd: { case: 'Empty', value: {} } }],
        requestIds: [2n],
      });
      const got = filter.message(ANSWERS, answer, 'response');
      const { responses } = decode('tikvpb.BatchCommandsResponse', got.bytes);
      expect(responses[0].cmd).toMatchObject({
        case: 'Scan',
        value: {
          error: {
            abort:
              'tidb-mesh[BY_POLICY]: refused by pluginConfig.policy; ask the operators of the storage layer',
          },
        },
      });
      filter.usePolicy(2);
      expect(sent(batch(commands))).toEqual(['Get', 'Scan', 'Get']);
      filter.usePolicy(-1);
    });

    test('an unknown field in front of the command does not let it pass', () => {
      expect(filter.config(config({ policy: { refuse: [SCAN] } }))).toBe('');
      filter.newStream();
      filter.usePolicy(1);
      // Field 60 of the request, a number that nobody knows, then the command.
      const request = encode('tikvpb.BatchCommandsRequest.Request', { cmd: { case: 'Scan', value: {} } });
      const hidden = Buffer.concat([Buffer.from('e00301', 'hex'), request]);
      const outer = Buffer.concat([Buffer.of(0x0a, hidden.length), hidden, Buffer.from('120101', 'hex')]);
      expect(sent(outer)).toEqual(['UNKNOWN_FIELD']);
      filter.usePolicy(-1);
    });

    test('every command of a refused service is refused, and the stream lives', () => {
      expect(filter.config(config({ policy: { refuse: ['tikvpb.Tikv/*'] } }))).toBe('');
      const rules = filter.rules().filter(({ command }) => command !== 0);
      filter.usePolicy(1);
      for (const { name, command } of rules) {
        filter.newStream();
        const field = Buffer.from(varint((command << 3) | 2).concat(0));
        const outer = Buffer.concat([Buffer.of(0x0a, field.length), field, Buffer.from('120101', 'hex')]);
        expect([name, ...sent(outer)]).toEqual([name, 'Empty']);
      }
      filter.usePolicy(-1);
    });

    test('in a dry run they go on, are counted, and are rewritten all the same', () => {
      expect(filter.config(config({ dryRun: true, policy: { refuse: [SCAN] } }, [LEGACY, ...TENANTS]))).toBe(
        '',
      );
      filter.newStream();
      filter.select(0, 'legacy');
      filter.usePolicy(0);
      expect(sent(batch(commands))).toEqual(['Get', 'Scan', 'Get']);
      expect(filter.dryRunCommands).toEqual({ command: 2, count: 1 });
      const foreign: [string, Fields][] = [['Get', { key: rowKey(100, 1, 1), version: 5n }]];
      expect(sent(batch(foreign))).toEqual(['Empty']);
      filter.usePolicy(1);
      filter.select(1, 'alpha');
      expect(sent(batch(commands))).toEqual(['Get', 'Empty', 'Get']);
      filter.usePolicy(-1);
    });
  });
});

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
