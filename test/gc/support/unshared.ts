/** The filter without what it does about GC: the proofs must fail with it, or they prove nothing. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { REPOSITORY } from '../../harness/stack/builds.ts';

const run = promisify(execFile);
const COPIED = ['assembly', 'proto', 'src-ts', 'asconfig.json', 'package.json', 'tsconfig.json'];
/** Safe points as each tenant's GC worker sends them; since when TiDBs read goes to each tenant's own names. */
const CHANGES: [file: string, from: RegExp, to: string][] = [
  [
    'proto/pd/pdpb.proto',
    /rpc UpdateGCSafePoint\(.*?\) returns \(.*?\) \{\s*option \(mesh.decision\) = MAP;/s,
    'rpc UpdateGCSafePoint(mesh.Unread) returns (mesh.Unread) {\n    option (mesh.decision) = PASS;',
  ],
  [
    'proto/pd/pdpb.proto',
    /rpc UpdateServiceGCSafePoint\(.*?\) returns \(.*?\) \{\s*option \(mesh.decision\) = MAP;/s,
    'rpc UpdateServiceGCSafePoint(mesh.Unread) returns (mesh.Unread) {\n    option (mesh.decision) = PASS;',
  ],
  [
    'assembly/keys/read-since.ts',
    /(const FOLDER: Ascii = ascii\()'[^']*'/,
    "$1'/tidb/server/nobody-uses-this/'",
  ],
  [
    'assembly/keys/read-since.ts',
    /(const FOLDER_NAME: Ascii = ascii\()'[^']*'/,
    "$1'/tidb/server/nobody-uses-this'",
  ],
];

/**
 * Compiles it in a folder of its own.
 * @returns the wasm's path
 * @throws Error when the sources are no longer what the changes are made for
 */
export async function buildUnsharedFilter(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const name of COPIED) await cp(join(REPOSITORY, name), join(folder, name), { recursive: true });
  await symlink(join(REPOSITORY, 'node_modules'), join(folder, 'node_modules'));
  for (const [file, from, to] of CHANGES) {
    const path = join(folder, file);
    const text = await readFile(path, 'utf8');
    const changed = text.replace(from, to);
    if (changed === text) throw new Error(`${file} has nothing like ${from.source} any more`);
    await writeFile(path, changed);
  }
  const node = (...args: string[]): Promise<unknown> =>
    run(process.execPath, ['--import', 'tsx', ...args], { cwd: folder, maxBuffer: 1 << 26 });
  await node('src-ts/schema/main.ts');
  const output = join(folder, 'unshared.wasm');
  await node(
    'src-ts/wasm/compiler.ts',
    'assembly/entries/filter.ts',
    '--target',
    'release',
    '--outFile',
    output,
    '--use',
    'abort=assembly/host/abort/abort',
  );
  return output;
}
