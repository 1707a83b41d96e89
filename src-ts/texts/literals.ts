/**
 * Packs the string literals of the filter's cold code while it is compiled: a literal of AssemblyScript takes two bytes a character
 * and a header of twenty. The sources stay as they are; the compiler reads `literal(<place>)` where one was.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { pack, type Packed } from './pack.ts';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const FOLDER = 'assembly';
/** Expands what is packed. */
const READER = 'assembly/texts/literals';
/** What READER reads; it exists for the compiler only. */
const TABLE = 'assembly/texts/literal-table.ts';

/** Code that runs when a VM starts, a configuration is loaded or a caller comes for the first time: each use of a literal allocates. */
const COLD = /^assembly\/(tenant\/|policy\/endpoints|streams\/metrics|entries\/filter\.ts)/;
/** Shorter ones are names that are compared with, again and again. */
const LEAST_LENGTH = 8;
/** Makes constants of texts, when a VM starts. */
const CONSTANT = 'ascii';

interface Literal {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** The literals of a source that are packed, in their order. */
export function literalsOf(path: string, source: string): Literal[] {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true);
  const found: Literal[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return;
    if (ts.isStringLiteral(node) && isPacked(path, node))
      found.push({ text: node.text, start: node.getStart(), end: node.getEnd() });
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

function isPacked(path: string, { parent, text }: ts.StringLiteral): boolean {
  if (!/^[\x20-\x7e]+$/.test(text)) return false;
  const isConstant =
    ts.isCallExpression(parent) && ts.isIdentifier(parent.expression) && parent.expression.text === CONSTANT;
  return isConstant || (COLD.test(path) && text.length >= LEAST_LENGTH);
}

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
}

/** Gives the compiler's view of a source, by its path from the project's root; undefined for one that is as it is. */
export function packLiterals(): (path: string) => string | undefined {
  const literals = new Map(
    sources(FOLDER)
      .filter((path) => path !== `${FOLDER}/testing.ts`)
      .map((path) => {
        const source = readFileSync(join(ROOT, path), 'utf8');
        return [path, { source, found: literalsOf(path, source) }];
      }),
  );
  const packed = pack([...literals.values()].flatMap(({ found }) => found.map(({ text }) => text)));
  return (path) => {
    if (path === TABLE) return tableText(packed);
    const entry = literals.get(path);
    return entry === undefined || entry.found.length === 0 ? undefined : replaced(path, entry, packed);
  };
}

/** Lines stay where they are: source maps and errors point into the original. */
function replaced(
  path: string,
  { source, found }: { source: string; found: readonly Literal[] },
  { places }: Packed,
): string {
  let out = '';
  let at = 0;
  for (const { text, start, end } of found) {
    out += `${source.slice(at, start)}literal(${places.get(text) ?? 0})`;
    at = end;
  }
  const reader = posix.relative(posix.dirname(path), READER);
  return `${out}${source.slice(at)}import { literal } from '${reader.startsWith('.') ? reader : `./${reader}`}';\n`;
}

function tableText({ bytes, pairs, longest }: Packed): string {
  return [
    `export const LITERALS: usize = memory.data<u8>([${bytes.join(', ')}]);`,
    `export const LITERAL_PAIRS: usize = memory.data<u8>([${pairs.join(', ')}]);`,
    `export const LONGEST_LITERAL: i32 = ${longest};`,
    '',
  ].join('\n');
}
