/**
 * Makes a stream of BatchCommands go on with the other keys that its tenant has by now, without an end of the stream: a client whose stream
 * ends cannot know whether a commit on it happened. All new requests are held back until nothing is in the store's hands: the answers to
 * come are those of the former keys.
 */
import { mayWrite, outstandingIn } from '../rewrite/exchange';
import { ConfigVersion, versionOf } from './configs';
import { Stream, changeTerms } from './stream';

/** How long reads may take before the stream is ended. Its client sends them again. */
const READS_MS: u64 = 5000;

/** Moves the stream over to the keys that its tenant has by the configuration in force. False if requests are in the store's hands. */
export function moveOver(stream: Stream, inForce: ConfigVersion): bool {
  const terms = stream.terms;
  if (terms == null || outstandingIn(stream.exchange) > 0) return false;
  const config = inForce.resolver.config;
  const place = config.placeOf(terms.nameAt, terms.nameLength);
  if (place < 0) return false;
  const its = config.tenants[place].terms;
  inForce.openAccount(its);
  changeTerms(stream, its);
  stream.isMoving = false;
  return true;
}

/** The same in the middle of the stream's own events. */
export function moveOverIfDone(stream: Stream): void {
  if (!stream.isMoving) return;
  const version = versionOf(stream.root);
  if (version == null) return;
  const successor = version.successor;
  moveOver(stream, successor == null ? version : successor);
}

/** True if only reads are left, and have taken too long. */
export function isLate(stream: Stream, now: u64): bool {
  return now >= stream.movingSince + READS_MS && !mayWrite(stream.exchange);
}
