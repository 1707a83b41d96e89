/** docs/surface.md and `npm run surface` say what proto/ says. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { judge, type Judgement } from '../../src-ts/schema/judgement.ts';
import { RENEW, SURFACE_PAGE, surfacePage } from '../../src-ts/schema/surface-page.ts';
import { surfaceText } from '../../src-ts/schema/surface.ts';
import { totalsOf } from '../../src-ts/schema/totals.ts';

let judgement: Judgement;

beforeAll(() => {
  judgement = judge(readDescriptors());
});

/** The judgement with a field that has lost its role, which judge() itself would not let pass. */
function withoutRole(message: string, field: string): Judgement {
  const messages = judgement.messages.map((m) =>
    m.name === message
      ? {
          ...m,
          fields: m.fields.map((f) => (f.name === field ? { ...f, role: 'ROLE_UNSPECIFIED' } : f)),
        }
      : m,
  );
  return { ...judgement, messages };
}

test(`docs/surface.md is current (${RENEW})`, async () => {
  expect(readFileSync(SURFACE_PAGE, 'utf8')).toBe(await surfacePage(judgement));
});

describe('the page', () => {
  const cells = (line: string): string[] =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
  /** The rows below the heading, the head of the table left out. */
  const rows = (page: string, heading: string): string[][] => {
    const [, section] = page.split(`\n### ${heading}\n`);
    const [text] = section!.split('\n#');
    return text!
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .slice(2)
      .map(cells);
  };

  test('has every method with its decision and reason', async () => {
    const page = await surfacePage(judgement);
    for (const method of judgement.methods) {
      const [, service, name] = method.path.split('/');
      expect(rows(page, service!)).toContainEqual([
        `\`${name}\``,
        method.decision,
        method.because || method.kind.slice('KIND_'.length).toLowerCase(),
      ]);
    }
  });

  test('has every field with its role', async () => {
    const page = await surfacePage(judgement);
    for (const message of judgement.messages) {
      const shown = message.fields.length > 0 ? rows(page, message.name) : [];
      expect(shown.map(([name, number, , role]) => [name, number, role])).toEqual(
        message.fields.map((f) => [
          f.name,
          String(f.number),
          f.role === 'ROLE_UNSPECIFIED' ? '' : `${f.role} ${f.limit ?? f.allowed.join(', ')}`.trim(),
        ]),
      );
    }
  });
});

describe('totals', () => {
  test('count every method and every field once', () => {
    const totals = totalsOf(judgement);
    const sum = (counts: readonly (readonly [string, number])[]): number =>
      counts.reduce((all, [, n]) => all + n, 0);
    expect(sum(totals.decisions)).toBe(judgement.methods.length);
    expect(sum(totals.roles)).toBe(totals.withRole);
    expect(totals.withRole + totals.walked + totals.plain + totals.unclassified.length).toBe(
      judgement.messages.flatMap((m) => m.fields).length,
    );
  });

  test('name what is not classified', () => {
    expect(totalsOf(judgement).unclassified).toEqual([]);
    expect(surfaceText(judgement)).toMatch(/\n0 unclassified$/);
    const broken = withoutRole('kvrpcpb.GetRequest', 'key');
    expect(surfaceText(broken)).toMatch(/\nunclassified: kvrpcpb\.GetRequest\.key\n1 unclassified$/);
  });
});
