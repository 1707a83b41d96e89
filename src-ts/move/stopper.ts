/** What ends many calls at once. */
import { setMaxListeners } from 'node:events';

/** As many calls as there are may listen to its signal: Node takes more than ten for a leak, and warns on standard error. */
export function stopper(): AbortController {
  const made = new AbortController();
  setMaxListeners(0, made.signal);
  return made;
}

/** A signal for as many calls, which ends them when one of these does. */
export function eitherOf(...signals: readonly AbortSignal[]): AbortSignal {
  const made = AbortSignal.any([...signals]);
  setMaxListeners(0, made);
  return made;
}
