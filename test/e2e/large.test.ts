import { createCipheriv, createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { inAll, only } from './support/tenants.ts';

/** TiDB's own limit of a row is 6 MiB, its key and other columns included. */
const ROW_BYTES = 6_000_000;
const MB = 1_000_000;
const RESULT_ROWS = 50;

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
  await inAll(stack, (session) => session.query('CREATE DATABASE large'));
});
afterAll(async () => {
  await stack?.stop();
});

/** Bytes that differ by tenant and row and do not repeat, so that a misplaced piece shows. */
function pattern(tenant: string, row: number, length: number): Buffer {
  const seed = createHash('sha256').update(`${tenant} ${row}`).digest();
  const cipher = createCipheriv('aes-128-ctr', seed.subarray(0, 16), seed.subarray(16));
  return cipher.update(Buffer.alloc(length));
}

test('a row of 6 MB goes in and comes out whole, in both tenants at the same time', async () => {
  await inAll(stack, async (session, tenant) => {
    await session.query('CREATE TABLE large.row_of_6_mb (id INT PRIMARY KEY, v LONGBLOB)');
    const value = pattern(tenant, 0, ROW_BYTES);
    await session.query('INSERT INTO large.row_of_6_mb VALUES (1, ?)', [value]);
    for (const sql of ['WHERE id = 1', '', 'ORDER BY id DESC']) {
      const found = only(await session.query(`SELECT v FROM large.row_of_6_mb ${sql}`)) as Buffer;
      expect(found.equals(value)).toBe(true);
    }
    await session.query('BEGIN PESSIMISTIC');
    const locked = only(
      await session.query('SELECT v FROM large.row_of_6_mb WHERE id = 1 FOR UPDATE'),
    ) as Buffer;
    expect(locked.equals(value)).toBe(true);
    await session.query("UPDATE large.row_of_6_mb SET v = CONCAT(v, 'end') WHERE id = 1");
    await session.query('COMMIT');
    expect(Number(only(await session.query('SELECT LENGTH(v) FROM large.row_of_6_mb')))).toBe(ROW_BYTES + 3);
  });
});

test.each(['ON', 'OFF'])('a result of 50 MB is whole, paging %s', async (paging) => {
  await inAll(stack, async (session, tenant) => {
    await session.query('DROP TABLE IF EXISTS large.result');
    await session.query('CREATE TABLE large.result (id INT PRIMARY KEY, v MEDIUMBLOB)');
    for (let row = 0; row < RESULT_ROWS; row++)
      await session.query('INSERT INTO large.result VALUES (?, ?)', [row, pattern(tenant, row, MB)]);
    await session.query(`SET tidb_enable_paging = ${paging}`);
    const found = await session.query('SELECT id, v FROM large.result ORDER BY id');
    expect(found).toHaveLength(RESULT_ROWS);
    const bytes = found.reduce((sum, row) => sum + (row['v'] as Buffer).length, 0);
    expect(bytes).toBe(RESULT_ROWS * MB);
    for (const [at, row] of found.entries()) {
      expect(row['id']).toBe(at);
      expect((row['v'] as Buffer).equals(pattern(tenant, at, MB))).toBe(true);
    }
  });
});

test('a transaction of 30 MB commits', async () => {
  await inAll(stack, async (session, tenant) => {
    await session.query('CREATE TABLE large.tx (id INT PRIMARY KEY, v MEDIUMBLOB)');
    await session.query('BEGIN');
    for (let row = 0; row < 30; row++)
      await session.query('INSERT INTO large.tx VALUES (?, ?)', [row, pattern(tenant, row, MB)]);
    await session.query('COMMIT');
    expect(Number(only(await session.query('SELECT SUM(LENGTH(v)) FROM large.tx')))).toBe(30 * MB);
  });
});
