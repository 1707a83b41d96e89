/**
 * Maps checksums (tipb.ChecksumRequest). A rule makes the store compute what a store of the tenant's own would: over keys without the
 * tenant's prefix. A key must begin with new_prefix, and is counted as if it began with old_prefix (tikv/src/coprocessor/checksum.rs).
 *
 *   table codec      old 't' 80 00   new 't' 80+n:2
 *   keyspace codec   old ''          new 'x' id:3
 */
import * as keys from '../keys/space';
import { alloc } from '../memory/arena';
import { writeVarint } from '../wire/varint';
import { replaceField } from './edits';

/** tipb.ChecksumRequest.rule */
export const CHECKSUM_RULE: u32 = 4;
/** tipb.ChecksumRewriteRule.old_prefix and new_prefix, as tags. */
const OLD_PREFIX: u32 = 10;
const NEW_PREFIX: u32 = 18;

function writeBytes(at: usize, tag: u32, bytes: usize, length: usize): usize {
  const to = writeVarint(writeVarint(at, tag), length);
  memory.copy(to, bytes, length);
  return to + length;
}

/** Inserts the rule at the end of a request that has no rule. */
export function appendChecksumRule(end: usize): void {
  const rule = alloc(64);
  let to = rule;
  if (keys.mapsTableIds()) {
    const prefix = alloc(8);
    store<u32>(prefix, 0x008074);
    to = writeBytes(to, OLD_PREFIX, prefix, 3);
    store<u16>(prefix, bswap<u16>(0x8000 | (<u16>(keys.tableIdTag() >> 48))), 1);
    to = writeBytes(to, NEW_PREFIX, prefix, 3);
  } else if (keys.apiVersion() != 0) {
    keys.encodeKey(0, 0);
    to = writeBytes(to, NEW_PREFIX, keys.mappedAt, keys.mappedLength);
  } else return;
  replaceField((CHECKSUM_RULE << 3) | 2, end, end, rule, to - rule);
}
