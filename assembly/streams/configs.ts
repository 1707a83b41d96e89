/**
 * The configurations in force. Envoy makes a root context for each version of a plugin's configuration and keeps it as long as a stream
 * lives under it; a newer one with the same plugin name makes it a former one.
 */
import { vmBudget } from '../memory/held';
import { ConfigReader } from '../tenant/config';
import { Resolver } from '../tenant/identity';

/** One version of a plugin's configuration. */
export class Generation {
  /** What stands in its place now; null while it is the newest. */
  successor: Generation | null = null;
  /** When it was superseded, ms since 1970. */
  supersededAt: u64 = 0;
  /** 1 and up, in the order of loading. */
  serial: u32;

  constructor(
    public plugin: string,
    public resolver: Resolver,
  ) {
    this.serial = ++loaded;
  }
}

let loaded: u32 = 0;
const generations: Map<u32, Generation> = new Map();
/** Managed memory has been let go since the last collection. */
let garbage = false;

/** Takes a pluginConfig for a root context. '' or the reason why it is refused. */
export function configure(root: u32, plugin: string, text: string, now: u64): string {
  garbage = true;
  const reader = new ConfigReader(text);
  if (reader.error.length != 0) return reader.error;
  vmBudget.limit = reader.config.limits.heldBytesPerVM;
  const newest = new Generation(plugin, new Resolver(reader.config));
  const all = generations.values();
  for (let i = 0; i < all.length; i++) {
    const former = all[i];
    if (former.plugin != plugin) continue;
    if (former.supersededAt == 0) former.supersededAt = now;
    former.successor = newest;
  }
  generations.set(root, newest);
  return '';
}

/** The configuration of a root context, or null when it has none. */
export function generationOf(root: u32): Generation | null {
  return generations.has(root) ? generations.get(root) : null;
}

/** The rules of a root context, or null when it has none. */
export function resolverOf(root: u32): Resolver | null {
  const generation = generationOf(root);
  return generation == null ? null : generation.resolver;
}

/** True when some streams may run under a former configuration. */
export function hasFormer(): bool {
  return generations.size > 1;
}

/** Envoy has ended the root context, and with it the last stream under its configuration. */
export function forgetConfig(root: u32): void {
  if (!generations.has(root)) return;
  generations.get(root).resolver.free();
  generations.delete(root);
  garbage = true;
}

/** Frees what former configurations have left. Only where no caller holds a managed value: at the beginning of a callback. */
export function collectGarbage(): void {
  if (!garbage) return;
  garbage = false;
  __collect();
}
