package main

import (
	"context"
	"testing"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	sst "github.com/pingcap/kvproto/pkg/import_sstpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/kv"
	"github.com/pingcap/tipb/go-tipb"
)

// What moves a tenant from one key range to another does with the store.

// A chunk is several files of one region, each with timestamps of its own, and a key may have a version in more than one.
func TestSeveralFilesOfOneRegion(t *testing.T) {
	eng, tikv, client := testImporter(t)
	r := regionOf(eng.regions, "t")
	// The versions of one key in one file are newest first.
	stream, err := client.Write(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&sst.WriteRequest{Chunk: &sst.WriteRequest_Meta{Meta: sstMeta(r, 1, "t1", "t2")}})
	for _, batch := range []*sst.WriteBatch{
		{CommitTs: 30, Pairs: []*sst.Pair{pair("t1", "third")}},
		{CommitTs: 20, Pairs: []*sst.Pair{pair("t1", "second"), pair("t2", "other")}},
	} {
		_ = stream.Send(&sst.WriteRequest{Chunk: &sst.WriteRequest_Batch{Batch: batch}})
	}
	first, err := stream.CloseAndRecv()
	if err != nil {
		t.Fatal(err)
	}
	metas := first.Metas
	for id, ts := range map[byte]uint64{2: 40, 3: 10} {
		more, err := writeSST(client, sstMeta(r, id, "t1", "t3"), ts, pair("t1", map[uint64]string{40: "fourth", 10: "first"}[ts]))
		if err != nil {
			t.Fatal(err)
		}
		metas = append(metas, more...)
	}
	if answer := ingestSSTs(t, eng, client, "t", metas...); answer.Error != nil {
		t.Fatal(answer)
	}
	for ts, want := range map[uint64]string{9: "", 10: "first", 25: "second", 39: "third", 1 << 62: "fourth"} {
		if got := readAt(t, eng, tikv, "t1", ts); got != want {
			t.Errorf("at %d: %q, not %q", ts, got, want)
		}
	}
	if got := readAt(t, eng, tikv, "t2", 25); got != "other" {
		t.Error(got)
	}
	if _, err := writeSST(client, sstMeta(r, 4, "t1", "t1"), 50, pair("t1", "a"), pair("t1", "b")); err == nil {
		t.Error("one version twice is taken")
	}
	// The same file again is the same version.
	again, err := writeSST(client, sstMeta(r, 5, "t1", "t3"), 10, pair("t1", "first"))
	if err != nil {
		t.Fatal(err)
	}
	if answer := ingestSSTs(t, eng, client, "t", again...); answer.Error != nil {
		t.Fatal(answer)
	}
	if found := eng.versions([]byte("t1"), []byte("t2"), 10); len(found) != 4 || readAt(t, eng, tikv, "t1", 1<<62) != "fourth" {
		t.Errorf("%+v", found)
	}
}

// A transaction is applied with timestamps of the past, and only once.
func TestApplyAtOriginalTimestamps(t *testing.T) {
	eng, _, client := testStore(t)
	at := func(start uint64) feedTxn { return feedTxn{t: t, eng: eng, client: client, start: start} }
	put := &kvrpcpb.Mutation{Op: kvrpcpb.Op_Put, Key: []byte("t1"), Value: []byte("one")}
	at(900).put("t9", "much newer")
	at(900).commit(1000, "t9")
	at(10).put("t1", "one")
	at(10).commit(20, "t1")
	if got := readAt(t, eng, client, "t1", 20); got != "one" || readAt(t, eng, client, "t1", 19) != "" {
		t.Fatal(got)
	}
	conflict := at(10).prewrite(put).Errors[0].GetConflict()
	if conflict.GetConflictCommitTs() != 20 || conflict.GetConflictTs() != 10 {
		t.Fatal("applied again", conflict)
	}
	// The commit is repeated, too.
	if resp := at(10).commit(20, "t1"); resp.Error != nil {
		t.Fatal(resp)
	}
	// It was pessimistic: it began before the version that it replaces.
	late := at(15)
	if got := late.prewrite(put).Errors[0].GetConflict().GetConflictCommitTs(); got != 20 {
		t.Fatal(got)
	}
	late.change = func(req *kvrpcpb.PrewriteRequest) { req.ForUpdateTs = 29 }
	late.put("t1", "two")
	if resp := late.commit(30, "t1"); resp.Error != nil {
		t.Fatal(resp)
	}
	if got := readAt(t, eng, client, "t1", 30); got != "two" || readAt(t, eng, client, "t1", 29) != "one" {
		t.Fatal(got)
	}
	if got := late.prewrite(put); len(got.Errors) != 0 {
		t.Fatal("the check is skipped:", got)
	}
}

// What was undecided at the source is rolled back at the target, where it was never seen.
func TestUndecidedIsRolledBackWhereItNeverWas(t *testing.T) {
	eng, _, client := testStore(t)
	ctx := context.Background()
	status, err := client.KvCheckTxnStatus(ctx, &kvrpcpb.CheckTxnStatusRequest{
		Context: contextOf(eng.regions, "t1"), PrimaryKey: []byte("t1"), LockTs: 10, CallerStartTs: 1 << 62, CurrentTs: 1 << 62,
		RollbackIfNotExist: true,
	})
	if err != nil || status.Error != nil || status.CommitVersion != 0 || status.Action != kvrpcpb.Action_LockNotExistRollback {
		t.Fatal(err, status)
	}
	x := feedTxn{t: t, eng: eng, client: client, start: 10}
	if resp := x.prewrite(mutations("t1")...); len(resp.Errors) == 0 {
		t.Error("prewritten after its rollback")
	}
	if resp := x.commit(20, "t1"); resp.Error == nil {
		t.Error("committed after its rollback")
	}
}

func TestLocksOfAPast(t *testing.T) {
	eng, _, client := testStore(t)
	ctx := context.Background()
	at := func(start uint64) feedTxn { return feedTxn{t: t, eng: eng, client: client, start: start} }
	at(5).put("t2", "old")
	at(5).commit(6, "t2")
	at(10).put("t1", "open")
	at(11).put("t3", "later")
	at(12).lock(12, "t4")
	locked := func(version uint64) (found []string) {
		resp, err := client.KvScanLock(ctx, &kvrpcpb.ScanLockRequest{
			Context: contextOf(eng.regions, "t"), MaxVersion: version, StartKey: []byte("t"), EndKey: []byte("u"), Limit: 10,
		})
		if err != nil || resp.Error != nil {
			t.Fatal(err, resp)
		}
		for _, lock := range resp.Locks {
			found = append(found, string(lock.Key))
		}
		return found
	}
	for version, want := range map[uint64]int{9: 0, 10: 1, 11: 2, 1 << 62: 3} {
		if got := locked(version); len(got) != want {
			t.Errorf("at %d: %q", version, got)
		}
	}
	scan := func(version uint64) []*kvrpcpb.KvPair {
		resp, err := client.KvScan(ctx, &kvrpcpb.ScanRequest{
			Context: contextOf(eng.regions, "t"), StartKey: []byte("t"), EndKey: []byte("u"), Version: version, Limit: 10,
		})
		if err != nil || resp.RegionError != nil {
			t.Fatal(err, resp)
		}
		return resp.Pairs
	}
	if got := scan(9); len(got) != 1 || string(got[0].Value) != "old" {
		t.Error(got)
	}
	if got := scan(10); len(got) != 2 || string(got[0].Error.GetLocked().GetKey()) != "t1" || string(got[1].Value) != "old" {
		t.Error(got)
	}
	for start, commit := range map[uint64]uint64{10: 20, 11: 0} {
		resp, err := client.KvResolveLock(ctx, &kvrpcpb.ResolveLockRequest{
			Context: contextOf(eng.regions, "t"), StartVersion: start, CommitVersion: commit,
		})
		if err != nil || resp.Error != nil {
			t.Fatal(err, resp)
		}
	}
	if got := locked(11); len(got) != 0 {
		t.Error(got)
	}
	if got := scan(30); len(got) != 2 || string(got[0].Value) != "open" {
		t.Error(got)
	}
}

// Versions, deletions and locks, all go.
func TestDeleteRange(t *testing.T) {
	eng, _, client := testStore(t)
	at := func(start uint64) feedTxn { return feedTxn{t: t, eng: eng, client: client, start: start} }
	for _, start := range []uint64{10, 20} {
		for _, key := range []string{"t1", "t2", "t3"} {
			at(start).put(key, "v")
			at(start).commit(start+1, key)
		}
	}
	at(30).put("t2", "open")
	remove := func(req *kvrpcpb.DeleteRangeRequest) {
		t.Helper()
		req.Context, req.StartKey, req.EndKey = contextOf(eng.regions, "t"), []byte("t2"), []byte("t3")
		if resp, err := client.KvDeleteRange(context.Background(), req); err != nil || resp.Error != "" || resp.RegionError != nil {
			t.Fatal(err, resp)
		}
	}
	remove(&kvrpcpb.DeleteRangeRequest{NotifyOnly: true})
	if got := eng.versions([]byte("t"), []byte("u"), 10); len(got) != 6 {
		t.Fatal(got)
	}
	remove(&kvrpcpb.DeleteRangeRequest{})
	if got := eng.versions([]byte("t"), []byte("u"), 10); len(got) != 4 || len(eng.locks(nil, nil, 10)) != 0 {
		t.Fatal(got)
	}
	if got := readAt(t, eng, client, "t2", 15); got != "" {
		t.Error(got)
	}
	// The range can be filled again.
	at(40).put("t2", "again")
	at(40).commit(41, "t2")
	if got := readAt(t, eng, client, "t2", 50); got != "again" {
		t.Error(got)
	}
}

// Both sides of a copy have one sum, whatever timestamps and prefixes their keys have.
func TestChecksumsOfACopy(t *testing.T) {
	eng, tikv, client := testImporter(t)
	source, target := "t\x80\x01aa", "t\x80\x05aa"
	rows := []string{"row1", "row2"}
	for _, row := range rows {
		x := feedTxn{t: t, eng: eng, client: tikv, start: 10}
		x.put(source+row, row)
		x.commit(20, source+row)
	}
	later := feedTxn{t: t, eng: eng, client: tikv, start: 30}
	later.put(source+rows[0], "changed later")
	later.commit(40, source+rows[0])
	metas, err := writeSST(client, sstMeta(regionOf(eng.regions, target), 1, target, target+"z"), 25,
		pair(target+rows[0], rows[0]), pair(target+rows[1], rows[1]))
	if err != nil {
		t.Fatal(err)
	}
	if answer := ingestSSTs(t, eng, client, "t", metas...); answer.Error != nil {
		t.Fatal(answer)
	}
	type sums struct{ checksum, kvs, bytes uint64 }
	sum := func(prefix string, ts uint64) sums {
		plan, err := (&tipb.ChecksumRequest{
			Algorithm: tipb.ChecksumAlgorithm_Crc64_Xor,
			Rule:      &tipb.ChecksumRewriteRule{OldPrefix: []byte("t"), NewPrefix: []byte(prefix)},
		}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tikv.Coprocessor(context.Background(), &coprocessor.Request{
			Context: contextOf(eng.regions, prefix), Tp: kv.ReqTypeChecksum, Data: plan, StartTs: ts,
			Ranges: []*coprocessor.KeyRange{{Start: []byte(prefix), End: []byte(prefix + "\xff")}},
		})
		var out tipb.ChecksumResponse
		if err != nil || resp.RegionError != nil || resp.OtherError != "" || out.Unmarshal(resp.Data) != nil {
			t.Fatal(err, resp)
		}
		return sums{out.Checksum, out.TotalKvs, out.TotalBytes}
	}
	if a, b := sum(source, 39), sum(target, 39); a != b || a.kvs != 2 {
		t.Errorf("%v and %v", a, b)
	}
	if a, b := sum(source, 40), sum(target, 40); a.checksum == b.checksum {
		t.Errorf("%v and %v", a, b)
	}
}
