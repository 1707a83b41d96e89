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
  annotations: Record<string, string>;
}

/** Not a multiple of a tar's block, as the filter is not. */
const WASM = Buffer.from('\0asm'.repeat(300) + 'end');
const COMPAT_DIGEST = 'sha256:d06415219b55e2e06b434eef2a32894a595c72c73a300ae5f5c81ae775fb15b1';
const ARTIFACT_DIGEST = 'sha256:b3d98108bcb0f348aef355de106317a3ceefdfcfe2057b1554dee8a505347e8c';
/** Of a release that there is not, so that the digests above stay. */
const VERSION = '1.2.3';
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-oci-'));
  writeLayout(folder, [compatImage(WASM, VERSION), artifactImage(WASM, VERSION)]);
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
  expect(JSON.parse(read(config).toString())).toMatchObject({
    rootfs: { diff_ids: [sha256(tar)] },
    config: { Labels: { 'org.opencontainers.image.version': VERSION } },
  });
});

test.each(['compat', 'artifact'])('%s says its version', (name) => {
  expect(manifestOf(name).annotations).toEqual({
    'org.opencontainers.image.title': 'tidb-mesh',
    'org.opencontainers.image.version': VERSION,
  });
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
  expect(compatImage(WASM, VERSION).digest).toBe(COMPAT_DIGEST);
  expect(artifactImage(WASM, VERSION).digest).toBe(ARTIFACT_DIGEST);
  expect(compatImage(Buffer.from('other')).digest).not.toBe(COMPAT_DIGEST);
});
