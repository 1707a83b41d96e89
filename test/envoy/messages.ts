/** Protobuf bytes by hand, so that malformed ones can be made as well. */

/** A length-delimited field; field numbers below 16. */
export function bytesField(field: number, value: Uint8Array): Buffer {
  if (value.length > 127) throw new Error('one length byte only');
  return Buffer.concat([Buffer.from([(field << 3) | 2, value.length]), value]);
}

/** TiDB's key of a row, as a tenant knows it or, with a number, as the store does. */
export function rowKey(table: number, handle: number, tenant = 0): Buffer {
  const key = Buffer.alloc(19);
  key.write('t', 0);
  key.writeUInt16BE(0x8000 + tenant, 1);
  key.writeUIntBE(table, 3, 6);
  key.write('_r', 9);
  key.writeUInt32BE(0x80000000, 11);
  key.writeUInt32BE(handle, 15);
  return key;
}

export const GET = '/tikvpb.Tikv/KvGet';
/** kvrpcpb.GetRequest with its key, field 2. */
export const getRequest = (key: Uint8Array): Buffer => bytesField(2, key);
