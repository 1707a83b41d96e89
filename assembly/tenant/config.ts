/** Reads the pluginConfig: tenants, caller rules, limits. Ambiguity is rejected at load. */
import {
  MAX_KEYSPACE,
  Mode,
  Space,
  tenantZeroSpace,
  keyspaceSpace,
  prefixSpace,
  tableSpace,
} from '../keys/space';
import { MAX_TENANT, MIN_TENANT } from '../keys/table';
import { PHASE_NAMES, MovePhase, hasDeadline } from '../terms/move';
import { clockOf } from '../terms/pd-clock';
import { LOGICAL_BITS, Terms } from '../terms/terms';
import { FieldReader } from './field-reader';
import { Json, JsonReader, JsonType } from './json';
import { cannotShare } from './key-spaces';
import { isTenantName } from './pattern';
import { PolicyReader } from './policy';
import { Rules, RulesReader } from './rules';
import { State } from '../terms/state';
import { Tenant } from './tenant';
import { TextIndex } from './text-index';

export { Tenant } from './tenant';

export class Limits {
  maxMessageBytes: u32 = 64 * 1024 * 1024;
  heldBytesPerVM: u32 = 256 * 1024 * 1024;
  heldBytesPerTenant: u32 = 128 * 1024 * 1024;
  /** How far beyond the clock a timestamp in a request may lie. */
  maxTsDriftSeconds: u32 = 30;
  /** How far back a tenant may hold the store's GC, and for how long without renewing it. */
  maxHoldBackSeconds: u32 = 24 * 3600;
  /** The longest etcd lease that is granted. A longer one gets this. */
  maxEtcdLeaseSeconds: u32 = 24 * 3600;
  /** How long a stream may go on whose caller the new config version maps differently. */
  drainTimeoutSeconds: u32 = 30;
  /** How many streams one tenant may have open in one VM. */
  maxStreamsPerTenant: u32 = u32.MAX_VALUE;
  /** How many requests and bytes one tenant may send a second; 0: no limit. */
  requestsPerSecondPerTenant: u32 = 0;
  bytesPerSecondPerTenant: u32 = 0;
  pdRequestsPerSecondPerTenant: u32 = 0;
  /** How many watches, keys and leases one tenant may have in etcd, how many resource groups, and records of PD; 0: no limit. */
  etcdWatchesPerTenant: u32 = 0;
  etcdKeysPerTenant: u32 = 0;
  etcdLeasesPerTenant: u32 = 0;
  resourceGroupsPerTenant: u32 = 0;
  pdRecordsPerTenant: u32 = 0;
}

export class Config {
  tenants: Tenant[] = [];
  rules: Rules = new Rules();
  limits: Limits = new Limits();
  /** UTF-8: the Envoy cluster of PD's HTTP API, and the authority for requests. Empty: PD cannot be asked. */
  pdCluster: ArrayBuffer = new ArrayBuffer(0);
  pdAuthority: ArrayBuffer = new ArrayBuffer(0);
  /** True when a tenant moves. */
  hasMoves: bool = false;
  /** How many tenants, the first of the list, have series of their own among the metrics. */
  maxSeries: u32 = 1000;
  /** True when the latency of tenants' requests is measured. */
  measuresLatency: bool = false;
  /** True when a tenant has a limit of requests or bytes per second. */
  hasRates: bool = false;
  /** True when a tenant has a limit of what PD keeps of it. */
  hasHoldings: bool = false;
  names: TextIndex = new TextIndex();
  private byNumber: Map<u32, Tenant> = new Map();

  /** The index in `tenants` of the one with this name of `length` bytes, or -1. */
  placeOf(name: usize, length: usize): i32 {
    return this.names.find(name, length);
  }

  tenantOf(number: u32): Tenant | null {
    return this.byNumber.has(number) ? this.byNumber.get(number) : null;
  }

  add(tenant: Tenant): void {
    tenant.place = this.tenants.length;
    this.tenants.push(tenant);
    this.names.add(tenant.nameBytes, tenant.place);
    this.byNumber.set(tenant.terms.number, tenant);
  }

  /** Frees unmanaged memory. No stream may use the configuration any more. */
  free(): void {
    for (let i = 0; i < this.tenants.length; i++) this.tenants[i].free();
    this.tenants = [];
    this.rules.free();
  }
}

/** `$schema` is for editors; the filter ignores it. */
const ROOT_FIELDS: string[] = [
  'tenants',
  'rules',
  'requirePrincipal',
  'limits',
  'pd',
  'policy',
  'dryRun',
  'observability',
  '$schema',
];
const TENANT_FIELDS: string[] = [
  'name',
  'number',
  'state',
  'keyspace',
  'prefix',
  'ownDefaultGroup',
  'limits',
  'keyNumber',
  'epochOffset',
  'confVerOffset',
  'clusterId',
  'latestSeen',
  'servedBy',
  'readableSince',
  'move',
];
const TENANT_LIMIT_FIELDS: string[] = [
  'maxStreams',
  'requestsPerSecond',
  'bytesPerSecond',
  'pdRequestsPerSecond',
  'etcdWatches',
  'etcdKeys',
  'etcdLeases',
  'resourceGroups',
  'pdRecords',
];
/** In the order of State. */
const STATES: string[] = ['active', 'read-only', 'suspended'];
/** What a tenant from another storage layer has. */
const ELSEWHERE_FIELDS: string[] = ['confVerOffset', 'clusterId', 'latestSeen'];
/** In front of the paths of calls that go on to another storage layer. No method and no endpoint of PD begins so. */
const AWAY_PATH: string = '/.tidb-mesh/';
const CLUSTER_FIELDS: string[] = ['seen', 'own'];
const MOVE_FIELDS: string[] = ['serial', 'phase', 'until'];
const KEYSPACE_FIELDS: string[] = ['id', 'mode'];
const PREFIX_FIELDS: string[] = ['text', 'hex', 'mode', 'ttl'];
const LIMIT_FIELDS: string[] = [
  'maxMessageBytes',
  'heldBytesPerVM',
  'heldBytesPerTenant',
  'maxTsDriftSeconds',
  'drainTimeoutSeconds',
  'maxHoldBackSeconds',
  'maxEtcdLeaseSeconds',
  'maxStreamsPerTenant',
  'requestsPerSecondPerTenant',
  'bytesPerSecondPerTenant',
  'pdRequestsPerSecondPerTenant',
  'etcdWatchesPerTenant',
  'etcdKeysPerTenant',
  'etcdLeasesPerTenant',
  'resourceGroupsPerTenant',
  'pdRecordsPerTenant',
];
const OBSERVABILITY_FIELDS: string[] = ['maxTenants', 'latency'];
const PD_FIELDS: string[] = ['cluster', 'authority'];

/** Smallest and largest value of a limit in bytes. */
const MIN_LIMIT: u32 = 1024;
const MAX_LIMIT: u32 = 1024 * 1024 * 1024;
const MAX_DRIFT: u32 = 365 * 24 * 3600;
const MAX_STREAMS: u32 = 1_000_000;
const MAX_COUNT: u32 = 1_000_000;
const MAX_EPOCH_OFFSET: u32 = 0x80000000;
/** The largest whole number that JSON holds exactly. */
const MAX_WHOLE: f64 = 9007199254740991;
/** Decimal digits that never overflow 64 bits. */
const MAX_DIGITS: i32 = 19;
const MAX_REQUEST_RATE: u32 = 1_000_000;
const MAX_BYTE_RATE: u32 = 4_000_000_000;
const MAX_DRAIN: u32 = 24 * 3600;
/** Every key grows by the prefix, and TiKV limits keys (storage.max-key-size). */
const MAX_PREFIX_BYTES: usize = 128;

const DEFAULT_AUTHORITY: string = 'pd';

/** The value of a hex digit, or -1. */
function hexDigit(c: i32): i32 {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** The number in a text of decimal digits; 0 if it is none, or could be too large. */
function bigOf(text: string): u64 {
  if (text.length > MAX_DIGITS) return 0;
  let value: u64 = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return 0;
    value = value * 10 + <u64>digit;
  }
  return value;
}

/** Reads a pluginConfig; `error` is '' or one line that names the field and the reason. */
export class ConfigReader extends FieldReader {
  config: Config = new Config();

  constructor(text: string) {
    super();
    const reader = new JsonReader(text);
    const json = reader.read();
    if (reader.error.length != 0) this.error = reader.error;
    else this.root(json);
    if (this.error.length != 0) this.config.free();
  }

  private root(json: Json): void {
    this.known(json, 'pluginConfig', ROOT_FIELDS);
    this.text(json, '$schema', 'pluginConfig');
    if (this.error.length != 0) return;
    this.tenants(json.get('tenants'));
    if (this.error.length == 0) this.error = cannotShare(this.config.tenants);
    if (this.error.length == 0) {
      const reader = new RulesReader(json, this.config.names);
      this.error = reader.error;
      this.config.rules = reader.rules;
    }
    const limits = json.get('limits');
    if (limits != null) this.limits(limits);
    const observability = json.get('observability');
    if (observability != null) this.observability(observability);
    const pd = json.get('pd');
    if (pd != null) this.pd(pd);
    if (this.error.length == 0)
      this.error = new PolicyReader(json, this.config.tenants, this.config.names).error;
    for (let i = 0; i < this.config.tenants.length; i++) {
      const terms = this.config.tenants[i].terms;
      this.complete(terms);
      terms.hasSeries = <u32>i < this.config.maxSeries;
      terms.isMeasured = this.config.measuresLatency;
    }
  }

  /** Gives a tenant's terms what is the same for all tenants. */
  private complete(terms: Terms): void {
    const limits = this.config.limits;
    terms.maxHeldBytes = limits.heldBytesPerTenant;
    if (terms.maxStreams == u32.MAX_VALUE) terms.maxStreams = limits.maxStreamsPerTenant;
    if (terms.requestsPerSecond == 0) terms.requestsPerSecond = limits.requestsPerSecondPerTenant;
    if (terms.bytesPerSecond == 0) terms.bytesPerSecond = limits.bytesPerSecondPerTenant;
    if (terms.pdRequestsPerSecond == 0) terms.pdRequestsPerSecond = limits.pdRequestsPerSecondPerTenant;
    if ((terms.requestsPerSecond | terms.bytesPerSecond | terms.pdRequestsPerSecond) != 0)
      this.config.hasRates = true;
    this.completeCounts(terms);
    terms.maxMessageBytes = limits.maxMessageBytes;
    terms.maxDriftMs = <u64>limits.maxTsDriftSeconds * 1000;
    terms.maxHoldBackSeconds = limits.maxHoldBackSeconds;
    terms.maxLeaseSeconds = limits.maxEtcdLeaseSeconds;
    terms.looksUp = this.config.pdCluster.byteLength != 0;
    if (terms.looksUp) terms.clock = clockOf(this.config.pdCluster);
  }

  private completeCounts(terms: Terms): void {
    const limits = this.config.limits;
    if (terms.etcdWatches == 0) terms.etcdWatches = limits.etcdWatchesPerTenant;
    // What PD keeps of tenant 0 has nothing in front by which it could be told apart.
    if (terms.number == 0) return;
    if (terms.etcdKeys == 0) terms.etcdKeys = limits.etcdKeysPerTenant;
    if (terms.etcdLeases == 0) terms.etcdLeases = limits.etcdLeasesPerTenant;
    if (terms.resourceGroups == 0) terms.resourceGroups = limits.resourceGroupsPerTenant;
    if (terms.pdRecords == 0) terms.pdRecords = limits.pdRecordsPerTenant;
    if (!terms.hasHoldings) return;
    this.config.hasHoldings = true;
    if (this.config.pdCluster.byteLength == 0 && this.error.length == 0)
      this.fail(
        'pd',
        'is missing: PD has the counts for limits of etcdKeys, etcdLeases, resourceGroups and pdRecords',
      );
  }

  private tenants(list: Json | null): void {
    if (list == null || list.type != JsonType.ARRAY || list.first == null) {
      this.fail('tenants', 'must list at least one tenant, for example {"name": "alpha", "number": 1}');
      return;
    }
    let i = 0;
    let item = list.first;
    while (item != null && this.error.length == 0) {
      this.tenant(item, '');
      this.within('tenants', i++);
      item = item.next;
    }
  }

  private tenant(json: Json, where: string): void {
    this.known(json, where, TENANT_FIELDS);
    const name = this.text(json, 'name', where);
    if (this.error.length != 0) return;
    if (!isTenantName(name)) {
      this.fail(where + '.name', 'must be 1 to 63 of a-z, 0-9 and -');
      return;
    }
    const number = this.whole(json.get('number'), 0, MAX_TENANT);
    if (number < 0) {
      this.fail(where + '.number', 'must be a whole number from 0 to ' + MAX_TENANT.toString());
      return;
    }
    const bytes = String.UTF8.encode(name);
    const place = this.config.placeOf(changetype<usize>(bytes), bytes.byteLength);
    if (place >= 0) {
      this.fail(where + '.name', '"' + name + '" is the name of tenants[' + place.toString() + '] already');
      return;
    }
    const same = this.config.tenantOf(<u32>number);
    if (same != null) {
      const what = number.toString() + ' is the number of tenants[' + same.place.toString() + '] already';
      this.fail(where + '.number', what + ': two tenants would share one key space');
      return;
    }
    const state = this.state(json, <u32>number, where);
    const ownDefaultGroup = this.ownDefaultGroup(json, <u32>number, where);
    const space = this.space(json, <u32>number, where);
    if (space == null) return;
    space.hasOwnDefaultGroup = ownDefaultGroup;
    const tenant = new Tenant(bytes, space);
    tenant.terms.state = state;
    this.moved(json, tenant.terms, where);
    const move = json.get('move');
    if (move != null) this.move(move, tenant.terms, where + '.move');
    const limits = json.get('limits');
    if (limits != null) this.tenantLimits(limits, tenant.terms, where + '.limits');
    this.config.add(tenant);
  }

  private ownDefaultGroup(json: Json, number: u32, where: string): bool {
    const isOwn = this.flag(json, 'ownDefaultGroup', where + '.');
    if (isOwn && number == 0)
      this.fail(where + '.ownDefaultGroup', "tenant 0 keeps PD's own `default`; leave this out");
    return isOwn;
  }

  private tenantLimits(json: Json, terms: Terms, where: string): void {
    this.known(json, where, TENANT_LIMIT_FIELDS);
    if (this.error.length != 0) return;
    terms.maxStreams = this.limit(json, where, 'maxStreams', terms.maxStreams, 1, MAX_STREAMS, 'streams');
    terms.requestsPerSecond = this.requestRate(json, where, 'requestsPerSecond');
    terms.bytesPerSecond = this.byteRate(json, where, 'bytesPerSecond');
    terms.pdRequestsPerSecond = this.requestRate(json, where, 'pdRequestsPerSecond');
    terms.etcdWatches = this.count(json, where, 'etcdWatches', 'watches');
    terms.etcdKeys = this.count(json, where, 'etcdKeys', 'keys');
    terms.etcdLeases = this.count(json, where, 'etcdLeases', 'leases');
    terms.resourceGroups = this.count(json, where, 'resourceGroups', 'resource groups');
    terms.pdRecords = this.count(json, where, 'pdRecords', 'records');
    if (terms.number == 0 && terms.hasHoldings)
      this.fail(
        where,
        'must not have etcdKeys, etcdLeases, resourceGroups or pdRecords: what PD keeps of tenant 0 has no prefix to count by',
      );
  }

  /** 0 when it is absent. */
  private count(json: Json, where: string, name: string, unit: string): u32 {
    return this.limit(json, where, name, 0, 1, MAX_COUNT, unit);
  }

  /** 0 when it is absent. */
  private requestRate(json: Json, where: string, name: string): u32 {
    return this.limit(json, where, name, 0, 1, MAX_REQUEST_RATE, 'requests per second');
  }

  private byteRate(json: Json, where: string, name: string): u32 {
    return this.limit(json, where, name, 0, MIN_LIMIT, MAX_BYTE_RATE, 'bytes per second');
  }

  private state(json: Json, number: u32, where: string): State {
    const member = json.get('state');
    if (member == null) return State.ACTIVE;
    const state = member.type == JsonType.STRING ? STATES.indexOf(member.text) : -1;
    if (state < 0) this.fail(where + '.state', 'must be "active", "read-only" or "suspended"');
    else if (number == 0 && state != State.ACTIVE)
      this.fail(
        where + '.state',
        'tenant 0 must stay "active": its TiDBs may lead the garbage collection of the whole store',
      );
    return max(state, 0);
  }

  /** The tenant's key space, or null after an error. */
  private space(json: Json, number: u32, where: string): Space | null {
    const keyspace = json.get('keyspace');
    const prefix = json.get('prefix');
    const keyNumber = json.get('keyNumber');
    if (keyNumber != null) {
      if (keyspace == null && prefix == null) return this.tables(keyNumber, number, where + '.keyNumber');
      this.fail(where + '.keyNumber', 'is for table keys; leave it out beside a keyspace or a prefix');
      return null;
    }
    const hasMoved = keyspace != null && prefix == null && json.get('readableSince') != null;
    if (number == 0 && !hasMoved) {
      if (keyspace == null && prefix == null) return tenantZeroSpace();
      const which = keyspace != null ? '.keyspace' : '.prefix';
      this.fail(where + which, 'number 0 stands for the keys that are there already; give it another number');
      return null;
    }
    if (keyspace != null && prefix != null) {
      this.fail(where, 'has a keyspace and a prefix; a tenant has one key space, so leave one out');
      return null;
    }
    if (keyspace != null) return this.keyspace(keyspace, number, where + '.keyspace');
    return prefix != null ? this.prefix(prefix, number, where + '.prefix') : tableSpace(number, number);
  }

  /** The key range of a tenant whose keys have another number. */
  private tables(json: Json, number: u32, where: string): Space | null {
    const keyNumber = this.whole(json, MIN_TENANT, MAX_TENANT);
    if (keyNumber >= 0) return tableSpace(number, <u32>keyNumber);
    this.fail(where, 'must be a whole number from 1 to ' + MAX_TENANT.toString());
    return null;
  }

  /** Reads what a tenant that has moved needs. */
  private moved(json: Json, terms: Terms, where: string): void {
    terms.epochOffset = this.offset(json, 'epochOffset', where);
    terms.confVerOffset = this.offset(json, 'confVerOffset', where);
    terms.readableSince = this.number(json, 'readableSince', where, 'a timestamp of PD');
    const latest = this.number(json, 'latestSeen', where, 'a timestamp of PD');
    terms.latestSeenMs = latest >> LOGICAL_BITS;
    const clusterId = json.get('clusterId');
    if (clusterId != null) this.clusterId(clusterId, terms, where + '.clusterId');
    this.servedBy(json, terms, where);
    for (let i = 0; terms.number == 0 && i < ELSEWHERE_FIELDS.length; i++)
      if (json.get(ELSEWHERE_FIELDS[i]) != null)
        this.fail(
          where + '.' + ELSEWHERE_FIELDS[i],
          'is for a tenant from another storage layer; number 0 stands for what was here first',
        );
  }

  /** Reads which storage layer serves the tenant by now. */
  private servedBy(json: Json, terms: Terms, where: string): void {
    const storage = this.text(json, 'servedBy', where);
    if (storage.length == 0) return;
    if (!isTenantName(storage)) {
      this.fail(where + '.servedBy', 'must be the name of a storage layer: 1 to 63 of a-z, 0-9 and -');
      return;
    }
    const path = String.UTF8.encode(AWAY_PATH + storage);
    terms.awayLength = path.byteLength;
    terms.awayAt = heap.alloc(path.byteLength);
    memory.copy(terms.awayAt, changetype<usize>(path), path.byteLength);
  }

  /** Reads what is added to versions of regions. */
  private offset(json: Json, name: string, where: string): u64 {
    const member = json.get(name);
    if (member == null) return 0;
    const value = this.whole(member, 0, MAX_EPOCH_OFFSET);
    if (value >= 0) return <u64>value;
    this.fail(where + '.' + name, 'must be a whole number from 0 to ' + MAX_EPOCH_OFFSET.toString());
    return 0;
  }

  /** Reads a number that is too large for JSON's; 0 when it is absent. */
  private number(json: Json, name: string, where: string, what: string): u64 {
    const member = json.get(name);
    if (member == null) return 0;
    const value = member.type == JsonType.STRING ? bigOf(member.text) : 0;
    if (value == 0) this.fail(where + '.' + name, 'must be ' + what + ' as a text of digits');
    return value;
  }

  /** Reads under which id the tenant's clients know PD's cluster. */
  private clusterId(json: Json, terms: Terms, where: string): void {
    this.known(json, where, CLUSTER_FIELDS);
    if (this.error.length != 0) return;
    for (let i = 0; i < CLUSTER_FIELDS.length; i++)
      if (json.get(CLUSTER_FIELDS[i]) == null)
        this.fail(where + '.' + CLUSTER_FIELDS[i], "must be the id of a PD's cluster as a text of digits");
    const seen = this.number(json, 'seen', where, "the id of a PD's cluster");
    const own = this.number(json, 'own', where, "the id of a PD's cluster");
    if (seen == own) this.fail(where, 'has the same id twice: leave it out where clients know the right one');
    terms.seenClusterId = seen;
    terms.ownClusterId = own;
  }

  private move(json: Json, terms: Terms, where: string): void {
    this.known(json, where, MOVE_FIELDS);
    if (this.error.length != 0) return;
    const serial = this.whole(json.get('serial'), 1, u32.MAX_VALUE);
    const name = json.get('phase');
    const place = name != null && name.type == JsonType.STRING ? PHASE_NAMES.indexOf(name.text) : -1;
    if (serial < 0)
      this.fail(where + '.serial', 'must be a whole number from 1 to ' + u32.MAX_VALUE.toString());
    if (name == null || name.type != JsonType.STRING || name.text.length == 0)
      this.fail(where + '.phase', 'must be "prepare", "calm", "drain", "fence", "final" or "over"');
    if (this.error.length != 0) return;
    // A later version may have more phases. Who goes back to this one has the others served.
    const phase: MovePhase = place < 0 ? MovePhase.UNKNOWN : MovePhase.PREPARE + place;
    const until = json.get('until');
    if (phase != MovePhase.UNKNOWN && hasDeadline(phase) != (until != null)) {
      const why =
        until == null
          ? 'must say when the phase ends, in ms since 1970'
          : 'this phase does not end by itself; leave it out';
      this.fail(where + '.until', why);
    } else if (until != null) {
      const isTime =
        until.type == JsonType.NUMBER &&
        until.number == Math.floor(until.number) &&
        until.number > 0 &&
        until.number <= MAX_WHOLE;
      if (!isTime) this.fail(where + '.until', 'must be a time in ms since 1970');
      else terms.moveUntil = <u64>until.number;
    }
    this.config.hasMoves = true;
    terms.movePhase = phase;
    terms.moveSerial = <u32>serial;
  }

  private mode(json: Json, where: string): Mode {
    const mode = json.get('mode');
    const text = mode != null && mode.type == JsonType.STRING ? mode.text : '';
    if (text != 'txn' && text != 'raw')
      this.fail(where + '.mode', 'must be "txn" for transactions or "raw" for RawKV');
    return text == 'raw' ? Mode.RAW : Mode.TXN;
  }

  private keyspace(json: Json, number: u32, where: string): Space | null {
    this.known(json, where, KEYSPACE_FIELDS);
    const id = this.whole(json.get('id'), 0, MAX_KEYSPACE);
    if (id < 0) this.fail(where + '.id', 'must be a whole number from 0 to ' + MAX_KEYSPACE.toString());
    const mode = this.mode(json, where);
    return this.error.length == 0 ? keyspaceSpace(number, <u32>id, mode) : null;
  }

  private prefix(json: Json, number: u32, where: string): Space | null {
    this.known(json, where, PREFIX_FIELDS);
    const text = this.text(json, 'text', where);
    const hex = this.text(json, 'hex', where);
    if ((text.length == 0) == (hex.length == 0))
      this.fail(where, 'must have one of "text" and "hex": the bytes in front of every key');
    const mode = this.mode(json, where);
    const hasTtl = this.flag(json, 'ttl', where + '.');
    if (hasTtl && mode == Mode.TXN) this.fail(where + '.ttl', 'is for mode "raw"; leave it out');
    if (this.error.length != 0) return null;
    const bytes = text.length != 0 ? String.UTF8.encode(text) : this.unhex(hex, where);
    const at = changetype<usize>(bytes);
    const length = <usize>bytes.byteLength;
    if (length > MAX_PREFIX_BYTES)
      this.fail(where, 'must have at most ' + MAX_PREFIX_BYTES.toString() + ' bytes: every key grows by it');
    let i: usize = 0;
    while (i < length && load<u8>(at + i) == 0xff) i++;
    if (i == length) this.fail(where, 'must not be all FF: such a key space has no end');
    return this.error.length == 0 ? prefixSpace(number, at, length, mode, hasTtl) : null;
  }

  private unhex(hex: string, where: string): ArrayBuffer {
    const bytes = new ArrayBuffer(hex.length >> 1);
    let good = (hex.length & 1) == 0;
    for (let i = 0; good && i < hex.length; i += 2) {
      const high = hexDigit(hex.charCodeAt(i));
      const low = hexDigit(hex.charCodeAt(i + 1));
      good = high >= 0 && low >= 0;
      store<u8>(changetype<usize>(bytes) + ((<usize>i) >> 1), <u8>((high << 4) | low));
    }
    if (!good) this.fail(where + '.hex', 'must be an even number of hex digits');
    return bytes;
  }

  /** The member's value if it is a whole number in the range, else -1. */
  private whole(json: Json | null, least: u32, most: u32): i64 {
    if (json == null || json.type != JsonType.NUMBER) return -1;
    const value = json.number;
    return value == Math.floor(value) && value >= <f64>least && value <= <f64>most ? <i64>value : -1;
  }

  private limit(
    json: Json,
    where: string,
    name: string,
    byDefault: u32,
    least: u32,
    most: u32,
    unit: string,
  ): u32 {
    const member = json.get(name);
    if (member == null) return byDefault;
    const value = this.whole(member, least, most);
    if (value >= 0) return <u32>value;
    const range = ' from ' + least.toString() + ' to ' + most.toString();
    this.fail(where + '.' + name, 'must be a whole number of ' + unit + range);
    return byDefault;
  }

  private bytes(json: Json, name: string, byDefault: u32): u32 {
    return this.limit(json, 'limits', name, byDefault, MIN_LIMIT, MAX_LIMIT, 'bytes');
  }

  private limits(json: Json): void {
    this.known(json, 'limits', LIMIT_FIELDS);
    if (this.error.length != 0) return;
    const limits = this.config.limits;
    const where = 'limits';
    limits.maxMessageBytes = this.bytes(json, 'maxMessageBytes', limits.maxMessageBytes);
    limits.heldBytesPerVM = this.bytes(json, 'heldBytesPerVM', limits.heldBytesPerVM);
    limits.heldBytesPerTenant = this.bytes(json, 'heldBytesPerTenant', limits.heldBytesPerTenant);
    const drift = limits.maxTsDriftSeconds;
    limits.maxTsDriftSeconds = this.limit(json, where, 'maxTsDriftSeconds', drift, 1, MAX_DRIFT, 'seconds');
    const hold = limits.maxHoldBackSeconds;
    limits.maxHoldBackSeconds = this.limit(json, where, 'maxHoldBackSeconds', hold, 1, MAX_DRIFT, 'seconds');
    const lease = limits.maxEtcdLeaseSeconds;
    limits.maxEtcdLeaseSeconds = this.limit(
      json,
      where,
      'maxEtcdLeaseSeconds',
      lease,
      1,
      MAX_DRIFT,
      'seconds',
    );
    const streams = limits.maxStreamsPerTenant;
    limits.maxStreamsPerTenant = this.limit(
      json,
      where,
      'maxStreamsPerTenant',
      streams,
      1,
      MAX_STREAMS,
      'streams',
    );
    limits.requestsPerSecondPerTenant = this.requestRate(json, where, 'requestsPerSecondPerTenant');
    limits.bytesPerSecondPerTenant = this.byteRate(json, where, 'bytesPerSecondPerTenant');
    limits.pdRequestsPerSecondPerTenant = this.requestRate(json, where, 'pdRequestsPerSecondPerTenant');
    limits.etcdWatchesPerTenant = this.count(json, where, 'etcdWatchesPerTenant', 'watches');
    limits.etcdKeysPerTenant = this.count(json, where, 'etcdKeysPerTenant', 'keys');
    limits.etcdLeasesPerTenant = this.count(json, where, 'etcdLeasesPerTenant', 'leases');
    limits.resourceGroupsPerTenant = this.count(json, where, 'resourceGroupsPerTenant', 'resource groups');
    limits.pdRecordsPerTenant = this.count(json, where, 'pdRecordsPerTenant', 'records');
    const drain = limits.drainTimeoutSeconds;
    limits.drainTimeoutSeconds = this.limit(
      json,
      where,
      'drainTimeoutSeconds',
      drain,
      0,
      MAX_DRAIN,
      'seconds',
    );
  }

  private observability(json: Json): void {
    this.known(json, 'observability', OBSERVABILITY_FIELDS);
    if (this.error.length == 0) this.config.measuresLatency = this.flag(json, 'latency', 'observability.');
    const member = json.get('maxTenants');
    if (this.error.length != 0 || member == null) return;
    const value = this.whole(member, 1, MAX_TENANT + 1);
    if (value < 0)
      this.fail(
        'observability.maxTenants',
        'must be a whole number of tenants from 1 to ' + (MAX_TENANT + 1).toString(),
      );
    else this.config.maxSeries = <u32>value;
  }

  private pd(json: Json): void {
    this.known(json, 'pd', PD_FIELDS);
    const cluster = this.text(json, 'cluster', 'pd');
    if (cluster.length == 0)
      this.fail(
        'pd.cluster',
        "is missing: the name of an Envoy cluster that reaches PD's HTTP API over HTTP/1.1",
      );
    const authority = this.text(json, 'authority', 'pd');
    this.config.pdCluster = String.UTF8.encode(cluster);
    this.config.pdAuthority = String.UTF8.encode(authority.length != 0 ? authority : DEFAULT_AUTHORITY);
  }
}
