package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pingcap/badger"
	"github.com/pingcap/badger/y"
)

// rawKeyByte is in front of every key here: the engine hides keys of some first bytes and knows no empty one.
const rawKeyByte = 'k'

// rawStore is RawKV: an ordered map of user keys, apart from transactions. A value is stored behind its end of life: 8
// bytes, big endian, seconds since 1970, 0 for ever.
type rawStore struct {
	// Held for writing around every change, so that what is read and then written stays one step.
	mu      sync.RWMutex
	db      *badger.DB
	version uint64
	// Now, for tests.
	now func() time.Time
}

// rawPut is a value to write; nil deletes. Life is in seconds, 0 for ever.
type rawPut struct {
	key, value []byte
	life       uint64
	delete     bool
}

type rawPair struct{ key, value []byte }

func openRawStore(folder string) (*rawStore, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	opts := badger.DefaultOptions
	opts.Dir, opts.ValueDir = folder, folder
	opts.ManagedTxns = true
	db, err := badger.Open(opts)
	if err != nil {
		return nil, err
	}
	// The clock keeps versions rising over restarts.
	return &rawStore{db: db, version: uint64(time.Now().UnixNano()), now: time.Now}, nil
}

func (s *rawStore) close() { _ = s.db.Close() }

// live reads what is stored: the value, and the seconds that it has left, 0 for ever.
func (s *rawStore) live(stored []byte) (value []byte, left uint64, found bool) {
	end, now := binary.BigEndian.Uint64(stored), uint64(s.now().Unix())
	if end == 0 {
		return stored[8:], 0, true
	}
	if end <= now {
		return nil, 0, false
	}
	return stored[8:], end - now, true
}

func rawKeyOf(key []byte) []byte { return append([]byte{rawKeyByte}, key...) }

// get gives a key's value and the seconds it has left.
func (s *rawStore) get(key []byte) (value []byte, left uint64, found bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.getLocked(key)
}

func (s *rawStore) getLocked(key []byte) (value []byte, left uint64, found bool, err error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	txn.SetReadTS(math.MaxUint64)
	item, err := txn.Get(rawKeyOf(key))
	if err == badger.ErrKeyNotFound {
		return nil, 0, false, nil
	}
	if err != nil {
		return nil, 0, false, err
	}
	stored, err := item.ValueCopy(nil)
	if err != nil {
		return nil, 0, false, err
	}
	value, left, found = s.live(stored)
	return value, left, found, nil
}

// write makes all changes at once; the last one of a key counts. It gives the bytes written.
func (s *rawStore) write(puts []rawPut) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked(puts)
}

func (s *rawStore) writeLocked(puts []rawPut) (int64, error) {
	s.version++
	var written int64
	err := s.db.Update(func(txn *badger.Txn) error {
		for _, put := range puts {
			entry := &badger.Entry{Key: y.KeyWithTs(rawKeyOf(put.key), s.version)}
			if put.delete {
				entry.SetDelete()
			} else {
				var end uint64
				if put.life > 0 {
					end = uint64(s.now().Unix()) + put.life
				}
				entry.Value = append(binary.BigEndian.AppendUint64(nil, end), put.value...)
			}
			written += int64(len(put.key) + len(put.value))
			if err := txn.SetEntry(entry); err != nil {
				return err
			}
		}
		return nil
	})
	return written, err
}

// swap writes the put if the key's value is as expected, nil meaning that there is none. It gives the value before.
func (s *rawStore) swap(put rawPut, expected []byte, absent bool) (before []byte, had, swapped bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, _, had, err = s.getLocked(put.key)
	if err != nil || had == absent || (had && !bytes.Equal(before, expected)) {
		return before, had, false, err
	}
	_, err = s.writeLocked([]rawPut{put})
	return before, had, err == nil, err
}

// scan lists the pairs of [lower, upper), up to limit, from the end if backward. An empty upper has no bound.
func (s *rawStore) scan(lower, upper []byte, limit int, backward bool) ([]rawPair, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	txn.SetReadTS(math.MaxUint64)
	it := txn.NewIterator(badger.IteratorOptions{Reverse: backward})
	defer it.Close()
	start, end := rawKeyOf(lower), []byte{rawKeyByte + 1}
	if len(upper) > 0 {
		end = rawKeyOf(upper)
	}
	seek := start
	if backward {
		seek = end
	}
	var out []rawPair
	for it.Seek(seek); it.Valid() && len(out) < limit; it.Next() {
		key := it.Item().Key()
		if backward && bytes.Compare(key, end) >= 0 {
			continue
		}
		if bytes.Compare(key, start) < 0 || bytes.Compare(key, end) >= 0 {
			break
		}
		stored, err := it.Item().ValueCopy(nil)
		if err != nil {
			return nil, err
		}
		if value, _, found := s.live(stored); found {
			out = append(out, rawPair{key: slices.Clone(key[1:]), value: value})
		}
	}
	return out, nil
}

// deleteRange takes away [lower, upper); an empty upper has no bound.
func (s *rawStore) deleteRange(lower, upper []byte) error {
	pairs, err := s.scan(lower, upper, math.MaxInt, false)
	if err != nil {
		return err
	}
	puts := make([]rawPut, len(pairs))
	for i, pair := range pairs {
		puts[i] = rawPut{key: pair.key, delete: true}
	}
	_, err = s.write(puts)
	return err
}

// each hands on the keys of [lower, upper) with the lengths of their values, outlived ones too.
func (s *rawStore) each(lower, upper []byte, do func(key []byte, length int)) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	txn.SetReadTS(math.MaxUint64)
	it := txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	for it.Seek(rawKeyOf(lower)); it.Valid() && it.Item().Key()[0] == rawKeyByte; it.Next() {
		key := it.Item().Key()[1:]
		if !before(key, upper) {
			return
		}
		do(key, it.Item().ValueSize())
	}
}
