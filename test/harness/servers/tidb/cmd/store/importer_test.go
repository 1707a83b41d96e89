package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	sst "github.com/pingcap/kvproto/pkg/import_sstpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
)

func testImporter(t *testing.T) (*engine, tikvpb.TikvClient, sst.ImportSSTClient) {
	t.Helper()
	eng, _, conn := testStoreOf(t, apiV1)
	return eng, tikvpb.NewTikvClient(conn), sst.NewImportSSTClient(conn)
}

// sstMeta is what a client sends for keys of one region, first and last.
func sstMeta(r *region, id byte, first, last string) *sst.SSTMeta {
	return &sst.SSTMeta{
		Uuid: append(make([]byte, 15), id), RegionId: r.meta.Id, RegionEpoch: r.meta.RegionEpoch,
		Range: &sst.Range{Start: apiV1.border([]byte(first)), End: apiV1.border([]byte(last))},
	}
}

func writeSST(client sst.ImportSSTClient, meta *sst.SSTMeta, ts uint64, pairs ...*sst.Pair) ([]*sst.SSTMeta, error) {
	stream, err := client.Write(context.Background())
	if err != nil {
		return nil, err
	}
	_ = stream.Send(&sst.WriteRequest{Chunk: &sst.WriteRequest_Meta{Meta: meta}})
	for _, pair := range pairs {
		_ = stream.Send(&sst.WriteRequest{Chunk: &sst.WriteRequest_Batch{
			Batch: &sst.WriteBatch{CommitTs: ts, Pairs: []*sst.Pair{pair}},
		}})
	}
	answer, err := stream.CloseAndRecv()
	return answer.GetMetas(), err
}

func pair(key, value string) *sst.Pair { return &sst.Pair{Key: []byte(key), Value: []byte(value)} }

func ingestSSTs(t *testing.T, eng *engine, client sst.ImportSSTClient, region string, metas ...*sst.SSTMeta) *sst.IngestResponse {
	t.Helper()
	answer, err := client.MultiIngest(context.Background(), &sst.MultiIngestRequest{
		Context: contextOf(eng.regions, region), Ssts: metas,
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func readAt(t *testing.T, eng *engine, client tikvpb.TikvClient, key string, ts uint64) string {
	t.Helper()
	answer, err := client.KvGet(context.Background(), &kvrpcpb.GetRequest{
		Context: contextOf(eng.regions, key), Key: []byte(key), Version: ts,
	})
	if err != nil || answer.RegionError != nil || answer.Error != nil {
		t.Fatal(err, answer)
	}
	return string(answer.Value)
}

func TestIngestIsReadAtItsTimestamp(t *testing.T) {
	eng, tikv, client := testImporter(t)
	long := strings.Repeat("long", 100)
	metas, err := writeSST(client, sstMeta(regionOf(eng.regions, "t"), 1, "t1", "t3"), 100, pair("t1", "one"), pair("t2", long),
		&sst.Pair{Key: []byte("t3"), Op: sst.Pair_Delete})
	if err != nil || len(metas) != 2 || metas[0].CfName != "default" || metas[1].CfName != "write" {
		t.Fatal(err, metas)
	}
	if answer := ingestSSTs(t, eng, client, "t", metas[1]); answer.Error.GetStaleCommand() == nil {
		t.Fatalf("without its long values: %v", answer)
	}
	if got := readAt(t, eng, tikv, "t1", 1<<62); got != "" {
		t.Fatalf("read before it was ingested: %q", got)
	}
	if answer := ingestSSTs(t, eng, client, "t", metas...); answer.Error != nil {
		t.Fatal(answer)
	}
	for key, want := range map[string]string{"t1": "one", "t2": long, "t3": ""} {
		if got := readAt(t, eng, tikv, key, 100); got != want {
			t.Errorf("%s: %q", key, got)
		}
		if got := readAt(t, eng, tikv, key, 99); got != "" {
			t.Errorf("%s before its timestamp: %q", key, got)
		}
	}
	if answer := ingestSSTs(t, eng, client, "t", metas...); answer.Error.GetStaleCommand() == nil {
		t.Errorf("a second time: %v", answer)
	}
}

// The engine wants rising versions; what is ingested may be older than what is there.
func TestIngestBelowNewerVersions(t *testing.T) {
	eng, tikv, client := testImporter(t)
	write(t, eng, tikv, "t1", "newer")
	time.Sleep(2 * time.Millisecond)
	write(t, eng, tikv, "t1", "newest")
	metas, err := writeSST(client, sstMeta(regionOf(eng.regions, "t"), 1, "t1", "t1"), 100, pair("t1", "old"))
	if err != nil {
		t.Fatal(err)
	}
	if answer := ingestSSTs(t, eng, client, "t", metas...); answer.Error != nil {
		t.Fatal(answer)
	}
	if got := readAt(t, eng, tikv, "t1", 1<<62); got != "newest" {
		t.Errorf("now: %q", got)
	}
	if got := readAt(t, eng, tikv, "t1", 100); got != "old" {
		t.Errorf("at its timestamp: %q", got)
	}
	info, err := tikv.MvccGetByKey(context.Background(), &kvrpcpb.MvccGetByKeyRequest{
		Context: contextOf(eng.regions, "t1"), Key: []byte("t1"),
	})
	if err != nil || len(info.Info.GetWrites()) != 3 {
		t.Errorf("%v %v", err, info)
	}
}

func TestWriteChecksTheEpoch(t *testing.T) {
	eng, _, client := testImporter(t)
	r := regionOf(eng.regions, "t")
	for want, version := range map[string]uint64{"RequestTooOld": 0, "RequestTooNew": r.meta.RegionEpoch.Version + 1} {
		meta := sstMeta(r, 1, "t1", "t1")
		meta.RegionEpoch = &metapb.RegionEpoch{ConfVer: r.meta.RegionEpoch.ConfVer, Version: version}
		if _, err := writeSST(client, meta, 100, pair("t1", "v")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	meta := sstMeta(r, 1, "t1", "t1")
	meta.RegionId = 999
	if _, err := writeSST(client, meta, 100, pair("t1", "v")); err == nil || !strings.Contains(err.Error(), "RequestTooOld") {
		t.Error(err)
	}
	if _, err := writeSST(client, sstMeta(r, 1, "t1", "t2"), 100, pair("t2", "v"), pair("t1", "v")); err == nil {
		t.Error("keys out of order are taken")
	}
}

func TestIngestChecksItsMeta(t *testing.T) {
	eng, _, client := testImporter(t)
	cases := []struct {
		name   string
		change func(meta *sst.SSTMeta)
		failed func(answer *sst.IngestResponse) bool
	}{
		{"a range that ends outside", func(m *sst.SSTMeta) { m.Range.End = apiV1.border([]byte("u")) },
			func(a *sst.IngestResponse) bool { return a.Error.GetKeyNotInRegion() != nil }},
		{"a range that starts outside", func(m *sst.SSTMeta) { m.Range.Start = apiV1.border([]byte("m")) },
			func(a *sst.IngestResponse) bool { return a.Error.GetKeyNotInRegion() != nil }},
		{"no range", func(m *sst.SSTMeta) { m.Range = nil },
			func(a *sst.IngestResponse) bool { return a.Error.GetKeyNotInRegion() != nil }},
	}
	for i, c := range cases {
		metas, err := writeSST(client, sstMeta(regionOf(eng.regions, "t"), byte(i), "t1", "t1"), 100, pair("t1", "v"))
		if err != nil {
			t.Fatal(err)
		}
		c.change(metas[0])
		if answer := ingestSSTs(t, eng, client, "t", metas...); !c.failed(answer) {
			t.Errorf("%s: %v", c.name, answer)
		}
	}
	foreign, err := writeSST(client, sstMeta(regionOf(eng.regions, "t"), 9, "t1", "t1"), 100, pair("t1", "v"))
	if err != nil {
		t.Fatal(err)
	}
	if answer := ingestSSTs(t, eng, client, "m", foreign...); answer.Error.GetRegionNotFound() == nil {
		t.Errorf("into another region: %v", answer)
	}
	split, err := writeSST(client, sstMeta(regionOf(eng.regions, "t"), 10, "t1", "t1"), 100, pair("t1", "v"))
	if err != nil {
		t.Fatal(err)
	}
	stale := contextOf(eng.regions, "t")
	if resp := eng.regions.SplitRegion(splitRequest(regionOf(eng.regions, "t"), []byte("t5"))); resp.RegionError != nil {
		t.Fatal(resp.RegionError)
	}
	for name, ctx := range map[string]*kvrpcpb.Context{"the request's epoch": stale, "the file's epoch": contextOf(eng.regions, "t6")} {
		answer, err := client.MultiIngest(context.Background(), &sst.MultiIngestRequest{Context: ctx, Ssts: split})
		if err != nil || len(answer.Error.GetEpochNotMatch().GetCurrentRegions()) == 0 {
			t.Errorf("%s: %v %v", name, err, answer)
		}
	}
}

// Clients ask so whether a store is busy and whether it knows the call at all.
func TestEmptyMultiIngestIsAnswered(t *testing.T) {
	_, _, client := testImporter(t)
	answer, err := client.MultiIngest(context.Background(), &sst.MultiIngestRequest{})
	if err != nil || answer.Error.GetRegionNotFound() == nil {
		t.Fatal(err, answer)
	}
}

func TestDuplicateDetect(t *testing.T) {
	eng, _, client := testImporter(t)
	for i, ts := range []uint64{50, 100, 110} {
		pairs := []*sst.Pair{pair("t2", fmt.Sprint("two", ts))}
		if ts == 100 {
			pairs = append(pairs, pair("t3", "three"))
		}
		metas, err := writeSST(client, sstMeta(regionOf(eng.regions, "t"), byte(i), "t2", "t3"), ts, pairs...)
		if err != nil {
			t.Fatal(err)
		}
		if answer := ingestSSTs(t, eng, client, "t", metas...); answer.Error != nil {
			t.Fatal(answer)
		}
	}
	detect := func(req *sst.DuplicateDetectRequest) *sst.DuplicateDetectResponse {
		req.Context = contextOf(eng.regions, "t")
		stream, err := client.DuplicateDetect(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			return &sst.DuplicateDetectResponse{}
		}
		return answer
	}
	all := &sst.DuplicateDetectRequest{StartKey: []byte("t"), EndKey: []byte("u"), MinCommitTs: 60}
	var found []string
	for _, p := range detect(all).Pairs {
		found = append(found, fmt.Sprintf("%s@%d=%s", p.Key, p.CommitTs, p.Value))
	}
	if got := strings.Join(found, " "); got != "t2@110=two110 t2@100=two100 t2@50=two50" {
		t.Error(got)
	}
	if got := detect(&sst.DuplicateDetectRequest{StartKey: []byte("t3"), MinCommitTs: 60}); len(got.Pairs) != 0 {
		t.Errorf("a key of one version: %v", got)
	}
	if got := detect(&sst.DuplicateDetectRequest{StartKey: []byte("m")}); got.RegionError.GetKeyNotInRegion() == nil {
		t.Errorf("a start outside: %v", got)
	}
}

func TestPartitionRanges(t *testing.T) {
	_, _, client := testImporter(t)
	ctx := context.Background()
	bad := &sst.AddPartitionRangeRequest{Range: &sst.Range{Start: []byte("t1")}}
	if _, err := client.AddForcePartitionRange(ctx, bad); err == nil {
		t.Error("an absent end is taken")
	}
	good := &sst.Range{Start: []byte("t1"), End: []byte("t2")}
	if _, err := client.AddForcePartitionRange(ctx, &sst.AddPartitionRangeRequest{Range: good}); err != nil {
		t.Error(err)
	}
	if _, err := client.RemoveForcePartitionRange(ctx, &sst.RemovePartitionRangeRequest{Range: good}); err != nil {
		t.Error(err)
	}
}

func TestImportMode(t *testing.T) {
	_, _, client := testImporter(t)
	ctx := context.Background()
	for _, mode := range []sst.SwitchMode{sst.SwitchMode_Import, sst.SwitchMode_Normal} {
		if _, err := client.SwitchMode(ctx, &sst.SwitchModeRequest{Mode: mode}); err != nil {
			t.Fatal(err)
		}
		if answer, err := client.GetMode(ctx, &sst.GetModeRequest{}); err != nil || answer.Mode != mode {
			t.Fatal(err, answer)
		}
	}
}
