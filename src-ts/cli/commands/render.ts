/** `tidb-mesh render`: writes the manifests for a mesh file, or compares them with those on the disk. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Option } from 'commander';
import pc from 'picocolors';
import { Judge } from '../../config/judge.ts';
import { judgeFile } from '../../config/validate.ts';
import { CommandError, EXIT } from '../../errors.ts';
import { WITHOUT_CODE, codeOf, releaseWasm } from '../../manifests/code.ts';
import type { RenderedFile } from '../../manifests/file.ts';
import { PARTS, partsOf, render as renderFiles, type Part } from '../../manifests/render.ts';
import { readAnyMesh } from '../../manifests/any-mesh.ts';
import type { Tell } from '../../tell.ts';
import type { Definition, Result } from '../definition.ts';
import { inFile, readText } from '../files.ts';

interface Options {
  readonly out: string;
  readonly only?: Part[];
  readonly check?: true;
  readonly code: boolean;
}

type State = 'same' | 'different' | 'missing';

export const render: Definition<Options, [string]> = {
  name: 'render',
  summary: 'write the manifests that a mesh file describes',
  about: 'Files that are up to date stay untouched. Other files in the folder are left alone.',
  examples: [
    [
      'tidb-mesh render mesh.yaml --out build/manifests',
      'then: kubectl apply --server-side -k build/manifests/envoyfilter',
    ],
    ['tidb-mesh render mesh.yaml --out build/manifests --check', 'in CI: are they current?'],
    ['tidb-mesh render proxy.yaml --out /etc/tidb-mesh', 'without Istio: the mesh file has "target: envoy"'],
    'tidb-mesh render mesh.yaml --out build/manifests --only base envoyfilter',
  ],
  exits: { [EXIT.failed]: 'the mesh file is not valid, or a file differs with --check' },
  define: (command) =>
    command
      .argument('<meshfile>', 'the mesh file; - is the standard input')
      .requiredOption('--out <folder>', 'where the files go')
      .addOption(new Option('--only <part...>', 'these parts only').choices(PARTS))
      .option('--check', 'write nothing; exit with 1 if a file is missing or differs')
      .option('--no-code', "leave the filter's code out, as the manifests in this repository do"),
  run: async ({ options, args: [meshPath], tell }) => {
    const text = readText(meshPath);
    const mesh = inFile(meshPath, () => readAnyMesh(text));
    const parts = options.only ?? partsOf(mesh);
    await mustBeValid(text, meshPath, tell);
    if (mesh.pluginConfig.requirePrincipal === false && parts.some((part) => part !== 'clientside'))
      throw new CommandError(
        'INVALID',
        `${meshPath}: requirePrincipal is false: the storage layer would believe every caller`,
        'leave it out; the part clientside has it by itself',
      );
    const code = options.code ? codeOf(await releaseWasm(tell)) : WITHOUT_CODE;
    const files = inFile(meshPath, () => renderFiles(mesh, code, parts));
    const states = files.map((file) => ({ path: file.path, state: stateOf(options.out, file) }));
    const changed = files.filter((_, i) => states[i]?.state !== 'same');
    if (options.check !== true) changed.forEach((file) => write(options.out, file));
    const result: Result = {
      value: { out: options.out, written: !options.check, files: states },
      text: states.map(({ path, state }) => lineOf(options, path, state)).join('\n'),
    };
    if (!options.check || changed.length === 0) return result;
    const error = new CommandError(
      'DIFFERENT',
      `${changed.length} of ${files.length} files are not as ${meshPath} renders them`,
      `render them again: tidb-mesh render ${meshPath} --out ${options.out}`,
    );
    return { ...result, exit: error.exit, errors: [error] };
  },
};

async function mustBeValid(text: string, file: string, tell: Tell): Promise<void> {
  const findings = judgeFile(text, await Judge.load(tell)).flatMap((judged) => judged.findings);
  const error = findings.find(({ severity }) => severity === 'error');
  if (error)
    throw new CommandError(
      'INVALID',
      `${file}: ${error.text}`,
      error.suggestion ?? `correct it; this shows the place: tidb-mesh validate ${file}`,
    );
}

function stateOf(folder: string, { path, text }: RenderedFile): State {
  const onDisk = join(folder, path);
  if (!existsSync(onDisk)) return 'missing';
  return readFileSync(onDisk, 'utf8') === text ? 'same' : 'different';
}

function write(folder: string, { path, text }: RenderedFile): void {
  const onDisk = join(folder, path);
  mkdirSync(dirname(onDisk), { recursive: true });
  // An Envoy that watches the file sees the old one or the new one, never a part.
  writeFileSync(`${onDisk}.new`, text);
  renameSync(`${onDisk}.new`, onDisk);
}

function lineOf({ out, check }: Options, path: string, state: State): string {
  const mark = state === 'same' ? pc.dim('=') : check ? pc.red('≠') : pc.green('✓');
  return `${mark} ${join(out, path)}${check && state !== 'same' ? `  ${state}` : ''}`;
}
