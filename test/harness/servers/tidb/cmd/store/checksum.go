package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc64"
	"math"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/dbreader"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/kverrors"
	"github.com/pingcap/tipb/go-tipb"
)

var crc64Table = crc64.MakeTable(crc64.ECMA)

// checksum answers a coprocessor request of type 105 as TiKV does: the exclusive or, over all pairs of the ranges, of
// each pair's crc64. A rule makes the sum that of other keys: each must start with new_prefix, which old_prefix replaces.
// Unistore answers every one with 1.
func (e *engine) checksum(req *coprocessor.Request) (*coprocessor.Response, error) {
	var plan tipb.ChecksumRequest
	if err := plan.Unmarshal(req.Data); err != nil {
		return &coprocessor.Response{OtherError: err.Error()}, nil
	}
	if plan.Algorithm != tipb.ChecksumAlgorithm_Crc64_Xor {
		return &coprocessor.Response{OtherError: fmt.Sprintf("unknown checksum algorithm %s", plan.Algorithm)}, nil
	}
	ts := req.StartTs
	if ts == 0 {
		ts = plan.GetStartTsFallback()
	}
	sum := &checksum{oldPrefix: plan.GetRule().GetOldPrefix(), newPrefix: plan.GetRule().GetNewPrefix()}
	locked, err := e.scanAt(ts, req.Context, req.Ranges, sum)
	if err != nil {
		return &coprocessor.Response{OtherError: err.Error()}, nil
	}
	if locked != nil {
		return &coprocessor.Response{Locked: locked}, nil
	}
	data, err := (&tipb.ChecksumResponse{Checksum: sum.value, TotalKvs: sum.kvs, TotalBytes: sum.bytes}).Marshal()
	if err != nil {
		return nil, err
	}
	return &coprocessor.Response{Data: data}, nil
}

// checksum is a dbreader.ScanProcessor.
type checksum struct {
	oldPrefix, newPrefix []byte
	value, kvs, bytes    uint64
}

func (c *checksum) SkipValue() bool { return false }

func (c *checksum) Process(key, value []byte) error {
	if !bytes.HasPrefix(key, c.newPrefix) {
		return fmt.Errorf("Wrong prefix expect: %x", c.newPrefix)
	}
	digest := crc64.New(crc64Table)
	for _, part := range [][]byte{c.oldPrefix, key[len(c.newPrefix):], value} {
		_, _ = digest.Write(part)
	}
	c.value ^= digest.Sum64()
	c.kvs++
	c.bytes += uint64(len(c.oldPrefix) + len(key) - len(c.newPrefix) + len(value))
	return nil
}

// scanAt hands on what a transaction of this timestamp sees of the ranges, or the first lock that is in its way.
func (e *engine) scanAt(
	ts uint64, ctx *kvrpcpb.Context, ranges []*coprocessor.KeyRange, into dbreader.ScanProcessor,
) (*kvrpcpb.LockInfo, error) {
	if ctx.GetIsolationLevel() == kvrpcpb.IsolationLevel_SI {
		for _, r := range ranges {
			err := e.store.CheckRangeLock(ts, r.Start, r.End, ctx.GetResolvedLocks())
			var locked *kverrors.ErrLocked
			if errors.As(err, &locked) {
				return locked.Lock.ToLockInfo(locked.Key), nil
			} else if err != nil {
				return nil, err
			}
		}
	}
	for _, r := range ranges {
		txn := e.bundle.DB.NewTransaction(false)
		reader := dbreader.NewDBReader(r.Start, r.End, txn)
		err := reader.Scan(r.Start, r.End, math.MaxInt, ts, into)
		reader.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}
