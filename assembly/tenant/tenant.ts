/** One tenant of the configuration. */
import { Space, freeSpace } from '../keys/space';
import { Budget } from '../memory/stream-buffer';
import { Ascii, ascii } from '../wire/bytes';

const ETCD_PREFIX: Ascii = ascii('/tidb-mesh/');
const COLON: u8 = 0x3a;

/** The extent of a tenant's dry run. */
export const enum DryRun {
  NONE,
  /** What policy refuses; it is still rewritten. */
  POLICY,
  /** The same, and the methods and endpoints that the tables refuse, which pass unread. */
  ALL,
}

/** Unmanaged; it lives as long as its config version. */
export class Tenant {
  /** The prefix of its keys in etcd. */
  prefixBytes: ArrayBuffer;
  /** Counts the partial frames that its streams hold. */
  budget: Budget = new Budget();
  /** Its index in the configuration's tenants. */
  place: i32 = 0;
  /** What policy refuses it, see policy/policy-bits; 0: nothing. */
  policyBits: usize = 0;
  /** What is let through, counted and logged, where it would be refused. */
  dryRun: DryRun = DryRun.NONE;

  constructor(
    /** ASCII. */
    public nameBytes: ArrayBuffer,
    public number: u32,
    public space: Space,
  ) {
    const length = ETCD_PREFIX.length;
    const prefix = new ArrayBuffer(length + nameBytes.byteLength + 1);
    const at = changetype<usize>(prefix);
    memory.copy(at, changetype<usize>(ETCD_PREFIX), length);
    memory.copy(at + length, changetype<usize>(nameBytes), nameBytes.byteLength);
    store<u8>(at + prefix.byteLength - 1, COLON);
    this.prefixBytes = prefix;
  }

  /** Frees unmanaged memory. No stream may use the tenant any more. */
  free(): void {
    freeSpace(this.space);
    heap.free(changetype<usize>(this.budget));
    if (this.policyBits != 0) heap.free(this.policyBits);
  }
}
