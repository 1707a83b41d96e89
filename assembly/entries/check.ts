/** Entry of the check build, which judges configurations and callers for the command line with the filter's own code. Not part of the filter. */
import { alloc, reset } from '../memory/arena';
import { isOpen, nameOperation, operationCount } from '../policy/names';
import { ConfigReader } from '../tenant/config';
import { addFact, beginCaller } from '../tenant/caller';
import { FIELD_NAMES, Fact, Field } from '../tenant/facts';
import { Access, Resolver } from '../tenant/identity';
import { Json, JsonReader } from '../tenant/json';
import { writeRefusal } from '../tenant/refusal';
import * as writer from '../texts/writer';

export { alloc, reset };

let resolver: Resolver | null = null;
let text: ArrayBuffer = new ArrayBuffer(0);
/** The address of the last text, its length in bytes, the last Access, and the rule that decided, or -1. */
const result: usize = memory.data(16, 4);

function give(bytes: ArrayBuffer): usize {
  text = bytes;
  store<usize>(result, changetype<usize>(text));
  store<usize>(result, text.byteLength, 4);
  return result;
}

/** Loads a pluginConfig in place of the last one. Result: '', or the filter's error. */
export function configure(at: usize, length: usize): usize {
  const old = resolver;
  if (old != null) old.free();
  resolver = null;
  __collect();
  const reader = new ConfigReader(String.UTF8.decodeUnsafe(at, length));
  resolver = reader.error.length == 0 ? new Resolver(reader.config) : null;
  return give(String.UTF8.encode(reader.error));
}

/** What has been written with texts/writer. */
function written(): ArrayBuffer {
  const bytes = new ArrayBuffer(<i32>writer.textLength);
  memory.copy(changetype<usize>(bytes), writer.textAt, writer.textLength);
  return bytes;
}

/** Result: the name of a method or an endpoint, '' after the last, and whether the tables open it to tenants. */
export function rule(place: u32): usize {
  reset();
  writer.beginText();
  const isKnown = place < operationCount();
  if (isKnown) nameOperation(place);
  store<u32>(result, isKnown && isOpen(place) ? 1 : 0, 8);
  return give(written());
}

/** The value of a fact in an object like a rule's conditions, with values for patterns; empty if it is absent. */
function factIn(facts: Json | null, fact: Fact): ArrayBuffer {
  if (facts == null) return new ArrayBuffer(0);
  let value = facts.get(FIELD_NAMES[fact.field]);
  if (value != null && fact.field == Field.LABEL) value = value.get(fact.label);
  return value == null ? new ArrayBuffer(0) : String.UTF8.encode(value.text);
}

/**
 * Resolves a caller by the loaded configuration: JSON with `principal`, `peer` and `node`. Result: the tenant's name or the refusal, the
 * Access and the rule.
 */
export function resolve(at: usize, length: usize): usize {
  const rules = resolver;
  if (rules == null) return give(new ArrayBuffer(0));
  const caller = new JsonReader(String.UTF8.decodeUnsafe(at, length)).read();
  const stated = caller.get('principal');
  const principal = String.UTF8.encode(stated == null ? '' : stated.text);
  beginCaller(changetype<usize>(principal), principal.byteLength);
  const known = rules.config.rules;
  for (let i = 0; i < known.peer.length; i++) {
    const value = factIn(caller.get('peer'), known.peer[i]);
    addFact(changetype<usize>(value), value.byteLength);
  }
  for (let i = 0; i < known.node.length; i++) known.nodeValues[i] = factIn(caller.get('node'), known.node[i]);
  const found = rules.resolveAnew();
  store<u32>(result, found.access, 8);
  store<i32>(result, found.rule, 12);
  const tenant = found.tenant;
  if (tenant != null) return give(tenant.nameBytes);
  if (found.access == Access.SYSTEM) return give(new ArrayBuffer(0));
  writeRefusal(found);
  return give(written());
}
