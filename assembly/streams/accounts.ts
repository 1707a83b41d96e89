/** Finds the account of a stream's tenant, and brings accounts up to date when another configuration comes into force. */
import { movingBits } from '../policy/moving';
import { Config } from '../tenant/config';
import { Account, NO_ACCOUNT, newAccount } from '../terms/account';
import * as moves from '../terms/move';
import { MovePhase, Standing, useRefusedBits } from '../terms/move';
import { Terms } from '../terms/terms';
import * as clock from './clock';
import * as memory from './move-memory';
import { tellAccount, tellOther } from './tenant-metrics';

/** Maximum of attempts to keep what was obeyed: other VMs do so at the same time. */
const ATTEMPTS: u32 = 64;

/** All tenants that a plugin has met in this VM. */
export class Accounts {
  private first: Account | null = null;
  /** True when a state has changed since `takeChange`, or a move has come to its end. */
  private isChanged: bool = false;
  /** True when the configuration in force contradicts what was obeyed of some tenant's move. */
  contradicts: bool = false;

  constructor(public plugin: string) {}

  /** Gives a tenant's terms the account. `inForce`: the configuration that says the tenant's state. */
  open(terms: Terms, inForce: Config): void {
    if (terms.account != NO_ACCOUNT) return;
    const account = this.find(terms.nameAt, terms.nameLength);
    terms.account = account;
    if (account.budget.limit == 0) account.budget.limit = terms.maxHeldBytes;
    this.update(account, inForce);
  }

  private find(at: usize, length: usize): Account {
    let account = this.first;
    while (account != null) {
      if (account.isNamed(at, length)) return account;
      account = account.next;
    }
    const made = newAccount(at, length);
    made.next = this.first;
    this.first = made;
    return made;
  }

  /** Takes over what the VMs of this Envoy have obeyed. True if one of them moves, or has moved. */
  private recall(): bool {
    memory.recall(this.plugin);
    while (memory.next())
      this.find(memory.nameAt, memory.nameLength).recall(
        memory.serial,
        memory.phase,
        memory.place,
        memory.state,
      );
    let account = this.first;
    while (account != null) {
      if (account.latestSerial != 0) return true;
      account = account.next;
    }
    return false;
  }

  /** Takes over what a configuration says that comes into force. A tenant that moves gets its account before its first stream. */
  useConfig(config: Config): void {
    const moved = this.recall();
    this.takeOver(config);
    if (!config.hasMoves && !moved) return;
    for (let i: u32 = 0; i < ATTEMPTS && !memory.keep(this.plugin, this.first); i++) this.recall();
  }

  private takeOver(config: Config): void {
    this.contradicts = false;
    for (let i = 0; config.hasMoves && i < config.tenants.length; i++) {
      const terms = config.tenants[i].terms;
      if (terms.movePhase != MovePhase.NONE) this.open(terms, config);
    }
    let account = this.first;
    while (account != null) {
      this.update(account, config);
      account = account.next;
    }
  }

  private update(account: Account, config: Config): void {
    const place = config.placeOf(account.nameAt, account.nameLength);
    if (place < 0) {
      // A tenant that comes back under the name is another one.
      account.latestSerial = 0;
      return;
    }
    const terms = config.tenants[place].terms;
    terms.account = account;
    account.budget.limit = terms.maxHeldBytes;
    account.hasSeries = terms.hasSeries;
    account.maxStreams = terms.maxStreams;
    account.number = terms.number;
    account.latestSeenMs = terms.latestSeenMs;
    account.isAway = terms.isAway;
    this.move(account, terms);
    account.rates.setLimits(terms.requestsPerSecond, terms.bytesPerSecond, terms.pdRequestsPerSecond);
    account.maxWatches = terms.etcdWatches;
    account.holdings.setLimits(terms.etcdKeys, terms.resourceGroups, terms.etcdLeases, terms.pdRecords);
    const state = account.stateIn(terms.state);
    if (account.state == state) return;
    account.useState(state);
    this.isChanged = true;
  }

  /** Takes over what a configuration says of the tenant's place and move. */
  private move(account: Account, terms: Terms): void {
    const standing = account.accept(terms.moveSerial, terms.movePhase, terms.place, terms.state);
    if (standing != Standing.CURRENT) this.contradicts = true;
    const former = account.phase;
    if (standing == Standing.UNTOLD) account.keepMove(clock.now);
    else if (standing == Standing.CURRENT)
      account.useMove(terms.movePhase, terms.moveSerial, terms.moveUntil, clock.now);
    else account.useMove(MovePhase.FINAL, 0, 0, clock.now);
    const isAtItsPlace = standing == Standing.CURRENT || standing == Standing.UNTOLD;
    if (isAtItsPlace) account.range = terms.range;
    // A VM that has not obeyed the move itself knows from the others where the tenant is.
    else if (account.range == 0) account.range = account.latestPlace;
    if (account.phase != MovePhase.NONE && moves.refusedBits == 0) useRefusedBits(movingBits());
    if (account.phase == MovePhase.FINAL && former != MovePhase.FINAL) this.isChanged = true;
  }

  each(visit: (account: Account) => void): void {
    let account = this.first;
    while (account != null) {
      visit(account);
      account = account.next;
    }
  }

  /** True when a state has changed since the last call. */
  takeChange(): bool {
    const was = this.isChanged;
    this.isChanged = false;
    return was;
  }
}

const all: Accounts[] = [];

/** The accounts of a plugin. */
export function accountsOf(plugin: string): Accounts {
  for (let i = 0; i < all.length; i++) if (all[i].plugin == plugin) return all[i];
  const made = new Accounts(plugin);
  all.push(made);
  return made;
}

/** True when some tenant's state has changed since the last call. */
export function takeStateChange(): bool {
  let changed = false;
  for (let i = 0; i < all.length; i++) if (all[i].takeChange()) changed = true;
  return changed;
}

/** Calls `visit` for every account. */
export function eachAccount(visit: (account: Account) => void): void {
  for (let i = 0; i < all.length; i++) all[i].each(visit);
}

/** Tells Envoy what was counted of all tenants. Called on the tick. */
export function recordAccounts(): void {
  eachAccount(tellAccount);
  tellOther();
}
