/**
 * What a tenant is refused while it moves: TiKV's change feeds do not show it, or show it so that the copy would miss some of it. A flush
 * of pipelined DML (KvFlush) may delete what an earlier one has put, and the worker takes that for a heartbeat, which has no value either.
 */
import * as writer from '../texts/writer';
import { commandFor, nameOperation, operationCount } from './names';
import { newPolicyBits, setRefused } from './policy-bits';

export const MOVING_NAMES: string[] = [
  'tikvpb.Tikv/KvDeleteRange',
  'tikvpb.Tikv/UnsafeDestroyRange',
  'tikvpb.Tikv/KvFlush',
  'import_sstpb.ImportSST/Write',
  'import_sstpb.ImportSST/Ingest',
  'import_sstpb.ImportSST/MultiIngest',
];

/** New bits that refuse them. */
export function movingBits(): usize {
  const bits = newPolicyBits();
  for (let operation: u32 = 0; operation < operationCount(); operation++) {
    writer.beginText();
    nameOperation(operation);
    if (MOVING_NAMES.includes(String.UTF8.decodeUnsafe(writer.textAt, writer.textLength)))
      setRefused(bits, operation, commandFor(operation));
  }
  return bits;
}
