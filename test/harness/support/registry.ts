/** As much of an image registry as fetching by digest needs, over plain HTTP. */
import { createServer, type Server } from 'node:http';
import { MANIFEST_TYPE, type Image } from '../../../src-ts/oci/image.ts';

/** Serves these images under one name; it does not listen yet. */
export function registryOf(name: string, images: readonly Image[]): Server {
  const manifests = new Map(images.map((image) => [image.digest, image.blobs[0]!.bytes]));
  const blobs = new Map(images.flatMap((image) => image.blobs.map(({ digest, bytes }) => [digest, bytes])));
  return createServer((request, response) => {
    const [, kind, digest] =
      new RegExp(`^/v2/${name}/(manifests|blobs)/(sha256:.+)$`).exec(request.url ?? '') ?? [];
    const bytes = (kind === 'manifests' ? manifests : blobs).get(digest ?? '');
    if (request.url === '/v2/') response.end('{}');
    else if (!bytes) response.writeHead(404).end();
    else
      response
        .writeHead(200, {
          'content-type': kind === 'manifests' ? MANIFEST_TYPE : 'application/octet-stream',
          'content-length': bytes.length,
          'docker-content-digest': digest,
        })
        .end(request.method === 'HEAD' ? undefined : bytes);
  });
}
