/** `npm run size`: shows the bytes of the release filter, by wasm section. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import Table from 'cli-table3';
import { ensureBuilt, RELEASE, ROOT } from './builds.ts';

const SECTIONS = [
  'custom',
  'type',
  'import',
  'function',
  'table',
  'memory',
  'global',
  'export',
  'start',
  'element',
  'code',
  'data',
  'data count',
];

/** Bytes per section of a wasm binary, headers included. */
function sectionSizes(wasm: Uint8Array): Map<string, number> {
  const sizes = new Map<string, number>();
  for (let at = 8; at < wasm.length;) {
    const start = at;
    const id = wasm[at++] ?? 0;
    let length = 0;
    for (let shift = 0, more = true; more; shift += 7) {
      const byte = wasm[at++] ?? 0;
      length |= (byte & 0x7f) << shift;
      more = byte >= 0x80;
    }
    at += length;
    const name = SECTIONS[id] ?? `section ${id}`;
    sizes.set(name, (sizes.get(name) ?? 0) + at - start);
  }
  return sizes;
}

await ensureBuilt([RELEASE]);
const wasm = readFileSync(join(ROOT, RELEASE.output));
const table = new Table({
  head: ['section', 'bytes', 'share'],
  colAligns: ['left', 'right', 'right'],
  style: { head: [] },
});
for (const [name, size] of [...sectionSizes(wasm)].sort((a, b) => b[1] - a[1]))
  table.push([name, size, `${((size / wasm.length) * 100).toFixed(1)} %`]);
console.log(table.toString());
console.log(`${RELEASE.output}: ${wasm.length} bytes, ${gzipSync(wasm).length} gzipped`);
