/** What every codec answers with. */

/** What a mapping did with the bytes it was given. */
export const enum Mapped {
  /** They stay as they are. */
  SAME,
  /** They were changed where they lie. */
  IN_PLACE,
  /** The new bytes are `mappedAt`, `mappedLength`. */
  REPLACED,
  /** They are not the tenant's. */
  OUTSIDE,
  /** They are not what they should be (undecodable). */
  BROKEN,
}

/** Which bound or key an encoded mapping is for. */
export const enum Bound {
  KEY,
  LOWER,
  UPPER,
}

/** The result of the last mapping that said REPLACED; in the arena, or inside of the bytes that it was given. */
export let mappedAt: usize = 0;
export let mappedLength: usize = 0;

export function replacedBy(at: usize, length: usize): Mapped {
  mappedAt = at;
  mappedLength = length;
  return Mapped.REPLACED;
}

/** A bound that a tenant sees as open. */
export function unbounded(): Mapped {
  return replacedBy(0, 0);
}
