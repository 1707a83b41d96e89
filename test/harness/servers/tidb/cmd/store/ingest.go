package main

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync/atomic"

	"github.com/dgryski/go-farm"
	"github.com/pingcap/badger"
	"github.com/pingcap/badger/y"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// Entries and bytes of one transaction of the engine, which takes any number but must hold them in one memory table.
const (
	ingestEntries = 4096
	ingestBytes   = 4 << 20
)

// ingest writes pairs as committed versions. Readers of these keys wait until all are there.
//
// The engine finds a version of a key by taking the first that fits, newest table first, so a version must never be
// written after a newer one. Two tasks of one ADD UNIQUE INDEX do just that, and it is how duplicates between them are
// found. Where a key has newer versions these are written again, on top, in an empty memory table:
//
//	before   file  k@90
//	after    file  k@90   memory table  k@50 k@90     one transaction for each, since it holds a key once
func (e *engine) ingest(regionID uint64, readers *pending, pairs []sstPair) error {
	byKey := map[string][]*badger.Entry{}
	var keys [][]byte
	var written int64
	for _, pair := range pairs {
		value, err := newRowFormat(pair.key, pair.value)
		if err != nil {
			return err
		}
		if byKey[string(pair.key)] == nil {
			keys = append(keys, pair.key)
		}
		byKey[string(pair.key)] = append(byKey[string(pair.key)], &badger.Entry{
			Key:   y.KeyWithTs(pair.key, pair.commitTs),
			Value: value,
			// TiKV's imported versions start when they commit.
			UserMeta: mvcc.NewDBUserMeta(pair.commitTs, pair.commitTs),
		})
		written += int64(len(pair.key) + len(pair.value))
	}
	defer readers.begin(keys)()
	hashes := hashesOf(keys)
	e.regions.latches.acquire(hashes)
	defer e.regions.latches.release(hashes)

	// layers[0] are the oldest versions of their keys.
	var layers [][]*badger.Entry
	again := false
	for _, key := range keys {
		versions := byKey[string(key)]
		slices.SortStableFunc(versions, func(a, b *badger.Entry) int { return cmp.Compare(a.Key.Version, b.Key.Version) })
		newer, err := e.newerThan(key, versions[0].Key.Version)
		if err != nil {
			return err
		}
		again = again || len(newer) > 0
		for i, entry := range mergeVersions(versions, newer) {
			if len(layers) < i+1 {
				layers = append(layers, nil)
			}
			layers[i] = append(layers[i], entry)
		}
	}
	if again {
		if err := e.turnMemtable(); err != nil {
			return err
		}
	}
	for _, layer := range layers {
		if err := e.writeEntries(layer); err != nil {
			return err
		}
	}
	if r := e.regions.get(regionID); r != nil {
		atomic.AddInt64(r.Diff(), written)
	}
	return nil
}

// mergeVersions puts two rising lists of versions into one. Of the same version the last of the first list stays: a file
// replaces what is there.
func mergeVersions(files, stored []*badger.Entry) []*badger.Entry {
	if len(files) == 1 && len(stored) == 0 {
		return files
	}
	byVersion := map[uint64]*badger.Entry{}
	for _, entry := range slices.Concat(stored, files) {
		byVersion[entry.Key.Version] = entry
	}
	out := slices.Collect(maps.Values(byVersion))
	slices.SortFunc(out, func(a, b *badger.Entry) int { return cmp.Compare(a.Key.Version, b.Key.Version) })
	return out
}

// newerThan lists the committed versions of a key after a timestamp, oldest first.
func (e *engine) newerThan(key []byte, ts uint64) ([]*badger.Entry, error) {
	txn := e.bundle.DB.NewTransaction(false)
	defer txn.Discard()
	txn.SetReadTS(math.MaxUint64)
	if item, err := txn.Get(key); err == badger.ErrKeyNotFound || (err == nil && item.Version() <= ts) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	it := txn.NewIterator(badger.IteratorOptions{
		AllVersions: true, StartKey: y.KeyWithTs(key, math.MaxUint64), EndKey: y.KeyWithTs(append(slices.Clone(key), 0), 0),
	})
	defer it.Close()
	var out []*badger.Entry
	for it.Seek(key); it.Valid(); it.Next() {
		item := it.Item()
		if string(item.Key()) != string(key) || item.Version() <= ts {
			break
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			return nil, err
		}
		entry := &badger.Entry{
			Key: y.KeyWithTs(slices.Clone(key), item.Version()), Value: value, UserMeta: slices.Clone(item.UserMeta()),
		}
		// So unistore marks what DeleteRange has taken away.
		if len(entry.UserMeta) == 0 {
			entry.SetDelete()
		}
		out = append(out, entry)
	}
	slices.Reverse(out)
	return out, nil
}

// writeEntries writes past unistore's own writer, which takes only locks that turn into versions.
func (e *engine) writeEntries(entries []*badger.Entry) error {
	return writeEntries(e.bundle.DB, entries)
}

func writeEntries(db *badger.DB, entries []*badger.Entry) error {
	for len(entries) > 0 {
		count, bytes := 0, 0
		for count < len(entries) && count < ingestEntries && (count == 0 || bytes < ingestBytes) {
			bytes += len(entries[count].Key.UserKey) + len(entries[count].Value)
			count++
		}
		err := db.Update(func(txn *badger.Txn) error {
			for _, entry := range entries[:count] {
				if err := txn.SetEntry(entry); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		entries = entries[count:]
	}
	return nil
}

// hashesOf is what unistore latches keys by: sorted, each once.
func hashesOf(keys [][]byte) []uint64 {
	out := make([]uint64, len(keys))
	for i, key := range keys {
		out[i] = farm.Fingerprint64(key)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
