/** Changes to the message that is being walked: fields replaced, inserted and taken out. */
import { Mapped, mappedAt, mappedLength } from '../keys/space';
import { alloc } from '../memory/arena';
import { Status } from '../wire/status';
import { writeVarint } from '../wire/varint';
import { addPatch } from './patches';

/** Room for a tag and a length in front of a field's new bytes. */
const HEADER_BYTES: usize = 10;

/** Bytes by which the part that was edited last grows. */
export let growth: i32 = 0;
/** True when bytes of the message were patched where they lie. */
export let touched: bool = false;

export function setGrowth(bytes: i32): void {
  growth = bytes;
}

export function setTouched(value: bool): void {
  touched = value;
}

/** Takes [at, end) out. Gives the growth. */
export function remove(at: usize, end: usize): i32 {
  addPatch(at, end, 0, 0);
  return -(<i32>(end - at));
}

/** Puts `length` bytes at `bytes` in the place of [at, end). Gives the growth. */
export function replace(at: usize, end: usize, bytes: usize, length: usize): i32 {
  addPatch(at, end, bytes, length);
  return <i32>length - <i32>(end - at);
}

/** Replaces the field [at, end), which may be empty (an insertion), by tag, length and the given bytes. Gives the growth. */
export function replaceField(tag: u32, at: usize, end: usize, value: usize, length: usize): i32 {
  const field = alloc(HEADER_BYTES + length);
  let to = writeVarint(writeVarint(field, tag), length);
  memory.copy(to, value, length);
  to += length;
  return replace(at, end, field, to - field);
}

/** The same for a varint field. */
export function replaceScalar(tag: u32, at: usize, end: usize, value: u64): i32 {
  const field = alloc(24);
  const to = writeVarint(writeVarint(field, tag), value);
  return replace(at, end, field, to - field);
}

/** Puts what a key's mapping did into the field [at, end); leaves the growth in `growth`. */
export function settle(mapped: Mapped, tag: u32, at: usize, end: usize): Status {
  growth = 0;
  if (mapped == Mapped.IN_PLACE) touched = true;
  else if (mapped == Mapped.REPLACED) growth = replaceField(tag, at, end, mappedAt, mappedLength);
  else if (mapped == Mapped.BROKEN) return Status.MALFORMED;
  return Status.OK;
}
