/** Decides whether a tenant's call goes on: by the tables, then the policy, then the dry run. */
import { refusesOperation } from '../policy/policy-bits';
import { Text } from '../texts/table';
import { pathAt } from './headers';
import { refuseCall } from './refuse';
import { Stream } from './stream';
import { passesInDryRun } from './dry-run';

/**
 * True if the call goes on; otherwise it was refused. `operation`: see policy/names. `isOpen`: the tables open it to tenants; if not,
 * `because` says why. `plain`: length of the path without its query.
 */
export function permit(stream: Stream, operation: u32, isOpen: bool, because: u32, plain: usize): bool {
  if (isOpen && !refusesOperation(stream.policyBits, operation)) return true;
  if (passesInDryRun(stream, operation, isOpen, plain)) return true;
  refuseCall(stream, pathAt, plain, isOpen ? Text.BY_POLICY : because);
  return false;
}
