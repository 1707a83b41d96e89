/** One tenant of the configuration. */
import { Space } from '../keys/space';
import { Terms, abandon } from '../terms/terms';
import { Ascii, ascii } from '../wire/bytes';

const ETCD_PREFIX: Ascii = ascii('/tidb-mesh/');
const COLON: u8 = 0x3a;

/** Makes the terms of a tenant, with the prefix of its keys in etcd. */
function newTerms(name: ArrayBuffer, space: Space): Terms {
  const nameLength = <usize>name.byteLength;
  const length = <usize>ETCD_PREFIX.length + nameLength + 1;
  const prefix = heap.alloc(length);
  const nameAt = prefix + ETCD_PREFIX.length;
  memory.copy(prefix, changetype<usize>(ETCD_PREFIX), ETCD_PREFIX.length);
  memory.copy(nameAt, changetype<usize>(name), nameLength);
  store<u8>(prefix + length - 1, COLON);
  return new Terms(space, nameAt, nameLength, prefix, length);
}

/** It lives as long as its config version. Its terms may live longer. */
export class Tenant {
  terms: Terms;
  /** Its index in the configuration's tenants. */
  place: i32 = 0;

  constructor(
    /** ASCII. */
    public nameBytes: ArrayBuffer,
    space: Space,
  ) {
    this.terms = newTerms(nameBytes, space);
  }

  /** Frees unmanaged memory. No stream of its config version may be left. */
  free(): void {
    abandon(this.terms);
  }
}
