/** The filter's data is packed in the wasm, and as it was once a VM has started. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { judge } from '../../src-ts/schema/judgement.ts';
import { layOut } from '../../src-ts/schema/layout.ts';
import { compile, isCurrent, RELEASE, ROOT } from '../../src-ts/wasm/builds.ts';

const layout = layOut(judge(readDescriptors()));
const TABLES: readonly (readonly [string, Uint8Array])[] = [
  ['texts', Uint8Array.from(layout.texts.bytes)],
  ['pairs of texts', Uint8Array.from(layout.texts.pairs)],
  ['messages', bytesOf(Uint16Array.from(layout.messages))],
  ['fields', bytesOf(Uint32Array.from(layout.fields))],
  ['methods', bytesOf(Uint16Array.from(layout.methods))],
  ['endpoints', bytesOf(Uint16Array.from(layout.http.endpoints))],
];

function bytesOf({ buffer }: Uint16Array | Uint32Array): Uint8Array {
  return new Uint8Array(buffer);
}

describe('the release build', () => {
  let before: Buffer;
  let after: Buffer;

  beforeAll(async () => {
    if (!isCurrent(RELEASE)) await compile(RELEASE);
    const compiled = new WebAssembly.Module(readFileSync(join(ROOT, RELEASE.output)));
    const imports: WebAssembly.Imports = {};
    for (const { module, name } of WebAssembly.Module.imports(compiled))
      imports[module] = { ...imports[module], [name]: () => 0 };
    const { memory, _initialize: start } = new WebAssembly.Instance(compiled, imports).exports;
    const look = (): Buffer => Buffer.from((memory as WebAssembly.Memory).buffer.slice(0));
    before = look();
    (start as () => void)();
    after = look();
  });

  test.each(TABLES)('has its %s once it is started, and not before', (_name, bytes) => {
    expect(before.indexOf(bytes)).toBe(-1);
    expect(after.indexOf(bytes)).toBeGreaterThan(0);
  });
});
