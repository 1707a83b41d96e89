/**
 * Packs ASCII texts by byte pairs: the pair of codes that comes most often becomes a code of its own, again and again, while codes
 * are left. `assembly/texts/text.ts` expands them. P. Gage, A New Algorithm for Data Compression, 1994.
 */

/** Codes that stand for pairs go round from here: 0x7f to 0xff, then 0x01 to 0x1f. 0 ends a text, the rest is ASCII. */
export const FIRST_PAIR = 0x7f;
export const MAX_PAIRS = 0xa0;
const END_OF_CODES = 0x100;
/** A pair that comes less often than this saves nothing: it takes two bytes itself. */
const LEAST_USES = 4;

export interface Packed {
  /** All texts, a 0 behind each; the first byte is the empty text. */
  readonly bytes: readonly number[];
  /** Two codes for each pair. */
  readonly pairs: readonly number[];
  /** Where each text begins in `bytes`. */
  readonly places: ReadonlyMap<string, number>;
  /** Bytes of the longest text when it is expanded. */
  readonly longest: number;
}

/** The code of a pair. */
function codeOf(pair: number): number {
  const code = FIRST_PAIR + pair;
  return code < END_OF_CODES ? code : code - END_OF_CODES + 1;
}

/** @throws Error when a text is not printable ASCII. */
export function pack(texts: Iterable<string>): Packed {
  const distinct = [...new Set(texts)].filter((text) => text !== '');
  let all = distinct.map((text) => [...text].map((character) => ascii(character, text)));
  const pairs: number[] = [];
  for (let pair = 0; pair < MAX_PAIRS; pair++) {
    const best = mostUsed(all);
    if (best === undefined) break;
    pairs.push(...best);
    all = all.map((codes) => replaced(codes, best, codeOf(pair)));
  }
  const bytes = [0];
  const places = new Map([['', 0]]);
  for (const [i, text] of distinct.entries()) {
    places.set(text, bytes.length);
    bytes.push(...(all[i] ?? []), 0);
  }
  return { bytes, pairs, places, longest: Math.max(0, ...distinct.map((text) => text.length)) };
}

/** The text at a place, as the filter expands it. */
export function unpack({ bytes, pairs }: Pick<Packed, 'bytes' | 'pairs'>, place: number): string {
  const expanded = (code: number): string => {
    const pair = code >= FIRST_PAIR ? code - FIRST_PAIR : code + END_OF_CODES - 1 - FIRST_PAIR;
    if (code >= 0x20 && code < FIRST_PAIR) return String.fromCharCode(code);
    return expanded(pairs[pair * 2] ?? 0) + expanded(pairs[pair * 2 + 1] ?? 0);
  };
  let text = '';
  for (let at = place; bytes[at]; at++) text += expanded(bytes[at] ?? 0);
  return text;
}

function ascii(character: string, text: string): number {
  const code = character.charCodeAt(0);
  if (code < 0x20 || code >= FIRST_PAIR) throw new Error(`not printable ASCII: ${JSON.stringify(text)}`);
  return code;
}

/** The pair that comes most often, the first one of several; undefined when none comes often enough. */
function mostUsed(all: readonly (readonly number[])[]): [number, number] | undefined {
  const uses = new Map<number, number>();
  for (const codes of all)
    for (let i = 1; i < codes.length; i++) {
      const pair = ((codes[i - 1] ?? 0) << 8) | (codes[i] ?? 0);
      uses.set(pair, (uses.get(pair) ?? 0) + 1);
    }
  let best = 0;
  let most = LEAST_USES - 1;
  for (const [pair, count] of uses)
    if (count > most) {
      best = pair;
      most = count;
    }
  return best === 0 ? undefined : [best >> 8, best & 0xff];
}

function replaced(codes: readonly number[], [left, right]: [number, number], by: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] === left && codes[i + 1] === right) {
      out.push(by);
      i++;
    } else out.push(codes[i] ?? 0);
  }
  return out;
}
