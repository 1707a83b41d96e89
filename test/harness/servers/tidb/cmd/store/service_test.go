package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// testStore is the whole store on a port of its own, with a PD that is not there.
func testStore(t *testing.T) (*engine, *counters, tikvpb.TikvClient) {
	t.Helper()
	eng, stats, conn := testStoreOf(t, apiV1)
	return eng, stats, tikvpb.NewTikvClient(conn)
}

func testStoreOf(t *testing.T, api apiMode) (*engine, *counters, *grpc.ClientConn) {
	t.Helper()
	stats := newCounters()
	eng, err := openEngine(options{advertise: "here:1", data: t.TempDir(), regionSize: 1 << 20, api: api}, &fakePD{}, stats)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newGRPCServer(newService(eng, stats), wireTiKV)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		eng.close()
	})
	return eng, stats, conn
}

func contextOf(rs *regions, key string) *kvrpcpb.Context {
	r := regionOf(rs, key)
	return &kvrpcpb.Context{RegionId: r.meta.Id, RegionEpoch: r.meta.RegionEpoch, Peer: r.meta.Peers[0]}
}

// write commits one row as a client does.
func write(t *testing.T, eng *engine, client tikvpb.TikvClient, key, value string) {
	t.Helper()
	ctx, start := context.Background(), uint64(time.Now().UnixMilli())<<18
	prewrite, err := client.KvPrewrite(ctx, &kvrpcpb.PrewriteRequest{
		Context:     contextOf(eng.regions, key),
		Mutations:   []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_Put, Key: []byte(key), Value: []byte(value)}},
		PrimaryLock: []byte(key), StartVersion: start, LockTtl: 3000,
	})
	if err != nil || prewrite.RegionError != nil || len(prewrite.Errors) > 0 {
		t.Fatal(err, prewrite)
	}
	commit, err := client.KvCommit(ctx, &kvrpcpb.CommitRequest{
		Context: contextOf(eng.regions, key), Keys: keys(key), StartVersion: start, CommitVersion: start + 1,
	})
	if err != nil || commit.RegionError != nil || commit.Error != nil {
		t.Fatal(err, commit)
	}
}

func TestUnaryKeyOutsideItsRegion(t *testing.T) {
	eng, stats, client := testStore(t)
	write(t, eng, client, "t1", "one")
	resp, err := client.KvGet(context.Background(), &kvrpcpb.GetRequest{
		Context: contextOf(eng.regions, "m"), Key: []byte("t1"), Version: 1 << 62,
	})
	if err != nil || resp.RegionError.GetKeyNotInRegion() == nil || resp.Value != nil {
		t.Fatal(err, resp)
	}
	if report := stats.report(0); report.KeyNotInRegion != 1 || report.KeyNotInRegionByMethod["KvGet"] != 1 {
		t.Fatalf("%+v", report)
	}
}

func TestBatchCommands(t *testing.T) {
	eng, _, client := testStore(t)
	write(t, eng, client, "t1", "one")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stream, err := client.BatchCommands(ctx)
	if err != nil {
		t.Fatal(err)
	}
	get := func(region, key string) *batchRequest {
		return &batchRequest{Cmd: &tikvpb.BatchCommandsRequest_Request_Get{Get: &kvrpcpb.GetRequest{
			Context: contextOf(eng.regions, region), Key: []byte(key), Version: 1 << 62,
		}}}
	}
	if err := stream.Send(&tikvpb.BatchCommandsRequest{
		Requests: []*batchRequest{
			get("t", "t1"), get("m", "t1"),
			{Cmd: &tikvpb.BatchCommandsRequest_Request_Empty{Empty: &tikvpb.BatchCommandsEmptyRequest{TestId: 5}}},
		},
		RequestIds: []uint64{11, 12, 13},
	}); err != nil {
		t.Fatal(err)
	}
	got := map[uint64]*batchResponse{}
	for len(got) < 3 {
		batch, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range batch.RequestIds {
			got[id] = batch.Responses[i]
		}
	}
	if string(got[11].GetGet().GetValue()) != "one" {
		t.Errorf("%v", got[11])
	}
	if got[12].GetGet().GetRegionError().GetKeyNotInRegion() == nil {
		t.Errorf("%v", got[12])
	}
	if got[13].GetEmpty().GetTestId() != 5 {
		t.Errorf("%v", got[13])
	}

	// An unserved command ends the stream with a status; another one works.
	if err := stream.Send(&tikvpb.BatchCommandsRequest{
		Requests:   []*batchRequest{{Cmd: &tikvpb.BatchCommandsRequest_Request_Import{Import: &kvrpcpb.ImportRequest{}}}},
		RequestIds: []uint64{14},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v", err)
	}
	if resp, err := client.KvGet(ctx, get("t", "t1").GetGet()); err != nil || string(resp.Value) != "one" {
		t.Fatal(err, resp)
	}
}

func TestScanIsBoundedByItsRegion(t *testing.T) {
	eng, stats, client := testStore(t)
	for i := range 6 {
		write(t, eng, client, fmt.Sprintf("t%d", i), "v")
	}
	if resp := eng.regions.SplitRegion(splitRequest(regionOf(eng.regions, "t"), []byte("t3"))); resp.RegionError != nil {
		t.Fatal(resp.RegionError)
	}
	scan := func(req *kvrpcpb.ScanRequest) string {
		req.Context, req.Limit, req.Version = contextOf(eng.regions, "t0"), 100, 1<<62
		resp, err := client.KvScan(context.Background(), req)
		if err != nil || resp.RegionError != nil {
			t.Fatal(err, resp)
		}
		var found bytes.Buffer
		for _, pair := range resp.Pairs {
			found.Write(pair.Key)
		}
		return found.String()
	}
	if got := scan(&kvrpcpb.ScanRequest{StartKey: []byte("t1"), EndKey: []byte("t5")}); got != "t1t2" {
		t.Error(got)
	}
	if got := scan(&kvrpcpb.ScanRequest{StartKey: []byte("t1")}); got != "t1t2" {
		t.Error(got)
	}
	if got := scan(&kvrpcpb.ScanRequest{Reverse: true}); got != "t2t1t0" {
		t.Error(got)
	}
	if got := stats.report(0).ClampedRanges; got != 1 {
		t.Errorf("%d clamped ranges", got)
	}
}

func TestCoprocessorTasksHaveTheirOwnOutcome(t *testing.T) {
	eng, _, client := testStore(t)
	prefix := []byte("t\x80\x00\x00\x00\x00\x00\x00\x05")
	end := []byte("t\x80\x00\x00\x00\x00\x00\x00\x06")
	inside := []*coprocessor.KeyRange{{Start: prefix, End: end}}
	table, meta := contextOf(eng.regions, "t"), contextOf(eng.regions, "m")
	task := func(id uint64, ctx *kvrpcpb.Context, ranges []*coprocessor.KeyRange) *coprocessor.StoreBatchTask {
		return &coprocessor.StoreBatchTask{
			TaskId: id, RegionId: ctx.RegionId, RegionEpoch: ctx.RegionEpoch, Peer: ctx.Peer, Ranges: ranges,
		}
	}
	resp, err := client.Coprocessor(context.Background(), &coprocessor.Request{
		Context: meta, Tp: 103, Ranges: inside, Data: plan(t, false), StartTs: 1 << 62,
		Tasks: []*coprocessor.StoreBatchTask{
			task(1, table, inside),
			task(2, meta, inside),
			task(3, table, []*coprocessor.KeyRange{{Start: prefix, End: []byte("u")}}),
		},
	})
	if err != nil || len(resp.BatchResponses) != 3 {
		t.Fatal(err, resp)
	}
	if resp.RegionError.GetKeyNotInRegion() == nil {
		t.Errorf("%v", resp)
	}
	if first := resp.BatchResponses[0]; first.TaskId != 1 || first.RegionError != nil || first.OtherError != "" {
		t.Errorf("%v", first)
	}
	if second := resp.BatchResponses[1]; second.TaskId != 2 || second.RegionError.GetKeyNotInRegion() == nil {
		t.Errorf("%v", second)
	}
	if third := resp.BatchResponses[2]; third.TaskId != 3 || third.OtherError == "" {
		t.Errorf("%v", third)
	}
}

func TestScanLockKeepsToItsRange(t *testing.T) {
	eng, _, client := testStore(t)
	ctx := context.Background()
	for _, key := range []string{"t1", "t2", "t3"} {
		resp, err := client.KvPrewrite(ctx, &kvrpcpb.PrewriteRequest{
			Context:     contextOf(eng.regions, key),
			Mutations:   []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_Put, Key: []byte(key), Value: []byte("v")}},
			PrimaryLock: []byte(key), StartVersion: 5, LockTtl: 3000,
		})
		if err != nil || resp.RegionError != nil || len(resp.Errors) > 0 {
			t.Fatal(err, resp)
		}
	}
	resp, err := client.KvScanLock(ctx, &kvrpcpb.ScanLockRequest{
		Context: contextOf(eng.regions, "t"), MaxVersion: 10, StartKey: []byte("t2"), EndKey: []byte("t3"), Limit: 10,
	})
	if err != nil || len(resp.Locks) != 1 || string(resp.Locks[0].Key) != "t2" {
		t.Fatal(err, resp)
	}
}

func TestUnsafeDestroyRangeNeedsBounds(t *testing.T) {
	_, _, client := testStore(t)
	resp, err := client.UnsafeDestroyRange(context.Background(), &kvrpcpb.UnsafeDestroyRangeRequest{EndKey: []byte("t")})
	if err != nil || resp.Error == "" {
		t.Fatal(err, resp)
	}
}

func TestPanicOfUnistoreIsAStatus(t *testing.T) {
	_, _, client := testStore(t)
	if _, err := client.Compact(context.Background(), &kvrpcpb.CompactRequest{}); status.Code(err) != codes.Unimplemented {
		t.Fatal(err)
	}
}

func TestInspectorShowsKeys(t *testing.T) {
	eng, stats, client := testStore(t)
	write(t, eng, client, "t1", "one")
	write(t, eng, client, "t2", "three")
	answer := httptest.NewRecorder()
	newInspector(newService(eng, stats)).ServeHTTP(answer, httptest.NewRequest("GET", "/keys?start=7432&values=1", nil))
	var found []storedKey
	if err := json.Unmarshal(answer.Body.Bytes(), &found); err != nil {
		t.Fatal(err, answer.Body)
	}
	if len(found) != 1 || found[0].Key != "7432" || found[0].ValueLength != 5 || found[0].Value != "7468726565" {
		t.Fatalf("%+v", found)
	}
}
