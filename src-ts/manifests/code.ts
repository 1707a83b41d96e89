/** The filter's code for the manifests, and what stands for it in those that are checked in. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compatImage } from '../oci/image.ts';
import { ensureBuilt, RELEASE, ROOT } from '../wasm/builds.ts';
import type { FilterCode } from './filters.ts';

/** Not base64 and no digest: Istio refuses a manifest with it, so it cannot be applied by mistake (docs/decisions/0004). */
export const WITHOUT_CODE: FilterCode = {
  base64: '<the filter is not in this copy; make one with: npx tidb-mesh render>',
  imageDigest: '<digest: npx tidb-mesh oci>',
};

/** The release build, compiled first where it is missing or older than its sources. */
export async function releaseWasm(): Promise<Buffer> {
  await ensureBuilt([RELEASE]);
  return readFileSync(join(ROOT, RELEASE.output));
}

export function codeOf(wasm: Buffer): FilterCode {
  return { base64: wasm.toString('base64'), imageDigest: compatImage(wasm).digest };
}
