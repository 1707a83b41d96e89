/**
 * Tells whether a list names a key twice. TiKV takes the keys of a write for different ones: it waits for its own lock on the second, or
 * panics on two records of one key (src/storage/txn/actions/prewrite.rs, components/resolved_ts/src/cmd.rs).
 *
 * Clients send the keys in order, so neighbours are compared. Only a list out of order is sorted. Most items begin as the one before does,
 * up to the key:
 *
 *   tag | length of the item | op, tag and length of the key | key | value
 *                             '------------ lead ------------'
 *
 * Then the key is at the same place, and is not looked for.
 */
import { compareBytes } from '../keys/range';
import { alloc } from '../memory/arena';
import { entryOf, messageIn, recordOf, startFieldOf } from '../schema/messages';
import { findField } from './find';
import * as find from './find';

/** One key: at:usize length:usize */
const KEY_BYTES: usize = 8;

/** Longest lead: it is compared as one number. */
const MOST_LEAD: usize = 8;

/** End of the item that was found last, and length of the key in it. */
let itemEnd: usize = 0;
let keyLength: usize = 0;

/** Tag of the items, or 0 where none is taken for alike; how the last one begins, and which bytes of that count. */
let itemTag: u32 = 0;
let leadBytes: usize = 0;
let lead: u64 = 0;
let leadMask: u64 = 0;
/** True when the item is the key. */
let isKey: bool = false;

/** The key in the item at `p`, if that begins as the last one does; else 0. @inline */
function keyAlike(p: usize, end: usize): usize {
  if (end - p < MOST_LEAD + 3 || <u32>load<u8>(p) != itemTag) return 0;
  let length = <usize>load<u8>(p, 1);
  let body = p + 2;
  if (length >= 0x80) {
    const high = <usize>load<u8>(p, 2);
    if (high >= 0x80) return 0;
    length = (length & 0x7f) | (high << 7);
    body++;
  }
  if (length > end - body) return 0;
  if (isKey) keyLength = length;
  else if ((load<u64>(body) & leadMask) != lead || length < leadBytes + keyLength) return 0;
  itemEnd = body + length;
  return body + leadBytes;
}

/** Takes note of how an item begins. */
function setLead(item: usize, key: usize, end: usize, list: u32): void {
  leadBytes = key - item;
  itemTag = list < 16 && leadBytes <= MOST_LEAD && end - item >= MOST_LEAD ? (list << 3) | 2 : 0;
  if (itemTag == 0) return;
  leadMask = leadBytes == MOST_LEAD ? ~(<u64>0) : ((<u64>1) << ((<u64>leadBytes) << 3)) - 1;
  lead = load<u64>(item) & leadMask;
}

/** The key in the first item of `list` in [p, end); 0 when there is none. An item is a key, or a message with the key in the field `within`. */
function keyAfter(p: usize, end: usize, list: u32, within: u32): usize {
  if (itemTag != 0) {
    const alike = keyAlike(p, end);
    if (alike != 0) return alike;
  }
  const at = findField(p, end, list);
  if (at == 0) return 0;
  itemEnd = find.foundEnd;
  const key = within == 0 ? at : findField(at, itemEnd, within);
  keyLength = key == 0 ? 0 : find.foundEnd - key;
  if (key == 0) {
    itemTag = 0;
    return itemEnd;
  }
  setLead(at, key, end, list);
  return key;
}

/** True when no key is there twice in the field `list` of the message [start, end), which has been walked. */
export function isDistinct(message: u32, start: usize, end: usize, list: u32): bool {
  const item = messageIn(entryOf(recordOf(message), list));
  const within = item == 0 ? 0 : startFieldOf(recordOf(item));
  itemTag = 0;
  isKey = within == 0;
  let count: usize = 0;
  let inOrder = true;
  let before: usize = 0;
  let beforeLength: usize = 0;
  for (let key = keyAfter(start, end, list, within); key != 0; key = keyAfter(itemEnd, end, list, within)) {
    if (inOrder && count > 0) inOrder = compareBytes(before, beforeLength, key, keyLength) < 0;
    before = key;
    beforeLength = keyLength;
    count++;
  }
  if (inOrder) return true;

  const keys = alloc(count * KEY_BYTES);
  let to = keys;
  for (let key = keyAfter(start, end, list, within); key != 0; key = keyAfter(itemEnd, end, list, within)) {
    store<usize>(to, key);
    store<usize>(to, keyLength, 4);
    to += KEY_BYTES;
  }
  return sortDistinct(keys, to - keys);
}

/** Sorts keys by merging, `length` bytes of them. False as soon as two are equal: they meet, whatever lies between them. */
function sortDistinct(keys: usize, length: usize): bool {
  let from = keys;
  let to = alloc(length);
  for (let run = KEY_BYTES; run < length; run <<= 1) {
    for (let left: usize = 0; left < length; left += run << 1) {
      const middle = min(left + run, length);
      if (!merge(from + left, from + middle, from + min(middle + run, length), to + left)) return false;
    }
    const other = from;
    from = to;
    to = other;
  }
  return true;
}

/** Merges [left, middle) and [middle, end), each sorted. False when both have the same key. */
function merge(left: usize, middle: usize, end: usize, to: usize): bool {
  let right = middle;
  while (left < middle && right < end) {
    const order = compareBytes(
      load<usize>(left),
      load<usize>(left, 4),
      load<usize>(right),
      load<usize>(right, 4),
    );
    if (order == 0) return false;
    const next = order < 0 ? left : right;
    store<u64>(to, load<u64>(next));
    to += KEY_BYTES;
    if (order < 0) left += KEY_BYTES;
    else right += KEY_BYTES;
  }
  memory.copy(to, left, middle - left);
  memory.copy(to + (middle - left), right, end - right);
  return true;
}
