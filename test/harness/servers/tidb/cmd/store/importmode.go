package main

import (
	"bytes"
	"context"
	"sync"
	"time"

	sst "github.com/pingcap/kvproto/pkg/import_sstpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// As TiKV's import.import-mode-timeout.
	importModeTimeout = 10 * time.Minute
	// Where a request names no lifetime.
	partitionRangeLifetime = time.Hour
)

// importMode remembers what clients ask of TiKV's compactions during an import. Nothing here acts on it: the engine
// compacts as it likes, and what an import needs to work does not depend on it.
type importMode struct {
	mu    sync.Mutex
	until time.Time
	// Ranges whose borders compactions are to keep, and when they end.
	partitions map[partition]time.Time
}

type partition struct{ start, end string }

func newImportMode() *importMode {
	return &importMode{partitions: map[partition]time.Time{}}
}

// SwitchMode turns import mode on for ten minutes, or off. Ranges are for TiKV's second Raft engine and are passed over.
func (im *importer) SwitchMode(_ context.Context, req *sst.SwitchModeRequest) (*sst.SwitchModeResponse, error) {
	im.mode.mu.Lock()
	defer im.mode.mu.Unlock()
	im.mode.until = time.Time{}
	if req.Mode == sst.SwitchMode_Import {
		im.mode.until = time.Now().Add(importModeTimeout)
	}
	return &sst.SwitchModeResponse{}, nil
}

func (im *importer) GetMode(context.Context, *sst.GetModeRequest) (*sst.GetModeResponse, error) {
	im.mode.mu.Lock()
	defer im.mode.mu.Unlock()
	mode := sst.SwitchMode_Normal
	if time.Now().Before(im.mode.until) {
		mode = sst.SwitchMode_Import
	}
	return &sst.GetModeResponse{Mode: mode}, nil
}

// AddForcePartitionRange takes user keys. An absent end is the empty key here, as it is in TiKV, so it is refused.
func (im *importer) AddForcePartitionRange(_ context.Context, req *sst.AddPartitionRangeRequest) (*sst.AddPartitionRangeResponse, error) {
	start, end := req.GetRange().GetStart(), req.GetRange().GetEnd()
	if bytes.Compare(start, end) >= 0 {
		return nil, status.Errorf(codes.Unknown, "start keys must be smaller than end key, start: %x, end: %x", start, end)
	}
	lifetime := partitionRangeLifetime
	if req.TtlSeconds > 0 {
		lifetime = time.Duration(req.TtlSeconds) * time.Second
	}
	im.mode.mu.Lock()
	defer im.mode.mu.Unlock()
	im.mode.partitions[partition{string(start), string(end)}] = time.Now().Add(lifetime)
	return &sst.AddPartitionRangeResponse{}, nil
}

func (im *importer) RemoveForcePartitionRange(_ context.Context, req *sst.RemovePartitionRangeRequest) (*sst.RemovePartitionRangeResponse, error) {
	im.mode.mu.Lock()
	defer im.mode.mu.Unlock()
	delete(im.mode.partitions, partition{string(req.GetRange().GetStart()), string(req.GetRange().GetEnd())})
	return &sst.RemovePartitionRangeResponse{}, nil
}
