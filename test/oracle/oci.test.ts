/** The OCI artifacts as Istio's agent fetches them: its own code, against a registry of two images. */
import { execFile } from 'node:child_process';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { artifactImage, compatImage, sha256, type Image } from '../../src-ts/oci/image.ts';
import { buildTool } from '../harness/stack/builds.ts';
import { registryOf } from '../harness/support/registry.ts';

const WASM = Buffer.from('\0asm'.repeat(5000) + 'end');
const IMAGES = [compatImage(WASM), artifactImage(WASM)];
const NAME = 'tidb-mesh';
const run = promisify(execFile);

let server: Server;
let fetchwasm: string;

beforeAll(async () => {
  fetchwasm = await buildTool('fetchwasm', 'istio-1.22');
  server = registryOf(NAME, IMAGES);
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
