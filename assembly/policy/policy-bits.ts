/**
 * What policy refuses to one tenant, as bits: made when a configuration is loaded, read per request.
 *
 *   heap:  u8 x 32   a bit for each command of BatchCommands
 *          u8 x ...  a bit for each operation, see names.ts
 */
import { isSameBytes } from '../wire/bytes';
import { COMMANDS, operationCount } from './names';

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

function sizeOfPolicyBits(): usize {
  return COMMAND_BYTES + ((<usize>operationCount() + 7) >> 3);
}

/** New bits that refuse nothing. They are unmanaged. */
export function newPolicyBits(): usize {
  const size = sizeOfPolicyBits();
  const policyBits = heap.alloc(size);
  memory.fill(policyBits, 0, size);
  return policyBits;
}

/** Refuses an operation and, unless it is 0, a command. */
export function setRefused(policyBits: usize, operation: u32, command: u32): void {
  set(policyBits + COMMAND_BYTES, operation);
  if (command != 0) set(policyBits, command);
}

/** True if these bits refuse an operation; 0 refuses none. */
export function refusesOperation(policyBits: usize, operation: u32): bool {
  return policyBits != 0 && isSet(policyBits + COMMAND_BYTES, operation);
}

/** True if both refuse the same. */
export function areSamePolicyBits(one: usize, other: usize): bool {
  if (one == other) return true;
  if (one == 0 || other == 0) return false;
  return isSameBytes(one, other, sizeOfPolicyBits());
}
