package main

import (
	"context"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
)

// tagged is a key as the mesh stores it: `t`, the tenant's number, a table's id.
func tagged(tenant byte, rest string) string {
	return "t\x80" + string([]byte{tenant}) + "\x00\x00\x00\x00\x00\x70" + rest
}

func lockKeys(t *testing.T, eng *engine, client tikvpb.TikvClient, start uint64, names ...string) {
	t.Helper()
	resp, err := client.KvPrewrite(context.Background(), &kvrpcpb.PrewriteRequest{
		Context: contextOf(eng.regions, names[0]), Mutations: func() (out []*kvrpcpb.Mutation) {
			for _, name := range names {
				out = append(out, &kvrpcpb.Mutation{Op: kvrpcpb.Op_Put, Key: []byte(name), Value: []byte("locked")})
			}
			return out
		}(),
		PrimaryLock: []byte(names[0]), StartVersion: start, LockTtl: 3000,
	})
	if err != nil || resp.RegionError != nil || len(resp.Errors) > 0 {
		t.Fatal(err, resp)
	}
}

// A resolve without keys takes every lock of its timestamp in the region, whoever's keys they are: what the mesh's proof of
// ownership is for.
func TestResolveLockWithoutKeysActsOnTheWholeRegion(t *testing.T) {
	for name, resolve := range map[string]*kvrpcpb.ResolveLockRequest{
		"commit":        {StartVersion: 5, CommitVersion: 9},
		"roll back":     {StartVersion: 5},
		"by txn_infos":  {TxnInfos: []*kvrpcpb.TxnInfo{{Txn: 5, Status: 9}}},
		"only one of 2": {TxnInfos: []*kvrpcpb.TxnInfo{{Txn: 5}}},
	} {
		eng, _, client := testStore(t)
		lockKeys(t, eng, client, 5, tagged(1, "a"), tagged(2, "b"))
		lockKeys(t, eng, client, 6, tagged(3, "c"))
		resolve.Context = contextOf(eng.regions, "t")
		resp, err := client.KvResolveLock(context.Background(), resolve)
		if err != nil || resp.RegionError != nil || resp.Error != nil {
			t.Fatal(name, err, resp)
		}
		left := eng.locks(nil, nil, 10)
		if len(left) != 1 || left[0].StartTs != "6" {
			t.Errorf("%s: %+v", name, left)
		}
	}
}

// Version 0 is the mesh's harmless twin: nothing happens, and the answer is one that clients retry.
func TestEpochVersionZeroChangesNothing(t *testing.T) {
	eng, _, client := testStore(t)
	lockKeys(t, eng, client, 5, tagged(1, "a"))
	ctx := context.Background()
	for name, epoch := range map[string]*metapb.RegionEpoch{
		"version 0": {ConfVer: regionOf(eng.regions, "t").meta.RegionEpoch.ConfVer},
		"no epoch":  nil,
	} {
		twin := contextOf(eng.regions, "t")
		twin.RegionEpoch = epoch
		calls := map[string]func() (*errorpb.Error, error){
			"resolve": func() (*errorpb.Error, error) {
				resp, err := client.KvResolveLock(ctx, &kvrpcpb.ResolveLockRequest{Context: twin, StartVersion: 5, CommitVersion: 9})
				return resp.GetRegionError(), err
			},
			"prepare flashback": func() (*errorpb.Error, error) {
				resp, err := client.KvPrepareFlashbackToVersion(ctx, &kvrpcpb.PrepareFlashbackToVersionRequest{
					Context: twin, StartKey: []byte("t"), EndKey: []byte("u"), StartTs: 10, Version: 3,
				})
				return resp.GetRegionError(), err
			},
			"flashback": func() (*errorpb.Error, error) {
				resp, err := client.KvFlashbackToVersion(ctx, &kvrpcpb.FlashbackToVersionRequest{
					Context: twin, StartKey: []byte("t"), EndKey: []byte("u"), StartTs: 10, CommitTs: 11, Version: 3,
				})
				return resp.GetRegionError(), err
			},
			"pessimistic rollback": func() (*errorpb.Error, error) {
				resp, err := client.KVPessimisticRollback(ctx, &kvrpcpb.PessimisticRollbackRequest{
					Context: twin, StartVersion: 5, ForUpdateTs: 5,
				})
				return resp.GetRegionError(), err
			},
			"gc": func() (*errorpb.Error, error) {
				resp, err := client.KvGC(ctx, &kvrpcpb.GCRequest{Context: twin, SafePoint: 3})
				return resp.GetRegionError(), err
			},
			"split": func() (*errorpb.Error, error) {
				resp, err := client.SplitRegion(ctx, &kvrpcpb.SplitRegionRequest{Context: twin, SplitKeys: keys("t5")})
				return resp.GetRegionError(), err
			},
		}
		for call, do := range calls {
			failure, err := do()
			if err != nil || len(failure.GetEpochNotMatch().GetCurrentRegions()) == 0 {
				t.Errorf("%s, %s: %v %v", name, call, err, failure)
			}
		}
	}
	if left := eng.locks(nil, nil, 10); len(left) != 1 {
		t.Errorf("%+v", left)
	}
	if got := regionOf(eng.regions, "t").meta.RegionEpoch.Version; got != contextOf(eng.regions, "u").RegionEpoch.Version {
		t.Errorf("split: version %d", got)
	}
}

func TestFlashback(t *testing.T) {
	eng, _, client := testStore(t)
	ctx := context.Background()
	write(t, eng, client, "t1", "first")
	write(t, eng, client, "t3", "kept")
	time.Sleep(3 * time.Millisecond)
	version := uint64(time.Now().UnixMilli()) << 18
	time.Sleep(3 * time.Millisecond)
	write(t, eng, client, "t1", "second")
	write(t, eng, client, "t2", "new")
	write(t, eng, client, "t9", "outside the range")
	lockKeys(t, eng, client, uint64(time.Now().UnixMilli())<<18, "t3")

	time.Sleep(3 * time.Millisecond)
	start := uint64(time.Now().UnixMilli()) << 18
	request := &kvrpcpb.FlashbackToVersionRequest{
		Context: contextOf(eng.regions, "t"), StartKey: []byte("t"), EndKey: []byte("t5"),
		StartTs: start, CommitTs: start + 1, Version: version,
	}
	early, err := client.KvFlashbackToVersion(ctx, request)
	if err != nil || early.RegionError.GetFlashbackNotPrepared() == nil {
		t.Fatalf("not prepared: %v %v", err, early)
	}
	prepared, err := client.KvPrepareFlashbackToVersion(ctx, &kvrpcpb.PrepareFlashbackToVersionRequest{
		Context: request.Context, StartKey: request.StartKey, EndKey: request.EndKey, StartTs: start, Version: version,
	})
	if err != nil || prepared.RegionError != nil || prepared.Error != "" {
		t.Fatal(err, prepared)
	}
	blocked, err := client.KvGet(ctx, &kvrpcpb.GetRequest{Context: contextOf(eng.regions, "t"), Key: []byte("t9"), Version: 1 << 62})
	if err != nil || blocked.RegionError.GetFlashbackInProgress() == nil {
		t.Fatalf("the whole region stands still: %v %v", err, blocked)
	}
	done, err := client.KvFlashbackToVersion(ctx, request)
	if err != nil || done.RegionError != nil || done.Error != "" {
		t.Fatal(err, done)
	}
	for key, want := range map[string]string{"t1": "first", "t2": "", "t3": "kept", "t9": "outside the range"} {
		if got := readAt(t, eng, client, key, 1<<62); got != want {
			t.Errorf("%s: %q", key, got)
		}
	}
	if got := readAt(t, eng, client, "t1", start); got != "second" {
		t.Errorf("history: %q", got)
	}
}

func TestLockWaitsAreTold(t *testing.T) {
	eng, _, client := testStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lock := func(start uint64, wait int64) (*kvrpcpb.PessimisticLockResponse, error) {
		c := contextOf(eng.regions, "t1")
		c.ResourceGroupTag = []byte("tag")
		return client.KvPessimisticLock(ctx, &kvrpcpb.PessimisticLockRequest{
			Context: c, PrimaryLock: []byte("t1"), StartVersion: start, ForUpdateTs: start, LockTtl: 60_000, WaitTimeout: wait,
			Mutations: []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_PessimisticLock, Key: []byte("t1")}},
		})
	}
	if resp, err := lock(5, -1); err != nil || len(resp.Errors) > 0 {
		t.Fatal(err, resp)
	}
	if info, err := client.GetLockWaitInfo(ctx, &kvrpcpb.GetLockWaitInfoRequest{}); err != nil || len(info.Entries) != 0 {
		t.Fatal(err, info)
	}
	over := make(chan struct{})
	go func() { _, _ = lock(7, 5000); close(over) }()
	for {
		info, err := client.GetLockWaitInfo(ctx, &kvrpcpb.GetLockWaitInfoRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(info.Entries) == 1 {
			e := info.Entries[0]
			if e.Txn != 7 || e.WaitForTxn != 5 || string(e.Key) != "t1" || string(e.ResourceGroupTag) != "tag" || e.KeyHash == 0 {
				t.Errorf("%v", e)
			}
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	resp, err := client.KVPessimisticRollback(ctx, &kvrpcpb.PessimisticRollbackRequest{
		Context: contextOf(eng.regions, "t1"), StartVersion: 5, ForUpdateTs: 5, Keys: keys("t1"),
	})
	if err != nil || len(resp.Errors) > 0 {
		t.Fatal(err, resp)
	}
	<-over
	if info, err := client.GetLockWaitInfo(ctx, &kvrpcpb.GetLockWaitInfoRequest{}); err != nil || len(info.Entries) != 0 {
		t.Fatal(err, info)
	}
}
