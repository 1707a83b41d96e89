package main

import (
	"bytes"
	"os"
	"sync"

	"github.com/pingcap/badger"
	"github.com/pingcap/badger/y"
	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/cophandler"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/lockstore"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/dbreader"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// scratch is where the rows of a keyspace's plan lie without their prefix while it runs. Unistore's executors read table
// keys out of an engine and nothing else, where TiKV's take off the prefix as they read. One plan at a time; slow, since
// the whole of its ranges is copied, whatever its limit.
type scratch struct {
	mu      sync.Mutex
	db      *badger.DB
	version uint64
}

func openScratch(folder string) (*scratch, error) {
	if err := os.RemoveAll(folder); err != nil {
		return nil, err
	}
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
	return &scratch{db: db}, nil
}

func (s *scratch) close() { _ = s.db.Close() }

// strippedRows is a dbreader.ScanProcessor.
type strippedRows struct {
	version uint64
	entries []*badger.Entry
}

func (r *strippedRows) SkipValue() bool { return false }

func (r *strippedRows) Process(key, value []byte) error {
	key = bytes.Clone(key[keyspacePrefix:])
	value, err := newRowFormat(key, bytes.Clone(value))
	if err != nil {
		return err
	}
	r.entries = append(r.entries, &badger.Entry{
		Key: y.KeyWithTs(key, r.version), Value: value,
		UserMeta: mvcc.NewDBUserMeta(r.version, r.version),
	})
	return nil
}

// keyspaceCoprocessor runs a plan of API V2. Its ranges are those of one keyspace, cut at the region's borders, which may
// lie outside the keyspace.
func (e *engine) keyspaceCoprocessor(prefix []byte, req *coprocessor.Request) (*coprocessor.Response, error) {
	s := e.plans
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version += 2
	rows := &strippedRows{version: s.version}
	locked, err := e.scanAt(req.StartTs, req.Context, req.Ranges, rows)
	if err != nil {
		return &coprocessor.Response{OtherError: err.Error()}, nil
	}
	if locked != nil {
		return &coprocessor.Response{Locked: locked}, nil
	}
	if err := writeEntries(s.db, rows.entries); err != nil {
		return nil, err
	}
	stripped := *req
	stripped.StartTs = s.version
	stripped.Ranges = make([]*coprocessor.KeyRange, len(req.Ranges))
	for i, r := range req.Ranges {
		stripped.Ranges[i] = stripRange(prefix, r)
	}
	reader := dbreader.NewDBReader([]byte{'t'}, []byte{'u'}, s.db.NewTransaction(false))
	resp := cophandler.HandleCopRequest(reader, lockstore.NewMemStore(1<<10), &stripped)
	reader.Close()
	if resp.Range != nil {
		resp.Range.Start = append(bytes.Clone(prefix), resp.Range.Start...)
		resp.Range.End = append(bytes.Clone(prefix), resp.Range.End...)
	}
	for _, entry := range rows.entries {
		entry.Key.Version = s.version + 1
		entry.Value, entry.UserMeta = nil, nil
		entry.SetDelete()
	}
	s.db.UpdateSafeTs(s.version)
	return resp, writeEntries(s.db, rows.entries)
}

// keyspaceOf is the prefix of ranges that are checked and not yet cut at a region's borders.
func keyspaceOf(ranges []*coprocessor.KeyRange) []byte {
	if len(ranges) == 0 || len(ranges[0].Start) < keyspacePrefix {
		return nil
	}
	return bytes.Clone(ranges[0].Start[:keyspacePrefix])
}

func stripRange(prefix []byte, r *coprocessor.KeyRange) *coprocessor.KeyRange {
	out := &coprocessor.KeyRange{Start: []byte{'t'}, End: []byte{'u'}}
	if start, inside := bytes.CutPrefix(r.Start, prefix); inside && len(start) > 0 {
		out.Start = start
	}
	if end, inside := bytes.CutPrefix(r.End, prefix); inside && len(end) > 0 {
		out.End = end
	}
	return out
}
