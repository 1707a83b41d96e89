/** Changes the message that is being walked: replaces, inserts and removes fields. */
import * as keys from '../keys/space';
import { Mapped } from '../keys/space';
import { alloc } from '../memory/arena';
import { Status } from '../wire/status';
import { writeVarint } from '../wire/varint';
import { addPatch } from './patches';
import { Span } from './span';

/** Room for a tag and a length in front of a field's new bytes. */
const HEADER_BYTES: usize = 10;

/** True when bytes of the message were changed in place. */
export let touched: bool = false;

export function setTouched(value: bool): void {
  touched = value;
}

/** Number of keys that were mapped, and of other changes with them, since `takeRewrites`. */
let rewrites: u32 = 0;

/** @inline */
export function countRewrites(count: u32): void {
  rewrites += count;
}

/** Returns the number of rewrites, and begins anew. */
export function takeRewrites(): u32 {
  const count = rewrites;
  rewrites = 0;
  return count;
}

/** Removes [at, end). */
export function remove(at: usize, end: usize): void {
  addPatch(at, end, 0, 0);
}

/** Replaces [at, end) by the `length` bytes at `bytes`. */
export function replace(at: usize, end: usize, bytes: usize, length: usize): void {
  addPatch(at, end, bytes, length);
}

/** Replaces the field [at, end) by tag, length and the given bytes. An empty [at, end) means an insertion. */
export function replaceField(tag: u32, at: usize, end: usize, value: usize, length: usize): void {
  const field = alloc(HEADER_BYTES + length);
  let to = writeVarint(writeVarint(field, tag), length);
  memory.copy(to, value, length);
  to += length;
  replace(at, end, field, to - field);
}

/** The same for a varint field. */
export function replaceScalar(tag: u32, at: usize, end: usize, value: u64): void {
  const field = alloc(24);
  const to = writeVarint(writeVarint(field, tag), value);
  replace(at, end, field, to - field);
}

/** Writes the result of a key's mapping into its field. */
export function settle(mapped: Mapped, tag: u32, field: Span): Status {
  if (mapped == Mapped.IN_PLACE) {
    rewrites++;
    touched = true;
  } else if (mapped == Mapped.REPLACED) {
    rewrites++;
    replaceField(tag, field.at, field.end, keys.mappedAt, keys.mappedLength);
  } else if (mapped == Mapped.BROKEN) return Status.MALFORMED;
  return Status.OK;
}
