/** Changes a mesh file or pluginConfig in its place. */
import { parse } from 'yaml';
import { Judge } from '../../../config/judge.ts';
import { judgeFile } from '../../../config/validate.ts';
import { CommandError } from '../../../errors.ts';
import { isMeshFile } from '../../../manifests/mesh-file.ts';
import { isEnvoyMesh } from '../../../standalone/mesh.ts';
import { changeFileAlone } from '../../../replace-file.ts';
import type { Tell } from '../../../tell.ts';
import { readText } from '../../files.ts';

/**
 * Writes what `change` makes of the file's text, if it is valid.
 * @throws CommandError; the file is as it was then
 */
export async function changeFile(
  file: string,
  tell: Tell,
  change: (text: string) => string,
): Promise<{ text: string; isChanged: boolean }> {
  if (file === '-')
    throw new CommandError('USAGE', 'the standard input cannot be changed', 'give --config a file');
  const before = readText(file);
  const text = change(before);
  const isChanged = text !== before;
  if (isChanged) {
    await mustBeValid(text, file, tell);
    await write(file, (now) => {
      // A worker may have written where a tenant is served now.
      if (now !== before)
        throw new CommandError('REFUSED', `${file} has just been changed by somebody else`, 'run this again');
      return text;
    });
  }
  return { text, isChanged };
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

async function write(file: string, change: (now: string) => string): Promise<void> {
  try {
    await changeFileAlone(file, change);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError('FILE', `${file}: ${(error as Error).message}`, 'make it writable', {
      cause: error,
    });
  }
}

/** What to do for the file to count. */
export function toApply(text: string, file: string): string {
  const content: unknown = parse(text, { merge: true });
  if (isEnvoyMesh(content))
    return `Apply it: tidb-mesh render ${file} --out DIR; Envoy reads DIR/STORAGE/filter.yaml again by itself`;
  const folder = (content as { storages?: unknown } | null)?.storages === undefined ? 'DIR' : 'DIR/STORAGE';
  return isMeshFile(content)
    ? `Apply it: tidb-mesh render ${file} --out DIR, then kubectl apply --server-side -k ${folder}/VARIANT`
    : `Apply it: give ${file} to the filter as its configuration`;
}
