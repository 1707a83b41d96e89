/** Writes why a caller is refused: what is wrong, and what to add where. Safe in headers and logs for any caller's name. */
import { Text } from '../texts/table';
import { addBytes, addForeign, addNumber, addText, beginText } from '../texts/writer';
import { principalAt, principalLength } from './caller';
import { Identity, Reason } from './identity';

const MOST_PRINCIPAL: usize = 400;
const MOST_VALUE: usize = 80;

function addFact(identity: Identity): void {
  const fact = identity.fact;
  addText(identity.isPeer ? Text.PEER_FACT : Text.NODE_FACT);
  if (fact != null) addBytes(changetype<usize>(fact.name), fact.name.byteLength);
}

function addRule(identity: Identity): void {
  addText(Text.RULES);
  addNumber(identity.rule);
}

/** Writes the sentence with texts/writer. */
export function writeRefusal(identity: Identity): void {
  beginText();
  addText(Text.NAME);
  const reason = identity.reason;
  if (reason == Reason.NO_PRINCIPAL || reason == Reason.TOO_LONG) {
    addText(reason == Reason.TOO_LONG ? Text.PRINCIPAL_TOO_LONG : Text.NO_PRINCIPAL);
    return;
  }
  if (principalLength == 0) addText(Text.NAMELESS);
  else {
    addText(Text.PRINCIPAL);
    addForeign(principalAt, principalLength, MOST_PRINCIPAL);
    addText(Text.COLON);
  }
  switch (reason) {
    case Reason.ODD_CHARACTERS:
      addText(Text.ODD_PRINCIPAL);
      break;
    case Reason.UNKNOWN_TENANT:
      addRule(identity);
      addText(Text.MAKES_IT);
      addBytes(identity.foundAt, identity.foundLength);
      addText(Text.NOT_LISTED);
      addBytes(identity.foundAt, identity.foundLength);
      addText(Text.NOT_LISTED_END);
      break;
    case Reason.FACT_ABSENT:
      addRule(identity);
      addText(Text.ASKS_FOR);
      addFact(identity);
      addText(Text.NOT_KNOWN);
      break;
    case Reason.DISAGREE:
      addText(Text.DISAGREE);
      addRule(identity);
      addText(Text.ASKS_FOR);
      addFact(identity);
      addText(Text.EXPECTED);
      addForeign(identity.expectedAt, identity.expectedLength, MOST_VALUE);
      addText(Text.AGAINST);
      addForeign(identity.foundAt, identity.foundLength, MOST_VALUE);
      addText(Text.QUOTE);
      break;
    case Reason.UNREADABLE:
      addText(Text.UNREADABLE_PEER);
      break;
    default:
      addText(Text.NO_RULE);
      if (principalLength == 0) addText(Text.NAMELESS_EXAMPLE);
      else {
        addText(Text.EXAMPLE);
        addForeign(principalAt, principalLength, MOST_PRINCIPAL);
        addText(Text.EXAMPLE_END);
      }
  }
}
