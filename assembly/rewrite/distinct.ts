/**
 * Tells whether a list names a key twice. TiKV takes the keys of a write for different ones: it waits for its own lock on the second, or
 * panics on two records of one key (src/storage/txn/actions/prewrite.rs, components/resolved_ts/src/cmd.rs).
 *
 * Clients send the keys in order, so neighbours are compared. Only a list out of order is sorted.
 */
import { compareBytes } from '../keys/range';
import { alloc } from '../memory/arena';
import { entryOf, messageIn, recordOf, startFieldOf } from '../schema/messages';
import { findField } from './find';
import * as find from './find';

/** One key: at:usize length:usize */
const KEY_BYTES: usize = 8;

/** End of the item that `keyAfter` found last, and length of the key in it. */
let itemEnd: usize = 0;
let keyLength: usize = 0;

/** The key in the first item of `list` in [p, end); 0 when there is none. An item is a key, or a message with the key in the field `within`. */
function keyAfter(p: usize, end: usize, list: u32, within: u32): usize {
  const at = findField(p, end, list);
  if (at == 0) return 0;
  itemEnd = find.foundEnd;
  keyLength = itemEnd - at;
  if (within == 0) return at;
  const key = findField(at, itemEnd, within);
  keyLength = key == 0 ? 0 : find.foundEnd - key;
  return key == 0 ? itemEnd : key;
}

/** True when no key is there twice in the field `list` of the message [start, end), which has been walked. */
export function isDistinct(message: u32, start: usize, end: usize, list: u32): bool {
  const item = messageIn(entryOf(recordOf(message), list));
  const within = item == 0 ? 0 : startFieldOf(recordOf(item));
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
