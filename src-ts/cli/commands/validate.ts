/** `tidb-mesh validate`: shows what the filter would say about the configuration in a file. */
import type { Command } from 'commander';
import pc from 'picocolors';
import { Judge } from '../../config/judge.ts';
import { judgeFile, type Finding, type Judgement } from '../../config/validate.ts';
import { MeshFileError } from '../../manifests/mesh-file.ts';
import { readText } from '../files.ts';
import { EXIT, Refusal } from '../outcome.ts';

interface Options {
  json?: true;
  strict?: true;
}

function show(file: string, { severity, line, column, text, suggestion }: Finding): void {
  const mark = severity === 'error' ? pc.red('error') : pc.yellow('warning');
  console.log(`${pc.bold(`${file}:${line}:${column}`)} ${mark} ${text}`);
  if (suggestion !== undefined) console.log(`  ${pc.cyan('→')} ${suggestion}`);
}

/** Reports a mesh file that is broken outside its pluginConfig. */
function brokenMesh(error: MeshFileError): Judgement[] {
  const finding: Finding = { severity: 'error', line: 1, column: 1, path: '', text: error.message };
  return [{ kind: 'mesh file', findings: [finding] }];
}

async function judge(text: string): Promise<Judgement[]> {
  try {
    return judgeFile(text, await Judge.load());
  } catch (error) {
    if (error instanceof MeshFileError) return brokenMesh(error);
    throw error;
  }
}

async function run(file: string, options: Options): Promise<void> {
  const judgements = await judge(readText(file));
  if (judgements.length === 0)
    throw new Refusal(
      `${file}: holds no pluginConfig: no EnvoyFilter, WasmPlugin or TrafficExtension with one`,
    );
  const findings = judgements.flatMap((one) => one.findings);
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const valid = options.strict ? findings.length === 0 : errors === 0;
  if (options.json) console.log(JSON.stringify({ file, valid, judgements }));
  else
    for (const { kind, findings } of judgements) {
      for (const finding of findings) show(file, finding);
      if (findings.every(({ severity }) => severity !== 'error'))
        console.log(`${pc.green('✓')} ${file}: ${kind}: the filter takes it`);
    }
  process.exitCode = valid ? EXIT.ok : EXIT.refused;
}

export function register(program: Command): void {
  program
    .command('validate')
    .description("judges a configuration with the filter's own code")
    .argument(
      '<file>',
      'a pluginConfig (JSON), a mesh file, or a manifest that holds one; - is the standard input',
    )
    .option('--strict', 'warnings are errors')
    .option('--json', 'the findings as JSON')
    .addHelpText(
      'after',
      `
Each error is the line that the filter itself logs, with its place in the file. The filter refuses a configuration
as a whole: Envoy then goes on with the one before.

Example:
  npx tidb-mesh validate manifests/mesh.yaml`,
    )
    .action(run);
}
