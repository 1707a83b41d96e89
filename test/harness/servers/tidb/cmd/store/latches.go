package main

import "sync"

const latchSlots = 256

// latches serialises writers of one key. They belong to the store, not to a region, so a split does not part two
// writers of the same key.
type latches struct {
	slots [latchSlots]latchSlot
}

type latchSlot struct {
	mu    sync.Mutex
	freed *sync.Cond
	held  map[uint64]struct{}
}

func newLatches() *latches {
	l := &latches{}
	for i := range l.slots {
		slot := &l.slots[i]
		slot.freed = sync.NewCond(&slot.mu)
		slot.held = map[uint64]struct{}{}
	}
	return l
}

// acquire takes the latches of hashes, which are sorted and without duplicates: the one order is what keeps two callers
// from waiting for each other.
func (l *latches) acquire(hashes []uint64) {
	for _, hash := range hashes {
		slot := &l.slots[hash%latchSlots]
		slot.mu.Lock()
		for {
			if _, taken := slot.held[hash]; !taken {
				break
			}
			slot.freed.Wait()
		}
		slot.held[hash] = struct{}{}
		slot.mu.Unlock()
	}
}

func (l *latches) release(hashes []uint64) {
	for _, hash := range hashes {
		slot := &l.slots[hash%latchSlots]
		slot.mu.Lock()
		delete(slot.held, hash)
		slot.mu.Unlock()
		slot.freed.Broadcast()
	}
}
