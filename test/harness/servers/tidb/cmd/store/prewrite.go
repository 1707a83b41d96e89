package main

import (
	"context"
	"fmt"
	"math"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// KvPrewrite shields the prewrites whose commit timestamp is chosen here from readers.
func (s *service) KvPrewrite(ctx context.Context, req *kvrpcpb.PrewriteRequest) (resp *kvrpcpb.PrewriteResponse, err error) {
	if req.UseAsyncCommit || req.TryOnePc {
		defer s.pending.begin(mutationKeys(req.Mutations))()
		defer s.engine.feeds.hold(req.StartVersion)()
	}
	if refusal, err := s.engine.amend(req); refusal != nil || err != nil {
		return refusal, err
	}
	rest, some, minCommit := s.engine.notPrewritten(req)
	if some {
		req = rest
	}
	// Unistore looks into the lock that a for_update_ts constraint is about without asking whether there is one. It was
	// there a moment ago; if it is gone by now, TiKV says so.
	if expected := constrainedKeys(req); len(expected) > 0 {
		defer func() {
			failure := recover()
			if failure == nil {
				return
			}
			if !s.lacksLock(expected, req.StartVersion) {
				panic(failure)
			}
			resp, err = lockNotFound(req.StartVersion), nil
		}()
	}
	resp, err = s.Server.KvPrewrite(ctx, req)
	if done := committedBefore(req, resp); done != nil {
		return done, err
	}
	if resp.GetMinCommitTs() > 0 {
		// What the locks say. Unistore answers with PD's timestamp, though the client's own may be higher.
		resp.MinCommitTs = max(resp.MinCommitTs, req.MinCommitTs, minCommit)
	}
	return resp, err
}

// committedBefore is TiKV's answer to a prewrite that comes a second time, when its transaction has committed by it meanwhile
// (check_committed_record_on_err in its commands/prewrite.rs): the client has lost the first answer. Unistore takes the
// transaction's own version for a conflict, and the client would report that nothing was committed. In two phases, nobody
// commits before all prewrites are answered.
func committedBefore(req *kvrpcpb.PrewriteRequest, resp *kvrpcpb.PrewriteResponse) *kvrpcpb.PrewriteResponse {
	for _, failure := range resp.GetErrors() {
		conflict := failure.GetConflict()
		if conflict == nil || conflict.ConflictTs != req.StartVersion {
			continue
		}
		switch {
		case req.TryOnePc:
			return &kvrpcpb.PrewriteResponse{OnePcCommitTs: conflict.ConflictCommitTs}
		case req.UseAsyncCommit:
			return &kvrpcpb.PrewriteResponse{MinCommitTs: conflict.ConflictCommitTs}
		}
	}
	return nil
}

func lockNotFound(start uint64) *kvrpcpb.PrewriteResponse {
	reason := fmt.Sprintf("PessimisticLockNotFound { start_ts: %d, reason: LockMissingAmendFail }", start)
	return &kvrpcpb.PrewriteResponse{Errors: []*kvrpcpb.KeyError{{Abort: reason}}}
}

// amend puts pessimistic locks there again that are lost, as TiKV does, if nobody has written to their keys since the
// transaction began; otherwise the transaction has lost. Unistore would give up in any case.
func (e *engine) amend(req *kvrpcpb.PrewriteRequest) (refusal *kvrpcpb.PrewriteResponse, err error) {
	expected := map[int]uint64{}
	for _, constraint := range req.ForUpdateTsConstraints {
		expected[int(constraint.Index)] = constraint.ExpectedForUpdateTs
	}
	var lost []int
	for i, action := range req.PessimisticActions {
		if i < len(req.Mutations) && action == kvrpcpb.PrewriteRequest_DO_PESSIMISTIC_CHECK && e.lockOf(req.Mutations[i].Key) == nil {
			lost = append(lost, i)
		}
	}
	if len(lost) == 0 {
		return nil, nil
	}
	hashes := hashesOf(mutationKeys(req.Mutations))
	e.regions.latches.acquire(hashes)
	defer e.regions.latches.release(hashes)
	batch := e.writer.NewWriteBatch(req.StartVersion, 0, req.Context)
	for _, i := range lost {
		key := req.Mutations[i].Key
		if e.lockOf(key) != nil {
			continue // Somebody was faster; unistore looks whose it is.
		}
		if e.decidedSince(key, req.StartVersion) {
			return lockNotFound(req.StartVersion), nil
		}
		forUpdate := req.ForUpdateTs
		if ts, constrained := expected[i]; constrained {
			forUpdate = ts
		}
		batch.PessimisticLock(key, &mvcc.Lock{
			LockHdr: mvcc.LockHdr{
				StartTS: req.StartVersion, ForUpdateTS: forUpdate, Op: uint8(kvrpcpb.Op_PessimisticLock),
				TTL: uint32(req.LockTtl), PrimaryLen: uint16(len(req.PrimaryLock)),
			},
			Primary: req.PrimaryLock,
		})
	}
	return nil, e.writer.Write(batch)
}

// decidedSince says whether the key has a version from this timestamp on, or a record that the transaction which starts
// there was decided.
func (e *engine) decidedSince(key []byte, start uint64) bool {
	txn := e.bundle.DB.NewTransaction(false)
	defer txn.Discard()
	txn.SetReadTS(math.MaxUint64)
	if _, err := txn.Get(mvcc.EncodeExtraTxnStatusKey(key, start)); err == nil {
		return true
	}
	item, err := txn.Get(key)
	return err == nil && item.Version() >= start
}

func (e *engine) lockOf(key []byte) *mvcc.Lock {
	stored := e.bundle.LockStore.Get(key, nil)
	if len(stored) == 0 {
		return nil
	}
	lock := mvcc.DecodeLock(stored)
	return &lock
}

// notPrewritten leaves out of a request what the transaction has prewritten already, if there is such a key and another
// one. Unistore takes the whole request for a repetition when it meets the first, and never writes the others. It also
// gives the least commit timestamp of what it has left out.
func (e *engine) notPrewritten(req *kvrpcpb.PrewriteRequest) (rest *kvrpcpb.PrewriteRequest, some bool, minCommit uint64) {
	left := *req
	left.Mutations, left.PessimisticActions, left.ForUpdateTsConstraints = nil, nil, nil
	for i, mutation := range req.Mutations {
		lock := e.lockOf(mutation.Key)
		if lock != nil && lock.StartTS == req.StartVersion && lock.Op != uint8(kvrpcpb.Op_PessimisticLock) {
			minCommit = max(minCommit, lock.MinCommitTS)
			continue
		}
		for _, constraint := range req.ForUpdateTsConstraints {
			if int(constraint.Index) == i {
				moved := *constraint
				moved.Index = uint32(len(left.Mutations))
				left.ForUpdateTsConstraints = append(left.ForUpdateTsConstraints, &moved)
			}
		}
		if i < len(req.PessimisticActions) {
			left.PessimisticActions = append(left.PessimisticActions, req.PessimisticActions[i])
		}
		left.Mutations = append(left.Mutations, mutation)
	}
	if len(left.Mutations) == 0 || len(left.Mutations) == len(req.Mutations) {
		return nil, false, 0
	}
	// What has locks cannot commit in one phase any more.
	left.TryOnePc = false
	return &left, true, minCommit
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
		if lock := s.engine.lockOf(key); lock == nil || lock.StartTS != start {
			return true
		}
	}
	return false
}
