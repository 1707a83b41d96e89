/** Puts the version of package.json into the filter. */
import { VERSION } from '../version.ts';

const PLACE = "'<version>'";

/** Returns the source with the version where it belongs. Line numbers stay the same. */
export function withVersion(source: string): string {
  return source.replace(PLACE, `'${VERSION}'`);
}
