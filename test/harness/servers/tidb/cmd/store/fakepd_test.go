package main

import (
	"context"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/pd"
)

// fakePD gives ids and timestamps and remembers heartbeats.
type fakePD struct {
	pd.Client
	mu   sync.Mutex
	next uint64
	// What PD's GC safe point is.
	safePoint uint64
	reported  []*metapb.Region
	// The last timestamp.
	physical, logical int64
}

func (f *fakePD) AllocID(context.Context) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	return f.next, nil
}

func (f *fakePD) Bootstrap(context.Context, *metapb.Store, *metapb.Region) (*pdpb.BootstrapResponse, error) {
	return &pdpb.BootstrapResponse{}, nil
}

func (f *fakePD) ReportRegion(req *pdpb.RegionHeartbeatRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reported = append(f.reported, req.Region)
}

func (f *fakePD) GetTS(context.Context) (physical, logical int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logical++
	if now := time.Now().UnixMilli(); now > f.physical {
		f.physical, f.logical = now, 0
	}
	return f.physical, f.logical, nil
}

func (f *fakePD) GetGCSafePoint(context.Context) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.safePoint, nil
}

func (f *fakePD) GetClusterID(context.Context) uint64                                   { return 7 }
func (f *fakePD) PutStore(context.Context, *metapb.Store) error                         { return nil }
func (f *fakePD) StoreHeartbeat(context.Context, *pdpb.StoreStats) error                { return nil }
func (f *fakePD) SetRegionHeartbeatResponseHandler(func(*pdpb.RegionHeartbeatResponse)) {}
func (f *fakePD) Close()                                                                {}
