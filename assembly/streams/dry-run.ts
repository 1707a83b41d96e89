/** `dryRun`: what tenant 0 would be refused is let through, counted, and logged in a line a second at most. A line holds no keys. */
import { LogLevel } from '../host/abi';
import { increment, logBytes } from '../host/host';
import { NO_OPERATION, nameOperation } from '../policy/names';
import { dryRunCommand, dryRunCount } from '../rewrite/batch';
import { entryOf, nameOf, recordOf } from '../schema/messages';
import { Msg } from '../schema/table';
import { DryRun } from '../tenant/tenant';
import { Text } from '../texts/table';
import { addByte, addForeign, addNumber, addText, beginText, textAt, textLength } from '../texts/writer';
import { now } from './clock';
import { methodAt, methodLength, pathAt } from './headers';
import { dryRunTotal } from './metrics';
import { Stream } from './stream';

const MAX_METHOD: usize = 16;

const SLASH: u8 = 0x2f;
const SPACE: u8 = 0x20;

let loggedAt: u64 = 0;
/** What was not logged since the last line. */
let unsaid: u32 = 0;

/** True when the stream goes on although it would be refused; what the tables refuse (not `isOpen`) goes on unread. */
export function passesInDryRun(stream: Stream, operation: u32, isOpen: bool, plain: usize): bool {
  const needed = isOpen ? DryRun.POLICY : DryRun.ALL;
  if (stream.dryRun < needed) return false;
  increment(dryRunTotal);
  if (!begin()) return true;
  if (operation != NO_OPERATION) nameOperation(operation);
  else {
    addForeign(methodAt, methodLength, MAX_METHOD);
    addByte(SPACE);
    addUnknown(pathAt, plain);
  }
  end();
  return true;
}

/** Counts the commands of a batch that went on although they would be refused. */
export function noteDryRunCommands(stream: Stream): void {
  if (stream.dryRun == DryRun.NONE || dryRunCount == 0) return;
  for (let i: u32 = 0; i < dryRunCount; i++) increment(dryRunTotal);
  if (!begin()) return;
  addText(nameOf(entryOf(recordOf(Msg.BATCH_REQUEST), dryRunCommand) >> 16));
  end();
}

/** False when it is too early for another line: the clock moves once a second, with the tick. */
function begin(): bool {
  if (loggedAt != 0 && now == loggedAt) {
    unsaid++;
    return false;
  }
  loggedAt = now;
  beginText();
  addText(Text.NAME);
  addText(Text.TRIED);
  return true;
}

function end(): void {
  if (unsaid != 0) {
    addText(Text.TRIED_MORE);
    addNumber(unsaid);
  }
  unsaid = 0;
  logBytes(LogLevel.WARN, textAt, textLength);
}

/** An unknown path, `/pd/api/v1/config` or `/pdpb.PD/GetRegion`: four segments at most, letters and - . _ and the digit behind a v. */
function addUnknown(p: usize, length: usize): void {
  let slashes = 0;
  let before: u32 = 0;
  for (let i: usize = 0; i < length; i++) {
    const c = load<u8>(p + i);
    const isLetter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    const isDigit = c >= 0x30 && c <= 0x39;
    if (
      c == SLASH
        ? ++slashes > 4
        : !isLetter && c != 0x2d && c != 0x2e && c != 0x5f && !(isDigit && before == 0x76)
    )
      return;
    addByte(c);
    before = c;
  }
}
