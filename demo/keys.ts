import type { StoredKey } from '../test/harness/stack/inspect.ts';

/** A table's key as it lies in the store, taken apart. Numbers that need 64 bits are bigint. */
export interface PhysicalKey {
  hex: string;
  /** From the two bytes behind the `t`; 0 where no tenant's number is set. */
  tenant: number;
  tableId: number;
  kind: 'row' | 'index' | 'other';
  /** Of a row. */
  handle?: bigint;
  /** Of an index entry. */
  indexId?: bigint;
  /** The parts in order as hex, for display: `t`, tenant, table id, separator, the rest. */
  parts: string[];
}

/*
 *  0    1    2    3 ... 8      9 10   11 ... 18
 *  't'  80nn      table id     '_r'   handle, sign bit flipped
 *                              '_i'   index id, sign bit flipped, then the values
 */
const TAG_AT = 1;
const ID_AT = 3;
const SEPARATOR_AT = 9;
const REST_AT = 11;
const SIGN_BIT = 1n << 63n;
const TAG_BASE = 0x8000;

export function takeApart({ key }: StoredKey): PhysicalKey | undefined {
  if (key.length < SEPARATOR_AT || key[0] !== 0x74) return undefined;
  const separator = key.subarray(SEPARATOR_AT, REST_AT).toString('latin1');
  const rest = key.subarray(REST_AT);
  const number = rest.length >= 8 ? BigInt.asIntN(64, rest.readBigUInt64BE() ^ SIGN_BIT) : undefined;
  const kind = separator === '_r' ? 'row' : separator === '_i' ? 'index' : 'other';
  return {
    hex: key.toString('hex'),
    tenant: key.readUInt16BE(TAG_AT) - TAG_BASE,
    tableId: key.readUIntBE(ID_AT, 6),
    kind,
    ...(kind === 'row' && number !== undefined ? { handle: number } : {}),
    ...(kind === 'index' && number !== undefined ? { indexId: number } : {}),
    parts: [
      key.subarray(0, TAG_AT),
      key.subarray(TAG_AT, ID_AT),
      key.subarray(ID_AT, SEPARATOR_AT),
      key.subarray(SEPARATOR_AT, REST_AT),
      rest,
    ].map((part) => part.toString('hex')),
  };
}

/** First key of a tenant's table in the store; with the next table's id, the end of the one before. */
export function tablePrefix(tenant: number, tableId: number): Buffer {
  const key = Buffer.alloc(SEPARATOR_AT);
  key[0] = 0x74;
  key.writeUInt16BE(TAG_BASE + tenant, TAG_AT);
  key.writeUIntBE(tableId, ID_AT, 6);
  return key;
}

/** First key of a tenant's whole key space; that of the next number is its end. */
export function tenantPrefix(tenant: number): Buffer {
  return tablePrefix(tenant, 0).subarray(0, ID_AT);
}
