/** `npm run surface`: what the filter does with every method, and which roles the fields of mapped methods have. */
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import { readDescriptors } from './descriptors.ts';
import { judge, type Judgement } from './judgement.ts';

/** A line a row, no frames: to be read, searched and compared. */
const SIDES = ['top', 'bottom', 'left', 'right', 'mid'];
const PARTS = ['', '-mid', '-left', '-right'];
const NO_LINES = Object.fromEntries(SIDES.flatMap((side) => PARTS.map((part) => [side + part, ''])));
const PLAIN = {
  style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 2 },
  chars: { ...NO_LINES, middle: '' },
};

/** How often each name occurs, the most frequent first. */
function count(names: Iterable<string>): [string, number][] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function listed(counts: readonly [string, number][]): string {
  return counts.map(([name, n]) => `${n} ${name}`).join(', ');
}

/** The whole matrix as text: methods by decision, fields by role, totals. */
export function surfaceText(judgement: Judgement): string {
  const methods = new Table({ head: ['method', 'decision', 'because'], ...PLAIN });
  for (const method of judgement.methods) methods.push([method.path, method.decision, method.because]);

  const fields = new Table({ head: ['field', 'type', 'role'], ...PLAIN });
  const roles: string[] = [];
  let plain = 0;
  for (const message of judgement.messages)
    for (const field of message.fields) {
      if (field.role === 'ROLE_UNSPECIFIED') {
        plain++;
        continue;
      }
      roles.push(field.role);
      const type = field.repeated ? `repeated ${field.type}` : field.type;
      fields.push([`${message.name}.${field.name}`, type, field.role]);
    }
  // judge() accepts no method without a decision and no bytes or string without a role, so this is 0 or there is no table.
  const unclassified = judgement.messages
    .flatMap((message) => message.fields)
    .filter(
      (field) => (field.type === 'bytes' || field.type === 'string') && field.role === 'ROLE_UNSPECIFIED',
    );
  return [
    methods.toString(),
    fields.toString(),
    `${judgement.methods.length} methods: ${listed(count(judgement.methods.map((m) => m.decision)))}`,
    `${judgement.messages.length} messages, ${roles.length} fields with a role, ${plain} numbers and messages without`,
    `roles: ${listed(count(roles))}`,
    `${unclassified.length} unclassified`,
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(surfaceText(judge(readDescriptors())));
