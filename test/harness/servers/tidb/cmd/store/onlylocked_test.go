package main

import (
	"context"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

// A client of async commit has its answer when all keys are prewritten. Whoever meets the primary's lock afterwards asks
// for the secondaries; a key that was only locked must not look as if it had never been there.
func TestACommittedLockOfAsyncCommitIsFound(t *testing.T) {
	eng, _, client := testStore(t)
	ctx := context.Background()
	start := uint64(time.Now().UnixMilli()) << 18
	prewrite, err := client.KvPrewrite(ctx, &kvrpcpb.PrewriteRequest{
		Context: contextOf(eng.regions, "t1"),
		Mutations: []*kvrpcpb.Mutation{
			{Op: kvrpcpb.Op_Put, Key: []byte("t1"), Value: []byte("one")}, {Op: kvrpcpb.Op_Lock, Key: []byte("t2")},
		},
		PrimaryLock: []byte("t1"), StartVersion: start, LockTtl: 3000,
		UseAsyncCommit: true, Secondaries: keys("t2"), MinCommitTs: start + 1,
	})
	if err != nil || len(prewrite.Errors) > 0 || prewrite.MinCommitTs == 0 {
		t.Fatal(err, prewrite)
	}
	// Acknowledged. The secondary's commit comes first, the primary's is on its way.
	commit, err := client.KvCommit(ctx, &kvrpcpb.CommitRequest{
		Context: contextOf(eng.regions, "t2"), Keys: keys("t2"), StartVersion: start, CommitVersion: prewrite.MinCommitTs,
	})
	if err != nil || commit.Error != nil || commit.RegionError != nil {
		t.Fatal(err, commit)
	}
	secondaries, err := client.KvCheckSecondaryLocks(ctx, &kvrpcpb.CheckSecondaryLocksRequest{
		Context: contextOf(eng.regions, "t2"), Keys: keys("t2"), StartVersion: start,
	})
	if err != nil || secondaries.CommitTs != prewrite.MinCommitTs {
		t.Fatalf("%v %v: without a commit timestamp and without locks the client rolls the primary back", err, secondaries)
	}
}
