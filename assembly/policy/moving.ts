/** What a tenant is refused while it moves: TiKV's change feeds do not show it, so that the copy would miss it. */
import * as writer from '../texts/writer';
import { commandFor, nameOperation, operationCount } from './names';
import { newPolicyBits, setRefused } from './policy-bits';

export const MOVING_NAMES: string[] = [
  'tikvpb.Tikv/KvDeleteRange',
  'tikvpb.Tikv/KvPrepareFlashbackToVersion',
  'tikvpb.Tikv/KvFlashbackToVersion',
  'tikvpb.Tikv/UnsafeDestroyRange',
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
