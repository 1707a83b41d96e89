/** `tidb-mesh oci`: makes the filter an image that Istio's proxy fetches. */
import type { Command } from 'commander';
import Table from 'cli-table3';
import { releaseWasm } from '../../manifests/code.ts';
import { artifactImage, compatImage } from '../../oci/image.ts';
import { writeLayout } from '../../oci/layout.ts';

async function run({ out, json }: { out: string; json?: true }): Promise<void> {
  const wasm = await releaseWasm();
  const images = [compatImage(wasm), artifactImage(wasm)];
  writeLayout(out, images);
  if (json) {
    console.log(JSON.stringify({ out, images: images.map(({ name, digest }) => ({ name, digest })) }));
    return;
  }
  const table = new Table({ head: ['image', 'digest'], style: { head: [], border: [] } });
  for (const { name, digest } of images) table.push([name, digest]);
  console.log(`${table.toString()}\n${out} is an OCI image layout. Push one of the two, for example:`);
  console.log(`  skopeo copy oci:${out}:compat docker://registry.example.com/tidb-mesh:0.1.0`);
}

export function register(program: Command): void {
  program
    .command('oci')
    .description('writes the filter as an OCI image layout, for WasmPlugin and TrafficExtension')
    .requiredOption('--out <folder>', 'where the layout goes')
    .option('--json', 'the digests as JSON')
    .addHelpText(
      'after',
      `
The layout holds the filter twice: as "compat", an ordinary image that every registry takes and that \`render\` pins,
and as "artifact", which has the wasm as a layer of its own media type. Istio's proxy takes both.
The same filter has the same digests wherever it is built.`,
    )
    .action(run);
}
