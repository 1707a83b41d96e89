package main

import (
	"context"
	"sync"
	"time"

	"github.com/dgryski/go-farm"
	"github.com/pingcap/kvproto/pkg/deadlock"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/lockstore"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// lockWaits knows the pessimistic lock requests under way. Unistore keeps its waiters to itself; who waits for whom is
// read off the locks that are there when somebody asks.
type lockWaits struct {
	locks    *lockstore.MemStore
	mu       sync.Mutex
	requests map[*kvrpcpb.PessimisticLockRequest]time.Time
}

func newLockWaits(locks *lockstore.MemStore) *lockWaits {
	return &lockWaits{locks: locks, requests: map[*kvrpcpb.PessimisticLockRequest]time.Time{}}
}

func (w *lockWaits) begin(req *kvrpcpb.PessimisticLockRequest) (end func()) {
	w.mu.Lock()
	w.requests[req] = time.Now()
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		delete(w.requests, req)
		w.mu.Unlock()
	}
}

// entries lists one wait for each request that meets another transaction's lock.
func (w *lockWaits) entries() []*deadlock.WaitForEntry {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*deadlock.WaitForEntry
	for req, since := range w.requests {
		for _, mutation := range req.Mutations {
			stored := w.locks.Get(mutation.Key, nil)
			if len(stored) == 0 {
				continue
			}
			lock := mvcc.DecodeLock(stored)
			if lock.StartTS == req.StartVersion {
				continue
			}
			out = append(out, &deadlock.WaitForEntry{
				Txn: req.StartVersion, WaitForTxn: lock.StartTS, Key: mutation.Key, KeyHash: farm.Fingerprint64(mutation.Key),
				ResourceGroupTag: req.Context.GetResourceGroupTag(), WaitTime: uint64(time.Since(since).Milliseconds()),
			})
			break
		}
	}
	return out
}

func (s *service) KvPessimisticLock(ctx context.Context, req *kvrpcpb.PessimisticLockRequest) (*kvrpcpb.PessimisticLockResponse, error) {
	defer s.waiting.begin(req)()
	return s.Server.KvPessimisticLock(ctx, req)
}

// GetLockWaitInfo tells of the whole store, whatever region it is asked about.
func (s *service) GetLockWaitInfo(context.Context, *kvrpcpb.GetLockWaitInfoRequest) (*kvrpcpb.GetLockWaitInfoResponse, error) {
	return &kvrpcpb.GetLockWaitInfoResponse{Entries: s.waiting.entries()}, nil
}
