/** The OCI image layout: what is in it, that its digests are those of its bytes, and that it is the same each time. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { artifactImage, compatImage, sha256 } from '../../src-ts/oci/image.ts';
import { writeLayout } from '../../src-ts/oci/layout.ts';

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
}
interface Manifest {
  config: Descriptor;
  layers: Descriptor[];
}

/** Not a multiple of a tar's block, as the filter is not. */
const WASM = Buffer.from('\0asm'.repeat(300) + 'end');
const COMPAT_DIGEST = 'sha256:6fb917bbdc387cca5e454c81fc18d4633e48e76c9cd39de0e301f1a395d62025';
const ARTIFACT_DIGEST = 'sha256:d2403fe41ae9283a26f96f4d62f39ff9f6ecde459fc4fced27f133507ee4f3b5';
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-oci-'));
  writeLayout(folder, [compatImage(WASM), artifactImage(WASM)]);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const read = ({ digest, size }: Descriptor): Buffer => {
  const bytes = readFileSync(join(folder, 'blobs', 'sha256', digest.slice('sha256:'.length)));
  expect(sha256(bytes)).toBe(digest);
  expect(bytes.length).toBe(size);
  return bytes;
};
const manifestOf = (name: string): Manifest => {
  const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
  const one = index.manifests.find(
    ({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === name,
  );
  return JSON.parse(read(one!).toString()) as Manifest;
};

test('compat: one tar.gz with plugin.wasm, and the diff id of the tar', () => {
  const { config, layers } = manifestOf('compat');
  expect(layers.map(({ mediaType }) => mediaType)).toEqual(['application/vnd.oci.image.layer.v1.tar+gzip']);
  const tar = gunzipSync(read(layers[0]!));
  expect(tar.subarray(0, 12).toString('latin1')).toBe('plugin.wasm\0');
  expect(tar.subarray(512, 512 + WASM.length).equals(WASM)).toBe(true);
  expect(tar.length % 512).toBe(0);
  const { rootfs } = JSON.parse(read(config).toString()) as { rootfs: { diff_ids: string[] } };
  expect(rootfs.diff_ids).toEqual([sha256(tar)]);
});

test('artifact: two layers, one of them the wasm', () => {
  const { config, layers } = manifestOf('artifact');
  expect(layers).toHaveLength(2);
  const wasm = layers.find(
    ({ mediaType }) => mediaType === 'application/vnd.module.wasm.content.layer.v1+wasm',
  );
  expect(read(wasm!).equals(WASM)).toBe(true);
  layers.forEach(read);
  read(config);
});

test('the same wasm gives the same digests, on every machine', () => {
  expect(compatImage(WASM).digest).toBe(COMPAT_DIGEST);
  expect(artifactImage(WASM).digest).toBe(ARTIFACT_DIGEST);
  expect(compatImage(Buffer.from('other')).digest).not.toBe(COMPAT_DIGEST);
});
