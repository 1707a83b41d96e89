/**
 * Maps a caller to a tenant by the caller rules. Each caller is judged once and then cached.
 *
 * With requirePrincipal, the first rule whose principal matches is the caller's. Its other conditions can only refuse, so a workload's
 * claims cannot make it another tenant. Without it, the first rule that matches completely counts.
 */
import { isSameBytes } from '../wire/bytes';
import * as caller from './caller';
import { Config, Tenant } from './config';
import { Fact } from './facts';
import { CallerCache } from './caller-cache';
import * as match from './pattern';
import * as metadata from './peer-metadata';
import { Condition, Rule, Rules } from './rules';
import { Status } from '../wire/status';

export const enum Access {
  REFUSED,
  TENANT,
  SYSTEM,
}

/** The verdict on the caller that was resolved last. */
export class Identity {
  access: Access = Access.REFUSED;
  tenant: Tenant | null = null;
  reason: Status = Status.OK;
  /** A proxy of another storage layer calls for the tenant. */
  isOnBehalf: bool = false;
  /** The rule that decided; -1: none, or the verdict came from the cache. */
  rule: i32 = -1;
  /** For some reasons: the fact, and whether it is the peer's. */
  fact: Fact | null = null;
  isPeer: bool = false;
  /** For some reasons: the expected (or captured) and the actual value. In the arena or in the configuration. */
  expectedAt: usize = 0;
  expectedLength: usize = 0;
  foundAt: usize = 0;
  foundLength: usize = 0;
}

/** A SPIFFE id has at most 2048 bytes. */
const MAX_PRINCIPAL_BYTES: usize = 2048;
/** Names in Kubernetes have at most 253 bytes, values of labels 63. */
const MAX_FACT_BYTES: usize = 253;

function isSame(a: usize, aLength: usize, b: usize, bLength: usize): bool {
  return aLength == bLength && isSameBytes(a, b, aLength);
}

/** Resolves callers by one configuration. */
export class Resolver {
  private known: CallerCache = new CallerCache();
  private identity: Identity = new Identity();
  /** What the conditions so far captured. */
  private nameAt: usize = 0;
  private nameLength: usize = 0;
  private rules: Rules;

  constructor(public config: Config) {
    this.rules = config.rules;
  }

  /** Resolves the caller in caller.ts. The result is valid until the next one. A cached caller costs no allocation. */
  resolve(): Identity {
    const identity = this.identity;
    const known = this.known;
    caller.makeKey();
    identity.reason = Status.OK;
    identity.tenant = null;
    identity.isOnBehalf = false;
    // Whom a proxy acts for is said anew with each call. The key does not hold what a call says.
    if (!caller.saysBehalf && known.find(caller.keyAt, caller.keyLength)) {
      this.accept(known.tenant);
      return identity;
    }
    this.judge();
    const tenant = identity.tenant;
    if (identity.access != Access.REFUSED && !caller.saysBehalf)
      known.add(caller.keyAt, caller.keyLength, tenant == null ? -1 : tenant.place);
    return identity;
  }

  /** The same without the cache, so that it names the rule. */
  resolveAnew(): Identity {
    this.identity.reason = Status.OK;
    this.identity.tenant = null;
    this.identity.isOnBehalf = false;
    this.judge();
    return this.identity;
  }

  /** -1: a system principal. */
  private accept(place: i32): void {
    this.identity.access = place < 0 ? Access.SYSTEM : Access.TENANT;
    this.identity.tenant = place < 0 ? null : this.config.tenants[place];
  }

  private refuse(reason: Status): bool {
    this.identity.reason = reason;
    return false;
  }

  private judge(): void {
    this.identity.access = Access.REFUSED;
    this.identity.rule = -1;
    if (caller.principalLength == 0 && this.rules.requirePrincipal) this.refuse(Status.NO_PRINCIPAL);
    else if (caller.principalLength > MAX_PRINCIPAL_BYTES) this.refuse(Status.PRINCIPAL_TOO_LONG);
    else if (!match.isPrintable(caller.principalAt, caller.principalLength))
      this.refuse(Status.PRINCIPAL_ODD);
    else if (this.rules.requirePrincipal) this.byPrincipal();
    else this.byFirst();
  }

  private byPrincipal(): void {
    const rules = this.rules;
    const patterns = rules.patterns;
    let first = rules.exact.find(caller.principalAt, caller.principalLength);
    for (let i = 0; i < patterns.length; i++) {
      const index = unchecked(patterns[i]);
      if (first >= 0 && first < index) break;
      if (!match.matches(unchecked(rules.list[index]).principal, caller.principalAt, caller.principalLength))
        continue;
      first = index;
      break;
    }
    if (first < 0) this.refuse(Status.NO_RULE);
    else this.apply(first);
  }

  private byFirst(): void {
    const list = this.rules.list;
    for (let i = 0; i < list.length; i++) {
      const principal = list[i].principal;
      if (principal.byteLength != 0 && !match.matches(principal, caller.principalAt, caller.principalLength))
        continue;
      if (this.apply(i)) return;
      // A mismatch leaves the caller to later rules; a contradiction does not.
      const identity = this.identity;
      const next = identity.reason == Status.FACT_MISSING || identity.reason == Status.OK;
      if (!next) return;
    }
    this.identity.rule = -1;
    this.refuse(Status.NO_RULE);
  }

  /** True if the conditions of a rule whose principal matches hold, too. */
  private apply(index: i32): bool {
    const rule = this.rules.list[index];
    const identity = this.identity;
    identity.reason = Status.OK;
    identity.rule = index;
    this.nameLength = 0;
    if (
      rule.principal.byteLength != 0 &&
      match.matches(rule.principal, caller.principalAt, caller.principalLength)
    ) {
      this.nameAt = match.captureAt;
      this.nameLength = match.captureLength;
    }
    if (rule.tenant >= 0) {
      const name = this.config.tenants[rule.tenant].nameBytes;
      this.nameAt = changetype<usize>(name);
      this.nameLength = name.byteLength;
    }
    if (!this.peerHolds(rule) || !this.nodeHolds(rule)) return false;
    if (rule.actsFor.length != 0) return this.actFor(rule);
    if (rule.system) {
      // A tenant's call that another storage layer hands over must not pass unread, because its rule is missing.
      if (caller.saysBehalf) return this.refuseBehalf();
      this.accept(-1);
    } else {
      const place = this.config.placeOf(this.nameAt, this.nameLength);
      if (place < 0) {
        this.see(this.nameAt, this.nameLength);
        return this.refuse(Status.UNKNOWN_TENANT);
      }
      this.accept(place);
    }
    return true;
  }

  /** Takes the tenant that a proxy of another storage layer names, if the rule lists it. */
  private actFor(rule: Rule): bool {
    if (caller.behalfLength == 0) return this.refuse(Status.BEHALF_UNSAID);
    const place = this.config.placeOf(caller.behalfAt, caller.behalfLength);
    if (place < 0 || !rule.actsFor.includes(place)) return this.refuseBehalf();
    this.identity.isOnBehalf = true;
    this.accept(place);
    return true;
  }

  private refuseBehalf(): bool {
    this.see(caller.behalfAt, caller.behalfLength);
    return this.refuse(Status.BEHALF_REFUSED);
  }

  private see(at: usize, length: usize): void {
    this.identity.foundAt = at;
    this.identity.foundLength = length;
  }

  private disagree(at: usize, length: usize): bool {
    this.identity.expectedAt = at;
    this.identity.expectedLength = length;
    return this.refuse(Status.IDENTITY_CONFLICT);
  }

  private peerHolds(rule: Rule): bool {
    const conditions = rule.peer;
    if (conditions.length == 0) return true;
    this.identity.isPeer = true;
    if (
      caller.hasManyHeaders ||
      (caller.headerLength != 0 && !metadata.openMetadata(caller.headerAt, caller.headerLength))
    )
      return this.refuse(Status.PEER_UNREADABLE);
    for (let i = 0; i < conditions.length; i++) {
      const place = conditions[i].fact;
      const fact = this.rules.peer[place];
      this.identity.fact = fact;
      this.see(caller.factAt(place), caller.factLength(place));
      if (caller.headerLength != 0) {
        if (!metadata.findMetadata(fact)) return this.refuse(Status.PEER_UNREADABLE);
        const stated = caller.factLength(place);
        if (metadata.metadataLength != 0) this.see(metadata.metadataAt, metadata.metadataLength);
        if (
          stated != 0 &&
          metadata.metadataLength != 0 &&
          !isSame(caller.factAt(place), stated, metadata.metadataAt, metadata.metadataLength)
        )
          return this.disagree(caller.factAt(place), stated);
      }
      if (!this.holds(conditions[i])) return false;
    }
    return true;
  }

  private nodeHolds(rule: Rule): bool {
    const conditions = rule.node;
    this.identity.isPeer = false;
    for (let i = 0; i < conditions.length; i++) {
      const place = conditions[i].fact;
      const value = this.rules.nodeValues[place];
      this.identity.fact = this.rules.node[place];
      this.see(changetype<usize>(value), value.byteLength);
      if (!this.holds(conditions[i])) return false;
    }
    return true;
  }

  /** Compares what was found with what a condition asks for. */
  private holds(condition: Condition): bool {
    const at = this.identity.foundAt;
    const length = this.identity.foundLength;
    const pattern = condition.pattern;
    if (length == 0) return this.refuse(Status.FACT_MISSING);
    if (length > MAX_FACT_BYTES || !match.isPrintable(at, length) || !match.matches(pattern, at, length)) {
      // Without requirePrincipal such facts distinguish rules: a later rule may match.
      if (!this.rules.requirePrincipal) return false;
      return this.disagree(changetype<usize>(pattern), pattern.byteLength);
    }
    if (match.captureLength == 0) return true;
    if (this.nameLength == 0) {
      this.nameAt = match.captureAt;
      this.nameLength = match.captureLength;
    }
    return (
      isSame(this.nameAt, this.nameLength, match.captureAt, match.captureLength) ||
      this.disagree(this.nameAt, this.nameLength)
    );
  }

  /** Frees unmanaged memory. No stream may use the configuration any more. */
  free(): void {
    this.known.free();
    this.config.free();
  }
}
