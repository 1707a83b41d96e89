package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestReaderWaitsForAPendingPrewrite(t *testing.T) {
	p := newPending()
	end := p.begin(keys("k", "c", "f"))
	lower, upper := []byte("d"), []byte("f")
	short := func(c claim) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		return p.wait(ctx, c)
	}
	if err := short(claim{points: keys("a", "d")}); err != nil {
		t.Error("another key", err)
	}
	if err := short(claim{spans: []span{{lower: &lower, upper: &upper}}}); err != nil {
		t.Error("a range that ends before the key", err)
	}
	if err := short(claim{points: keys("a", "c")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("the key itself", err)
	}
	upper = []byte("g")
	if err := short(claim{spans: []span{{lower: &lower, upper: &upper}}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("a range over the key", err)
	}
	time.AfterFunc(20*time.Millisecond, end)
	if err := p.wait(context.Background(), claim{points: keys("k")}); err != nil {
		t.Error(err)
	}
	if len(p.prewrites) != 0 {
		t.Error("it is still there")
	}
}
