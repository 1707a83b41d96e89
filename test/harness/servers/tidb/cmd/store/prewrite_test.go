package main

import (
	"context"
	"strings"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

// pessimisticPrewrite expects a pessimistic lock on the key.
func pessimisticPrewrite(x feedTxn, forUpdate uint64, key string) *kvrpcpb.PrewriteResponse {
	x.t.Helper()
	x.change = func(req *kvrpcpb.PrewriteRequest) {
		req.ForUpdateTs = forUpdate
		req.PessimisticActions = []kvrpcpb.PrewriteRequest_PessimisticAction{kvrpcpb.PrewriteRequest_DO_PESSIMISTIC_CHECK}
		req.ForUpdateTsConstraints = []*kvrpcpb.PrewriteRequest_ForUpdateTSConstraint{{Index: 0, ExpectedForUpdateTs: forUpdate}}
	}
	return x.prewrite(&kvrpcpb.Mutation{Op: kvrpcpb.Op_Put, Key: []byte(key), Value: []byte("mine")})
}

// A pessimistic lock that is lost is put there again, if nothing has happened to its key since the transaction began.
func TestPrewriteWithoutThePessimisticLockThatItExpects(t *testing.T) {
	eng, _, client := testStore(t)
	at := func(start uint64) feedTxn { return feedTxn{t: t, eng: eng, client: client, start: start} }
	notFound := func(resp *kvrpcpb.PrewriteResponse) bool {
		return len(resp.Errors) == 1 && strings.Contains(resp.Errors[0].Abort, "PessimisticLockNotFound")
	}
	at(10).put("t1", "before")
	at(10).commit(20, "t1")
	if resp := pessimisticPrewrite(at(30), 35, "t1"); len(resp.Errors) > 0 {
		t.Fatal("not amended", resp)
	}
	at(30).commit(40, "t1")
	if got := readAt(t, eng, client, "t1", 40); got != "mine" {
		t.Fatal(got)
	}
	if resp := pessimisticPrewrite(at(39), 39, "t1"); !notFound(resp) {
		t.Error("a newer version", resp)
	}
	if resp := pessimisticPrewrite(at(30), 35, "t1"); !notFound(resp) {
		t.Error("its own version", resp)
	}
	back, err := client.KvBatchRollback(context.Background(), &kvrpcpb.BatchRollbackRequest{
		Context: contextOf(eng.regions, "t2"), Keys: keys("t2"), StartVersion: 50,
	})
	if err != nil || back.Error != nil {
		t.Fatal(err, back)
	}
	if resp := pessimisticPrewrite(at(50), 55, "t2"); !notFound(resp) {
		t.Error("rolled back", resp)
	}
	// The keys' latches are free again.
	if locks := eng.locks(nil, nil, 10); len(locks) > 0 {
		t.Fatal(locks)
	}
	at(60).lock(65, "t1")
	if resp := pessimisticPrewrite(at(60), 65, "t1"); len(resp.Errors) > 0 {
		t.Fatal("with its lock", resp)
	}
}

// A repetition may have other keys with it than the first time: each is looked at by itself.
func TestPrewriteOfWhatIsPartlyThere(t *testing.T) {
	eng, _, client := testStore(t)
	x := feedTxn{t: t, eng: eng, client: client, start: 10}
	x.prewrite(mutations("t2")...)
	for _, pessimistic := range []bool{false, true} {
		names := keys("t1", "t2", "t3")
		if pessimistic {
			names = keys("t0", "t2", "t4")
			x.change = func(req *kvrpcpb.PrewriteRequest) { req.ForUpdateTs = 15 }
		}
		var puts []*kvrpcpb.Mutation
		for _, name := range names {
			puts = append(puts, &kvrpcpb.Mutation{Op: kvrpcpb.Op_Put, Key: name, Value: name})
		}
		if resp := x.prewrite(puts...); len(resp.Errors) > 0 {
			t.Fatal(resp)
		}
	}
	if resp := x.commit(20, "t0", "t1", "t2", "t3", "t4"); resp.Error != nil {
		t.Fatal(resp)
	}
	if got := readAt(t, eng, client, "t4", 20); got != "t4" {
		t.Error(got)
	}
}

// A client whose connection ends sends a prewrite again. Its transaction may have committed by then.
func TestPrewriteOfATransactionThatHasCommitted(t *testing.T) {
	eng, _, client := testStore(t)
	put := func(start uint64, key string, change func(*kvrpcpb.PrewriteRequest)) *kvrpcpb.PrewriteResponse {
		x := feedTxn{t: t, eng: eng, client: client, start: start, change: change}
		return x.prewrite(&kvrpcpb.Mutation{Op: kvrpcpb.Op_Put, Key: []byte(key), Value: []byte("mine")})
	}
	onePhase := func(req *kvrpcpb.PrewriteRequest) { req.TryOnePc = true }
	first := put(10, "t1", onePhase)
	if first.OnePcCommitTs == 0 {
		t.Fatal("not in one phase", first)
	}
	if again := put(10, "t1", onePhase); len(again.Errors) > 0 || again.OnePcCommitTs != first.OnePcCommitTs {
		t.Error("in one phase", again)
	}
	if other := put(9, "t1", onePhase); len(other.Errors) != 1 || other.Errors[0].Conflict == nil {
		t.Error("another transaction", other)
	}
	asynchronously := func(req *kvrpcpb.PrewriteRequest) { req.UseAsyncCommit = true }
	commit := put(20, "t2", asynchronously).MinCommitTs
	x := feedTxn{t: t, eng: eng, client: client, start: 20}
	x.commit(commit, "t2")
	if again := put(20, "t2", asynchronously); len(again.Errors) > 0 || again.MinCommitTs != commit {
		t.Error("asynchronously", commit, again)
	}
}
