/** docs/refusals.md: every code that a refusal can have. */
import { status as GRPC } from '@grpc/grpc-js';
import { STATUS_GROUPS, type StatusRow } from '../../proto/mesh/statuses.ts';

/** `{0}` and on are for the filter; people read `…`. */
function shown(sentence: string): string {
  return sentence.replaceAll(/"?\{\d\}"?/g, '…');
}

function section(row: StatusRow): string {
  const answer = `gRPC ${row.grpc} (${GRPC[row.grpc]}), HTTP ${row.http}`;
  const single = row.single ? ' One request of a batch can be refused with it; the others go on.' : '';
  return [
    `#### ${row.code}`,
    '',
    `${row.means} ${answer}.${single}`,
    '',
    `> ${shown(row.sentence).replaceAll('<', '\\<')}`,
    '',
    `**What to do.** ${row.remedy}`,
    '',
  ].join('\n');
}

export function refusalsReference(): string {
  return STATUS_GROUPS.map(([title, rows]) => [`### ${title}`, '', ...rows.map(section)].join('\n')).join(
    '\n',
  );
}
