/** Without Istio, as docs/standalone.md says: its certificates, the rendered files on the disk, two storages, a TiDB in each, a tenant that goes over. */
import { execFile, spawn } from 'node:child_process';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ROOT } from '../../src-ts/wasm/builds.ts';
import { prepare, type Binaries } from '../harness/stack/builds.ts';
import { callGrpc, callHttp } from '../harness/stack/caller.ts';
import type { CertFiles } from '../harness/stack/certs.ts';
import { storeInspector } from '../harness/stack/inspect.ts';
import { PD_GRACE } from '../harness/stack/pd.ts';
import { freePorts } from '../harness/stack/ports.ts';
import { startRun, waitHealthy, type Run } from '../harness/stack/processes.ts';
import { silent } from '../harness/stack/progress.ts';
import { startTidb, type Tidb } from '../harness/stack/tidb.ts';

const run = promisify(execFile);
const HOST = '127.0.0.1';
const PATIENCE = 60_000;
const EVERYTHING = Buffer.alloc(0);

/** Both have the number 1, so their keys are the same: only the storage tells them apart. */
const TENANTS = [
  { name: 'alpha', number: 1, storage: 'first' },
  { name: 'beta', number: 1, storage: 'second' },
] as const;
type Name = (typeof TENANTS)[number]['storage'];
const NAMES: readonly Name[] = ['first', 'second'];

interface Ports {
  envoyPd: number;
  envoyTikv: number;
  admin: number;
  pd: number;
  peer: number;
  tikv: number;
  inspect: number;
}

let servers: Run;
let binaries: Binaries;
let folder: string;
const ports = {} as Record<Name, Ports>;
const tidbs = {} as Record<Name, Tidb>;

/** The authority's files and somebody's own. */
const certsOf = (who: string): CertFiles => ({
  ca: join(folder, 'certs/ca.crt'),
  cert: join(folder, `certs/${who}.crt`),
  key: join(folder, `certs/${who}.key`),
});
const listener = (name: Name, kind: 'envoyPd' | 'envoyTikv' = 'envoyPd'): string =>
  `${HOST}:${ports[name][kind]}`;

beforeAll(async () => {
  binaries = await prepare(silent);
  servers = await startRun();
  folder = join(servers.data, 'mesh');
  await mkdir(join(folder, 'certs'), { recursive: true });
  for (const name of NAMES) {
    const [envoyPd = 0, envoyTikv = 0, admin = 0, pd = 0, peer = 0, tikv = 0, inspect = 0] =
      await freePorts(7);
    ports[name] = { envoyPd, envoyTikv, admin, pd, peer, tikv, inspect };
  }
  await issue('beta');
  await renderMesh(TENANTS);
  await Promise.all(NAMES.map(startStorage));
  await Promise.all(
    TENANTS.map(async ({ name, storage }) => {
      tidbs[storage] = await startTidb(servers, {
        name: `tidb-${name}`,
        binary: binaries.tidb,
        ports: await mysqlPorts(),
        pdAddress: listener(storage),
        certs: certsOf(name),
      });
    }),
  );
});
afterAll(() => servers?.end());

async function mysqlPorts(): Promise<{ mysql: number; status: number }> {
  const [mysql = 0, status = 0] = await freePorts(2);
  return { mysql, status };
}

/** Runs the page's commands, for the names of this machine, and then the last one again for others. */
async function issue(...others: string[]): Promise<void> {
  const page = await readFile(join(ROOT, 'docs/standalone.md'), 'utf8');
  const [, block = ''] = /<!-- openssl:.*-->\n([^]*?)<!-- end of openssl -->/.exec(page) ?? [];
  const lines = block.replaceAll(/^ {4}/gm, '').trim().split('\n');
  const last = lines.at(-1) ?? '';
  expect(last).toMatch(/^issue alpha /);
  const all = [...lines, ...others.map((other) => last.replaceAll('alpha', other))].join('\n');
  const script = `set -eu\n${all.replaceAll(/DNS:\S+/g, `DNS:localhost,IP:${HOST}`)}\n`;
  await run('sh', ['-c', script], { cwd: join(folder, 'certs'), timeout: PATIENCE });
}

function command(...args: string[]): Promise<{ stdout: string }> {
  return run(process.execPath, [join(ROOT, 'src-ts/cli/bin.mjs'), ...args], { timeout: 2 * PATIENCE });
}

/** Writes the mesh file, and renders it to where the Envoys read it. */
async function renderMesh(tenants: readonly object[]): Promise<void> {
  const { ca, cert, key } = certsOf('envoy');
  const mesh = {
    target: 'envoy',
    folder,
    listen: HOST,
    accessLog: join(servers.logs, 'envoy-access.log'),
    certificates: { ca, certificate: cert, key },
    storages: NAMES.map((name) => ({
      name,
      pd: [{ advertise: listener(name), server: `${HOST}:${ports[name].pd}` }],
      tikv: [{ advertise: listener(name, 'envoyTikv'), server: `${HOST}:${ports[name].tikv}` }],
      admin: ports[name].admin,
      principal: 'spiffe://example.com/ns/storage/sa/envoy',
    })),
    pluginConfig: {
      tenants,
      rules: [
        { principal: 'spiffe://example.com/ns/storage/sa/*', system: true },
        { principal: 'spiffe://example.com/ns/{tenant}/sa/tidb' },
      ],
    },
  };
  const path = join(servers.data, 'mesh.yaml');
  await writeFile(path, JSON.stringify(mesh));
  await command('render', path, '--out', folder);
}

async function startStorage(name: Name): Promise<void> {
  const own = ports[name];
  const envoy = await servers.spawn({
    name: `envoy-${name}`,
    command: binaries.envoy,
    args: [
      ...['--config-path', join(folder, name, 'envoy.yaml'), '--concurrency', '1'],
      ...['--disable-hot-restart', '--log-level', 'warning', '--component-log-level', 'wasm:info'],
      ...['--file-flush-interval-msec', '50'],
    ],
  });
  await waitHealthy(envoy, 'readiness', PATIENCE, async () => {
    const response = await fetch(`http://${HOST}:${own.admin}/ready`);
    return response.ok ? true : undefined;
  });
  await startPd(name);
  const { ca, cert, key } = certsOf('tikv-0');
  const store = await servers.spawn({
    name: `store-${name}`,
    command: binaries.store,
    args: [
      `--pd=${listener(name)}`,
      `--listen=${HOST}:${own.tikv}`,
      `--advertise=${listener(name, 'envoyTikv')}`,
      `--inspect=${HOST}:${own.inspect}`,
      `--data=${join(servers.data, `store-${name}`)}`,
      ...[`--ca=${ca}`, `--cert=${cert}`, `--key=${key}`],
    ],
  });
  await waitHealthy(store, 'registration with PD', PATIENCE, async () => {
    const { body } = await callHttp(listener(name), certsOf('operator'), '/pd/api/v1/stores');
    return (JSON.parse(body) as { count: number }).count > 0 ? true : undefined;
  });
  const operator = certsOf('operator');
  await command(
    ...['tenants', 'add', '--all', '--config', join(folder, name, 'filter.yaml')],
    ...['--pd', `https://${listener(name)}`],
    ...['--ca', operator.ca, '--cert', operator.cert, '--key', operator.key],
  );
}

async function startPd(name: Name): Promise<void> {
  const { ca, cert, key } = certsOf('pd-0');
  const { pd, peer } = ports[name];
  const data = join(servers.data, `pd-${name}`);
  await mkdir(data);
  const config = join(data, 'pd.toml');
  const quoted = JSON.stringify;
  await writeFile(
    config,
    `name = "pd"
data-dir = ${quoted(join(data, 'data'))}
client-urls = "https://${HOST}:${pd}"
advertise-client-urls = "https://${listener(name)}"
peer-urls = "https://${HOST}:${peer}"
advertise-peer-urls = "https://${HOST}:${peer}"
initial-cluster = "pd=https://${HOST}:${peer}"
[replication]
max-replicas = 1
[security]
cacert-path = ${quoted(ca)}
cert-path = ${quoted(cert)}
key-path = ${quoted(key)}
cert-allowed-cn = ["storage"]
`,
  );
  const server = await servers.spawn({
    name: `pd-${name}`,
    command: binaries.pd,
    args: [`--config=${config}`],
    // The etcd inside panics on the patterns of newer routers.
    env: { GODEBUG: 'httpmuxgo121=1' },
    grace: PD_GRACE,
  });
  await waitHealthy(server, 'leader', PATIENCE, async () => {
    const { body } = await callHttp(`${HOST}:${pd}`, certsOf('operator'), '/pd/api/v1/leader');
    return (JSON.parse(body) as { name?: string }).name ? true : undefined;
  });
}

test("each tenant's rows are in its own storage, and nowhere else", async () => {
  const rowOf = (tenant: string): string => `a row of ${tenant}`;
  await Promise.all(
    TENANTS.map(async ({ name, storage }) => {
      const session = await tidbs[storage].connect();
      await session.query('CREATE TABLE test.t (id BIGINT PRIMARY KEY, v VARCHAR(60), KEY (v))');
      await session.query('INSERT INTO test.t VALUES (1, ?)', [rowOf(name)]);
      await session.query('ADMIN CHECK TABLE test.t');
      expect(await session.query('SELECT v FROM test.t USE INDEX (v)')).toEqual([{ v: rowOf(name) }]);
      await session.close();
    }),
  );
  for (const { storage } of TENANTS) {
    const values = await storeInspector(`http://${HOST}:${ports[storage].inspect}`).values(
      EVERYTHING,
      EVERYTHING,
    );
    const found = TENANTS.filter(({ name }) => values.some(({ value }) => value.includes(rowOf(name))));
    expect(found.map((tenant) => tenant.storage)).toEqual([storage]);
  }
});

test.each(TENANTS)('$name is refused at the other storage', async ({ name, storage }) => {
  const other = NAMES.find((one) => one !== storage)!;
  const codeAt = async (at: Name, kind: 'envoyPd' | 'envoyTikv', path: string): Promise<string> =>
    (await callGrpc(listener(at, kind), certsOf(name), path)).status;
  const httpAt = async (at: Name): Promise<number> =>
    (await callHttp(listener(at), certsOf(name), '/pd/api/v1/stores')).status;
  expect(await httpAt(storage)).toBe(200);
  expect(await httpAt(other)).toBe(403);
  expect(await codeAt(storage, 'envoyPd', '/pdpb.PD/GetMembers')).toBe('OK');
  expect(await codeAt(other, 'envoyPd', '/pdpb.PD/GetMembers')).toBe('PERMISSION_DENIED');
  expect(await codeAt(storage, 'envoyTikv', '/tikvpb.Tikv/GetStoreSafeTS')).toBe('OK');
  expect(await codeAt(other, 'envoyTikv', '/tikvpb.Tikv/GetStoreSafeTS')).toBe('PERMISSION_DENIED');
});

test('nobody comes in without a certificate or in plaintext', async () => {
  const path = '/pdpb.PD/GetMembers';
  const { ca } = certsOf('alpha');
  const options = { deadline: 3_000 };
  for (const kind of ['envoyPd', 'envoyTikv'] as const) {
    expect((await callGrpc(listener('first', kind), { ca }, path, undefined, options)).code).not.toBe(0);
    await expect(fetch(`http://${listener('first', kind)}/pd/api/v1/stores`)).rejects.toThrow();
  }
});

test('metrics and access log name tenant and storage', async () => {
  for (const { name, storage } of TENANTS) {
    const metrics = await (await fetch(`http://${HOST}:${ports[storage].admin}/stats/prometheus`)).text();
    const tenants = new Set(
      [...metrics.matchAll(/^\S*tidbmesh_\S*?\{[^}]*\btenant="([^"]+)"/gm)].map(([, tenant]) => tenant),
    );
    expect([...tenants].filter((tenant) => TENANTS.some((one) => one.name === tenant))).toEqual([name]);
    const labelled = metrics.split('\n').filter((line) => /^\S*tidbmesh_\S*\{/.test(line));
    for (const line of labelled) expect(line).toContain(`storage="${storage}"`);
  }
  const lines = (await readFile(join(servers.logs, 'envoy-access.log'), 'utf8')).trim().split('\n');
  const seen = new Set(
    lines
      .map((line) => JSON.parse(line) as { storage: string; tenant: string | null })
      .filter(({ tenant }) => tenant !== null)
      .map(({ storage, tenant }) => `${storage} ${tenant}`),
  );
  expect([...seen].sort()).toEqual(['first alpha', 'second beta']);
});

test('Envoy takes replaced certificates and a changed mesh file by itself', async () => {
  const serialOf = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const [host = '', port] = listener('first').split(':');
      const socket: TLSSocket = connectTls({ host, port: Number(port), rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
      socket.on('error', reject);
    });
  const before = await serialOf();
  // The page's commands write in place; a renewal moves its files.
  await issueEnvoyAnew();
  await until('another certificate', async () => (await serialOf()) !== before);

  const stranger = async (): Promise<number> =>
    (await callHttp(listener('first'), certsOf('gamma'), '/pd/api/v1/stores')).status;
  expect(await stranger()).toBe(403);
  await renderMesh([...TENANTS, { name: 'gamma', number: 3, storage: 'first' }]);
  await until('the new tenant', async () => (await stranger()) === 200);
  const session = await tidbs.first.connect();
  expect(await session.query('SELECT COUNT(*) AS n FROM test.t')).toEqual([{ n: 1 }]);
  await session.close();
});

test('a tenant that has moved is handed over, and read as the tenant where it is served', async () => {
  const storesAt = async (at: Name, as: string): Promise<string> =>
    (await callHttp(listener(at), certsOf(as), '/pd/api/v1/stores')).body;
  const [, beta] = TENANTS;
  await renderMesh([
    { name: 'alpha', number: 5, storage: 'second', movedFrom: { storage: 'first', number: 1 } },
    { name: 'gamma', number: 3, storage: 'first' },
    beta,
  ]);
  for (const at of NAMES)
    await until(`the store of the second storage at the ${at} one`, async () =>
      (await storesAt(at, 'alpha')).includes(listener('second', 'envoyTikv')),
    );
  expect(await storesAt('first', 'alpha')).not.toContain(listener('first', 'envoyTikv'));
  expect((await callGrpc(listener('first'), certsOf('alpha'), '/pdpb.PD/GetMembers')).status).toBe('OK');
  expect(await storesAt('first', 'gamma')).toContain(listener('first', 'envoyTikv'));
  expect((await callHttp(listener('first'), certsOf('beta'), '/pd/api/v1/stores')).status).toBe(403);
  // It names no region by which a store could tell that its client is at the old place.
  expect(
    (await callGrpc(listener('first', 'envoyTikv'), certsOf('alpha'), '/tikvpb.Tikv/GetStoreSafeTS')).status,
  ).toBe('UNAVAILABLE');

  const log = join(servers.logs, 'envoy-access.log');
  const calls = async (): Promise<Record<string, unknown>[]> =>
    (await readFile(log, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  await until('lines of both Envoys', async () => {
    const lines = await calls();
    const has = (more: object): boolean =>
      lines.some((line) =>
        Object.entries({ ...more, tenant: 'alpha' }).every(([name, value]) => line[name] === value),
      );
    return (
      has({ storage: 'first', cluster: 'storage_second_http' }) &&
      has({ storage: 'first', cluster: 'storage_second_grpc' }) &&
      has({ storage: 'second', principal: 'spiffe://example.com/ns/storage/sa/envoy' })
    );
  });
});

test('a tenant moves by the command and the documented --apply, while it works', async () => {
  const operator = certsOf('operator');
  const reach = (name: Name): string[] => [
    ...['--pd', `https://${listener(name)}`],
    ...['--ca', operator.ca, '--cert', operator.cert, '--key', operator.key],
  ];
  const envoysOf = (name: Name): string[] =>
    [listener(name), listener(name, 'envoyTikv')].map((one) => `https://${one}`);
  const config = join(servers.data, 'mesh.yaml');
  const storages = join(servers.data, 'storages.json');
  const first = { pd: `https://${listener('first')}`, ...operator, envoys: envoysOf('first').join(',') };
  await writeFile(storages, JSON.stringify({ storages: { first } }));
  const files = ['--storages', storages, '--config', config];
  const apply = await applyScript();
  for (const name of NAMES) await command('tenants', 'add', 'gamma', '--number', '3', ...reach(name));
  const tidb = await startTidb(servers, {
    name: 'tidb-gamma',
    binary: binaries.tidb,
    ports: await mysqlPorts(),
    pdAddress: listener('first'),
    certs: certsOf('gamma'),
  });
  const session = await tidb.connect();
  await session.query('CREATE TABLE test.t (id BIGINT PRIMARY KEY)');
  await command('move', 'create', 'gamma', '--from', 'first', '--to', 'second', ...files, ...reach('second'));
  const worker = spawn(
    process.execPath,
    [
      ...[join(ROOT, 'src-ts/cli/bin.mjs'), 'move', 'run', ...files, '--apply', `${apply} "$1"`],
      // Each run of --apply starts a Node, on a machine that may be busy.
      ...['--hold', '120', '--hold-all', '120', '--max-lag', '60'],
      ...[...reach('second'), '--envoy', ...envoysOf('second')],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  worker.stderr.on('data', (text: Buffer) => (said += text.toString()));
  const ended = new Promise((resolve) => worker.once('exit', resolve));

  let isOver = false;
  const committed: number[] = [];
  const writing = (async () => {
    for (let id = 0; !isOver; id++)
      // One that fails may have been written all the same.
      await session.query('INSERT INTO test.t VALUES (?)', [id]).then(
        () => committed.push(id),
        () => undefined,
      );
  })();
  const isSwitched = async (): Promise<boolean> => {
    const { pluginConfig } = parse(await readFile(config, 'utf8')) as {
      pluginConfig: { tenants: { name: string; storage: string; state?: string }[] };
    };
    const { storage, state } = pluginConfig.tenants.find(({ name }) => name === 'gamma')!;
    return storage === 'second' && state !== 'suspended';
  };
  try {
    // It is refused until the copy is followed.
    const asked = (): Promise<boolean> =>
      command('move', 'switch', 'gamma', ...reach('second')).then(() => true);
    await until('a copy that is followed', asked, 4 * PATIENCE);
    // Each step runs the script once.
    await until('a switch', isSwitched, 6 * PATIENCE);
    const { length } = committed;
    await until('commits', async () => committed.length > length + 20);
  } catch (error) {
    throw new Error(`${String(error)}\n${said}`, { cause: error });
  } finally {
    worker.kill();
    isOver = true;
    await Promise.all([writing, ended]);
  }
  const there = new Set((await session.query('SELECT id FROM test.t')).map(({ id }) => Number(id)));
  await session.close();
  expect(committed.filter((id) => !there.has(id))).toEqual([]);
});

/** The page's script for `--apply`, for the folder of these Envoys. @returns its path */
async function applyScript(): Promise<string> {
  const page = await readFile(join(ROOT, 'docs/standalone.md'), 'utf8');
  const [, script = ''] = /<!-- apply:.*-->\n\n```sh\n([^]*?)```\n\n<!-- end of apply -->/.exec(page) ?? [];
  expect(script).toContain('for storage in first second');
  const bin = join(servers.data, 'bin');
  await mkdir(bin, { recursive: true });
  const executable = { mode: 0o755 };
  const main = join(ROOT, 'src-ts/cli/bin.mjs');
  await writeFile(join(bin, 'tidb-mesh'), `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`, executable);
  const path = join(servers.data, 'apply.sh');
  const own = script.replaceAll('/etc/tidb-mesh', folder).replaceAll('/tmp/', `${servers.data}/`);
  await writeFile(path, own.replace('\n', `\nPATH=${bin}:$PATH\n`), executable);
  return path;
}

/** Makes a certificate for Envoy, and one for a new tenant, of the same authority. */
async function issueEnvoyAnew(): Promise<void> {
  const page = await readFile(join(ROOT, 'docs/standalone.md'), 'utf8');
  const [, definition = ''] = /^( {4}issue\(\) [^]*?^ {4}\})$/m.exec(page) ?? [];
  const names = `DNS:localhost,IP:${HOST}`;
  const principal = 'spiffe://example.com/ns';
  const script = [
    'set -eu',
    definition.replaceAll(/^ {4}/gm, ''),
    `issue gamma tenant ${principal}/gamma/sa/tidb ${names}`,
    `issue new storage ${principal}/storage/sa/envoy ${names}`,
  ].join('\n');
  const certs = join(folder, 'certs');
  await run('sh', ['-c', script], { cwd: certs, timeout: PATIENCE });
  for (const kind of ['key', 'crt']) await rename(join(certs, `new.${kind}`), join(certs, `envoy.${kind}`));
}

async function until(what: string, holds: () => Promise<boolean>, patience = PATIENCE): Promise<void> {
  const start = Date.now();
  while (!(await holds().catch(() => false))) {
    if (Date.now() - start > patience) throw new Error(`not within ${patience} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}
