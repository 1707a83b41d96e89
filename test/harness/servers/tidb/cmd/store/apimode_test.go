package main

import (
	"context"
	"testing"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/tidb/pkg/kv"
)

func TestAPIModes(t *testing.T) {
	const v1, v2 = kvrpcpb.APIVersion_V1, kvrpcpb.APIVersion_V2
	point := func(key string) claim { return claim{points: keys(key)} }
	bounds := func(lower, upper string, backward bool) claim {
		low, up := []byte(lower), []byte(upper)
		return claim{spans: []span{{lower: &low, upper: &up, backward: backward}}}
	}
	cases := []struct {
		mode    apiMode
		method  string
		version kvrpcpb.APIVersion
		claim   claim
		taken   bool
	}{
		{apiV1, "KvGet", v1, point("anything"), true},
		{apiV1, "KvGet", v2, point("x\x00\x00\x01k"), false},
		{apiV1, "RawGet", v1, point("k"), false},
		{apiV1, "KvScan", v1, bounds("", "", false), true},
		{apiRaw, "RawGet", v1, point("anything"), true},
		{apiRaw, "RawGet", v2, point("r\x00\x00\x01k"), false},
		{apiRaw, "RawScan", v1, bounds("", "", false), true},
		{apiRaw, "KvGet", v1, point("t"), false},
		{apiV2, "KvGet", v1, point("t\x80"), true},
		{apiV2, "KvGet", v1, point("mDB"), true},
		{apiV2, "KvGet", v1, point("x\x00\x00\x01k"), false},
		{apiV2, "KvGet", v1, point(""), false},
		{apiV2, "RawGet", v1, point("t"), false},
		{apiV2, "KvGet", v2, point("x\x00\x00\x01k"), true},
		{apiV2, "KvGet", v2, point("r\x00\x00\x01k"), false},
		{apiV2, "KvGet", v2, point("t\x80"), false},
		{apiV2, "RawPut", v2, point("r\x00\x00\x01k"), true},
		{apiV2, "RawPut", v2, point("x\x00\x00\x01k"), false},
		{apiV2, "KvScan", v2, bounds("x\x00\x00\x01", "x\x00\x00\x02", false), true},
		{apiV2, "KvScan", v2, bounds("x\xff\xff\xff", "y", false), true},
		{apiV2, "KvScan", v2, bounds("x\x00\x00\x01", "z", false), false},
		{apiV2, "KvScan", v2, bounds("x\x00\x00\x01", "", false), false},
		{apiV2, "KvScan", v2, bounds("", "x\x00\x00\x02", false), false},
		{apiV2, "KvScan", v1, bounds("t", "u", false), true},
		{apiV2, "RawScan", v2, bounds("r\x00\x00\x01", "r\x00\x00\x02", true), true},
		// The last keyspace cannot be scanned backwards from its end, in TiKV neither.
		{apiV2, "RawScan", v2, bounds("r\xff\xff\xff", "s", true), false},
	}
	for _, c := range cases {
		if err := c.mode.check(c.method, c.version, c.claim); (err == nil) != c.taken {
			t.Errorf("%s %s %s %v: %v", c.mode, c.method, c.version, c.claim, err)
		}
	}
}

func TestWrongModeIsAnsweredInItsOwnError(t *testing.T) {
	eng, stats, conn := testStoreOf(t, apiV1)
	client := tikvpb.NewTikvClient(conn)
	ctx := contextOf(eng.regions, "t")
	ctx.ApiVersion = kvrpcpb.APIVersion_V2
	get, err := client.KvGet(context.Background(), &kvrpcpb.GetRequest{Context: ctx, Key: []byte("t1")})
	if err != nil || get.Error.GetAbort() == "" {
		t.Error(err, get)
	}
	prewrite, err := client.KvPrewrite(context.Background(), &kvrpcpb.PrewriteRequest{Context: ctx, Mutations: mutations("t1")})
	if err != nil || len(prewrite.Errors) != 1 || prewrite.Errors[0].Abort == "" {
		t.Error(err, prewrite)
	}
	cop, err := client.Coprocessor(context.Background(), &coprocessor.Request{Context: ctx, Tp: kv.ReqTypeDAG})
	if err != nil || cop.OtherError == "" {
		t.Error(err, cop)
	}
	raw, err := client.RawPut(context.Background(), &kvrpcpb.RawPutRequest{Context: contextOf(eng.regions, "t"), Key: []byte("t1")})
	if err != nil || raw.Error == "" {
		t.Error(err, raw)
	}
	scan, err := client.RawScan(context.Background(), &kvrpcpb.RawScanRequest{Context: contextOf(eng.regions, "t")})
	if err != nil || len(scan.Kvs) != 1 || scan.Kvs[0].Error.GetAbort() == "" {
		t.Error(err, scan)
	}
	if got := stats.report(0).Refused; got != 5 {
		t.Errorf("%d refused", got)
	}
}
