/** One tenant of the configuration. */
import { Space, freeSpace } from '../keys/space';
import { Budget } from '../memory/held';

const ETCD_PREFIX: string = '/tidb-mesh/';

/** Lives outside of the garbage collector's sight as long as its configuration. */
export class Tenant {
  /** UTF-8 bytes of the name and of the prefix of its keys in etcd. */
  nameBytes: ArrayBuffer;
  prefixBytes: ArrayBuffer;
  /** Bytes of partial frames that its streams hold. */
  budget: Budget = new Budget();
  /** Its place in the configuration's tenants. */
  place: i32 = 0;

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
  }
}
