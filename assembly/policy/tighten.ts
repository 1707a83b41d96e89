/**
 * What one tenant is refused although the tables let tenants use it: bits, made when a configuration is loaded, read per request.
 *
 *   heap:  u8 x 32   a bit for each command of BatchCommands
 *          u8 x ...  a bit for each rule, see names.ts
 */
import { isSameBytes } from '../wire/bytes';
import { COMMANDS, ruleCount } from './names';

const COMMAND_BYTES: usize = (<usize>COMMANDS) >> 3;

function byteOf(bits: usize, i: u32): usize {
  return bits + ((<usize>i) >> 3);
}

function isSet(bits: usize, i: u32): bool {
  const byte = <u32>load<u8>(byteOf(bits, i));
  return ((byte >> (i & 7)) & 1) != 0;
}

function set(bits: usize, i: u32): void {
  const at = byteOf(bits, i);
  const byte = <u32>load<u8>(at);
  const bit: u32 = 1;
  store<u8>(at, <u8>(byte | (bit << (i & 7))));
}

function sizeOfTightening(): usize {
  return COMMAND_BYTES + ((<usize>ruleCount() + 7) >> 3);
}

/** Refuses nothing; not the garbage collector's. */
export function newTightening(): usize {
  const size = sizeOfTightening();
  const tightening = heap.alloc(size);
  memory.fill(tightening, 0, size);
  return tightening;
}

/** Refuses a rule and, unless it is 0, a command. */
export function tighten(tightening: usize, rule: u32, command: u32): void {
  set(tightening + COMMAND_BYTES, rule);
  if (command != 0) set(tightening, command);
}

/** True when this tightening, or none where it is 0, refuses a rule. */
export function refusesRule(tightening: usize, rule: u32): bool {
  return tightening != 0 && isSet(tightening + COMMAND_BYTES, rule);
}

/** True when both refuse the same. */
export function isSameTightening(one: usize, other: usize): bool {
  if (one == other) return true;
  if (one == 0 || other == 0) return false;
  return isSameBytes(one, other, sizeOfTightening());
}
