/**
 * Maps keys between a tenant's own form (logical) and the stores' (physical), for one tenant of a mesh file. The filter's side of it is
 * assembly/keys/.
 *
 *     table codec     "" … t 8000 000000000001   →  t 80nn 000000000000 KEY
 *                     t 8000 ID … t 8001         →  t 80nn ID
 *     keyspace        KEY                        →  x ID KEY
 *     prefix          KEY                        →  PREFIX KEY
 *     tenant 0        KEY, below t 8001          →  KEY
 *
 * Each line is a segment: an order-preserving replacement of one prefix. So chunks, borders and checksums map by segments.
 */
import { CommandError } from '../../errors.ts';
import { APIVersion } from '../../pd/generated/tikv/kvrpcpb_pb.ts';
import type { StoreRange } from '../../pd/ranges.ts';
import { rangeOf } from '../../tenants/belongings.ts';
import {
  fromMemcomparable,
  memcomparable,
  spaceOf,
  type KeySpace,
  type Tenant,
} from '../../tenants/tenant.ts';

const EMPTY = Buffer.alloc(0);
const TABLE = 0x74;
const TAG_BYTES = 3;
const GROUP = 8;

/** The first key that carries a tag, and the first one that no TiDB writes. assembly/keys/table.ts has the same. */
const TAGGABLE = Buffer.from('748000000000000001', 'hex');
const LIMIT = Buffer.from('748001', 'hex');

/** A range of logical keys that differ from the physical ones by one prefix. */
export interface Segment {
  /** [start, end); an empty end has no bound. */
  readonly start: Buffer;
  readonly end: Buffer;
  readonly logicalPrefix: Buffer;
  readonly physicalPrefix: Buffer;
}

/** Whose context requests to the stores carry. */
export interface SpaceContext {
  readonly apiVersion?: APIVersion;
  readonly keyspaceId?: number;
}

/** A range of keys, [start, end). An empty logical end, and an empty physical start, stand for the space's own. */
export interface Range {
  readonly start: Buffer;
  readonly end: Buffer;
}

/** True when `key` lies below an end that may have no bound. */
function below(key: Uint8Array, end: Uint8Array): boolean {
  return end.length === 0 || Buffer.compare(key, end) < 0;
}

export function hasPrefix(key: Uint8Array, prefix: Uint8Array): boolean {
  return key.length >= prefix.length && Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;
}

/** The smaller of two ends, of which an empty one has no bound. */
export function lowerEnd(a: Buffer, b: Buffer): Buffer {
  return below(a, b) && a.length > 0 ? a : b.length > 0 ? b : a;
}

function laterStart(a: Buffer, b: Buffer): Buffer {
  return Buffer.compare(a, b) > 0 ? a : b;
}

function segmentsOf(tenant: Tenant, space: KeySpace): Segment[] {
  if (tenant.keyspace || tenant.prefix)
    return [{ start: EMPTY, end: EMPTY, logicalPrefix: EMPTY, physicalPrefix: space.start }];
  // The keys of tenant 0, where they were at first. It may have moved to a number since.
  if (space.start.length === 0)
    return [{ start: EMPTY, end: LIMIT, logicalPrefix: EMPTY, physicalPrefix: EMPTY }];
  const tag = space.start.subarray(0, TAG_BYTES);
  const ownTag = Buffer.from([TABLE, 0x80, 0x00]);
  return [
    { start: EMPTY, end: TAGGABLE, logicalPrefix: EMPTY, physicalPrefix: space.start },
    { start: TAGGABLE, end: LIMIT, logicalPrefix: ownTag, physicalPrefix: tag },
  ];
}

/** The keys of one tenant, or of one side of a move. */
export class MoveSpace {
  /** Physical bounds: [start, end). The start of tenant 0 is empty. */
  readonly start: Buffer;
  readonly end: Buffer;
  /** The same as PD has them. */
  readonly pdStart: Buffer;
  readonly pdEnd: Buffer;
  readonly context: SpaceContext;

  constructor(
    readonly tenant: Tenant,
    readonly space: KeySpace,
    readonly segments: readonly Segment[],
  ) {
    this.start = space.start;
    this.end = space.end;
    this.pdStart = this.toPd(space.start);
    this.pdEnd = this.toPd(space.end);
    this.context =
      space.keyspaceId === undefined ? {} : { apiVersion: APIVersion.V2, keyspaceId: space.keyspaceId };
  }

  /** In words. */
  get text(): string {
    return this.space.text;
  }

  /** As pd/ranges.ts takes it. */
  get range(): StoreRange {
    return rangeOf(this.space);
  }

  private segmentAt(logical: Uint8Array): Segment | undefined {
    return this.segments.find(({ end }) => below(logical, end));
  }

  /** The physical key of a logical one; undefined when the space has no such key. */
  encode(logical: Uint8Array): Buffer | undefined {
    const segment = this.segmentAt(logical);
    // Nothing lies before tenant 0: its empty key would be the whole store.
    if (!segment || (logical.length === 0 && segment.physicalPrefix.length === 0)) return undefined;
    return Buffer.concat([segment.physicalPrefix, logical.subarray(segment.logicalPrefix.length)]);
  }

  /** The logical key of a physical one; undefined when it is not of this space. */
  decode(physical: Uint8Array): Buffer | undefined {
    if (physical.length === 0 || !this.owns(physical)) return undefined;
    for (const { start, end, logicalPrefix, physicalPrefix } of this.segments) {
      if (!hasPrefix(physical, physicalPrefix)) continue;
      const logical = Buffer.concat([logicalPrefix, physical.subarray(physicalPrefix.length)]);
      if (Buffer.compare(logical, start) >= 0 && below(logical, end)) return logical;
    }
    return undefined;
  }

  /** True for physical keys between the space's bounds. */
  owns(physical: Uint8Array): boolean {
    return Buffer.compare(physical, this.start) >= 0 && Buffer.compare(physical, this.end) < 0;
  }

  /** Where a logical boundary lies among the physical keys. The empty one is the start; pass it as an end to `physicalRange`. */
  boundary(logical: Uint8Array): Buffer {
    if (logical.length === 0) return this.start;
    return this.encode(logical) ?? this.end;
  }

  /** A range of logical keys in physical form. */
  physicalRange({ start, end }: Range): Range {
    return { start: this.boundary(start), end: end.length === 0 ? this.end : this.boundary(end) };
  }

  /** The first logical key at or behind a physical boundary; undefined behind the space's end. */
  logicalBoundary(physical: Uint8Array): Buffer | undefined {
    if (Buffer.compare(physical, this.start) <= 0) return EMPTY;
    if (Buffer.compare(physical, this.end) >= 0) return undefined;
    for (const { start, end, logicalPrefix, physicalPrefix } of this.segments) {
      if (Buffer.compare(physical, physicalPrefix) <= 0) return start;
      if (!hasPrefix(physical, physicalPrefix)) continue;
      const logical = Buffer.concat([logicalPrefix, physical.subarray(physicalPrefix.length)]);
      if (below(logical, end)) return laterStart(logical, start);
    }
    return undefined;
  }

  /** A physical key in PD's form. The empty one stays: it is the store's first. */
  toPd(physical: Uint8Array): Buffer {
    return physical.length === 0 ? EMPTY : memcomparable(physical);
  }

  /** The first physical key at or behind a boundary of PD, which may be no encoded key. */
  fromPd(boundary: Buffer): Buffer {
    const exact = boundary.length === 0 ? EMPTY : fromMemcomparable(boundary);
    if (exact) return exact;
    const parts: Buffer[] = [];
    for (let at = 0; at < boundary.length; at += GROUP + 1) parts.push(boundary.subarray(at, at + GROUP));
    return Buffer.concat(parts);
  }
}

/**
 * The key space of a tenant of the mesh file.
 * @throws CommandError for a RawKV space, which has no versions to copy by
 */
export function keySpaceOf(tenant: Tenant): MoveSpace {
  const space = spaceOf(tenant);
  if (space.mode === 'raw')
    throw new CommandError(
      'REFUSED',
      `${tenant.name} is a RawKV tenant (${space.text}), which has no versions and no change feed`,
      'stop its clients, and copy its keys by a RawKV client',
    );
  return new MoveSpace(tenant, space, segmentsOf(tenant, space));
}

/** Maps physical keys of one space to physical keys of another. */
export class KeyMap {
  constructor(
    readonly from: MoveSpace,
    readonly to: MoveSpace,
  ) {}

  /**
   * @throws CommandError for a key that is not of the one space, or that the other cannot have. Nothing is written outside of the target
   */
  map(physical: Uint8Array): Buffer {
    const logical = this.from.decode(physical);
    const mapped = logical && this.to.encode(logical);
    if (mapped && this.to.owns(mapped)) return mapped;
    const why = logical ? `cannot lie in ${this.to.text}` : `does not lie in ${this.from.text}`;
    throw new CommandError(
      'REFUSED',
      `a key of ${physical.length} bytes of tenant ${this.from.tenant.name} ${why}`,
      'find what writes keys that TiDB does not write; `tidb-mesh doctor` names overlapping key ranges',
    );
  }
}

/** The logical ranges in which both spaces replace one prefix only, in order. */
export function commonSegments(
  a: MoveSpace,
  b: MoveSpace,
): (Range & { readonly a: Segment; readonly b: Segment })[] {
  const common: (Range & { a: Segment; b: Segment })[] = [];
  for (const one of a.segments)
    for (const other of b.segments) {
      const start = laterStart(one.start, other.start);
      const end = lowerEnd(one.end, other.end);
      if (below(start, end)) common.push({ start, end, a: one, b: other });
    }
  return common;
}

const RECORD_ID_BYTES = 8;

/** The id of the table that a logical key belongs to; undefined for other keys. */
export function tableIdOf(logical: Uint8Array): bigint | undefined {
  if (logical[0] !== TABLE || logical.length < 1 + RECORD_ID_BYTES) return undefined;
  const id = Buffer.from(logical.subarray(1, 1 + RECORD_ID_BYTES)).readBigUInt64BE() ^ (1n << 63n);
  return BigInt.asIntN(64, id);
}
