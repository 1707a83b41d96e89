/**
 * A walker with nothing but the walk, for the benchmark: what of a batch of gets' cost is the bytes, and what is care. It believes all
 * lengths, knows one command, and lets through whatever else there is.
 */
import { readVarint, varintEnd } from './wire/varint';

/** tikvpb.BatchCommandsRequest.requests, kvrpcpb.GetRequest.key, with the wire type of bytes */
const REQUESTS: u64 = 10;
const KEY: u64 = 18;
const WIRE: u64 = 7;
const BYTES: u64 = 2;

/** Behind the varint that was read last. */
let after: usize = 0;

/** @inline */
function read(p: usize, end: usize): u64 {
  const first = load<u8>(p);
  if (first < 0x80) {
    after = p + 1;
    return first;
  }
  const value = readVarint(p, end);
  after = varintEnd;
  return value;
}

/** Puts a tenant's number into the key of each get in [p, end), where it lies: behind `t`, in the table's id. */
export function walkNaively(p: usize, end: usize, number: u16): void {
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
