/** Joins the filter's texts into one table, which `assembly/texts/text.ts` reads. */

/** A text's length lies before its bytes, as for an Ascii: u32, lowest byte first. */
const LENGTH_BYTES = 4;

export interface Texts {
  /** All texts; the first one is empty. */
  readonly bytes: readonly number[];
  /** Where each text begins in `bytes`, at its length. */
  readonly places: ReadonlyMap<string, number>;
}

/** @throws Error when a text is not printable ASCII. */
export function joinTexts(texts: Iterable<string>): Texts {
  const bytes: number[] = [];
  const places = new Map<string, number>();
  for (const text of new Set(['', ...texts])) {
    if (!/^[\x20-\x7e]*$/.test(text)) throw new Error(`not printable ASCII: ${JSON.stringify(text)}`);
    places.set(text, bytes.length);
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32LE(text.length);
    bytes.push(...length, ...Buffer.from(text, 'ascii'));
  }
  return { bytes, places };
}

/** The text at a place. */
export function textAt({ bytes }: Pick<Texts, 'bytes'>, place: number): string {
  const all = Buffer.from(bytes);
  const start = place + LENGTH_BYTES;
  return all.toString('ascii', start, start + all.readUInt32LE(place));
}
