package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-semver/semver"
	"github.com/pingcap/kvproto/pkg/cdcpb"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// Bytes that a scan keeps in the queue of a stream before it waits.
	scanAhead = 4 << 20
	// Events of one message.
	messageEvents = 32
	// The one feature that a client may ask for in the header of EventFeedV2.
	multiplexing = "stream-multiplexing"
)

// Clients from these versions on take resolved timestamps in batches, and have their cluster id checked.
var (
	batchesResolved = *semver.New("4.0.8")
	checksCluster   = *semver.New("5.3.0")
)

// changeData is TiKV's ChangeData service.
type changeData struct{ feeds *feeds }

type eventStream interface {
	Send(*cdcpb.ChangeDataEvent) error
	Recv() (*cdcpb.ChangeDataRequest, error)
}

func (c *changeData) EventFeed(stream cdcpb.ChangeData_EventFeedServer) error {
	return c.feeds.serve(stream, false)
}

// EventFeedV2 takes the features that a client wants from the header.
func (c *changeData) EventFeedV2(stream cdcpb.ChangeData_EventFeedV2Server) error {
	var wanted []string
	if header, ok := metadata.FromIncomingContext(stream.Context()); ok {
		for _, value := range header.Get("features") {
			for _, feature := range strings.Split(value, ",") {
				wanted = append(wanted, strings.TrimSpace(feature))
			}
		}
	}
	unknown := slices.DeleteFunc(slices.Clone(wanted), func(feature string) bool { return feature == multiplexing })
	if len(unknown) > 0 {
		return status.Error(codes.Unimplemented, strings.Join(unknown, ","))
	}
	return c.feeds.serve(stream, len(wanted) > 0)
}

// feedStream is one call of a client. Its queue is sent in order; the fields up to the queue do not change after the first
// request.
type feedStream struct {
	feeds         *feeds
	multiplexed   bool
	batched       bool
	checksCluster bool

	mu    sync.Mutex
	moved *sync.Cond
	queue []queued
	bytes int64
	gone  bool
	// Ended from this side.
	cancelled bool

	// Guarded by feeds.mu.
	subs map[subscriptionKey]*subscription
}

type subscriptionKey struct{ request, region uint64 }

type queued struct {
	message *cdcpb.ChangeDataEvent
	bytes   int64
	due     time.Time
}

func (f *feeds) serve(stream eventStream, multiplexed bool) error {
	s := &feedStream{feeds: f, multiplexed: multiplexed, subs: map[subscriptionKey]*subscription{}}
	s.moved = sync.NewCond(&s.mu)
	failed := make(chan error, 1)
	go func() {
		failed <- s.receive(stream)
		s.leave()
	}()
	if err := s.deliver(stream); err != nil {
		return err
	}
	if s.wasCancelled() {
		return status.Error(codes.Unknown, "connection cancelled")
	}
	return <-failed
}

func (s *feedStream) wasCancelled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancelled
}

func (s *feedStream) cancel() {
	s.mu.Lock()
	s.cancelled = true
	s.mu.Unlock()
	s.leave()
}

// receive takes requests until the client ends its side.
func (s *feedStream) receive(stream eventStream) error {
	for first := true; ; first = false {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if first {
			// As in TiKV an empty version, or one that cannot be read, is the oldest.
			version, err := semver.NewVersion(req.GetHeader().GetTicdcVersion())
			if err != nil {
				version = &semver.Version{}
			}
			s.batched, s.checksCluster = !version.LessThan(batchesResolved), !version.LessThan(checksCluster)
		}
		switch req.Request.(type) {
		case nil, *cdcpb.ChangeDataRequest_Register_:
			if failure := s.feeds.subscribe(s, req); failure != nil {
				s.send(errorEvent(req.RegionId, req.RequestId, failure))
			}
		case *cdcpb.ChangeDataRequest_Deregister_:
			s.deregister(req)
		default:
			return status.Error(codes.Unimplemented, fmt.Sprintf("%T is not served", req.Request))
		}
	}
}

// deregister ends one region's subscription, or all of a request. The answer is an error as any other.
func (s *feedStream) deregister(req *cdcpb.ChangeDataRequest) {
	s.feeds.mu.Lock()
	defer s.feeds.mu.Unlock()
	var regions []uint64
	for key := range s.subs {
		if key.request == req.RequestId && (req.RegionId == 0 || key.region == req.RegionId) {
			regions = append(regions, key.region)
		}
	}
	for _, region := range regions {
		s.feeds.end(func(other *subscription) bool {
			return other.stream == s && other.request == req.RequestId && other.region == region
		}, &cdcpb.Error{RegionNotFound: &errorpb.RegionNotFound{RegionId: region}})
	}
}

// leave ends everything of a stream that has no reader any more.
func (s *feedStream) leave() {
	s.feeds.mu.Lock()
	s.feeds.end(func(other *subscription) bool { return other.stream == s }, nil)
	s.feeds.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.moved.Broadcast()
}

// remember and forget keep count of what is subscribed: one request may subscribe a region once. The caller holds feeds.mu.
func (s *feedStream) remember(sub *subscription) bool {
	key := subscriptionKey{sub.request, sub.region}
	if _, taken := s.subs[key]; taken {
		return false
	}
	s.subs[key] = sub
	return true
}

func (s *feedStream) forget(sub *subscription) {
	key := subscriptionKey{sub.request, sub.region}
	if s.subs[key] == sub {
		delete(s.subs, key)
	}
}

// send queues an event whatever waits.
func (s *feedStream) send(event *cdcpb.Event) {
	s.push(&cdcpb.ChangeDataEvent{Events: []*cdcpb.Event{event}})
}

// offer queues live rows, if the memory for all feeds suffices.
func (s *feedStream) offer(event *cdcpb.Event) bool {
	settings := s.feeds.faults.settings()
	if s.feeds.queued.Load()+int64(event.Size()) > settings.quota {
		return false
	}
	s.send(event)
	if settings.duplicates {
		s.repeat(event)
	}
	return true
}

// sendScanned waits while the stream has enough to send.
func (s *feedStream) sendScanned(sub *subscription, event *cdcpb.Event) {
	s.mu.Lock()
	for s.bytes > scanAhead && !s.gone {
		s.moved.Wait()
	}
	s.mu.Unlock()
	if sub.stopped.Load() {
		return
	}
	s.send(event)
	if s.feeds.faults.settings().duplicates {
		s.repeat(event)
	}
}

// repeat sends rows again, but no COMMIT: a second one would be without its prewrite, which the protocol does not know.
func (s *feedStream) repeat(event *cdcpb.Event) {
	rows := slices.DeleteFunc(slices.Clone(event.GetEntries().GetEntries()), func(row *cdcpb.Event_Row) bool {
		return row.Type == cdcpb.Event_COMMIT
	})
	if len(rows) > 0 {
		s.send(&cdcpb.Event{
			RegionId: event.RegionId, RequestId: event.RequestId,
			Event: &cdcpb.Event_Entries_{Entries: &cdcpb.Event_Entries{Entries: rows}},
		})
	}
}

func (s *feedStream) push(message *cdcpb.ChangeDataEvent) {
	item := queued{message: message, bytes: int64(message.Size())}
	if delay := s.feeds.faults.settings().delay; delay > 0 {
		item.due = time.Now().Add(delay)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return
	}
	s.feeds.queued.Add(item.bytes)
	s.bytes += item.bytes
	s.queue = append(s.queue, item)
	s.moved.Broadcast()
}

// resolved queues the resolved timestamps of subscriptions in the form that the client knows: those of one timestamp
// together, and of one request where the client multiplexes.
func (s *feedStream) resolved(subs []*subscription) {
	if !s.multiplexed && !s.batched {
		for _, sub := range subs {
			s.send(&cdcpb.Event{
				RegionId: sub.region, RequestId: sub.request, Event: &cdcpb.Event_ResolvedTs{ResolvedTs: sub.resolved},
			})
		}
		return
	}
	type group struct{ ts, request uint64 }
	regions := map[group][]uint64{}
	for _, sub := range subs {
		g := group{ts: sub.resolved}
		if s.multiplexed {
			g.request = sub.request
		}
		regions[g] = append(regions[g], sub.region)
	}
	for g, ids := range regions {
		s.push(&cdcpb.ChangeDataEvent{ResolvedTs: &cdcpb.ResolvedTs{Regions: ids, Ts: g.ts, RequestId: g.request}})
	}
}

// deliver sends the queue until the client is gone.
func (s *feedStream) deliver(stream eventStream) error {
	defer s.drain()
	for {
		items, more := s.take()
		if !more {
			return nil
		}
		var bytes int64
		message := &cdcpb.ChangeDataEvent{ResolvedTs: items[0].message.ResolvedTs}
		for _, item := range items {
			message.Events = append(message.Events, item.message.Events...)
			bytes += item.bytes
		}
		if wait := time.Until(items[len(items)-1].due); wait > 0 {
			time.Sleep(wait)
		}
		err := stream.Send(message)
		s.feeds.queued.Add(-bytes)
		s.mu.Lock()
		s.bytes -= bytes
		s.moved.Broadcast()
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// take waits for something to send: one resolved timestamp, or some events.
func (s *feedStream) take() ([]queued, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.gone {
		s.moved.Wait()
	}
	if s.gone {
		return nil, false
	}
	count, bytes := 1, s.queue[0].bytes
	for s.queue[0].message.ResolvedTs == nil && count < min(len(s.queue), messageEvents) &&
		s.queue[count].message.ResolvedTs == nil && bytes < scanBytes {
		bytes += s.queue[count].bytes
		count++
	}
	items := slices.Clone(s.queue[:count])
	s.queue = slices.Delete(s.queue, 0, count)
	return items, true
}

// drain gives back the memory of what was never sent.
func (s *feedStream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	for _, item := range s.queue {
		s.feeds.queued.Add(-item.bytes)
	}
	s.queue = nil
	s.moved.Broadcast()
}
