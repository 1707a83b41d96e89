/** The filter's code for the manifests, and what stands for it in those that are checked in. */
import { compatImage } from '../oci/image.ts';
import type { Tell } from '../tell.ts';
import { readBuilt, RELEASE } from '../wasm/builds.ts';
import type { FilterCode } from './filters.ts';

/** Not base64 and no digest: Istio refuses a manifest with it, so it cannot be applied by mistake (docs/decisions/0004). */
export const WITHOUT_CODE: FilterCode = {
  base64: '<the filter is not in this copy; make one with: tidb-mesh render>',
  imageDigest: '<digest: tidb-mesh oci>',
};

/** The release build, compiled first where it is missing or older than its sources. */
export function releaseWasm(tell?: Tell): Promise<Buffer> {
  return readBuilt(RELEASE, tell);
}

export function codeOf(wasm: Buffer): FilterCode {
  return { base64: wasm.toString('base64'), imageDigest: compatImage(wasm).digest };
}
