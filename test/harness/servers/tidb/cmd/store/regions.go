package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingcap/badger"
	"github.com/pingcap/badger/y"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/log"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/pd"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
	"go.uber.org/zap"
)

const (
	// What PD takes the store for: it switches features on and off by it.
	storeVersion = "8.5.0"

	splitCheckInterval      = time.Second
	storeHeartbeatInterval  = 3 * time.Second
	regionHeartbeatInterval = 5 * time.Second
)

// region implements tikv.RegionCtx. It never changes once it is published, its sizes apart: a split publishes new ones.
type region struct {
	mode apiMode
	meta *metapb.Region
	// User keys. The last region's end is apiMode.lastKey, which is empty for RawKV of V1 only.
	rawStart, rawEnd []byte
	// Bytes when it was last measured or split, and what has been written since.
	size    int64
	diff    int64
	latches *latches
}

func newRegion(mode apiMode, meta *metapb.Region, size int64, latches *latches) (*region, error) {
	start, err := mode.userKey(meta.StartKey)
	if err != nil {
		return nil, err
	}
	end, err := mode.userKey(meta.EndKey)
	if err != nil {
		return nil, err
	}
	if len(end) == 0 {
		end = mode.lastKey()
	}
	// Clipped, since requests get them as their bounds.
	return &region{
		mode: mode, meta: meta, rawStart: slices.Clip(start), rawEnd: slices.Clip(end), size: size, latches: latches,
	}, nil
}

func (r *region) Meta() *metapb.Region           { return r.meta }
func (r *region) Diff() *int64                   { return &r.diff }
func (r *region) RawStart() []byte               { return r.rawStart }
func (r *region) RawEnd() []byte                 { return r.rawEnd }
func (r *region) AcquireLatches(hashes []uint64) { r.latches.acquire(hashes) }
func (r *region) ReleaseLatches(hashes []uint64) { r.latches.release(hashes) }

func (r *region) bytes() int64 {
	return max(0, atomic.LoadInt64(&r.size)+atomic.LoadInt64(&r.diff))
}

// holds says whether a user key lies in [start, end).
func (r *region) holds(key []byte) bool {
	return bytes.Compare(key, r.rawStart) >= 0 && before(key, r.rawEnd)
}

// before compares with an end, which is unbounded when it is empty.
func before(key, end []byte) bool { return len(end) == 0 || bytes.Compare(key, end) < 0 }

// reaches is holds with the end included: where an iterator may be sought.
func (r *region) reaches(key []byte) bool {
	return r.holds(key) || bytes.Equal(key, r.rawEnd)
}

// holdsEncoded is holds for a key in the form of the region's borders.
func (r *region) holdsEncoded(key []byte) bool {
	return bytes.Compare(key, r.meta.StartKey) >= 0 && before(key, r.meta.EndKey)
}

// keyNotInRegion is TiKV's answer: all three keys in the form of borders.
func (r *region) keyNotInRegion(key []byte) *errorpb.Error {
	return r.keyNotInRegionEncoded(r.mode.border(key))
}

func (r *region) keyNotInRegionEncoded(encoded []byte) *errorpb.Error {
	return &errorpb.Error{
		Message: fmt.Sprintf("key %x is not in region key range [%x, %x) for region %d",
			encoded, r.meta.StartKey, r.meta.EndKey, r.meta.Id),
		KeyNotInRegion: &errorpb.KeyNotInRegion{
			Key: encoded, RegionId: r.meta.Id, StartKey: r.meta.StartKey, EndKey: r.meta.EndKey,
		},
	}
}

// regions implements tikv.RegionManager. Unistore's own splits by size only, reports a region to PD once, gives the left
// part a fresh epoch, and ignores SplitRegion and what PD asks for.
type regions struct {
	pd         pd.Client
	mode       apiMode
	bundle     *mvcc.DBBundle
	raw        *rawStore // nil where there is no RawKV
	store      *metapb.Store
	targetSize int64
	latches    *latches
	stats      *counters

	mu     sync.RWMutex
	byID   map[uint64]*region
	sorted []*region

	// One split at a time; held around PD calls, so never together with mu.
	splitMu sync.Mutex
	// Called after each split, if it is there.
	onSplit func(id uint64, parts []*region)
	done    chan struct{}
	wg      sync.WaitGroup
}

var _ tikv.RegionManager = (*regions)(nil)

func openRegions(bundle *mvcc.DBBundle, raw *rawStore, client pd.Client, opts options, stats *counters) (*regions, error) {
	rs := &regions{
		pd: client, mode: opts.api, bundle: bundle, raw: raw, targetSize: opts.regionSize, latches: newLatches(), stats: stats,
		store: &metapb.Store{}, byID: map[uint64]*region{}, done: make(chan struct{}),
	}
	if err := rs.load(); err != nil {
		return nil, err
	}
	if rs.store.Id == 0 {
		if err := rs.bootstrap(opts.advertise); err != nil {
			return nil, err
		}
	}
	rs.store.Address = opts.advertise
	rs.store.StatusAddress = opts.status
	rs.store.Version = storeVersion
	if err := client.PutStore(context.Background(), rs.store); err != nil {
		return nil, fmt.Errorf("registering the store at PD: %w", err)
	}
	if err := rs.storeHeartbeat(); err != nil {
		return nil, fmt.Errorf("the store's first heartbeat: %w", err)
	}
	client.SetRegionHeartbeatResponseHandler(rs.obey)
	for _, r := range rs.snapshot() {
		rs.heartbeat(r)
	}
	rs.every(splitCheckInterval, rs.splitLarge)
	rs.every(regionHeartbeatInterval, func() {
		for _, r := range rs.snapshot() {
			rs.heartbeat(r)
		}
	})
	rs.every(storeHeartbeatInterval, func() {
		if err := rs.storeHeartbeat(); err != nil {
			log.Warn("store heartbeat failed", zap.Error(err))
		}
	})
	return rs, nil
}

func (rs *regions) observeSplits(call func(id uint64, parts []*region)) {
	rs.splitMu.Lock()
	defer rs.splitMu.Unlock()
	rs.onSplit = call
}

func (rs *regions) every(interval time.Duration, work func()) {
	rs.wg.Add(1)
	go func() {
		defer rs.wg.Done()
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-rs.done:
				return
			case <-ticker.C:
				work()
			}
		}
	}()
}

// Close ends the background work. A heartbeat that waits for an absent PD does not hold it up.
func (rs *regions) Close() error {
	close(rs.done)
	rest := make(chan struct{})
	go func() { rs.wg.Wait(); close(rest) }()
	select {
	case <-rest:
	case <-time.After(2 * time.Second):
	}
	return nil
}

// snapshot lists all regions in key order.
func (rs *regions) snapshot() []*region {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	return rs.sorted
}

func (rs *regions) get(id uint64) *region {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	return rs.byID[id]
}

// before is the region to the left of r, nil for the first.
func (rs *regions) before(r *region) *region {
	sorted := rs.snapshot()
	at := slices.IndexFunc(sorted, func(other *region) bool { return other.meta.Id == r.meta.Id })
	if at < 1 {
		return nil
	}
	return sorted[at-1]
}

func (rs *regions) publish(changed ...*region) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range changed {
		rs.byID[r.meta.Id] = r
	}
	sorted := make([]*region, 0, len(rs.byID))
	for _, r := range rs.byID {
		sorted = append(sorted, r)
	}
	slices.SortFunc(sorted, func(a, b *region) int { return bytes.Compare(a.rawStart, b.rawStart) })
	rs.sorted = sorted
}

// GetRegionFromCtx finds the region of a request and checks store and epoch as TiKV does.
func (rs *regions) GetRegionFromCtx(ctx *kvrpcpb.Context) (tikv.RegionCtx, *errorpb.Error) {
	r, refusal := rs.resolve(ctx)
	if refusal != nil {
		return nil, refusal
	}
	return r, nil
}

func (rs *regions) resolve(ctx *kvrpcpb.Context) (*region, *errorpb.Error) {
	if _, _, refusal := rs.GetStoreInfoFromCtx(ctx); refusal != nil {
		return nil, refusal
	}
	r := rs.get(ctx.GetRegionId())
	if r == nil {
		return nil, regionNotFound(ctx.GetRegionId())
	}
	// An absent epoch is version 0, which no region has. TiKV asks for the configuration's version in changes of the
	// region only.
	if ctx.GetRegionEpoch().GetVersion() != r.meta.RegionEpoch.Version {
		return nil, rs.epochNotMatch(r)
	}
	return r, nil
}

func regionNotFound(id uint64) *errorpb.Error {
	return &errorpb.Error{
		Message:        fmt.Sprintf("region %d not found", id),
		RegionNotFound: &errorpb.RegionNotFound{RegionId: id},
	}
}

// epochNotMatch names the region as it is now and its left neighbour, which after a split holds the other part.
func (rs *regions) epochNotMatch(r *region) *errorpb.Error {
	current := []*metapb.Region{r.meta}
	if left := rs.before(r); left != nil {
		current = append(current, left.meta)
	}
	return &errorpb.Error{
		Message:       fmt.Sprintf("region %d has another epoch now", r.meta.Id),
		EpochNotMatch: &errorpb.EpochNotMatch{CurrentRegions: current},
	}
}

func (rs *regions) GetStoreInfoFromCtx(ctx *kvrpcpb.Context) (string, uint64, *errorpb.Error) {
	if peer := ctx.GetPeer(); peer != nil && peer.StoreId != rs.store.Id {
		return "", 0, &errorpb.Error{
			Message:       fmt.Sprintf("this is store %d, not %d", rs.store.Id, peer.StoreId),
			StoreNotMatch: &errorpb.StoreNotMatch{RequestStoreId: peer.StoreId, ActualStoreId: rs.store.Id},
		}
	}
	return rs.store.Address, rs.store.Id, nil
}

func (rs *regions) GetStoreIDByAddr(address string) (uint64, error) {
	if address != rs.store.Address {
		return 0, fmt.Errorf("no store at %s", address)
	}
	return rs.store.Id, nil
}

func (rs *regions) GetStoreAddrByStoreID(id uint64) (string, error) {
	if id != rs.store.Id {
		return "", fmt.Errorf("no store %d", id)
	}
	return rs.store.Address, nil
}

// bootstrap makes this the cluster's first store. PD takes one region for all keys, split at once.
func (rs *regions) bootstrap(address string) error {
	ctx := context.Background()
	ids := [3]uint64{}
	for i := range ids {
		id, err := rs.pd.AllocID(ctx)
		if err != nil {
			return err
		}
		ids[i] = id
	}
	rs.store.Id, rs.store.Address, rs.store.Version = ids[0], address, storeVersion
	root, err := newRegion(rs.mode, &metapb.Region{
		Id:          ids[1],
		RegionEpoch: &metapb.RegionEpoch{ConfVer: 1, Version: 1},
		Peers:       []*metapb.Peer{{Id: ids[2], StoreId: ids[0]}},
	}, 0, rs.latches)
	if err != nil {
		return err
	}
	answer, err := rs.pd.Bootstrap(ctx, rs.store, root.meta)
	if err != nil {
		return fmt.Errorf("bootstrapping PD: %w", err)
	}
	if failure := answer.GetHeader().GetError(); failure != nil {
		return fmt.Errorf("bootstrapping PD: %s", failure.GetMessage())
	}
	borders := rs.mode.firstBorders()
	parts, err := rs.parts(root, borders, make([]int64, len(borders)+1))
	if err != nil {
		return err
	}
	if err := rs.save(parts, true); err != nil {
		return err
	}
	rs.publish(parts...)
	return nil
}

// parts cuts r at sorted user keys. The rightmost part keeps the id, all get the same higher version, as in TiKV.
func (rs *regions) parts(r *region, keys [][]byte, sizes []int64) ([]*region, error) {
	version := r.meta.RegionEpoch.Version + uint64(len(keys))
	start := r.meta.StartKey
	out := make([]*region, 0, len(keys)+1)
	for i := 0; i <= len(keys); i++ {
		meta := &metapb.Region{
			Id:          r.meta.Id,
			StartKey:    start,
			EndKey:      r.meta.EndKey,
			RegionEpoch: &metapb.RegionEpoch{ConfVer: r.meta.RegionEpoch.ConfVer, Version: version},
			Peers:       r.meta.Peers,
		}
		if i < len(keys) {
			id, err := rs.pd.AllocID(context.Background())
			if err != nil {
				return nil, err
			}
			peer, err := rs.pd.AllocID(context.Background())
			if err != nil {
				return nil, err
			}
			meta.Id = id
			meta.Peers = []*metapb.Peer{{Id: peer, StoreId: rs.store.Id}}
			meta.EndKey = rs.mode.border(keys[i])
			start = meta.EndKey
		}
		part, err := newRegion(rs.mode, meta, sizes[i], rs.latches)
		if err != nil {
			return nil, err
		}
		out = append(out, part)
	}
	return out, nil
}

// checkSplitKeys sorts user keys and refuses what TiKV refuses: none, an empty one, one outside. The region's own start
// is passed over, unless there is nothing else.
func (r *region) checkSplitKeys(keys [][]byte) ([][]byte, *errorpb.Error) {
	if len(keys) == 0 {
		return nil, &errorpb.Error{Message: "no split key is specified"}
	}
	keys = slices.Clone(keys)
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	for _, key := range keys {
		if len(key) == 0 {
			return nil, &errorpb.Error{Message: "a split key is empty"}
		}
		if !r.holds(key) {
			return nil, r.keyNotInRegion(key)
		}
	}
	if bytes.Equal(keys[0], r.rawStart) {
		keys = keys[1:]
	}
	if len(keys) == 0 {
		return nil, &errorpb.Error{Message: "no valid key found for split."}
	}
	return keys, nil
}

// split cuts the region at user keys and tells PD. Only the version of the epoch is compared, as in TiKV.
func (rs *regions) split(id uint64, epoch *metapb.RegionEpoch, keys [][]byte, sizes []int64) ([]*region, *errorpb.Error) {
	rs.splitMu.Lock()
	defer rs.splitMu.Unlock()
	r := rs.get(id)
	if r == nil {
		return nil, regionNotFound(id)
	}
	if epoch.GetVersion() != r.meta.RegionEpoch.Version {
		return nil, rs.epochNotMatch(r)
	}
	keys, refusal := r.checkSplitKeys(keys)
	if refusal != nil {
		return nil, refusal
	}
	if sizes == nil {
		sizes = make([]int64, len(keys)+1)
		for i := range sizes {
			sizes[i] = r.bytes() / int64(len(sizes))
		}
	}
	parts, err := rs.parts(r, keys, sizes)
	if err == nil {
		err = rs.save(parts, false)
	}
	if err != nil {
		log.Warn("split failed", zap.Uint64("region", id), zap.Error(err))
		return nil, &errorpb.Error{Message: "split failed: " + err.Error()}
	}
	rs.publish(parts...)
	if rs.onSplit != nil {
		rs.onSplit(id, parts)
	}
	rs.stats.splits.Add(uint64(len(keys)))
	log.Info("region split", zap.Uint64("region", id), zap.Int("parts", len(parts)))
	// The shrunken region first: PD takes a new region only where no other of the same version lies over it.
	for _, part := range slices.Backward(parts) {
		rs.heartbeat(part)
	}
	return parts, nil
}

// SplitRegion serves the RPC, whose keys are user keys; its answer's regions have memcomparable borders.
func (rs *regions) SplitRegion(req *kvrpcpb.SplitRegionRequest) *kvrpcpb.SplitRegionResponse {
	keys := req.SplitKeys
	if len(req.SplitKey) > 0 { //nolint:staticcheck // the old field wins in TiKV
		keys = [][]byte{req.SplitKey}
	}
	keys, err := rs.mode.splitKeys(keys, req.IsRawKv)
	if err != nil {
		return &kvrpcpb.SplitRegionResponse{RegionError: &errorpb.Error{Message: err.Error()}}
	}
	parts, refusal := rs.split(req.GetContext().GetRegionId(), req.GetContext().GetRegionEpoch(), keys, nil)
	if refusal != nil {
		return &kvrpcpb.SplitRegionResponse{RegionError: refusal}
	}
	answer := &kvrpcpb.SplitRegionResponse{}
	for _, part := range parts {
		answer.Regions = append(answer.Regions, part.meta)
	}
	if len(parts) == 2 {
		answer.Left, answer.Right = parts[0].meta, parts[1].meta
	}
	return answer
}

// obey does what PD asks in its answers to heartbeats: splits at given keys, which it wants at the borders of its
// keyspaces and of region-label rules. One store has nothing to move and merges nothing.
func (rs *regions) obey(answer *pdpb.RegionHeartbeatResponse) {
	order := answer.GetSplitRegion()
	if order == nil || order.Policy != pdpb.CheckPolicy_USEKEY {
		return
	}
	keys := make([][]byte, 0, len(order.Keys))
	for _, key := range order.Keys {
		raw, err := rs.mode.userKey(key)
		if err != nil {
			log.Warn("PD wants a split that cannot be", zap.Error(err))
			return
		}
		keys = append(keys, raw)
	}
	// Not on the goroutine that reads from PD: a split talks to PD.
	go func() {
		if _, refusal := rs.split(answer.RegionId, answer.RegionEpoch, keys, nil); refusal != nil {
			log.Warn("PD's split was refused", zap.String("reason", refusal.Message))
		}
	}()
}

func (rs *regions) splitLarge() {
	for _, r := range rs.snapshot() {
		if r.bytes() <= rs.targetSize*3/2 {
			continue
		}
		written := atomic.LoadInt64(&r.diff)
		keys, sizes := rs.measure(r)
		var total int64
		for _, size := range sizes {
			total += size
		}
		if total <= rs.targetSize*3/2 {
			// What was written has replaced older versions: take the true size, keep what came during the scan.
			atomic.StoreInt64(&r.size, total)
			atomic.AddInt64(&r.diff, -written)
			continue
		}
		if _, refusal := rs.split(r.meta.Id, r.meta.RegionEpoch, keys, sizes); refusal != nil {
			log.Warn("split by size was refused", zap.String("reason", refusal.Message))
		}
	}
}

// measure scans a region: the user keys that cut it into parts of the target size, and the parts' bytes.
func (rs *regions) measure(r *region) (keys [][]byte, sizes []int64) {
	var part int64
	add := func(key []byte, size int) {
		if part >= rs.targetSize {
			keys = append(keys, slices.Clone(key))
			sizes = append(sizes, part)
			part = 0
		}
		part += int64(len(key) + size)
	}
	if rs.raw != nil {
		rs.raw.each(r.rawStart, r.rawEnd, add)
	}
	txn := rs.bundle.DB.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	// A region has keys of one kind only.
	for it.Seek(r.rawStart); rs.mode != apiRaw && it.Valid(); it.Next() {
		item := it.Item()
		if !before(item.Key(), r.rawEnd) {
			break
		}
		add(item.Key(), item.ValueSize())
	}
	return keys, append(sizes, part)
}

func (rs *regions) heartbeat(r *region) {
	rs.pd.ReportRegion(&pdpb.RegionHeartbeatRequest{
		Region:          r.meta,
		Leader:          r.meta.Peers[0],
		ApproximateSize: uint64(r.bytes()),
	})
}

func (rs *regions) storeHeartbeat() error {
	return rs.pd.StoreHeartbeat(context.Background(), &pdpb.StoreStats{
		StoreId:     rs.store.Id,
		RegionCount: uint32(len(rs.snapshot())),
		Capacity:    100 << 30,
		Available:   90 << 30,
	})
}

// save writes regions to the engine, where unistore keeps its own internal keys.
func (rs *regions) save(changed []*region, withStore bool) error {
	version := atomic.AddUint64(&rs.bundle.StateTS, 1)
	return rs.bundle.DB.Update(func(txn *badger.Txn) error {
		put := func(key []byte, message interface{ Marshal() ([]byte, error) }) error {
			value, err := message.Marshal()
			if err != nil {
				return err
			}
			return txn.SetEntry(&badger.Entry{Key: y.KeyWithTs(key, version), Value: value})
		}
		for _, r := range changed {
			if err := put(tikv.InternalRegionMetaKey(r.meta.Id), r.meta); err != nil {
				return err
			}
		}
		if withStore {
			return put(tikv.InternalStoreMetaKey, rs.store)
		}
		return nil
	})
}

// load reads what save wrote; a new store has nothing.
func (rs *regions) load() error {
	txn := rs.bundle.DB.NewTransaction(false)
	defer txn.Discard()
	item, err := txn.Get(tikv.InternalStoreMetaKey)
	if err == badger.ErrKeyNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	value, err := item.Value()
	if err != nil {
		return err
	}
	if err := rs.store.Unmarshal(value); err != nil {
		return err
	}
	var found []*region
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	for it.Seek(tikv.InternalRegionMetaPrefix); it.ValidForPrefix(tikv.InternalRegionMetaPrefix); it.Next() {
		value, err := it.Item().ValueCopy(nil)
		if err != nil {
			return err
		}
		meta := &metapb.Region{}
		if err := meta.Unmarshal(value); err != nil {
			return err
		}
		// Its size is unknown: one byte over the threshold has it measured at the first check.
		r, err := newRegion(rs.mode, meta, rs.targetSize*3/2+1, rs.latches)
		if err != nil {
			return err
		}
		found = append(found, r)
	}
	rs.publish(found...)
	return nil
}
