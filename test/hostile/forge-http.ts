/** The same for PD's HTTP API: paths, queries and bodies of every endpoint with somebody else's things in them. */
import { ENDPOINTS, type Endpoint, type RangeQuery, type Shape } from '../../proto/pd/endpoints.ts';
import { memcomparable } from '../harness/model/table-codec.ts';
import { placeValues, type Attacker } from './forge.ts';
import { TABLE_END } from './keys.ts';

export interface HttpForgery {
  readonly endpoint: Endpoint;
  readonly method: string;
  readonly path: string;
  readonly body: string | undefined;
  /** What is forged: `path`, `query`, `body`, or a member of it. */
  readonly field: string;
  readonly value: string;
}

/** What is said of the request as a whole, beside the values for its parts. */
type Part = readonly [field: string, value: string, text: string];

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const escaped = (bytes: Uint8Array): string => hex(bytes).replace(/../g, (digits) => `%${digits}`);

/** Names of somebody else's groups and rules, and names that lead elsewhere. */
function names({ victims }: Attacker): string[] {
  return [
    ...victims.flatMap(({ name, known }) => [
      `tidb-mesh:${name}:${known}`,
      known,
      `schema/${known}`,
      `tidb-mesh:${name}:schema/${known}`,
      `tidb-mesh/${name}`,
    ]),
    'pd',
    '..',
    'tiflash',
    'keyspaces/0',
  ];
}

const REGION_IDS = ({ victims }: Attacker): string[] => [
  ...victims.map(({ regionId }) => String(regionId)),
  '0',
  '1',
  '18446744073709551615',
];

/** Paths of an endpoint; the first one is good. */
export function paths(endpoint: Endpoint, attacker: Attacker): Part[] {
  const { path } = endpoint;
  const ids = [...REGION_IDS(attacker), ...names(attacker).map(encodeURIComponent)];
  const groups = names(attacker).flatMap((name) => [name, encodeURIComponent(name)]);
  const fillings: Record<string, string[]> = {
    '{group}': ['own', ...groups],
    '{label-id}': ['own', ...groups],
    '{key}': [
      escaped(memcomparable(attacker.key)),
      ...placeValues(attacker).map(([, place]) => escaped(place)),
    ],
    '**': ['x', ...ids.slice(0, 2), 'x/y'],
    '*': ['1', ...ids],
  };
  const slot = Object.keys(fillings).find((name) => path.includes(name));
  const good = (text: string): string =>
    Object.entries(fillings).reduce((filled, [name, [first]]) => filled.replaceAll(name, first!), text);
  const tricks = ['//', '/./', '/%2e/', '/..;/', '/a/../'].map((trick): Part => {
    const whole = good(path);
    const at = whole.lastIndexOf('/');
    return ['path', JSON.stringify(trick), `${whole.slice(0, at)}${trick}${whole.slice(at + 1)}`];
  });
  return [
    ['', 'nothing forged', good(path)],
    ...(slot === undefined
      ? []
      : fillings[slot]!.slice(1).map((filling): Part => [
          `path ${slot}`,
          filling.slice(0, 60),
          good(path.replace(slot, () => filling)),
        ])),
    ...tricks,
  ];
}

function queries({ query }: Endpoint, attacker: Attacker): Part[] {
  if (typeof query !== 'object')
    return [
      ['query', 'an expression', '?regexp=.*'],
      ['query', 'all of it', '?partial=false'],
      ['query', 'hex', '?format=hex'],
    ];
  const { start, end, hex: inHex } = query satisfies RangeQuery;
  const form = inHex === true ? hex : escaped;
  const own = form(memcomparable(attacker.key));
  return [
    ['query', 'no range', ''],
    ['query', 'a limit only', '?limit=-1'],
    ['query', 'twice', `?${start}=${own}&${start}=&${end}=`],
    ['query', 'an escaped name', `?%${start.charCodeAt(0).toString(16)}${start.slice(1)}=&${end}=`],
    ...placeValues(attacker).flatMap(([name, place]): Part[] => [
      [`query ${start}`, name, `?${start}=${form(place)}&${end}=`],
      [`query ${end}`, name, `?${start}=${own}&${end}=${form(place)}`],
      [`query ${start}`, `${name}, in hex`, `?${start}=${hex(place)}&${end}=&format=hex`],
    ]),
  ];
}

/** What a body's member holds where nothing is forged. */
function goodShape(shape: Shape, attacker: Attacker): unknown {
  if (typeof shape === 'object')
    return 'list' in shape
      ? [goodShape(shape.list, attacker)]
      : Object.fromEntries(
          Object.entries(shape.object).map(([name, inner]) => [name, goodShape(inner, attacker)]),
        );
  switch (shape) {
    case 'lower':
      return hex(memcomparable(attacker.key));
    case 'upper':
      return hex(memcomparable(TABLE_END));
    case 'whole':
    case 'id':
    case 'time':
    case 'group-index':
    case 'replicas':
      return 1;
    case 'flag':
    case 'group-override':
      return false;
    case 'hot-type':
      return 'read';
    case 'rule-type':
      return 'key-range';
    case 'constraint-op':
      return 'in';
    case 'store-label':
      return 'zone';
    case 'label-key':
      return 'merge_option';
    default:
      return 'own';
  }
}

function forgedLeaf(shape: Shape, attacker: Attacker): [value: string, is: unknown][] {
  switch (shape) {
    case 'lower':
    case 'upper':
      return placeValues(attacker).map(([name, place]) => [name, hex(place)]);
    case 'whole':
    case 'id':
    case 'time':
    case 'group-index':
    case 'replicas':
      return [121, -1, 1e12, '7'].map((value) => [JSON.stringify(value), value]);
    case 'flag':
    case 'group-override':
      return [['"true"', 'true']];
    case 'label-key':
    case 'store-label':
      return ['tidb-mesh-tenant', '$mode', 'exclusive', 'engine', 'id'].map((value) => [value, value]);
    default:
      return [...names(attacker), '', 'x'.repeat(2000), '\u0000', '../../x'].map((value) => [
        JSON.stringify(value).slice(0, 60),
        value,
      ]);
  }
}

/** Bodies with one member forged, one after the other, and with one member less. */
function forgedShape(shape: Shape, attacker: Attacker): { field: string; value: string; body: unknown }[] {
  if (typeof shape !== 'object')
    return forgedLeaf(shape, attacker).map(([value, body]) => ({ field: '', value, body }));
  if ('list' in shape)
    return [
      ...forgedShape(shape.list, attacker).map((inner) => ({ ...inner, body: [inner.body] })),
      { field: '', value: 'an empty list', body: [] },
      { field: '', value: 'null', body: null },
    ];
  const good = goodShape(shape, attacker) as Record<string, unknown>;
  return Object.entries(shape.object).flatMap(([name, inner]) => [
    ...forgedShape(inner, attacker).map(({ field, value, body }) => ({
      field: field === '' ? name : `${name}.${field}`,
      value,
      body: { ...good, [name]: body },
    })),
    {
      field: name,
      value: 'absent',
      body: Object.fromEntries(Object.entries(good).filter(([other]) => other !== name)),
    },
  ]);
}

function bodies({ body }: Endpoint, attacker: Attacker): Part[] {
  if (body === undefined) return [['body', "a neighbour's names", JSON.stringify(names(attacker))]];
  const whole = JSON.stringify(goodShape(body, attacker));
  return [
    ...forgedShape(body, attacker).map(({ field, value, body: forged }): Part => [
      `body ${field}`,
      value,
      JSON.stringify(forged),
    ]),
    ['body', 'none', ''],
    ['body', 'null', 'null'],
    ['body', 'cut short', whole.slice(0, -3)],
    ['body', 'two of them', whole + whole],
    ['body', 'a member twice', whole.replace('{', '{"id":"x","group_id":"pd","id":"y",')],
  ];
}

/** Every forged request of every endpoint. */
export function httpForgeries(attacker: Attacker): HttpForgery[] {
  return ENDPOINTS.flatMap((endpoint) => {
    const methods = endpoint.method === '*' ? ['GET', 'POST', 'DELETE'] : [endpoint.method];
    const [first, ...forgedPaths] = paths(endpoint, attacker) as [Part, ...Part[]];
    const [, , plain] = first;
    const query = endpoint.query === 'partial' ? '?partial=true' : '';
    const body = endpoint.body === undefined ? undefined : JSON.stringify(goodShape(endpoint.body, attacker));
    return methods.flatMap((method): HttpForgery[] => [
      ...[first, ...forgedPaths].map(([field, value, path]) => ({
        endpoint,
        method,
        path: path + query,
        body,
        field,
        value,
      })),
      ...queries(endpoint, attacker).map(([field, value, text]) => ({
        endpoint,
        method,
        path: plain + text,
        body,
        field,
        value,
      })),
      ...bodies(endpoint, attacker).map(([field, value, text]) => ({
        endpoint,
        method,
        path: plain + query,
        body: text,
        field,
        value,
      })),
    ]);
  });
}
