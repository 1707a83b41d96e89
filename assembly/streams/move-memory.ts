/**
 * What was obeyed of moves in this Envoy, in its shared data, so that a configuration from before is known for one, also by a VM that is
 * made anew (docs/decisions/0015). For each tenant of a plugin:
 *
 *   length of the name:u24 | phase:u4 | state:u4 | serial:u32 | place:u64 | name
 *
 * Earlier versions of the filter have left no state, or no phase: 0. They take the phase of a tenant that is not active for a later one.
 */
import * as host from '../host/host';
import { alloc } from '../memory/arena';
import { Account } from '../terms/account';
import { MovePhase } from '../terms/move';
import { State } from '../terms/state';
import { toEight } from '../wire/bytes';

const KEY: string = 'tidb-mesh.moves.';
const HEADER_BYTES: usize = 16;
const LENGTH_BITS: u32 = 24;
const LENGTH_MASK: u32 = (1 << LENGTH_BITS) - 1;
const STATE_BITS: u32 = 28;
const PHASE_MASK: u32 = (1 << (STATE_BITS - LENGTH_BITS)) - 1;

/** The entry that was read last: the latest serial, its phase, the state and the key range then, and the tenant's name. */
export let serial: u32 = 0;
export let phase: MovePhase = MovePhase.NONE;
export let state: State = State.ACTIVE;
export let place: u64 = 0;
export let nameAt: usize = 0;
export let nameLength: usize = 0;

let at: usize = 0;
let end: usize = 0;
let cas: u32 = 0;

function keyOf(plugin: string): ArrayBuffer {
  return String.UTF8.encode(KEY + plugin);
}

/** Begins to read the entries of a plugin. */
export function recall(plugin: string): void {
  const key = keyOf(plugin);
  const isThere = host.readShared(changetype<usize>(key), key.byteLength);
  cas = host.sharedCas;
  at = host.resultAt;
  end = isThere ? at + host.resultLength : at;
}

/** Reads the next entry. False behind the last one. */
export function next(): bool {
  if (at + HEADER_BYTES > end) return false;
  nameLength = load<u32>(at) & LENGTH_MASK;
  phase = (load<u32>(at) >> LENGTH_BITS) & PHASE_MASK;
  state = load<u32>(at) >> STATE_BITS;
  serial = load<u32>(at, 4);
  place = load<u64>(at, 8);
  nameAt = at + HEADER_BYTES;
  at = nameAt + toEight(nameLength);
  return at <= end;
}

/** Writes an entry. Returns where the next one goes. */
function put(account: Account, to: usize): usize {
  const phaseAndState =
    ((<u32>account.latestPhase) << LENGTH_BITS) | ((<u32>account.latestState) << STATE_BITS);
  store<u32>(to, (<u32>account.nameLength) | phaseAndState);
  store<u32>(to, account.latestSerial, 4);
  store<u64>(to, account.latestPlace, 8);
  memory.copy(to + HEADER_BYTES, account.nameAt, account.nameLength);
  return to + HEADER_BYTES + toEight(account.nameLength);
}

/** Keeps what these accounts know. False when another VM has changed the entries since they were read. */
export function keep(plugin: string, first: Account | null): bool {
  let size: usize = 0;
  let one = first;
  while (one != null) {
    if (one.latestSerial != 0) size += HEADER_BYTES + toEight(one.nameLength);
    one = one.next;
  }
  const entries = alloc(size);
  let to = entries;
  one = first;
  while (one != null) {
    if (one.latestSerial != 0) to = put(one, to);
    one = one.next;
  }
  const key = keyOf(plugin);
  return host.writeShared(changetype<usize>(key), key.byteLength, entries, size, cas);
}
