/**
 * Tenant 0: the keys of a TiDB that was there before the mesh. They stay as they are, in the part of the store that no table tenant owns.
 *
 *   ''  ........ m... ........ t 80 00 <id> ........ | t 80 01 ........
 *   [------------------ tenant 0 ------------------) | tenants 1, 2, ...
 */
import { Mapped, unbounded } from './mapped';
import { FIRST, LIMIT, T, behindT, writeBound, writeFarPlace } from './tidb-keys';

/** True for what lies among the tenants. */
export function behind(p: usize, length: usize): bool {
  if (length == 0) return false;
  const first = load<u8>(p);
  return first > T || (first == T && behindT(p, length) >= LIMIT);
}

/** A key that is there. OUTSIDE: a tenant's, or the store's empty key, which is nobody's. */
export function checkKey(p: usize, length: usize): Mapped {
  return length == 0 || behind(p, length) ? Mapped.OUTSIDE : Mapped.SAME;
}

/** A range's lower bound. Nothing lies before tenant 0, so that an empty one stays. */
export function encodeLower(p: usize, length: usize): Mapped {
  return behind(p, length) ? writeBound(LIMIT) : Mapped.SAME;
}

/** A range's upper bound; empty is the tenant's end. */
export function encodeUpper(p: usize, length: usize): Mapped {
  return length == 0 || behind(p, length) ? writeBound(LIMIT) : Mapped.SAME;
}

/** Where a key lies among the regions: one among the tenants lies behind tenant 0's last key. */
export function encodePlace(p: usize, length: usize): Mapped {
  return behind(p, length) ? writeFarPlace(FIRST, p, length) : Mapped.SAME;
}

/** A store's region or range start. OUTSIDE: it starts among the tenants. */
export function decodeStart(p: usize, length: usize): Mapped {
  return behind(p, length) ? Mapped.OUTSIDE : Mapped.SAME;
}

/** A store's region or range end, clamped to '' above. */
export function decodeEnd(p: usize, length: usize): Mapped {
  return behind(p, length) ? unbounded() : Mapped.SAME;
}
