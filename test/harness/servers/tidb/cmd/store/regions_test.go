package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/config"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

func testRegions(t *testing.T) (*regions, *fakePD) {
	t.Helper()
	conf := config.DefaultConf.Engine
	conf.DBPath = t.TempDir()
	conf.VolatileMode = true
	if err := os.MkdirAll(filepath.Join(conf.DBPath, "kv"), 0o755); err != nil {
		t.Fatal(err)
	}
	db, err := openDB(&conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	fake := &fakePD{}
	rs := &regions{
		pd: fake, mode: apiV1, bundle: &mvcc.DBBundle{DB: db, StateTS: 1}, store: &metapb.Store{}, targetSize: 1000,
		latches: newLatches(), stats: newCounters(), byID: map[uint64]*region{},
	}
	if err := rs.bootstrap("here:1"); err != nil {
		t.Fatal(err)
	}
	return rs, fake
}

func regionOf(rs *regions, key string) *region {
	for _, r := range rs.snapshot() {
		if r.holds([]byte(key)) {
			return r
		}
	}
	return nil
}

func splitRequest(r *region, keys ...[]byte) *kvrpcpb.SplitRegionRequest {
	return &kvrpcpb.SplitRegionRequest{
		Context:   &kvrpcpb.Context{RegionId: r.meta.Id, RegionEpoch: r.meta.RegionEpoch, Peer: r.meta.Peers[0]},
		SplitKeys: keys,
	}
}

func TestSplit(t *testing.T) {
	rs, fake := testRegions(t)
	old := regionOf(rs, "t5")
	resp := rs.SplitRegion(splitRequest(old, []byte("t6"), []byte("t3"), []byte("t6")))
	if resp.RegionError != nil {
		t.Fatal(resp.RegionError)
	}
	if len(resp.Regions) != 3 || len(fake.reported) != 3 {
		t.Fatalf("%d regions, %d heartbeats", len(resp.Regions), len(fake.reported))
	}
	if right := resp.Regions[2]; right.Id != old.meta.Id || fake.reported[0].Id != right.Id {
		t.Fatalf("the rightmost keeps the id and is reported first: %v, %v", right, fake.reported[0])
	}
	for _, part := range resp.Regions {
		if part.RegionEpoch.Version != old.meta.RegionEpoch.Version+2 {
			t.Fatalf("%v", part.RegionEpoch)
		}
	}
	if got := regionOf(rs, "t5"); !bytes.Equal(got.rawStart, []byte("t3")) || !bytes.Equal(got.rawEnd, []byte("t6")) {
		t.Fatalf("[%q, %q)", got.rawStart, got.rawEnd)
	}

	stale := rs.SplitRegion(splitRequest(old, []byte("t7")))
	current := stale.RegionError.GetEpochNotMatch().GetCurrentRegions()
	if len(current) != 2 || current[0].Id != old.meta.Id || current[1].Id != resp.Regions[1].Id {
		t.Fatalf("a stale epoch is answered with the region and its left neighbour: %v", stale.RegionError)
	}
}

func TestSplitRefusals(t *testing.T) {
	rs, _ := testRegions(t)
	r := regionOf(rs, "t5")
	cases := []struct {
		name    string
		keys    [][]byte
		outside bool
	}{
		{"no key", nil, false},
		{"an empty key", [][]byte{[]byte("t5"), {}}, false},
		{"a key of another region", [][]byte{[]byte("m5")}, true},
		{"only the region's own start", [][]byte{r.rawStart}, false},
	}
	for _, c := range cases {
		failure := rs.SplitRegion(splitRequest(r, c.keys...)).RegionError
		if failure == nil || (failure.KeyNotInRegion != nil) != c.outside {
			t.Errorf("%s: %v", c.name, failure)
		}
	}
	if got := regionOf(rs, "t5"); got != r {
		t.Fatal("a refused split has changed the region")
	}
}

func TestResolve(t *testing.T) {
	rs, _ := testRegions(t)
	r := regionOf(rs, "m5")
	at := func(change func(*kvrpcpb.Context)) *errorpb.Error {
		epoch := *r.meta.RegionEpoch
		ctx := &kvrpcpb.Context{RegionId: r.meta.Id, RegionEpoch: &epoch, Peer: &metapb.Peer{StoreId: rs.store.Id}}
		change(ctx)
		_, failure := rs.resolve(ctx)
		return failure
	}
	if failure := at(func(*kvrpcpb.Context) {}); failure != nil {
		t.Fatal(failure)
	}
	if at(func(c *kvrpcpb.Context) { c.RegionEpoch.Version++ }).GetEpochNotMatch() == nil {
		t.Error("another version")
	}
	if at(func(c *kvrpcpb.Context) { c.RegionEpoch = nil }).GetEpochNotMatch() == nil {
		t.Error("no epoch")
	}
	if at(func(c *kvrpcpb.Context) { c.RegionId = 999 }).GetRegionNotFound() == nil {
		t.Error("an unknown region")
	}
	if at(func(c *kvrpcpb.Context) { c.Peer.StoreId = 999 }).GetStoreNotMatch() == nil {
		t.Error("another store")
	}
}

func TestRegionsSurviveARestart(t *testing.T) {
	rs, fake := testRegions(t)
	rs.SplitRegion(splitRequest(regionOf(rs, "t5"), []byte("t5")))
	again := &regions{
		pd: fake, mode: apiV1, bundle: rs.bundle, store: &metapb.Store{}, targetSize: 1000,
		latches: newLatches(), stats: newCounters(), byID: map[uint64]*region{},
	}
	if err := again.load(); err != nil {
		t.Fatal(err)
	}
	if again.store.Id != rs.store.Id {
		t.Fatalf("store %d", again.store.Id)
	}
	before, after := rs.snapshot(), again.snapshot()
	if len(before) != 6 || len(after) != len(before) {
		t.Fatalf("%d regions, then %d", len(before), len(after))
	}
	for i := range before {
		if before[i].meta.String() != after[i].meta.String() {
			t.Errorf("%v, then %v", before[i].meta, after[i].meta)
		}
	}
}
