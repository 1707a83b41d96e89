/** Every bound of the filter on both sides: the last message that passes, and the first that does not. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Status, UNLIMITED } from './filter.ts';
import { concat, EMPTY, unhex } from '../harness/model/bytes.ts';
import { messageId } from '../harness/model/schema.ts';
import { bytes, frame, scalar, varint } from '../harness/model/wire.ts';

/** As the filter's sources have them; a change is one that users see. */
const MAX_DEPTH = 32;
const MAX_FIELDS = 1 << 24;
const MAX_PATCHES = 1 << 20;
const MAX_COLUMNS = 8192;
const MAX_WANTED = 64;
const MAX_JSON_DEPTH = 24;
const MAX_CONFIG_DEPTH = 32;

const GET = 'kvrpcpb.GetRequest';
const KEY = bytes(2, unhex('748000000000000007'));
const CONFIG = { tenants: [{ name: 'a', number: 1 }], rules: [{ principal: 'spiffe://*/ns/{tenant}/sa/*' }] };

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });
  beforeEach(() => {
    filter.select(1, 'alpha');
    filter.newStream();
  });

  function statusOf(message: string, input: Uint8Array): string | undefined {
    return Status[filter.message(messageId(message), input, 'request').status];
  }

  /** TxnRequest.success = 2 with a RequestOp.request_txn = 4, each a level deeper. */
  function nested(levels: number): Uint8Array {
    let inner: Uint8Array = EMPTY;
    for (let level = levels; level > 0; level--) inner = bytes(level % 2 === 1 ? 2 : 4, inner);
    return inner;
  }

  test('nesting: MAX_DEPTH', () => {
    expect(statusOf('etcdserverpb.TxnRequest', nested(MAX_DEPTH))).toBe('OK');
    expect(statusOf('etcdserverpb.TxnRequest', nested(MAX_DEPTH + 1))).toBe('TOO_DEEP');
  });

  test('fields: MAX_FIELDS', () => {
    const fields = (count: number): Uint8Array => {
      // Field 13, resolved_locks, again and again.
      const all = new Uint8Array(count * 2);
      for (let at = 0; at < all.length; at += 2) all[at] = 13 << 3;
      return all;
    };
    expect(statusOf('kvrpcpb.Context', fields(MAX_FIELDS))).toBe('OK');
    expect(statusOf('kvrpcpb.Context', fields(MAX_FIELDS + 1))).toBe('TOO_MANY_FIELDS');
  });

  test('changes: MAX_PATCHES', () => {
    // An empty range takes three: its length and two bounds.
    const ranges = (count: number): Uint8Array => new Uint8Array(Buffer.alloc(count * 2, unhex('2200')));
    const last = Math.floor(MAX_PATCHES / 3);
    expect(statusOf('coprocessor.Request', ranges(last))).toBe('OK');
    expect(statusOf('coprocessor.Request', ranges(last + 1))).toBe('TOO_MANY_CHANGES');
  });

  test('memory of an event: EVENT_BYTES and EVENT_FACTOR', () => {
    const scan = messageId('pdpb.ScanRegionsRequest');
    const before = filter.memoryBytes;
    const status = (frames: number): string | undefined => {
      filter.newStream();
      return Status[filter.body(scan, Buffer.alloc(frames * 5), 'request').status];
    };
    // An empty frame of five bytes becomes two bounds.
    expect(status(1000)).toBe('OK');
    expect(status(200_000)).toBe('TOO_MANY_CHANGES');
    expect(filter.memoryBytes - before).toBeLessThan(64 * 1024 * 1024);
    expect(status(1000)).toBe('OK');
  });

  test('columns of a plan: MAX_COLUMNS', () => {
    const request = (columns: number): Uint8Array => {
      const scan = Buffer.concat(Array.from({ length: columns }, () => bytes(2, scalar(1, 1))));
      return concat(scalar(2, 103), bytes(3, bytes(2, scalar(1, 0), bytes(2, scan))));
    };
    expect(statusOf('coprocessor.Request', request(MAX_COLUMNS))).toBe('OK');
    expect(statusOf('coprocessor.Request', request(MAX_COLUMNS + 1))).toBe('MALFORMED');
  });

  test('columns that a plan answers with: MAX_COLUMNS', () => {
    const request = (offsets: number): Uint8Array => {
      const scan = bytes(2, scalar(1, -3));
      const plan = concat(bytes(2, scalar(1, 0), bytes(2, scan)), bytes(5, new Uint8Array(offsets)));
      return concat(scalar(2, 103), bytes(3, plan));
    };
    expect(statusOf('coprocessor.Request', request(MAX_COLUMNS))).toBe('OK');
    expect(statusOf('coprocessor.Request', request(MAX_COLUMNS + 1))).toBe('MALFORMED');
  });

  test('regions that one message asks for: MAX_WANTED', () => {
    const ids = Array.from({ length: MAX_WANTED + 1 }, (_, i) => varint(5000 + i));
    filter.lookups = true;
    filter.forgetWanted();
    expect(statusOf('pdpb.ScatterRegionRequest', bytes(6, ...ids.slice(0, MAX_WANTED)))).toBe('OK');
    expect(filter.wanted).toHaveLength(MAX_WANTED);
    filter.forgetWanted();
    expect(statusOf('pdpb.ScatterRegionRequest', bytes(6, ...ids))).toBe('OK');
    expect(filter.wanted).toHaveLength(MAX_WANTED);
    filter.forgetWanted();
  });

  test('the length of a message: limits.maxMessageBytes', () => {
    const feed = (limit: number): string | undefined =>
      Status[filter.body(messageId(GET), frame(KEY), 'request', limit).status];
    expect(feed(KEY.length)).toBe('OK');
    expect(feed(KEY.length - 1)).toBe('TOO_LONG');
  });

  test.each(['limits.heldBytesPerVM', 'limits.heldBytesPerTenant'])('held bytes: %s', (limit) => {
    // Held in pages of 4096 bytes.
    const cut = frame(bytes(2, new Uint8Array(5000))).subarray(0, 5000);
    const feed = (bytesHeld: number): string | undefined => {
      filter.newStream(
        limit.endsWith('VM') ? bytesHeld : UNLIMITED,
        limit.endsWith('VM') ? UNLIMITED : bytesHeld,
      );
      return Status[filter.body(messageId(GET), cut, 'request').status];
    };
    expect(feed(8192)).toBe('OK');
    expect(feed(8191)).toBe('HELD_TOO_MUCH');
  });

  test("nesting of PD's JSON: MAX_JSON_DEPTH", () => {
    const json = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(Status[filter.regions(json(MAX_JSON_DEPTH + 1)).status]).toBe('OK');
    expect(Status[filter.regions(json(MAX_JSON_DEPTH + 2)).status]).toBe('MALFORMED');
  });

  test("nesting of the configuration's JSON", () => {
    // The nonsense is found after the whole text was read.
    const config = (depth: number): string =>
      filter.config(
        JSON.stringify({ ...CONFIG, more: 0 }).replace(':0}', `:${'['.repeat(depth)}${']'.repeat(depth)}}`),
      );
    expect(config(MAX_CONFIG_DEPTH)).toMatch(/^more: unknown field/);
    expect(config(MAX_CONFIG_DEPTH + 1)).toMatch(/nested too deep/);
  });
});
