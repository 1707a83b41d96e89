/**
 * What PD keeps of a tenant, by count: keys and leases in etcd, resource groups, and records. PD knows the numbers. The filter asks for them, and
 * counts by itself what goes on between two answers, see streams/holdings.ts.
 */
export const enum Holding {
  /** Keys in etcd. */
  KEYS,
  /** Resource groups. */
  GROUPS,
  /** Leases in etcd. */
  LEASES,
  /** Placement rules, region label rules, and service safe points. */
  RECORDS,
  ALL,
}

@unmanaged
export class Held {
  /** 0: there is none. */
  limit: u32 = 0;
  /** What PD said last, and what has gone on since it was asked. */
  known: u32 = 0;
  private added: u32 = 0;
  /** How much of that had gone on before the question that has no answer yet. */
  private before: u32 = 0;

  get isFull(): bool {
    return this.limit != 0 && this.known + this.added >= this.limit;
  }

  /** True when PD may by now have another number, and it matters. */
  get isDoubtful(): bool {
    return this.added != 0 || this.isFull;
  }

  /** Counts one more. False if the limit is reached. */
  add(): bool {
    return this.addMany(1);
  }

  /** Counts so many more, or none of them. False if the limit does not allow all. */
  addMany(amount: u32): bool {
    if (this.limit == 0) return true;
    if (<u64>this.known + this.added + amount > <u64>this.limit) return false;
    this.added += amount;
    return true;
  }

  beginQuestion(): void {
    this.before = this.added;
  }

  /** Takes over PD's answer. What went on after the question may be missing in it. */
  takeAnswer(count: u32): void {
    this.known = count;
    this.added -= this.before;
    this.before = 0;
  }
}

@unmanaged
export class Holdings {
  keys: Held = new Held();
  groups: Held = new Held();
  leases: Held = new Held();
  records: Held = new Held();
  /** True if there is a limit. */
  isOn: bool = false;
  /** Number of questions without an answer. */
  questions: u32 = 0;
  /** When PD is asked again if nothing is doubtful, ms since 1970. */
  asksAt: u64 = 0;
  /** Gauges by Holding, plus one: u64; 0 before the first time. */
  gauges: usize = 0;

  setLimits(keys: u32, groups: u32, leases: u32, records: u32): void {
    this.keys.limit = keys;
    this.groups.limit = groups;
    this.leases.limit = leases;
    this.records.limit = records;
    this.isOn = (keys | groups | leases | records) != 0;
  }

  held(holding: i32): Held {
    switch (holding) {
      case Holding.KEYS:
        return this.keys;
      case Holding.GROUPS:
        return this.groups;
      case Holding.LEASES:
        return this.leases;
      default:
        return this.records;
    }
  }

  isDue(now: u64): bool {
    if (!this.isOn || this.questions != 0) return false;
    return (
      now >= this.asksAt ||
      this.keys.isDoubtful ||
      this.groups.isDoubtful ||
      this.leases.isDoubtful ||
      this.records.isDoubtful
    );
  }
}
