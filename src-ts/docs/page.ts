/** Pages of docs/ that hold a part that is written from code. The rest of such a page is written by hand. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

/** What renews the pages. */
export const RENEW = 'npm run docs';

const BEGIN = /^<!-- reference: .* -->$/m;
const END = '<!-- end of reference -->';

export function pathOf(page: string): string {
  return fileURLToPath(new URL(`../../docs/${page}`, import.meta.url));
}

/** The page with this reference in place of the one that it has, formatted as the project's other pages. */
export async function withReference(page: string, reference: string): Promise<string> {
  const file = pathOf(page);
  const text = readFileSync(file, 'utf8');
  const begin = BEGIN.exec(text);
  const end = text.indexOf(END);
  if (begin === null || end < begin.index) throw new Error(`${page}: the marks of the reference are missing`);
  const head = text.slice(0, begin.index + begin[0].length);
  const config = await resolveConfig(file);
  return format(`${head}\n\n${reference}\n\n${text.slice(end)}`, { ...config, filepath: file });
}
