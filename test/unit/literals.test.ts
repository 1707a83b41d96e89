/** Which string literals are packed while the filter is compiled, and that nothing else changes. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { literalsOf, packLiterals } from '../../src-ts/texts/literals.ts';

const texts = (path: string, source: string): string[] => literalsOf(path, source).map(({ text }) => text);

describe('packed literals', () => {
  test('constants anywhere, long texts in cold code, no imports, no comments', () => {
    const source = [
      "import { a } from '../somewhere/else';",
      "/** the tenant's 'own text' */",
      "const A = ascii('GET');",
      "fail('a long sentence', 'short');",
    ].join('\n');
    expect(texts('assembly/keys/table.ts', source)).toEqual(['GET']);
    expect(texts('assembly/tenant/config.ts', source)).toEqual(['GET', 'a long sentence']);
  });

  test('what is not printable ASCII stays', () => {
    expect(texts('assembly/keys/table.ts', "ascii('a\\0b'); ascii(''); ascii('caf\u00e9');")).toEqual([]);
  });

  test('lines stay where they are, and only literals go', () => {
    const path = 'assembly/tenant/config.ts';
    const source = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
    const packed = packLiterals()(path) ?? '';
    const lines = packed.split('\n');
    expect(lines.slice(-2)).toEqual(["import { literal } from '../texts/literals';", '']);
    expect(lines.length).toBe(source.split('\n').length + 1);
    const before = literalsOf(path, source);
    expect(packed.match(/\bliteral\(\d+\)/g)?.length).toBe(before.length);
    expect(literalsOf(path, packed)).toEqual([]);
  });
});
