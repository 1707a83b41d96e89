/** Lays out proto/pd/endpoints.ts as flat tables for the filter: endpoints, and the shapes of their JSON. */
import { ENDPOINTS, type Endpoint, type RangeQuery, type Shape } from '../../proto/pd/endpoints.ts';

/** u16 per endpoint, see ENDPOINTS_DOC in http-table.ts. */
export const ENDPOINT_WORDS = 7;
/** u16 per shape: kind, first member or the item's shape, number of members or maximum of items, flags. */
export const SHAPE_WORDS = 4;
/** u16 per member: place of its name in the texts, shape. */
export const MEMBER_WORDS = 2;

/** All paths in the filter's table begin with this. */
export const HTTP_ROOT = '/pd/api/';

export const METHODS = ['*', 'GET', 'POST', 'PATCH', 'DELETE', 'PUT'] as const;
export const DECISIONS = ['pass', 'map', 'answer', 'regions', 'refuse'] as const;
export const QUERIES = [
  'kept',
  'none',
  'dropped',
  'partial',
  'range',
  'hex range',
  'format',
  'range by format',
] as const;
export const KINDS = [
  'any',
  'text',
  'whole',
  'id',
  'time',
  'flag',
  'lower',
  'upper',
  'hot-type',
  'label-id',
  'deleted-id',
  'label-key',
  'rule-type',
  'group',
  'group-index',
  'group-override',
  'replicas',
  'store-label',
  'constraint-op',
  'constraint-value',
  'list',
  'object',
] as const;

/** Bits of a shape: it may be null; its members are a constraint's, or a group's; PD keeps each of them. A bit of a member: it must be there. */
export const ShapeBits = { OR_NULL: 1, CONSTRAINT: 2, RECORD: 4, GROUP: 8, NEEDED: 1 << 15 } as const;
const MAX_PLACE = 1 << 16;
const MAX_MEMBERS = 32;

/** How the filter's table writes a mapped segment of a path. `*` and `**` stay. */
export const SEGMENTS: Readonly<Record<string, string>> = {
  '{group}': '$',
  '{label-id}': '&',
  '{key}': '%',
};

export interface HttpLayout {
  readonly endpoints: readonly number[];
  readonly shapes: readonly number[];
  readonly members: readonly number[];
}

/** Every text that the tables name. */
export function httpTexts(): string[] {
  const members = new Set<string>();
  const collect = (shape: Shape | undefined): void => {
    if (shape === undefined || typeof shape === 'string') return;
    if ('list' in shape) return collect(shape.list);
    for (const [name, member] of Object.entries(shape.object)) {
      members.add(name);
      collect(member);
    }
  };
  for (const { body, answer } of ENDPOINTS) [body, answer].forEach(collect);
  const range = ({ query }: Endpoint): string[] =>
    typeof query === 'object' ? [query.start, query.end] : [];
  return [
    ...members,
    ...listed().flatMap((one) => [template(one), one.because ?? '', one.text ?? '', ...range(one)]),
  ];
}

/** The endpoints below the root. An endpoint that is not in the table is refused. */
function listed(): Endpoint[] {
  return ENDPOINTS.filter(({ path }) => path.startsWith(HTTP_ROOT));
}

/**
 * The path as the filter's table writes it.
 * @throws Error when an entry makes no sense.
 */
function template(endpoint: Endpoint): string {
  const { path, method, decision, query, body, answer, text } = endpoint;
  const problem = (why: string): never => {
    throw new Error(`${method} ${path}: ${why}`);
  };
  const segments = path.slice(HTTP_ROOT.length).split('/');
  segments.forEach((segment, i) => {
    const isLast = i === segments.length - 1;
    if (segment === '**' && (!isLast || decision !== 'refuse')) problem('** must end a refused path');
    if ((segment === '{key}' || segment === '{label-id}') && !isLast) problem(`${segment} must come last`);
    if (!/^([a-z0-9_-]+|\*\*?|\{[a-z-]+\})$/.test(segment)) problem(`${segment} is no segment`);
    if (segment.startsWith('{') && SEGMENTS[segment] === undefined) problem(`${segment} has no meaning`);
  });
  const mapped = decision === 'map' || decision === 'regions';
  if (!mapped && (query ?? body ?? answer) !== undefined) problem('only a mapped one has a query or JSON');
  if ((decision === 'answer') !== (text !== undefined)) problem('an answer has a text');
  if (decision === 'refuse' && endpoint.because === undefined) problem('a refusal needs a reason');
  if (decision !== 'refuse' && method === '*') problem('only a refusal is for all methods');
  if (query === 'format' && segments.at(-1) !== '{key}') problem('its format is that of a key in the path');
  if (decision === 'regions' && typeof query !== 'object') problem('it needs the range of regions/key');
  return segments.map((segment) => SEGMENTS[segment] ?? segment).join('/');
}

/** Numbers the shapes. Equal shapes get the same number. */
class Shapes {
  readonly words: number[] = [];
  readonly members: number[] = [];
  private readonly ids = new Map<string, number>();

  constructor(private readonly placeOf: (text: string) => number) {
    this.idOf('any');
  }

  idOf(shape: Shape): number {
    const key = JSON.stringify(shape);
    const known = this.ids.get(key);
    if (known !== undefined) return known;
    const words = this.wordsOf(shape);
    const id = this.words.length / SHAPE_WORDS;
    this.words.push(...words);
    this.ids.set(key, id);
    return id;
  }

  private wordsOf(shape: Shape): number[] {
    if (typeof shape === 'string') return [kindOf(shape), 0, 0, 0];
    if ('list' in shape)
      return [kindOf('list'), this.idOf(shape.list), shape.most ?? 0, shape.orNull === true ? ShapeBits.OR_NULL : 0];
    const entries = Object.entries(shape.object);
    if (entries.length > MAX_MEMBERS) throw new Error(`more than ${MAX_MEMBERS} members`);
    const ids = entries.map(([, member]) => this.idOf(member));
    const first = this.members.length / MEMBER_WORDS;
    const missing = (shape.needs ?? []).filter((name) => shape.object[name] === undefined);
    if (missing.length > 0) throw new Error(`needs ${missing.join(', ')}, which is no member`);
    entries.forEach(([name], i) => {
      const needed = shape.needs?.includes(name) === true ? ShapeBits.NEEDED : 0;
      this.members.push(this.placeOf(name), (ids[i] ?? 0) | needed);
    });
    const members = Object.values(shape.object);
    const bits =
      (members.includes('constraint-op') ? ShapeBits.CONSTRAINT : 0) |
      (members.includes('group-index') ? ShapeBits.GROUP : 0) |
      (shape.isRecord === true ? ShapeBits.RECORD : 0);
    return [kindOf('object'), first, entries.length, bits];
  }
}

function kindOf(kind: (typeof KINDS)[number]): number {
  return KINDS.indexOf(kind);
}

function queryOf(query: Endpoint['query']): number {
  const range = ({ hex }: RangeQuery): (typeof QUERIES)[number] => {
    if (hex === undefined) return 'range';
    return hex === 'format' ? 'range by format' : 'hex range';
  };
  return QUERIES.indexOf(query === undefined ? 'kept' : typeof query === 'string' ? query : range(query));
}

/** @throws Error when an entry makes no sense or does not fit. */
export function layOutHttp(placeOf: (text: string) => number): HttpLayout {
  const shapes = new Shapes(placeOf);
  /** 0 for no shape, else the shape's id plus one. */
  const optional = (shape: Shape | undefined): number => (shape === undefined ? 0 : shapes.idOf(shape) + 1);
  const endpoints = listed().flatMap((endpoint) => {
    const { method, decision, query, body, answer, text, because } = endpoint;
    const range = typeof query === 'object' ? query : undefined;
    return [
      placeOf(template(endpoint)),
      METHODS.indexOf(method) | (DECISIONS.indexOf(decision) << 4) | (queryOf(query) << 8),
      optional(body),
      optional(answer),
      placeOf(text ?? because ?? ''),
      placeOf(range?.start ?? ''),
      placeOf(range?.end ?? ''),
    ];
  });
  if (Math.max(...endpoints, ...shapes.words, ...shapes.members) >= MAX_PLACE)
    throw new Error('the tables of PD do not fit');
  return { endpoints, shapes: shapes.words, members: shapes.members };
}

/** The entry that decides about a path without its query. undefined: the path is refused. */
export function endpointFor(method: string, path: string): Endpoint | undefined {
  return ENDPOINTS.find(
    (endpoint) => (endpoint.method === '*' || endpoint.method === method) && matches(endpoint.path, path),
  );
}

function matches(pattern: string, path: string): boolean {
  const wanted = pattern.split('/');
  const given = path.split('/');
  if (wanted.at(-1) === '**') {
    if (given.length < wanted.length) return false;
    given.length = wanted.length;
  }
  return (
    wanted.length === given.length &&
    wanted.every((segment, i) => segment === given[i] || (given[i] !== '' && /^[*{]/.test(segment)))
  );
}
