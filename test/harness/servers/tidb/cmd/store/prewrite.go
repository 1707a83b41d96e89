package main

import (
	"context"
	"fmt"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// KvPrewrite shields the prewrites whose commit timestamp is chosen here from readers.
func (s *service) KvPrewrite(ctx context.Context, req *kvrpcpb.PrewriteRequest) (resp *kvrpcpb.PrewriteResponse, err error) {
	if req.UseAsyncCommit || req.TryOnePc {
		defer s.pending.begin(mutationKeys(req.Mutations))()
		defer s.engine.feeds.hold(req.StartVersion)()
	}
	// Unistore looks into the lock that a for_update_ts constraint is about without asking whether there is one. TiKV
	// puts the lock there again, or says that there is none; without constraints unistore says so, too.
	if expected := constrainedKeys(req); len(expected) > 0 {
		defer func() {
			failure := recover()
			if failure == nil {
				return
			}
			if !s.lacksLock(expected, req.StartVersion) {
				panic(failure)
			}
			reason := fmt.Sprintf("PessimisticLockNotFound { start_ts: %d, reason: LockMissing }", req.StartVersion)
			resp, err = &kvrpcpb.PrewriteResponse{Errors: []*kvrpcpb.KeyError{{Abort: reason}}}, nil
		}()
	}
	return s.Server.KvPrewrite(ctx, req)
}

// constrainedKeys are those whose lock must have a certain for_update_ts. Unistore sorts the mutations, so the indices
// hold before it has the request.
func constrainedKeys(req *kvrpcpb.PrewriteRequest) [][]byte {
	var found [][]byte
	for _, constraint := range req.ForUpdateTsConstraints {
		if int(constraint.Index) < len(req.Mutations) {
			found = append(found, req.Mutations[constraint.Index].Key)
		}
	}
	return found
}

func (s *service) lacksLock(keys [][]byte, start uint64) bool {
	for _, key := range keys {
		lock := s.engine.bundle.LockStore.Get(key, nil)
		if len(lock) == 0 || mvcc.DecodeLock(lock).StartTS != start {
			return true
		}
	}
	return false
}
