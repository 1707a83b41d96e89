/** Makes every call to Envoy: all proxy-wasm imports are used here only. Results lie in the arena and live until the callback ends. */
import {
  proxy_add_header_map_value,
  proxy_close_stream,
  proxy_continue_stream,
  proxy_define_metric,
  proxy_get_buffer_bytes,
  proxy_get_current_time_nanoseconds,
  proxy_get_header_map_pairs,
  proxy_get_property,
  proxy_get_shared_data,
  proxy_http_call,
  proxy_increment_metric,
  proxy_log,
  proxy_record_metric,
  proxy_remove_header_map_value,
  proxy_replace_header_map_value,
  proxy_send_local_response,
  proxy_set_buffer_bytes,
  proxy_set_effective_context,
  proxy_set_property,
  proxy_set_shared_data,
} from '@gcoredev/proxy-wasm-sdk-as/assembly/imports';
import { Buffer, HeaderMap, LogLevel, MetricType } from './abi';
import { random_get } from './random';
import { alloc } from '../memory/arena';
import { Ascii, ascii } from '../wire/bytes';

/** Where the host writes the pointer and the size of its answer. */
const answer: usize = memory.data(16, 8);

/** The answer of the last call; 0 bytes when there was none. */
export let resultAt: usize = 0;
export let resultLength: usize = 0;

function take(status: u32): bool {
  resultAt = load<usize>(answer);
  resultLength = status == 0 ? load<usize>(answer, 4) : 0;
  return status == 0;
}

function clear(): void {
  store<u64>(answer, 0);
}

/** Copies bytes of a body or of the configuration out of Envoy. */
export function readBuffer(type: Buffer, length: u32): bool {
  clear();
  return take(proxy_get_buffer_bytes(type, 0, length, answer, answer + 4));
}

/** Replaces the first `oldLength` bytes of a body. */
export function replaceBuffer(type: Buffer, oldLength: u32, at: usize, length: usize): void {
  // The SDK declares pointers to a pointer. The ABI takes the bytes themselves.
  proxy_set_buffer_bytes(type, 0, oldLength, at, length);
}

/** Appends bytes to a body. */
export function appendToBuffer(type: Buffer, at: usize, length: usize): void {
  proxy_set_buffer_bytes(type, u32.MAX_VALUE, 0, at, length);
}

/** Reads all headers in one call: count:u32 | (name length:u32 value length:u32) x count | (name 0 value 0) x count */
export function readHeaders(map: HeaderMap): bool {
  clear();
  return take(proxy_get_header_map_pairs(map, answer, answer + 4));
}

export function removeHeader(map: HeaderMap, name: usize, length: usize): void {
  proxy_remove_header_map_value(map, name, length);
}

export function replaceHeader(map: HeaderMap, name: Ascii, value: usize, length: usize): void {
  proxy_replace_header_map_value(map, changetype<usize>(name), name.length, value, length);
}

export function addHeader(map: HeaderMap, name: Ascii, value: usize, length: usize): void {
  proxy_add_header_map_value(map, changetype<usize>(name), name.length, value, length);
}

/** Path of the URI in the caller's certificate. */
export const PRINCIPAL: Ascii = ascii('connection\0uri_san_peer_certificate');
/** Path of the name of the plugin that the current root context belongs to. */
export const PLUGIN_NAME: Ascii = ascii('plugin_name');

/** Reads a property by its path, parts joined with \0. */
export function readProperty(path: Ascii): bool {
  clear();
  return take(proxy_get_property(changetype<usize>(path), path.length, answer, answer + 4));
}

/** Sets a property of this stream. Other filters and access logs can read it as the filter state `wasm.<name>`. */
export function writeProperty(name: Ascii, value: usize, length: usize): void {
  proxy_set_property(changetype<usize>(name), name.length, value, length);
}

/**
 * Ends the stream. Sends a gRPC status when `grpc` is not -1, else the HTTP status with the text as its body. Resets the stream when the
 * answer's headers have gone on. `details` is for access logs.
 */
export function sendReply(
  code: u32,
  grpc: i32,
  text: usize,
  length: usize,
  details: usize,
  detailsLength: usize,
): void {
  proxy_send_local_response(code, details, detailsLength, text, length, 0, 0, <u32>grpc);
}

export function log(level: LogLevel, text: string): void {
  const bytes = String.UTF8.encode(text);
  proxy_log(level, changetype<usize>(bytes), bytes.byteLength);
}

/** Writes a line to Envoy's log: ASCII bytes. */
export function logBytes(level: LogLevel, at: usize, length: usize): void {
  proxy_log(level, at, length);
}

/** Returns 48 random bits, never 0. */
export function randomLease(): u64 {
  random_get(answer, 8);
  return (load<u64>(answer) & 0x0000ffffffffffff) | 1;
}

/** Nanoseconds since 1970. */
export function currentTime(): u64 {
  store<u64>(answer, 0);
  proxy_get_current_time_nanoseconds(answer);
  return load<u64>(answer);
}

/** A mark that no value has: an absent value is written whatever the mark is, and one that another VM has made meanwhile is not. */
const ABSENT: u32 = u32.MAX_VALUE;

/** The mark of the value that `readShared` read, or ABSENT: `writeShared` with it fails if the value has changed since. */
export let sharedCas: u32 = ABSENT;

/** Reads a value that all VMs of this Envoy share. */
export function readShared(key: usize, keyLength: usize): bool {
  clear();
  store<u32>(answer, 0, 8);
  const status = proxy_get_shared_data(key, keyLength, answer, answer + 4, answer + 8);
  sharedCas = status == 0 ? load<u32>(answer, 8) : ABSENT;
  return take(status);
}

/** Writes such a value. With `cas` 0 always; otherwise false if it has changed. */
export function writeShared(key: usize, keyLength: usize, value: usize, length: usize, cas: u32): bool {
  return proxy_set_shared_data(key, keyLength, value, length, cas) == 0;
}

/** Makes the next calls act for another context: a stream, or the root, which outlives streams. */
export function actAs(context: u32): void {
  proxy_set_effective_context(context);
}

/** Continues a request that was paused in its body callback. Acts for the context set by `actAs`. */
export function continueRequest(): void {
  proxy_continue_stream(0);
}

/** Resets the stream of the context set by `actAs`. */
export function endStream(): void {
  proxy_close_stream(0);
}

function writePair(at: usize, i: u32, to: usize, name: Ascii, value: usize, length: usize): usize {
  store<u32>(at + 4 + ((<usize>i) << 3), name.length);
  store<u32>(at + 8 + ((<usize>i) << 3), <u32>length);
  memory.copy(to, changetype<usize>(name), name.length);
  to += name.length;
  store<u8>(to++, 0);
  memory.copy(to, value, length);
  to += length;
  store<u8>(to++, 0);
  return to;
}

/** Sends a GET to a cluster of Envoy. Returns the token of its answer; 0 when there is no such cluster. */
export function httpGet(
  cluster: ArrayBuffer,
  authority: ArrayBuffer,
  path: usize,
  pathLength: usize,
  timeoutMs: u32,
): u32 {
  return httpCall(cluster, authority, GET, path, pathLength, 0, 0, timeoutMs);
}

/** The same for a POST with a body. */
export function httpPost(
  cluster: ArrayBuffer,
  authority: ArrayBuffer,
  path: Ascii,
  body: usize,
  bodyLength: usize,
  timeoutMs: u32,
): u32 {
  const at = changetype<usize>(path);
  return httpCall(cluster, authority, POST, at, path.length, body, bodyLength, timeoutMs);
}

function httpCall(
  cluster: ArrayBuffer,
  authority: ArrayBuffer,
  method: Ascii,
  path: usize,
  pathLength: usize,
  body: usize,
  bodyLength: usize,
  timeoutMs: u32,
): u32 {
  const pairs = alloc(256 + <usize>authority.byteLength + pathLength);
  store<u32>(pairs, 3);
  let to = writePair(pairs, 0, pairs + 28, METHOD, changetype<usize>(method), method.length);
  to = writePair(pairs, 1, to, PATH, path, pathLength);
  to = writePair(pairs, 2, to, AUTHORITY, changetype<usize>(authority), authority.byteLength);
  store<u32>(answer, 0);
  const status = proxy_http_call(
    changetype<usize>(cluster),
    cluster.byteLength,
    pairs,
    to - pairs,
    body,
    bodyLength,
    0,
    0,
    timeoutMs,
    answer,
  );
  return status == 0 ? load<u32>(answer) : 0;
}

const METHOD: Ascii = ascii(':method');
const GET: Ascii = ascii('GET');
const POST: Ascii = ascii('POST');
const PATH: Ascii = ascii(':path');
const AUTHORITY: Ascii = ascii(':authority');

export function defineMetric(type: MetricType, name: string): u32 {
  const bytes = String.UTF8.encode(name);
  return defineMetricAt(type, changetype<usize>(bytes), bytes.byteLength);
}

/** The same for a name of ASCII bytes. */
export function defineMetricAt(type: MetricType, name: usize, length: usize): u32 {
  proxy_define_metric(type, name, length, answer);
  return load<u32>(answer);
}

export function increment(metric: u32): void {
  proxy_increment_metric(metric, 1);
}

/** Sets a gauge, for all VMs together. */
export function record(metric: u32, value: u64): void {
  proxy_record_metric(metric, value);
}

/** Adds to a counter, or changes a gauge by a signed amount. */
export function add(metric: u32, amount: i64): void {
  proxy_increment_metric(metric, amount);
}
