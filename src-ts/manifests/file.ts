/** Rendered files: YAML that says first what it is. */
import { stringify } from 'yaml';

export interface RenderedFile {
  /** Relative to the output folder, with `/`. */
  readonly path: string;
  readonly text: string;
}

export function comment(lines: readonly string[]): string {
  return lines.map((line) => (line === '' ? '#\n' : `# ${line}\n`)).join('');
}

export function file(path: string, header: readonly string[], objects: readonly object[]): RenderedFile {
  const documents = objects.map((object) =>
    stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }),
  );
  return { path, text: comment(header) + documents.join('---\n') };
}
