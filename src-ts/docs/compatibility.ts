/** docs/compatibility.md: which versions of TiDB, PD and TiKV were run or checked, from schema/versions.json. */
import { readVersions, type CheckedVersion, type Run, type Unknown } from '../versions/versions.ts';

export function compatibilityReference(): string {
  const { checked, runs } = readVersions();
  return [
    '### What was run',
    '',
    '| server | its commit | result |',
    '| --- | --- | --- |',
    ...runs.map((run) => `| ${run.program} ${run.version} | ${commitOf(run.module)} | ${resultOf(run)} |`),
    '',
    '### What was checked',
    '',
    '| version | not known | what is known otherwise |',
    '| --- | --- | --- |',
    ...checked.map(
      ({ version, unknown }) =>
        `| ${version} | ${countsOf(unknown)} | ${countOf(unknown.changed.length, 'field', 'fields')} |`,
    ),
    '',
    ...checked.filter(({ unknown }) => isAny(unknown)).flatMap(section),
    '### Where the protocols come from',
    '',
    '| version | kvproto, tipb | from |',
    '| --- | --- | --- |',
    ...checked.map(
      ({ version, kvproto, tipb, source }) =>
        `| ${version} | ${commitOf(kvproto)}, ${commitOf(tipb)} | ${source} |`,
    ),
  ].join('\n');
}

/** A pseudo-version ends in a commit. */
function commitOf(version: string): string {
  const [, date = '', commit = version] = /(\d{8})\d{6}-([0-9a-f]{12})$/.exec(version) ?? [];
  return `\`${commit}\` of ${date.replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3')}`;
}

function resultOf({ passed, failed, commit, date, suite }: Run): string {
  const counts = failed.length === 0 ? `${passed} passed` : `${passed} passed, ${failed.length} failed`;
  const of = suite === undefined ? '' : ' of `npm run test:clients`';
  return `${counts}${of}; at \`${commit}\`, ${date}`;
}

function countOf(count: number, one: string, many: string): string {
  return count === 0 ? '-' : `${count} ${count === 1 ? one : many}`;
}

function countsOf({ methods, requests, answers }: Unknown): string {
  const counts = [
    countOf(methods.length, 'method', 'methods'),
    countOf(requests.length, 'field of requests', 'fields of requests'),
    countOf(answers.length, 'field of answers', 'fields of answers'),
  ].filter((text) => text !== '-');
  return counts.join(', ') || '-';
}

function isAny(unknown: Unknown): boolean {
  return Object.values(unknown as unknown as Record<string, string[]>).some((list) => list.length > 0);
}

function section({ version, unknown }: CheckedVersion): string[] {
  const list = (title: string, names: readonly string[]): string[] =>
    names.length === 0 ? [] : [title, '', ...names.map((name) => `- \`${name}\``), ''];
  return [
    `#### Protocols of ${version}`,
    '',
    ...list('Methods, which are refused:', unknown.methods),
    ...list('Fields of requests. A request that has one is refused:', unknown.requests),
    ...list('Fields of answers, which are removed:', unknown.answers),
    ...list('Fields that are known otherwise:', unknown.changed),
  ];
}
