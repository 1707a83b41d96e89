package main

import (
	"bytes"
	"context"

	"github.com/pingcap/badger"
	"github.com/pingcap/badger/y"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// keepOnlyLocked leaves a trace of keys of async commit that were locked and not written, before their locks go. TiKV
// keeps a record of each; unistore keeps one for the primary alone. So whoever met the primary's lock after a secondary was
// committed found nothing there, took the transaction for rolled back, and rolled the primary back: an update that its
// client had been told of was lost.
//
//	prewrite  primary put, secondary lock       the client has its answer
//	commit    secondary                         its lock goes, without a trace
//	          anybody's CheckSecondaryLocks     0, and the primary is rolled back
func (e *engine) keepOnlyLocked(keys [][]byte, start, commit uint64) error {
	hashes := hashesOf(keys)
	e.regions.latches.acquire(hashes)
	defer e.regions.latches.release(hashes)
	var records []*badger.Entry
	for _, key := range keys {
		stored := e.bundle.LockStore.Get(key, nil)
		if len(stored) == 0 {
			continue
		}
		lock := mvcc.DecodeLock(stored)
		if lock.StartTS != start || !lock.UseAsyncCommit || lock.Op != uint8(kvrpcpb.Op_Lock) ||
			commit < lock.MinCommitTS || bytes.Equal(key, lock.Primary) {
			continue
		}
		records = append(records, &badger.Entry{
			Key:      y.KeyWithTs(mvcc.EncodeExtraTxnStatusKey(key, start), start),
			UserMeta: mvcc.NewDBUserMeta(start, commit),
		})
	}
	if len(records) == 0 {
		return nil
	}
	return e.writeEntries(records)
}

// KvResolveLock is unistore's, after the trace of what it commits.
func (s *service) KvResolveLock(ctx context.Context, req *kvrpcpb.ResolveLockRequest) (*kvrpcpb.ResolveLockResponse, error) {
	if req.CommitVersion > 0 && len(req.Keys) > 0 {
		if err := s.engine.keepOnlyLocked(req.Keys, req.StartVersion, req.CommitVersion); err != nil {
			return nil, err
		}
	}
	return s.Server.KvResolveLock(ctx, req)
}
