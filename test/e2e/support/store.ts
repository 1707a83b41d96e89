import { expect } from '@jest/globals';
import type { Stack } from '../../harness/stack/stack.ts';

/**
 * The embedded store checks, as TiKV does, that the keys of a request lie in its region, and refuses what TiKV refuses
 * (ranges outside of the tables' space, empty bounds). A client with an old view of a region is told by the epoch before
 * that, so whatever is counted here was mapped to a wrong place.
 */
export async function expectNoKeyOutsideRegion(stack: Stack): Promise<void> {
  const { requests, keyNotInRegion, refused } = await stack.store.inspect.stats();
  expect(requests).toHaveProperty('Coprocessor');
  expect({ keyNotInRegion, refused }).toEqual({ keyNotInRegion: 0, refused: 0 });
}
