/** gRPC frames in pieces, and what is held of them. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Status, UNLIMITED } from './filter.ts';
import { EMPTY, hex, unhex } from '../harness/model/bytes.ts';
import { Random } from '../harness/model/random.ts';
import { messageId } from '../harness/model/schema.ts';
import * as table from '../harness/model/table-codec.ts';
import { bytes, frame, scalar } from '../harness/model/wire.ts';

const ROW = unhex('74 8000000000000007 5f72 8000000000000001');
const META = new TextEncoder().encode('mDB:1');
const mapped = (key: Uint8Array): Uint8Array => table.encodeKey(1, key) as Uint8Array;
const request = (key: Uint8Array): Uint8Array => Buffer.concat([bytes(2, key), scalar(3, 400)]);

const PAGE = 4096;

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  let get: number;
  let batchGet: number;
  beforeAll(() => {
    filter = new Filter(build);
    get = messageId('kvrpcpb.GetRequest');
    batchGet = messageId('kvrpcpb.BatchGetRequest');
  });
  beforeEach(() => filter.newStream());

  const BODIES: [string, Uint8Array[]][] = [
    ['keys in place', [ROW, ROW]],
    ['keys that grow', [META, META]],
    ['both', [ROW, META, ROW, META, ROW]],
    ['one', [META]],
  ];

  /** Feeds the pieces and gives all that went on. */
  function feed(pieces: Uint8Array[]): Uint8Array {
    const out: Uint8Array[] = [];
    for (const piece of pieces) {
      const got = filter.body(get, piece, 'request');
      expect(Status[got.status]).toBe('OK');
      out.push(got.bytes);
    }
    return Buffer.concat(out);
  }

  test.each(BODIES)('%s, split at every byte', (_name, keys) => {
    const body = Buffer.concat(keys.map((key) => frame(request(key))));
    const wanted = hex(Buffer.concat(keys.map((key) => frame(request(mapped(key))))));
    for (let cut = 0; cut <= body.length; cut++) {
      filter.newStream();
      expect(hex(feed([body.subarray(0, cut), body.subarray(cut)]))).toBe(wanted);
    }
    filter.newStream();
    expect(filter.heldBytes).toBe(0);
  });

  test.each(BODIES)('%s, one byte at a time', (_name, keys) => {
    const body = Buffer.concat(keys.map((key) => frame(request(key))));
    const wanted = hex(Buffer.concat(keys.map((key) => frame(request(mapped(key))))));
    expect(hex(feed([...body].map((byte) => Uint8Array.of(byte))))).toBe(wanted);
  });

  test('random pieces of many frames, empty messages among them', () => {
    const random = new Random(5);
    const keys = Array.from({ length: 400 }, () => (random.chance(50) ? ROW : META));
    const body = Buffer.concat(keys.flatMap((key) => [frame(request(key))]));
    const wanted = hex(Buffer.concat(keys.flatMap((key) => [frame(request(mapped(key)))])));
    for (let round = 0; round < 20; round++) {
      filter.newStream();
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < body.length;) {
        const size = random.chance(10) ? 0 : 1 + random.below(random.pick([3, 40, 3000]));
        pieces.push(body.subarray(at, at + size));
        at += size;
      }
      expect(hex(feed(pieces))).toBe(wanted);
    }
  });

  test('never lets a part of a frame go on', () => {
    const body = frame(request(ROW));
    for (let cut = 0; cut < body.length; cut++) {
      filter.newStream();
      const got = filter.body(get, body.subarray(0, cut), 'request');
      expect([Status[got.status], got.bytes.length]).toEqual(['OK', 0]);
      expect(got.changed).toBe(cut > 0);
    }
  });

  test('an empty message', () => {
    const ping = messageId('pdpb.GetRegionByIDRequest');
    const got = filter.body(ping, frame(EMPTY), 'request');
    expect([Status[got.status], got.changed, hex(got.bytes)]).toEqual(['OK', false, '0000000000']);
  });

  test('says when nothing changed, so that nothing is copied', () => {
    const type = messageId('kvrpcpb.GetResponse');
    const body = Buffer.concat([frame(bytes(3, ROW)), frame(bytes(3, ROW))]);
    const got = filter.body(type, body, 'response');
    expect([got.changed, hex(got.bytes)]).toEqual([false, hex(body)]);
  });

  test('refuses a compressed message, in any piece', () => {
    const good = frame(request(ROW));
    const body = Buffer.concat([good, frame(request(ROW), 1)]);
    for (const cut of [0, 3, good.length, good.length + 1, good.length + 4]) {
      filter.newStream();
      const first = filter.body(get, body.subarray(0, cut), 'request');
      const last = first.status === Status.OK ? filter.body(get, body.subarray(cut), 'request') : first;
      expect([Status[last.status], last.bytes.length]).toEqual(['COMPRESSED', 0]);
    }
  });

  test('refuses a flag that gRPC does not have', () => {
    for (const flag of [2, 3, 0x80, 0xff])
      expect(Status[filter.body(get, frame(request(ROW), flag), 'request').status]).toBe('MALFORMED');
  });

  test('takes the longest message and refuses one byte more, at its header', () => {
    const message = request(ROW);
    expect(Status[filter.body(get, frame(message), 'request', message.length).status]).toBe('OK');
    expect(Status[filter.body(get, frame(message), 'request', message.length - 1).status]).toBe('TOO_LONG');
    const header = unhex('00 ffffffff');
    expect(Status[filter.body(get, header, 'request', 64 << 20).status]).toBe('TOO_LONG');
    expect(filter.heldBytes).toBe(0);
  });

  test('a refused message leaves nothing behind', () => {
    const bad = frame(Buffer.concat([bytes(2, ROW), bytes(2, ROW)]));
    expect(Status[filter.body(get, bad.subarray(0, 9), 'request').status]).toBe('OK');
    expect(filter.heldBytes).toBe(PAGE);
    expect(Status[filter.body(get, bad.subarray(9), 'request').status]).toBe('DUPLICATE');
    filter.newStream();
    expect(filter.heldBytes).toBe(0);
    expect(hex(feed([frame(request(ROW))]))).toBe(hex(frame(request(mapped(ROW)))));
  });

  describe('held bytes', () => {
    const long = (keys: number): Uint8Array =>
      frame(Buffer.concat(Array.from({ length: keys }, () => bytes(2, ROW))));

    test.each([
      ['the VM', 64 * 1024, UNLIMITED],
      ['the tenant', UNLIMITED, 64 * 1024],
    ])('are limited for %s', (_name, vm, tenant) => {
      const body = long(4000);
      expect(body.length).toBeGreaterThan(64 * 1024);
      filter.newStream(vm, tenant);
      let at = 0;
      let status = Status.OK;
      for (; status === Status.OK && at < body.length; at += 4096)
        status = filter.body(batchGet, body.subarray(at, at + 4096), 'request').status;
      expect(Status[status]).toBe('HELD_TOO_MUCH');
      expect(at).toBeGreaterThan(32 * 1024);
      expect(filter.heldBytes).toBeLessThanOrEqual(64 * 1024);
      filter.newStream();
      expect(filter.heldBytes).toBe(0);
    });

    test.each([
      ['the VM', 64 * 1024, UNLIMITED],
      ['the tenant', UNLIMITED, 64 * 1024],
    ])('just below the limit of %s pass', (_name, vm, tenant) => {
      const body = long(Math.floor((64 * 1024 - PAGE) / 21));
      filter.newStream(vm, tenant);
      for (let at = 0; at < body.length; at += 4096)
        expect(Status[filter.body(batchGet, body.subarray(at, at + 4096), 'request').status]).toBe('OK');
      // The buffer was too large to be kept for the next frame.
      expect(filter.heldBytes).toBe(0);
    });

    test('a whole message needs none', () => {
      const body = long(4000);
      filter.newStream(1024, 1024);
      expect(Status[filter.body(batchGet, body, 'request').status]).toBe('OK');
      expect(filter.heldBytes).toBe(0);
    });

    test('a small buffer stays with its stream, and goes with it', () => {
      const body = frame(request(ROW));
      feed([body.subarray(0, 7), body.subarray(7)]);
      expect(filter.heldBytes).toBe(PAGE);
      feed([body.subarray(0, 7), body.subarray(7)]);
      expect(filter.heldBytes).toBe(PAGE);
      filter.newStream();
      expect(filter.heldBytes).toBe(0);
    });
  });
});
