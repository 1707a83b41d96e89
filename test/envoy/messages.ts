/** Protobuf bytes by hand, so that malformed ones can be made as well. */

/** A length-delimited field; field numbers below 16. */
export function bytesField(field: number, value: Uint8Array): Buffer {
  if (value.length > 127) throw new Error('one length byte only');
  return Buffer.concat([Buffer.from([(field << 3) | 2, value.length]), value]);
}

export const GET = '/tikvpb.Tikv/KvGet';
/** kvrpcpb.GetRequest with its key, field 2. */
export const getRequest = (key: Uint8Array): Buffer => bytesField(2, key);
