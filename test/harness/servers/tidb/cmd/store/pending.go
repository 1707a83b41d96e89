package main

import (
	"bytes"
	"context"
	"slices"
	"sync"
)

// pending holds readers back from keys whose async-commit or one-phase prewrite is under way, as TiKV's in-memory locks
// do. Unistore has none, so a reader could slip between the choice of the commit timestamp and the write:
//
//	prewrite:  latch ---- commit ts 90 from PD ------------------ write @90
//	reader:                       start ts 100 -- reads, sees nothing -- writes over @90: a lost update
//
// A reader that comes first has a timestamp below any that PD gives afterwards; one that comes later waits.
// TiKV answers KeyIsLocked instead of waiting; clients cannot tell, apart from the time.
type pending struct {
	mu        sync.Mutex
	prewrites map[*pendingPrewrite]struct{}
}

type pendingPrewrite struct {
	keys [][]byte // sorted
	done chan struct{}
}

func newPending() *pending {
	return &pending{prewrites: map[*pendingPrewrite]struct{}{}}
}

// begin is called before the commit timestamp is chosen; end after the write.
func (p *pending) begin(keys [][]byte) (end func()) {
	own := &pendingPrewrite{keys: slices.Clone(keys), done: make(chan struct{})}
	slices.SortFunc(own.keys, bytes.Compare)
	p.mu.Lock()
	p.prewrites[own] = struct{}{}
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		delete(p.prewrites, own)
		p.mu.Unlock()
		close(own.done)
	}
}

// wait returns when the prewrites of these keys that are under way now have ended, or with the context's error.
func (p *pending) wait(ctx context.Context, c claim) error {
	p.mu.Lock()
	var met []*pendingPrewrite
	for prewrite := range p.prewrites {
		if prewrite.meets(c) {
			met = append(met, prewrite)
		}
	}
	p.mu.Unlock()
	for _, prewrite := range met {
		select {
		case <-prewrite.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (p *pendingPrewrite) meets(c claim) bool {
	for _, key := range c.points {
		if _, found := slices.BinarySearchFunc(p.keys, key, bytes.Compare); found {
			return true
		}
	}
	for _, s := range c.spans {
		at, _ := slices.BinarySearchFunc(p.keys, *s.lower, bytes.Compare)
		if at < len(p.keys) && bytes.Compare(p.keys[at], *s.upper) < 0 {
			return true
		}
	}
	return false
}
