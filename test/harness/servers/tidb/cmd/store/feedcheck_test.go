package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pingcap/badger"
	"github.com/pingcap/kvproto/pkg/cdcpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

const (
	feedWriters      = 6
	feedTransactions = 60
	feedKeys         = 30
)

// feedCopy rebuilds a range of keys from a feed, with the rules that a subscriber has to follow.
type feedCopy struct {
	t      *testing.T
	eng    *engine
	stream changes

	mu       sync.Mutex
	versions map[version]string
	ranges   map[uint64]*feedRange // by request
	next     uint64
	failed   string
}

type feedRange struct {
	start, end  []byte
	region      uint64
	resolved    uint64
	initialized bool
	prewrites   map[version]string // key and start
	early       []*cdcpb.Event_Row
}

// cover subscribes [start, end) region by region, from a timestamp on. The caller holds mu.
func (c *feedCopy) cover(start, end []byte, from uint64) {
	for _, r := range c.eng.regions.snapshot() {
		lower, upper := r.rawStart, r.rawEnd
		if string(lower) < string(start) {
			lower = start
		}
		if string(upper) > string(end) {
			upper = end
		}
		if string(lower) >= string(upper) {
			continue
		}
		c.next++
		c.ranges[c.next] = &feedRange{
			start: lower, end: upper, region: r.meta.Id, resolved: from, prewrites: map[version]string{},
		}
		req := registration(r, c.next)
		req.StartKey, req.EndKey, req.CheckpointTs = apiV1.border(lower), apiV1.border(upper), from
		if err := c.stream.Send(req); err != nil {
			c.fail("send: %v", err)
		}
	}
}

func (c *feedCopy) fail(format string, arguments ...any) {
	if c.failed == "" {
		c.failed = fmt.Sprintf(format, arguments...)
	}
}

func (c *feedCopy) follow() {
	for {
		message, err := c.stream.Recv()
		c.mu.Lock()
		if err != nil {
			c.fail("the stream: %v", err)
			c.mu.Unlock()
			return
		}
		for _, event := range message.Events {
			r := c.ranges[event.RequestId]
			if r == nil {
				c.fail("an event after the end of its range: %v", event)
				continue
			}
			if event.GetError() != nil {
				delete(c.ranges, event.RequestId)
				c.cover(r.start, r.end, r.resolved)
				continue
			}
			for _, row := range event.GetEntries().GetEntries() {
				c.take(r, row)
			}
		}
		if resolved := message.ResolvedTs; resolved != nil {
			r := c.ranges[resolved.RequestId]
			if r == nil || !r.initialized || !slices.Equal(resolved.Regions, []uint64{r.region}) {
				c.fail("resolved %v of %+v", resolved, r)
			} else {
				r.resolved = max(r.resolved, resolved.Ts)
			}
		}
		c.mu.Unlock()
	}
}

func (c *feedCopy) take(r *feedRange, row *cdcpb.Event_Row) {
	if row.Type != cdcpb.Event_INITIALIZED && (string(row.Key) < string(r.start) || string(row.Key) >= string(r.end)) {
		c.fail("a row outside of [%s, %s): %v", r.start, r.end, row)
	}
	if row.CommitTs > 0 && row.CommitTs <= r.resolved {
		c.fail("a row below what is resolved, %d: %v", r.resolved, row)
	}
	lock := version{string(row.Key), row.StartTs}
	switch row.Type {
	case cdcpb.Event_PREWRITE:
		r.prewrites[lock] = string(row.Value)
	case cdcpb.Event_ROLLBACK:
		delete(r.prewrites, lock)
	case cdcpb.Event_COMMITTED:
		c.apply(row, string(row.Value))
	case cdcpb.Event_COMMIT:
		value, known := r.prewrites[lock]
		switch {
		case known:
			delete(r.prewrites, lock)
			c.apply(row, value)
		case r.initialized:
			c.fail("a commit without its prewrite: %v", row)
		default:
			r.early = append(r.early, row)
		}
	case cdcpb.Event_INITIALIZED:
		r.initialized = true
		early := r.early
		r.early = nil
		for _, row := range early {
			c.take(r, row)
		}
	}
}

func (c *feedCopy) apply(row *cdcpb.Event_Row, value string) {
	c.versions[version{string(row.Key), row.CommitTs}] = fmt.Sprint(row.StartTs, " ", value)
}

// resolved is how far all ranges are complete.
func (c *feedCopy) resolved() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	least := uint64(math.MaxUint64)
	for _, r := range c.ranges {
		least = min(least, r.resolved)
		if !r.initialized {
			least = 0
		}
	}
	return least
}

// at is the state of all keys at a timestamp.
func (c *feedCopy) at(ts uint64) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := map[string]uint64{}
	for v := range c.versions {
		if v.commit <= ts {
			newest[v.key] = max(newest[v.key], v.commit)
		}
	}
	out := map[string]string{}
	for key, commit := range newest {
		if _, value, _ := strings.Cut(c.versions[version{key, commit}], " "); value != "" {
			out[key] = value
		}
	}
	return out
}

// feedLoad writes random transactions over [t00, t30).
type feedLoad struct {
	eng    *engine
	client tikvpb.TikvClient
	random *rand.Rand
	now    func() uint64
	// Commits that were told.
	done int
}

// calls groups keys by region and calls for each, again while regions change.
func (l *feedLoad) calls(names []string, call func(ctx *kvrpcpb.Context, names []string) (again, ok bool)) bool {
	for len(names) > 0 {
		r := regionOf(l.eng.regions, names[0])
		var mine, rest []string
		for _, name := range names {
			if r.holds([]byte(name)) {
				mine = append(mine, name)
			} else {
				rest = append(rest, name)
			}
		}
		again, ok := call(&kvrpcpb.Context{RegionId: r.meta.Id, RegionEpoch: r.meta.RegionEpoch, Peer: r.meta.Peers[0]}, mine)
		if again {
			continue
		}
		if !ok {
			return false
		}
		names = rest
	}
	return true
}

func (l *feedLoad) transaction() error {
	ctx := context.Background()
	names := map[string]bool{}
	for range 1 + l.random.Intn(4) {
		names[fmt.Sprintf("t%02d", l.random.Intn(feedKeys))] = true
	}
	sorted := slices.Sorted(maps.Keys(names))
	primary := sorted[0]
	start := l.now()
	kind := l.random.Intn(4)
	pessimistic, async, onePhase := kind == 1, kind == 2, kind == 3
	var forUpdate, commit uint64
	var failure error
	failed := func(err error, resp any) (bool, bool) {
		if err != nil && failure == nil {
			failure = fmt.Errorf("%w: %v", err, resp)
		}
		return false, false
	}
	rollback := func() {
		l.calls(sorted, func(c *kvrpcpb.Context, mine []string) (bool, bool) {
			resp, err := l.client.KvBatchRollback(ctx, &kvrpcpb.BatchRollbackRequest{
				Context: c, StartVersion: start, Keys: keys(mine...),
			})
			if err != nil || resp.Error != nil {
				return failed(fmt.Errorf("rollback: %w", err), resp)
			}
			return resp.RegionError != nil, true
		})
	}
	if pessimistic {
		forUpdate = l.now()
		if !l.calls(sorted, func(c *kvrpcpb.Context, mine []string) (bool, bool) {
			req := &kvrpcpb.PessimisticLockRequest{
				Context: c, PrimaryLock: []byte(primary), StartVersion: start, ForUpdateTs: forUpdate, LockTtl: 3000, WaitTimeout: -1,
			}
			for _, name := range mine {
				req.Mutations = append(req.Mutations, &kvrpcpb.Mutation{Op: kvrpcpb.Op_PessimisticLock, Key: []byte(name)})
			}
			resp, err := l.client.KvPessimisticLock(ctx, req)
			if err != nil {
				return failed(err, resp)
			}
			return resp.RegionError != nil, len(resp.Errors) == 0
		}) {
			rollback()
			return failure
		}
	}
	if !l.calls(sorted, func(c *kvrpcpb.Context, mine []string) (bool, bool) {
		req := &kvrpcpb.PrewriteRequest{
			Context: c, PrimaryLock: []byte(primary), StartVersion: start, LockTtl: 3000, ForUpdateTs: forUpdate,
			UseAsyncCommit: async, MinCommitTs: start + 1,
		}
		// One phase is for all keys at once.
		req.TryOnePc = onePhase && len(mine) == len(sorted)
		for i, name := range mine {
			mutation := &kvrpcpb.Mutation{Op: kvrpcpb.Op_Put, Key: []byte(name), Value: fmt.Appendf(nil, "%s@%d", name, start)}
			if (start+uint64(i))%5 == 0 {
				mutation = &kvrpcpb.Mutation{Op: kvrpcpb.Op_Del, Key: []byte(name)}
			}
			req.Mutations = append(req.Mutations, mutation)
			if pessimistic {
				req.PessimisticActions = append(req.PessimisticActions, kvrpcpb.PrewriteRequest_DO_PESSIMISTIC_CHECK)
			}
			if async && name == primary {
				req.Secondaries = keys(sorted[1:]...)
			}
		}
		resp, err := l.client.KvPrewrite(ctx, req)
		if err != nil {
			return failed(err, resp)
		}
		if resp.OnePcCommitTs > 0 {
			commit = resp.OnePcCommitTs
		}
		if async {
			commit = max(commit, resp.MinCommitTs)
		}
		return resp.RegionError != nil, len(resp.Errors) == 0
	}) || l.random.Intn(10) == 0 && commit == 0 {
		rollback()
		return failure
	}
	if commit > 0 && !async {
		l.done++
		return nil
	}
	if commit == 0 {
		commit = l.now()
	}
	if !l.calls(sorted, func(c *kvrpcpb.Context, mine []string) (bool, bool) {
		resp, err := l.client.KvCommit(ctx, &kvrpcpb.CommitRequest{
			Context: c, StartVersion: start, CommitVersion: commit, Keys: keys(mine...),
		})
		if err != nil || resp.Error != nil {
			return failed(fmt.Errorf("commit: %w", err), resp)
		}
		return resp.RegionError != nil, true
	}) {
		return failure
	}
	l.done++
	return nil
}

// runFeedLoad copies a range by its feed while it is written to and split, compares the copy with what a reader sees at the
// resolved timestamp, and says what is wrong. The last writes meet no split: after one, the next scan would find a lost row.
func runFeedLoad(t *testing.T, seed int64, query, lastQuery string) string {
	eng, client, conn := testFeeds(t)
	if query != "" {
		setFeeds(t, eng, query)
	}
	copied := &feedCopy{
		t: t, eng: eng, stream: openFeed(t, conn), versions: map[version]string{}, ranges: map[uint64]*feedRange{},
	}
	begun := tso(t, eng)
	load := func(seed int64, transactions int) int {
		var running sync.WaitGroup
		var mu sync.Mutex
		done := 0
		for writer := range feedWriters {
			running.Add(1)
			go func() {
				defer running.Done()
				l := &feedLoad{
					eng: eng, client: client, random: rand.New(rand.NewSource(seed + int64(writer))),
					now: func() uint64 { return tso(t, eng) },
				}
				for range transactions {
					if err := l.transaction(); err != nil {
						t.Error(err)
						return
					}
				}
				mu.Lock()
				done += l.done
				mu.Unlock()
			}()
		}
		running.Wait()
		return done
	}
	compare := func() string {
		for want := tso(t, eng); copied.resolved() < want; time.Sleep(2 * time.Millisecond) {
			if wrong := copied.wrong(); wrong != "" {
				return wrong
			}
		}
		ts := copied.resolved()
		if got, want := copied.at(ts), scanAll(t, eng, client, "t", "u", ts); !maps.Equal(got, want) {
			return fmt.Sprintf("the copy at %d is %v, not %v", ts, got, want)
		}
		return ""
	}
	load(seed, 5) // What the first scan finds.
	go copied.follow()
	copied.mu.Lock()
	copied.cover([]byte("t"), []byte("u"), begun)
	copied.mu.Unlock()
	done := 0
	for phase, border := range []string{"t10", "t20", ""} {
		split := make(chan struct{})
		if border == "" && lastQuery != "" {
			setFeeds(t, eng, lastQuery)
		}
		go func() {
			defer close(split)
			if border == "" {
				return
			}
			if resp := eng.regions.SplitRegion(splitRequest(regionOf(eng.regions, border), []byte(border))); resp.RegionError != nil {
				t.Error(resp.RegionError)
			}
		}()
		done += load(seed+int64(phase+1)*100, feedTransactions/3)
		<-split
		if wrong := compare(); wrong != "" {
			return wrong
		}
	}
	if done < feedWriters*feedTransactions/4 {
		t.Errorf("only %d transactions were committed", done)
	}
	if wrong := copied.wrong(); wrong != "" {
		return wrong
	}
	copied.mu.Lock()
	defer copied.mu.Unlock()
	// And all versions, one by one.
	stored := map[version]string{}
	eng.eachVersion([]byte("t"), []byte("u"), func(item *badger.Item) {
		meta := mvcc.DBUserMeta(item.UserMeta())
		value, _ := item.Value()
		stored[version{string(item.Key()), meta.CommitTS()}] = fmt.Sprint(meta.StartTS(), " ", string(value))
	})
	if !maps.Equal(stored, copied.versions) {
		return fmt.Sprintf("%d versions are stored, %d came", len(stored), len(copied.versions))
	}
	return ""
}

func (c *feedCopy) wrong() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// scanAll reads a range region by region.
func scanAll(t *testing.T, eng *engine, client tikvpb.TikvClient, start, end string, ts uint64) map[string]string {
	t.Helper()
	out := map[string]string{}
	for start < end {
		r := regionOf(eng.regions, start)
		answer, err := client.KvScan(context.Background(), &kvrpcpb.ScanRequest{
			Context: contextOf(eng.regions, start), StartKey: []byte(start), EndKey: []byte(end), Version: ts, Limit: 1000,
		})
		if err != nil || answer.RegionError != nil || answer.Error != nil {
			t.Fatal(err, answer)
		}
		for _, pair := range answer.Pairs {
			if pair.Error != nil {
				t.Fatal(pair)
			}
			out[string(pair.Key)] = string(pair.Value)
		}
		start = string(r.rawEnd)
	}
	return out
}

func TestFeedRebuildsTheRange(t *testing.T) {
	for name, query := range map[string]string{
		"plain": "", "late": "initialized=50&delay=2", "twice": "duplicates=1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if wrong := runFeedLoad(t, int64(len(name)), query, ""); wrong != "" {
				t.Fatal(wrong)
			}
		})
	}
}

// The check itself can fail.
func TestFeedLoadSeesALostRow(t *testing.T) {
	if wrong := runFeedLoad(t, 1, "", "drop=1"); wrong == "" {
		t.Fatal("a lost row was not seen")
	} else {
		t.Log(wrong)
	}
}
