package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/cdcpb"
	sst "github.com/pingcap/kvproto/pkg/import_sstpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// How long a test waits for what must come.
const feedPatience = time.Minute

func testFeeds(t *testing.T) (*engine, tikvpb.TikvClient, *grpc.ClientConn) {
	t.Helper()
	eng, _, conn := testStoreOf(t, apiV1)
	setFeeds(t, eng, "interval=10")
	return eng, tikvpb.NewTikvClient(conn), conn
}

// setFeeds changes the feeds as a test of another process does.
func setFeeds(t *testing.T, eng *engine, query string) {
	t.Helper()
	path := "/feeds?" + query
	if strings.HasPrefix(query, "/") {
		path = query
	}
	answer := httptest.NewRecorder()
	newInspector(newService(eng, newCounters())).ServeHTTP(answer, httptest.NewRequest("POST", path, nil))
	if answer.Code != 200 {
		t.Fatal(path, answer.Body)
	}
}

type changes interface {
	Send(*cdcpb.ChangeDataRequest) error
	Recv() (*cdcpb.ChangeDataEvent, error)
}

func feedContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), feedPatience)
	t.Cleanup(cancel)
	return ctx
}

func openFeed(t *testing.T, conn *grpc.ClientConn) changes {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(feedContext(t), "features", multiplexing)
	stream, err := cdcpb.NewChangeDataClient(conn).EventFeedV2(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func registration(r *region, request uint64) *cdcpb.ChangeDataRequest {
	return &cdcpb.ChangeDataRequest{
		Header:   &cdcpb.Header{ClusterId: 7, TicdcVersion: "8.5.0"},
		RegionId: r.meta.Id, RegionEpoch: r.meta.RegionEpoch, RequestId: request,
		StartKey: r.meta.StartKey, EndKey: r.meta.EndKey,
	}
}

func subscribeFeed(t *testing.T, stream changes, req *cdcpb.ChangeDataRequest) {
	t.Helper()
	if err := stream.Send(req); err != nil {
		t.Fatal(err)
	}
}

func showRow(row *cdcpb.Event_Row) string {
	text := row.Type.String()
	if row.Type == cdcpb.Event_INITIALIZED {
		return text
	}
	text += fmt.Sprintf(" %s %d", row.Key, row.StartTs)
	if row.CommitTs > 0 {
		text += fmt.Sprintf("-%d", row.CommitTs)
	}
	if row.OpType != cdcpb.Event_Row_UNKNOWN {
		text += " " + row.OpType.String()
	}
	if row.Value != nil {
		text += " " + string(row.Value)
	}
	if row.OldValue != nil {
		text += " was " + string(row.OldValue)
	}
	return text
}

// nextRows reads until it has as many rows.
func nextRows(t *testing.T, stream changes, count int) []string {
	t.Helper()
	var rows []string
	for len(rows) < count {
		message, err := stream.Recv()
		if err != nil {
			t.Fatalf("%v after %q", err, rows)
		}
		for _, event := range message.Events {
			if failure := event.GetError(); failure != nil {
				t.Fatalf("%v after %q", failure, rows)
			}
			for _, row := range event.GetEntries().GetEntries() {
				rows = append(rows, showRow(row))
			}
		}
	}
	return rows
}

func expectRows(t *testing.T, stream changes, want ...string) {
	t.Helper()
	if got := nextRows(t, stream, len(want)); !slices.Equal(got, want) {
		t.Fatalf("\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// nextError reads on to an error and says whose it is.
func nextError(t *testing.T, stream changes) *cdcpb.Event {
	t.Helper()
	for {
		message, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range message.Events {
			if event.GetError() != nil {
				return event
			}
		}
	}
}

// resolvedAbove reads on to a resolved timestamp of a request that is above another.
func resolvedAbove(t *testing.T, stream changes, request, ts uint64) uint64 {
	t.Helper()
	for {
		message, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if resolved := message.ResolvedTs; resolved != nil && resolved.RequestId == request && resolved.Ts > ts {
			return resolved.Ts
		}
	}
}

type feedTxn struct {
	t      *testing.T
	eng    *engine
	client tikvpb.TikvClient
	start  uint64
	change func(*kvrpcpb.PrewriteRequest)
}

func (x feedTxn) prewrite(mutations ...*kvrpcpb.Mutation) *kvrpcpb.PrewriteResponse {
	x.t.Helper()
	req := &kvrpcpb.PrewriteRequest{
		Context: contextOf(x.eng.regions, string(mutations[0].Key)), Mutations: mutations,
		PrimaryLock: mutations[0].Key, StartVersion: x.start, LockTtl: 3000,
	}
	if x.change != nil {
		x.change(req)
	}
	resp, err := x.client.KvPrewrite(context.Background(), req)
	if err != nil || resp.RegionError != nil {
		x.t.Fatal(err, resp)
	}
	return resp
}

func (x feedTxn) put(key, value string) *kvrpcpb.PrewriteResponse {
	x.t.Helper()
	resp := x.prewrite(&kvrpcpb.Mutation{Op: kvrpcpb.Op_Put, Key: []byte(key), Value: []byte(value)})
	if len(resp.Errors) > 0 {
		x.t.Fatal(resp)
	}
	return resp
}

func (x feedTxn) commit(ts uint64, names ...string) *kvrpcpb.CommitResponse {
	x.t.Helper()
	resp, err := x.client.KvCommit(context.Background(), &kvrpcpb.CommitRequest{
		Context: contextOf(x.eng.regions, names[0]), Keys: keys(names...), StartVersion: x.start, CommitVersion: ts,
	})
	if err != nil || resp.RegionError != nil {
		x.t.Fatal(err, resp)
	}
	return resp
}

func (x feedTxn) lock(forUpdate uint64, key string) {
	x.t.Helper()
	resp, err := x.client.KvPessimisticLock(context.Background(), &kvrpcpb.PessimisticLockRequest{
		Context: contextOf(x.eng.regions, key), PrimaryLock: []byte(key), StartVersion: x.start, ForUpdateTs: forUpdate,
		Mutations: []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_PessimisticLock, Key: []byte(key)}}, LockTtl: 3000,
	})
	if err != nil || resp.RegionError != nil || len(resp.Errors) > 0 {
		x.t.Fatal(err, resp)
	}
}

func TestFeedShowsRowsAsTheyAreApplied(t *testing.T) {
	eng, client, conn := testFeeds(t)
	at := func(start uint64) feedTxn { return feedTxn{t: t, eng: eng, client: client, start: start} }
	long := strings.Repeat("x", 300)
	at(10).put("t1", "one")
	at(10).commit(20, "t1")
	at(30).put("t1", "two")
	at(30).commit(40, "t1")
	at(50).put("t3", "open")
	at(51).lock(51, "t4")

	stream := openFeed(t, conn)
	req := registration(regionOf(eng.regions, "t"), 3)
	req.CheckpointTs, req.EndKey = 15, apiV1.border([]byte("t9"))
	subscribeFeed(t, stream, req)
	expectRows(t, stream,
		"COMMITTED t1 30-40 PUT two was one", "COMMITTED t1 10-20 PUT one", "PREWRITE t3 50 PUT open", "INITIALIZED")

	// Two phases; a deletion; a row outside.
	at(60).put("t9", "outside")
	at(60).commit(61, "t9")
	at(62).put("t1", "three")
	at(62).commit(63, "t1")
	at(64).prewrite(&kvrpcpb.Mutation{Op: kvrpcpb.Op_Del, Key: []byte("t1")})
	at(64).commit(65, "t1")
	expectRows(t, stream, "PREWRITE t1 62 PUT three was two", "COMMIT t1 62-63 PUT",
		"PREWRITE t1 64 DELETE was three", "COMMIT t1 64-65 DELETE")

	// A pessimistic transaction reads its old value where it locked, above its start. Locks that write nothing are not shown.
	at(70).put("t2", "between")
	at(70).commit(75, "t2")
	late := at(72)
	late.lock(80, "t2")
	late.change = func(r *kvrpcpb.PrewriteRequest) {
		r.ForUpdateTs = 80
		r.PessimisticActions = []kvrpcpb.PrewriteRequest_PessimisticAction{kvrpcpb.PrewriteRequest_DO_PESSIMISTIC_CHECK}
	}
	late.put("t2", "mine")
	late.commit(82, "t2")
	at(83).prewrite(&kvrpcpb.Mutation{Op: kvrpcpb.Op_Lock, Key: []byte("t2")})
	at(83).commit(84, "t2")
	expectRows(t, stream, "PREWRITE t2 70 PUT between", "COMMIT t2 70-75 PUT",
		"PREWRITE t2 72 PUT mine was between", "COMMIT t2 72-82 PUT")

	// A lock that lives on is shown again if its value lies in it.
	for i, value := range []string{"short", long} {
		key, start := fmt.Sprint("t5", i), 90+uint64(i)
		at(start).put(key, value)
		beat, err := client.KvTxnHeartBeat(context.Background(), &kvrpcpb.TxnHeartBeatRequest{
			Context: contextOf(eng.regions, key), PrimaryLock: []byte(key), StartVersion: start, AdviseLockTtl: 9000,
		})
		if err != nil || beat.Error != nil {
			t.Fatal(err, beat)
		}
		back, err := client.KvBatchRollback(context.Background(), &kvrpcpb.BatchRollbackRequest{
			Context: contextOf(eng.regions, key), Keys: keys(key), StartVersion: start,
		})
		if err != nil || back.Error != nil {
			t.Fatal(err, back)
		}
	}
	expectRows(t, stream, "PREWRITE t50 90 PUT short", "PREWRITE t50 90 PUT short", "ROLLBACK t50 90",
		"PREWRITE t51 91 PUT "+long, "ROLLBACK t51 91")

	// One phase.
	one := at(tso(t, eng))
	one.change = func(r *kvrpcpb.PrewriteRequest) { r.TryOnePc = true }
	commit := one.put("t2", "at once").OnePcCommitTs
	expectRows(t, stream, fmt.Sprintf("COMMITTED t2 %d-%d PUT at once was mine", one.start, commit))
}

func tso(t *testing.T, eng *engine) uint64 {
	t.Helper()
	physical, logical, err := eng.pd.GetTS(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return uint64(physical)<<18 + uint64(logical)
}

func TestResolvedTimestampWaitsForLocks(t *testing.T) {
	eng, client, conn := testFeeds(t)
	waiting := feedTxn{t: t, eng: eng, client: client, start: tso(t, eng)}
	waiting.lock(waiting.start, "t2")
	open := feedTxn{t: t, eng: eng, client: client, start: tso(t, eng)}
	open.put("t1", "open")
	stream := openFeed(t, conn)
	subscribeFeed(t, stream, registration(regionOf(eng.regions, "t"), 1))
	for range 5 {
		if got := resolvedAbove(t, stream, 1, 0); got > open.start {
			t.Fatalf("%d is resolved and %d is open", got, open.start)
		}
	}
	commit := tso(t, eng)
	open.commit(commit, "t1")
	// The pessimistic lock is older and holds nothing back.
	resolvedAbove(t, stream, 1, commit)
	end := eng.feeds.hold(tso(t, eng))
	defer end()
	held := tso(t, eng)
	for range 5 {
		if got := resolvedAbove(t, stream, 1, 0); got > held {
			t.Fatalf("%d is resolved while a transaction of %d chooses its timestamp", got, held)
		}
	}
}

func TestFeedRegistrationChecks(t *testing.T) {
	eng, _, conn := testFeeds(t)
	stream := openFeed(t, conn)
	r := regionOf(eng.regions, "t")
	for i, c := range []struct {
		name   string
		change func(*cdcpb.ChangeDataRequest)
		want   func(*cdcpb.Error) bool
	}{
		{"another cluster", func(q *cdcpb.ChangeDataRequest) { q.Header.ClusterId = 8 },
			func(e *cdcpb.Error) bool { return e.GetClusterIdMismatch().GetCurrent() == 7 }},
		{"another API", func(q *cdcpb.ChangeDataRequest) { q.KvApi = cdcpb.ChangeDataRequest_RawKV },
			func(e *cdcpb.Error) bool { return e.GetCompatibility().GetRequiredVersion() == "6.2.0" }},
		{"no region", func(q *cdcpb.ChangeDataRequest) { q.RegionId = 999 },
			func(e *cdcpb.Error) bool { return e.GetRegionNotFound().GetRegionId() == 999 }},
		{"another epoch", func(q *cdcpb.ChangeDataRequest) {
			q.RegionEpoch = &metapb.RegionEpoch{Version: r.meta.RegionEpoch.Version - 1}
		}, func(e *cdcpb.Error) bool { return len(e.GetEpochNotMatch().GetCurrentRegions()) == 1 }},
	} {
		req := registration(r, uint64(i+1))
		c.change(req)
		subscribeFeed(t, stream, req)
		if event := nextError(t, stream); event.RequestId != uint64(i+1) || !c.want(event.GetError()) {
			t.Errorf("%s: %v", c.name, event)
		}
	}
	// A region may be subscribed by several requests, but once by each.
	for _, request := range []uint64{20, 21, 20} {
		subscribeFeed(t, stream, registration(r, request))
	}
	if event := nextError(t, stream); event.RequestId != 20 || event.GetError().GetDuplicateRequest().GetRegionId() != r.meta.Id {
		t.Errorf("a duplicate: %v", event)
	}
	for _, request := range []uint64{20, 21} {
		resolvedAbove(t, stream, request, 0)
	}
	bye := &cdcpb.ChangeDataRequest{RequestId: 20, Request: &cdcpb.ChangeDataRequest_Deregister_{
		Deregister: &cdcpb.ChangeDataRequest_Deregister{},
	}}
	subscribeFeed(t, stream, bye)
	if event := nextError(t, stream); event.RequestId != 20 || event.GetError().GetRegionNotFound() == nil {
		t.Errorf("deregistered: %v", event)
	}
	if got := eng.feeds.report().Subscriptions; len(got) != 1 || got[0].Request != 21 {
		t.Errorf("%+v", got)
	}
	subscribeFeed(t, stream, registration(r, 20))
	resolvedAbove(t, stream, 20, 0)
}

func TestFeedVersions(t *testing.T) {
	eng, _, conn := testFeeds(t)
	client := cdcpb.NewChangeDataClient(conn)
	r := regionOf(eng.regions, "t")
	for version, batched := range map[string]bool{"": false, "v8.5.0": false, "4.0.7": false, "4.0.8": true, "5.3.0": true} {
		stream, err := client.EventFeed(feedContext(t))
		if err != nil {
			t.Fatal(err)
		}
		req := registration(r, 5)
		req.Header.TicdcVersion = version
		if version != "5.3.0" {
			req.Header.ClusterId = 0 // Not looked at.
		}
		subscribeFeed(t, stream, req)
		for found := false; !found; {
			message, err := stream.Recv()
			if err != nil {
				t.Fatal(version, err)
			}
			alone := slices.ContainsFunc(message.Events, func(e *cdcpb.Event) bool {
				_, alone := e.Event.(*cdcpb.Event_ResolvedTs)
				return alone
			})
			if alone && batched || message.ResolvedTs != nil && (!batched || message.ResolvedTs.RequestId != 0) {
				t.Fatalf("%q: %v", version, message)
			}
			found = alone || message.ResolvedTs != nil
		}
	}
	ctx := metadata.AppendToOutgoingContext(feedContext(t), "features", "stream-multiplexing,other")
	stream, err := client.EventFeedV2(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestFeedEndsWhereItsRegionSplits(t *testing.T) {
	eng, client, conn := testFeeds(t)
	stream := openFeed(t, conn)
	r := regionOf(eng.regions, "t")
	subscribeFeed(t, stream, registration(r, 1))
	resolvedAbove(t, stream, 1, 0)
	if resp := eng.regions.SplitRegion(splitRequest(r, []byte("t5"))); resp.RegionError != nil {
		t.Fatal(resp.RegionError)
	}
	regions := nextError(t, stream).GetError().GetEpochNotMatch().GetCurrentRegions()
	if len(regions) != 2 || string(regions[0].EndKey) != string(apiV1.border([]byte("t5"))) {
		t.Fatal(regions)
	}
	write(t, eng, client, "t1", "unseen")
	subscribeFeed(t, stream, registration(regionOf(eng.regions, "t6"), 2))
	expectRows(t, stream, "INITIALIZED")
}

func TestFeedFaults(t *testing.T) {
	eng, client, conn := testFeeds(t)
	stream := openFeed(t, conn)
	r := regionOf(eng.regions, "t")
	at := func(start uint64) feedTxn { return feedTxn{t: t, eng: eng, client: client, start: start} }

	// The second registration is refused and its error forced on the first.
	for request, kind := range []string{
		"notLeader", "regionNotFound", "epochNotMatch", "duplicateRequest", "compatibility", "clusterIdMismatch",
		"serverIsBusy", "congested",
	} {
		setFeeds(t, eng, "reset=1&interval=10")
		subscribeFeed(t, stream, registration(r, uint64(request)))
		resolvedAbove(t, stream, uint64(request), 0)
		setFeeds(t, eng, fmt.Sprintf("/feeds/errors?kind=%s&region=%d&times=1", kind, r.meta.Id))
		want := feedErrors[kind](r.meta.Id).String()
		if got := nextError(t, stream).GetError().String(); got != want {
			t.Errorf("%s: %s", kind, got)
		}
		subscribeFeed(t, stream, registration(r, uint64(request)))
		if got := nextError(t, stream).GetError().String(); got != want {
			t.Errorf("%s when it is registered: %s", kind, got)
		}
	}
	if len(eng.feeds.report().Subscriptions) != 0 {
		t.Fatal(eng.feeds.report())
	}

	// Live rows come while INITIALIZED is late; each twice.
	setFeeds(t, eng, "duplicates=1&initialized=600000&delay=1")
	at(8).put("t0", "there")
	subscribeFeed(t, stream, registration(r, 30))
	expectRows(t, stream, "PREWRITE t0 8 PUT there", "PREWRITE t0 8 PUT there")
	at(10).put("t1", "one")
	expectRows(t, stream, "PREWRITE t1 10 PUT one", "PREWRITE t1 10 PUT one")
	setFeeds(t, eng, "reset=1&drop=1&interval=10")
	expectRows(t, stream, "INITIALIZED")
	at(10).commit(11, "t1")
	at(12).put("t1", "two")
	expectRows(t, stream, "PREWRITE t1 12 PUT two was one")

	// Too much in the queues.
	setFeeds(t, eng, "quota=0")
	at(12).commit(13, "t1")
	if event := nextError(t, stream); event.RequestId != 30 || event.GetError().GetCongested().GetRegionId() != r.meta.Id {
		t.Error(event)
	}
	setFeeds(t, eng, "quota=1000000&hold=1")
	req := registration(r, 31)
	req.CheckpointTs = 12
	subscribeFeed(t, stream, req)
	expectRows(t, stream, "PREWRITE t0 8 PUT there", "COMMITTED t1 12-13 PUT two was one", "INITIALIZED")
	setFeeds(t, eng, "/feeds/end")
	var err error
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unknown {
		t.Error("the stream goes on, or ends otherwise:", err)
	}
}

// What TiKV's feeds leave out, and what they show nevertheless when somebody comes later.
func TestFeedLeavesOut(t *testing.T) {
	eng, client, conn := testFeeds(t)
	stream := openFeed(t, conn)
	r := regionOf(eng.regions, "t")
	looping := registration(r, 2)
	looping.FilterLoop = true
	subscribeFeed(t, stream, registration(r, 1))
	subscribeFeed(t, stream, looping)
	expectRows(t, stream, "INITIALIZED", "INITIALIZED")
	rows := func(start, source uint64, key string) {
		x := feedTxn{t: t, eng: eng, client: client, start: start}
		x.change = func(q *kvrpcpb.PrewriteRequest) { q.Context.TxnSource = source }
		x.put(key, "v")
		x.commit(start+1, key)
	}
	rows(10, 1<<8, "t1")
	if metas, err := writeSST(sst.NewImportSSTClient(conn), sstMeta(r, 1, "t2", "t2"), 20, pair("t2", "file")); err != nil {
		t.Fatal(err)
	} else if answer := ingestSSTs(t, eng, sst.NewImportSSTClient(conn), "t", metas...); answer.Error != nil {
		t.Fatal(answer)
	}
	if answer, err := client.UnsafeDestroyRange(context.Background(), &kvrpcpb.UnsafeDestroyRangeRequest{
		StartKey: []byte("t8"), EndKey: []byte("t9"),
	}); err != nil || answer.Error != "" {
		t.Fatal(err, answer)
	}
	rows(30, 1, "t3")
	rows(40, 0, "t4")
	expectRows(t, stream, "PREWRITE t3 30 PUT v", "COMMIT t3 30-31 PUT",
		"PREWRITE t4 40 PUT v", "PREWRITE t4 40 PUT v", "COMMIT t4 40-41 PUT", "COMMIT t4 40-41 PUT")
	looping.RequestId = 3
	subscribeFeed(t, stream, looping)
	expectRows(t, stream, "COMMITTED t2 20-20 PUT file", "COMMITTED t4 40-41 PUT v", "INITIALIZED")
}
