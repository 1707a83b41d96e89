/** Decides whether a tenant's call goes on: by the tables, then the policy, then the dry run. */
import { refusesRule } from '../policy/policy-bits';
import { Text } from '../texts/table';
import { pathAt } from './headers';
import { refuseCall } from './refuse';
import { Stream } from './stream';
import { passesInDryRun } from './dry-run';

/**
 * True if the call goes on; otherwise it was refused. `rule`: see policy/names. `isOpen`: the tables open it to tenants; if not,
 * `because` says why. `plain`: length of the path without its query.
 */
export function permit(stream: Stream, rule: u32, isOpen: bool, because: u32, plain: usize): bool {
  if (isOpen && !refusesRule(stream.policyBits, rule)) return true;
  if (passesInDryRun(stream, rule, isOpen, plain)) return true;
  refuseCall(stream, pathAt, plain, isOpen ? Text.BY_POLICY : because);
  return false;
}
