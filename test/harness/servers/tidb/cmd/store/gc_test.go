package main

import (
	"context"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
)

func now() uint64 {
	time.Sleep(3 * time.Millisecond)
	ts := uint64(time.Now().UnixMilli()) << 18
	time.Sleep(3 * time.Millisecond)
	return ts
}

func (f *fakePD) moveSafePoint(ts uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.safePoint = ts
}

func TestGarbageCollectionKeepsWhatTheSafePointStillReads(t *testing.T) {
	eng, _, client := testStore(t)
	write(t, eng, client, "t1", "old")
	first := now()
	write(t, eng, client, "t1", "held")
	write(t, eng, client, "t2", "gone")
	held := now()
	write(t, eng, client, "t1", "new")
	eng.pd.(*fakePD).moveSafePoint(held)
	report, err := eng.collectGarbage(context.Background(), newPending())
	if err != nil || report.Before-report.After != 1 {
		t.Fatal(err, report, eng.versions(nil, nil, 10))
	}
	for at, want := range map[uint64]string{first: "", held: "held", 1 << 62: "new"} {
		if got := readAt(t, eng, client, "t1", at); got != want {
			t.Errorf("at %d: %q, not %q", at, got, want)
		}
	}

	remove(t, eng, client, "t2")
	eng.pd.(*fakePD).moveSafePoint(now())
	report, err = eng.collectGarbage(context.Background(), newPending())
	if err != nil || report.Before-report.After != 3 {
		t.Fatal(err, report, eng.versions(nil, nil, 10))
	}
	if left := eng.versions([]byte("t"), []byte("u"), 10); len(left) != 1 || left[0].Key != "7431" {
		t.Errorf("%+v", left)
	}
	if got := readAt(t, eng, client, "t1", held); got != "" {
		t.Errorf("%q", got)
	}
	if got := readAt(t, eng, client, "t1", 1<<62); got != "new" {
		t.Errorf("%q", got)
	}
	// A key that has been deleted, collected and written again has no remains that a look at its history stumbles on.
	write(t, eng, client, "t2", "again")
	resp, err := client.MvccGetByKey(context.Background(), &kvrpcpb.MvccGetByKeyRequest{
		Context: contextOf(eng.regions, "t2"), Key: []byte("t2"),
	})
	if err != nil || len(resp.Info.Writes) != 1 {
		t.Fatal(err, resp)
	}
}

func TestDestroyedRangeIsGone(t *testing.T) {
	eng, _, client := testStore(t)
	for _, key := range []string{"t1", "t2", "t2x", "t3"} {
		write(t, eng, client, key, "first")
		time.Sleep(3 * time.Millisecond)
		write(t, eng, client, key, "second")
	}
	for _, key := range []string{"t2", "t3"} {
		prewrite, err := client.KvPrewrite(context.Background(), &kvrpcpb.PrewriteRequest{
			Context: contextOf(eng.regions, key), Mutations: mutations(key),
			PrimaryLock: []byte(key), StartVersion: now(), LockTtl: 3000,
		})
		if err != nil || len(prewrite.Errors) > 0 {
			t.Fatal(err, prewrite)
		}
	}
	resp, err := client.UnsafeDestroyRange(context.Background(), &kvrpcpb.UnsafeDestroyRangeRequest{
		StartKey: []byte("t2"), EndKey: []byte("t3"),
	})
	if err != nil || resp.Error != "" {
		t.Fatal(err, resp)
	}
	found, err := eng.keys([]byte("t"), []byte("u"), 10, false)
	if err != nil || len(found) != 2 || found[0].Key != "7431" || found[1].Key != "7433" {
		t.Fatal(err, found)
	}
	if locks := eng.locks([]byte("t"), []byte("u"), 10); len(locks) != 1 || locks[0].Key != "7433" {
		t.Errorf("%+v", locks)
	}
	eng.pd.(*fakePD).moveSafePoint(now())
	if _, err := eng.collectGarbage(context.Background(), newPending()); err != nil {
		t.Fatal(err)
	}
	if left := eng.versions([]byte("t"), []byte("u"), 10); len(left) != 2 {
		t.Errorf("%+v", left)
	}
}

func remove(t *testing.T, eng *engine, client tikvpb.TikvClient, key string) {
	t.Helper()
	ctx, start := context.Background(), now()
	prewrite, err := client.KvPrewrite(ctx, &kvrpcpb.PrewriteRequest{
		Context:     contextOf(eng.regions, key),
		Mutations:   []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_Del, Key: []byte(key)}},
		PrimaryLock: []byte(key), StartVersion: start, LockTtl: 3000,
	})
	if err != nil || len(prewrite.Errors) > 0 {
		t.Fatal(err, prewrite)
	}
	commit, err := client.KvCommit(ctx, &kvrpcpb.CommitRequest{
		Context: contextOf(eng.regions, key), Keys: keys(key), StartVersion: start, CommitVersion: start + 1,
	})
	if err != nil || commit.Error != nil {
		t.Fatal(err, commit)
	}
}

// Secondaries wait while the primary is committed; a client that goes away has not committed them.
func TestHeldCommits(t *testing.T) {
	eng, stats, _ := testStore(t)
	service := newService(eng, stats)
	lock := func(start uint64, names ...string) {
		prewrite, err := service.KvPrewrite(context.Background(), &kvrpcpb.PrewriteRequest{
			Context: contextOf(eng.regions, "t"), Mutations: mutations(names...),
			PrimaryLock: []byte(names[0]), StartVersion: start, LockTtl: 3000,
		})
		if err != nil || len(prewrite.Errors) > 0 {
			t.Fatal(err, prewrite)
		}
	}
	commit := func(ctx context.Context, start uint64, name string) error {
		_, err := service.KvCommit(ctx, &kvrpcpb.CommitRequest{
			Context: contextOf(eng.regions, "t"), Keys: keys(name), StartVersion: start, CommitVersion: start + 1,
		})
		return err
	}
	lock(5, "t1", "t2")
	service.holding.hold([]byte("t"), []byte("u"), false)
	if err := commit(context.Background(), 5, "t1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := commit(ctx, 5, "t2"); err == nil {
		t.Fatal("not held")
	}
	if left := eng.locks(nil, nil, 10); len(left) != 1 || left[0].Key != "7432" {
		t.Fatalf("%+v", left)
	}
	service.holding.hold([]byte("t"), []byte("u"), true)
	lock(7, "t3")
	done := make(chan error)
	go func() { done <- commit(context.Background(), 7, "t3") }()
	for service.holding.count() == 0 {
		time.Sleep(time.Millisecond)
	}
	service.holding.release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if left := eng.locks(nil, nil, 10); len(left) != 1 {
		t.Fatalf("%+v", left)
	}
}
