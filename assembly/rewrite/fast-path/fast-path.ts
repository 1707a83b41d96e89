/**
 * The fast path: messages like one that was walked before are compared with it, and not walked. The only way for the rest of rewrite/ to
 * this folder. The walker alone decides what a message becomes; this folder repeats its decision, and must follow each change of it.
 *
 * Why it is worth that: most of TiDB's messages come in hundreds that are alike (docs/decisions/0012). The ten messages of
 * `npm run bench -- rewriter` in two key ranges take 2.7 times as long without the fast path (geometric mean): 9 times a batch of 128 gets,
 * 3.5 times a scan's rows. Messages that cannot be learned cost up to a tenth more with it. It takes 4,500 bytes of wasm.
 *
 * `--use WITHOUT_FAST_PATH=1` compiles the filter without it. The unit tests compare both.
 */
import { Span } from '../span';
import * as contexts from './known-contexts';
import * as layouts from './known-layouts';
import { MAX_NESTING } from './layout';
import * as learning from './learn-layout';

export { runEnd, runFields } from './known-layouts';

const IS_ON: bool = !isDefined(WITHOUT_FAST_PATH);

/** How deep messages can be followed from a level. @inline */
export function nesting(): i32 {
  return IS_ON ? MAX_NESTING : 0;
}

/** Begins another message. @inline */
export function begin(): void {
  if (IS_ON) layouts.beginRewrite();
}

/** True when the whole message was followed. False: walk it. @inline */
export function followAlone(message: u32, p: usize, length: usize): bool {
  return IS_ON && layouts.followAlone(message, p, length);
}

/** The number of messages of a list that were followed, from this field on. The results say where they end. @inline */
export function followRun(message: u32, field: Span, end: usize): u32 {
  return IS_ON ? layouts.followRun(message, field, end) : 0;
}

/** True when the message is to be learned after its walk. @inline */
export function wouldLearn(message: u32, p: usize, length: usize): bool {
  return IS_ON && learning.wouldLearn(message, p, length);
}

/** Learns a message that was walked. @inline */
export function learn(message: u32, p: usize, length: usize, firstPatch: u32, growth: i32): void {
  if (IS_ON) learning.learnLayout(message, p, length, firstPatch, growth);
}

/** True for a request's context that is known to need no change. @inline */
export function isKnownContext(p: usize, length: usize): bool {
  return IS_ON && contexts.isKnownContext(p, length) && contexts.knownEdit == 0;
}

/** Remembers the context that was just looked up and not found. See `contexts.knownEdit`. @inline */
export function rememberContext(p: usize, length: usize, edit: u32): void {
  if (IS_ON) contexts.rememberContext(p, length, edit);
}

/** True when such a message would be followed. For tests. */
export function knows(message: u32, p: usize, length: usize): bool {
  begin();
  return IS_ON && layouts.isKnown(message, p, length);
}
