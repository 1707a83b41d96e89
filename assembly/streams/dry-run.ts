/** `dryRun`: what tenant 0 would be refused is let through, counted, and logged in a line a second at most. A line holds no keys. */
import { LogLevel } from '../host/abi';
import { increment, logBytes } from '../host/host';
import { NO_OPERATION, nameOperation } from '../policy/names';
import * as batch from '../rewrite/batch';
import { entryOf, messageIn, nameOf, recordOf } from '../schema/messages';
import { Msg } from '../schema/table';
import { DryRun, Terms } from '../terms/terms';
import { Text } from '../texts/table';
import * as writer from '../texts/writer';
import * as clock from './clock';
import * as metrics from './metrics';
import { nameUnknown } from './unknown';

let loggedAt: u64 = 0;
/** What was not logged since the last line. */
let unsaid: u32 = 0;

/** True when the stream goes on although it would be refused; what the tables refuse (not `isOpen`) goes on unread. */
export function passesInDryRun(terms: Terms, operation: u32, isOpen: bool, plain: usize): bool {
  const needed = isOpen ? DryRun.POLICY : DryRun.ALL;
  if (terms.dryRun < needed) return false;
  increment(metrics.dryRunTotal);
  if (!begin()) return true;
  if (operation != NO_OPERATION) nameOperation(operation);
  else nameUnknown(plain);
  end();
  return true;
}

/** Counts the commands of a batch that went on although they would be refused. */
export function noteDryRunCommands(terms: Terms): void {
  if (terms.dryRun == DryRun.NONE || batch.dryRunCount == 0) return;
  for (let i: u32 = 0; i < batch.dryRunCount; i++) increment(metrics.dryRunTotal);
  if (!begin()) return;
  writer.addText(nameOf(messageIn(entryOf(recordOf(Msg.BATCH_REQUEST), batch.dryRunCommand))));
  end();
}

/** False when it is too early for another line: the clock moves once a second, with the tick. */
function begin(): bool {
  if (loggedAt != 0 && clock.now == loggedAt) {
    unsaid++;
    return false;
  }
  loggedAt = clock.now;
  writer.beginText();
  return true;
}

function end(): void {
  writer.fillWritten(0);
  writer.fillNumber(1, unsaid);
  writer.writeTemplate(unsaid == 0 ? Text.TRIED : Text.TRIED_MORE);
  unsaid = 0;
  logBytes(LogLevel.WARN, writer.textAt, writer.textLength);
}
