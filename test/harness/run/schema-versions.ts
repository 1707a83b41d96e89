/** `npm run versions`: holds proto/ against the protocols of several versions and writes schema/versions.json; then `npm run docs`. */
import { writeFile } from 'node:fs/promises';
import { format } from 'prettier';
import { readDescriptors } from '../../../src-ts/schema/descriptors.ts';
import { readVersions, VERSIONS_FILE } from '../../../src-ts/versions/versions.ts';
import { descriptorsOf } from '../../oracle/descriptors.ts';
import { unknownOf } from '../../oracle/unknown.ts';

const ours = readDescriptors();
const { checked, runs } = readVersions();
const now = [];
for (const version of checked) {
  const unknown = unknownOf(ours, await descriptorsOf(version));
  now.push({ ...version, unknown });
  const counts = Object.entries(unknown).map(([what, list]) => `${list.length} ${what}`);
  console.log(`${version.version.padEnd(8)} unknown: ${counts.join(', ')}`);
}
const text = JSON.stringify({ checked: now, runs });
await writeFile(VERSIONS_FILE, await format(text, { filepath: VERSIONS_FILE }));
