/** `tidb-mesh tenants suspend`, `read-only` and `resume`: change a tenant's state in the configuration. */
import { writeFileSync } from 'node:fs';
import { Judge } from '../../../config/judge.ts';
import { judgeFile } from '../../../config/validate.ts';
import { CommandError, EXIT } from '../../../errors.ts';
import { isMeshFile } from '../../../manifests/mesh-file.ts';
import { changeState } from '../../../tenants/states.ts';
import type { Tell } from '../../../tell.ts';
import type { State } from '../../../tenants/tenant.ts';
import { parse } from 'yaml';
import type { Call, Definition, Result } from '../../definition.ts';
import { readText, withConfig } from '../../files.ts';
import { parseName } from './names.ts';

interface Options {
  readonly config: string;
}

type Args = [name: string];

const ABOUT = `It changes the tenant's "state" in a mesh file or pluginConfig, and nothing else in the file. What to apply
then, it says. Once Envoy has the configuration, the state counts at once, for open streams too
(docs/states.md).`;

function stateCommand(verb: string, state: State, summary: string): Definition<Options, Args> {
  return {
    name: `tenants ${verb}`,
    summary,
    about: ABOUT,
    examples: [`tidb-mesh tenants ${verb} alpha --config mesh.yaml`],
    exits: { [EXIT.ok]: 'changed, or in that state already', [EXIT.failed]: 'refused; nothing was changed' },
    define: (command) =>
      withConfig(
        command.argument('<name>', "the tenant's name", parseName),
        'the file to change, neither a manifest nor -',
        true,
      ),
    run: (call) => change(call, state),
  };
}

export const suspendTenants = stateCommand('suspend', 'suspended', 'refuse all requests of a tenant');
export const readOnlyTenants = stateCommand('read-only', 'read-only', 'refuse the writes of a tenant');
export const resumeTenants = stateCommand('resume', 'active', 'serve a tenant again');

async function change({ args: [name], options, tell }: Call<Options, Args>, state: State): Promise<Result> {
  const { config: file } = options;
  if (file === '-')
    throw new CommandError('USAGE', 'the standard input cannot be changed', 'give --config a file');
  const text = readText(file);
  const changed = changeState(text, file, name, state);
  const isChanged = changed.text !== text;
  if (isChanged) {
    await mustBeValid(changed.text, file, tell);
    write(file, changed.text);
  }
  const { before } = changed;
  return {
    value: { name, state, before, file, changed: isChanged },
    text: isChanged
      ? `${name} is ${state} in ${file}; it was ${before}\n${toApply(changed.text, file)}`
      : `${name} is ${state} in ${file} already; nothing was changed`,
  };
}

async function mustBeValid(text: string, file: string, tell: Tell): Promise<void> {
  const findings = judgeFile(text, await Judge.load(tell)).flatMap((judged) => judged.findings);
  const error = findings.find(({ severity }) => severity === 'error');
  if (error)
    throw new CommandError(
      'INVALID',
      `${file}: ${error.text}; nothing was changed`,
      `correct it; this shows the place: tidb-mesh validate ${file}`,
    );
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new CommandError('FILE', `${file}: ${(error as Error).message}`, 'make it writable', {
      cause: error,
    });
  }
}

function toApply(text: string, file: string): string {
  return isMeshFile(parse(text, { merge: true }))
    ? `Apply it: tidb-mesh render ${file} --out DIR, then kubectl apply --server-side -k DIR/VARIANT`
    : `Apply it: give ${file} to the filter as its configuration`;
}
