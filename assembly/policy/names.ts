/**
 * The names of operations for operators: `tikvpb.Tikv/KvGet`, `GET /pd/api/v1/regions`. The number of an operation is a method's index
 * in METHODS, or METHOD_COUNT plus an endpoint's index in HTTP_ENDPOINTS. Runs when a configuration is loaded.
 */
import { HTTP_ENDPOINT_COUNT, HttpDecision } from '../schema/http';
import { entryOf, messageIn, recordOf } from '../schema/messages';
import { Call, Decision, METHOD_COUNT, Msg } from '../schema/table';
import { textOf } from '../texts/text';
import { addBytes } from '../texts/writer';
import { decisionOf, isGet, nameEndpoint } from './endpoints';
import { callAt, decisionAt, isStreamAt, pathAt, requestAt } from './methods';

/** Commands of BatchCommands are numbered by the fields of its request. */
export const COMMANDS: u32 = 256;
/** Stands for unknown operations. */
export const NO_OPERATION: u32 = u32.MAX_VALUE;

export function operationCount(): u32 {
  return METHOD_COUNT + HTTP_ENDPOINT_COUNT;
}

/** Writes an operation's name with texts/writer. */
export function nameOperation(operation: u32): void {
  if (operation >= METHOD_COUNT) {
    nameEndpoint(operation - METHOD_COUNT);
    return;
  }
  const path = textOf(pathAt(operation));
  addBytes(changetype<usize>(path) + 1, path.length - 1);
}

/** True if the tables open it to tenants. */
export function isOpen(operation: u32): bool {
  if (operation >= METHOD_COUNT) return decisionOf(operation - METHOD_COUNT) != HttpDecision.REFUSE;
  const decision = decisionAt(operation);
  return decision == Decision.PASS || decision == Decision.MAP;
}

/** What a call of an operation is for, see Call. PD's HTTP API changes something unless it is asked with GET. */
export function callFor(operation: u32): u32 {
  if (operation == NO_OPERATION) return Call.OTHER;
  if (operation < METHOD_COUNT) return callAt(operation);
  return isGet(operation - METHOD_COUNT) ? Call.PD : Call.WRITE;
}

/** The command of BatchCommands with the same request type as this method; 0 if there is none. */
export function commandFor(operation: u32): u32 {
  if (operation >= METHOD_COUNT || isStreamAt(operation)) return 0;
  const request = requestAt(operation);
  const batch = recordOf(Msg.BATCH_REQUEST);
  if (request == 0) return 0;
  for (let command: u32 = 1; command < COMMANDS; command++)
    if (messageIn(entryOf(batch, command)) == request) return command;
  return 0;
}
