/** What tenants use: differences, rates, and results that are compared with later ones. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import xterm from '@xterm/headless';
import { watch } from '../../src-ts/cli/commands/top.ts';
import { usage } from '../../src-ts/cli/commands/usage.ts';
import type { Result } from '../../src-ts/cli/definition.ts';
import { metered, type MeteredUsage } from '../../src-ts/tenants/prometheus.ts';
import {
  COUNTERS,
  perSecond,
  readUsage,
  usageSince,
  type Counters,
  type Usage,
} from '../../src-ts/tenants/usage.ts';

const MIB2 = 2 * 2 ** 20;

const all = (value: number): Counters =>
  Object.fromEntries(COUNTERS.map((name) => [name, value])) as unknown as Counters;
const tenant = (name: string, number: number, used: number): Usage['tenants'][number] => ({
  name,
  number,
  storedMiB: 5,
  storedKeys: 6,
  regions: 7,
  holdsBack: '',
  ...all(used),
});

const MONDAY: Usage = {
  at: '2026-11-23T00:00:00.000Z',
  tenants: [tenant('alpha', 1, 10), tenant('beta', 2, 100), tenant('old', 3, 7)],
  shared: all(1),
};
const LATER: Usage = {
  at: '2026-11-23T00:00:20.000Z',
  tenants: [tenant('alpha', 1, 50), tenant('beta', 2, 30), tenant('new', 3, 8)],
  shared: all(41),
};

describe('usage between two times', () => {
  const between = usageSince(LATER, MONDAY);
  const used = (usage: Usage): [string, number][] =>
    usage.tenants.map(({ name, readBytes }) => [name, readBytes]);

  test('is what has grown; a counter that has fallen, or of another tenant, counts whole', () => {
    expect(between.since).toBe(MONDAY.at);
    expect(used(between)).toEqual([
      ['alpha', 40],
      ['beta', 30],
      ['new', 8],
    ]);
    expect(between.shared).toEqual(all(40));
    expect(between.tenants[0]).toMatchObject({ storedMiB: 5, storedKeys: 6, regions: 7 });
  });

  test('gives rates', () => {
    const rates = perSecond(between);
    expect(used(rates)).toEqual([
      ['alpha', 2],
      ['beta', 1.5],
      ['new', 0.4],
    ]);
    expect(rates.tenants[0]!.storedMiB).toBe(5);
    // Nothing is divided by zero.
    expect(perSecond({ ...LATER, since: LATER.at }).shared.requestUnits).toBe(41_000);
  });
});

describe("the filter's counters", () => {
  const mesh = (used: number): NonNullable<Usage['tenants'][number]['mesh']> => ({
    state: 'active',
    openStreams: 3,
    heldBytes: 4,
    errors: { region: used, busy: 0, lock: 0, conflict: 0, other: 0 },
    requests: used,
    requestBytes: used,
    responseBytes: used,
    refused: used,
    delayed: used,
    delayedMs: used,
  });
  const at = (usage: Usage, ...used: (number | undefined)[]): Usage => ({
    ...usage,
    tenants: usage.tenants.map((one, i) => (used[i] === undefined ? one : { ...one, mesh: mesh(used[i]) })),
  });

  test('are compared and divided, and what is so now stays', () => {
    const between = usageSince(at(LATER, 100, 5), at(MONDAY, 60, 50));
    expect(between.tenants.map((one) => one.mesh?.requests)).toEqual([40, 5, undefined]);
    expect(perSecond(between).tenants[0]!.mesh).toEqual({ ...mesh(2), openStreams: 3, heldBytes: 4 });
    expect(usageSince(at(LATER, 100), MONDAY).tenants[0]!.mesh?.refused).toBe(100);
    expect(between.tenants[0]!.mesh?.errors).toEqual({ region: 40, busy: 0, lock: 0, conflict: 0, other: 0 });
  });
});

describe('the live view', () => {
  const LINES = 10;
  /** What a terminal shows after each drawing. The last measurement ends the view. */
  async function shown(columns: number, ...measured: Usage[]): Promise<string[][]> {
    const terminal = new xterm.Terminal({
      cols: columns,
      rows: LINES,
      allowProposedApi: true,
      convertEol: true,
    });
    const screens: string[][] = [];
    const drawn: Promise<void>[] = [];
    const write = (text: string): void => {
      drawn.push(
        new Promise((resolve) => {
          terminal.write(text, () => {
            const { active } = terminal.buffer;
            const rows = Array.from({ length: LINES }, (_, i) => active.getLine(active.viewportY + i));
            screens.push(rows.map((row) => row?.translateToString(true) ?? ''));
            resolve();
          });
        }),
      );
    };
    let next = 0;
    const measure = (): Promise<Usage> => {
      const usage = measured[next++];
      return usage ? Promise.resolve(usage) : Promise.reject(new Error('no more'));
    };
    const options = { interval: 0, sort: 'ru' } as const;
    await expect(watch(measure, options, () => undefined, { columns, rows: LINES, write })).rejects.toThrow(
      'no more',
    );
    await Promise.all(drawn);
    return screens;
  }
  const usageOf = (second: number, tenants: Usage['tenants']): Usage => ({
    at: `2026-11-23T00:00:0${second}.000Z`,
    tenants,
    shared: all(0),
  });
  const first = (rows: readonly string[]): string[] => rows.map((row) => row.split(' ')[0]!).filter(Boolean);

  test('draws each result over the one before, the busiest first, and nothing of the former is left', async () => {
    const [one, two] = await shown(
      120,
      usageOf(0, [tenant('alpha', 1, 0), tenant('quiet-with-a-long-name', 2, 0), tenant('gone', 3, 0)]),
      usageOf(1, [tenant('alpha', 1, 10), tenant('quiet-with-a-long-name', 2, 1), tenant('gone', 3, 0)]),
      usageOf(2, [tenant('alpha', 1, 10), tenant('b', 4, 90)]),
    );
    expect(first(one!)).toEqual([
      '2026-11-23T00:00:01.000Z',
      'TENANT',
      'alpha',
      'quiet-with-a-long-name',
      'gone',
      '(shared)',
    ]);
    expect(first(two!)).toEqual(['2026-11-23T00:00:02.000Z', 'TENANT', 'b', 'alpha', '(shared)']);
    expect(two!.join('\n')).not.toMatch(/quiet|name/);
    expect(two![1]).toMatch(/^TENANT .*REGIONS +HOLDS GC BACK$/);
    expect(two![2]).toMatch(/^b +90\.0 +90\.0/);
  });

  test('keeps its head and the busiest on a terminal that is too small for all', async () => {
    const many = (used: number): Usage['tenants'] =>
      Array.from({ length: 40 }, (_, i) => tenant(`t${i}`, i + 1, used * i));
    const [screen] = await shown(60, usageOf(0, many(0)), usageOf(1, many(1)));
    expect(first(screen!)).toEqual([
      '2026-11-23T00:00:01.000Z',
      'TENANT',
      't39',
      't38',
      't37',
      't36',
      't35',
      't34',
      '…',
    ]);
    expect(screen![8]).toMatch(/^… and 35 more/);
  });

  test('shows how much a rate held back', async () => {
    const mesh = (delayed: number): Usage['tenants'][number] => ({
      ...tenant('alpha', 1, 0),
      mesh: {
        state: 'active',
        requests: 0,
        requestBytes: 0,
        responseBytes: 0,
        refused: 0,
        delayed,
        delayedMs: 100 * delayed,
        errors: { region: 0, busy: 0, lock: 0, conflict: 0, other: 0 },
        openStreams: 1,
        heldBytes: 0,
      },
    });
    const [screen] = await shown(240, usageOf(0, [mesh(0)]), usageOf(2, [mesh(9)]));
    expect(screen![1]).toMatch(/ DELAYED\/s +DELAYED ms\/s /);
    expect(screen![2]).toMatch(/ 4\.5 +450 /);
  });

  test('names the classes of errors that there are', async () => {
    const mesh = (lock: number): Usage['tenants'][number] => ({
      ...tenant('alpha', 1, 0),
      mesh: {
        state: 'active',
        requests: 0,
        requestBytes: 0,
        responseBytes: 0,
        refused: 0,
        delayed: 0,
        delayedMs: 0,
        errors: { region: 2, busy: 0, lock, conflict: 0, other: 0 },
        openStreams: 1,
        heldBytes: 0,
      },
    });
    const [screen] = await shown(240, usageOf(0, [mesh(0)]), usageOf(2, [mesh(6)]));
    expect(screen![2]).toMatch(/ lock 3\.0 /);
    expect(screen![2]).not.toMatch(/region/);
  });
});

describe('an earlier result', () => {
  test('is read again', () => {
    expect(readUsage(JSON.stringify(MONDAY))).toEqual(MONDAY);
  });

  test.each([
    ['no JSON', '{'],
    ['null', 'null'],
    ['a list', '[]'],
    ['a difference itself', JSON.stringify({ ...MONDAY, since: MONDAY.at })],
    ['no time', JSON.stringify({ ...MONDAY, at: 'monday' })],
    ['a tenant without a counter', JSON.stringify({ ...MONDAY, tenants: [{ name: 'alpha', number: 1 }] })],
    ['nothing shared', JSON.stringify({ ...MONDAY, shared: undefined })],
  ])('is refused: %s', (_, text) => {
    expect(readUsage(text)).toBeUndefined();
  });
});

describe('usage in Prometheus', () => {
  /** What the server got, and what it answers to each query. */
  const asked: URLSearchParams[] = [];
  let answer: (query: string) => [status: number, body: string];
  let server: Server;
  let prometheus: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://x');
      asked.push(searchParams);
      const [status, body] =
        pathname === '/behind/api/v1/query' ? answer(searchParams.get('query') ?? '') : [404, 'not here'];
      response.writeHead(status).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    prometheus = `http://127.0.0.1:${(server.address() as AddressInfo).port}/behind`;
  });
  afterAll(() => void server.close());

  const run = (options: object): Promise<Result> =>
    Promise.resolve(usage.run({ options, args: [], tell: () => undefined }));
  const vector = (...values: [string, string][]): [number, string] => [
    200,
    JSON.stringify({
      status: 'success',
      data: { result: values.map(([tenant, value]) => ({ metric: { tenant }, value: [0, value] })) },
    }),
  ];

  test('sums what the counters have grown by', async () => {
    asked.length = 0;
    answer = (query) =>
      query.includes('_requests_')
        ? vector(['beta', '1200.4'], ['alpha', '7'])
        : vector(['alpha', '2097152']);
    const { value, text } = await run({ prometheus, since: '7d' });
    const { at, since, tenants } = value as MeteredUsage;
    expect(Date.parse(at) - Date.parse(since)).toBe(7 * 86_400_000);
    expect(tenants).toEqual([
      { name: 'alpha', mesh: { requests: 7, requestBytes: MIB2, responseBytes: MIB2, refused: MIB2 } },
      { name: 'beta', mesh: { requests: 1200, requestBytes: 0, responseBytes: 0, refused: 0 } },
    ]);
    expect(text.split('\n')[1]).toMatch(/^alpha +7 +2\.0 +2\.0 +2097152$/);
    expect(asked.map((one) => one.get('query'))).toContain(
      'sum by (tenant) (increase(tidbmesh_tenant_requests_total[604800s]))',
    );
    expect(new Set(asked.map((one) => one.get('time')))).toEqual(new Set([String(Date.parse(at) / 1000)]));
  });

  test('has a row for who stores and is silent, and for who was served and is gone', () => {
    const mesh = { requests: 1, requestBytes: 2, responseBytes: 3, refused: 4 };
    const alpha = { name: 'alpha', number: 1, approximateMiB: 5, approximateKeys: 6, regions: 7 };
    const listed = [
      {
        ...alpha,
        keySpace: '',
        boundaries: 'ok',
        etcdKeys: 12,
        etcdLeases: 3,
        resourceGroups: 1,
        holdsBack: '',
        limits: undefined,
      } as const,
    ];
    expect(metered(listed, new Map([['gone', mesh]]))).toEqual([
      {
        name: 'alpha',
        number: 1,
        storedMiB: 5,
        storedKeys: 6,
        regions: 7,
        mesh: { requests: 0, requestBytes: 0, responseBytes: 0, refused: 0 },
      },
      { name: 'gone', mesh },
    ]);
  });

  test.each<[string, object, string, RegExp]>([
    ['a duration without Prometheus', { pd: 'http://pd:2379', since: '24h' }, 'USAGE', /--since 24h: /],
    ['a file for Prometheus', { prometheus: 'http://p:9090', since: 'a.json' }, 'USAGE', /is no duration/],
    ['no time at all', { prometheus: 'http://p:9090', since: '0h' }, 'USAGE', /is no duration/],
    ['no URL', { prometheus: 'p:9090' }, 'USAGE', /--prometheus p:9090: not a URL/],
    ['two sources', { prometheus: 'http://p:9090', envoy: ['http://e:1'] }, 'USAGE', /tell the same counts/],
    ['no source', {}, 'USAGE', /there is no address to ask/],
    ['nobody there', { prometheus: 'http://127.0.0.1:1' }, 'UNREACHABLE', /no answer of Prometheus: /],
  ])('refuses %s', async (_, options, code, message) => {
    await expect(run(options)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as unknown as string,
    });
  });

  test.each<[string, [number, string], string, RegExp]>([
    ['an error', [400, '{"status":"error","error":"too many samples"}'], 'PD_ERROR', /too many samples/],
    ['no JSON', [502, '<html>'], 'UNREACHABLE', /no answer of Prometheus: /],
  ])("tells Prometheus' answer that is %s", async (_, said, code, message) => {
    answer = () => said;
    await expect(run({ prometheus })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as unknown as string,
    });
  });
});
