/**
 * The configurations that Envoy has: one in force for each plugin name, and former ones. Envoy makes a root context for each version of a
 * plugin's configuration and keeps it as long as a stream lives under it. One that is loaded takes the place of the one in force. When a
 * former one comes back that Envoy still has, nobody tells: streams begin under it, and under the other no more (docs/decisions/0013).
 */
import { vmBudget } from '../memory/stream-buffer';
import { doubtRegions } from '../rewrite/regions';
import { ConfigReader } from '../tenant/config';
import { Resolver } from '../tenant/identity';

/** After so long without a stream a configuration is not in force any more, if streams begin under another. Twice the tick. */
const SILENCE_MS: u64 = 2000;

/** One version of a plugin's configuration. */
export class ConfigVersion {
  /** What is in force in its place; null while it is itself. */
  successor: ConfigVersion | null = null;
  /** When it was superseded, ms since 1970. */
  supersededAt: u64 = 0;
  /** When a stream last began under it while there were former ones, ms since 1970; and in which order. */
  usedAt: u64 = 0;
  lastUse: u64 = 0;
  /** 1 and up, in the order of coming into force. */
  serial: u32 = 0;

  constructor(
    public root: u32,
    public plugin: string,
    public resolver: Resolver,
  ) {}

  /**
   * True when streams begin under it and no more under what took its place. Envoy loads a configuration a moment before it is in force:
   * what begins in that moment, before the clock moves, says nothing.
   */
  isBack(now: u64): bool {
    const successor = this.successor;
    return (
      successor != null &&
      this.lastUse > successor.lastUse &&
      this.usedAt > this.supersededAt &&
      now >= successor.usedAt + SILENCE_MS
    );
  }
}

let serials: u32 = 0;
let uses: u64 = 0;
/** In the order of loading. */
const versions: ConfigVersion[] = [];
/** Managed memory has been let go since the last collection. */
let garbage = false;

/** Takes a pluginConfig for a root context. '' or the reason why it is refused. */
export function configure(root: u32, plugin: string, text: string, now: u64): string {
  garbage = true;
  const reader = new ConfigReader(text);
  if (reader.error.length != 0) return reader.error;
  const version = new ConfigVersion(root, plugin, new Resolver(reader.config));
  const place = placeOf(root);
  if (place < 0) versions.push(version);
  else versions[place] = version;
  doubtRegions();
  putInForce(version, now);
  return '';
}

/** All others of its plugin are former ones from now on. */
function putInForce(version: ConfigVersion, now: u64): void {
  for (let i = 0; i < versions.length; i++) {
    const former = versions[i];
    if (former == version || former.plugin != version.plugin) continue;
    if (former.successor == null) former.supersededAt = now;
    former.successor = version;
  }
  version.successor = null;
  version.serial = ++serials;
  vmBudget.limit = version.resolver.config.limits.heldBytesPerVM;
}

/** The configuration that a stream begins under, or null when the root context has none. */
export function beginUnder(root: u32, now: u64): ConfigVersion | null {
  const version = versionOf(root);
  if (version != null && hasFormer()) {
    version.usedAt = now;
    version.lastUse = ++uses;
  }
  return version;
}

/** Puts former configurations in force that have come back. Called on the tick. */
export function reviewConfigs(now: u64): void {
  for (let i = 0; i < versions.length; i++) if (versions[i].isBack(now)) putInForce(versions[i], now);
}

/** Where the configuration of a root context is in the list, or -1; that in force is mostly the last. */
function placeOf(root: u32): i32 {
  let place = versions.length - 1;
  while (place >= 0 && unchecked(versions[place]).root != root) place--;
  return place;
}

/** The configuration of a root context, or null when it has none. */
export function versionOf(root: u32): ConfigVersion | null {
  const place = placeOf(root);
  return place < 0 ? null : unchecked(versions[place]);
}

/** The rules of a root context, or null when it has none. */
export function resolverOf(root: u32): Resolver | null {
  const version = versionOf(root);
  return version == null ? null : version.resolver;
}

/** True when some streams may run under a former configuration. */
export function hasFormer(): bool {
  return versions.length > 1;
}

/** Envoy has ended the root context, and with it the last stream under its configuration. */
export function forgetConfig(root: u32, now: u64): void {
  const place = placeOf(root);
  if (place < 0) return;
  garbage = true;
  const gone = versions[place];
  versions.splice(place, 1);
  if (gone.successor == null) {
    const heir = lastUsed(gone.plugin);
    if (heir != null) putInForce(heir, now);
  }
  gone.resolver.free();
}

/** That of the plugin's configurations under which a stream began last, or null when there is none. */
function lastUsed(plugin: string): ConfigVersion | null {
  let last: ConfigVersion | null = null;
  for (let i = 0; i < versions.length; i++) {
    const version = versions[i];
    if (version.plugin == plugin && (last == null || version.lastUse >= last.lastUse)) last = version;
  }
  return last;
}

/** Frees what former configurations have left. Only where no caller holds a managed value: at the beginning of a callback. */
export function collectGarbage(): void {
  if (!garbage) return;
  garbage = false;
  __collect();
}
