/** The list of differences as a page for people: test/oracle/DIFFERENCES.md. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { differences, type Difference } from './upstream.ts';

export const PAGE = fileURLToPath(new URL('DIFFERENCES.md', import.meta.url));
/** What writes the page anew. */
export const RENEW = 'npx tsx test/oracle/table.ts';

/** The page's text, formatted as the project's other pages. */
export async function page(list: readonly Difference[]): Promise<string> {
  const row = (d: Difference): string =>
    `| \`${d.id}\` | ${d.where} | ${d.upstream} | ${d.ours} | ${d.reason} |`;
  const text = [
    '# Where the filter does something else than upstream, on purpose',
    '',
    "The oracles are client-go's CodecV2 and etcd's clientv3/namespace. Everywhere else the filter's bytes equal theirs.",
    `The list is in test/harness/servers/tidb/cmd/oracle/differences.go, and each entry is tested; this page is written by \`${RENEW}\`.`,
    '',
    '| id | where | upstream | the filter | why |',
    '| --- | --- | --- | --- | --- |',
    ...list.map(row),
    '',
  ].join('\n');
  return format(text, { ...(await resolveConfig(PAGE)), filepath: PAGE });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(PAGE, await page(await differences()));
