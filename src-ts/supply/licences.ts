/** docs/licences.md: the licences of all packages that the project installs. */
import { lockedPackages, type Locked } from './lock.ts';

/** Licences that ask nothing of whoever uses the command but to keep the notice. */
const PERMISSIVE = new Set(['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT']);

/** Those that a package is under at once. An expression with a choice is not read: it counts as one of its own. */
function parts(licence: string): string[] {
  return licence.replaceAll(/[()]/g, '').split(' AND ');
}

export function isPermissive({ licence }: Locked): boolean {
  return parts(licence).every((part) => PERMISSIVE.has(part));
}

export function licencesReference(): string {
  const packages = lockedPackages();
  const runtime = packages.filter(({ isRuntime }) => isRuntime);
  const others = packages.filter(({ isRuntime }) => !isRuntime);
  const counts = new Map<string, number>();
  for (const { licence } of others) counts.set(licence, (counts.get(licence) ?? 0) + 1);
  return [
    '### With the command',
    '',
    '| package | version | licence |',
    '| --- | --- | --- |',
    ...unique(runtime.map(({ name, version, licence }) => `| \`${name}\` | ${version} | ${licence} |`)),
    '',
    '### To build and test',
    '',
    '| licence | packages |',
    '| --- | --- |',
    ...[...counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([licence, count]) => `| ${licence} | ${count} |`),
    '',
  ].join('\n');
}

const unique = (lines: readonly string[]): string[] => [...new Set(lines)];
