package main

import (
	"bytes"
	"context"
	"sync"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/lockstore"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// commitHold is a store that is slow to commit: commits of a range wait until they are let go or their client is gone. So a
// test can end a client between the commit of its primary and that of its secondaries, every time.
type commitHold struct {
	locks *lockstore.MemStore

	mu         sync.Mutex
	released   chan struct{} // nil while nothing is held
	start, end []byte
	primaries  bool
	waiting    int
}

// hold begins to hold commits of keys in [start, end): all of them, or those without their transaction's primary.
func (h *commitHold) hold(start, end []byte, primaries bool) {
	h.release()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.start, h.end, h.primaries, h.released = start, end, primaries, make(chan struct{})
}

// release lets what waits go on.
func (h *commitHold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released != nil {
		close(h.released)
	}
	h.released = nil
}

// count is how many commits wait.
func (h *commitHold) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting
}

// wait returns when the commit may go on. A client that is gone does not come back: its commit never happens.
func (h *commitHold) wait(ctx context.Context, req *kvrpcpb.CommitRequest) error {
	h.mu.Lock()
	released := h.released
	if released == nil || !h.concerns(req) {
		h.mu.Unlock()
		return nil
	}
	h.waiting++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.waiting--
		h.mu.Unlock()
	}()
	select {
	case <-released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *commitHold) concerns(req *kvrpcpb.CommitRequest) bool {
	inside := false
	for _, key := range req.Keys {
		inside = inside || (bytes.Compare(key, h.start) >= 0 && before(key, h.end))
		value := h.locks.Get(key, nil)
		if len(value) == 0 {
			continue
		}
		if lock := mvcc.DecodeLock(value); bytes.Equal(lock.Primary, key) && !h.primaries {
			return false
		}
	}
	return inside
}

// KvCommit is unistore's, behind the hold and after the trace of keys that were only locked.
func (s *service) KvCommit(ctx context.Context, req *kvrpcpb.CommitRequest) (*kvrpcpb.CommitResponse, error) {
	if err := s.holding.wait(ctx, req); err != nil {
		return nil, err
	}
	if err := s.engine.keepOnlyLocked(req.Keys, req.StartVersion, req.CommitVersion); err != nil {
		return nil, err
	}
	return s.Server.KvCommit(ctx, req)
}
