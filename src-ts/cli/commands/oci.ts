/** `tidb-mesh oci`: makes the filter an image that Istio's proxy fetches. */
import { releaseWasm } from '../../manifests/code.ts';
import { artifactImage, compatImage } from '../../oci/image.ts';
import { writeLayout } from '../../oci/layout.ts';
import { VERSION } from '../../version.ts';
import type { Definition } from '../definition.ts';
import { table } from '../output.ts';

export const oci: Definition<{ readonly out: string }, []> = {
  name: 'oci',
  summary: 'write the filter as an OCI image layout, for WasmPlugin and TrafficExtension',
  about: `The layout holds the filter twice: as "compat", an ordinary image that every registry takes and that
\`render\` pins, and as "artifact", which has the wasm as a layer of its own media type. Istio's proxy
takes both. Both carry the version as a label. The same filter has the same digests wherever it is
built.`,
  examples: [
    'tidb-mesh oci --out build/oci',
    [
      `skopeo copy oci:build/oci:compat docker://registry.example.com/tidb-mesh:${VERSION}`,
      'pushes it; crane, oras and regctl do, too',
    ],
  ],
  define: (command) => command.requiredOption('--out <folder>', 'where the layout goes'),
  run: async ({ options: { out }, tell }) => {
    const wasm = await releaseWasm(tell);
    const images = [compatImage(wasm), artifactImage(wasm)];
    writeLayout(out, images);
    const rows = images.map(({ name, digest }) => [name, digest]);
    const push = `skopeo copy oci:${out}:compat docker://registry.example.com/tidb-mesh:${VERSION}`;
    return {
      value: { out, version: VERSION, images: images.map(({ name, digest }) => ({ name, digest })) },
      text: `${table(['IMAGE', 'DIGEST'], rows)}\n\n${out} is an OCI image layout. Push one of the two, for example:\n  ${push}`,
    };
  },
};
