/** docs/refused-statements.md is what was measured last, and that is of the statements that the tests run. Times are not compared. */
import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import {
  STATEMENTS_JSON,
  STATEMENTS_PAGE,
  statementsPage,
  type Measured,
} from '../harness/support/statements-page.ts';
import { STATEMENTS } from '../harness/support/statements.ts';

const measured = JSON.parse(readFileSync(STATEMENTS_JSON, 'utf8')) as Measured[];

test('the page is current', async () => {
  expect(readFileSync(STATEMENTS_PAGE, 'utf8')).toBe(await statementsPage(measured));
});

test('it holds the statements that the tests run, each as it must end', () => {
  const listed = ({ name, sql, outcome }: Pick<Measured, 'name' | 'sql' | 'outcome'>): object => ({
    name,
    sql,
    outcome,
  });
  expect(measured.map(listed)).toEqual(STATEMENTS.map(listed));
  for (const [i, { says }] of STATEMENTS.entries()) if (says) expect(measured[i]!.tenant.says).toMatch(says);
});

test('nothing was left behind', () => {
  expect(measured.flatMap(({ left }) => left)).toEqual([]);
});
