/** Upstream's protocol descriptors, out of the Go modules that the tests' servers are built from. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, type FileDescriptorSet } from '@bufbuild/protobuf/wkt';
import { buildTool, REPOSITORY } from '../harness/stack/builds.ts';

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

/** @throws Error with Go's own message when a module cannot be had or a source is not understood. */
export async function upstreamDescriptors(): Promise<FileDescriptorSet> {
  const tool = await buildTool('descriptors');
  const folders: string[] = [];
  for (const source of SOURCES) {
    const cwd = join(REPOSITORY, 'test/harness/servers', source.servers);
    const { stdout } = await run('go', ['mod', 'download', '-json', source.module], { cwd });
    const { Dir } = JSON.parse(stdout) as { Dir: string };
    folders.push(...source.folders.map((folder) => join(Dir, folder)));
  }
  const { stdout } = await run(tool, folders, { encoding: 'buffer', maxBuffer: MAX_OUTPUT_BYTES });
  return fromBinary(FileDescriptorSetSchema, stdout);
}
