/** One tenant of the configuration. */
import { Space, freeSpace } from '../keys/space';
import { Terms } from '../terms/terms';
import { Ascii, ascii } from '../wire/bytes';

const ETCD_PREFIX: Ascii = ascii('/tidb-mesh/');
const COLON: u8 = 0x3a;

/** The prefix of a tenant's keys in etcd. */
function etcdPrefix(name: ArrayBuffer): ArrayBuffer {
  const length = ETCD_PREFIX.length;
  const prefix = new ArrayBuffer(length + name.byteLength + 1);
  const at = changetype<usize>(prefix);
  memory.copy(at, changetype<usize>(ETCD_PREFIX), length);
  memory.copy(at + length, changetype<usize>(name), name.byteLength);
  store<u8>(at + prefix.byteLength - 1, COLON);
  return prefix;
}

/** It lives as long as its config version, and with it the bytes that its terms point to. */
export class Tenant {
  terms: Terms;
  /** Its index in the configuration's tenants. */
  place: i32 = 0;
  private prefixBytes: ArrayBuffer;

  constructor(
    /** ASCII. */
    public nameBytes: ArrayBuffer,
    space: Space,
  ) {
    const prefix = etcdPrefix(nameBytes);
    const name = changetype<usize>(nameBytes);
    this.prefixBytes = prefix;
    this.terms = new Terms(space, name, nameBytes.byteLength, changetype<usize>(prefix), prefix.byteLength);
  }

  /** Frees unmanaged memory. No stream may use the tenant any more. */
  free(): void {
    const terms = this.terms;
    freeSpace(terms.space);
    if (terms.policyBits != 0) heap.free(terms.policyBits);
    heap.free(changetype<usize>(terms));
  }
}
