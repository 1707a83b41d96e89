/** The OCI artifacts as Istio's agent fetches them: its own code, against a registry of two images. */
import { execFile } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MANIFEST_TYPE, artifactImage, compatImage, sha256, type Image } from '../../src-ts/oci/image.ts';
import { buildTool } from '../harness/stack/builds.ts';

const WASM = Buffer.from('\0asm'.repeat(5000) + 'end');
const IMAGES = [compatImage(WASM), artifactImage(WASM)];
const NAME = 'tidb-mesh';
const run = promisify(execFile);

let server: Server;
let fetchwasm: string;

/** As much of a registry as fetching by digest needs. */
function registry(): Server {
  const manifests = new Map(IMAGES.map((image) => [image.digest, image.blobs[0]!.bytes]));
  const blobs = new Map(IMAGES.flatMap((image) => image.blobs.map(({ digest, bytes }) => [digest, bytes])));
  return createServer((request, response) => {
    const [, kind, digest] =
      new RegExp(`^/v2/${NAME}/(manifests|blobs)/(sha256:.+)$`).exec(request.url ?? '') ?? [];
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

beforeAll(async () => {
  fetchwasm = await buildTool('fetchwasm', 'istio');
  server = registry();
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
});
afterAll(() => {
  server.close();
});

const reference = (digest: string): string =>
  `localhost:${(server.address() as AddressInfo).port}/${NAME}:1.2.3@${digest}`;

test.each(IMAGES.map((image): [string, Image] => [image.name, image]))(
  "%s: Istio's fetcher finds the wasm in it",
  async (_, { digest }) => {
    const { stdout } = await run(fetchwasm, [reference(digest)]);
    expect(stdout.trim().split('\n').pop()).toBe(`image ${digest.slice(7)} wasm ${sha256(WASM).slice(7)}`);
  },
);

test('a digest that is not there is not fetched', async () => {
  await expect(run(fetchwasm, [reference(sha256(Buffer.from('x')))])).rejects.toThrow(
    /could not fetch manifest/,
  );
});
