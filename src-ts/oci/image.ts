/**
 * Packs the filter as OCI artifacts, in the two forms that Istio's proxy accepts (istio.io/istio pkg/wasm/imagefetcher.go, 1.22):
 *
 *   compat    an ordinary image whose last layer is a tar.gz with plugin.wasm in it
 *   artifact  two layers, one of them the wasm itself as application/vnd.module.wasm.content.layer.v1+wasm
 *
 * The same wasm gives the same bytes everywhere: no times, and gzip without compression, whose output depends on zlib's version.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { VERSION } from '../version.ts';

export interface Blob {
  readonly digest: string;
  readonly bytes: Buffer;
}

export interface Image {
  /** Its name in `index.json`. */
  readonly name: 'compat' | 'artifact';
  /** The manifest's digest, to which an image reference is pinned. */
  readonly digest: string;
  readonly manifestSize: number;
  readonly blobs: readonly Blob[];
}

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
const WASM_CONFIG_TYPE = 'application/vnd.module.wasm.config.v1+json';
const WASM_LAYER_TYPE = 'application/vnd.module.wasm.content.layer.v1+wasm';
const WASM_METADATA_TYPE = 'application/vnd.module.wasm.metadata.layer.v1+json';
const FILE_NAME = 'plugin.wasm';
const TITLE = 'tidb-mesh';

/** Labels of the image, and annotations of its manifest. */
const labelsOf = (version: string): object => ({
  'org.opencontainers.image.title': TITLE,
  'org.opencontainers.image.version': version,
});

const TAR_BLOCK = 512;
const GZIP_OS_AT = 9;
const GZIP_OS_UNKNOWN = 0xff;

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

const blob = (bytes: Buffer): Blob => ({ digest: sha256(bytes), bytes });
const json = (value: unknown): Blob => blob(Buffer.from(JSON.stringify(value)));
const described = (mediaType: string, { digest, bytes }: Blob): object => ({
  mediaType,
  digest,
  size: bytes.length,
});

/** A tar (ustar) with one file, readable by all, with time 0. */
function tarOf(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(TAR_BLOCK);
  const octal = (value: number, at: number, width: number): void => {
    header.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1');
  };
  header.write(name, 0, 'latin1');
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(content.length, 124, 12);
  octal(0, 136, 12);
  header.fill(' ', 148, 156);
  header.write('0', 156, 'latin1');
  header.write('ustar\0' + '00', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  const padding = Buffer.alloc((TAR_BLOCK - (content.length % TAR_BLOCK)) % TAR_BLOCK);
  return Buffer.concat([header, content, padding, Buffer.alloc(2 * TAR_BLOCK)]);
}

function stored(bytes: Buffer): Buffer {
  const zipped = gzipSync(bytes, { level: 0 });
  zipped[GZIP_OS_AT] = GZIP_OS_UNKNOWN;
  return zipped;
}

function image(
  name: Image['name'],
  version: string,
  configType: string,
  config: Blob,
  layers: readonly [string, Blob][],
): Image {
  const manifest = json({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: described(configType, config),
    layers: layers.map(([type, layer]) => described(type, layer)),
    annotations: labelsOf(version),
  });
  return {
    name,
    digest: manifest.digest,
    manifestSize: manifest.bytes.length,
    blobs: [manifest, config, ...layers.map(([, layer]) => layer)],
  };
}

/** The form that every registry and tool accepts. */
export function compatImage(wasm: Buffer, version = VERSION): Image {
  const tar = tarOf(FILE_NAME, wasm);
  const config = json({
    architecture: 'wasm',
    os: 'wasi',
    config: { Labels: labelsOf(version) },
    rootfs: { type: 'layers', diff_ids: [sha256(tar)] },
  });
  return image('compat', version, CONFIG_TYPE, config, [[LAYER_TYPE, blob(stored(tar))]]);
}

export function artifactImage(wasm: Buffer, version = VERSION): Image {
  const config = json({ type: 'envoy_proxy', abi_versions: ['v0-2-1'], config: { rootIds: [TITLE] } });
  const metadata = json({ name: TITLE });
  return image('artifact', version, WASM_CONFIG_TYPE, config, [
    [WASM_METADATA_TYPE, metadata],
    [WASM_LAYER_TYPE, blob(wasm)],
  ]);
}
