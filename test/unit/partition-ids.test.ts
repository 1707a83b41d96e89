/** `_tidb_tid` in coprocessor answers: requests that ask for it are remembered, and their rows lose the tenant's tag. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';
import { concat, EMPTY, hex } from '../harness/model/bytes.ts';
import { Random } from '../harness/model/random.ts';
import { messageId } from '../harness/model/schema.ts';
import { bytes, scalar, varint } from '../harness/model/wire.ts';
import { decode } from '../harness/support/messages.ts';

const TENANT = 258;
const TAG = BigInt(TENANT) << 48n;
const MAX_PENDING = 4096;
/** MySQL types. */
const LONGLONG = 8;
const FLOAT = 4;
const DECIMAL = 246;
const VARCHAR = 15;
const TABLE_SCAN = 0;
const INDEX_SCAN = 1;
const LIMIT = 5;
const AGGREGATION = 3;
const SELECTION = 2;
const LOOK_UP = 20;

interface Column {
  readonly id: number;
  readonly type: number;
}

const TID: Column = { id: -3, type: LONGLONG };

/** tipb.DAGRequest with a scan and what follows it. */
function plan(
  columns: readonly Column[],
  offsets: number[],
  others: number[] = [],
  kind = TABLE_SCAN,
): Uint8Array {
  const infos = columns.map((c) => bytes(kind === TABLE_SCAN ? 2 : 3, scalar(1, c.id), scalar(2, c.type)));
  const scan = bytes(kind === TABLE_SCAN ? 2 : 3, scalar(1, 77), ...infos);
  return concat(
    bytes(2, scalar(1, kind), scan),
    ...others.map((type) => bytes(2, scalar(1, type))),
    bytes(5, ...offsets.map(varint)),
  );
}

const executor = (type: number, ...rest: Uint8Array[]): Uint8Array => bytes(2, scalar(1, type), ...rest);

function scanOf(kind: number, columns: readonly Column[]): Uint8Array {
  const list = kind === TABLE_SCAN ? 2 : 3;
  const infos = columns.map((c) => bytes(list, scalar(1, c.id), scalar(2, c.type)));
  return bytes(list, scalar(1, 77), ...infos);
}

/** Offsets as Go packs them, or as Rust writes them. */
type Form = 'packed' | 'one by one';
const offsetList = (field: number, offsets: readonly number[], form: Form): Uint8Array =>
  form === 'packed' ? bytes(field, ...offsets.map(varint)) : concat(...offsets.map((o) => scalar(field, o)));

interface LookUp {
  /** Executors between the index scan and the look-up, and behind it. */
  readonly below?: readonly number[];
  readonly above?: readonly number[];
  readonly form?: Form;
  /** Whose intermediate output is asked for. */
  readonly at?: number;
}

/**
 * A look-up that is pushed down: the index scan and what follows it, the table scan, the look-up, and what follows that. The answer has the
 * table's columns, its intermediate output the index's.
 */
function lookUp(
  index: readonly Column[],
  table: readonly Column[],
  offsets: readonly number[],
  channel: readonly number[],
  { below = [], above = [], form = 'packed', at = below.length + 2 }: LookUp = {},
): Uint8Array {
  const parent = scalar(25, below.length + 2);
  return concat(
    executor(INDEX_SCAN, scanOf(INDEX_SCAN, index), below.length === 0 ? parent : EMPTY),
    ...below.map((type, i) => executor(type, i === below.length - 1 ? parent : EMPTY)),
    executor(TABLE_SCAN, scanOf(TABLE_SCAN, table)),
    executor(LOOK_UP, bytes(24, bytes(1, varint(1)))),
    ...above.map((type) => executor(type)),
    offsetList(5, offsets, form),
    bytes(20, scalar(1, at), offsetList(2, channel, form)),
  );
}

function ask(dag: Uint8Array, type = 103): Uint8Array {
  return concat(scalar(2, type), bytes(3, dag));
}

function i64(value: bigint): Uint8Array {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, value));
  return out;
}

function u32(value: number): Uint8Array {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

/** Rows in TiDB's chunk format; a value is undefined for NULL. */
function chunk(
  columns: readonly Column[],
  rows: readonly (readonly (bigint | string | undefined)[])[],
): Uint8Array {
  return concat(
    ...columns.map((column, c) => {
      const values = rows.map((row) => row[c]);
      const nulls = values.filter((value) => value === undefined).length;
      const bitmap = Buffer.alloc(nulls > 0 ? (rows.length + 7) >> 3 : 0);
      if (nulls > 0) values.forEach((v, i) => (bitmap[i >> 3]! |= (v === undefined ? 0 : 1) << (i & 7)));
      const header = concat(u32(rows.length), u32(nulls), bitmap);
      if (column.type === VARCHAR) {
        const parts = values.map((v) => Buffer.from(typeof v === 'string' ? v : ''));
        let end = 0n;
        const offsets = [0n, ...parts.map((part) => (end += BigInt(part.length)))].map(i64);
        return concat(header, ...offsets, ...parts);
      }
      const width = column.type === FLOAT ? 4 : column.type === DECIMAL ? 40 : 8;
      return concat(
        header,
        ...values.map((v) =>
          concat(i64(typeof v === 'bigint' ? v : 0n), new Uint8Array(40)).subarray(0, width),
        ),
      );
    }),
  );
}

/** Rows as flagged datums, one behind the other. */
function datums(
  rows: readonly (readonly (bigint | string | undefined)[])[],
  form: 'fixed' | 'var',
): Uint8Array {
  return concat(
    ...rows.flat().map((value) => {
      if (value === undefined) return [0];
      if (typeof value === 'string') {
        const text = Buffer.from(value);
        return concat([2], varint(text.length * 2), text);
      }
      if (form === 'var') return concat([8], varint(BigInt.asUintN(64, value << 1n)));
      const big = Buffer.alloc(8);
      big.writeBigUInt64BE(BigInt.asUintN(64, value ^ (1n << 63n)));
      return concat([3], big);
    }),
  );
}

/** tipb.SelectResponse: chunks are field 3 with rows in 3, the encoding is field 9. */
function select(rowData: Uint8Array[], encoding: number): Uint8Array {
  return concat(...rowData.map((data) => bytes(3, bytes(3, data))), scalar(9, encoding));
}

/** tipb.IntermediateOutput */
function intermediate(rowData: Uint8Array[], encoding: number): Uint8Array {
  return bytes(11, scalar(1, encoding), ...rowData.map((data) => bytes(2, bytes(3, data))));
}

const answer = (data: Uint8Array): Uint8Array => bytes(1, data);

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  const id = { request: 0, response: 0, batch: 0, answers: 0 };
  beforeAll(() => {
    filter = new Filter(build);
    filter.select(TENANT, 'alpha');
    id.request = messageId('coprocessor.Request');
    id.response = messageId('coprocessor.Response');
    id.batch = messageId('tikvpb.BatchCommandsRequest');
    id.answers = messageId('tikvpb.BatchCommandsResponse');
  });
  beforeEach(() => filter.newStream());

  function send(dag: Uint8Array, type?: number): Status {
    return filter.message(id.request, ask(dag, type), 'request').status;
  }

  function receive(data: Uint8Array): string | undefined {
    const got = filter.message(id.response, answer(data), 'response');
    return got.status === Status.OK ? hex(got.bytes) : Status[got.status];
  }

  const COLUMNS: [string, Column[]][] = [
    ['alone', [TID]],
    ['behind a bigint', [{ id: 1, type: LONGLONG }, TID]],
    ['behind a text', [{ id: 1, type: VARCHAR }, TID]],
    ['before a text', [TID, { id: 1, type: VARCHAR }]],
    ['behind a float and a decimal', [{ id: 1, type: FLOAT }, { id: 2, type: DECIMAL }, TID]],
    [
      'as the older column -2',
      [
        { id: -2, type: LONGLONG },
        { id: 1, type: LONGLONG },
      ],
    ],
  ];

  /** Ids as the store has them, and as the client must see them. */
  const ids: [bigint | undefined, bigint | undefined][] = [
    [TAG | 5n, 5n],
    [TAG | ((1n << 48n) - 1n), (1n << 48n) - 1n],
    [undefined, undefined],
    [7n, 7n],
    [(BigInt(TENANT + 1) << 48n) | 9n, (BigInt(TENANT + 1) << 48n) | 9n],
  ];

  function tableOf(columns: Column[], side: 0 | 1, count: number): (bigint | string | undefined)[][] {
    return Array.from({ length: count }, (_, i) =>
      columns.map((c) =>
        c.id < 0 ? ids[i % ids.length]![side] : c.type === VARCHAR ? 'x'.repeat(i % 7) : TAG | BigInt(i),
      ),
    );
  }

  test.each(COLUMNS)('%s, in chunks', (_name, columns) => {
    expect(
      Status[
        send(
          plan(
            columns,
            columns.map((_, i) => i),
          ),
        )
      ],
    ).toBe('OK');
    expect(filter.pending).toBe(1);
    for (const rows of [0, 1, 5, 33]) {
      const stored = chunk(columns, tableOf(columns, 0, rows));
      const seen = chunk(columns, tableOf(columns, 1, rows));
      expect(receive(select([stored, stored], 1))).toBe(hex(answer(select([seen, seen], 1))));
    }
  });

  test.each(COLUMNS)('%s, in rows of datums', (_name, columns) => {
    send(
      plan(
        columns,
        columns.map((_, i) => i),
      ),
    );
    const stored = datums(tableOf(columns, 0, 12), 'fixed');
    const seen = datums(tableOf(columns, 1, 12), 'fixed');
    expect(receive(select([stored], 0))).toBe(hex(answer(select([seen], 0))));
  });

  test('in datums with varints the row keeps its length', () => {
    send(plan([TID], [0]));
    const stored = datums([[TAG | 5n]], 'var');
    const got = receive(select([stored], 0));
    // 5 as a zigzag varint of the old length.
    const padded = concat([8, 0x8a], new Uint8Array(stored.length - 3).fill(0x80), [0]);
    expect(got).toBe(hex(answer(select([padded], 0))));
  });

  test('columns in another order, and some left out', () => {
    const columns = [{ id: 1, type: VARCHAR }, TID, { id: 2, type: DECIMAL }];
    send(plan(columns, [2, 1]));
    const output = [columns[2]!, TID];
    expect(receive(select([chunk(output, [[1n, TAG | 8n]])], 1))).toBe(
      hex(answer(select([chunk(output, [[1n, 8n]])], 1))),
    );
  });

  test('an index scan, and executors that keep the columns', () => {
    expect(Status[send(plan([{ id: 1, type: LONGLONG }, TID], [0, 1], [2, 4, LIMIT], INDEX_SCAN))]).toBe(
      'OK',
    );
    expect(filter.pending).toBe(1);
  });

  test.each([
    ['a plan without the column', plan([{ id: 1, type: LONGLONG }], [0])],
    ['a plan that does not answer it', plan([{ id: 1, type: LONGLONG }, TID], [0])],
    ['an aggregation', plan([TID], [0], [AGGREGATION])],
  ])('%s is not remembered', (_name, dag) => {
    expect(Status[send(dag)]).toBe('OK');
    expect(filter.pending).toBe(0);
    const stored = select([chunk([TID], [[TAG | 5n]])], 1);
    expect(receive(stored)).toBe(hex(answer(stored)));
  });

  describe('a look-up that is pushed down', () => {
    const handle: Column = { id: -1, type: LONGLONG };
    const text: Column = { id: 2, type: VARCHAR };
    const index = [text, handle, TID];
    const table = [text, { id: 3, type: DECIMAL }, TID];
    const rows = (side: bigint): (bigint | string)[][] => [
      ['abc', 7n, side],
      ['', 8n, side + 1n],
    ];
    const stored = TAG | 5n;

    test.each(['packed', 'one by one'] as Form[])('both of its outputs, offsets %s', (form) => {
      for (const below of [[], [SELECTION], [SELECTION, LIMIT]])
        for (const above of [[], [SELECTION]]) {
          filter.newStream();
          const dag = lookUp(index, table, [0, 1, 2], [1, 2], { below, above, form });
          expect(Status[send(dag)]).toBe('OK');
          expect(filter.pending).toBe(1);
          const make = (side: bigint): Uint8Array => {
            const kept = [handle, TID];
            const missing = rows(side).map((row) => row.slice(1));
            return concat(
              select([chunk(table, rows(side))], 1),
              intermediate([chunk(kept, missing), chunk(kept, missing)], 1),
            );
          };
          expect(receive(make(stored))).toBe(hex(answer(make(5n))));
          const asDatums = (side: bigint): Uint8Array =>
            concat(
              select([datums(rows(side), 'fixed')], 0),
              intermediate(
                [
                  datums(
                    rows(side).map((row) => row.slice(1)),
                    'fixed',
                  ),
                ],
                0,
              ),
            );
          expect(receive(asDatums(stored))).toBe(hex(answer(asDatums(5n))));
        }
    });

    test.each([
      ['the table only', [0, 2], [0, 1], 'table'],
      ['the index only', [0], [2], 'index'],
    ] as const)('that asks for the column of %s', (_name, offsets, channel, asked) => {
      send(lookUp(index, table, offsets, channel));
      const make = (side: bigint): Uint8Array =>
        concat(
          asked === 'table'
            ? select([chunk([text, TID], [['abc', side]])], 1)
            : select([chunk([text], [['abc']])], 1),
          asked === 'table'
            ? intermediate([chunk([text, handle], [['x', stored]])], 1)
            : intermediate([chunk([TID], [[side]])], 1),
        );
      expect(receive(make(stored))).toBe(hex(answer(make(5n))));
    });

    test('below an aggregation: what is aggregated is its own, what is left over is not', () => {
      send(lookUp(index, table, [0], [2], { above: [AGGREGATION] }));
      const make = (side: bigint): Uint8Array =>
        concat(
          select([chunk([{ id: 1, type: LONGLONG }], [[stored]])], 1),
          intermediate([chunk([TID], [[side]])], 1),
        );
      expect(receive(make(stored))).toBe(hex(answer(make(5n))));
    });

    test('that does not ask for it is not remembered', () => {
      expect(Status[send(lookUp([text, handle], [text], [0], [1]))]).toBe('OK');
      expect(Status[send(lookUp(index, table, [0], [1]))]).toBe('OK');
      expect(filter.pending).toBe(0);
    });

    test.each([
      ['a projection above it', lookUp(index, table, [0], [1], { above: [11] }), 'ROW_DATA'],
      ['a projection below it', lookUp(index, [text], [0], [1], { below: [11] }), 'ROW_DATA'],
      ['an output of another executor', lookUp(index, table, [0], [1], { at: 0 }), 'ROW_DATA'],
      ['an offset that the table has not', lookUp(index, table, [3], [1]), 'MALFORMED'],
      ['an offset that the index has not', lookUp(index, table, [0], [3]), 'MALFORMED'],
      [
        'very many outputs',
        concat(
          lookUp(index, table, [2], [2]),
          ...Array<Uint8Array>(40_000).fill(bytes(20, scalar(1, 2), scalar(2, 2))),
        ),
        'MALFORMED',
      ],
    ])('refuses %s', (_name, dag, status) => {
      expect(Status[send(dag)]).toBe(status);
    });

    test('an answer with more outputs than were asked for is refused', () => {
      send(lookUp(index, table, [2], [2]));
      const one = intermediate([chunk([TID], [[stored]])], 1);
      expect(receive(concat(select([], 1), one))).not.toBe('ROW_DATA');
      expect(receive(concat(select([], 1), one, one))).toBe('ROW_DATA');
    });

    test("the key that it looks rows up by is the tenant's", () => {
      const got = filter.message(id.request, ask(lookUp(index, table, [2], [2])), 'request');
      const { data } = decode('coprocessor.Request', got.bytes);
      const { executors } = decode('tipb.DAGRequest', data as Uint8Array);
      expect(executors[1].tblScan.tableId).toBe(BigInt.asIntN(64, TAG | 77n));
    });

    test('a keyspace may not: TiKV looks for the row without it', () => {
      const keyspace = new Filter(build);
      keyspace.selectSpace({ number: 3, keyspace: { id: 7, mode: 'txn' } });
      keyspace.newStream();
      const verdict = (dag: Uint8Array): string =>
        Status[keyspace.message(id.request, ask(dag), 'request').status]!;
      expect(verdict(plan([TID], [0]))).toBe('OK');
      expect(verdict(lookUp(index, table, [2], [2]))).toBe('KEY_OUTSIDE');
      // TiKV reads 32 bits of an executor's type.
      expect(verdict(bytes(2, scalar(1, (1n << 32n) | BigInt(LOOK_UP))))).toBe('KEY_OUTSIDE');
    });

    test('tenant 0 names no table of another tenant', () => {
      const zero = new Filter(build);
      zero.selectSpace({ number: 0 });
      zero.newStream();
      const scan = (table: bigint): Uint8Array =>
        bytes(2, concat(scalar(1, TABLE_SCAN), bytes(2, scalar(1, table))));
      const verdict = (table: bigint): string =>
        Status[zero.message(id.request, ask(scan(table)), 'request').status]!;
      expect(verdict(77n)).toBe('OK');
      expect(verdict(TAG | 77n)).toBe('KEY_OUTSIDE');
    });

    test('rows that do not fit end the answer, wherever they are cut', () => {
      send(lookUp(index, table, [2, 0], [2, 1]));
      const whole = chunk([TID, handle], [[stored, 1n]]);
      for (let cut = 1; cut < whole.length; cut++)
        expect(receive(concat(select([], 1), intermediate([whole.subarray(0, cut)], 1)))).toBe('ROW_DATA');
      expect(receive(intermediate([whole], 7))).toBe('ROW_DATA');
    });
  });

  test('other types of requests hold no plan', () => {
    expect(Status[send(EMPTY, 104)]).toBe('OK');
    expect(Status[send(Uint8Array.of(0xff), 102)]).toBe('OK');
    expect(filter.pending).toBe(0);
  });

  test.each([
    ['an executor that changes the columns', plan([TID], [0], [7]), 'ROW_DATA'],
    ['an output that is not there', plan([TID], [1]), 'MALFORMED'],
    ['bytes that are no plan', Uint8Array.of(0x12, 0x7f), 'MALFORMED'],
    ['more columns than a table may have', plan(Array<Column>(8193).fill(TID), [0]), 'MALFORMED'],
  ])('refuses %s', (_name, dag, status) => {
    expect(Status[send(dag)]).toBe(status);
  });

  test.each([
    ['tenant 0', { number: 0 }],
    ['a keyspace', { number: 3, keyspace: { id: 7, mode: 'txn' } }],
  ] as const)('the ids of %s hold no tag, so nothing is kept for the answer', (_name, space) => {
    const other = new Filter(build);
    other.selectSpace(space);
    // The second one has the layout that the first has taught.
    for (let i = 0; i < 2; i++) {
      other.newStream();
      expect(Status[other.message(id.request, ask(plan([TID], [0])), 'request').status]).toBe('OK');
      expect(other.pending).toBe(0);
    }
  });

  test('rows that do not fit their columns end the answer', () => {
    send(plan([TID, { id: 1, type: VARCHAR }], [0, 1]));
    const columns = [TID, { id: 1, type: VARCHAR }];
    const whole = chunk(columns, [[TAG | 5n, 'abc']]);
    for (let cut = 1; cut < whole.length; cut++)
      expect(receive(select([whole.subarray(0, cut)], 1))).toBe('ROW_DATA');
    const rows = datums([[TAG | 5n, 'abc']], 'fixed');
    for (let cut = 1; cut < rows.length; cut++)
      expect(receive(select([rows.subarray(0, cut)], 0))).toBe('ROW_DATA');
    expect(receive(select([whole], 7))).toBe('ROW_DATA');
    expect(receive(select([whole], 1))).not.toBe('ROW_DATA');
  });

  test('random row data never traps', () => {
    const random = new Random(3);
    send(plan([{ id: 1, type: VARCHAR }, TID, { id: 2, type: DECIMAL }], [0, 1, 2]));
    for (let i = 0; i < 3000; i++) {
      const data = random.bytes(random.below(80));
      data.forEach((_, at) => random.chance(40) && (data[at] = random.below(12)));
      receive(select([data], random.below(2)));
      receive(data);
    }
  });

  describe('in a batch', () => {
    const dags = [
      plan([TID], [0]),
      plan([{ id: 1, type: LONGLONG }], [0]),
      plan([{ id: 1, type: VARCHAR }, TID], [0, 1]),
    ];
    const layouts: Column[][] = [[TID], [{ id: 1, type: LONGLONG }], [{ id: 1, type: VARCHAR }, TID]];
    const row = (kind: number, value: bigint): (bigint | string)[] =>
      kind === 2 ? ['text', value] : [value];

    const batch = (requests: Uint8Array[], requestIds: (number | bigint)[]): Uint8Array =>
      concat(...requests.map((r) => bytes(1, r)), bytes(2, ...requestIds.map(varint)));
    const cop = (dag: Uint8Array): Uint8Array => bytes(22, ask(dag));
    const get = bytes(1, bytes(2, Buffer.from('m')));

    test('answers come out of order, each with its own columns, and none stays pending', () => {
      const random = new Random(11);
      for (let round = 0; round < 30; round++) {
        const kinds = Array.from({ length: 1 + random.below(20) }, () => random.below(4));
        const order = kinds.map((kind, i) => ({ kind, id: 1_000_000_007n * BigInt(round * 100 + i + 1) }));
        const sent = filter.message(
          id.batch,
          batch(
            order.map(({ kind }) => (kind === 3 ? get : cop(dags[kind]!))),
            order.map((o) => o.id),
          ),
          'request',
        );
        expect(Status[sent.status]).toBe('OK');
        expect(filter.pending).toBe(kinds.filter((kind) => kind === 0 || kind === 2).length);
        order.sort(() => random.below(3) - 1);
        while (order.length > 0) {
          const part = order.splice(0, 1 + random.below(6));
          const answers = (side: 'stored' | 'seen'): Uint8Array =>
            batch(
              part.map(({ kind }) => {
                if (kind === 3) return bytes(1, bytes(3, i64(TAG | 5n)));
                const stripped = side === 'seen' && kind !== 1;
                const value = stripped ? 5n : TAG | 5n;
                return bytes(22, answer(select([chunk(layouts[kind]!, [row(kind, value)])], 1)));
              }),
              part.map((p) => p.id),
            );
          const got = filter.message(id.answers, answers('stored'), 'response');
          expect([Status[got.status], hex(got.bytes)]).toEqual(['OK', hex(answers('seen'))]);
        }
        expect(filter.pending).toBe(0);
      }
    });

    test('without ids it is refused', () => {
      const sent = filter.message(id.batch, bytes(1, cop(dags[0]!)), 'request');
      expect(Status[sent.status]).toBe('MALFORMED');
    });

    test('with fewer ids than requests it is refused', () => {
      const sent = filter.message(id.batch, batch([get, cop(dags[0]!)], [1]), 'request');
      expect(Status[sent.status]).toBe('MALFORMED');
    });

    test('an error answers a request as well', () => {
      filter.message(id.batch, batch([cop(dags[0]!)], [5]), 'request');
      expect(filter.pending).toBe(1);
      filter.message(id.answers, batch([bytes(22, bytes(4, Buffer.from('no')))], [5]), 'response');
      expect(filter.pending).toBe(0);
    });

    test('as many as MAX_PENDING, not one more', () => {
      for (let i = 0; i < MAX_PENDING; i += 128) {
        const requestIds = Array.from({ length: 128 }, (_, k) => i + k);
        const sent = filter.message(
          id.batch,
          batch(
            requestIds.map(() => cop(dags[0]!)),
            requestIds,
          ),
          'request',
        );
        expect(Status[sent.status]).toBe('OK');
      }
      expect(filter.pending).toBe(MAX_PENDING);
      const more = filter.message(id.batch, batch([cop(dags[0]!)], [9999]), 'request');
      expect(Status[more.status]).toBe('TOO_MANY_PENDING');
      filter.newStream();
      expect(filter.pending).toBe(0);
      expect(filter.heldBytes).toBe(0);
    });

    test('what is remembered counts as held', () => {
      filter.newStream(2048, 2048);
      const frames = (first: number): Uint8Array => {
        const requestIds = Array.from({ length: 64 }, (_, k) => first + k);
        const message = batch(
          requestIds.map(() => cop(dags[0]!)),
          requestIds,
        );
        return concat(
          [0],
          new Uint8Array(Buffer.from([0, 0, message.length >> 8, message.length & 0xff])),
          message,
        );
      };
      expect(Status[filter.body(id.batch, frames(0), 'request').status]).toBe('OK');
      expect(filter.heldBytes).toBeGreaterThan(64 * 16);
      expect(Status[filter.body(id.batch, frames(64), 'request').status]).toBe('HELD_TOO_MUCH');
      filter.newStream();
      expect(filter.heldBytes).toBe(0);
    });

    test('very many plans in one message take no memory of their own', () => {
      const small = bytes(22, scalar(2, 103), bytes(3));
      const many = Buffer.concat(Array.from({ length: 200_000 }, () => bytes(1, small)));
      const before = filter.memoryBytes;
      const got = filter.message(id.batch, many, 'request');
      expect(Status[got.status]).toBe('OK');
      expect(filter.memoryBytes - before).toBeLessThan(64 << 20);
    });
  });
});
