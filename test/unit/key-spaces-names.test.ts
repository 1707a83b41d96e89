/** Keys and leases of PD's etcd: a tenant's, and tenant 0's, which are those that are there already. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Mapped, Status } from './filter.ts';
import { concat, hex } from '../harness/model/bytes.ts';
import { Random } from '../harness/model/random.ts';
import { messageId } from '../harness/model/schema.ts';
import { bytes, scalar } from '../harness/model/wire.ts';

const RESERVED = ['/pd', '/pd/', '/pd/7250/leader', '/pd//', '/tidb-mesh/', '/tidb-mesh/alpha:/tidb/x'];
const FREE = [
  '',
  '/',
  '/p',
  '/pc',
  '/pd-x',
  '/pd0',
  '/pdx',
  '/pe',
  '/tidb',
  '/tidb/server/info/1',
  '/tidb-mesh',
  '/tidb-mesh.',
  '/tidb-mesh0',
  '/tidb-mesi',
  '/topology/tidb/a',
  'tidb/autoid/leader',
  '\0',
  '~',
];

/** The same once more: what [key, end) holds, asked key by key. */
function holdsReserved(key: string, end: string): boolean {
  if (end === '') return false;
  const isIn = (one: string): boolean => one >= key && (end === '\0' || one < end);
  const regions = [
    ['/pd', '/pd0'],
    ['/tidb-mesh/', '/tidb-mesh0'],
  ] as const;
  return regions.some(([from, to]) => isIn(from) || (key >= from && key < to && isIn(key)));
}

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  describe('tenant 0', () => {
    beforeAll(() => {
      filter.select(0, 'legacy');
    });

    test.each(FREE)('has %j as it is', (key) => {
      expect(filter.mapName('encodeName', key)).toEqual({ mapped: Mapped.SAME, text: key });
      expect(filter.mapName('encodeNameEnd', key)).toEqual({ mapped: Mapped.SAME, text: key });
      expect(filter.mapName('decodeName', key)).toEqual({ mapped: Mapped.SAME, text: key });
    });

    test.each(RESERVED)('neither names nor sees %j', (key) => {
      expect(filter.mapName('encodeName', key).mapped).toBe(Mapped.OUTSIDE);
      expect(filter.mapName('decodeName', key).mapped).toBe(Mapped.OUTSIDE);
    });

    test.each([
      ['/tidb/', '/tidb0', false],
      ['/tidb0', '\0', false],
      ['/tidb-mesh0', '\0', false],
      ['/tidb', '\0', true],
      ['\0', '\0', true],
      ['', '/pd', false],
      ['', '/pd\0', true],
      ['/pd/x', '/pd/y', true],
      ['/pd0', '/tidb-mesh/', false],
      ['/pd0', '/tidb-mesh/\0', true],
      ['/pd/7250/leader', '', false],
    ])('a range from %j to %j: refused: %j', (key, end, refused) => {
      expect(filter.reachesReserved(key, end)).toBe(refused);
    });

    test('a range holds reserved keys or does not, for all pairs', () => {
      const random = new Random(21);
      const all = [...RESERVED, ...FREE];
      const wrong: string[] = [];
      for (let i = 0; i < 2000; i++) {
        const cut = (key: string): string =>
          random.chance(30) ? key.slice(0, random.below(key.length + 1)) : key;
        const [key, end] = [cut(random.pick(all)), cut(random.pick(all)) + (random.chance(20) ? '\0' : '')];
        if (filter.reachesReserved(key, end) !== holdsReserved(key, end) && (end === '\0' || key < end))
          wrong.push(`${JSON.stringify(key)} ${JSON.stringify(end)}`);
      }
      expect(wrong).toEqual([]);
    });

    test.each([
      [1n, 1n],
      [0x7fff_ffff_ffff_ffffn, 0x7fff_ffff_ffff_ffffn],
      [0n, 0n],
      [1n << 63n, undefined],
      [0x8001_0000_0000_0005n, undefined],
    ])('the lease %i goes to etcd as %s', (id, expected) => {
      expect(filter.mapLease('encode', id)).toBe(expected);
      expect(filter.mapLease('decode', id)).toBe(expected ?? 0n);
    });

    const RANGE = 'etcdserverpb.RangeRequest';
    test.each([
      ['a free key', concat(bytes(1, ascii('/tidb/x'))), Status.OK],
      ['a reserved key', concat(bytes(1, ascii('/pd/1/leader'))), Status.NAME_OUTSIDE],
      ['a free range', concat(bytes(1, ascii('/tidb/')), bytes(2, ascii('/tidb0'))), Status.OK],
      ['everything', concat(bytes(1, ascii('\0')), bytes(2, ascii('\0'))), Status.NAME_OUTSIDE],
      ['everything, without a start', bytes(2, ascii('\0')), Status.NAME_OUTSIDE],
      [
        'a reserved range, end first',
        concat(bytes(2, ascii('/q')), bytes(1, ascii('/p'))),
        Status.NAME_OUTSIDE,
      ],
    ])('a request for %s', (_name, request, status) => {
      const rewritten = filter.message(messageId(RANGE), request, 'request');
      expect(Status[rewritten.status]).toBe(Status[status]);
      if (status === Status.OK) expect(hex(rewritten.bytes)).toBe(hex(request));
    });

    test('reserved keys leave an answer', () => {
      const pair = (key: string): Uint8Array =>
        bytes(2, bytes(1, ascii(key)), scalar(4, 1), bytes(5, ascii('v')));
      const answer = concat(pair('/a'), pair('/pd/1/leader'), pair('/tidb-mesh/alpha:x'), pair('/tidb/x'));
      const { status, bytes: got } = filter.message(
        messageId('etcdserverpb.RangeResponse'),
        answer,
        'response',
      );
      expect(Status[status]).toBe('OK');
      expect(hex(got)).toBe(hex(concat(pair('/a'), pair('/tidb/x'))));
    });
  });

  describe('any other tenant', () => {
    beforeAll(() => {
      filter.selectSpace({ number: 3, keyspace: { id: 7, mode: 'txn' } }, 'gamma');
    });

    test.each([...FREE, ...RESERVED])('has %j behind its prefix', (key) => {
      const stored = `/tidb-mesh/gamma:${key}`;
      expect(filter.mapName('encodeName', key).text).toBe(stored);
      expect(filter.mapName('decodeName', stored).text).toBe(key);
      expect(filter.reachesReserved(key, '\0')).toBe(false);
    });

    test('leases lie in the block of its number', () => {
      expect(filter.mapLease('encode', 5n)).toBe(0x8003_0000_0000_0005n);
      expect(filter.mapLease('decode', 0x8003_0000_0000_0005n)).toBe(5n);
      expect(filter.mapLease('decode', 0x8004_0000_0000_0005n)).toBe(0n);
      expect(filter.mapLease('encode', 1n << 48n)).toBeUndefined();
    });
  });
});
