package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/cdcpb"
	"github.com/pingcap/kvproto/pkg/errorpb"
)

const (
	// TiKV's cdc.min-ts-interval is 1 s by default.
	resolvedInterval = 200 * time.Millisecond
	// TiKV's cdc.sink-memory-quota is 512 MB by default.
	sinkQuota = 128 << 20
)

// feedSettings is how the feeds of a store behave, good or bad.
type feedSettings struct {
	interval, delay, lateInitialized time.Duration
	quota                            int64
	duplicates, holdResolved         bool
}

// feedFaults is what a test has asked for.
type feedFaults struct {
	mu      sync.Mutex
	now     feedSettings
	drop    int
	refused []feedRefusal
}

type feedRefusal struct {
	// 0 is any.
	region uint64
	kind   string
	times  int
}

func newFeedFaults() *feedFaults { return &feedFaults{now: defaultFeedSettings()} }

func defaultFeedSettings() feedSettings {
	return feedSettings{interval: resolvedInterval, quota: sinkQuota}
}

func (f *feedFaults) settings() feedSettings {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// withoutDropped loses the rows that a test has asked to lose: those of commits, as many as it said.
func (f *feedFaults) withoutDropped(rows []feedRow) []feedRow {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drop == 0 {
		return rows
	}
	var kept []feedRow
	for _, row := range rows {
		if f.drop > 0 && row.CommitTs > 0 {
			f.drop--
			continue
		}
		kept = append(kept, row)
	}
	return kept
}

// refusal is the error that a registration meets, if one is set.
func (f *feedFaults) refusal(region uint64) *cdcpb.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.refused {
		refusal := &f.refused[i]
		if refusal.times > 0 && (refusal.region == 0 || refusal.region == region) {
			refusal.times--
			return feedErrors[refusal.kind](region)
		}
	}
	return nil
}

// feedErrors are the errors of the protocol.
var feedErrors = map[string]func(region uint64) *cdcpb.Error{
	"notLeader": func(region uint64) *cdcpb.Error {
		return &cdcpb.Error{NotLeader: &errorpb.NotLeader{RegionId: region}}
	},
	"regionNotFound": func(region uint64) *cdcpb.Error {
		return &cdcpb.Error{RegionNotFound: &errorpb.RegionNotFound{RegionId: region}}
	},
	// Without regions, as after a merge.
	"epochNotMatch": func(uint64) *cdcpb.Error {
		return &cdcpb.Error{EpochNotMatch: &errorpb.EpochNotMatch{}}
	},
	"duplicateRequest": func(region uint64) *cdcpb.Error {
		return &cdcpb.Error{DuplicateRequest: &cdcpb.DuplicateRequest{RegionId: region}}
	},
	"compatibility": func(uint64) *cdcpb.Error {
		return &cdcpb.Error{Compatibility: &cdcpb.Compatibility{RequiredVersion: "6.2.0"}}
	},
	"clusterIdMismatch": func(uint64) *cdcpb.Error {
		return &cdcpb.Error{ClusterIdMismatch: &cdcpb.ClusterIDMismatch{}}
	},
	"serverIsBusy": func(uint64) *cdcpb.Error {
		return &cdcpb.Error{ServerIsBusy: &errorpb.ServerIsBusy{Reason: "too many pending incremental scans"}}
	},
	"congested": func(region uint64) *cdcpb.Error {
		return &cdcpb.Error{Congested: &cdcpb.Congested{RegionId: region}}
	},
}

// fail ends the subscriptions of a region, or all (0), with an error of a kind, and refuses as many registrations with it.
// It says how many subscriptions it ended.
func (f *feeds) fail(kind string, region uint64, times int) int {
	f.faults.mu.Lock()
	f.faults.refused = append(f.faults.refused, feedRefusal{region: region, kind: kind, times: times})
	f.faults.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	ended := 0
	regions := map[uint64]struct{}{}
	for _, s := range f.subs {
		if region == 0 || s.region == region {
			regions[s.region] = struct{}{}
			ended++
		}
	}
	for id := range regions {
		f.end(func(s *subscription) bool { return s.region == id }, feedErrors[kind](id))
	}
	return ended
}

// endStreams ends the calls of all clients, as a store does that stops.
func (f *feeds) endStreams() {
	f.mu.Lock()
	streams := map[*feedStream]struct{}{}
	for _, s := range f.subs {
		streams[s.stream] = struct{}{}
	}
	f.mu.Unlock()
	for stream := range streams {
		stream.cancel()
	}
}

// feedReport is the JSON of GET /feeds. Keys are user keys in hex, timestamps decimal strings.
type feedReport struct {
	QueuedBytes   int64              `json:"queuedBytes"`
	Subscriptions []feedSubscription `json:"subscriptions"`
}

type feedSubscription struct {
	Region      uint64 `json:"region"`
	Version     uint64 `json:"version"`
	Request     uint64 `json:"request"`
	Start       string `json:"start"`
	End         string `json:"end"`
	Checkpoint  string `json:"checkpoint"`
	Initialized bool   `json:"initialized"`
	Resolved    string `json:"resolved"`
}

func (f *feeds) report() feedReport {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := feedReport{QueuedBytes: f.queued.Load(), Subscriptions: []feedSubscription{}}
	for _, s := range f.subs {
		out.Subscriptions = append(out.Subscriptions, feedSubscription{
			Region: s.region, Version: s.version, Request: s.request,
			Start: hex.EncodeToString(s.start), End: hex.EncodeToString(s.end),
			Checkpoint: strconv.FormatUint(s.checkpoint, 10), Initialized: s.initialized,
			Resolved: strconv.FormatUint(s.resolved, 10),
		})
	}
	return out
}

// change takes the settings that a request names and leaves the others; reset=1 first undoes all, refusals too.
func (f *feedFaults) change(r *http.Request) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next, drop := f.now, f.drop
	if r.FormValue("reset") == "1" {
		next, drop, f.refused = defaultFeedSettings(), 0, nil
	}
	for name, set := range map[string]func(int64){
		"interval":    func(n int64) { next.interval = time.Duration(n) * time.Millisecond },
		"delay":       func(n int64) { next.delay = time.Duration(n) * time.Millisecond },
		"initialized": func(n int64) { next.lateInitialized = time.Duration(n) * time.Millisecond },
		"quota":       func(n int64) { next.quota = n },
		"duplicates":  func(n int64) { next.duplicates = n != 0 },
		"hold":        func(n int64) { next.holdResolved = n != 0 },
		"drop":        func(n int64) { drop = int(n) },
	} {
		text := r.FormValue(name)
		if text == "" {
			continue
		}
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil || number < 0 {
			return fmt.Errorf("%s: %q is not a number of 0 or more", name, text)
		}
		set(number)
	}
	f.now, f.drop = next, drop
	return nil
}

// serveFeeds adds the feeds to the inspector.
//
//	GET /feeds                                   what is subscribed, see feedReport
//	POST /feeds?...                              settings, see FEED.md; those that are not named stay
//	POST /feeds/errors?kind=&region=&times=      ends the subscriptions of a region, or all, with an error, and refuses so many
//	                                             registrations with it
//	POST /feeds/end                              ends all streams
func serveFeeds(mux *http.ServeMux, f *feeds) {
	mux.HandleFunc("GET /feeds", func(w http.ResponseWriter, _ *http.Request) { reply(w, f.report()) })
	mux.HandleFunc("POST /feeds", func(w http.ResponseWriter, r *http.Request) {
		if err := f.faults.change(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, f.report())
	})
	mux.HandleFunc("POST /feeds/end", func(w http.ResponseWriter, _ *http.Request) {
		f.endStreams()
		reply(w, f.report())
	})
	mux.HandleFunc("POST /feeds/errors", func(w http.ResponseWriter, r *http.Request) {
		var region, times uint64
		var err error
		for name, into := range map[string]*uint64{"region": &region, "times": &times} {
			if text := r.FormValue(name); text != "" && err == nil {
				*into, err = strconv.ParseUint(text, 10, 32)
			}
		}
		kind := r.FormValue("kind")
		if _, known := feedErrors[kind]; err == nil && !known {
			err = fmt.Errorf("kind: %q is no error of the protocol", kind)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, map[string]int{"ended": f.fail(kind, region, int(times))})
	})
}
