/**
 * Keeps the config versions that Envoy has: for each plugin name one in force, and former ones. Envoy makes a root context for each version
 * of a plugin's configuration, and keeps it while a stream lives under it. A newly loaded version replaces the one in force. Envoy can
 * also return to a former version that it still has, without a notice. Then streams begin under the former version, and no more under the
 * other (docs/decisions/0013).
 */
import { vmBudget } from '../memory/stream-buffer';
import { doubtRegions } from '../rewrite/regions';
import { ConfigReader } from '../tenant/config';
import { Resolver } from '../tenant/identity';
import { State, stateName } from '../terms/state';
import { Tenant } from '../tenant/tenant';
import { Terms } from '../terms/terms';
import * as json from '../texts/json-writer';
import { Ascii, ascii, hashBytes } from '../wire/bytes';
import { Accounts, accountsOf } from './accounts';

const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
const QUESTION_MARK: u8 = 0x3f;

/** A version without a new stream for this long is no longer in force, if streams begin then under another. Twice the tick. */
const SILENCE_MS: u64 = 2000;

/** One version of a plugin's configuration. */
export class ConfigVersion {
  /** The version in force in its place; null while this one is in force. */
  successor: ConfigVersion | null = null;
  /** When it was superseded, and when it came into force last, ms since 1970. */
  supersededAt: u64 = 0;
  inForceAt: u64 = 0;
  /** When a stream last began under this version while there were former ones, ms since 1970; and its place in the order of uses. */
  usedAt: u64 = 0;
  lastUse: u64 = 0;
  /** The last use of all when it came into force. */
  usesBefore: u64 = 0;
  /** Numbers versions from 1 in the order in which they came into force. */
  serial: u32 = 0;
  /** A hash of its text, the same in all VMs, and when it was loaded, ms since 1970. */
  hash: u32 = 0;
  loadedAt: u64 = 0;

  private accounts: Accounts;
  /** The plugin's name for JSON: ASCII, with ? in the place of what would need an escape. */
  pluginBytes: ArrayBuffer;

  constructor(
    public root: u32,
    public plugin: string,
    public resolver: Resolver,
  ) {
    this.accounts = accountsOf(plugin);
    this.pluginBytes = printable(plugin);
  }

  /** Gives the terms of one of its tenants their account. */
  openAccount(terms: Terms): void {
    const successor = this.successor;
    const inForce = successor == null ? this : successor;
    this.accounts.open(terms, inForce.resolver.config);
  }

  /** True when there is something to tell of moves. */
  get tellsMoves(): bool {
    return this.resolver.config.hasMoves || this.accounts.contradicts;
  }

  /** Makes its states those that count. */
  useStates(): void {
    this.accounts.useConfig(this.resolver.config);
  }

  /**
   * True when streams begin under this version, and no more under its successor. Envoy loads a configuration a moment before it begins
   * streams under it. So as long as none has begun under the successor, only one counts that began well after it came into force.
   */
  isBack(now: u64): bool {
    const successor = this.successor;
    if (successor == null || this.lastUse <= successor.lastUse) return false;
    const isUsed = successor.lastUse > successor.usesBefore;
    if (!isUsed && this.usedAt < successor.inForceAt + SILENCE_MS) return false;
    return now >= successor.usedAt + SILENCE_MS;
  }
}

function printable(text: string): ArrayBuffer {
  const bytes = String.UTF8.encode(text);
  for (let i = 0; i < bytes.byteLength; i++) {
    const at = changetype<usize>(bytes) + <usize>i;
    const c = load<u8>(at);
    if (c < 0x20 || c > 0x7e || c == QUOTE || c == BACKSLASH) store<u8>(at, QUESTION_MARK);
  }
  return bytes;
}

let serials: u32 = 0;
let uses: u64 = 0;
/** All versions in the order of loading. */
const versions: ConfigVersion[] = [];
/** True when managed memory was released since the last collection. */
let garbage = false;

/** Loads a pluginConfig for a root context. Returns '' or the reason for its refusal. */
export function configure(root: u32, plugin: string, text: string, now: u64): string {
  garbage = true;
  const reader = new ConfigReader(text);
  if (reader.error.length != 0) return reader.error;
  const version = new ConfigVersion(root, plugin, new Resolver(reader.config));
  const bytes = String.UTF8.encode(text);
  version.hash = hashBytes(changetype<usize>(bytes), bytes.byteLength);
  version.loadedAt = now;
  const place = placeOf(root);
  if (place < 0) versions.push(version);
  else versions[place] = version;
  doubtRegions();
  putInForce(version, now);
  return '';
}

/** Puts a version in force, and makes all others of its plugin former ones. */
function putInForce(version: ConfigVersion, now: u64): void {
  for (let i = 0; i < versions.length; i++) {
    const former = versions[i];
    if (former == version || former.plugin != version.plugin) continue;
    if (former.successor == null) former.supersededAt = now;
    former.successor = version;
  }
  version.successor = null;
  version.inForceAt = now;
  version.usesBefore = uses;
  version.serial = ++serials;
  version.useStates();
  vmBudget.limit = version.resolver.config.limits.heldBytesPerVM;
}

/** The version that a new stream runs under; null when the root context has none. */
export function beginUnder(root: u32, now: u64): ConfigVersion | null {
  const version = versionOf(root);
  if (version != null && hasFormer()) {
    version.usedAt = now;
    version.lastUse = ++uses;
  }
  return version;
}

/** Puts former versions in force to which Envoy has returned. Called on the tick. */
export function reviewConfigs(now: u64): void {
  for (let i = 0; i < versions.length; i++) if (versions[i].isBack(now)) putInForce(versions[i], now);
}

/** Index of a root context's version in the list, or -1. The one in force is mostly the last. */
function placeOf(root: u32): i32 {
  let place = versions.length - 1;
  while (place >= 0 && unchecked(versions[place]).root != root) place--;
  return place;
}

/** The version of a root context; null when it has none. */
export function versionOf(root: u32): ConfigVersion | null {
  const place = placeOf(root);
  return place < 0 ? null : unchecked(versions[place]);
}

/** The caller rules of a root context; null when it has none. */
export function resolverOf(root: u32): Resolver | null {
  const version = versionOf(root);
  return version == null ? null : version.resolver;
}

/** True while Envoy has a version. */
export function hasVersion(): bool {
  return versions.length > 0;
}

/** True when a tenant has a rate under some version. */
export function hasRates(): bool {
  for (let i = 0; i < versions.length; i++) if (unchecked(versions[i]).resolver.config.hasRates) return true;
  return false;
}

/** True when some streams may run under a former version. */
export function hasFormer(): bool {
  return versions.length > 1;
}

/** Forgets the version of a root context that Envoy has ended, and with it the last stream under that version. */
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

/** The version of the plugin under which a stream began last; null when there is none. */
function lastUsed(plugin: string): ConfigVersion | null {
  let last: ConfigVersion | null = null;
  for (let i = 0; i < versions.length; i++) {
    const version = versions[i];
    if (version.plugin == plugin && (last == null || version.lastUse >= last.lastUse)) last = version;
  }
  return last;
}

/** Frees what former versions have left. Call it only at the beginning of a callback, where no caller holds a managed value. */
export function collectGarbage(): void {
  if (!garbage) return;
  garbage = false;
  __collect();
}

/** Notes that managed memory was released elsewhere. */
export function noteGarbage(): void {
  garbage = true;
}

const PLUGIN: Ascii = ascii('plugin');
const HASH: Ascii = ascii('hash');
const SERIAL: Ascii = ascii('serial');
const LOADED: Ascii = ascii('loadedAt');
const TENANTS: Ascii = ascii('tenants');
const STATES: Ascii = ascii('states');

/** Calls `visit` for every configuration in force. */
export function eachInForce(visit: (version: ConfigVersion) => void): void {
  for (let i = 0; i < versions.length; i++) {
    const version = versions[i];
    if (version.successor == null) visit(version);
  }
}

/** Calls `visit` for every tenant of the configurations in force that has moves. */
export function eachTenantInForce(visit: (tenant: Tenant) => void): void {
  for (let i = 0; i < versions.length; i++) {
    const version = versions[i];
    if (version.successor != null || !version.tellsMoves) continue;
    const tenants = version.resolver.config.tenants;
    for (let t = 0; t < tenants.length; t++) visit(tenants[t]);
  }
}

/** Writes the configurations in force with texts/json-writer: a list of objects. */
export function writeConfigs(): void {
  json.openList();
  for (let i = 0; i < versions.length; i++) {
    const version = versions[i];
    if (version.successor == null) writeConfig(version);
  }
  json.closeList();
}

function writeConfig(version: ConfigVersion): void {
  json.openObject();
  json.addMember(PLUGIN);
  json.addText(changetype<usize>(version.pluginBytes), version.pluginBytes.byteLength);
  json.addMember(HASH);
  json.addNumber(version.hash);
  json.addMember(SERIAL);
  json.addNumber(version.serial);
  json.addMember(LOADED);
  json.addNumber(version.loadedAt);
  json.addMember(TENANTS);
  const tenants = version.resolver.config.tenants;
  json.addNumber(tenants.length);
  json.addMember(STATES);
  json.openObject();
  for (let i = 0; i < tenants.length; i++) writeState(unchecked(tenants[i]).terms);
  json.closeObject();
  json.closeObject();
}

/** Writes the state of a tenant, if it is not active. */
function writeState(terms: Terms): void {
  const state = terms.account.stateIn(terms.state);
  if (state == State.ACTIVE) return;
  json.addName(terms.nameAt, terms.nameLength);
  json.addAscii(stateName(state));
}

/** The sum of the hashes of the configurations in force, one for each plugin; and when the newest of them was loaded, ms since 1970. */
export let hashInForce: u32 = 0;
export let newestLoad: u64 = 0;

export function readInForce(): void {
  hashInForce = 0;
  newestLoad = 0;
  for (let i = 0; i < versions.length; i++) {
    const version = versions[i];
    if (version.successor != null) continue;
    hashInForce += version.hash;
    newestLoad = max(newestLoad, version.loadedAt);
  }
}
