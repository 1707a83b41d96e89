/** The proxy-wasm callbacks: wiring only. */
import '../host/abort';
import { Action, Buffer, LogLevel } from '../host/abi';
import * as host from '../host/host';
import { PLUGIN_NAME } from '../host/host';
import { VERSION } from '../host/version';
import { alloc, reset } from '../memory/arena';
import { recordAccounts } from '../streams/accounts';
import * as clock from '../streams/clock';
import { readClock } from '../streams/clock';
import { collectGarbage, configure, forgetConfig, hasRates, hasVersion } from '../streams/configs';
import { measureDelays, wakeDelayed } from '../streams/delays';
import * as drain from '../streams/drain';
import { endLeftStreams, reviewMoved, reviewStreams } from '../streams/drain';
import {
  onRequestBody,
  onRequestHeaders,
  onRequestTrailers,
  onResponseBody,
  onResponseHeaders,
  onResponseTrailers,
} from '../streams/filter';
import { askForHoldings, takeHoldings } from '../streams/holdings';
import { answerLate, forgetLate } from '../streams/late';
import { flushRefusals } from '../streams/refusal-log';
import { defineMetrics, recordBuild, recordMetrics } from '../streams/metrics';
import { endClosedStreams } from '../streams/states';
import * as moves from '../streams/moves';
import { liftHolds } from '../streams/moves';
import { tellVms, tellVmsNow } from '../streams/vm-record';
import { askForTime, takeTime } from '../streams/pd-time';
import { closeStream, findStream, openStream } from '../streams/stream';
import * as turns from '../streams/turns';
import { beginTurn } from '../streams/turns';
import { onLookup, wakeForgotten, wakeLeft } from '../streams/waiting';
import { proxy_set_tick_period_milliseconds } from '@gcoredev/proxy-wasm-sdk-as/assembly/imports';

const TICK_MS: u32 = 1000;
/** Envoy's timer and its clock need not agree to the millisecond. */
const SLACK_MS: u32 = 50;
/** When a callback has left acts, the next one follows after this time. */
const SOON_MS: u32 = 1;

/** The time between ticks while somebody waits for what the VMs say about a move, and where calls may wait under a rate. */
const SHORT_TICK_MS: u32 = 100;

/** Sets the time between the ticks of a root context. Envoy sets it for the root of the context that acts, which may be another one's. */
function setPeriod(root: u32, milliseconds: u32): void {
  host.actAs(root);
  proxy_set_tick_period_milliseconds(milliseconds);
}

/** The longest time between ticks. */
function longest(): u32 {
  return moves.isHurried || hasRates() ? SHORT_TICK_MS : TICK_MS;
}

export function proxy_abi_version_0_2_1(): void {}

export function proxy_on_memory_allocate(size: usize): usize {
  return alloc(size);
}

export function proxy_on_context_create(context: u32, root: u32): void {
  if (root != 0) openStream(context, root);
}

export function proxy_on_vm_start(_root: u32, _size: u32): u32 {
  host.log(LogLevel.INFO, 'tidb-mesh ' + VERSION + ' starts');
  return 1;
}

export function proxy_on_configure(root: u32, size: u32): u32 {
  reset();
  collectGarbage();
  const text = host.readBuffer(Buffer.PLUGIN_CONFIGURATION, size)
    ? String.UTF8.decodeUnsafe(host.resultAt, host.resultLength)
    : '';
  readClock();
  host.readProperty(PLUGIN_NAME);
  const plugin = String.UTF8.decodeUnsafe(host.resultAt, host.resultLength);
  const wrong =
    text.length == 0
      ? 'it is empty; it must at least hold "tenants"'
      : configure(root, plugin, text, clock.now);
  if (wrong.length != 0) {
    host.log(LogLevel.ERROR, 'tidb-mesh: the pluginConfig is refused: ' + wrong);
    return 0;
  }
  defineMetrics();
  recordBuild(true);
  liftHolds(clock.now);
  reviewMoved(clock.now);
  tellVmsNow(clock.now);
  setPeriod(root, longest());
  return 1;
}

/** What callbacks have left, and what is due on every tick. */
function actOnLeft(): void {
  answerLate();
  endLeftStreams();
  endClosedStreams();
  wakeLeft();
  wakeDelayed();
}

export function proxy_on_tick(root: u32): void {
  reset();
  beginTurn();
  const since = clock.millisecondsSince();
  const now = clock.now + since;
  liftHolds(now);
  measureDelays(now);
  // None has passed where the clock stands still, as in tests.
  if (since != 0 && since < TICK_MS - SLACK_MS) {
    actOnLeft();
    if (moves.isHurried) tellVmsNow(now, SHORT_TICK_MS - SLACK_MS);
    setPeriod(root, turns.areLeft ? SOON_MS : min(TICK_MS - <u32>since, longest()));
    return;
  }
  collectGarbage();
  readClock();
  actOnLeft();
  reviewStreams(clock.now);
  wakeForgotten();
  setPeriod(root, turns.areLeft ? SOON_MS : longest());
  flushRefusals();
  recordMetrics(drain.drainingCount);
  recordAccounts();
  askForTime(clock.now);
  askForHoldings(clock.now);
  tellVms(clock.now);
}

export function proxy_on_request_headers(context: u32, _count: u32, _last: u32): u32 {
  reset();
  const stream = findStream(context);
  return stream != null && onRequestHeaders(stream) ? Action.CONTINUE : Action.PAUSE;
}

export function proxy_on_request_body(context: u32, size: u32, last: u32): u32 {
  const stream = findStream(context);
  if (stream == null) return Action.PAUSE;
  reset();
  return onRequestBody(stream, size, last != 0) ? Action.CONTINUE : Action.PAUSE;
}

export function proxy_on_request_trailers(context: u32, _count: u32): u32 {
  reset();
  const stream = findStream(context);
  return stream != null && onRequestTrailers(stream) ? Action.CONTINUE : Action.PAUSE;
}

export function proxy_on_response_headers(context: u32, _count: u32, _last: u32): u32 {
  reset();
  const stream = findStream(context);
  return stream != null && onResponseHeaders(stream) ? Action.CONTINUE : Action.PAUSE;
}

export function proxy_on_response_body(context: u32, size: u32, last: u32): u32 {
  const stream = findStream(context);
  if (stream == null) return Action.PAUSE;
  reset();
  return onResponseBody(stream, size, last != 0) ? Action.CONTINUE : Action.PAUSE;
}

export function proxy_on_response_trailers(context: u32, _count: u32): u32 {
  reset();
  const stream = findStream(context);
  return stream != null && onResponseTrailers(stream) ? Action.CONTINUE : Action.PAUSE;
}

export function proxy_on_http_call_response(
  root: u32,
  token: u32,
  _headers: u32,
  size: u32,
  _trailers: u32,
): void {
  reset();
  beginTurn();
  if (!takeTime(root, token, size) && !takeHoldings(token, size)) onLookup(root, token, size);
  if (turns.areLeft) setPeriod(root, SOON_MS);
}

export function proxy_on_delete(context: u32): void {
  const stream = findStream(context);
  if (stream == null) {
    forgetConfig(context, clock.now);
    if (!hasVersion()) recordBuild(false);
    return;
  }
  forgetLate(stream);
  closeStream(context);
}
