/** Writes docs/surface.md: the decision on every method and the role of every field. */
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import {
  BUNDLE,
  ENDPOINTS,
  LABEL_PATCH,
  LABEL_RULE,
  PLACEMENT_RULE,
  RULE_GROUP,
  RULE_OPERATION,
  type Endpoint,
  type Shape,
} from '../../proto/pd/endpoints.ts';
import type { JudgedField, JudgedMessage, JudgedMethod, Judgement } from './judgement.ts';
import { totalsOf } from './totals.ts';

export const SURFACE_PAGE = fileURLToPath(new URL('../../docs/surface.md', import.meta.url));
/** The command that writes the page anew. */
export const RENEW = 'npm run surface -- --write';

const UNSPECIFIED = 'ROLE_UNSPECIFIED';

/** The page's text, formatted as the project's other pages. */
export async function surfacePage(judgement: Judgement): Promise<string> {
  const totals = totalsOf(judgement);
  const text = [
    '# What the filter does with every method and every field',
    '',
    `Written by \`${RENEW}\` from proto/; a test compares it. What decisions, kinds and roles mean is said in [options.proto](../proto/mesh/options.proto).`,
    'A method that is not here is refused.',
    '',
    '## Totals',
    '',
    table(
      ['decision', 'methods'],
      [...totals.decisions.map(([name, n]) => [name, n]), ['all', judgement.methods.length]],
    ),
    '',
    table(['role', 'fields'], [...totals.roles.map(([name, n]) => [name, n]), ['all', totals.withRole]]),
    '',
    `${judgement.messages.length} messages are walked. ${totals.walked} of their fields hold a message that is walked in turn, ${totals.plain} a number of an answer.`,
    `${totals.unclassified.length} unclassified.`,
    '',
    '## Methods',
    '',
    ...servicesOf(judgement.methods).flatMap(([service, methods]) => serviceSection(service, methods)),
    "## PD's HTTP API",
    '',
    'From [endpoints.ts](../proto/pd/endpoints.ts); first match wins, and what no row matches is refused. Shapes of JSON that are objects are named there.',
    '',
    table(['method', 'path', 'decision', 'query', 'body', 'answer', 'because'], ENDPOINTS.map(endpointRow)),
    '',
    '## Messages',
    '',
    'Those that a mapped method reaches. A field without a role is a number of an answer, which passes as it is, or a message that is walked.',
    '',
    ...judgement.messages.flatMap(messageSection),
  ].join('\n');
  return format(text, { ...(await resolveConfig(SURFACE_PAGE)), filepath: SURFACE_PAGE });
}

/** The services in the order of their names, each with its methods. */
function servicesOf(methods: readonly JudgedMethod[]): [string, JudgedMethod[]][] {
  const services = new Map<string, JudgedMethod[]>();
  for (const method of methods) {
    const service = method.path.slice(1, method.path.lastIndexOf('/'));
    services.set(service, [...(services.get(service) ?? []), method]);
  }
  return [...services];
}

/** What a method is for, as metrics name it. */
function kindOf({ kind }: JudgedMethod): string {
  return kind.replace('KIND_', '').toLowerCase();
}

function serviceSection(service: string, methods: readonly JudgedMethod[]): string[] {
  const row = (method: JudgedMethod): Cell[] => [
    `\`${method.path.slice(service.length + 2)}\``,
    method.decision,
    method.because || kindOf(method),
  ];
  return [`### ${service}`, '', table(['method', 'decision', 'kind, or because'], methods.map(row)), ''];
}

function messageSection(message: JudgedMessage): string[] {
  const notes = notesOn(message);
  return [
    `### ${message.name}`,
    '',
    ...(notes.length > 0 ? [`${notes.join('; ')}.`, ''] : []),
    message.fields.length > 0
      ? table(['field', 'number', 'type', 'role', ''], message.fields.map(fieldRow))
      : 'No fields.',
    '',
  ];
}

const ENDINGS: Record<string, string> = {
  GROUP_SETTINGS: 'Refused without the settings on which PD relies',
  CHECKSUM_RULE: "Gets the rule by which keys count as the client's own",
  WATCH: "Counts against the tenant's limit of watches",
  TXN_TIMES: 'Refused with keys and no start, with a key that is there twice, and with a commit before the start',
  CPU_TIMES: 'The CPU time of SQL is lowered to all CPU time',
  ORDERED_RANGE: 'Refused with a start behind its end',
  BOUNDED_RANGE: 'Refused with a start behind its end, and without one of both',
  ANALYZED_COLUMNS: 'Refused where it reads a column that it does not list',
  TOKEN_REQUESTS: 'Refused with more items than a client sends',
};

const ACTS: Readonly<Record<string, string>> = {
  WITHOUT_KEYS: 'Acts on the whole region that it names when it has no keys',
};

function notesOn(message: JudgedMessage): string[] {
  const notes: string[] = [];
  if (message.standsFor !== message.name) notes.push(`A variant of upstream's ${message.standsFor}`);
  if (message.needs.length > 0) notes.push(`For key spaces with ${message.needs.join(' and ')}`);
  const acts = ACTS[message.actsOnRegion];
  if (acts !== undefined) notes.push(acts);
  if (message.lenient) notes.push('Fields that are not listed pass');
  if (message.owners) notes.push('Of tenant 0 it passes unread');
  const ending = ENDINGS[message.ending];
  if (ending !== undefined) notes.push(ending);
  return notes;
}

function fieldRow(field: JudgedField): Cell[] {
  const type = field.message === undefined ? field.type : field.message;
  const notes = [
    ...(field.essential ? ['essential: without it the message goes as well'] : []),
    ...(field.refusal ? ['takes the reason of a refusal in a batch'] : []),
    ...(field.requires ? ['required'] : []),
    ...(field.distinct ? ['each key once'] : []),
  ];
  return [
    field.name,
    field.number,
    field.repeated ? `repeated ${type}` : type,
    field.role === UNSPECIFIED ? '' : `${field.role}${boundsOf(field)}`,
    notes.join('; '),
  ];
}

/** The values that pass. */
function boundsOf({ limit, allowed }: JudgedField): string {
  if (limit !== undefined) return ` ${limit}`;
  return allowed.length === 0 ? '' : ` ${allowed.join(', ')}`;
}

function endpointRow({ method, path, decision, query, body, answer, text, because }: Endpoint): Cell[] {
  const range = typeof query === 'object' ? `range ${query.start}, ${query.end}` : query;
  const reason = because ?? text ?? '';
  return [
    method,
    `\`${path}\``,
    decision,
    range ?? '',
    shapeName(body),
    shapeName(answer),
    text === undefined ? reason : `\`${reason}\``,
  ];
}

const NAMED: readonly (readonly [Shape, string])[] = [
  [LABEL_RULE, 'label rule'],
  [LABEL_PATCH, 'patch of label rules'],
  [PLACEMENT_RULE, 'placement rule'],
  [RULE_OPERATION, 'rule operation'],
  [RULE_GROUP, 'rule group'],
  [BUNDLE, 'bundle'],
];

function shapeName(shape: Shape | undefined): string {
  if (shape === undefined) return '';
  if (typeof shape === 'string') return shape;
  if ('list' in shape) return `list of ${shapeName(shape.list)}`;
  return NAMED.find(([named]) => named === shape)?.[1] ?? Object.keys(shape.object).join(', ');
}

type Cell = string | number;

function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const line = (cells: readonly Cell[]): string =>
    `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
