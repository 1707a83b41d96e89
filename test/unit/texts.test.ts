/** Texts come out of the packing as they went in. */
import { describe, expect, test } from '@jest/globals';
import { MAX_PAIRS, pack, unpack } from '../../src-ts/texts/pack.ts';
import { SENTENCES } from '../../src-ts/texts/sentences.ts';

function roundTrip(texts: string[]): string[] {
  const packed = pack(texts);
  return texts.map((text) => unpack(packed, packed.places.get(text) ?? -1));
}

describe('packed texts', () => {
  test('the sentences of the filter', () => {
    const texts = [...SENTENCES.values()];
    expect(roundTrip(texts)).toEqual(texts);
    expect(pack(texts).bytes.length).toBeLessThan(texts.join('').length * 0.7);
  });

  test('none, the empty one, one letter, one letter often', () => {
    const texts = ['', 'a', 'aaaaaaaaaaaaaaaaaaaaaaaa', 'aa', '~ '];
    expect(roundTrip(texts)).toEqual(texts);
    expect(pack([]).bytes).toEqual([0]);
  });

  test('uses every code when there is enough to pack, and no code that ends a text', () => {
    const texts = Array.from(
      { length: 2000 },
      (_, i) => `${(i * 2654435761) % 4294967296}-${i % 97}-${i % 89}`,
    );
    const packed = pack(texts);
    expect(packed.pairs.length).toBe(MAX_PAIRS * 2);
    expect(packed.pairs).not.toContain(0);
    expect(roundTrip(texts)).toEqual(texts);
  });

  test.each(['caf\u00e9', 'tab\t', 'nul\0', 'del\x7f'])('refuses %j', (text) =>
    expect(() => pack([text])).toThrow('not printable ASCII'),
  );
});
