package main

import (
	"context"
	"fmt"
	"hash/crc64"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
)

// rawTest runs RawKV in a store of RawKV and in a keyspace of API V2.
type rawTest struct {
	*testing.T
	eng    *engine
	client tikvpb.TikvClient
	prefix string
}

func eachRaw(t *testing.T, do func(t rawTest)) {
	for api, prefix := range map[apiMode]string{apiRaw: "", apiV2: "r\x00\x00\x07"} {
		t.Run(string(api), func(t *testing.T) {
			eng, _, conn := testStoreOf(t, api)
			do(rawTest{T: t, eng: eng, client: tikvpb.NewTikvClient(conn), prefix: prefix})
		})
	}
}

func (t rawTest) key(name string) []byte { return []byte(t.prefix + name) }

func (t rawTest) context(name string) *kvrpcpb.Context {
	ctx := contextOf(t.eng.regions, t.prefix+name)
	if t.eng.mode == apiV2 {
		ctx.ApiVersion = kvrpcpb.APIVersion_V2
	}
	return ctx
}

func (t rawTest) put(name, value string, ttl uint64) {
	t.Helper()
	resp, err := t.client.RawPut(context.Background(), &kvrpcpb.RawPutRequest{
		Context: t.context(name), Key: t.key(name), Value: []byte(value), Ttl: ttl,
	})
	if err != nil || resp.RegionError != nil || resp.Error != "" {
		t.Fatal(err, resp)
	}
}

func (t rawTest) get(name string) string {
	t.Helper()
	resp, err := t.client.RawGet(context.Background(), &kvrpcpb.RawGetRequest{Context: t.context(name), Key: t.key(name)})
	if err != nil || resp.RegionError != nil || resp.Error != "" {
		t.Fatal(err, resp)
	}
	if resp.NotFound {
		return "-"
	}
	return string(resp.Value)
}

func (t rawTest) names(pairs []*kvrpcpb.KvPair) string {
	t.Helper()
	out := make([]string, len(pairs))
	for i, p := range pairs {
		if p.Error != nil {
			t.Fatal(p.Error)
		}
		out[i] = strings.TrimPrefix(string(p.Key), t.prefix) + "=" + string(p.Value)
	}
	return strings.Join(out, " ")
}

func TestRawPoints(t *testing.T) {
	eachRaw(t, func(t rawTest) {
		ctx := context.Background()
		t.put("!a", "one", 0)
		t.put("b", "", 0)
		if t.get("!a") != "one" || t.get("b") != "" || t.get("c") != "-" {
			t.Error(t.get("!a"), t.get("b"), t.get("c"))
		}
		batch, err := t.client.RawBatchPut(ctx, &kvrpcpb.RawBatchPutRequest{Context: t.context("d"), Pairs: []*kvrpcpb.KvPair{
			{Key: t.key("d"), Value: []byte("4")}, {Key: t.key("e"), Value: []byte("5")},
		}, Ttls: []uint64{0, 100}})
		if err != nil || batch.Error != "" {
			t.Fatal(err, batch)
		}
		got, err := t.client.RawBatchGet(ctx, &kvrpcpb.RawBatchGetRequest{
			Context: t.context("d"), Keys: [][]byte{t.key("d"), t.key("none"), t.key("e")},
		})
		if err != nil || t.names(got.Pairs) != "d=4 e=5" {
			t.Fatal(err, got)
		}
		ttl, err := t.client.RawGetKeyTTL(ctx, &kvrpcpb.RawGetKeyTTLRequest{Context: t.context("e"), Key: t.key("e")})
		if err != nil || ttl.Ttl < 90 || ttl.Ttl > 100 {
			t.Error(err, ttl)
		}
		for _, name := range []string{"d", "none"} {
			ttl, err := t.client.RawGetKeyTTL(ctx, &kvrpcpb.RawGetKeyTTLRequest{Context: t.context(name), Key: t.key(name)})
			if err != nil || ttl.Ttl != 0 || ttl.NotFound != (name == "none") {
				t.Error(name, err, ttl)
			}
		}
		if _, err := t.client.RawDelete(ctx, &kvrpcpb.RawDeleteRequest{Context: t.context("d"), Key: t.key("d")}); err != nil {
			t.Fatal(err)
		}
		if _, err := t.client.RawBatchDelete(ctx, &kvrpcpb.RawBatchDeleteRequest{
			Context: t.context("b"), Keys: [][]byte{t.key("b"), t.key("e")},
		}); err != nil {
			t.Fatal(err)
		}
		if t.get("d")+t.get("b")+t.get("e") != "---" {
			t.Error("deleted keys are there")
		}
		wrong, err := t.client.RawBatchPut(ctx, &kvrpcpb.RawBatchPutRequest{
			Context: t.context("d"), Pairs: []*kvrpcpb.KvPair{{Key: t.key("d")}}, Ttls: []uint64{1, 2},
		})
		if err != nil || wrong.Error == "" {
			t.Error(err, wrong)
		}
	})
}

func TestRawLifetime(t *testing.T) {
	eachRaw(t, func(t rawTest) {
		t.put("short", "lived", 2)
		if t.get("short") != "lived" {
			t.Error(t.get("short"))
		}
		t.eng.raw.now = func() time.Time { return time.Now().Add(2 * time.Second) }
		if t.get("short") != "-" {
			t.Error(t.get("short"))
		}
		resp, err := t.client.RawScan(context.Background(), &kvrpcpb.RawScanRequest{
			Context: t.context("s"), StartKey: t.key("s"), EndKey: t.key("t"), Limit: 10,
		})
		if err != nil || len(resp.Kvs) != 0 {
			t.Error(err, resp)
		}
	})
}

func TestRawScans(t *testing.T) {
	eachRaw(t, func(t rawTest) {
		ctx := context.Background()
		for i := range 6 {
			t.put(fmt.Sprintf("k%d", i), fmt.Sprint(i), 0)
		}
		if resp := t.eng.regions.SplitRegion(&kvrpcpb.SplitRegionRequest{
			Context: t.context("k"), SplitKeys: [][]byte{t.key("k4")}, IsRawKv: true,
		}); resp.RegionError != nil {
			t.Fatal(resp.RegionError)
		}
		if left := regionOf(t.eng.regions, t.prefix+"k0"); string(left.rawEnd) != t.prefix+"k4" {
			t.Fatalf("%q", left.rawEnd)
		}
		scan := func(start, end string, limit uint32, reverse, keyOnly bool) string {
			resp, err := t.client.RawScan(ctx, &kvrpcpb.RawScanRequest{
				Context: t.context("k0"), StartKey: t.key(start), EndKey: t.key(end), Limit: limit, Reverse: reverse, KeyOnly: keyOnly,
			})
			if err != nil || resp.RegionError != nil {
				t.Fatal(err, resp)
			}
			return t.names(resp.Kvs)
		}
		for want, got := range map[string]string{
			"k1=1 k2=2":      scan("k1", "k3", 10, false, false),
			"k1=1 k2=2 k3=3": scan("k1", "k9", 10, false, false), // up to the border
			"k1=1":           scan("k1", "k9", 1, false, false),
			"k3=3 k2=2 k1=1": scan("k4", "k1", 10, true, false),
			"k2= k1=":        scan("k3", "k1", 10, true, true),
			"":               scan("k1", "k3", 0, false, false),
		} {
			if got != want {
				t.Errorf("%q, wanted %q", got, want)
			}
		}
		outside, err := t.client.RawScan(ctx, &kvrpcpb.RawScanRequest{
			Context: t.context("k0"), StartKey: t.key("k5"), EndKey: t.key("k9"), Limit: 1,
		})
		if err != nil || outside.RegionError.GetKeyNotInRegion() == nil {
			t.Error(err, outside)
		}
		if t.eng.mode == apiRaw && string(outside.RegionError.GetKeyNotInRegion().GetEndKey()) != "k4" {
			t.Errorf("borders of RawKV are plain: %v", outside)
		}
		batch, err := t.client.RawBatchScan(ctx, &kvrpcpb.RawBatchScanRequest{Context: t.context("k0"), EachLimit: 2, Ranges: []*kvrpcpb.KeyRange{
			{StartKey: t.key("k0"), EndKey: t.key("k1")}, {StartKey: t.key("k2"), EndKey: t.key("k4")},
		}})
		if err != nil || t.names(batch.Kvs) != "k0=0 k2=2 k3=3" {
			t.Error(err, batch)
		}
		wrong, err := t.client.RawBatchScan(ctx, &kvrpcpb.RawBatchScanRequest{Context: t.context("k0"), EachLimit: 2, Ranges: []*kvrpcpb.KeyRange{
			{StartKey: t.key("k3"), EndKey: t.key("k1")},
		}})
		if err != nil || len(wrong.Kvs) != 1 || wrong.Kvs[0].Error == nil {
			t.Error(err, wrong)
		}
		sum, err := t.client.RawChecksum(ctx, &kvrpcpb.RawChecksumRequest{Context: t.context("k0"), Ranges: []*kvrpcpb.KeyRange{
			{StartKey: t.key("k0"), EndKey: t.key("k2")},
		}})
		table := crc64.MakeTable(crc64.ECMA)
		want := crc64.Checksum([]byte(t.prefix+"k00"), table) ^ crc64.Checksum([]byte(t.prefix+"k11"), table)
		if err != nil || sum.Checksum != want || sum.TotalKvs != 2 {
			t.Error(err, sum)
		}
		gone, err := t.client.RawDeleteRange(ctx, &kvrpcpb.RawDeleteRangeRequest{
			Context: t.context("k0"), StartKey: t.key("k1"), EndKey: t.key("k3"),
		})
		if err != nil || gone.Error != "" || scan("k0", "k9", 10, false, false) != "k0=0 k3=3" {
			t.Error(err, gone)
		}
	})
}

func TestRawCompareAndSwap(t *testing.T) {
	eachRaw(t, func(t rawTest) {
		swap := func(previous, value string) *kvrpcpb.RawCASResponse {
			resp, err := t.client.RawCompareAndSwap(context.Background(), &kvrpcpb.RawCASRequest{
				Context: t.context("k"), Key: t.key("k"), Value: []byte(value),
				PreviousValue: []byte(previous), PreviousNotExist: previous == "-",
			})
			if err != nil || resp.Error != "" || resp.RegionError != nil {
				t.Fatal(err, resp)
			}
			return resp
		}
		if got := swap("a", "b"); got.Succeed || !got.PreviousNotExist {
			t.Error(got)
		}
		if got := swap("-", "a"); !got.Succeed || !got.PreviousNotExist {
			t.Error(got)
		}
		if got := swap("-", "b"); got.Succeed || string(got.PreviousValue) != "a" {
			t.Error(got)
		}
		if got := swap("a", "b"); !got.Succeed || string(got.PreviousValue) != "a" || t.get("k") != "b" {
			t.Error(got, t.get("k"))
		}
	})
}

func TestRawInABatch(t *testing.T) {
	eachRaw(t, func(t rawTest) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stream, err := t.client.BatchCommands(ctx)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(req *batchRequest) *batchResponse {
			_ = stream.Send(&tikvpb.BatchCommandsRequest{Requests: []*batchRequest{req}, RequestIds: []uint64{3}})
			resp, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			return resp.Responses[0]
		}
		put := ask(&batchRequest{Cmd: &tikvpb.BatchCommandsRequest_Request_RawPut{RawPut: &kvrpcpb.RawPutRequest{
			Context: t.context("k"), Key: t.key("k"), Value: []byte("v"),
		}}}).GetRawPut()
		if put == nil || put.Error != "" || put.RegionError != nil {
			t.Fatal(put)
		}
		got := ask(&batchRequest{Cmd: &tikvpb.BatchCommandsRequest_Request_RawScan{RawScan: &kvrpcpb.RawScanRequest{
			Context: t.context("k"), StartKey: t.key("k"), EndKey: t.key("l"), Limit: 5,
		}}}).GetRawScan()
		if t.names(got.GetKvs()) != "k=v" {
			t.Error(got)
		}
	})
}

func TestRawSurvivesAStop(t *testing.T) {
	folder := t.TempDir()
	for _, want := range []bool{false, true} {
		store, err := openRawStore(folder)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, found, err := store.get([]byte("k")); err != nil || found != want {
			t.Fatal(err, found)
		}
		if _, err := store.write([]rawPut{{key: []byte("k"), value: []byte("v")}}); err != nil {
			t.Fatal(err)
		}
		store.close()
	}
}
