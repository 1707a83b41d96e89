/** Entry of the check build: what the filter says of a configuration and of a caller, for the command line. Not part of the filter. */
import { alloc, reset } from './memory/arena';
import { ConfigReader } from './tenant/config';
import { beginCaller } from './tenant/caller';
import { Access, Resolver } from './tenant/identity';
import { writeRefusal } from './tenant/refusal';
import { textAt, textLength } from './texts/writer';

export { alloc, reset };

let resolver: Resolver | null = null;
let text: ArrayBuffer = new ArrayBuffer(0);
/** Where the last text lies, its length in bytes, and the last Access. */
const result: usize = memory.data(12, 4);

function give(bytes: ArrayBuffer): usize {
  text = bytes;
  store<usize>(result, changetype<usize>(text));
  store<usize>(result, text.byteLength, 4);
  return result;
}

/** Loads a pluginConfig in the place of the last one; result: '', or the line with which the filter refuses it. */
export function configure(at: usize, length: usize): usize {
  const old = resolver;
  if (old != null) old.free();
  resolver = null;
  __collect();
  const reader = new ConfigReader(String.UTF8.decodeUnsafe(at, length));
  resolver = reader.error.length == 0 ? new Resolver(reader.config) : null;
  return give(String.UTF8.encode(reader.error));
}

/** Resolves a principal by the loaded configuration; result: the tenant's name or the refusal, and the Access. */
export function resolve(at: usize, length: usize): usize {
  const rules = resolver;
  if (rules == null) return give(new ArrayBuffer(0));
  beginCaller(at, length);
  const found = rules.resolve();
  store<u32>(result, found.access, 8);
  const tenant = found.tenant;
  const isTenant = found.access == Access.TENANT && tenant != null;
  if (isTenant && tenant != null) return give(tenant.nameBytes);
  if (found.access == Access.SYSTEM) return give(new ArrayBuffer(0));
  writeRefusal(found);
  const text = new ArrayBuffer(<i32>textLength);
  memory.copy(changetype<usize>(text), textAt, textLength);
  return give(text);
}
