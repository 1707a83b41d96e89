package main

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingcap/badger"
	"github.com/pingcap/kvproto/pkg/cdcpb"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/log"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
	"go.uber.org/zap"
)

// Rows and bytes of one event of a scan.
const (
	scanRows  = 1024
	scanBytes = 1 << 20
)

// feeds is the store's side of TiKV's change feeds: which ranges are watched, and by whom. FEED.md says what they show.
type feeds struct {
	engine  *engine
	sources *sources
	faults  *feedFaults
	// Writers hold it shared from before a batch is applied until its rows are queued, and whoever subscribes holds it
	// alone: so each change is either in the snapshot that the subscriber scans or comes live, never both, never neither.
	gate sync.RWMutex
	// Bytes in all queues.
	queued atomic.Int64

	mu    sync.Mutex
	subs  []*subscription
	holds map[*uint64]struct{}
	done  chan struct{}
}

// subscription is one region in one stream.
type subscription struct {
	stream  *feedStream
	request uint64
	region  uint64
	version uint64
	// User keys.
	start, end []byte
	checkpoint uint64
	filterLoop bool
	// What was committed since the subscription, while the scan may still meet it.
	live        map[version]struct{}
	initialized bool
	resolved    uint64
	stopped     atomic.Bool
}

type version struct {
	key    string
	commit uint64
}

func newFeeds(e *engine) *feeds {
	f := &feeds{
		engine: e, sources: &sources{byStart: map[uint64]uint64{}}, faults: newFeedFaults(),
		holds: map[*uint64]struct{}{}, done: make(chan struct{}),
	}
	go f.advance()
	return f
}

func (f *feeds) close() { close(f.done) }

func (s *subscription) holds(key []byte) bool {
	return bytes.Compare(key, s.start) >= 0 && before(key, s.end)
}

// shows leaves out what TiKV shows nobody, rows that a lossy reorganization writes, and what the subscriber does not want:
// rows that a changefeed has written.
func (s *subscription) shows(row *cdcpb.Event_Row) bool {
	return row.TxnSource>>8 == 0 && !(s.filterLoop && row.TxnSource&0xff != 0)
}

// sources keeps the txn_source of each transaction that has one, by start timestamp. TiKV keeps it in the lock and in the
// version; unistore does not. A restart forgets it.
type sources struct {
	mu      sync.Mutex
	byStart map[uint64]uint64
}

func (s *sources) keep(start, source uint64) {
	if source == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byStart[start] = source
}

func (s *sources) of(start uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byStart[start]
}

// hold keeps resolved timestamps from passing a transaction, one that may commit at a timestamp chosen from now on or whose
// rows are not queued yet.
func (f *feeds) hold(start uint64) (end func()) {
	own := &start
	f.mu.Lock()
	f.holds[own] = struct{}{}
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		delete(f.holds, own)
		f.mu.Unlock()
	}
}

// prewritten says whether the transaction has a lock on the key that a commit turns into a version.
func (f *feeds) prewritten(key []byte, start uint64) bool {
	lock := f.engine.lockOf(key)
	if lock == nil || lock.StartTS != start {
		return false
	}
	_, writes := written(lock.Op)
	return writes
}

// begin is called before a batch is applied; the function that it returns, afterwards.
func (f *feeds) begin(b *feedBatch) (end func(err error)) {
	f.gate.RLock()
	release := f.hold(b.start)
	watched := b.rows[:0]
	f.mu.Lock()
	subs := slices.Clone(f.subs)
	f.mu.Unlock()
	for _, row := range b.rows {
		if slices.ContainsFunc(subs, func(s *subscription) bool { return s.holds(row.Key) }) {
			watched = append(watched, row)
		}
	}
	for _, row := range watched {
		if row.oldAt > 0 {
			row.OldValue = f.engine.valueAt(row.Key, row.oldAt)
		}
	}
	f.mark(watched)
	return func(err error) {
		if err == nil {
			f.publish(watched)
		}
		release()
		f.gate.RUnlock()
	}
}

// mark tells scans under way what they must not show.
func (f *feeds) mark(rows []feedRow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, row := range rows {
		if row.CommitTs == 0 {
			continue
		}
		for _, s := range f.subs {
			if s.live != nil && s.holds(row.Key) {
				s.live[version{string(row.Key), row.CommitTs}] = struct{}{}
			}
		}
	}
}

func (f *feeds) publish(rows []feedRow) {
	if len(rows) == 0 {
		return
	}
	rows = f.faults.withoutDropped(rows)
	f.mu.Lock()
	defer f.mu.Unlock()
	congested := map[uint64]struct{}{}
	for _, s := range f.subs {
		var entries []*cdcpb.Event_Row
		for _, row := range rows {
			if s.holds(row.Key) && s.shows(row.Event_Row) {
				entries = append(entries, row.Event_Row)
			}
		}
		if len(entries) > 0 && !s.stream.offer(s.event(entries)) {
			congested[s.region] = struct{}{}
		}
	}
	for region := range congested {
		f.stop(region, math.MaxUint64, &cdcpb.Error{Congested: &cdcpb.Congested{RegionId: region}})
	}
}

func (s *subscription) event(entries []*cdcpb.Event_Row) *cdcpb.Event {
	return &cdcpb.Event{
		RegionId: s.region, RequestId: s.request,
		Event: &cdcpb.Event_Entries_{Entries: &cdcpb.Event_Entries{Entries: entries}},
	}
}

// stop ends all subscriptions of a region below an epoch version with an error. The caller holds mu.
func (f *feeds) stop(region, below uint64, failure *cdcpb.Error) {
	f.end(func(s *subscription) bool { return s.region == region && s.version < below }, failure)
}

// end takes subscriptions away; without an error nobody is told. The caller holds mu.
func (f *feeds) end(which func(*subscription) bool, failure *cdcpb.Error) {
	f.subs = slices.DeleteFunc(f.subs, func(s *subscription) bool {
		if !which(s) {
			return false
		}
		s.stopped.Store(true)
		s.stream.forget(s)
		if failure != nil {
			s.stream.send(errorEvent(s.region, s.request, failure))
		}
		return true
	})
}

func errorEvent(region, request uint64, failure *cdcpb.Error) *cdcpb.Event {
	return &cdcpb.Event{RegionId: region, RequestId: request, Event: &cdcpb.Event_Error{Error: failure}}
}

// regionSplit is called when a region has been cut into parts.
func (f *feeds) regionSplit(id uint64, parts []*region) {
	metas := make([]*metapb.Region, len(parts))
	for i, part := range parts {
		metas[i] = part.meta
	}
	f.gate.Lock()
	defer f.gate.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop(id, metas[0].RegionEpoch.Version, &cdcpb.Error{EpochNotMatch: &errorpb.EpochNotMatch{CurrentRegions: metas}})
}

// subscribe begins to show a region, or says why not. The checks are TiKV's in TiKV's order.
func (f *feeds) subscribe(stream *feedStream, req *cdcpb.ChangeDataRequest) *cdcpb.Error {
	if current := f.engine.pd.GetClusterID(context.Background()); stream.checksCluster && req.GetHeader().GetClusterId() != current {
		return &cdcpb.Error{ClusterIdMismatch: &cdcpb.ClusterIDMismatch{Current: current, Request: req.GetHeader().GetClusterId()}}
	}
	if req.KvApi != cdcpb.ChangeDataRequest_TiDB {
		return &cdcpb.Error{Compatibility: &cdcpb.Compatibility{RequiredVersion: "6.2.0"}}
	}
	if failure := f.faults.refusal(req.RegionId); failure != nil {
		return failure
	}
	f.gate.Lock()
	r := f.engine.regions.get(req.RegionId)
	if r == nil {
		f.gate.Unlock()
		return &cdcpb.Error{RegionNotFound: &errorpb.RegionNotFound{RegionId: req.RegionId}}
	}
	s := &subscription{
		stream: stream, request: req.RequestId, region: req.RegionId, version: r.meta.RegionEpoch.Version,
		checkpoint: req.CheckpointTs, filterLoop: req.FilterLoop, live: map[version]struct{}{},
	}
	s.start, s.end = f.engine.observed(r, req.StartKey, req.EndKey)
	failure := func() *cdcpb.Error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !stream.remember(s) {
			return &cdcpb.Error{DuplicateRequest: &cdcpb.DuplicateRequest{RegionId: req.RegionId}}
		}
		if req.GetRegionEpoch().GetVersion() != r.meta.RegionEpoch.Version {
			stream.forget(s)
			return &cdcpb.Error{EpochNotMatch: &errorpb.EpochNotMatch{CurrentRegions: []*metapb.Region{r.meta}}}
		}
		f.subs = append(f.subs, s)
		return nil
	}()
	var locks []feedRow
	if failure == nil {
		locks = f.lockRows(s)
	}
	f.gate.Unlock()
	if failure == nil {
		go f.scan(s, locks)
	}
	return failure
}

// observed is the part of a region that a request is about: its keys have the form of borders. As TiKV does, it takes the
// whole region if they cannot be read.
func (e *engine) observed(r *region, start, end []byte) (lower, upper []byte) {
	from, err := e.mode.userKey(start)
	if err != nil {
		return r.rawStart, r.rawEnd
	}
	to, err := e.mode.userKey(end)
	if err != nil {
		return r.rawStart, r.rawEnd
	}
	lower, upper = r.rawStart, r.rawEnd
	if bytes.Compare(from, lower) > 0 {
		lower = from
	}
	if len(to) > 0 && before(to, upper) {
		upper = to
	}
	return lower, upper
}

// lockRows are the prewrites in the range. The caller keeps writers out.
func (f *feeds) lockRows(s *subscription) []feedRow {
	var rows []feedRow
	it := f.engine.bundle.LockStore.NewIterator()
	for it.Seek(s.start); it.Valid() && before(it.Key(), s.end); it.Next() {
		lock := mvcc.DecodeLock(it.Value())
		op, shown := written(lock.Op)
		if !shown {
			continue
		}
		rows = append(rows, feedRow{&cdcpb.Event_Row{
			StartTs: lock.StartTS, Type: cdcpb.Event_PREWRITE, OpType: op, Key: slices.Clone(it.Key()), Value: lock.Value,
			TxnSource: f.sources.of(lock.StartTS),
		}, max(lock.ForUpdateTS, lock.StartTS)})
	}
	return rows
}

// scan shows what is there: of each key its prewrite and then its versions above the checkpoint, newest first, as TiKV's
// delta scanner finds them.
func (f *feeds) scan(s *subscription, locks []feedRow) {
	out := &scanOutput{sub: s}
	prewrites := func(upTo []byte) {
		for len(locks) > 0 && (upTo == nil || bytes.Compare(locks[0].Key, upTo) <= 0) {
			locks[0].OldValue = f.engine.valueAt(locks[0].Key, locks[0].oldAt)
			out.add(locks[0].Event_Row)
			locks = locks[1:]
		}
	}
	var last *cdcpb.Event_Row
	f.engine.eachVersion(s.start, s.end, func(item *badger.Item) {
		meta := mvcc.DBUserMeta(item.UserMeta())
		if s.stopped.Load() || f.engine.mode.keepsStatus(item.Key()) {
			return
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			log.Error("a version that cannot be read", zap.Binary("key", item.Key()), zap.Error(err))
			return
		}
		if last != nil {
			if bytes.Equal(last.Key, item.Key()) {
				last.OldValue = value
			}
			out.add(last)
			last = nil
		}
		if meta.CommitTS() <= s.checkpoint || f.cameLive(s, item.Key(), meta.CommitTS()) {
			return
		}
		prewrites(item.Key())
		op := cdcpb.Event_Row_PUT
		if len(value) == 0 {
			op = cdcpb.Event_Row_DELETE
		}
		last = &cdcpb.Event_Row{
			StartTs: meta.StartTS(), CommitTs: meta.CommitTS(), Type: cdcpb.Event_COMMITTED, OpType: op,
			Key: item.KeyCopy(nil), Value: value, TxnSource: f.sources.of(meta.StartTS()),
		}
	})
	if last != nil {
		out.add(last)
	}
	prewrites(nil)
	out.flush()
	for scanned := time.Now(); time.Since(scanned) < f.faults.settings().lateInitialized && !s.stopped.Load(); {
		time.Sleep(5 * time.Millisecond)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.stopped.Load() {
		return
	}
	s.live, s.initialized = nil, true
	s.stream.send(s.event([]*cdcpb.Event_Row{{Type: cdcpb.Event_INITIALIZED}}))
}

func (f *feeds) cameLive(s *subscription, key []byte, commit uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, live := s.live[version{string(key), commit}]
	return live
}

// scanOutput makes events of the rows of a scan, which waits for a slow reader.
type scanOutput struct {
	sub   *subscription
	rows  []*cdcpb.Event_Row
	bytes int
}

func (o *scanOutput) add(row *cdcpb.Event_Row) {
	if !o.sub.shows(row) {
		return
	}
	o.rows = append(o.rows, row)
	o.bytes += len(row.Key) + len(row.Value) + len(row.OldValue)
	if len(o.rows) >= scanRows || o.bytes >= scanBytes {
		o.flush()
	}
}

func (o *scanOutput) flush() {
	if len(o.rows) > 0 {
		o.sub.stream.sendScanned(o.sub, o.sub.event(o.rows))
	}
	o.rows, o.bytes = nil, 0
}

// valueAt is what a transaction of this timestamp sees of a key, whatever is locked.
func (e *engine) valueAt(key []byte, ts uint64) []byte {
	txn := e.bundle.DB.NewTransaction(false)
	defer txn.Discard()
	txn.SetReadTS(ts)
	item, err := txn.Get(key)
	if err != nil {
		return nil
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return nil
	}
	return value
}

// advance sends resolved timestamps.
func (f *feeds) advance() {
	for {
		settings := f.faults.settings()
		select {
		case <-f.done:
			return
		case <-time.After(settings.interval):
		}
		if !settings.holdResolved {
			f.resolve()
		}
	}
}

// resolve finds how far each range is complete. The order is what makes it right:
//
//	timestamp   whatever is prewritten later commits above it
//	holds       async commit and one phase: their commit timestamp may be chosen already, their lock not be written
//	locks       of two-phase commits
//	holds       commits that have taken their lock and not queued their rows
func (f *feeds) resolve() {
	f.mu.Lock()
	idle := len(f.subs) == 0
	f.mu.Unlock()
	if idle {
		return
	}
	physical, logical, err := f.engine.pd.GetTS(context.Background())
	if err != nil {
		log.Warn("no timestamp to resolve at", zap.Error(err))
		return
	}
	least := uint64(physical)<<18 + uint64(logical)
	f.mu.Lock()
	least = f.heldBelow(least)
	f.mu.Unlock()
	type held struct {
		key   []byte
		start uint64
	}
	var locks []held
	it := f.engine.bundle.LockStore.NewIterator()
	for it.SeekToFirst(); it.Valid(); it.Next() {
		lock := mvcc.DecodeLock(it.Value())
		if _, writes := written(lock.Op); writes && lock.StartTS < least {
			locks = append(locks, held{slices.Clone(it.Key()), lock.StartTS})
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	least = f.heldBelow(least)
	byStream := map[*feedStream][]*subscription{}
	for _, s := range f.subs {
		if !s.initialized {
			continue
		}
		ts := least
		at, _ := slices.BinarySearchFunc(locks, s.start, func(h held, key []byte) int { return bytes.Compare(h.key, key) })
		for ; at < len(locks) && before(locks[at].key, s.end); at++ {
			ts = min(ts, locks[at].start)
		}
		s.resolved = max(s.resolved, ts)
		byStream[s.stream] = append(byStream[s.stream], s)
	}
	for stream, subs := range byStream {
		stream.resolved(subs)
	}
}

// heldBelow is the least timestamp that is held, or ts. The caller holds mu.
func (f *feeds) heldBelow(ts uint64) uint64 {
	for start := range f.holds {
		ts = min(ts, *start)
	}
	return ts
}
