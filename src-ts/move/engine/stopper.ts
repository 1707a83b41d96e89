/** What ends many calls at once. */
import { setMaxListeners } from 'node:events';

/** As many calls as there are may listen to its signal: Node takes more than ten for a leak, and warns on standard error. */
export function stopper(): AbortController {
  const made = new AbortController();
  setMaxListeners(0, made.signal);
  return made;
}
