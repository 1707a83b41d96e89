/** `tidb-mesh validate`: shows what the filter would say about the configuration in a file. */
import pc from 'picocolors';
import { Judge } from '../../config/judge.ts';
import { judgeFile, type Finding, type Judgement } from '../../config/validate.ts';
import { EXIT } from '../../errors.ts';
import type { Definition } from '../definition.ts';
import { CONFIG_FILE, noConfig, readText } from '../files.ts';

export const validate: Definition<{ readonly strict?: true }, [string]> = {
  name: 'validate',
  summary: "judge a configuration with the filter's own code",
  about: `Each error is the line that the filter itself logs, with its place in the file. The filter rejects a
configuration as a whole: Envoy then goes on with the one before.`,
  examples: [
    'tidb-mesh validate mesh.yaml',
    ['tidb-mesh validate --strict mesh.yaml', 'in CI'],
    ['kubectl get envoyfilter -n storage tidb-mesh-pd -o yaml | tidb-mesh validate -', 'what is in force'],
  ],
  exits: { [EXIT.ok]: 'valid', [EXIT.failed]: 'not valid' },
  define: (command) => command.argument('<file>', CONFIG_FILE).option('--strict', 'treat warnings as errors'),
  run: async ({ options, args: [file], tell }) => {
    const judgements = judgeFile(readText(file), await Judge.load(tell));
    if (judgements.length === 0) throw noConfig(file);
    const findings = judgements.flatMap((one) => one.findings);
    const errors = findings.filter(({ severity }) => severity === 'error').length;
    const valid = options.strict ? findings.length === 0 : errors === 0;
    return {
      value: { file, valid, judgements },
      text: judgements.flatMap((one) => linesOf(file, one)).join('\n'),
      exit: valid ? EXIT.ok : EXIT.failed,
    };
  },
};

function linesOf(file: string, { kind, findings }: Judgement): string[] {
  const isValid = findings.every(({ severity }) => severity !== 'error');
  const lines = findings.flatMap((finding) => describe(file, finding));
  return isValid ? [...lines, `${pc.green('✓')} ${file}: ${kind}: valid`] : lines;
}

function describe(file: string, { severity, line, column, text, suggestion }: Finding): string[] {
  const mark = severity === 'error' ? pc.red('error') : pc.yellow('warning');
  const what = `${pc.bold(`${file}:${line}:${column}`)} ${mark} ${text}`;
  return suggestion === undefined ? [what] : [what, `  ${pc.cyan('→')} ${suggestion}`];
}
