/** Requests on which TiKV panics, and its process ends for all tenants: each is refused, walked and after an honest one was learned. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';
import { concat, EMPTY } from '../harness/model/bytes.ts';
import { messageId } from '../harness/model/schema.ts';
import { memcomparable } from '../harness/model/table-codec.ts';
import { bytes, scalar, varint } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const BATCH = 'tikvpb.BatchCommandsRequest';
const A = rowKey(112, 1);
const B = rowKey(112, 2);
/** Below all tables, and above them. */
const META = Buffer.from('mDB:1');
const BEHIND = Buffer.from('u');

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  const choose = (choice: object): void => {
    filter = new Filter(build);
    filter.selectSpace(choice as never);
    filter.newStream();
  };
  beforeAll(() => choose({ number: 1 }));

  const verdict = (type: string, body: Uint8Array): string =>
    Status[filter.message(messageId(type), body, 'request').status]!;
  /** What becomes of a request inside a batch. */
  const inBatch = (command: number, body: Uint8Array): string => {
    const batch = concat(bytes(1, bytes(command, body)), bytes(2, Uint8Array.of(1)));
    const { status, bytes: out } = filter.message(messageId(BATCH), batch, 'request');
    expect(Status[status]).toBe('OK');
    return decode(BATCH, out).requests[0].cmd.case as string;
  };

  describe('a range', () => {
    interface Kind {
      type: string;
      start: number;
      end: number;
      rest?: Uint8Array;
      form?: (key: Uint8Array) => Uint8Array;
      isWhole?: true;
      command?: [number, string];
    }
    const KINDS: Kind[] = [
      { type: 'kvrpcpb.UnsafeDestroyRangeRequest', start: 2, end: 3, isWhole: true },
      { type: 'kvrpcpb.ScanLockRequest', start: 3, end: 5, command: [9, 'ScanLock'] },
      { type: 'cdcpb.ChangeDataRequest', start: 5, end: 6, form: memcomparable },
    ];
    const SPACES = [{ number: 0 }, { number: 1 }, { number: 2, keyspace: { id: 7, mode: 'txn' } }];

    describe.each(SPACES)('of tenant $number', (choice) => {
      describe.each(KINDS)('of $type', ({ type, start, end, form = (key) => key, isWhole, command }) => {
        beforeAll(() => choose(choice));
        const range = (from?: Uint8Array, to?: Uint8Array): Uint8Array =>
          concat(
            from ? bytes(start, from.length > 0 ? form(from) : from) : EMPTY,
            to ? bytes(end, to.length > 0 ? form(to) : to) : EMPTY,
          );
        const judge = (from: Uint8Array | undefined, to: Uint8Array | undefined, status: string): void => {
          for (let i = 0; i < 4; i++) verdict(type, range(A, B));
          expect(verdict(type, range(from, to))).toBe(status);
          if (command)
            expect(inBatch(command[0], range(from, to))).toBe(status === 'OK' ? command[1] : 'Empty');
        };

        test.each([
          ['two rows', A, B],
          ['one row', A, A],
          ['up to a table', META, A],
          ['a table and what lies behind all', A, BEHIND],
        ])('%s', (_name, from, to) => judge(from, to, 'OK'));

        test.each([
          ['two rows', B, A],
          ['a row and its table', A, A.subarray(0, 9)],
          ['a table and what lies before all', A, META],
        ])('backwards: %s', (_name, from, to) => judge(from, to, 'VALUE_OUTSIDE'));

        test.each([
          ['start', undefined, B],
          ['end', A, undefined],
          ['bound', undefined, undefined],
        ])('without a %s', (_name, from, to) => {
          const status = isWhole ? 'VALUE_OUTSIDE' : 'OK';
          judge(from, to, status);
          judge(from ?? EMPTY, to ?? EMPTY, status);
        });
      });
    });
  });

  describe('a prewrite', () => {
    const prewrite = (fields: Fields): Uint8Array =>
      encode('kvrpcpb.PrewriteRequest', { primaryLock: A, startVersion: 7n, lockTtl: 3000n, ...fields });
    const value = Buffer.alloc(40, 9);
    const mutations = [{ op: 0, key: A, value }];
    const honest = prewrite({ mutations });
    /** A hundred mutations, which are followed. */
    const many = Array.from({ length: 100 }, (_, i) => ({ op: 0, key: rowKey(112, 1000 + i), value }));
    const pessimistic = (count: number, ...actions: Uint8Array[]): Uint8Array =>
      concat(prewrite({ mutations: many.slice(0, count), forUpdateTs: 8n, tryOnePc: true }), ...actions);
    const zero = concat(honest, scalar(9, 0n));
    const packedActions = (count: number): Uint8Array => bytes(7, new Uint8Array(count).fill(1));

    test.each([
      ['honest', honest, 'OK'],
      [
        'that skips the check for newer versions',
        prewrite({ mutations, skipConstraintCheck: true }),
        'VALUE_OUTSIDE',
      ],
      ['without mutations', prewrite({}), 'VALUE_OUTSIDE'],
      ['in one phase, without mutations', prewrite({ tryOnePc: true }), 'VALUE_OUTSIDE'],
      ['in one phase', prewrite({ mutations, tryOnePc: true }), 'OK'],
      [
        'without a primary',
        encode('kvrpcpb.PrewriteRequest', { mutations, startVersion: 7n }),
        'KEY_OUTSIDE',
      ],
      ['pessimistic', pessimistic(1, packedActions(1)), 'OK'],
      ['pessimistic, without actions', pessimistic(1), 'VALUE_OUTSIDE'],
      ['pessimistic, with an empty list of actions', pessimistic(1, packedActions(0)), 'VALUE_OUTSIDE'],
      ['pessimistic, with one action too many', pessimistic(1, packedActions(2)), 'VALUE_OUTSIDE'],
      ['pessimistic, with an action on its own', pessimistic(1, scalar(7, 0n)), 'OK'],
      ['pessimistic and long', pessimistic(100, packedActions(100)), 'OK'],
      ['pessimistic and long, in pieces', pessimistic(100, packedActions(60), packedActions(40)), 'OK'],
      ['pessimistic and long, in mixed pieces', pessimistic(3, scalar(7, 1n), packedActions(2)), 'OK'],
      ['pessimistic and long, one action short', pessimistic(100, packedActions(99)), 'VALUE_OUTSIDE'],
      ['with a timestamp of 0 and no actions', zero, 'OK'],
    ])('%s', (_name, body, status) => {
      choose({ number: 1 });
      for (let i = 0; i < 4; i++) {
        expect(verdict('kvrpcpb.PrewriteRequest', body)).toBe(status);
        expect(inBatch(3, body)).toBe(status === 'OK' ? 'Prewrite' : 'Empty');
        expect(verdict('kvrpcpb.PrewriteRequest', honest)).toBe('OK');
      }
    });

    test('pessimistic, after others with 0 in that field', () => {
      choose({ number: 1 });
      const wrong = concat(honest, scalar(9, 8n));
      for (let i = 0; i < 8; i++) expect(verdict('kvrpcpb.PrewriteRequest', zero)).toBe('OK');
      expect(verdict('kvrpcpb.PrewriteRequest', wrong)).toBe('VALUE_OUTSIDE');
      for (let i = 0; i < 8; i++) expect(inBatch(3, zero)).toBe('Prewrite');
      expect(inBatch(3, wrong)).toBe('Empty');
    });
  });

  describe('the start of a transaction', () => {
    const lock = (op: bigint): Uint8Array => bytes(2, concat(scalar(1, op), bytes(2, A)));
    const keys = (field: number): Uint8Array => bytes(field, A);
    interface Kind {
      type: string;
      start: number;
      rest: Uint8Array;
      command?: [number, string];
      /** Tenant 0's goes on unread but for its numbers. */
      isOwners?: true;
    }
    const KINDS: Kind[] = [
      { type: 'Prewrite', start: 4, rest: concat(lock(0n), bytes(3, A)), command: [3, 'Prewrite'] },
      {
        type: 'PessimisticLock',
        start: 4,
        rest: concat(lock(5n), bytes(3, A)),
        command: [23, 'PessimisticLock'],
      },
      { type: 'Flush', start: 4, rest: concat(lock(0n), bytes(3, A)) },
      { type: 'BatchRollback', start: 2, rest: keys(3), command: [8, 'BatchRollback'] },
      { type: 'Cleanup', start: 3, rest: keys(2) },
      { type: 'CheckTxnStatus', start: 3, rest: keys(2), isOwners: true },
      { type: 'CheckSecondaryLocks', start: 3, rest: keys(2), isOwners: true },
    ];
    const context = bytes(1, concat(scalar(1, 7), bytes(18, Buffer.alloc(20, 7))));

    describe.each(KINDS)('$type', ({ type, start, rest, command, isOwners }) => {
      const id = `kvrpcpb.${type}Request`;
      const of = (...time: Uint8Array[]): Uint8Array => concat(context, rest, ...time);
      test.each([
        ['absent', of(), 'VALUE_OUTSIDE'],
        ['0', of(scalar(start, 0n)), 'VALUE_OUTSIDE'],
        ['0 in two bytes', of(Uint8Array.of(start << 3, 0x80, 0)), 'VALUE_OUTSIDE'],
        [
          '0 in nine bytes',
          of(Uint8Array.of(start << 3, ...Array<number>(8).fill(0x80), 0)),
          'VALUE_OUTSIDE',
        ],
        ['1', of(scalar(start, 1n)), 'OK'],
        ['a late one', of(scalar(start, 1n << 58n)), 'OK'],
      ])('%s', (_name, body, status) => {
        for (const number of isOwners ? [0, 1] : [1]) {
          choose({ number });
          for (const known of [scalar(start, 1n), scalar(start, 300n), scalar(start, 1n << 58n)]) {
            for (let i = 0; i < 6; i++) expect(verdict(id, of(known))).toBe('OK');
            expect(verdict(id, body)).toBe(status);
            if (!command) continue;
            for (let i = 0; i < 6; i++) expect(inBatch(command[0], of(known))).toBe(command[1]);
            expect(inBatch(command[0], body)).toBe(status === 'OK' ? command[1] : 'Empty');
          }
        }
      });
    });

    test('of rows that are written to a file, which is their commit as well', () => {
      const of = (...time: Uint8Array[]): Uint8Array =>
        bytes(2, concat(...time, bytes(2, concat(bytes(1, A), bytes(2, B)))));
      for (const number of [0, 1]) {
        choose({ number });
        for (const time of [[], [scalar(1, 0n)], [Uint8Array.of(8, 0x80, 0)]]) {
          for (let i = 0; i < 6; i++)
            expect(verdict('import_sstpb.WriteRequest', of(scalar(1, 300n)))).toBe('OK');
          expect(verdict('import_sstpb.WriteRequest', of(...time))).toBe('VALUE_OUTSIDE');
        }
      }
    });

    test('in a list of transactions to resolve', () => {
      const of = (...info: Uint8Array[]): Uint8Array =>
        concat(context, bytes(4, concat(...info)), bytes(4, concat(scalar(1, 5n), scalar(2, 6n))));
      for (const number of [0, 1]) {
        choose({ number });
        filter.lookups = true;
        for (const info of [[], [scalar(1, 0n)], [scalar(2, 9n)], [scalar(1, 0n), scalar(2, 9n)]])
          expect(verdict('kvrpcpb.ResolveLockRequest', of(...info))).toBe('VALUE_OUTSIDE');
      }
    });
  });

  describe('a list of keys', () => {
    const start = (field: number): Uint8Array => scalar(field, 7n);
    const mutation = (op: bigint) => (key: Uint8Array) =>
      bytes(2, concat(scalar(1, op), bytes(2, key), bytes(3, Buffer.alloc(40, 9))));
    const key = (field: number) => (one: Uint8Array) => bytes(field, one);
    interface Kind {
      type: string;
      item: (key: Uint8Array) => Uint8Array;
      rest: Uint8Array;
      command?: [number, string];
    }
    const KINDS: Kind[] = [
      { type: 'Prewrite', item: mutation(0n), rest: concat(bytes(3, A), start(4)), command: [3, 'Prewrite'] },
      {
        type: 'PessimisticLock',
        item: mutation(5n),
        rest: concat(bytes(3, A), start(4)),
        command: [23, 'PessimisticLock'],
      },
      { type: 'Flush', item: mutation(0n), rest: concat(bytes(3, A), start(4)), command: [37, 'Flush'] },
      { type: 'Commit', item: key(3), rest: concat(start(2), scalar(4, 9n)), command: [4, 'Commit'] },
      { type: 'BatchRollback', item: key(3), rest: start(2), command: [8, 'BatchRollback'] },
      { type: 'CheckSecondaryLocks', item: key(2), rest: start(3) },
      { type: 'ResolveLock', item: key(5), rest: start(2) },
    ];
    const many = Array.from({ length: 500 }, (_, i) => rowKey(112, 1000 + i));
    const backwards = [...many].reverse();
    const mixed = many.map((_, i) => many[(i * 7) % many.length]!);
    /** In another length, so that it breaks a run of mutations that are alike. */
    const index = concat(A, Buffer.from('index'));
    const LISTS: [string, Uint8Array[], boolean][] = [
      ['one', [A], true],
      ['two', [A, B], true],
      ['two, backwards', [B, A], true],
      ['a key and a longer one', [A, index], true],
      ['a longer key and a key', [index, A], true],
      ['one twice', [A, A], false],
      ['one twice with another between', [A, B, A], false],
      ['one twice behind others', [B, A, index, A], false],
      ['many', many, true],
      ['many backwards', backwards, true],
      ['many mixed', mixed, true],
      ['many and one again, next to it', [...many, many.at(-1)!], false],
      ['many and one again, far away', [...many, many[3]!], false],
      ['many backwards and one again', [...backwards, many[3]!], false],
      ['many mixed and one again', [...mixed, many[250]!], false],
      ['many around one of another length', [...many.slice(0, 250), index, ...many.slice(250)], true],
      ['many around one of another length, twice', [index, ...many, index], false],
    ];
    const SPACES = [
      { number: 1 },
      { number: 2, keyspace: { id: 7, mode: 'txn' } },
      { number: 5, prefix: { bytes: Buffer.from('app1:'), mode: 'txn' } },
      { number: 0 },
    ];

    describe.each(SPACES)('of tenant $number', (choice) => {
      test.each(KINDS)('of $type', ({ type, item, rest, command }) => {
        const id = `kvrpcpb.${type}Request`;
        const of = (keys: readonly Uint8Array[]): Uint8Array => concat(...keys.map(item), rest);
        choose(choice);
        filter.lookups = true;
        // Twice: layouts are known by then.
        for (let i = 0; i < 2; i++)
          for (const [name, keys, isGood] of LISTS) {
            for (let n = 0; n < 4; n++) verdict(id, of(keys.length < 9 ? [B] : many));
            expect([name, verdict(id, of(keys))]).toEqual([name, isGood ? 'OK' : 'VALUE_OUTSIDE']);
            if (command)
              expect([name, inBatch(command[0], of(keys))]).toEqual([name, isGood ? command[1] : 'Empty']);
          }
      });
    });

    test('a key of the list may be in another list', () => {
      choose({ number: 1 });
      const body = concat(mutation(0n)(A), bytes(12, B), bytes(12, A), bytes(3, A), start(4));
      expect(verdict('kvrpcpb.PrewriteRequest', body)).toBe('OK');
    });
  });

  test('a commit of no key', () => {
    const commit = (keys: Uint8Array[]): Uint8Array =>
      encode('kvrpcpb.CommitRequest', { startVersion: 7n, commitVersion: 8n, keys });
    for (const [keys, expected] of [
      [[A], 'OK'],
      [[], 'VALUE_OUTSIDE'],
      [[A], 'OK'],
      [[], 'VALUE_OUTSIDE'],
    ] as [Uint8Array[], string][])
      expect(verdict('kvrpcpb.CommitRequest', commit(keys))).toBe(expected);
    expect(inBatch(4, commit([]))).toBe('Empty');
  });

  describe('a column family of transactions', () => {
    test.each(['Get', 'BatchGet', 'Put', 'BatchPut', 'Delete', 'BatchDelete', 'Scan', 'DeleteRange'])(
      'Raw%s',
      (name) => {
        choose({ number: 2, prefix: { bytes: Buffer.from('p'), mode: 'raw' } });
        const type = `kvrpcpb.Raw${name}Request`;
        const fields = {
          Get: { key: A },
          BatchGet: { keys: [A] },
          Put: { key: A },
          BatchPut: { pairs: [{ key: A }] },
          Delete: { key: A },
          BatchDelete: { keys: [A] },
          Scan: { startKey: A },
          DeleteRange: { startKey: A, endKey: B },
        }[name] as Fields;
        for (const [cf, expected] of [
          ['default', 'OK'],
          ['', 'OK'],
          ['write', 'VALUE_OUTSIDE'],
          ['lock', 'VALUE_OUTSIDE'],
          ['defaul', 'VALUE_OUTSIDE'],
          ['defauxt', 'VALUE_OUTSIDE'],
        ] as const)
          expect([cf, verdict(type, encode(type, { ...fields, cf }))]).toEqual([cf, expected]);
        choose({ number: 1 });
      },
    );
  });

  test('the time to live of a key, where TiKV may keep none', () => {
    const type = 'kvrpcpb.RawGetKeyTTLRequest';
    const prefix = { bytes: Buffer.from('p'), mode: 'raw' };
    for (const [choice, expected] of [
      [{ number: 2, prefix }, 'WRONG_SPACE'],
      [{ number: 2, prefix: { ...prefix, ttl: true } }, 'OK'],
      [{ number: 2, keyspace: { id: 7, mode: 'raw' } }, 'OK'],
      [{ number: 2, keyspace: { id: 7, mode: 'txn' } }, 'WRONG_SPACE'],
    ] as const) {
      choose(choice);
      expect(verdict(type, encode(type, { key: A }))).toBe(expected);
    }
    choose({ number: 1 });
  });

  test('a scan whose direction has two readings', () => {
    const scan = (reverse: bigint): Uint8Array =>
      concat(encode('kvrpcpb.ScanRequest', { startKey: B, endKey: A, version: 7n }), scalar(6, reverse));
    expect(verdict('kvrpcpb.ScanRequest', scan(1n))).toBe('OK');
    expect(verdict('kvrpcpb.ScanRequest', scan(1n << 32n))).toBe('VALUE_OUTSIDE');
  });

  test('a split at keys as they are', () => {
    choose({ number: 1 });
    const split = (isRawKv: boolean): string =>
      verdict(
        'kvrpcpb.SplitRegionRequest',
        encode('kvrpcpb.SplitRegionRequest', { splitKeys: [A], isRawKv }),
      );
    for (let i = 0; i < 4; i++) expect(split(false)).not.toBe('VALUE_OUTSIDE');
    expect(split(true)).toBe('VALUE_OUTSIDE');
  });

  test('the first half of a flashback', () => {
    choose({ number: 1 });
    expect(inBatch(36, concat(bytes(2, A), bytes(3, B)))).toBe('Empty');
  });

  describe('an ANALYZE', () => {
    const [MIXED, FULL] = [4, 5];
    const column = bytes(4, concat(scalar(1, 1n), scalar(2, 8n)));
    const handle = bytes(4, concat(scalar(1, 1n), scalar(2, 8n), scalar(21, 1n), Uint8Array.of(0xb0, 1, 0)));
    const group = (...offsets: bigint[]): Uint8Array =>
      bytes(10, bytes(1, concat(...offsets.map((offset) => varint(offset)))));
    const loose = (...offsets: bigint[]): Uint8Array =>
      bytes(10, concat(...offsets.map((offset) => scalar(1, offset))));
    const ids = (count: number): Uint8Array => bytes(7, new Uint8Array(count).fill(1));
    const request = (tp: number, ...fields: Uint8Array[]): Uint8Array =>
      concat(scalar(2, 104n), bytes(3, concat(scalar(1, BigInt(tp)), bytes(6, concat(...fields)))));
    const NONE = BigInt.asUintN(64, -1n);

    test.each([
      [
        'offsets of all columns',
        request(FULL, column, column, group(0n), group(0n, 1n), loose(1n, 0n)),
        'OK',
      ],
      ['groups before the columns', request(FULL, group(1n), column, column), 'OK'],
      ['the offset behind the last column', request(FULL, column, group(1n)), 'VALUE_OUTSIDE'],
      ['it in a list that is not packed', request(FULL, column, loose(0n, 1n)), 'VALUE_OUTSIDE'],
      [
        'it in a second piece',
        request(FULL, column, bytes(10, concat(bytes(1, varint(0)), bytes(1, varint(1))))),
        'VALUE_OUTSIDE',
      ],
      ['it in a later group', request(FULL, column, group(0n), group(0n, 1n)), 'VALUE_OUTSIDE'],
      ['a negative offset', request(FULL, column, group(NONE)), 'VALUE_OUTSIDE'],
      ['an offset of 2^32', request(FULL, column, group(1n << 32n)), 'VALUE_OUTSIDE'],
      ['a group without columns', request(FULL, group(0n)), 'VALUE_OUTSIDE'],
      ['an empty group', request(FULL, column, group()), 'OK'],
      ['more ids of the handle than columns', request(FULL, column, ids(3)), 'OK'],
      ['mixed: as many ids', request(MIXED, column, column, ids(2)), 'OK'],
      ['mixed: more ids', request(MIXED, column, column, ids(3)), 'VALUE_OUTSIDE'],
      ['mixed: more ids, one by one', request(MIXED, column, scalar(7, 1n), scalar(7, 1n)), 'VALUE_OUTSIDE'],
      [
        'mixed: as many ids as columns with the handle',
        request(MIXED, handle, column, ids(2)),
        'VALUE_OUTSIDE',
      ],
      ['mixed: as many ids as columns beside the handle', request(MIXED, handle, column, ids(1)), 'OK'],
      ['a group that is cut', request(FULL, column, bytes(10, Uint8Array.of(0x0a, 9))), 'MALFORMED'],
    ])('with %s', (_name, body, status) => {
      for (const number of [0, 1]) {
        choose({ number });
        for (let i = 0; i < 3; i++) {
          expect(verdict('coprocessor.Request', body)).toBe(status);
          if (status !== 'MALFORMED')
            expect(inBatch(22, body)).toBe(status === 'OK' ? 'Coprocessor' : 'Empty');
        }
      }
    });

    test('its type behind its columns', () => {
      choose({ number: 1 });
      const columns = bytes(6, concat(column, ids(2)));
      const of = (tp: number): string =>
        verdict(
          'coprocessor.Request',
          concat(scalar(2, 104n), bytes(3, concat(columns, scalar(1, BigInt(tp))))),
        );
      expect(of(FULL)).toBe('OK');
      expect(of(MIXED)).toBe('VALUE_OUTSIDE');
    });
  });
});
