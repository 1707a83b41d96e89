/** Writes images as an OCI image layout, the folder that skopeo, crane, oras and regctl push from. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MANIFEST_TYPE, type Image } from './image.ts';

const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';

/** Writes the layout, with each image under its name. Overwrites an existing layout in the folder. */
export function writeLayout(folder: string, images: readonly Image[]): void {
  const blobs = join(folder, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  for (const { digest, bytes } of images.flatMap(({ blobs }) => blobs))
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes);
  const index = {
    schemaVersion: 2,
    mediaType: INDEX_TYPE,
    manifests: images.map(({ name, digest, manifestSize }) => ({
      mediaType: MANIFEST_TYPE,
      digest,
      size: manifestSize,
      annotations: { 'org.opencontainers.image.ref.name': name },
    })),
  };
  writeFileSync(join(folder, 'index.json'), JSON.stringify(index));
  writeFileSync(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}
