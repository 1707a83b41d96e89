/** The pages that people read: links lead somewhere, commands and files exist, references are current. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import type { Command, CommanderError } from 'commander';
import { COMMANDS } from '../../src-ts/cli/commands/index.ts';
import { makeProgram } from '../../src-ts/cli/program.ts';
import { METRIC_LABELS, METRICS } from '../../src-ts/observability/metrics.ts';
import { commandsReference, subcommands } from '../../src-ts/docs/commands.ts';
import { metricsReference } from '../../src-ts/docs/metrics.ts';
import { compatibilityReference } from '../../src-ts/docs/compatibility.ts';
import { refusalsReference } from '../../src-ts/docs/refusals.ts';
import { licencesReference } from '../../src-ts/supply/licences.ts';
import { configurationReference } from '../../src-ts/docs/configuration.ts';
import { pathOf, RENEW, withReference } from '../../src-ts/docs/page.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SKIPPED = new Set(['node_modules', 'build', '.git', '.ci']);
const LINES = 150;
const COLUMNS = 100;

interface Page {
  readonly name: string;
  readonly text: string;
}

function pagesBelow(folder: string): Page[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : pagesBelow(path);
    if (!entry.name.endsWith('.md')) return [];
    return [{ name: relative(ROOT, path), text: readFileSync(path, 'utf8') }];
  });
}

const PAGES = pagesBelow(ROOT);

/** What is said on all pages, with the page that says it. */
function found(pattern: RegExp, pages: readonly Page[] = PAGES): { page: string; match: string }[] {
  return pages.flatMap(({ name, text }) =>
    [...text.matchAll(pattern)].map((match) => ({ page: name, match: match[1] ?? '' })),
  );
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchors(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

function isBroken(page: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? join(ROOT, page) : join(ROOT, dirname(page), path);
  if (!existsSync(target)) return true;
  if (anchor === undefined || anchor === '' || !target.endsWith('.md')) return false;
  return !anchors(readFileSync(target, 'utf8')).has(anchor);
}

test(`README.md has at most ${LINES} lines of at most ${COLUMNS} characters`, () => {
  const lines = readFileSync(join(ROOT, 'README.md'), 'utf8').trimEnd().split('\n');
  expect(lines.length).toBeLessThanOrEqual(LINES);
  expect(lines.filter((line) => [...line].length > COLUMNS)).toEqual([]);
});

test('every relative link leads to a file or folder, and to a heading in it', () => {
  const links = found(/\]\(([^)\s]+)\)/g).filter(({ match }) => !/^[a-z]+:/.test(match));
  expect(links.length).toBeGreaterThan(50);
  expect(links.filter(({ page, match }) => isBroken(page, match))).toEqual([]);
});

test('every npm script that a page names exists', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const named = found(/npm run (?:-s )?([a-z][a-z0-9:-]*)/g);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter(({ match }) => !(match in scripts))).toEqual([]);
});

test('every subcommand of tidb-mesh that a page names exists', () => {
  const known = subcommands().map(({ path }) => path);
  const exists = (words: string): boolean =>
    known.some((path) => `${words} `.startsWith(`${path} `) || `${path} `.startsWith(`${words} `));
  const named = found(/(?:npx |`|^ +(?:\$ )?)tidb-mesh ([a-z]+(?: (?:add|list|empty|remove))?)/gm);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter(({ match }) => !exists(match))).toEqual([]);
});

/** The words of a command line, up to a comment or to what the shell does with its result. `…` stands for what was said before. */
function wordsOf(line: string): string[] {
  const tokens = [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)];
  const end = tokens.findIndex(([token]) => /^(?:#.*|[>|]|&&)$/.test(token));
  const words = tokens
    .slice(0, end < 0 ? undefined : end)
    .map(([, single, double, plain]) => single ?? double ?? plain ?? '');
  const isValue = (at: number): boolean => words[at - 1]?.startsWith('--') === true;
  return words
    .map((word, at) => (/^<[\w-]+>$/.test(word) || (word === '…' && isValue(at)) ? 'x' : word))
    .filter((word) => word !== '…');
}

/** The command line as commander reads it, without doing anything. @throws commander's error */
async function parse(line: string): Promise<void> {
  const program = makeProgram();
  const still = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut: () => undefined, writeErr: () => undefined });
    if (command.commands.length === 0) command.action(() => undefined);
    for (const below of command.commands) still(below);
  };
  still(program);
  const words = wordsOf(line);
  await program.parseAsync(words, { from: 'user' }).catch((error: CommanderError) => {
    if (error.code !== 'commander.helpDisplayed') throw new Error(`${line}: ${error.message}`);
  });
}

test('every line of tidb-mesh in a block of a page has the options and arguments that the command takes', async () => {
  const pages = PAGES.filter(({ name }) => name !== 'docs/commands.md').map((page) => ({
    ...page,
    text: page.text.replaceAll(/\\\n\s+/g, ''),
  }));
  const lines = found(/^ *(?:\$ |npx )?tidb-mesh ((?:[a-z]+ |--help).*)$/gm, pages).filter(
    ({ match }) => match.includes(' --') || match.startsWith('validate'),
  );
  expect(lines.length).toBeGreaterThan(30);
  for (const { match } of lines) await parse(match);
});

test('so has every example in a help', async () => {
  const examples = COMMANDS.flatMap((command) =>
    command.examples.map((example) => (typeof example === 'string' ? example : example[0])),
  );
  for (const example of examples) {
    const [, line] = /(?:^|\| )tidb-mesh (.*)$/s.exec(example) ?? [];
    if (line !== undefined) await parse(line.replaceAll(/\\\n\s+/g, ''));
  }
});

test('npx tidb-mesh is used only where the package is installed', () => {
  const pages = PAGES.filter(({ text }) => text.includes('npx tidb-mesh')).map(({ name }) => name);
  expect(pages.sort()).toEqual(['README.md', 'docs/commands.md', 'docs/install.md']);
});

test('every file of ours that a page names exists', () => {
  const folders = readdirSync(ROOT).filter((name) => statSync(join(ROOT, name)).isDirectory());
  const pages = PAGES.filter(({ name }) => name !== 'CHANGELOG.md');
  const files = found(/`((?:[\w-]+\/)+[\w.-]+\.(?:ts|mjs|md|json|yaml|proto))`/g, pages).filter(({ match }) =>
    folders.includes(match.split('/')[0] ?? ''),
  );
  expect(files.length).toBeGreaterThan(20);
  expect(files.filter(({ match }) => !existsSync(join(ROOT, match)))).toEqual([]);
});

test(`the references are current (${RENEW})`, async () => {
  const isCurrent = async (page: string, reference: string): Promise<void> =>
    expect(readFileSync(pathOf(page), 'utf8')).toBe(await withReference(page, reference));
  await isCurrent('licences.md', licencesReference());
  await isCurrent('configuration.md', configurationReference());
  await isCurrent('commands.md', commandsReference());
  await isCurrent('refusals.md', refusalsReference());
  await isCurrent('metrics.md', metricsReference());
  await isCurrent('compatibility.md', compatibilityReference());
});

test('every metric of the filter is described, and none that it does not have', () => {
  const folder = join(ROOT, 'assembly');
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  const text = sources.map((file) => readFileSync(join(folder, file), 'utf8')).join('\n');
  const kept = new Set([...text.matchAll(/['";](tidbmesh_[a-z_]+)/g)].map(([, name]) => name!));
  // What becomes a label stands in a template among the texts.
  const texts = readFileSync(join(ROOT, 'proto/mesh/statuses.ts'), 'utf8');
  for (const [, name] of texts.matchAll(/;(tidbmesh_[a-z_]+)'/g)) kept.add(name!);
  expect(METRICS.map(({ name }) => name).sort()).toEqual([...kept].sort());
});

test('metrics.md tells Istio of every label', () => {
  const [, tags] =
    /extraStatTags": (\[.*?\])/.exec(readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8')) ?? [];
  expect(JSON.parse(tags ?? '[]')).toEqual(METRIC_LABELS);
});
