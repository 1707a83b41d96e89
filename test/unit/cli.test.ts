/** `tidb-mesh` as a user runs it: what it says, where it points, and how it ends. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { CHANGED_FILE, CONFIG_FILE } from '../../src-ts/cli/files.ts';
import { formIn } from '../../src-ts/cli/output.ts';
import { Progress } from '../../src-ts/cli/progress.ts';
import { Judge } from '../../src-ts/config/judge.ts';
import { configSources } from '../../src-ts/config/sources.ts';
import { judgeFile } from '../../src-ts/config/validate.ts';
import type { PluginConfig } from '../../src-ts/config/types.ts';
import { subcommands } from '../../src-ts/docs/commands.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

let folder: string;
let judge: Judge;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-cli-'));
  judge = await Judge.load();
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

function run(...args: string[]): Ended {
  const env = { ...process.env, NO_COLOR: '1' };
  // Some commands would go on for ever if they began.
  const options = { cwd: ROOT, encoding: 'utf8', env, timeout: 120_000 } as const;
  const ended = spawnSync(join(ROOT, 'src-ts/cli/bin.mjs'), args, options);
  return { status: ended.status, stdout: ended.stdout, stderr: ended.stderr };
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const GOOD = {
  tenants: [
    { name: 'alpha', number: 1 },
    { name: 'beta', number: 2 },
  ],
  rules: [
    { principal: 'spiffe://m/ns/storage/sa/*', system: true },
    { principal: 'spiffe://m/ns/legacy/sa/tidb', tenant: 'beta' },
    { principal: 'spiffe://m/ns/{tenant}/sa/*' },
  ],
} satisfies PluginConfig;

describe('progress', () => {
  const shown = (isTTY: boolean, silent: boolean): string => {
    let text = '';
    const stream = { isTTY, columns: 20, write: (more: string) => (text += more) };
    const progress = new Progress(stream as unknown as NodeJS.WriteStream, silent);
    progress.tell('first');
    progress.tell('second, a long one that is cut');
    progress.end();
    progress.end();
    return text;
  };

  test('is one line of a terminal, which is cleared in the end', () => {
    const clear = '\r\u001b[K';
    expect(shown(true, false)).toBe(`${clear}… first${clear}… second, a long on${clear}`);
  });

  test('of a command that runs for ever is a log, where there is no terminal', () => {
    const texts: string[] = [];
    const stream = { isTTY: false, write: (more: string) => texts.push(more) };
    const progress = new Progress(stream as unknown as NodeJS.WriteStream, false, true);
    for (const line of ['alpha: drain', 'PD is away', 'alpha: drain', 'PD is away']) progress.tell(line);
    progress.end();
    expect(texts).toEqual(
      ['alpha: drain', 'PD is away'].map(
        (line) => expect.stringMatching(new RegExp(`^\\d{4}-.*Z ${line}\\n$`)) as unknown,
      ),
    );
  });

  test('is silent in a file, a pipe and for programs', () => {
    expect([shown(false, false), shown(true, true)]).toEqual(['', '']);
  });
});

describe('the command', () => {
  test('teaches itself', () => {
    const { status, stdout } = run('--help');
    expect(status).toBe(0);
    for (const name of ['validate', 'explain', 'render', 'oci', 'schema'])
      expect(stdout).toContain(`  ${name}`);
  });

  test('says its version, which is that of package.json', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(run('--version')).toMatchObject({ status: 0, stdout: `${version}\n` });
  });

  test.each([
    [['bogus']],
    [['render', 'x.yaml']],
    [['validate']],
    [['render', 'x', '--out', 'y', '--only', 'z']],
  ])('ends with 2 on %j', (args) => {
    const { status, stderr } = run(...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^error: .* \[USAGE\]\n  → .+\n$/s);
  });

  test('guesses what a misspelt subcommand means', () => {
    expect(run('tenatns', 'list').stderr).toContain('→ did you mean tenants?');
    expect(run('tenants', 'lst').stderr).toContain('→ did you mean list?');
    expect(run('tenants')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/Examples:\n {2}tidb-mesh tenants add [^]*the subcommand is missing/),
    });
  });

  test('names the help of the command that is wrong', () => {
    expect(run('doctor').stderr).toContain('→ see: tidb-mesh doctor --help');
    expect(run('tenants', 'add', '--zzz').stderr).toContain('→ see: tidb-mesh tenants add --help');
    // The misspelt option is why the other one is missing.
    expect(run('explain', '--confg', 'x').stderr).toContain('→ did you mean --config?');
  });

  test('a file that is not there ends with 2, what is wrong and what to do', () => {
    const path = join(folder, 'absent.json');
    expect(run('validate', path)).toEqual({
      status: 2,
      stdout: '',
      stderr: `error: ${path}: there is no such file [FILE]\n  → give the path of a file that can be read\n`,
    });
  });

  test('errors are JSON with --output json', () => {
    for (const args of [['validate', join(folder, 'absent.json')], ['doctor'], ['tenants']]) {
      const { status, stdout, stderr } = run(...args, '-o', 'json');
      expect(stdout).toBe('');
      expect(JSON.parse(stderr)).toEqual({
        code: expect.stringMatching(/^(USAGE|FILE)$/),
        message: expect.stringMatching(/./),
        hint: expect.stringMatching(/./),
        exit: status,
      });
    }
  });

  test.each([
    ['-o json', 'json'],
    ['-ojson', 'json'],
    ['--output json', 'json'],
    ['--output=json', 'json'],
    ['--json', 'json'],
    ['-o table', 'table'],
    ['--config json', 'table'],
    ['', 'table'],
  ])('doctor %s prints %s', (args, form) => {
    expect(formIn(['doctor', ...args.split(' ')])).toBe(form);
  });

  test('a PD that does not answer has an exit code of its own', () => {
    for (const args of [['doctor'], ['tenants', 'add', 'alpha']]) {
      const { status, stderr } = run(...args, '--pd', 'http://127.0.0.1:1');
      expect([status, stderr.split('\n')]).toEqual([
        3,
        [
          expect.stringMatching(
            /^error: GET .*: no answer from 127\.0\.0\.1:1: .*ECONNREFUSED.* \[UNREACHABLE\]$/,
          ),
          expect.stringMatching(/^  → check the address/),
          '',
        ],
      ]);
    }
  });

  describe.each(subcommands().map(({ path, command }) => [path, command] as const))('%s', (path, command) => {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text), getOutHelpWidth: () => 200 });
    command.outputHelp();

    test('shows examples of itself, exit codes and --output', () => {
      expect(help).toMatch(new RegExp(`\\nExamples:\\n(.*\\n)*  .*tidb-mesh ${path}`));
      expect(help).toMatch(/\nExit codes:\n {2}0 {2}.+\n {2}1 {2}.+\n {2}2 {2}/);
      expect(help).toMatch(/-o, --output <form> .*"table", "json"/);
      expect(/ {2}3 {2}PD or a store does not answer/.test(help)).toBe(/--pd <url>|--envoy <url/.test(help));
    });

    test('reads mesh files and pluginConfigs alike, and says so', () => {
      const files = command.options
        .filter(({ long }) => long === '--config')
        .map(({ description }) => description);
      const said = files.map((text) => [CONFIG_FILE, CHANGED_FILE].find((one) => text.endsWith(`: ${one}`)));
      expect(said).not.toContain(undefined);
    });
  });

  test('validate: the place, the line of the filter, the suggestion', () => {
    const path = file('slip.json', '{\n  "tenants": [{ "name": "alpha", "nubmer": 1 }],\n  "rules": []\n}\n');
    const { status, stdout } = run('validate', path);
    expect(status).toBe(1);
    expect(stdout).toBe(
      `${path}:2:34 error tenants[0].nubmer: unknown field; known here: name, number, state, keyspace, prefix, ownDefaultGroup, limits, keyNumber, epochOffset, confVerOffset, clusterId, latestSeen, servedBy, readableSince, move\n  → did you mean "number"?\n`,
    );
    const json = JSON.parse(run('validate', path, '--json').stdout) as { valid: boolean };
    expect(json.valid).toBe(false);
  });

  test('validate takes what render makes, and the mesh file', () => {
    const { status, stdout } = run('validate', 'manifests/mesh.yaml');
    expect([status, stdout]).toEqual([0, '✓ manifests/mesh.yaml: mesh file: valid\n']);
  });

  test('explain: 0 for a tenant, 1 for a caller that is refused', () => {
    const path = file('good.json', JSON.stringify(GOOD));
    const ask = (principal: string): Ended =>
      run('explain', '--config', path, '--principal', principal, '--json');
    expect(JSON.parse(ask('spiffe://m/ns/legacy/sa/tidb').stdout)).toMatchObject({ tenant: 'beta', rule: 1 });
    const refused = ask('spiffe://other/x');
    expect(refused.status).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({ access: 'refused' });
  });

  test('tenants add --with-data: 2 without the range of the data', () => {
    const { status, stderr } = run('tenants', 'add', 'alpha', '--with-data', '--pd', 'http://127.0.0.1:1');
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/--with-data needs the range.*--config FILE/s),
    ]);
  });

  test('render --check: 0 when all is the same, 1 when one byte is not', () => {
    const out = join(folder, 'manifests');
    const render = (...more: string[]): Ended =>
      run('render', 'manifests/mesh.yaml', '--out', out, '--no-code', '--only', 'base', ...more);
    expect(render('--check').status).toBe(1);
    expect(render().status).toBe(0);
    expect(render('--check').status).toBe(0);
    const path = join(out, 'base', 'access.yaml');
    writeFileSync(path, readFileSync(path, 'utf8').replace('STRICT', 'PERMISSIVE'));
    const { status, stdout, stderr } = render('--check');
    expect([status, stdout]).toEqual([1, expect.stringContaining('base/access.yaml  different')]);
    expect(stderr).toBe(
      `error: 1 of 4 files are not as manifests/mesh.yaml renders them [DIFFERENT]\n  → render them again: tidb-mesh render manifests/mesh.yaml --out ${out}\n`,
    );
  });
});

describe('move', () => {
  const run1 = (...args: string[]): Ended =>
    run('move', 'run', ...args, '--pd', 'http://127.0.0.1:1', '--envoy', 'http://127.0.0.1:1');

  test.each<[string, string | undefined, number, RegExp]>([
    ['that is not there', undefined, 2, /there is no such file \[FILE\]/],
    ['that is a manifest', 'kind: EnvoyFilter\n---\nkind: Service\n', 1, /is a manifest \[INVALID\]/],
    ['without tenants', 'storage: {}\n', 1, /has no list of tenants to change \[INVALID\]/],
  ])('run does not begin with a file %s', (_, text, status, why) => {
    const path = text === undefined ? join(folder, 'absent.yaml') : file('moving.yaml', text);
    expect(run1('--config', path)).toMatchObject({ status, stderr: expect.stringMatching(why) as unknown });
  });

  test('a missing file of a cluster is named by where it stands', () => {
    const config = file('moving.json', JSON.stringify(GOOD));
    const clusters = file(
      'clusters.yaml',
      'clusters: { shop: { pd: "https://127.0.0.1:1", ca: absent.pem } }\n',
    );
    const { status, stderr } = run1('--config', config, '--clusters', clusters);
    expect([status, stderr]).toEqual([
      2,
      expect.stringContaining(`${clusters}: shop: ca: there is no file ${join(folder, 'absent.pem')} [FILE]`),
    ]);
  });

  test.each([
    [['run', '--config', 'x', '--hold', 'abc'], 'a whole number of seconds from 1 to 600'],
    [['run', '--config', 'x', '--max-lag', '0'], 'a whole number of seconds from 1 to 600'],
    [['create', 'alpha', '--config', 'x', '--to-keyspace', '-1'], 'a whole number from 0 to 16777215'],
    [['create', 'alpha', '--config', 'x', '--to-keyspace', '7.5'], 'a whole number from 0 to 16777215'],
  ])('%j says what the number must be', (args, what) => {
    const { status, stderr } = run('move', ...args, '--pd', 'http://127.0.0.1:1');
    expect([status, stderr]).toEqual([2, expect.stringContaining(`It must be ${what}.`)]);
  });
});

describe('tenants suspend, read-only, resume', () => {
  const MESH = `storage: { namespace: tidb, cluster: storage }
pluginConfig:
  tenants:
    - name: alpha # ours
      number: 1
`;

  test('change the file, say what to apply, and that nothing was to change', () => {
    const path = file('mesh.yaml', MESH);
    expect(run('tenants', 'suspend', 'alpha', '--config', path)).toEqual({
      status: 0,
      stdout: `alpha is suspended in ${path}; it was active\nApply it: tidb-mesh render ${path} --out DIR, then kubectl apply --server-side -k DIR/VARIANT\n`,
      stderr: '',
    });
    expect(readFileSync(path, 'utf8')).toBe(`${MESH}      state: suspended\n`);
    const again = run('tenants', 'suspend', 'alpha', '--config', path, '-o', 'json');
    expect(JSON.parse(again.stdout)).toEqual({
      name: 'alpha',
      state: 'suspended',
      before: 'suspended',
      file: path,
      changed: false,
    });
    expect(run('tenants', 'read-only', 'alpha', '--config', path).status).toBe(0);
    expect(run('tenants', 'resume', 'alpha', '--config', path).stdout).toMatch(
      /^alpha is active .* it was read-only$/m,
    );
    expect(readFileSync(path, 'utf8')).toBe(`${MESH}      state: active\n`);
  });

  test('leave a file as it is that the filter would not take', () => {
    const path = file('broken.json', '{ "tenants": [{ "name": "alpha", "number": 1, "nubmer": 1 }] }');
    const { status, stderr } = run('tenants', 'suspend', 'alpha', '--config', path);
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/nubmer: unknown field.*nothing was changed \[INVALID\]/),
    ]);
    expect(readFileSync(path, 'utf8')).not.toContain('suspended');
    expect(run('tenants', 'suspend', 'alpha', '--config', '-').status).toBe(2);
  });
});

describe('validate', () => {
  const first = (text: string): object | undefined => judgeFile(text, judge)[0]?.findings[0];

  test('JSON that is none: where the filter stopped', () => {
    expect(first('{\n  "tenants": [,]\n}')).toMatchObject({ line: 2, column: 15, path: '' });
  });

  test.each([
    ['a mesh file', 'storage:\n  namespace: [\npluginConfig: {}\n', '3:1'],
    ['a manifest', 'kind: WasmPlugin\nspec:\n  pluginConfig: {a: *x}\n', '1:1'],
  ])('%s that is no YAML: where', (_, text, place) => {
    const path = file('broken.yaml', text);
    const { status, stdout } = run('validate', path);
    expect([status, stdout]).toEqual([1, expect.stringContaining(`${path}:${place} error not valid YAML: `)]);
    for (const args of [
      ['explain', '--principal', 'x'],
      ['doctor', '--pd', 'http://127.0.0.1:1'],
    ])
      expect(run(...args, '--config', path)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/not valid YAML: .* \[INVALID\]\n {2}→ correct it/) as unknown,
      });
  });

  test('a wrong field of a mesh file beside its pluginConfig', () => {
    const yaml = 'storage:\n  namespace: s\n  clsuter: c\npluginConfig: {}\n';
    expect(first(yaml)).toMatchObject({
      ...{ line: 3, column: 3, path: 'storage.clsuter' },
      suggestion: 'did you mean "cluster"?',
    });
  });

  test('a field of a mesh file', () => {
    const yaml = `storage:\n  namespace: s\n  cluster: c\npluginConfig:\n  tenants:\n    - name: alpha\n      number: 40000\n  rules: []\n`;
    expect(first(yaml)).toMatchObject({ line: 7, column: 7, path: 'tenants[0].number' });
  });

  test('a field of the JSON in an EnvoyFilter', () => {
    const config = `{\n  "tenants": [\n    {"name": "alpha", "number": 1}\n  ],\n  "rules": [\n    {"principal": "a", "tenant": "alhpa"}\n  ]\n}`;
    const block = config.replace(/^/gm, ' '.repeat(20));
    const yaml = `apiVersion: x\nkind: EnvoyFilter\nmetadata:\n  name: f\nspec:\n  configPatches:\n    - patch:\n        value:\n          typed_config:\n            config:\n              configuration:\n                value: |\n${block}\n`;
    const [judgement] = judgeFile(yaml, judge);
    expect(judgement?.kind).toBe('EnvoyFilter f');
    // Line 6 of the JSON, its column 24, behind the block's twelve lines and twenty spaces.
    expect(judgement?.findings[0]).toMatchObject({
      line: 18,
      column: 44,
      path: 'rules[0].tenant',
      suggestion: 'did you mean "alpha"?',
    });
  });

  test.each([
    ['WasmPlugin', 'pluginConfig:\n    rulez: 1'],
    ['TrafficExtension', 'wasm:\n    pluginConfig:\n      rulez: 1'],
  ])('a field of a %s', (kind, inner) => {
    const yaml = `kind: ${kind}\nspec:\n  ${inner}\n`;
    expect(first(yaml)).toMatchObject({ severity: 'error', path: 'rulez' });
  });

  test('a WasmPlugin with a text says what is wrong with it', () => {
    expect(first('kind: WasmPlugin\nspec:\n  pluginConfig: |\n    {"tenants": []}\n')).toMatchObject({
      severity: 'error',
      text: 'spec.pluginConfig: must be an object, not a text: Istio takes no other form',
      line: 3,
    });
  });

  describe('a mesh file', () => {
    const mesh = (rules: object[] | undefined, trustDomain?: string): string =>
      JSON.stringify({
        storage: { namespace: 'storage', cluster: 'c' },
        ...(trustDomain === undefined ? {} : { trustDomain }),
        pluginConfig: { tenants: GOOD.tenants, ...(rules ? { rules } : {}) },
      });
    const found = (...args: Parameters<typeof mesh>): string[] =>
      judgeFile(mesh(...args), judge).flatMap(({ findings }) =>
        findings.map(({ severity, path }) => `${severity} ${path}`),
      );
    const rulesOf = (before: string): object[] => [
      { principal: `${before}/ns/storage/sa/*`, system: true },
      { principal: `${before}/ns/{tenant}/sa/*` },
    ];
    const NOBODY = ['error rules', 'error tenants[0]', 'error tenants[1]'];

    test.each<[string, string[], object[] | undefined, string?]>([
      ['rules of its trust domain', [], rulesOf('spiffe://corp.example'), 'corp.example'],
      ['rules of any trust domain', [], rulesOf('spiffe://*'), 'corp.example'],
      ['no rules', [], undefined, 'corp.example'],
      [
        'rules of another trust domain',
        ['warning rules[0].principal', 'warning rules[1].principal', ...NOBODY],
        rulesOf('spiffe://cluster.local'),
        'corp.example',
      ],
      [
        'rules as alsoTrusted writes them',
        ['error rules[0].principal', 'error rules[1].principal', ...NOBODY],
        rulesOf('cluster.local'),
      ],
      ['no system rule', ['error rules'], rulesOf('spiffe://cluster.local').slice(1)],
      ['no rule for tenants', NOBODY.slice(1), rulesOf('spiffe://cluster.local').slice(0, 1)],
    ])('with %s', (_, expected, ...args) => {
      expect(found(...args)).toEqual(expected);
    });

    test('without rules serves its own trust domain, PD and TiKV as well', () => {
      const [source] = configSources(mesh(undefined, 'corp.example'));
      expect(judge.configure(source!.text)).toBe('');
      const access = (ns: string): string =>
        judge.resolve({ principal: `spiffe://corp.example/ns/${ns}/sa/x` }).access;
      expect([access('storage'), access('alpha'), access('other')]).toEqual(['system', 'tenant', 'refused']);
    });

    test('is not rendered when nobody is served', () => {
      const path = file('nobody.json', mesh(rulesOf('cluster.local')));
      const { status, stderr } = run('render', path, '--out', join(folder, 'nobody'), '--no-code');
      expect([status, stderr]).toEqual([1, expect.stringContaining('write "spiffe://cluster.local/ns/')]);
    });

    test.each([
      [
        'what the filter refuses',
        { tenants: [{ name: 'alpha', number: 1, nubmer: 2 }] },
        /nubmer: unknown field/,
      ],
      [
        'requirePrincipal: false',
        {
          tenants: [{ name: 'alpha', number: 1 }],
          rules: [{ peer: { namespace: '{tenant}' } }],
          requirePrincipal: false,
        },
        /requirePrincipal|no system rule/,
      ],
    ])('is not rendered with %s', (_, pluginConfig, why) => {
      const path = file('refused.json', JSON.stringify({ ...JSON.parse(mesh(undefined)), pluginConfig }));
      const out = join(folder, 'refused');
      const { status, stderr } = run('render', path, '--out', out, '--no-code');
      expect([status, stderr]).toEqual([1, expect.stringMatching(why)]);
      expect(existsSync(out)).toBe(false);
    });

    test("may use YAML's merge key", () => {
      const yaml =
        'storage: { namespace: storage, cluster: c }\npluginConfig:\n  tenants:\n' +
        '    - &one { name: alpha, number: 1 }\n    - { <<: *one, name: beta, number: 2 }\n';
      expect(judgeFile(yaml, judge)).toMatchObject([{ kind: 'mesh file', findings: [] }]);
    });
  });

  test('a manifest without a configuration holds none', () => {
    expect(judgeFile('kind: Service\nspec: {}\n', judge)).toEqual([]);
  });

  const warnings = (config: PluginConfig): string[] =>
    judgeFile(JSON.stringify(config), judge).flatMap(({ findings }) => findings.map(({ text }) => text));

  test('nothing to say of a good one', () => {
    expect(warnings(GOOD)).toEqual([]);
  });

  test('a rule that is never reached is an error of the filter', () => {
    const [a, b, c] = GOOD.rules;
    expect(first(JSON.stringify({ ...GOOD, rules: [a, c, b] }))).toMatchObject({
      severity: 'error',
      path: 'rules[2].principal',
    });
  });

  test('a service account that chooses its tenant in any namespace', () => {
    expect(warnings({ ...GOOD, rules: [{ principal: 'spiffe://m/ns/*/sa/{tenant}-tidb' }] })).toEqual([
      expect.stringMatching(/^rules\[0\].principal: leaves the namespace open: whoever may make/),
    ]);
  });

  test('callers that are believed', () => {
    const config = { ...GOOD, requirePrincipal: false, rules: [{ node: { workload: '{tenant}-tidb' } }] };
    expect(warnings(config)).toEqual([expect.stringMatching(/^requirePrincipal: is false, so callers/)]);
  });

  test('a system rule that leaves the namespace open', () => {
    const open = { principal: 'spiffe://m/ns/*/sa/pd', system: true };
    expect(warnings({ ...GOOD, rules: [open, ...GOOD.rules] })).toEqual([
      'rules[0].principal: leaves the namespace open, and what it matches passes unread: name the namespace',
    ]);
  });

  test.each([
    ['tikvpb.tikv/kvscan', 'did you mean "tikvpb.Tikv/KvScan"?'],
    ['/tikvpb.Tikv/KvScan', 'did you mean "tikvpb.Tikv/KvScan"?'],
    ['pdpb.PD/ScanRegion', 'did you mean "pdpb.PD/ScanRegions"?'],
    ['/pd/api/v1/regions', 'did you mean "GET /pd/api/v1/regions"?'],
    ['pdpb.Pd/*', 'did you mean "pdpb.PD/*"?'],
    ['nothing like it', 'docs/surface.md has the names'],
  ])('a policy that refuses %s', (name, suggestion) => {
    expect(first(JSON.stringify({ ...GOOD, policy: { refuse: ['tikvpb.Tikv/KvGet', name] } }))).toMatchObject(
      {
        severity: 'error',
        path: 'policy.refuse[1]',
        text: `policy.refuse[1]: "${name}" is no method or endpoint`,
        suggestion,
      },
    );
  });

  test('a policy for a tenant that there is not', () => {
    const policy = { tenants: { alhpa: { refuse: ['tikvpb.Tikv/KvScan'] } } };
    expect(first(JSON.stringify({ ...GOOD, policy }))).toMatchObject({
      path: 'policy.tenants.alhpa',
      suggestion: 'did you mean "alpha"?',
    });
  });

  test('a dry run', () => {
    const legacy = { name: 'legacy', number: 0 };
    const alone = { tenants: [legacy], dryRun: true };
    expect(warnings(alone)).toEqual([expect.stringMatching(/^dryRun: is true, .* passes unread/)]);
    expect(warnings({ ...alone, tenants: [legacy, ...GOOD.tenants] })).toEqual([
      expect.stringMatching(/^dryRun: is true, so what policy refuses tenant 0/),
    ]);
    expect(warnings({ ...alone, dryRun: false })).toEqual([]);
  });

  test('a tenant that nobody can be', () => {
    expect(warnings({ ...GOOD, rules: GOOD.rules.slice(0, 2) })).toEqual([
      'tenants[0]: no rule makes a caller tenant "alpha"',
    ]);
  });
});

test.each<[string, string, boolean]>([
  ['a*', 'ab', true],
  ['a*', 'a', true],
  ['a*', 'a/b', false],
  ['a*b', 'a*', false],
  ['*', '{tenant}', true],
  ['{tenant}', '*', false],
  ['{tenant}', 'abc-1', true],
  ['{tenant}', 'Abc', false],
  ['x/{tenant}/*', 'x/{tenant}/y', true],
  ['x/{tenant}/y', 'x/{tenant}/*', false],
  ['x', 'x', true],
  ['x', 'y', false],
])('%s hides %s behind it: %s', (wide, narrow, expected) => {
  const rules = [wide, narrow].map((principal) =>
    principal.includes('{tenant}') ? { principal } : { principal, tenant: 'alpha' },
  );
  expect(judge.configure(JSON.stringify({ ...GOOD, rules })).includes('never reached')).toBe(expected);
});

describe('explain', () => {
  const load = (config: PluginConfig): void => {
    expect(judge.configure(JSON.stringify(config))).toBe('');
  };

  test('finds the rule among many', () => {
    load({
      ...GOOD,
      rules: Array.from({ length: 300 }, (_, i) => ({ principal: `spiffe://m/${i}`, tenant: 'alpha' })),
    });
    for (const i of [0, 1, 149, 298, 299, 0])
      expect(judge.resolve({ principal: `spiffe://m/${i}` })).toEqual({
        access: 'tenant',
        tenant: 'alpha',
        rule: i,
      });
    const { access, rule } = judge.resolve({ principal: 'spiffe://m/300' });
    expect([access, rule]).toEqual(['refused', undefined]);
  });

  test('the rule and the fact that refuse a caller', () => {
    const label = { 'tidb-mesh.io/tenant': '{tenant}' };
    load({
      ...GOOD,
      rules: [GOOD.rules[0]!, { principal: 'spiffe://m/ns/{tenant}/sa/*', peer: { labels: label } }],
    });
    const principal = 'spiffe://m/ns/alpha/sa/x';
    const of = (tenant: string): object =>
      judge.resolve({ principal, peer: { labels: { 'tidb-mesh.io/tenant': tenant } } });
    expect(of('alpha')).toEqual({ access: 'tenant', tenant: 'alpha', rule: 1 });
    expect(of('beta')).toMatchObject({
      access: 'refused',
      rule: 1,
      refusal: expect.stringContaining('"alpha" is expected and "beta" was found') as unknown,
    });
    expect(judge.resolve({ principal })).toMatchObject({ access: 'refused', rule: 1 });
  });

  test('the node, without a principal', () => {
    load({ ...GOOD, requirePrincipal: false, rules: [{ node: { workload: '{tenant}-tidb' } }] });
    const of = (workload: string): object => judge.resolve({ principal: '', node: { workload } });
    expect(of('beta-tidb')).toEqual({ access: 'tenant', tenant: 'beta', rule: 0 });
    expect(of('beta-pd')).toMatchObject({ access: 'refused' });
  });

  test('the rule that stands where there is none', () => {
    load({ tenants: GOOD.tenants });
    expect(judge.resolve({ principal: 'spiffe://cluster.local/ns/alpha/sa/x' })).toMatchObject({
      tenant: 'alpha',
    });
  });

  test('what policy refuses the caller, and what is in a dry run', () => {
    const tenants = [{ name: 'legacy', number: 0 }, ...GOOD.tenants];
    const policy = {
      refuse: ['GET /pd/api/v1/stores'],
      tenants: { beta: { refuse: ['tikvpb.Tikv/KvScan'] } },
    };
    const path = file('policy.json', JSON.stringify({ ...GOOD, tenants, policy, dryRun: true }));
    const ask = (tenant: string, ...more: string[]): Ended =>
      run('explain', '--config', path, '--principal', `spiffe://m/ns/${tenant}/sa/x`, ...more);
    expect(ask('beta').stdout).toMatch(
      /\npolicy refuses it: GET \/pd\/api\/v1\/stores, tikvpb\.Tikv\/KvScan\n$/,
    );
    expect(ask('legacy').stdout).toMatch(
      /\npolicy would refuse it: GET \/pd\/api\/v1\/stores\ndry run: .* goes on\n$/,
    );
    expect(JSON.parse(ask('legacy', '--json').stdout)).toMatchObject({
      tenant: 'legacy',
      policy: { refuse: ['GET /pd/api/v1/stores'], trial: 'policy' },
    });
  });

  test('the command takes facts, and says what one looks like', () => {
    const rules = [
      { principal: 'spiffe://m/ns/{tenant}/sa/*', peer: { app: 'tidb', labels: { tier: 'sql' } } },
    ];
    const path = file('facts.json', JSON.stringify({ ...GOOD, rules }));
    const ask = (...facts: string[]): Ended =>
      run('explain', '--config', path, '--principal', 'spiffe://m/ns/beta/sa/x', ...facts);
    const good = ask('--peer', 'app=tidb', '--peer', 'labels.tier=sql');
    expect([good.status, good.stdout]).toEqual([
      0,
      expect.stringMatching(/^rules\[0\] .*\ntenant beta, number 2\n$/),
    ]);
    expect(ask('--peer', 'app=tidb').status).toBe(1);
    const wrong = ask('--peer', 'pod=x');
    expect([wrong.status, wrong.stderr]).toEqual([2, expect.stringContaining('give workload=…')]);
  });
});
