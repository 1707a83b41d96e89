package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

func TestPrewriteWithoutThePessimisticLockThatItExpects(t *testing.T) {
	eng, _, client := testStore(t)
	start := uint64(time.Now().UnixMilli()) << 18
	req := &kvrpcpb.PrewriteRequest{
		Context:      contextOf(eng.regions, "t1"),
		Mutations:    []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_Put, Key: []byte("t1"), Value: []byte("one")}},
		PrimaryLock:  []byte("t1"),
		StartVersion: start, ForUpdateTs: start, LockTtl: 3000,
		PessimisticActions:     []kvrpcpb.PrewriteRequest_PessimisticAction{kvrpcpb.PrewriteRequest_DO_PESSIMISTIC_CHECK},
		ForUpdateTsConstraints: []*kvrpcpb.PrewriteRequest_ForUpdateTSConstraint{{Index: 0, ExpectedForUpdateTs: start}},
	}
	resp, err := client.KvPrewrite(context.Background(), req)
	if err != nil || len(resp.Errors) != 1 || !strings.Contains(resp.Errors[0].Abort, "PessimisticLockNotFound") {
		t.Fatal(err, resp)
	}
	// The key's latch is free again, and with the lock the same prewrite is taken.
	lock, err := client.KvPessimisticLock(context.Background(), &kvrpcpb.PessimisticLockRequest{
		Context:      contextOf(eng.regions, "t1"),
		Mutations:    []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_PessimisticLock, Key: []byte("t1")}},
		PrimaryLock:  []byte("t1"),
		StartVersion: start, ForUpdateTs: start, LockTtl: 3000,
	})
	if err != nil || len(lock.Errors) > 0 {
		t.Fatal(err, lock)
	}
	if resp, err = client.KvPrewrite(context.Background(), req); err != nil || len(resp.Errors) > 0 {
		t.Fatal(err, resp)
	}
}
