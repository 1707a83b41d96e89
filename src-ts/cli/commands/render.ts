/** `tidb-mesh render`: writes the manifests for a mesh file, or compares them with those on the disk. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Option, type Command } from 'commander';
import pc from 'picocolors';
import { unserved } from '../../config/served.ts';
import { WITHOUT_CODE, codeOf, releaseWasm } from '../../manifests/code.ts';
import { MeshFileError, readMeshFile } from '../../manifests/mesh-file.ts';
import { PARTS, render, type Part, type RenderedFile } from '../../manifests/render.ts';
import { readText } from '../files.ts';
import { Refusal } from '../outcome.ts';

interface Options {
  out: string;
  only?: Part[];
  check?: true;
  code: boolean;
  json?: true;
}

type State = 'same' | 'different' | 'missing';

function stateOf(folder: string, { path, text }: RenderedFile): State {
  const onDisk = join(folder, path);
  if (!existsSync(onDisk)) return 'missing';
  return readFileSync(onDisk, 'utf8') === text ? 'same' : 'different';
}

function write(folder: string, { path, text }: RenderedFile): void {
  const onDisk = join(folder, path);
  mkdirSync(dirname(onDisk), { recursive: true });
  writeFileSync(onDisk, text);
}

async function run(meshPath: string, options: Options): Promise<void> {
  const source = readText(meshPath);
  const mesh = (() => {
    try {
      return readMeshFile(source);
    } catch (error) {
      if (error instanceof MeshFileError) throw new Refusal(`${meshPath}: ${error.message}`);
      throw error;
    }
  })();
  const [unmatched] = unserved(mesh).filter(({ severity }) => severity === 'error');
  if (unmatched) throw new Refusal(`${meshPath}: ${unmatched.text}; ${unmatched.suggestion}`);
  const code = options.code ? codeOf(await releaseWasm()) : WITHOUT_CODE;
  const files = render(mesh, code, options.only ?? PARTS);
  const states = files.map((file) => ({ path: file.path, state: stateOf(options.out, file) }));
  if (options.check !== true) files.forEach((file) => write(options.out, file));
  if (options.json) console.log(JSON.stringify({ out: options.out, written: !options.check, files: states }));
  else
    for (const { path, state } of states) {
      const mark = state === 'same' ? pc.dim('=') : options.check ? pc.red('≠') : pc.green('✓');
      console.log(
        `${mark} ${join(options.out, path)}${options.check && state !== 'same' ? `  ${state}` : ''}`,
      );
    }
  const stale = states.filter(({ state }) => state !== 'same').length;
  if (options.check && stale > 0)
    throw new Refusal(`${stale} of ${files.length} files are not as ${meshPath} renders them`);
}

export function register(program: Command): void {
  program
    .command('render')
    .description('writes the manifests that a mesh file stands for')
    .argument('<meshfile>', 'the mesh file, or - for the standard input; manifests/mesh.yaml is an example')
    .requiredOption('--out <folder>', 'where the files go; others there are left alone')
    .addOption(new Option('--only <part...>', `these parts only: ${PARTS.join(', ')}`).choices(PARTS))
    .option('--check', 'writes nothing; exit code 1 when a file is missing or different')
    .option('--no-code', "leaves the filter's code out, as the manifests in this repository do")
    .option('--json', 'the result as JSON')
    .addHelpText(
      'after',
      `
Example:
  npx tidb-mesh render mesh.yaml --out build/manifests
  kubectl apply --server-side -k build/manifests/envoyfilter`,
    )
    .action(run);
}
