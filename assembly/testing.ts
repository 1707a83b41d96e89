/** Entry of the test build: the pure parts of the filter without Envoy. Not part of the product. */
import { useNamespace } from './keys/namespace';
import * as table from './keys/table';
import { isPlainText } from './keys/text';
import { alloc, reset } from './memory/arena';
import { Budget, Held, release, vmBudget } from './memory/held';
import { classify } from './policy/classify';
import {
  becauseAt,
  becauseLength,
  decision,
  findMethod,
  requestMessage,
  responseMessage,
} from './policy/methods';
import { Exchange, clearExchange, countExchange } from './rewrite/exchange';
import { feed, outputAt, outputChanged, outputLength } from './rewrite/frames';
import { jsonAt, jsonLength, rewriteRegions } from './rewrite/json-regions';
import { applyPatches, patchCount } from './rewrite/patches';
import { queryAt, queryLength, rewriteQuery } from './rewrite/query';
import { failedField, failedMessage, newLength, rewrite, touched, useExchange } from './rewrite/walker';
import { Status } from './wire/status';
import { ConfigReader } from './tenant/config';
import { Access, Resolver } from './tenant/identity';

export { alloc, reset };

const exchange = new Exchange();
const budget = new Budget();
const held = new Held();
const result: usize = memory.data(32, 8);

function give(at: usize, length: usize): usize {
  store<usize>(result, at);
  store<usize>(result, length, 4);
  return result;
}

/** Selects a tenant; `prefix` is its prefix in etcd and must outlive the test. */
export function select(number: u32, prefix: usize, prefixLength: usize, lease: u64): void {
  const copy = heap.alloc(prefixLength);
  memory.copy(copy, prefix, prefixLength);
  table.useTenant(number);
  useNamespace(copy, prefixLength, number);
  useExchange(exchange, lease);
}

export function newStream(vmLimit: u32, tenantLimit: u32): void {
  clearExchange(exchange);
  countExchange(exchange, budget);
  release(held, budget);
  vmBudget.limit = vmLimit;
  budget.limit = tenantLimit;
}

export function heldBytes(): u32 {
  return <u32>vmBudget.used;
}

export function pending(): u32 {
  return exchange.count;
}

/** Rewrites one message; result: at, length, status, message and field of a failure. */
export function message(type: u32, at: usize, length: usize, way: u32): usize {
  const status = rewrite(type, at, length, way);
  store<u32>(result, status, 8);
  store<u32>(result, failedMessage, 12);
  store<u32>(result, failedField, 16);
  store<u32>(result, touched ? 1 : 0, 20);
  if (status != 0) return give(0, 0);
  if (patchCount == 0) return give(at, length);
  const out = alloc(newLength);
  applyPatches(at, length, out);
  return give(out, newLength);
}

/** Feeds a piece of a body; result: at, length, status, changed. */
export function body(type: u32, at: usize, length: usize, way: u32, limit: u32): usize {
  let status = feed(held, budget, type, way, at, length, limit);
  if (!countExchange(exchange, budget) && status == Status.OK) status = Status.HELD_TOO_MUCH;
  store<u32>(result, status, 8);
  store<u32>(result, outputChanged ? 1 : 0, 12);
  return status == 0 ? give(outputAt, outputLength) : give(0, 0);
}

export function method(at: usize, length: usize): usize {
  if (!findMethod(at, length)) return 0;
  store<u32>(result, decision, 8);
  store<u32>(result, requestMessage, 12);
  store<u32>(result, responseMessage, 16);
  return give(becauseAt, becauseLength);
}

/** One mapping of the table codec: 0 encodeKey, 1 encodeLower, 2 encodeUpper, 3 decodeKey, 4 decodeStart, 5 decodeEnd, 6.. encoded forms. */
export function map(kind: u32, at: usize, length: usize): usize {
  let mapped: u32 = table.Mapped.BROKEN;
  switch (kind) {
    case 0:
      mapped = table.encodeKey(at, length);
      break;
    case 1:
      mapped = table.encodeLower(at, length);
      break;
    case 2:
      mapped = table.encodeUpper(at, length);
      break;
    case 3:
      mapped = table.decodeKey(at, length);
      break;
    case 4:
      mapped = table.decodeStart(at, length);
      break;
    case 5:
      mapped = table.decodeEnd(at, length);
      break;
    case 6:
    case 7:
    case 8:
      mapped = table.encodeEncoded(at, length, kind - 6);
      break;
    case 9:
    case 10:
    case 11:
      mapped = table.decodeEncoded(at, length, kind - 9);
  }
  store<u32>(result, mapped, 8);
  return mapped == table.Mapped.REPLACED ? give(table.mappedAt, table.mappedLength) : give(at, length);
}

export function plainText(at: usize, length: usize): bool {
  return isPlainText(at, length);
}

export function requestKind(
  m: usize,
  mLength: usize,
  p: usize,
  pLength: usize,
  c: usize,
  cLength: usize,
): u32 {
  return classify(m, mLength, p, pLength, c, cLength);
}

export function regions(at: usize, length: usize): usize {
  store<u32>(result, rewriteRegions(at, length), 8);
  return give(jsonAt, jsonLength);
}

const START: StaticArray<u8> = [0x6b, 0x65, 0x79];
const END: StaticArray<u8> = [0x65, 0x6e, 0x64, 0x5f, 0x6b, 0x65, 0x79];

/** A query with the range `key`, `end_key`. */
export function query(at: usize, length: usize, hex: bool): usize {
  store<u32>(result, rewriteQuery(at, length, START, END, hex), 8);
  return give(queryAt, queryLength);
}

let resolver: Resolver | null = null;
let text: ArrayBuffer = new ArrayBuffer(0);

function giveText(value: string): usize {
  text = String.UTF8.encode(value);
  return give(changetype<usize>(text), text.byteLength);
}

/** Loads a pluginConfig; result: the error's text. */
export function config(at: usize, length: usize): usize {
  const reader = new ConfigReader(String.UTF8.decodeUnsafe(at, length));
  resolver = reader.error.length == 0 ? new Resolver(reader.config) : null;
  return giveText(reader.error);
}

/** Resolves a principal; result: access and the tenant's name or the refusal. */
export function identity(at: usize, length: usize): usize {
  const rules = resolver;
  if (rules == null) return 0;
  const found = rules.resolve(at, length);
  store<u32>(result, found.access, 8);
  const tenant = found.tenant;
  if (found.access == Access.TENANT && tenant != null) return giveText(tenant.name);
  return give(changetype<usize>(found.refusal), found.refusal.byteLength);
}
