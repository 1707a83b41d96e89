/** How the configuration of a move gets to the Envoys: by a file, and a shell command. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fileMesh } from '../../src-ts/move/filters/file-mesh.ts';
import { shell } from '../../src-ts/move/filters/shell.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

const LONG_MS = 60_000;

describe('a shell command', () => {
  test('gets the file, and its end is waited for', async () => {
    await expect(shell('test "$1" = a.yaml', 'a.yaml', LONG_MS)).resolves.toBeUndefined();
  });

  test.each([
    ['echo out; echo why >&2; exit 3', 'why; it ended with 3'],
    ['kill -TERM $$', 'it ended with SIGTERM'],
  ])('that fails says why: %s', async (command, why) => {
    await expect(shell(command, 'a.yaml', LONG_MS)).rejects.toThrow(why);
  });

  test('is ended with all that it has started when it takes too long', async () => {
    // What is left of it would keep its output open.
    await expect(shell('sleep 600 & wait', 'a.yaml', 200)).rejects.toThrow('it had not ended after 0.2 s');
  });
});

test('tenants that are told at once share a delivery, behind all that they have written', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-'));
  try {
    const file = join(folder, 'config.json');
    const names = Array.from({ length: 10 }, (_, i) => `t${i}`);
    const tenants = names.map((name, i) => ({ name, number: i + 1 }));
    writeFileSync(file, JSON.stringify({ tenants }));
    // The first one has begun when the others come.
    const apply = 'cat "$1" > "$1.$(ls "$(dirname "$1")" | wc -l)"; sleep 0.3; test ! -e "$1.fails"';
    const mesh = fileMesh(file, apply, []);
    const serialsIn = (name: string): unknown[] => {
      const { tenants: told } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as {
        tenants: { move?: { serial: number } }[];
      };
      return told.map(({ move }) => move?.serial);
    };
    const tell = (name: string, serial: number): Promise<void> =>
      mesh.tell(name, { place: {}, move: { serial, phase: 'prepare' } });
    const first = tell('t0', 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await Promise.all([first, ...names.slice(1).map((name) => tell(name, 1))]);
    expect(serialsIn('config.json.2')).toEqual(names.map(() => 1));
    expect(readdirSync(folder).sort()).toEqual(['config.json', 'config.json.1', 'config.json.2']);
    // Each hears of what went wrong, and the next one is delivered.
    writeFileSync(`${file}.fails`, '');
    const outcomes = await Promise.allSettled(names.map((name) => tell(name, 2)));
    expect(outcomes.map(({ status }) => status)).toEqual(names.map(() => 'rejected'));
    rmSync(`${file}.fails`);
    await expect(tell('t0', 3)).resolves.toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('the line and the script of the pages', () => {
  let folder: string;
  const page = (name: string): string => readFileSync(join(ROOT, 'docs', name), 'utf8');
  const program = (name: string, text: string): void => {
    writeFileSync(join(folder, name), text);
    chmodSync(join(folder, name), 0o755);
  };

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-apply-'));
    const [, script = ''] = /```sh\n(#![^]*?)```/.exec(page('move.md')) ?? [];
    program('apply.sh', script);
    // They only say how they were called.
    for (const name of ['tidb-mesh', 'kubectl'])
      program(name, `#!/bin/sh\necho "${name} $*" >> "${folder}/calls"\n`);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each(['move.md', 'import.md'])('%s hands the file on to the script', async (name) => {
    const lines = [...page(name).matchAll(/--apply '([^']+)'/g)].map(([, line = '']) => line);
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) {
      writeFileSync(join(folder, 'calls'), '');
      await shell(`cd "${folder}"; PATH="$PWD:$PATH"; ${line}`, '/etc/mesh.yaml', LONG_MS);
      expect(readFileSync(join(folder, 'calls'), 'utf8')).toMatch(
        /^tidb-mesh render \/etc\/mesh\.yaml --out (\S+)\nkubectl apply --server-side -k \1\/envoyfilter\n$/,
      );
    }
  });
});
