package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/tidb/pkg/kv"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	"github.com/pingcap/tidb/pkg/tablecodec"
	"github.com/pingcap/tidb/pkg/types"
	"github.com/pingcap/tidb/pkg/util/codec"
	"github.com/pingcap/tidb/pkg/util/rowcodec"
	"github.com/pingcap/tipb/go-tipb"
)

const (
	spaceTable = 112
	spaceOne   = "x\x00\x00\x01"
	spaceTwo   = "x\x00\x00\x02"
)

func spaceKey(space string, handle int64) []byte {
	return append([]byte(space), tablecodec.EncodeRowKeyWithHandle(spaceTable, kv.IntHandle(handle))...)
}

func spaceContext(eng *engine, key []byte) *kvrpcpb.Context {
	ctx := contextOf(eng.regions, string(key))
	ctx.ApiVersion = kvrpcpb.APIVersion_V2
	return ctx
}

// writeRows commits rows with the column 2 set to 10 times the handle, in the older format for even handles.
func writeRows(t *testing.T, eng *engine, client tikvpb.TikvClient, space string, handles ...int64) {
	t.Helper()
	start := uint64(time.Now().UnixMilli()) << 18
	for _, handle := range handles {
		datum := types.NewIntDatum(handle * 10)
		var encoder rowcodec.Encoder
		value, err := encoder.Encode(time.UTC, []int64{2}, []types.Datum{datum}, nil, nil)
		if handle%2 == 0 {
			value, err = codec.EncodeValue(time.UTC, nil, types.NewIntDatum(2), datum)
		}
		if err != nil {
			t.Fatal(err)
		}
		key := spaceKey(space, handle)
		prewrite, err := client.KvPrewrite(context.Background(), &kvrpcpb.PrewriteRequest{
			Context: spaceContext(eng, key), PrimaryLock: key, StartVersion: start, LockTtl: 3000,
			Mutations: []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_Put, Key: key, Value: value}},
		})
		if err != nil || prewrite.RegionError != nil || len(prewrite.Errors) > 0 {
			t.Fatal(err, prewrite)
		}
		commit, err := client.KvCommit(context.Background(), &kvrpcpb.CommitRequest{
			Context: spaceContext(eng, key), Keys: [][]byte{key}, StartVersion: start, CommitVersion: start + 1,
		})
		if err != nil || commit.RegionError != nil || commit.Error != nil {
			t.Fatal(err, commit)
		}
	}
}

func scanSpace(t *testing.T, eng *engine, client tikvpb.TikvClient, from, to []byte, desc bool, page uint64) (*coprocessor.Response, string) {
	t.Helper()
	long := int32(mysql.TypeLonglong)
	plan, err := (&tipb.DAGRequest{
		Executors: []*tipb.Executor{{Tp: tipb.ExecType_TypeTableScan, TblScan: &tipb.TableScan{
			TableId: spaceTable, Desc: desc, Columns: []*tipb.ColumnInfo{
				{ColumnId: 1, Tp: long, PkHandle: true, Flag: int32(mysql.PriKeyFlag)}, {ColumnId: 2, Tp: long},
			},
		}}},
		OutputOffsets: []uint32{0, 1}, EncodeType: tipb.EncodeType_TypeDefault, TimeZoneName: "UTC",
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Coprocessor(context.Background(), &coprocessor.Request{
		Context: spaceContext(eng, from), Tp: kv.ReqTypeDAG, Data: plan, StartTs: 1 << 62, PagingSize: page,
		Ranges: []*coprocessor.KeyRange{{Start: from, End: to}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var answer tipb.SelectResponse
	if err := answer.Unmarshal(resp.Data); err != nil {
		t.Fatal(err)
	}
	var found []int64
	for _, chunk := range answer.Chunks {
		for rest := chunk.RowsData; len(rest) > 0; {
			var datum types.Datum
			if rest, datum, err = codec.DecodeOne(rest); err != nil {
				t.Fatal(err)
			}
			found = append(found, datum.GetInt64())
		}
	}
	return resp, fmt.Sprint(found)
}

func TestPlanOfAKeyspace(t *testing.T) {
	eng, _, conn := testStoreOf(t, apiV2)
	client := tikvpb.NewTikvClient(conn)
	writeRows(t, eng, client, spaceOne, 1, 2, 3)
	writeRows(t, eng, client, spaceTwo, 2, 9)
	all := func(space string) ([]byte, []byte) { return spaceKey(space, 0), spaceKey(space, 100) }

	from, to := all(spaceOne)
	if resp, got := scanSpace(t, eng, client, from, to, false, 0); got != "[1 10 2 20 3 30]" {
		t.Error(got, resp)
	}
	if resp, got := scanSpace(t, eng, client, from, to, true, 0); got != "[3 30 2 20 1 10]" {
		t.Error(got, resp)
	}
	from, to = all(spaceTwo)
	if resp, got := scanSpace(t, eng, client, from, to, false, 0); got != "[2 20 9 90]" {
		t.Error(got, resp)
	}
	// A region's border between two rows, and one between two keyspaces: ranges are cut there, and paging answers in
	// whole keys.
	border := spaceKey(spaceOne, 3)
	split := eng.regions.SplitRegion(&kvrpcpb.SplitRegionRequest{
		Context: spaceContext(eng, border), SplitKeys: [][]byte{border, []byte(spaceTwo)},
	})
	if split.RegionError != nil {
		t.Fatal(split.RegionError)
	}
	from, to = all(spaceOne)
	resp, got := scanSpace(t, eng, client, from, to, false, 128)
	if got != "[1 10 2 20]" {
		t.Error(got, resp)
	}
	if resp.Range == nil || !slices.Equal(resp.Range.Start[:keyspacePrefix], []byte(spaceOne)) ||
		!slices.Equal(resp.Range.End[:keyspacePrefix], []byte(spaceOne)) {
		t.Errorf("%v", resp.Range)
	}
	if resp, got := scanSpace(t, eng, client, border, to, false, 0); got != "[3 30]" {
		t.Error(got, resp)
	}

	if resp, _ := scanSpace(t, eng, client, spaceKey(spaceOne, 0)[:keyspacePrefix+5], to, false, 0); resp.OtherError == "" {
		t.Errorf("a start shorter than a table's prefix: %v", resp)
	}
	key := spaceKey(spaceOne, 1)
	locked, err := client.KvPrewrite(context.Background(), &kvrpcpb.PrewriteRequest{
		Context: spaceContext(eng, key), PrimaryLock: key, StartVersion: 1 << 61, LockTtl: 3000,
		Mutations: []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_Put, Key: key, Value: []byte{rowcodec.CodecVer, 0, 0, 0, 0, 0}}},
	})
	if err != nil || len(locked.Errors) > 0 {
		t.Fatal(err, locked)
	}
	if resp, _ := scanSpace(t, eng, client, spaceKey(spaceOne, 0), border, false, 0); !slices.Equal(resp.Locked.GetKey(), key) {
		t.Errorf("%v", resp)
	}
}
