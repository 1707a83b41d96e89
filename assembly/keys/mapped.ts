/** The results of all codecs. */

/** What a mapping did with its bytes. */
export const enum Mapped {
  /** They stay as they are. */
  SAME,
  /** They were changed in place. */
  IN_PLACE,
  /** The new bytes are `mappedAt`, `mappedLength`. */
  REPLACED,
  /** They are not the tenant's. */
  OUTSIDE,
  /** They cannot be decoded. */
  BROKEN,
}

/** Whether an encoded mapping is for a key or a bound. */
export const enum Bound {
  KEY,
  LOWER,
  UPPER,
}

/** The result of the last mapping that returned REPLACED, in the arena or within the given bytes. */
export let mappedAt: usize = 0;
export let mappedLength: usize = 0;

export function replacedBy(at: usize, length: usize): Mapped {
  mappedAt = at;
  mappedLength = length;
  return Mapped.REPLACED;
}

/** Returns a bound that a tenant sees as open. */
export function unbounded(): Mapped {
  return replacedBy(0, 0);
}
