package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/pingcap/badger"
	"github.com/pingcap/badger/y"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// flashbacks knows the regions that are prepared for a flashback, by region id: the start timestamp. As in TiKV it is
// the whole region that stands still meanwhile, whatever part of it is flashed back. A restart forgets it.
type flashbacks struct {
	mu       sync.Mutex
	prepared map[uint64]uint64
}

func newFlashbacks() *flashbacks { return &flashbacks{prepared: map[uint64]uint64{}} }

// check keeps everything else off a region that is prepared, and FlashbackToVersion off one that is not.
func (f *flashbacks) check(method string, region uint64) *errorpb.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	start, prepared := f.prepared[region]
	switch {
	case method == "KvFlashbackToVersion" && !prepared:
		return &errorpb.Error{
			Message:              fmt.Sprintf("region %d is not prepared for the flashback", region),
			FlashbackNotPrepared: &errorpb.FlashbackNotPrepared{RegionId: region},
		}
	case prepared && !strings.HasSuffix(method, "FlashbackToVersion"):
		return &errorpb.Error{
			Message:             fmt.Sprintf("region %d is in flashback progress", region),
			FlashbackInProgress: &errorpb.FlashbackInProgress{RegionId: region, FlashbackStartTs: start},
		}
	}
	return nil
}

func init() {
	register(func(q *kvrpcpb.PrepareFlashbackToVersionRequest) claim {
		return claim{context: q.Context, spans: []span{{lower: &q.StartKey, upper: &q.EndKey}}}
	}, func(e *errorpb.Error) any { return &kvrpcpb.PrepareFlashbackToVersionResponse{RegionError: e} })
	register(func(q *kvrpcpb.FlashbackToVersionRequest) claim {
		return claim{context: q.Context, spans: []span{{lower: &q.StartKey, upper: &q.EndKey}}}
	}, func(e *errorpb.Error) any { return &kvrpcpb.FlashbackToVersionResponse{RegionError: e} })
}

func (s *service) KvPrepareFlashbackToVersion(
	_ context.Context, req *kvrpcpb.PrepareFlashbackToVersionRequest,
) (*kvrpcpb.PrepareFlashbackToVersionResponse, error) {
	s.flashbacks.mu.Lock()
	defer s.flashbacks.mu.Unlock()
	s.flashbacks.prepared[req.Context.GetRegionId()] = req.StartTs
	return &kvrpcpb.PrepareFlashbackToVersionResponse{}, nil
}

// KvFlashbackToVersion takes away the locks of the range, writes what each key was at the version once more at the commit
// timestamp, and sets the region free.
func (s *service) KvFlashbackToVersion(
	_ context.Context, req *kvrpcpb.FlashbackToVersionRequest,
) (*kvrpcpb.FlashbackToVersionResponse, error) {
	if err := s.engine.flashback(req); err != nil {
		return &kvrpcpb.FlashbackToVersionResponse{Error: err.Error()}, nil
	}
	s.flashbacks.mu.Lock()
	defer s.flashbacks.mu.Unlock()
	delete(s.flashbacks.prepared, req.Context.GetRegionId())
	return &kvrpcpb.FlashbackToVersionResponse{}, nil
}

func (e *engine) flashback(req *kvrpcpb.FlashbackToVersionRequest) error {
	if req.CommitTs <= req.StartTs || req.Version >= req.StartTs {
		return fmt.Errorf("version %d, start ts %d and commit ts %d do not rise", req.Version, req.StartTs, req.CommitTs)
	}
	if err := e.rollBackRange(req.Context, req.StartKey, req.EndKey); err != nil {
		return err
	}
	entries, err := e.versionAgain(req)
	if err != nil {
		return err
	}
	return e.writeEntries(entries)
}

// rollBackRange rolls back every transaction's locks on the keys of a range.
func (e *engine) rollBackRange(ctx *kvrpcpb.Context, start, end []byte) error {
	byTxn := map[uint64][][]byte{}
	it := e.bundle.LockStore.NewIterator()
	for it.Seek(start); it.Valid() && before(it.Key(), end); it.Next() {
		ts := mvcc.DecodeLock(it.Value()).StartTS
		byTxn[ts] = append(byTxn[ts], bytes.Clone(it.Key()))
	}
	for ts, keys := range byTxn {
		resp, err := e.server.KvResolveLock(context.Background(), &kvrpcpb.ResolveLockRequest{
			Context: ctx, StartVersion: ts, Keys: keys,
		})
		if err != nil {
			return err
		}
		if resp.Error != nil || resp.RegionError != nil {
			return fmt.Errorf("locks of %d: %v", ts, resp)
		}
	}
	return nil
}

// versionAgain gives a new version to each key of the range that has changed since: its value then, empty if it had none.
func (e *engine) versionAgain(req *kvrpcpb.FlashbackToVersionRequest) ([]*badger.Entry, error) {
	txn := e.bundle.DB.NewTransaction(false)
	defer txn.Discard()
	then := e.bundle.DB.NewTransaction(false)
	defer then.Discard()
	txn.SetReadTS(math.MaxUint64)
	then.SetReadTS(req.Version)
	it := txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	var out []*badger.Entry
	for it.Seek(req.StartKey); it.Valid() && before(it.Item().Key(), req.EndKey); it.Next() {
		if it.Item().Version() <= req.Version {
			continue
		}
		key := it.Item().KeyCopy(nil)
		var value []byte
		item, err := then.Get(key)
		if err == nil {
			value, err = item.ValueCopy(nil)
		}
		if err != nil && err != badger.ErrKeyNotFound {
			return nil, err
		}
		out = append(out, &badger.Entry{
			Key: y.KeyWithTs(key, req.CommitTs), Value: value, UserMeta: mvcc.NewDBUserMeta(req.StartTs, req.CommitTs),
		})
	}
	return out, nil
}
