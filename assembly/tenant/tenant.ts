/** One tenant of the configuration. */
import { Space, freeSpace } from '../keys/space';
import { Budget } from '../memory/held';

const ETCD_PREFIX: string = '/tidb-mesh/';

/** How far a tenant is on trial. */
export const enum Trial {
  NONE,
  /** What policy refuses; it is still rewritten. */
  POLICY,
  /** The same, and the methods and endpoints that the tables refuse, which pass unread. */
  ALL,
}

/** Lives outside of the garbage collector's sight as long as its configuration. */
export class Tenant {
  /** UTF-8 bytes of the name and of the prefix of its keys in etcd. */
  nameBytes: ArrayBuffer;
  prefixBytes: ArrayBuffer;
  /** Bytes of partial frames that its streams hold. */
  budget: Budget = new Budget();
  /** Its place in the configuration's tenants. */
  place: i32 = 0;
  /** What policy refuses it, see policy/tighten; 0: nothing. */
  tightening: usize = 0;
  /** What is let through, counted and logged, where it would be refused. */
  trial: Trial = Trial.NONE;

  constructor(
    public name: string,
    public number: u32,
    public space: Space,
  ) {
    this.nameBytes = String.UTF8.encode(name);
    this.prefixBytes = String.UTF8.encode(ETCD_PREFIX + name + ':');
  }

  /** Gives back what is not the garbage collector's; no stream may use the tenant any more. */
  free(): void {
    freeSpace(this.space);
    heap.free(changetype<usize>(this.budget));
    if (this.tightening != 0) heap.free(this.tightening);
  }
}
