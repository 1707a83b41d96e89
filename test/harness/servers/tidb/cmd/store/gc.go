package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/pingcap/badger"
	"github.com/pingcap/badger/y"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// dropped is the user meta of a version that GC has taken: a mark of the engine's own in its place. The engine's compaction
// would take the version itself, but is left off: badger loses old versions of the first key that has some in each file of a
// compaction but the first (its table builder forgets, when it is used again, that offset 0 means none).
var dropped = mvcc.NewDBUserMeta(0, 0)

// everything is a safe point behind which nothing stays at all.
const everything = math.MaxUint64

// gcReport is the JSON of POST /gc. Versions are those of users' keys, deletions among them.
type gcReport struct {
	// Decimal strings: they do not fit a JSON number.
	SafePoint string `json:"safePoint"`
	Before    int    `json:"before"`
	After     int    `json:"after"`
}

// collectGarbage does with PD's safe point what TiKV's GC does: of a key's versions at or below the safe point the newest
// stays unless it is a deletion; what is older goes, and so do records of rollbacks. Readers of these keys wait meanwhile.
//
//	files         k@90 k@50 k@30 k@10
//	safe point 60
//	memory table  k@90 k@50 mark@30 mark@10     one transaction for each, since it holds a key once
func (e *engine) collectGarbage(ctx context.Context, readers *pending) (gcReport, error) {
	safePoint, err := e.pd.GetGCSafePoint(ctx)
	if err != nil {
		return gcReport{}, fmt.Errorf("the safe point from PD: %w", err)
	}
	e.store.UpdateSafePoint(safePoint)
	report := gcReport{SafePoint: fmt.Sprint(safePoint), Before: e.countVersions()}
	var keys [][]byte
	e.eachKey(nil, nil, func(key []byte, versions []*badger.Entry) {
		if kept := keptVersions(key, versions, safePoint); kept < len(versions) {
			keys = append(keys, key)
		}
	})
	if err := e.drop(readers, keys, safePoint); err != nil {
		return gcReport{}, err
	}
	report.After = e.countVersions()
	return report, nil
}

// keptVersions is how many of a key's versions, newest first, stay.
func keptVersions(key []byte, versions []*badger.Entry, safePoint uint64) int {
	if safePoint == everything {
		return 0
	}
	rollback := key[0] == rollbackMeta || key[0] == rollbackTable
	for i, version := range versions {
		meta := mvcc.DBUserMeta(version.UserMeta)
		switch {
		case rollback && meta.StartTS() < safePoint:
			return i
		case rollback || meta.CommitTS() > safePoint:
			continue
		case len(version.Value) == 0:
			return i
		}
		return i + 1
	}
	return len(versions)
}

func (e *engine) drop(readers *pending, keys [][]byte, safePoint uint64) error {
	if len(keys) == 0 {
		return nil
	}
	defer readers.begin(keys)()
	hashes := hashesOf(keys)
	e.regions.latches.acquire(hashes)
	defer e.regions.latches.release(hashes)
	if err := e.turnMemtable(); err != nil {
		return err
	}
	// layers[0] are the oldest versions.
	var layers [][]*badger.Entry
	for _, key := range keys {
		e.eachKey(key, append(slices.Clone(key), 0), func(key []byte, versions []*badger.Entry) {
			kept := keptVersions(key, versions, safePoint)
			for i, version := range versions {
				if i >= kept {
					version.Value, version.UserMeta = nil, dropped
					version.SetDelete()
				}
				layer := len(versions) - 1 - i
				for len(layers) <= layer {
					layers = append(layers, nil)
				}
				layers[layer] = append(layers[layer], version)
			}
		})
	}
	for _, layer := range layers {
		if err := e.writeEntries(layer); err != nil {
			return err
		}
	}
	return nil
}

// eachKey shows the keys of [start, end) with their versions, newest first, as copies.
func (e *engine) eachKey(start, end []byte, show func(key []byte, versions []*badger.Entry)) {
	var key []byte
	var versions []*badger.Entry
	e.eachVersion(start, end, func(item *badger.Item) {
		if string(item.Key()) != string(key) {
			if len(versions) > 0 {
				show(key, versions)
			}
			key, versions = item.KeyCopy(nil), nil
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			panic(err) // A file of the engine's own is gone.
		}
		versions = append(versions, &badger.Entry{
			Key: y.KeyWithTs(key, item.Version()), Value: value, UserMeta: slices.Clone(item.UserMeta()),
		})
	})
	if len(versions) > 0 {
		show(key, versions)
	}
}

func (e *engine) countVersions() int {
	count := 0
	e.eachVersion(nil, nil, func(item *badger.Item) {
		if first := item.Key()[0]; first != rollbackMeta && first != rollbackTable {
			count++
		}
	})
	return count
}

// eachVersion shows what the engine has of the keys of [start, end), newest first, but not unistore's own keys and not
// what DeleteRange or GC has taken away.
func (e *engine) eachVersion(start, end []byte, show func(*badger.Item)) {
	txn := e.bundle.DB.NewTransaction(false)
	defer txn.Discard()
	txn.SetReadTS(math.MaxUint64)
	it := txn.NewIterator(badger.IteratorOptions{AllVersions: true})
	defer it.Close()
	for it.Seek(start); it.Valid() && before(it.Item().Key(), end) && it.Item().Key()[0] != internal; it.Next() {
		if meta := it.Item().UserMeta(); len(meta) > 0 && string(meta) != string(dropped) {
			show(it.Item())
		}
	}
}

// UnsafeDestroyRange has no region: it goes to every store as it is, so an empty bound would mean everything. Unistore's
// takes whole files only and leaves the rest; TiKV's takes every version of the range.
func (s *service) UnsafeDestroyRange(_ context.Context, req *kvrpcpb.UnsafeDestroyRangeRequest) (*kvrpcpb.UnsafeDestroyRangeResponse, error) {
	if len(req.StartKey) == 0 || len(req.EndKey) == 0 {
		s.refuse("UnsafeDestroyRange", "an empty bound")
		return &kvrpcpb.UnsafeDestroyRangeResponse{Error: "UnsafeDestroyRange needs both bounds"}, nil
	}
	if err := s.engine.destroyRange(s.pending, req.StartKey, req.EndKey); err != nil {
		return &kvrpcpb.UnsafeDestroyRangeResponse{Error: err.Error()}, nil
	}
	return &kvrpcpb.UnsafeDestroyRangeResponse{}, nil
}

// KvDeleteRange takes every version and every lock of a range, as TiKV does. Unistore's hides the newest versions and leaves
// the locks.
func (s *service) KvDeleteRange(_ context.Context, req *kvrpcpb.DeleteRangeRequest) (*kvrpcpb.DeleteRangeResponse, error) {
	if req.NotifyOnly {
		return &kvrpcpb.DeleteRangeResponse{}, nil
	}
	if err := s.engine.destroyRange(s.pending, req.StartKey, req.EndKey); err != nil {
		return &kvrpcpb.DeleteRangeResponse{Error: err.Error()}, nil
	}
	return &kvrpcpb.DeleteRangeResponse{}, nil
}

// destroyRange takes every lock and every version of every key of [start, end).
func (e *engine) destroyRange(readers *pending, start, end []byte) error {
	if err := e.dropLocks(start, end); err != nil {
		return err
	}
	var keys [][]byte
	e.eachKey(start, end, func(key []byte, _ []*badger.Entry) { keys = append(keys, key) })
	return e.drop(readers, keys, everything)
}

// dropLocks takes the locks on keys of [start, end), whoever holds them.
func (e *engine) dropLocks(start, end []byte) error {
	var keys [][]byte
	it := e.bundle.LockStore.NewIterator()
	for it.Seek(start); it.Valid() && string(it.Key()) < string(end); it.Next() {
		keys = append(keys, slices.Clone(it.Key()))
	}
	hashes := hashesOf(keys)
	e.regions.latches.acquire(hashes)
	defer e.regions.latches.release(hashes)
	batch := e.writer.NewWriteBatch(0, 0, nil)
	for _, key := range keys {
		// Of all that the writer does, this takes a lock and leaves no mark.
		batch.PessimisticRollback(key)
	}
	return e.writer.Write(batch)
}

// MvccGetByKey is unistore's without the marks of what GC has taken.
func (s *service) MvccGetByKey(ctx context.Context, req *kvrpcpb.MvccGetByKeyRequest) (*kvrpcpb.MvccGetByKeyResponse, error) {
	resp, err := s.Server.MvccGetByKey(ctx, req)
	if info := resp.GetInfo(); info != nil {
		info.Writes = slices.DeleteFunc(info.Writes, func(write *kvrpcpb.MvccWrite) bool {
			return write.StartTs == 0 && write.CommitTs == 0
		})
	}
	return resp, err
}
