/** Judges how many tokens of resource groups are asked for at once, and who asks. */
import { encodeClient } from '../../keys/namespace';
import { Msg } from '../../schema/table';
import { Status } from '../../wire/status';
import { fail } from '../current';
import { replaceScalar } from '../edits';
import { countFields } from '../find';
import { Level } from '../level';

/** The list in both messages. */
const ITEMS: u32 = 1;
/** resource_manager.TokenBucketsRequest.client_unique_id */
const CLIENT_ID: u32 = 3;

/** A client asks once for each group that it uses. */
const MAX_REQUESTS: u32 = 1024;
/** It names each kind of request units once. There is one kind (resource_manager.RequestUnitType). */
const MAX_UNITS: u32 = 4;

export function endTokens(level: Level): Status {
  const isWhole = level.message == Msg.TOKEN_BUCKETS_REQUEST;
  if (countFields(level.start, level.end, ITEMS) > (isWhole ? MAX_REQUESTS : MAX_UNITS))
    return fail(Status.VALUE_OUTSIDE, level.message, ITEMS);
  // Without an id, the clients of all tenants would be one to PD. The list is no singular field, so it sets no bit.
  if (isWhole && !level.has(CLIENT_ID)) replaceScalar(CLIENT_ID << 3, level.end, level.end, encodeClient(0));
  return Status.OK;
}
