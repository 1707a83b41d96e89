import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setBoundaries } from './boundaries.ts';
import { prepare, type Binaries } from './builds.ts';
import { createCerts, principalOf, TRUST_DOMAIN, type Certs } from './certs.ts';
import { PD_HTTP_CLUSTER } from '../../../src-ts/standalone/plugin-config.ts';
import { envoyBootstrap, watchedFilter, type OtherStorage } from './envoy-config.ts';
import { secretFiles } from '../../../src-ts/standalone/tls.ts';
import { storeInspector, type StoreInspector } from './inspect.ts';
import { Link } from './link.ts';
import { startPds, type PdMember } from './pd.ts';
import { freePorts } from './ports.ts';
import { startRun, waitHealthy, type Run, type ServerProcess } from './processes.ts';
import { silent, type Progress, type Step } from './progress.ts';
import { startTidb, type Tidb } from './tidb.ts';

export interface Tenant {
  name: string;
  /** 1..32766, the tag in the store's keys. */
  number: number;
  /** Its resource group `default` is its own. */
  ownDefaultGroup?: boolean;
  /** In place of the table codec. */
  keyspace?: { id: number; mode: 'txn' | 'raw' };
  prefix?: { text: string; mode: 'txn' | 'raw'; ttl?: boolean };
}

export interface StackOptions {
  /** Default: alpha (1) and beta (2). */
  tenants?: Tenant[];
  /** Starts one TiDB for each tenant, all at once. Default true. */
  startTidbs?: boolean;
  /** False: no Envoy; PD and the store advertise themselves and one TiDB may use them directly. Default true. */
  mesh?: boolean;
  /** False: Envoy without the filter. Then only one TiDB may use the store. Default true. */
  filter?: boolean;
  /**
   * Starts the TiDB of the storage layer: no tenant's, it sees the whole store and alone moves its GC safe point.
   * Default false, since most suites end before its first round.
   */
  systemTidb?: boolean;
  /** Lines of TOML for every TiDB that is started with the stack. */
  tidbConfig?: string;
  /** PD's members. With more than one, each stands behind links that tests can break. Default 1. */
  pds?: number;
  /** Puts a link in front of the store, too. Default: where PD has several members. */
  links?: boolean;
  /** Puts links in front of Envoy, which may lead to another one: what PD and the store advertise is theirs. Default false. */
  fronted?: boolean;
  /** Lines of TOML for PD, in front of its sections. */
  pdConfig?: string;
  /** Splits regions at the tenants' boundaries. Default: true with the filter. */
  boundaries?: boolean;
  /** Bytes at which the store splits a region; small for tests. Default: the store's own. */
  regionSize?: number;
  /** What the store holds: TiKV's `api-version`. Default `v1`. */
  api?: 'v1' | 'raw' | 'v2';
  /** How the store encodes its answers: as TiKV does, or as Go does. Default `tikv`. */
  wire?: 'tikv' | 'go';
  /** Envoy's worker threads. Default 2. */
  concurrency?: number;
  /** The wasm module, instead of build/release.wasm. */
  wasmPath?: string;
  /** Lets `configure` give the filter another configuration under open streams. */
  watched?: boolean;
  /** Instead of the configuration made from the tenants; a function gets that one. */
  pluginConfig?: unknown | ((standard: PluginConfig) => unknown);
  /** Folder for all logs. Default: in the run's own folder below the cache. */
  logFolder?: string;
  /** Envoy's `--component-log-level`, for example `wasm:debug`. */
  envoyLog?: string;
  /** Storage layers that serve tenants of this one by now. Its Envoy calls the listeners of their PDs as that principal. */
  others?: readonly { name: string; pd: number | readonly number[]; principal: string }[];
  /** Envoy's listeners for PD, one for each member, for another stack that must know them before. Default: free ports. */
  pdPort?: number | readonly number[];
  /** Those of another stack, for clients that call both. Default: an authority of its own. */
  certs?: Certs;
  /** Default: nothing is shown. */
  progress?: Progress;
}

export interface PluginConfig {
  tenants: Tenant[];
  rules: { principal: string; system?: boolean }[];
  requirePrincipal: boolean;
  pd: { cluster: string; authority: string };
  limits: Record<string, number>;
}

export interface StartTidbOptions {
  /** The tenant's name; its principal is `spiffe://demo.mesh/ns/<tenant>/sa/tidb`. */
  tenant?: string;
  /** Any other principal. */
  principal?: string;
  /** Plaintext: past the filter, and past Envoy where there is none. */
  direct?: boolean;
  /** Names its log; default `tidb-<tenant>`. */
  name?: string;
  extraConfig?: string;
  /** Milliseconds to its first answer. */
  timeout?: number;
}

export interface Stack {
  readonly run: Run;
  readonly binaries: Binaries;
  readonly certs: Certs;
  readonly tenants: Tenant[];
  /** PD, or its first member. `directUrl` is PD itself; clients see `meshAddress`. */
  readonly pd: PdMember;
  /** All members of PD. */
  readonly pds: readonly PdMember[];
  readonly store: {
    directAddress: string;
    meshAddress: string;
    inspectUrl: string;
    inspect: StoreInspector;
    logPath: string;
    readonly pid: number;
    /** What stands between it and Envoy. */
    readonly link: Link | undefined;
    /** Ends it, by SIGKILL if hard, and starts it again on its data. */
    restart(options?: { hard?: boolean }): Promise<void>;
  };
  /** Undefined without a mesh. */
  readonly envoy: Envoy | undefined;
  /** In front of Envoy; only where the stack is `fronted`. */
  readonly fronts: readonly Link[];
  /** Starts Envoy once more in front of the same servers, on the same ports of another address. Only where the stack is `watched`. */
  startEnvoy(host: string): Promise<AnotherEnvoy>;
  /** The storage layer's own; undefined where the options do not ask for it. */
  readonly systemTidb: Tidb | undefined;
  /** TiDBs by name of tenant, of those that were started with the stack. */
  readonly tidbs: Map<string, Tidb>;
  startTidb(options: StartTidbOptions): Promise<Tidb>;
  /** Gives the filter another configuration, under open streams; only where the stack is `watched`. */
  configure(pluginConfig: unknown): Promise<void>;
  /** Ends everything; resolves when no process is left. */
  stop(): Promise<void>;
}

export interface Envoy {
  readonly adminUrl: string;
  readonly logPath: string;
  /** One JSON object a line, see envoy-config.ts. */
  readonly accessLogPath: string;
  readonly pid: number;
  /** Ends it, by SIGKILL if hard, and starts it again on the same ports; resolves when it is ready. */
  restart(options?: { hard?: boolean }): Promise<void>;
  /** Values of all statistics whose name matches. */
  stats(pattern: RegExp): Promise<Map<string, number>>;
}

export interface AnotherEnvoy extends Envoy {
  /** `host:port` of its listeners: each member of PD, and the store. */
  readonly addresses: readonly string[];
  /** As the stack's, for this one. */
  configure(pluginConfig: unknown): Promise<void>;
}

const DEFAULT_TENANTS: Tenant[] = [
  { name: 'alpha', number: 1 },
  { name: 'beta', number: 2 },
];
/** Of the storage layer's own TiDB: the standard rules make it a system principal. */
export const SYSTEM_PRINCIPAL = `spiffe://${TRUST_DOMAIN}/ns/storage/sa/system-tidb`;
const HOST = '127.0.0.1';
const START_TIMEOUT = 60_000;

/** The filter's configuration for these tenants: a rule that takes the tenant from the principal's namespace. */
export function standardPluginConfig(tenants: Tenant[]): PluginConfig {
  return {
    tenants,
    rules: [
      // First match wins: `{tenant}` would match the storage's namespace, too.
      { principal: `spiffe://${TRUST_DOMAIN}/ns/storage/sa/*`, system: true },
      { principal: `spiffe://${TRUST_DOMAIN}/ns/{tenant}/sa/*` },
    ],
    requirePrincipal: true,
    pd: { cluster: PD_HTTP_CLUSTER, authority: 'pd' },
    limits: {
      maxMessageBytes: 64 * 1024 * 1024,
      heldBytesPerVM: 256 * 1024 * 1024,
      heldBytesPerTenant: 128 * 1024 * 1024,
    },
  };
}

/**
 * Installs what is needed and starts PD, the store, Envoy with the filter, and a TiDB for each tenant. When anything
 * fails, all that was started is ended before the failure is thrown.
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const progress = options.progress ?? silent;
  const mesh = options.mesh ?? true;
  const filter = mesh && (options.filter ?? true);
  const binaries = await prepare(progress, { filter: filter && options.wasmPath === undefined });
  if (options.wasmPath !== undefined) binaries.wasm = options.wasmPath;
  const run = await startRun(options.logFolder);
  try {
    return await startServers(run, binaries, options, { mesh, filter, progress });
  } catch (error) {
    await run.end();
    throw error;
  }
}

async function startServers(
  run: Run,
  binaries: Binaries,
  options: StackOptions,
  { mesh, filter, progress }: { mesh: boolean; filter: boolean; progress: Progress },
): Promise<Stack> {
  const tenants = options.tenants ?? DEFAULT_TENANTS;
  const certs = options.certs ?? (await createCerts(join(run.data, 'certs')));
  const [storePort, storeOwnPort, inspectPort, envoyStorePort, adminPort] = (await freePorts(5)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const isLinked = options.links ?? (options.pds ?? 1) > 1;
  const storeLink = isLinked ? await Link.open(storePort, storeOwnPort) : undefined;
  const pdPorts = await freePorts(options.pds ?? 1);
  const envoyPdPorts =
    options.pdPort === undefined ? await freePorts(pdPorts.length) : [options.pdPort].flat();
  const pdAddresses = (mesh ? envoyPdPorts : pdPorts).map((port) => `${HOST}:${port}`);
  const storeAddress = `${HOST}:${mesh ? envoyStorePort : storePort}`;
  const clientPorts = [...envoyPdPorts, envoyStorePort];
  const listenerPorts = options.fronted ? await freePorts(clientPorts.length) : clientPorts;
  const fronts = options.fronted
    ? await Promise.all(clientPorts.map((port, i) => Link.open(port, listenerPorts[i] ?? 0)))
    : [];

  let envoy: Envoy | undefined;
  let pds: PdMember[] = [];
  let store!: ServerProcess;
  const tidbs = new Map<string, Tidb>();
  let systemTidb: Tidb | undefined;
  let configure: Stack['configure'] = () => Promise.reject(new Error('the stack is not watched'));
  const names = new Set<string>();

  const startOneTidb = async (wanted: StartTidbOptions): Promise<Tidb> => {
    const principal =
      wanted.principal ?? (wanted.tenant === undefined ? undefined : principalOf(wanted.tenant));
    const base = wanted.name ?? `tidb-${wanted.tenant ?? (wanted.direct ? 'direct' : 'other')}`;
    let name = base;
    for (let count = 2; names.has(name); count++) name = `${base}-${count}`;
    names.add(name);
    const plaintext = wanted.direct ?? !mesh;
    if (!plaintext && principal === undefined)
      throw new Error('a TiDB needs a tenant, a principal, or direct');
    const [mysql, status] = (await freePorts(2)) as [number, number];
    return startTidb(run, {
      name,
      binary: binaries.tidb,
      ports: { mysql, status },
      pdAddress: pdAddresses.join(','),
      ...(plaintext ? {} : { certs: await certs.client(principal!) }),
      ...(wanted.extraConfig === undefined ? {} : { extraConfig: wanted.extraConfig }),
      ...(wanted.timeout === undefined ? {} : { timeout: wanted.timeout }),
    });
  };

  const startStore = async (): Promise<void> => {
    store = await run.spawn({
      name: 'store',
      command: binaries.store,
      args: [
        `--pd=${pds.map(({ directUrl }) => new URL(directUrl).host).join(',')}`,
        `--listen=${HOST}:${isLinked ? storeOwnPort : storePort}`,
        `--advertise=${storeAddress}`,
        `--inspect=${HOST}:${inspectPort}`,
        `--data=${join(run.data, 'store')}`,
        `--wire=${options.wire ?? 'tikv'}`,
        `--api=${options.api ?? 'v1'}`,
        ...(options.regionSize === undefined ? [] : [`--region-size=${options.regionSize}`]),
      ],
    });
    await waitHealthy(store, 'registration with PD', START_TIMEOUT, async () => {
      const response = await fetch(`${pds[0]?.directUrl ?? ''}/pd/api/v1/stores`);
      const { count } = (await response.json()) as { count: number };
      const stats = await fetch(`http://${HOST}:${inspectPort}/stats`);
      await stats.arrayBuffer();
      return count > 0 && stats.ok ? true : undefined;
    });
  };

  const startOneEnvoy = async (
    place: { name: string; admin: number; listen?: string },
    pluginConfig: unknown,
  ): Promise<{ envoy: Envoy; configure: Stack['configure'] }> => {
    const inline = { wasmPath: binaries.wasm, pluginConfig };
    const inFile = watchedFilter(inline, join(run.data, `filter-${place.name}.json`));
    if (options.watched) await inFile.configure(pluginConfig);
    const others = await Promise.all((options.others ?? []).map((one) => otherOf(one, run, certs)));
    const started = await startEnvoy(run, binaries.envoy, place, options, (accessLog) =>
      envoyBootstrap({
        others,
        ...(place.listen === undefined ? {} : { listen: place.listen }),
        ports: { pd: listenerPorts.slice(0, -1), store: listenerPorts.at(-1) ?? 0, admin: place.admin },
        upstream: { pd: pdPorts, store: storePort },
        certs: certs.server,
        accessLog,
        ...(filter ? { filter: options.watched ? inFile.filter : inline } : {}),
      }),
    );
    return { envoy: started, configure: inFile.configure };
  };
  let pluginConfig: unknown;

  const steps: Step[] = [];
  if (mesh) {
    // Envoy is first: PD dials the address that it advertises, which is Envoy's.
    steps.push({
      title: filter ? 'Start Envoy with the filter' : 'Start Envoy',
      async run() {
        const standard = standardPluginConfig(tenants);
        const given = options.pluginConfig;
        pluginConfig = typeof given === 'function' ? (given(standard) as unknown) : (given ?? standard);
        const made = await startOneEnvoy({ name: 'envoy', admin: adminPort }, pluginConfig);
        envoy = made.envoy;
        if (options.watched) configure = made.configure;
      },
    });
  }
  steps.push(
    {
      title: 'Start PD',
      async run() {
        const entries = pdPorts.map((entry, i) => ({ entry, advertised: pdAddresses[i] ?? '' }));
        pds = await startPds(run, binaries.pd, entries, options.pdConfig);
      },
    },
    {
      title: 'Start the store',
      run: () => startStore(),
    },
  );
  if (options.boundaries ?? filter)
    steps.push({
      title: "Split the regions at the tenants' boundaries",
      run: () => setBoundaries(pds[0]?.directUrl ?? '', tenants),
    });
  await progress.run(steps);
  const extra = options.tidbConfig === undefined ? {} : { extraConfig: options.tidbConfig };
  const tidbSteps: Step[] = [];
  if (options.startTidbs ?? true)
    for (const tenant of tenants)
      tidbSteps.push({
        title: `Start TiDB for tenant ${tenant.name} (number ${tenant.number})`,
        async run(tell) {
          tell('bootstrap');
          tidbs.set(tenant.name, await startOneTidb({ tenant: tenant.name, direct: !mesh, ...extra }));
        },
      });
  if (options.systemTidb ?? false)
    tidbSteps.push({
      title: "Start the storage layer's own TiDB, which collects garbage for all",
      async run(tell) {
        tell('bootstrap');
        systemTidb = await startOneTidb({ principal: SYSTEM_PRINCIPAL, name: 'tidb-system', ...extra });
      },
    });
  await progress.run(tidbSteps, { concurrent: true });

  const inspectUrl = `http://${HOST}:${inspectPort}`;
  return {
    run,
    binaries,
    certs,
    tenants,
    pd: pds[0]!,
    pds,
    store: {
      directAddress: `${HOST}:${storePort}`,
      meshAddress: storeAddress,
      inspectUrl,
      inspect: storeInspector(inspectUrl),
      logPath: store.logPath,
      link: storeLink,
      get pid() {
        return store.pid;
      },
      async restart({ hard = false } = {}) {
        await (hard ? store.kill() : store.stop());
        await startStore();
      },
    },
    envoy,
    fronts,
    async startEnvoy(host) {
      if (!options.watched) throw new Error('the stack is not watched');
      const [admin = 0] = await freePorts(1);
      const made = await startOneEnvoy({ name: `envoy-${host}`, admin, listen: host }, pluginConfig);
      const addresses = listenerPorts.map((port) => `${host}:${port}`);
      return Object.assign(made.envoy, { addresses, configure: made.configure });
    },
    systemTidb,
    tidbs,
    startTidb: startOneTidb,
    configure,
    stop: () => run.end(),
  };
}

async function otherOf(
  { name, pd, principal }: NonNullable<StackOptions['others']>[number],
  run: Run,
  certs: Certs,
): Promise<OtherStorage> {
  const files = await certs.client(principal);
  const folder = join(run.data, `secrets-${name}`);
  await mkdir(folder, { recursive: true });
  const secrets = secretFiles({ ca: files.ca, certificate: files.cert, key: files.key });
  for (const [file, content] of Object.entries(secrets))
    await writeFile(join(folder, file), JSON.stringify(content));
  return { name, pd, certs: files, folder };
}

async function startEnvoy(
  run: Run,
  binary: string,
  { name, admin }: { name: string; admin: number },
  options: StackOptions,
  bootstrap: (accessLog: string) => object,
): Promise<Envoy> {
  const folder = join(run.data, name);
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'envoy.json');
  const accessLogPath = join(run.logs, `${name}-access.log`);
  await writeFile(config, JSON.stringify(bootstrap(accessLogPath), undefined, 2));
  const adminUrl = `http://${HOST}:${admin}`;
  let server!: ServerProcess;
  const start = async (): Promise<void> => {
    server = await run.spawn({
      name,
      command: binary,
      args: [
        '--config-path',
        config,
        '--concurrency',
        String(options.concurrency ?? 2),
        '--disable-hot-restart',
        // ECDS needs a node.
        ...['--service-node', 'test', '--service-cluster', 'test'],
        '--log-level',
        'info',
        ...(options.envoyLog === undefined ? [] : ['--component-log-level', options.envoyLog]),
      ],
    });
    await waitHealthy(server, 'readiness', START_TIMEOUT, async () => {
      const response = await fetch(`${adminUrl}/ready`);
      await response.arrayBuffer();
      return response.ok ? true : undefined;
    });
  };
  await start();
  return {
    adminUrl,
    accessLogPath,
    get logPath() {
      return server.logPath;
    },
    get pid() {
      return server.pid;
    },
    async restart({ hard = false } = {}) {
      await (hard ? server.kill() : server.stop());
      await start();
    },
    async stats(pattern) {
      const response = await fetch(`${adminUrl}/stats`);
      const found = new Map<string, number>();
      for (const line of (await response.text()).split('\n')) {
        const colon = line.lastIndexOf(': ');
        const value = Number(line.slice(colon + 2));
        const name = line.slice(0, colon);
        if (colon > 0 && !Number.isNaN(value) && pattern.test(name)) found.set(name, value);
      }
      return found;
    },
  };
}
