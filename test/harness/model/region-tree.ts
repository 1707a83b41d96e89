/** PD's list of regions, as far as it is asked by keys (pkg/core/region_tree.go, region.go). */
import { compare, EMPTY } from './bytes.ts';

/** Bounds in PD's form. */
export interface Region {
  readonly id: bigint;
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

export interface KeyRange {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

export function contains({ start, end }: KeyRange, key: Uint8Array): boolean {
  return compare(start, key) <= 0 && (end.length === 0 || compare(key, end) < 0);
}

export class RegionTree {
  readonly regions: readonly Region[];

  /** @param boundaries rising, none of them empty */
  constructor(boundaries: readonly Uint8Array[]) {
    this.regions = [...boundaries, EMPTY].map((end, i) => ({
      id: BigInt(1000 + i),
      start: boundaries[i - 1] ?? EMPTY,
      end,
    }));
  }

  byId(id: bigint): Region | undefined {
    return this.regions.find((region) => region.id === id);
  }

  byKey(key: Uint8Array): Region {
    const found = this.regions.find((region) => contains(region, key));
    if (!found) throw new Error('the regions have a gap');
    return found;
  }

  before(key: Uint8Array): Region | undefined {
    return this.byId(this.byKey(key).id - 1n);
  }

  scan({ start, end }: KeyRange, limit: number): Region[] {
    const from = this.regions.indexOf(this.byKey(start));
    const found = this.regions
      .slice(from)
      .filter((region) => end.length === 0 || compare(region.start, end) < 0);
    return limit > 0 ? found.slice(0, limit) : found;
  }

  /** Undefined: PD refuses ranges that overlap, are out of order or the wrong way round. */
  batchScan(ranges: readonly KeyRange[], limit: number): Region[] | undefined {
    const isWrong = ranges.some(
      ({ start, end }, i) =>
        (i > 0 && compare(start, ranges[i - 1]!.end) < 0) || (end.length > 0 && compare(start, end) > 0),
    );
    if (isWrong) return undefined;
    const all = new Set(ranges.flatMap((range) => this.scan(range, limit)));
    return limit > 0 ? [...all].slice(0, limit) : [...all];
  }
}
