package main

import (
	"fmt"
	"time"

	"github.com/pingcap/tidb/pkg/types"
	"github.com/pingcap/tidb/pkg/util/codec"
	"github.com/pingcap/tidb/pkg/util/rowcodec"
)

// newRowFormat gives a row's value in the newer of TiDB's two formats, the only one that unistore's executors read. TiDB
// still writes the older one while it bootstraps. Unistore turns rows over in a prewrite, but not where a key has a
// keyspace's prefix or comes from an import. Other values stay as they are.
//
//	older  column id, value, column id, value ... as datums; one zero byte where there is no column
func newRowFormat(key, value []byte) ([]byte, error) {
	if !rowcodec.IsRowKey(key) || len(value) == 0 || rowcodec.IsNewFormat(value) {
		return value, nil
	}
	var ids []int64
	var columns []types.Datum
	for rest := value; len(rest) > 1; {
		var id, column types.Datum
		var err error
		if rest, id, err = codec.DecodeOne(rest); err == nil {
			rest, column, err = codec.DecodeOne(rest)
		}
		if err != nil {
			return nil, fmt.Errorf("the row at %x: %w", key, err)
		}
		ids, columns = append(ids, id.GetInt64()), append(columns, column)
	}
	var encoder rowcodec.Encoder
	return encoder.Encode(time.UTC, ids, columns, nil, nil)
}
