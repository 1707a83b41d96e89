/**
 * Spreads what ends or continues streams over several callbacks. Envoy does such acts when the callback has returned. Each act calls the
 * VM for its stream, and at the end of that call Envoy does the next act: N acts of one callback lie N deep on the stack, where V8 has
 * room for some hundred. (proxy-wasm-cpp-host: WasmBase::doAfterVmCallActions)
 *
 *   tick: act 1 -> on_response_headers: act 2 -> on_response_headers: act 3 -> ...
 */

/** Maximum of acts in one callback. */
const MOST_ACTS: u32 = 16;

let acts: u32 = 0;

/** True when an act had to be left for the next callback. */
export let areLeft: bool = false;

/** Begins a callback. */
export function beginTurn(): void {
  acts = 0;
  areLeft = false;
}

/** Takes one act. False when it must be left. */
export function mayAct(): bool {
  if (acts < MOST_ACTS) {
    acts++;
    return true;
  }
  areLeft = true;
  return false;
}
