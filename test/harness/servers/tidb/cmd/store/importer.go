package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/pingcap/kvproto/pkg/errorpb"
	sst "github.com/pingcap/kvproto/pkg/import_sstpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// importer is TiKV's ImportSST service, as far as ADD INDEX and IMPORT INTO of TiDB use it. What is missing (Upload,
// Download, Apply and the rest of backup and restore) answers UNIMPLEMENTED.
type importer struct {
	sst.UnimplementedImportSSTServer
	service *service
	engine  *engine
	files   *sstFiles
	mode    *importMode
}

func newImporter(s *service) *importer {
	return &importer{service: s, engine: s.engine, files: newSSTFiles(), mode: newImportMode()}
}

func init() {
	register(func(q *sst.IngestRequest) claim { return claim{context: q.Context} },
		func(e *errorpb.Error) any { return &sst.IngestResponse{Error: e} })
	register(func(q *sst.MultiIngestRequest) claim { return claim{context: q.Context} },
		func(e *errorpb.Error) any { return &sst.IngestResponse{Error: e} })
}

// Write takes the meta, then batches of user keys, and keeps them as files to ingest.
func (im *importer) Write(stream sst.ImportSST_WriteServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	meta := first.GetMeta()
	if meta == nil {
		return status.Error(codes.Unknown, "InvalidChunk")
	}
	if err := im.checkEpoch(meta); err != nil {
		return err
	}
	var pairs []sstPair
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		batch := req.GetBatch()
		if batch == nil {
			return status.Error(codes.Unknown, "InvalidChunk")
		}
		for _, pair := range batch.Pairs {
			if err := im.service.modes.checkImported(pair.Key); err != nil {
				return status.Error(codes.Unknown, err.Error())
			}
			put := sstPair{key: pair.Key, commitTs: batch.CommitTs}
			// An engine file takes its keys in order, and the versions of a key newest first.
			if n := len(pairs); n > 0 && !pairs[n-1].before(put) {
				return status.Errorf(codes.Unknown, "keys must be added in strict ascending order: %x@%d, then %x@%d",
					pairs[n-1].key, pairs[n-1].commitTs, put.key, put.commitTs)
			}
			if pair.Op == sst.Pair_Put {
				if len(pair.Value) == 0 {
					return status.Errorf(codes.Unknown, "this store takes no empty value: key %x", pair.Key)
				}
				put.value = pair.Value
			}
			pairs = append(pairs, put)
		}
	}
	metas, err := im.files.write(meta, pairs)
	if err != nil {
		return status.Error(codes.Unknown, err.Error())
	}
	return stream.SendAndClose(&sst.WriteResponse{Metas: metas})
}

// checkEpoch tells a client that knows more than the store to wait, and one that knows less to ask PD again. TiDB looks
// for these words.
func (im *importer) checkEpoch(meta *sst.SSTMeta) error {
	r := im.engine.regions.get(meta.RegionId)
	if r == nil {
		return status.Errorf(codes.Unknown, "RequestTooOld: region %d is not found", meta.RegionId)
	}
	asked, current := meta.GetRegionEpoch(), r.meta.RegionEpoch
	if staler(current, asked) {
		return status.Errorf(codes.Unknown, "RequestTooNew: region %d is at %v, not yet at %v", meta.RegionId, current, asked)
	}
	if staler(asked, current) {
		return status.Errorf(codes.Unknown, "RequestTooOld: region %d is at %v, no longer at %v", meta.RegionId, current, asked)
	}
	return nil
}

func staler(a, b *metapb.RegionEpoch) bool {
	return a.GetVersion() < b.GetVersion() || a.GetConfVer() < b.GetConfVer()
}

func (im *importer) Ingest(ctx context.Context, req *sst.IngestRequest) (*sst.IngestResponse, error) {
	return im.MultiIngest(ctx, &sst.MultiIngestRequest{Context: req.Context, Ssts: []*sst.SSTMeta{req.Sst}})
}

// MultiIngest makes written files visible, all or none. Clients send an empty one to see whether the store is busy: the
// checks in front of it answer that there is no region 0.
func (im *importer) MultiIngest(_ context.Context, req *sst.MultiIngestRequest) (*sst.IngestResponse, error) {
	names := make([]string, len(req.Ssts))
	for i, meta := range req.Ssts {
		name, err := sstName(meta)
		if err != nil {
			return &sst.IngestResponse{Error: &errorpb.Error{Message: err.Error()}}, nil
		}
		names[i] = name
	}
	files, missing, conflict := im.files.take(names)
	if conflict {
		return &sst.IngestResponse{Error: &errorpb.Error{Message: "ingest file conflict"}}, nil
	}
	if missing != "" {
		return &sst.IngestResponse{Error: &errorpb.Error{
			Message:      "the file to ingest does not exist: " + missing,
			StaleCommand: &errorpb.StaleCommand{},
		}}, nil
	}
	for _, meta := range req.Ssts {
		if failure := im.checkIngest(req.Context.GetRegionId(), meta); failure != nil {
			im.files.put(names, true, false)
			im.service.count("Ingest", failure)
			return &sst.IngestResponse{Error: failure}, nil
		}
	}
	err := im.engine.ingest(req.Context.GetRegionId(), im.service.pending, slices.Concat(pairsOf(files)...))
	im.files.put(names, err == nil, err == nil)
	if err != nil {
		return &sst.IngestResponse{Error: &errorpb.Error{Message: "ingest failed: " + err.Error()}}, nil
	}
	return &sst.IngestResponse{}, nil
}

func pairsOf(files []*sstFile) [][]sstPair {
	out := make([][]sstPair, len(files))
	for i, file := range files {
		out[i] = file.pairs
	}
	return out
}

// checkIngest is TiKV's check_sst_for_ingestion: the meta names the request's region at its present epoch, and both ends
// of its range, encoded and inclusive, lie inside. The pairs themselves are not looked at, there as here.
func (im *importer) checkIngest(regionID uint64, meta *sst.SSTMeta) *errorpb.Error {
	if meta.CfName != columnDefault && meta.CfName != columnWrite {
		return &errorpb.Error{Message: fmt.Sprintf("invalid cf name %s", meta.CfName)}
	}
	r := im.engine.regions.get(regionID)
	if r == nil || meta.RegionId != regionID {
		return regionNotFound(meta.RegionId)
	}
	asked, current := meta.GetRegionEpoch(), r.meta.RegionEpoch
	if asked.GetConfVer() != current.ConfVer || asked.GetVersion() != current.Version {
		return &errorpb.Error{
			Message:       fmt.Sprintf("%v != %v", asked, current),
			EpochNotMatch: &errorpb.EpochNotMatch{CurrentRegions: []*metapb.Region{r.meta}},
		}
	}
	for _, encoded := range [][]byte{meta.GetRange().GetStart(), meta.GetRange().GetEnd()} {
		if !r.holdsEncoded(encoded) {
			return r.keyNotInRegionEncoded(encoded)
		}
	}
	return nil
}
