/** The calls to stores that the mover makes. */
import {
  RequestSchema as CoprocessorRequestSchema,
  ResponseSchema as CoprocessorResponseSchema,
} from '../../pd/generated/tikv/coprocessor_pb.ts';
import {
  IngestResponseSchema,
  MultiIngestRequestSchema,
  WriteRequestSchema,
  WriteResponseSchema,
} from '../../pd/generated/tikv/import_sstpb_pb.ts';
import {
  CheckSecondaryLocksRequestSchema,
  CheckSecondaryLocksResponseSchema,
  CheckTxnStatusRequestSchema,
  CheckTxnStatusResponseSchema,
  CommitRequestSchema,
  CommitResponseSchema,
  PessimisticLockRequestSchema,
  PessimisticLockResponseSchema,
  PessimisticRollbackRequestSchema,
  PessimisticRollbackResponseSchema,
  PrewriteRequestSchema,
  PrewriteResponseSchema,
  ResolveLockRequestSchema,
  ResolveLockResponseSchema,
  ScanLockRequestSchema,
  ScanLockResponseSchema,
  ScanRequestSchema,
  ScanResponseSchema,
  SplitRegionRequestSchema,
  SplitRegionResponseSchema,
} from '../../pd/generated/tikv/kvrpcpb_pb.ts';

export const SCAN = {
  path: '/tikvpb.Tikv/KvScan',
  request: ScanRequestSchema,
  answer: ScanResponseSchema,
} as const;
export const SCAN_LOCK = {
  path: '/tikvpb.Tikv/KvScanLock',
  request: ScanLockRequestSchema,
  answer: ScanLockResponseSchema,
} as const;
export const CHECK_TXN_STATUS = {
  path: '/tikvpb.Tikv/KvCheckTxnStatus',
  request: CheckTxnStatusRequestSchema,
  answer: CheckTxnStatusResponseSchema,
} as const;
export const CHECK_SECONDARY_LOCKS = {
  path: '/tikvpb.Tikv/KvCheckSecondaryLocks',
  request: CheckSecondaryLocksRequestSchema,
  answer: CheckSecondaryLocksResponseSchema,
} as const;
export const RESOLVE_LOCK = {
  path: '/tikvpb.Tikv/KvResolveLock',
  request: ResolveLockRequestSchema,
  answer: ResolveLockResponseSchema,
} as const;
export const PREWRITE = {
  path: '/tikvpb.Tikv/KvPrewrite',
  request: PrewriteRequestSchema,
  answer: PrewriteResponseSchema,
} as const;
export const COMMIT = {
  path: '/tikvpb.Tikv/KvCommit',
  request: CommitRequestSchema,
  answer: CommitResponseSchema,
} as const;
export const PESSIMISTIC_LOCK = {
  path: '/tikvpb.Tikv/KvPessimisticLock',
  request: PessimisticLockRequestSchema,
  answer: PessimisticLockResponseSchema,
} as const;
export const PESSIMISTIC_ROLLBACK = {
  path: '/tikvpb.Tikv/KVPessimisticRollback',
  request: PessimisticRollbackRequestSchema,
  answer: PessimisticRollbackResponseSchema,
} as const;
export const SPLIT_REGION = {
  path: '/tikvpb.Tikv/SplitRegion',
  request: SplitRegionRequestSchema,
  answer: SplitRegionResponseSchema,
} as const;
export const COPROCESSOR = {
  path: '/tikvpb.Tikv/Coprocessor',
  request: CoprocessorRequestSchema,
  answer: CoprocessorResponseSchema,
} as const;
export const WRITE = {
  path: '/import_sstpb.ImportSST/Write',
  request: WriteRequestSchema,
  answer: WriteResponseSchema,
} as const;
export const MULTI_INGEST = {
  path: '/import_sstpb.ImportSST/MultiIngest',
  request: MultiIngestRequestSchema,
  answer: IngestResponseSchema,
} as const;
