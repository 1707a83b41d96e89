/** `npm run test:mutants` takes long. That its edits still fit is seen at once. */
import { expect, test } from '@jest/globals';
import { ROOT } from '../../src-ts/wasm/builds.ts';
import { edited } from '../mutants/copy.ts';
import { MUTANTS } from '../mutants/mutants.ts';

test.each(MUTANTS)('$name: can be made of the filter as it is', ({ edits }) => {
  for (const edit of edits) expect(edited(ROOT, edit)).toContain(edit.to);
});
