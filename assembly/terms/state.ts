/** The states of a tenant, and what they close to it. proto/ says what each call is for: mesh.Kind. */
import { COMMAND_CALLS, Call } from '../schema/table';
import { Ascii, ascii } from '../wire/bytes';
import { Status } from '../wire/status';

/** From the widest to the strictest. */
export const enum State {
  ACTIVE,
  /** It can read, and end what it has begun to write. */
  READ_ONLY,
  /** It can only find the time and places, so that its TiDB gets to the request whose refusal names the state. */
  SUSPENDED,
}

const NAMES: Ascii[] = [ascii('active'), ascii('read-only'), ascii('suspended')];

/** The state as the pluginConfig writes it. */
export function stateName(state: u32): Ascii {
  return NAMES[min<u32>(state, State.SUSPENDED)];
}

/** Why a tenant in this state may not make a call of this kind; OK if it may. */
export function closedBy(state: State, call: u32): Status {
  if (state == State.READ_ONLY && call == Call.WRITE) return Status.TENANT_READ_ONLY;
  if (state == State.SUSPENDED && call != Call.FIND && call != Call.BATCH) return Status.TENANT_SUSPENDED;
  return Status.OK;
}

/** The kind of a command of BatchCommands; UNSPECIFIED for one that is not served. */
export function callOfCommand(command: u32): u32 {
  return command > 255 ? Call.UNSPECIFIED : <u32>load<u8>(COMMAND_CALLS + <usize>command);
}

/** Why a tenant in this state may not send a command; OK if it may. What is not served is refused elsewhere. */
export function commandClosedBy(state: State, command: u32): Status {
  const call = callOfCommand(command);
  return call == Call.UNSPECIFIED ? Status.OK : closedBy(state, call);
}
