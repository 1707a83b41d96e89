const SIGN_BIT = 0x8000;
const GROUP = 8;

/** Key of a row: `t`, the tag over the sign bit, table id, `_r`, handle. A tag of 0 gives the key as TiDB makes it. */
export function rowKey(tableId: number, handle: number, tag = 0): Buffer {
  const key = Buffer.alloc(19);
  tablePrefix(tableId, tag).copy(key);
  key.write('_r', 9, 'latin1');
  key.writeBigUInt64BE(BigInt(handle) + (1n << 63n), 11);
  return key;
}

/** The 9 bytes that all keys of a table begin with. */
export function tablePrefix(tableId: number, tag = 0): Buffer {
  const key = Buffer.alloc(9);
  key[0] = 0x74;
  key.writeUInt16BE(SIGN_BIT + tag, 1);
  key.writeUIntBE(tableId, 3, 6);
  return key;
}

/** Memcomparable: groups of 8 bytes, zero-padded, each with a marker of 0xff less the padding. */
export function memcomparable(key: Uint8Array): Buffer {
  const groups: Buffer[] = [];
  for (let at = 0; at <= key.length; at += GROUP) {
    const group = Buffer.alloc(GROUP + 1);
    const part = key.subarray(at, at + GROUP);
    group.set(part);
    group[GROUP] = 0xff - (GROUP - part.length);
    groups.push(group);
  }
  return Buffer.concat(groups);
}

export function fromMemcomparable(bytes: Uint8Array): Buffer {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += GROUP + 1) {
    const padding = 0xff - bytes[at + GROUP]!;
    parts.push(bytes.subarray(at, at + GROUP - padding));
  }
  return Buffer.concat(parts);
}
