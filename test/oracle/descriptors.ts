/** Upstream's protocol descriptors, out of Go modules: those that the tests' servers are built from, and those of other versions. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { create, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, type FileDescriptorSet } from '@bufbuild/protobuf/wkt';
import { readVersions, type CheckedVersion } from '../../src-ts/versions/versions.ts';
import { buildTool, REPOSITORY } from '../harness/stack/builds.ts';
import { cached, digest } from '../harness/stack/cache.ts';

const run = promisify(execFile);
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Where the generated sources are: a module, its folders in there, and the go.mod under test/harness/servers that fixes its version. */
const SOURCES = [
  { servers: 'tidb', module: 'github.com/pingcap/kvproto', folders: ['pkg'] },
  { servers: 'tidb', module: 'github.com/pingcap/tipb', folders: ['go-tipb'] },
  { servers: 'tidb', module: 'go.etcd.io/etcd/api/v3', folders: [''] },
  { servers: 'tidb', module: 'google.golang.org/grpc', folders: ['health'] },
  // Parts of etcd's server, not of its API module: of the etcd that PD embeds.
  {
    servers: 'pd',
    module: 'go.etcd.io/etcd',
    folders: ['etcdserver/api/v3lock', 'etcdserver/api/v3election'],
  },
] as const;

/** The newest protocols of the storage layer, and those of etcd as the tests' servers have them: what proto/ knows is all there. */
export async function newestDescriptors(): Promise<FileDescriptorSet> {
  const newest = await descriptorsOf(readVersions().checked.find(({ version }) => version === 'newest')!);
  const known = new Set(newest.file.map((file) => file.package));
  const others = (await upstreamDescriptors()).file.filter((file) => !known.has(file.package));
  return create(FileDescriptorSetSchema, { file: [...newest.file, ...others] });
}

/** @throws Error with Go's own message when a module cannot be had or a source is not understood. */
export async function upstreamDescriptors(): Promise<FileDescriptorSet> {
  const folders: string[] = [];
  for (const source of SOURCES) {
    const folder = await download(source.module, join(REPOSITORY, 'test/harness/servers', source.servers));
    folders.push(...source.folders.map((path) => join(folder, path)));
  }
  return fromBinary(FileDescriptorSetSchema, await extract(folders));
}

/** The descriptors that one version of TiDB was built from. They are kept: a version's modules never change. */
export async function descriptorsOf({
  kvproto,
  tipb,
}: Pick<CheckedVersion, 'kvproto' | 'tipb'>): Promise<FileDescriptorSet> {
  const sources = [
    [`github.com/pingcap/kvproto@${kvproto}`, 'pkg'],
    [`github.com/pingcap/tipb@${tipb}`, 'go-tipb'],
  ] as const;
  const key = digest(await buildTool('descriptors'), ...sources.flat());
  const folder = await cached({ name: 'descriptors-of-versions', key }, async (into) => {
    const folders = await Promise.all(
      sources.map(async ([module, path]) => join(await download(module, into), path)),
    );
    await writeFile(join(into, FILE), await extract(folders));
  });
  return withoutTwins(fromBinary(FileDescriptorSetSchema, await readFile(join(folder, FILE))));
}

const FILE = 'descriptors.binpb';

/** Gives the folder of a module's source. `cwd` decides the version where `module` names none. */
async function download(module: string, cwd: string): Promise<string> {
  const { stdout } = await run('go', ['mod', 'download', '-json', module], { cwd });
  return (JSON.parse(stdout) as { Dir: string }).Dir;
}

async function extract(folders: readonly string[]): Promise<Buffer> {
  const tool = await buildTool('descriptors');
  const { stdout } = await run(tool, folders, { encoding: 'buffer', maxBuffer: MAX_OUTPUT_BYTES });
  return stdout;
}

/** kvproto of 2021 has the package `backup` under two names of files; the second is what it goes on with. */
function withoutTwins(set: FileDescriptorSet): FileDescriptorSet {
  if (set.file.some(({ name }) => name === 'brpb.proto'))
    set.file = set.file.filter(({ name }) => name !== 'backup.proto');
  return set;
}
