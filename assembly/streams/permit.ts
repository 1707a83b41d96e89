/** Whether a tenant's call may go on: the tables, then the policy, then the dry run. */
import { refusesRule } from '../policy/tighten';
import { Text } from '../texts/table';
import { pathAt } from './headers';
import { refuseCall } from './refuse';
import { Stream } from './stream';
import { isTried } from './trial';

/**
 * True when the call goes on; else it was refused. `rule`: see policy/names. `isOpen`: the tables let tenants use it; `because` says why
 * they do not. `plain`: length of the path without its query.
 */
export function permit(stream: Stream, rule: u32, isOpen: bool, because: u32, plain: usize): bool {
  if (isOpen && !refusesRule(stream.tightening, rule)) return true;
  if (isTried(stream, rule, isOpen, plain)) return true;
  refuseCall(stream, pathAt, plain, isOpen ? Text.BY_POLICY : because);
  return false;
}
