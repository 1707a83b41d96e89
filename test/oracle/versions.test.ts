/** schema/versions.json: what proto/ does not know of the protocols of several versions of TiDB. */
import { expect, test } from '@jest/globals';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { readVersions } from '../../src-ts/versions/versions.ts';
import { descriptorsOf } from './descriptors.ts';
import { unknownOf } from './unknown.ts';

const { checked } = readVersions();

test.each(checked)('what is not known of $version is listed (npm run versions)', async (version) => {
  expect(unknownOf(readDescriptors(), await descriptorsOf(version))).toEqual(version.unknown);
});

test('a field that no version is to have is found', async () => {
  const theirs = await descriptorsOf(checked.find(({ version }) => version === '7.5')!);
  const request = theirs.file
    .find((file) => file.package === 'kvrpcpb')!
    .messageType.find((message) => message.name === 'GetRequest')!;
  request.field.find((field) => field.name === 'version')!.number = 9;
  expect(unknownOf(readDescriptors(), theirs).changed).toEqual([
    'kvrpcpb.GetRequest.version has number 3; upstream 9',
  ]);
});
