package main

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/kv"
	"github.com/pingcap/tipb/go-tipb"
)

// claim is what a request says about keys, all of them user keys.
type claim struct {
	context *kvrpcpb.Context
	// Every one must lie inside the region: the command reads or writes exactly there.
	points [][]byte
	spans  []span
	// Why the request can never be served, if so.
	invalid error
}

// span is a range of a request. The bounds point into the request, because clamping changes it.
//
//	      region start            region end
//	           |                       |
//	lower -----+=======================+----- upper
//
// TiKV's snapshot bounds its iterators by the region, so a far bound outside is cut silently; it fails only where it
// seeks: at lower, or at upper when the scan runs backwards (RegionIterator::should_seekable, end included).
type span struct {
	lower, upper *[]byte
	backward     bool
	// An absent near bound is the empty key, not the border (RawKV).
	literal bool
	// The start must lie strictly inside, as a point must (DeleteRange, which seeks nothing).
	strict bool
}

// command knows one request type: its claim, and the answer that carries a region error.
type command struct {
	claim  func(req any) claim
	refuse func(failure *errorpb.Error) any
}

var commands = map[reflect.Type]command{}

func register[Q any](of func(req Q) claim, refuse func(failure *errorpb.Error) any) {
	commands[reflect.TypeFor[Q]()] = command{
		claim:  func(req any) claim { return of(req.(Q)) },
		refuse: refuse,
	}
}

func mutationKeys(mutations []*kvrpcpb.Mutation) [][]byte {
	keys := make([][]byte, len(mutations))
	for i, mutation := range mutations {
		keys[i] = mutation.Key
	}
	return keys
}

// Primaries and secondaries of a transaction may lie in other regions: only what the command itself touches is a point.
func init() {
	register(func(q *kvrpcpb.GetRequest) claim { return claim{context: q.Context, points: [][]byte{q.Key}} },
		func(e *errorpb.Error) any { return &kvrpcpb.GetResponse{RegionError: e} })
	register(func(q *kvrpcpb.BatchGetRequest) claim { return claim{context: q.Context, points: q.Keys} },
		func(e *errorpb.Error) any { return &kvrpcpb.BatchGetResponse{RegionError: e} })
	register(func(q *kvrpcpb.BufferBatchGetRequest) claim { return claim{context: q.Context, points: q.Keys} },
		func(e *errorpb.Error) any { return &kvrpcpb.BufferBatchGetResponse{RegionError: e} })
	register(func(q *kvrpcpb.ScanRequest) claim {
		bounds := span{lower: &q.StartKey, upper: &q.EndKey}
		if q.Reverse {
			bounds = span{lower: &q.EndKey, upper: &q.StartKey, backward: true}
		}
		return claim{context: q.Context, spans: []span{bounds}}
	}, func(e *errorpb.Error) any { return &kvrpcpb.ScanResponse{RegionError: e} })
	register(func(q *kvrpcpb.PrewriteRequest) claim {
		return claim{context: q.Context, points: mutationKeys(q.Mutations)}
	}, func(e *errorpb.Error) any { return &kvrpcpb.PrewriteResponse{RegionError: e} })
	register(func(q *kvrpcpb.FlushRequest) claim {
		return claim{context: q.Context, points: mutationKeys(q.Mutations)}
	}, func(e *errorpb.Error) any { return &kvrpcpb.FlushResponse{RegionError: e} })
	register(func(q *kvrpcpb.PessimisticLockRequest) claim {
		return claim{context: q.Context, points: mutationKeys(q.Mutations)}
	}, func(e *errorpb.Error) any { return &kvrpcpb.PessimisticLockResponse{RegionError: e} })
	register(func(q *kvrpcpb.PessimisticRollbackRequest) claim { return claim{context: q.Context, points: q.Keys} },
		func(e *errorpb.Error) any { return &kvrpcpb.PessimisticRollbackResponse{RegionError: e} })
	register(func(q *kvrpcpb.CommitRequest) claim { return claim{context: q.Context, points: q.Keys} },
		func(e *errorpb.Error) any { return &kvrpcpb.CommitResponse{RegionError: e} })
	register(func(q *kvrpcpb.BatchRollbackRequest) claim { return claim{context: q.Context, points: q.Keys} },
		func(e *errorpb.Error) any { return &kvrpcpb.BatchRollbackResponse{RegionError: e} })
	register(func(q *kvrpcpb.CleanupRequest) claim { return claim{context: q.Context, points: [][]byte{q.Key}} },
		func(e *errorpb.Error) any { return &kvrpcpb.CleanupResponse{RegionError: e} })
	register(func(q *kvrpcpb.TxnHeartBeatRequest) claim {
		return claim{context: q.Context, points: [][]byte{q.PrimaryLock}}
	}, func(e *errorpb.Error) any { return &kvrpcpb.TxnHeartBeatResponse{RegionError: e} })
	register(func(q *kvrpcpb.CheckTxnStatusRequest) claim {
		return claim{context: q.Context, points: [][]byte{q.PrimaryKey}}
	}, func(e *errorpb.Error) any { return &kvrpcpb.CheckTxnStatusResponse{RegionError: e} })
	register(func(q *kvrpcpb.CheckSecondaryLocksRequest) claim { return claim{context: q.Context, points: q.Keys} },
		func(e *errorpb.Error) any { return &kvrpcpb.CheckSecondaryLocksResponse{RegionError: e} })
	register(func(q *kvrpcpb.ResolveLockRequest) claim { return claim{context: q.Context, points: q.Keys} },
		func(e *errorpb.Error) any { return &kvrpcpb.ResolveLockResponse{RegionError: e} })
	register(func(q *kvrpcpb.ScanLockRequest) claim {
		return claim{context: q.Context, spans: []span{{lower: &q.StartKey, upper: &q.EndKey}}}
	}, func(e *errorpb.Error) any { return &kvrpcpb.ScanLockResponse{RegionError: e} })
	register(func(q *kvrpcpb.DeleteRangeRequest) claim {
		return claim{context: q.Context, spans: []span{{lower: &q.StartKey, upper: &q.EndKey, strict: true}}}
	}, func(e *errorpb.Error) any { return &kvrpcpb.DeleteRangeResponse{RegionError: e} })
	register(func(q *kvrpcpb.GCRequest) claim { return claim{context: q.Context} },
		func(e *errorpb.Error) any { return &kvrpcpb.GCResponse{RegionError: e} })
	register(func(q *kvrpcpb.MvccGetByKeyRequest) claim { return claim{context: q.Context, points: [][]byte{q.Key}} },
		func(e *errorpb.Error) any { return &kvrpcpb.MvccGetByKeyResponse{RegionError: e} })
	register(func(q *kvrpcpb.MvccGetByStartTsRequest) claim { return claim{context: q.Context} },
		func(e *errorpb.Error) any { return &kvrpcpb.MvccGetByStartTsResponse{RegionError: e} })
	register(func(q *coprocessor.Request) claim { return coprocessorClaim(q) },
		func(e *errorpb.Error) any { return &coprocessor.Response{RegionError: e} })
}

func coprocessorClaim(q *coprocessor.Request) claim {
	out := claim{context: q.Context}
	backward := scansBackward(q)
	for _, r := range q.Ranges {
		out.spans = append(out.spans, span{lower: &r.Start, upper: &r.End, backward: backward})
	}
	return out
}

// scansBackward looks into the plan for a descending scan; only DAG requests have one.
func scansBackward(q *coprocessor.Request) bool {
	if q.Tp != kv.ReqTypeDAG {
		return false
	}
	var plan tipb.DAGRequest
	if plan.Unmarshal(q.Data) != nil {
		return false
	}
	leaf := plan.RootExecutor
	if len(plan.Executors) > 0 {
		leaf = plan.Executors[0]
	}
	if leaf == nil {
		return false
	}
	switch leaf.Tp {
	case tipb.ExecType_TypeTableScan:
		return leaf.TblScan.GetDesc()
	case tipb.ExecType_TypeIndexScan:
		return leaf.IdxScan.GetDesc()
	}
	return false
}

// check holds a claim against its region: the failure, or the number of named far bounds that it moved to the border.
// An absent bound is set to the border, which unistore does not do everywhere.
func (r *region) check(c claim) (clamped int, failure *errorpb.Error) {
	for _, key := range c.points {
		if !r.holds(key) {
			return 0, r.keyNotInRegion(key)
		}
	}
	for _, s := range c.spans {
		near := *s.lower
		if s.backward {
			near = *s.upper
		}
		// An absent near bound starts at the border; DeleteRange and RawKV take it for the empty key.
		if ((len(near) > 0 || s.literal) && !r.reaches(near)) || (s.strict && !r.holds(near)) {
			return 0, r.keyNotInRegion(near)
		}
		if bytes.Compare(*s.lower, r.rawStart) < 0 {
			if len(*s.lower) > 0 {
				clamped++
			}
			*s.lower = r.rawStart
		}
		if s.literal && s.backward && len(*s.upper) == 0 {
			continue // nothing lies below the empty key
		}
		if len(*s.upper) == 0 || (len(r.rawEnd) > 0 && bytes.Compare(*s.upper, r.rawEnd) > 0) {
			if len(*s.upper) > 0 {
				clamped++
			}
			*s.upper = r.rawEnd
		}
	}
	return clamped, nil
}

// tableKeyPrefix is `t` and the 8 bytes of a table id.
const tableKeyPrefix = 9

// checkTableRanges is TiKV's check_table_ranges: a coprocessor range lies in the `t` space, both ends as long as a
// table's prefix, behind the keyspace's prefix in API V2, and is not empty. The text becomes the answer's other_error.
func checkTableRanges(ranges []*coprocessor.KeyRange, version kvrpcpb.APIVersion) error {
	for _, r := range ranges {
		for _, key := range [][]byte{r.Start, r.End} {
			if version == kvrpcpb.APIVersion_V2 {
				if len(key) < keyspacePrefix || (key[0] != txnPrefix && key[0] != rawPrefix) {
					return fmt.Errorf("invalid API V2 key: %X", key)
				}
				key = key[keyspacePrefix:]
			}
			if len(key) < tableKeyPrefix || key[0] != 't' {
				return fmt.Errorf("record key or index key expected, but got %x", key)
			}
		}
		if bytes.Compare(r.Start, r.End) >= 0 {
			return fmt.Errorf("invalid range: start %x is not below end %x", r.Start, r.End)
		}
	}
	return nil
}
