/** `npm run surface`: shows what the filter does with every method and every field. `-- --write` writes docs/surface.md. */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import { readDescriptors } from './descriptors.ts';
import { judge, type Judgement } from './judgement.ts';
import { SURFACE_PAGE, surfacePage } from './surface-page.ts';
import { totalsOf, type Counts } from './totals.ts';

/** One line for each row, without frames: easy to read, search and compare. */
const SIDES = ['top', 'bottom', 'left', 'right', 'mid'];
const PARTS = ['', '-mid', '-left', '-right'];
const NO_LINES = Object.fromEntries(SIDES.flatMap((side) => PARTS.map((part) => [side + part, ''])));
const PLAIN = {
  style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 2 },
  chars: { ...NO_LINES, middle: '' },
};

/** The whole matrix as text: methods by decision, fields by role, totals. Numbers and walked messages are only counted. */
export function surfaceText(judgement: Judgement): string {
  const methods = new Table({ head: ['method', 'decision', 'because'], ...PLAIN });
  for (const method of judgement.methods) methods.push([method.path, method.decision, method.because]);

  const fields = new Table({ head: ['field', 'type', 'role'], ...PLAIN });
  for (const message of judgement.messages)
    for (const field of message.fields) {
      if (field.role === 'ROLE_UNSPECIFIED') continue;
      const type = field.repeated ? `repeated ${field.type}` : field.type;
      fields.push([`${message.name}.${field.name}`, type, field.role]);
    }
  const totals = totalsOf(judgement);
  return [
    methods.toString(),
    fields.toString(),
    `${judgement.methods.length} methods: ${listed(totals.decisions)}`,
    `${judgement.messages.length} messages, ${totals.withRole} fields with a role, ${totals.plain} numbers and ${totals.walked} walked messages without`,
    `roles: ${listed(totals.roles)}`,
    ...totals.unclassified.map((field) => `unclassified: ${field}`),
    `${totals.unclassified.length} unclassified`,
  ].join('\n');
}

function listed(counts: Counts): string {
  return counts.map(([name, n]) => `${n} ${name}`).join(', ');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const judgement = judge(readDescriptors());
    if (process.argv.includes('--write')) {
      writeFileSync(SURFACE_PAGE, await surfacePage(judgement));
      console.log(`${relative(process.cwd(), SURFACE_PAGE)} is written`);
    } else console.log(surfaceText(judgement));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
