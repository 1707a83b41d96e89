package main

import (
	"maps"
	"sync"
	"sync/atomic"
)

// counters is what GET /stats tells. Counts start at the process's start.
type counters struct {
	mu             sync.Mutex
	requests       map[string]uint64
	keyNotInRegion map[string]uint64
	epochNotMatch  atomic.Uint64
	clampedRanges  atomic.Uint64
	refused        atomic.Uint64
	splits         atomic.Uint64
}

func newCounters() *counters {
	return &counters{requests: map[string]uint64{}, keyNotInRegion: map[string]uint64{}}
}

func (c *counters) request(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests[method]++
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
