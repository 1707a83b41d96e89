/** A file that several processes change. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { changeFileAlone } from '../../src-ts/replace-file.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'replace-'));
  file = join(folder, 'mesh.yaml');
  writeFileSync(file, '0');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Processes that add one, so often each, and begin together. */
async function adders(count: number, times: number): Promise<number[]> {
  const module = new URL('../../src-ts/replace-file.ts', import.meta.url).href;
  const code = `const { changeFileAlone } = await import(${JSON.stringify(module)});
    process.stdout.write('ready');
    await new Promise((resolve) => process.stdin.once('data', resolve));
    process.stdin.destroy();
    for (let i = 0; i < ${times}; i++) await changeFileAlone(${JSON.stringify(file)}, (text) => String(Number(text) + 1));`;
  const all = Array.from({ length: count }, () =>
    spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  const ended = all.map(
    (child) => new Promise<number>((resolve) => child.once('close', (status) => resolve(status ?? -1))),
  );
  await Promise.all(all.map((child) => new Promise((resolve) => child.stdout.once('data', resolve))));
  for (const child of all) child.stdin.write('go');
  return Promise.all(ended);
}

describe('a file that is changed alone', () => {
  test('loses no change of another process', async () => {
    expect(await adders(2, 200)).toEqual([0, 0]);
    expect(readFileSync(file, 'utf8')).toBe('400');
    expect(readdirSync(folder)).toEqual(['mesh.yaml']);
  }, 120_000);

  test('is not written over what an editor wrote meanwhile', async () => {
    const change = changeFileAlone(file, () => {
      writeFileSync(file, 'edited');
      return 'ours';
    });
    await expect(change).rejects.toThrow('has just been changed by somebody else');
    expect(readFileSync(file, 'utf8')).toBe('edited');
    expect(existsSync(`${file}.lock`)).toBe(false);
  });

  test('is not locked for ever by a process that has died', async () => {
    writeFileSync(`${file}.lock`, 'dead');
    await changeFileAlone(file, (text) => `${text}1`);
    expect(readFileSync(file, 'utf8')).toBe('01');
    expect(readdirSync(folder)).toEqual(['mesh.yaml']);
  }, 60_000);

  test('stays as it is when the change throws', async () => {
    const change = changeFileAlone(file, () => {
      throw new Error('no');
    });
    await expect(change).rejects.toThrow('no');
    expect(readdirSync(folder)).toEqual(['mesh.yaml']);
  });
});
