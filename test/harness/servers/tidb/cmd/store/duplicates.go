package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/pingcap/badger"
	"github.com/pingcap/badger/y"
	"github.com/pingcap/kvproto/pkg/errorpb"
	sst "github.com/pingcap/kvproto/pkg/import_sstpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// Pairs of one answer, as in TiKV.
const duplicatesBatch = 4096

// duplicatesClaim lets the checks treat it as a scan.
func duplicatesClaim(q *sst.DuplicateDetectRequest) claim {
	return claim{context: q.Context, spans: []span{{lower: &q.StartKey, upper: &q.EndKey}}}
}

// DuplicateDetect finds the keys of a range of user keys that have more than one version where only an import has
// written: every version after MinCommitTs, and the last one before it, newest first. An absent end is the region's.
func (im *importer) DuplicateDetect(req *sst.DuplicateDetectRequest, stream sst.ImportSST_DuplicateDetectServer) error {
	failure, err := im.service.admit("DuplicateDetect", duplicatesClaim(req))
	if failure != nil {
		return stream.Send(&sst.DuplicateDetectResponse{RegionError: failure})
	}
	if err != nil {
		return stream.Send(&sst.DuplicateDetectResponse{KeyError: &sst.Error{Message: err.Error()}})
	}
	var batch []*sst.KvPair
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		answer := &sst.DuplicateDetectResponse{Pairs: batch}
		batch = nil
		return stream.Send(answer)
	}
	failure, err = im.engine.duplicates(req, func(pairs []*sst.KvPair) error {
		batch = append(batch, pairs...)
		if len(batch) < duplicatesBatch {
			return nil
		}
		return send()
	})
	if err != nil {
		return err
	}
	if failure != nil {
		return stream.Send(&sst.DuplicateDetectResponse{KeyError: &sst.Error{Message: failure.Message}})
	}
	return send()
}

// duplicates hands on the versions of one key after another.
func (e *engine) duplicates(req *sst.DuplicateDetectRequest, found func([]*sst.KvPair) error) (*errorpb.Error, error) {
	txn := e.bundle.DB.NewTransaction(false)
	defer txn.Discard()
	txn.SetReadTS(math.MaxUint64)
	it := txn.NewIterator(badger.IteratorOptions{
		AllVersions: true,
		StartKey:    y.KeyWithTs(req.StartKey, math.MaxUint64), EndKey: y.KeyWithTs(req.EndKey, math.MaxUint64),
	})
	defer it.Close()
	for it.Seek(req.StartKey); it.Valid() && bytes.Compare(it.Item().Key(), req.EndKey) < 0; {
		key := it.Item().KeyCopy(nil)
		newest := mvcc.DBUserMeta(it.Item().UserMeta())
		imported := len(newest) > 0 && newest.CommitTS() > req.MinCommitTs
		if imported && it.Item().IsEmpty() {
			return &errorpb.Error{Message: fmt.Sprintf(
				"found a deleted key %x with commit ts %d larger than min_commit_ts %d", key, newest.CommitTS(), req.MinCommitTs,
			)}, nil
		}
		var versions []*sst.KvPair
		over := !imported
		for first := true; it.Valid() && bytes.Equal(it.Item().Key(), key); it.Next() {
			item := it.Item()
			if over {
				continue
			}
			if item.IsEmpty() || len(item.UserMeta()) == 0 {
				over = true
				continue
			}
			value, err := item.ValueCopy(nil)
			if err != nil {
				return nil, err
			}
			pair := &sst.KvPair{Key: key, CommitTs: mvcc.DBUserMeta(item.UserMeta()).CommitTS()}
			over = pair.CommitTs <= req.MinCommitTs
			if !req.KeyOnly {
				pair.Value = value
			}
			// With keys only TiKV leaves the newest out.
			if !first || !req.KeyOnly {
				versions = append(versions, pair)
			}
			first = false
		}
		if len(versions) > 1 || (req.KeyOnly && len(versions) > 0) {
			if err := found(slices.Clip(versions)); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}
