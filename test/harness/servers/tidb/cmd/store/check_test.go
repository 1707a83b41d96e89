package main

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/import_sstpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/tidb/pkg/kv"
	"github.com/pingcap/tipb/go-tipb"
)

// testRegion is [b, d), or unbounded at the side where a border is empty.
func testRegion(t *testing.T, start, end string) *region {
	t.Helper()
	meta := &metapb.Region{
		Id:          7,
		RegionEpoch: &metapb.RegionEpoch{ConfVer: 1, Version: 3},
		Peers:       []*metapb.Peer{{Id: 8, StoreId: 1}},
	}
	if start != "" {
		meta.StartKey = apiV1.border([]byte(start))
	}
	if end != "" {
		meta.EndKey = apiV1.border([]byte(end))
	}
	r, err := newRegion(apiV1, meta, 0, newLatches())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func keys(names ...string) [][]byte {
	out := make([][]byte, len(names))
	for i, name := range names {
		out[i] = []byte(name)
	}
	return out
}

func mutations(names ...string) []*kvrpcpb.Mutation {
	out := make([]*kvrpcpb.Mutation, len(names))
	for i, name := range names {
		out[i] = &kvrpcpb.Mutation{Key: []byte(name)}
	}
	return out
}

func plan(t *testing.T, desc bool) []byte {
	t.Helper()
	data, err := (&tipb.DAGRequest{Executors: []*tipb.Executor{
		{Tp: tipb.ExecType_TypeTableScan, TblScan: &tipb.TableScan{Desc: desc}},
	}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRequestAgainstRegion(t *testing.T) {
	ranges := func(start, end string) []*coprocessor.KeyRange {
		return []*coprocessor.KeyRange{{Start: []byte(start), End: []byte(end)}}
	}
	cases := []struct {
		name    string
		req     any
		outside string // the key that is refused, "" when none is
		clamped int
	}{
		{"get inside", &kvrpcpb.GetRequest{Key: []byte("b")}, "", 0},
		{"get at the end", &kvrpcpb.GetRequest{Key: []byte("d")}, "d", 0},
		{"get below", &kvrpcpb.GetRequest{Key: []byte("azz")}, "azz", 0},
		{"one of a batch get", &kvrpcpb.BatchGetRequest{Keys: keys("b", "c", "dd")}, "dd", 0},
		{"one of a prewrite", &kvrpcpb.PrewriteRequest{Mutations: mutations("c", "e")}, "e", 0},
		{"a primary elsewhere", &kvrpcpb.PrewriteRequest{Mutations: mutations("c"), PrimaryLock: []byte("z"), Secondaries: keys("y")}, "", 0},
		{"a pessimistic lock", &kvrpcpb.PessimisticLockRequest{Mutations: mutations("a")}, "a", 0},
		{"a commit", &kvrpcpb.CommitRequest{Keys: keys("c", "a")}, "a", 0},
		{"resolve lock without keys", &kvrpcpb.ResolveLockRequest{}, "", 0},
		{"resolve lock with keys", &kvrpcpb.ResolveLockRequest{Keys: keys("x")}, "x", 0},
		{"transaction status", &kvrpcpb.CheckTxnStatusRequest{PrimaryKey: []byte("x")}, "x", 0},
		{"scan inside", &kvrpcpb.ScanRequest{StartKey: []byte("b"), EndKey: []byte("d")}, "", 0},
		{"scan without bounds", &kvrpcpb.ScanRequest{}, "", 0},
		{"scan from below", &kvrpcpb.ScanRequest{StartKey: []byte("a"), EndKey: []byte("c")}, "a", 0},
		{"scan from the end", &kvrpcpb.ScanRequest{StartKey: []byte("d")}, "", 0},
		{"scan from above", &kvrpcpb.ScanRequest{StartKey: []byte("e")}, "e", 0},
		{"scan past the end", &kvrpcpb.ScanRequest{StartKey: []byte("c"), EndKey: []byte("z")}, "", 1},
		{"reverse scan from above", &kvrpcpb.ScanRequest{StartKey: []byte("e"), EndKey: []byte("c"), Reverse: true}, "e", 0},
		{"reverse scan past the start", &kvrpcpb.ScanRequest{StartKey: []byte("d"), EndKey: []byte("a"), Reverse: true}, "", 1},
		{"scan lock past the end", &kvrpcpb.ScanLockRequest{StartKey: []byte("b"), EndKey: []byte("t")}, "", 1},
		{"scan lock from below", &kvrpcpb.ScanLockRequest{StartKey: []byte("a")}, "a", 0},
		{"delete range from the end", &kvrpcpb.DeleteRangeRequest{StartKey: []byte("d"), EndKey: []byte("e")}, "d", 0},
		{"coprocessor past the end", &coprocessor.Request{Ranges: ranges("b", "e")}, "", 1},
		{"coprocessor from below", &coprocessor.Request{Ranges: ranges("a", "c")}, "a", 0},
		{"descending plan from above", &coprocessor.Request{Tp: kv.ReqTypeDAG, Data: plan(t, true), Ranges: ranges("b", "e")}, "e", 0},
		{"descending plan past the start", &coprocessor.Request{Tp: kv.ReqTypeDAG, Data: plan(t, true), Ranges: ranges("a", "d")}, "", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := testRegion(t, "b", "d")
			claim := commands[reflect.TypeOf(c.req)].claim(c.req)
			clamped, failure := r.check(claim)
			if c.outside == "" {
				if failure != nil || clamped != c.clamped {
					t.Fatalf("clamped %d, failure %v", clamped, failure)
				}
				for _, s := range claim.spans {
					if bytes.Compare(*s.lower, r.rawStart) < 0 || bytes.Compare(*s.upper, r.rawEnd) > 0 || len(*s.upper) == 0 {
						t.Fatalf("the range is [%q, %q) now", *s.lower, *s.upper)
					}
				}
				return
			}
			found := failure.GetKeyNotInRegion()
			if found == nil {
				t.Fatalf("not refused: %v", failure)
			}
			if !bytes.Equal(found.Key, apiV1.border([]byte(c.outside))) || found.RegionId != 7 ||
				!bytes.Equal(found.StartKey, r.meta.StartKey) || !bytes.Equal(found.EndKey, r.meta.EndKey) {
				t.Fatalf("refused with %v", found)
			}
		})
	}
}

func TestStrictStartOfDeleteRange(t *testing.T) {
	req := &kvrpcpb.DeleteRangeRequest{EndKey: []byte("c")}
	claim := commands[reflect.TypeOf(req)].claim(req)
	if _, failure := testRegion(t, "b", "d").check(claim); failure.GetKeyNotInRegion() == nil {
		t.Fatal("an absent start means the empty key, which lies outside")
	}
	if _, failure := testRegion(t, "", "d").check(claim); failure != nil {
		t.Fatal(failure)
	}
}

func TestUnboundedRegion(t *testing.T) {
	r := testRegion(t, "", "")
	for _, key := range keys("", "a", "\xfe\xff") {
		if !r.holds(key) {
			t.Fatalf("%q", key)
		}
	}
	if r.holds([]byte("\xffstore")) {
		t.Fatal("unistore's own keys are nobody's")
	}
}

func TestTableRanges(t *testing.T) {
	prefix := "t\x80\x00\x00\x00\x00\x00\x00\x05"
	cases := []struct {
		name, start, end string
		valid            bool
	}{
		{"a table", prefix, prefix + "\xff", true},
		{"nine bytes", prefix, "t\x80\x00\x00\x00\x00\x00\x00\x06", true},
		{"a short end", prefix, "t\x80\x02", false},
		{"an end outside t", prefix, "u\x00\x00\x00\x00\x00\x00\x00\x00", false},
		{"a start outside t", "m\x00\x00\x00\x00\x00\x00\x00\x00", prefix, false},
		{"empty bounds", "", "", false},
		{"an empty range", prefix, prefix, false},
	}
	for _, c := range cases {
		err := checkTableRanges([]*coprocessor.KeyRange{{Start: []byte(c.start), End: []byte(c.end)}}, kvrpcpb.APIVersion_V1)
		if (err == nil) != c.valid {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Every unary method whose request names a region is checked, or stands here with the reason why not.
func TestEveryRegionRequestIsKnown(t *testing.T) {
	unchecked := map[string]string{
		"SplitRegion":          "checked by the split",
		"ReadIndex":            "unistore answers nothing",
		"UnsafeDestroyRange":   "goes to a store, not to a region",
		"RegisterLockObserver": "goes to a store",
		"CheckLockObserver":    "goes to a store",
		"RemoveLockObserver":   "goes to a store",
		"PhysicalScanLock":     "goes to a store",
		"BroadcastTxnStatus":   "goes to a store",
		"GetHealthFeedback":    "goes to a store",
		"GetLockWaitInfo":      "goes to a store",
		"GetLockWaitHistory":   "goes to a store",
	}
	service := reflect.TypeFor[tikvpb.TikvServer]()
	for i := range service.NumMethod() {
		method := service.Method(i)
		if method.Type.NumIn() != 2 || method.Type.In(0) != reflect.TypeFor[context.Context]() {
			continue
		}
		request := method.Type.In(1)
		field, found := request.Elem().FieldByName("Context")
		if !found || field.Type != reflect.TypeFor[*kvrpcpb.Context]() {
			continue
		}
		_, known := commands[request]
		_, listed := unchecked[method.Name]
		if known == listed {
			t.Errorf("%s: known %v, listed %v", method.Name, known, listed)
		}
	}
}

func TestRefusalCarriesTheError(t *testing.T) {
	for request, command := range commands {
		answer := command.refuse(&errorpb.Error{Message: "here"})
		switch got := answer.(type) {
		case interface{ GetRegionError() *errorpb.Error }:
			if got.GetRegionError().GetMessage() != "here" {
				t.Errorf("%s: %v", request, answer)
			}
		case interface{ GetError() *errorpb.Error }:
			if got.GetError().GetMessage() != "here" {
				t.Errorf("%s: %v", request, answer)
			}
		default:
			t.Errorf("%s is answered with %T", request, answer)
		}
		if request == reflect.TypeFor[*import_sstpb.MultiIngestRequest]() {
			continue // answered as Ingest is
		}
		if strings.TrimSuffix(request.Elem().Name(), "Request") != strings.TrimSuffix(reflect.TypeOf(answer).Elem().Name(), "Response") {
			t.Errorf("%s is answered with %T", request, answer)
		}
	}
}
