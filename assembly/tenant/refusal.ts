/** Writes why a caller is refused: what is wrong, and what to add where. Safe in headers and logs for any caller's name. */
import { codeOf, sentenceOf } from '../schema/statuses';
import { Text } from '../texts/table';
import {
  addForeign,
  beginText,
  fill,
  fillNumber,
  fillText,
  fillWritten,
  writeTemplate,
} from '../texts/writer';
import * as caller from './caller';
import { Identity } from './identity';
import { Status } from '../wire/status';

const MOST_PRINCIPAL: usize = 400;
const MOST_VALUE: usize = 80;

function fillForeign(place: usize, at: usize, length: usize, most: usize): void {
  beginText();
  addForeign(at, length, most);
  fillWritten(place);
}

/** The fact that a rule asks for: `peer.workload`. */
function fillFact(place: usize, identity: Identity): void {
  const fact = identity.fact;
  if (fact == null) return;
  fill(0, changetype<usize>(fact.name), fact.name.byteLength);
  writeTemplate(identity.isPeer ? Text.PEER_FACT : Text.NODE_FACT);
  fillWritten(place);
}

/** With the principal in place 0, one of two texts. */
function writeWho(named: u32, nameless: u32): void {
  fillForeign(0, caller.principalAt, caller.principalLength, MOST_PRINCIPAL);
  writeTemplate(caller.principalLength == 0 ? nameless : named);
}

/** Writes the sentence with texts/writer. */
export function writeRefusal(identity: Identity): void {
  switch (identity.reason) {
    case Status.NO_RULE:
      writeWho(Text.EXAMPLE_RULE, Text.NAMELESS_EXAMPLE_RULE);
      fillWritten(1);
      break;
    case Status.UNKNOWN_TENANT:
      fillNumber(1, identity.rule);
      fill(2, identity.foundAt, identity.foundLength);
      break;
    case Status.BEHALF_UNSAID:
      fillNumber(1, identity.rule);
      break;
    case Status.BEHALF_REFUSED:
      fillNumber(1, identity.rule);
      fillForeign(2, identity.foundAt, identity.foundLength, MOST_VALUE);
      break;
    case Status.FACT_MISSING:
    case Status.IDENTITY_CONFLICT:
      fillNumber(1, identity.rule);
      fillFact(2, identity);
      fillForeign(3, identity.expectedAt, identity.expectedLength, MOST_VALUE);
      fillForeign(4, identity.foundAt, identity.foundLength, MOST_VALUE);
  }
  writeWho(Text.PRINCIPAL, Text.NAMELESS);
  fillWritten(0);
  writeTemplate(sentenceOf(identity.reason));
  fillWritten(1);
  fillText(0, codeOf(identity.reason));
  writeTemplate(Text.REFUSED);
}
