package main

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

// counters is what GET /stats tells. Counts start at the process's start.
type counters struct {
	mu             sync.Mutex
	requests       map[string]uint64
	resourceGroups map[string]uint64
	keyNotInRegion map[string]uint64
	epochNotMatch  atomic.Uint64
	clampedRanges  atomic.Uint64
	refused        atomic.Uint64
	splits         atomic.Uint64
}

func newCounters() *counters {
	return &counters{
		requests: map[string]uint64{}, resourceGroups: map[string]uint64{}, keyNotInRegion: map[string]uint64{},
	}
}

func (c *counters) request(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests[method]++
}

// group counts requests under the resource group that their context names; none where it names no group.
func (c *counters) group(req any) {
	request, ok := req.(interface{ GetContext() *kvrpcpb.Context })
	if !ok {
		return
	}
	if name := request.GetContext().GetResourceControlContext().GetResourceGroupName(); name != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.resourceGroups[name]++
	}
}

func (c *counters) outside(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keyNotInRegion[method]++
}

// statsReport is the JSON of GET /stats.
type statsReport struct {
	// By method; a sub-request of BatchCommands counts under its own method, a batched coprocessor task as CoprocessorTask.
	Requests map[string]uint64 `json:"requests"`
	// By the name of the resource group in the request's context, of requests that have one. Coprocessor tasks are not counted.
	ResourceGroups map[string]uint64 `json:"resourceGroups"`
	// Requests refused because a key or a range's start lies outside their region.
	KeyNotInRegion         uint64            `json:"keyNotInRegion"`
	KeyNotInRegionByMethod map[string]uint64 `json:"keyNotInRegionByMethod"`
	EpochNotMatch          uint64            `json:"epochNotMatch"`
	// Ranges whose far bound was named and lies outside the region: served up to the border, as in TiKV.
	ClampedRanges uint64 `json:"clampedRanges"`
	// Requests refused for another reason: bad coprocessor range, empty bounds, API version, unknown command.
	Refused uint64 `json:"refused"`
	Regions int    `json:"regions"`
	Splits  uint64 `json:"splits"`
}

func (c *counters) report(regionCount int) statsReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := statsReport{
		Requests:               maps.Clone(c.requests),
		ResourceGroups:         maps.Clone(c.resourceGroups),
		KeyNotInRegionByMethod: maps.Clone(c.keyNotInRegion),
		EpochNotMatch:          c.epochNotMatch.Load(),
		ClampedRanges:          c.clampedRanges.Load(),
		Refused:                c.refused.Load(),
		Regions:                regionCount,
		Splits:                 c.splits.Load(),
	}
	for _, count := range c.keyNotInRegion {
		out.KeyNotInRegion += count
	}
	return out
}
