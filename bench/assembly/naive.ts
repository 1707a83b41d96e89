/**
 * Entry of a walker with nothing but the walk: which part of the cost of a batch of gets is reading the bytes, and which part is care. It
 * trusts all lengths, knows one command, and passes all others.
 */
import { alloc, reset } from '../../assembly/memory/arena';
import * as varint from '../../assembly/wire/varint';
import { readVarint } from '../../assembly/wire/varint';

/** tikvpb.BatchCommandsRequest.requests, kvrpcpb.GetRequest.key, with the wire type of bytes */
const REQUESTS: u64 = 10;
const KEY: u64 = 18;
const WIRE: u64 = 7;
const BYTES: u64 = 2;

/** gRPC's frame in front of a message: a flag and its length. */
const FRAME_BYTES: usize = 5;

/** The end of the varint that was read last. */
let after: usize = 0;

/** @inline */
function read(p: usize, end: usize): u64 {
  const first = load<u8>(p);
  if (first < 0x80) {
    after = p + 1;
    return first;
  }
  const value = readVarint(p, end);
  after = varint.readEnd;
  return value;
}

/** Writes a tenant's number into the key of each get in [p, end): after the `t`, into the table's id. */
function walkNaively(p: usize, end: usize, number: u16): void {
  const tag = bswap<u16>(number | 0x8000);
  while (p < end) {
    const isRequest = read(p, end) == REQUESTS;
    const size = <usize>read(after, end);
    p = after + size;
    if (!isRequest) continue;
    // The command's tag and length, then the get itself.
    read(after, p);
    read(after, p);
    for (let q = after; q < p;) {
      const field = read(q, p);
      const value = read(after, p);
      q = after;
      if (field == KEY) store<u16>(q, tag, 1);
      if ((field & WIRE) == BYTES) q += <usize>value;
    }
  }
}

/** Memory that is never given back: a benchmark's messages. */
export function room(size: usize): usize {
  return heap.alloc(size);
}

/** Does `times` over what one body event costs: copies a framed batch in, walks it and copies it to `out`. */
export function bench(at: usize, length: usize, out: usize, number: u32, times: u32): void {
  for (let i: u32 = 0; i < times; i++) {
    reset();
    const copy = alloc(length);
    memory.copy(copy, at, length);
    walkNaively(copy + FRAME_BYTES, copy + length, <u16>number);
    memory.copy(out, copy, length);
  }
}
