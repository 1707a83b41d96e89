/** Texts come out of their table as they went in. */
import { describe, expect, test } from '@jest/globals';
import { statusTexts } from '../../src-ts/schema/statuses.ts';
import { joinTexts, textAt } from '../../src-ts/schema/texts.ts';

function roundTrip(texts: string[]): string[] {
  const joined = joinTexts(texts);
  return texts.map((text) => textAt(joined, joined.places.get(text) ?? -1));
}

describe('the table of texts', () => {
  test('the sentences of the filter', () => {
    const texts = statusTexts();
    expect(roundTrip(texts)).toEqual(texts);
  });

  test('the empty one comes first, and what is there twice is kept once', () => {
    const { bytes, places } = joinTexts(['a', '', 'a']);
    expect(bytes).toEqual([0, 0, 0, 0, 1, 0, 0, 0, 0x61]);
    expect([...places]).toEqual([
      ['', 0],
      ['a', 4],
    ]);
  });

  test('one that is longer than 255', () => {
    const texts = ['a'.repeat(300), '~ '];
    expect(roundTrip(texts)).toEqual(texts);
  });

  test.each(['café', 'tab\t', 'nul\0', 'del\x7f'])('refuses %j', (text) =>
    expect(() => joinTexts([text])).toThrow('not printable ASCII'),
  );
});
