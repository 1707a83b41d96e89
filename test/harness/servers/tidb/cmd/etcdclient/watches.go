package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

const (
	arrival = 10 * time.Second
	// silence is how long a watch is listened to for what should not come.
	silence = 300 * time.Millisecond
)

func large(size int) string { return strings.Repeat("x", size) }

func (r *run) event(e *mvccpb.Event) any {
	return fields{"type": e.Type.String(), "kv": r.kv(e.Kv), "prev": r.kv(e.PrevKv)}
}

// events waits for so many and then for silence. How they lie in answers is left out: it depends on time.
func (r *run) events(name string, watch clientv3.WatchChan, count int) {
	seen := []any{}
	wait := time.After(arrival)
	for {
		if len(seen) >= count {
			wait = time.After(silence)
		}
		select {
		case answer, open := <-watch:
			if !open {
				r.did(name, fields{"events": seen, "closed": true}, nil)
				return
			}
			for _, e := range answer.Events {
				seen = append(seen, r.event((*mvccpb.Event)(e)))
			}
			if err := answer.Err(); err != nil {
				r.did(name, nil, err)
				return
			}
		case <-wait:
			r.did(name, fields{"events": seen}, nil)
			return
		}
	}
}

// watch begins before what follows: it waits for etcd's word that it is there.
func (r *run) watch(key string, options ...clientv3.OpOption) (clientv3.WatchChan, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.ctx)
	watch := r.c.Watch(ctx, key, append(options, clientv3.WithCreatedNotify())...)
	select {
	case answer := <-watch:
		if !answer.Created {
			r.did("watch "+key, nil, fmt.Errorf("the first answer is %+v", answer))
		}
	case <-time.After(arrival):
		r.did("watch "+key, nil, fmt.Errorf("no answer"))
	}
	return watch, cancel
}

// changes makes the same few events below b/, and some beside it.
func (r *run) changes() {
	r.put("put b/1", "b/1", "1")
	r.put("put b/1 again", "b/1", "2")
	r.put("put a", "a", "1")
	r.put("put c", "c", "1")
	r.delete("delete b/1", "b/1")
	r.txn("txn", nil, ops{clientv3.OpPut("b/2", "1"), clientv3.OpPut("b/3", "1"), clientv3.OpDelete("a")}, nil)
	r.delete("delete all", "", clientv3.WithPrefix())
}

func watches(r *run) {
	type one struct {
		name    string
		watch   clientv3.WatchChan
		count   int
		options []clientv3.OpOption
		key     string
	}
	all := []*one{
		{name: "key", key: "b/1", count: 3},
		{name: "prefix", key: "b/", count: 7, options: []clientv3.OpOption{clientv3.WithPrefix()}},
		{name: "prefix, prev_kv", key: "b/", count: 7, options: []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithPrevKV()}},
		{name: "no puts", key: "b/", count: 3, options: []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithFilterPut()}},
		{name: "no deletes", key: "b/", count: 4, options: []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithFilterDelete()}},
		{name: "neither", key: "b/", count: 0, options: []clientv3.OpOption{
			clientv3.WithPrefix(), clientv3.WithFilterDelete(), clientv3.WithFilterPut()}},
		{name: "from key", key: "b/2", count: 6, options: []clientv3.OpOption{clientv3.WithFromKey()}},
		{name: "range", key: "a", count: 5, options: []clientv3.OpOption{clientv3.WithRange("b/2")}},
		{name: "everything", key: "", count: 11, options: []clientv3.OpOption{clientv3.WithPrefix()}},
		{name: "everything from \\0", key: "\x00", count: 11, options: []clientv3.OpOption{clientv3.WithFromKey()}},
		{name: "nothing", key: "nothing", count: 0},
	}
	for _, w := range all {
		watch, cancel := r.watch(w.key, w.options...)
		defer cancel()
		w.watch = watch
	}
	r.changes()
	for _, w := range all {
		r.events("watch "+w.name, w.watch, w.count)
	}
}

func history(r *run) {
	first := r.put("put", "b/0", "0").Header.Revision
	r.changes()
	watch, cancel := r.watch("b/", clientv3.WithPrefix(), clientv3.WithRev(first), clientv3.WithPrevKV())
	r.events("from a revision", watch, 8)
	r.put("put b/9", "b/9", "9")
	r.events("and what follows", watch, 1)
	cancel()
	r.events("after it was cancelled", watch, 1)
	r.put("put b/10", "b/10", "10")
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	future := r.c.Watch(ctx, "b/", clientv3.WithPrefix(), clientv3.WithRev(first+1_000_000_000))
	r.put("put b/11", "b/11", "11")
	r.events("from a future revision", future, 0)
}

func fragments(r *run) {
	var first int64
	for i := 0; i < 12; i++ {
		answer, err := r.c.Put(r.ctx, fmt.Sprintf("large/%02d", i), large(512<<10))
		if err != nil {
			r.did("put", nil, err)
			return
		}
		if i == 0 {
			first = answer.Header.Revision
		}
	}
	whole := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(first)}
	watch, cancel := r.watch("large/", whole...)
	r.events("whole", watch, 12)
	cancel()
	watch, cancel = r.watch("large/", append(whole, clientv3.WithFragment())...)
	r.events("in fragments", watch, 12)
	cancel()
	answers := r.rawWatch("raw, in fragments", []*pb.WatchRequest{create(&pb.WatchCreateRequest{
		Key: r.raw("large/"), RangeEnd: r.raw("large0"), StartRevision: first, Fragment: true,
	})}, func(seen []*pb.WatchResponse) bool { return countEvents(seen) >= 12 })
	parts := 0
	for _, answer := range answers {
		if answer.Fragment {
			parts++
		}
	}
	r.did("was it cut", fields{"cut": parts > 0, "events": countEvents(answers)}, nil)
}

func countEvents(answers []*pb.WatchResponse) int {
	count := 0
	for _, answer := range answers {
		count += len(answer.Events)
	}
	return count
}

func progress(r *run) {
	ctx := clientv3.WithRequireLeader(r.ctx)
	watch := func(key string) clientv3.WatchChan {
		return r.c.Watch(ctx, key, clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	}
	both := []clientv3.WatchChan{watch("a"), watch("b")}
	for _, w := range both {
		<-w
	}
	at := r.put("put c", "c", "1").Header.Revision
	for i, w := range both {
		r.told(ctx, fmt.Sprintf("watch %d is told", i), w, at)
	}
	r.put("put a", "a", "1")
	r.events("and goes on", both[0], 1)
}

// told asks for progress until the watch hears of it. PD's etcd drops the question while a watch of the stream is behind, and one that began
// while somebody else wrote is behind for a tenth of a second.
func (r *run) told(ctx context.Context, name string, watch clientv3.WatchChan, at int64) {
	end := time.After(arrival)
	for {
		if err := r.c.RequestProgress(ctx); err != nil {
			r.did(name, nil, err)
			return
		}
		select {
		case answer := <-watch:
			r.did(name, fields{"progress": answer.IsProgressNotify(), "not behind": answer.Header.Revision >= at}, answer.Err())
			return
		case <-time.After(silence):
		case <-end:
			r.did(name, nil, fmt.Errorf("nothing came"))
			return
		}
	}
}

func (r *run) raw(key string) []byte { return []byte(r.prefix + key) }

func create(request *pb.WatchCreateRequest) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}}
}

func cancelWatch(id int64) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}}
}

// rawWatch sends messages on one stream, each when the one before it was answered or silence followed, and gives what comes until `enough`
// and then silence.
func (r *run) rawWatch(name string, requests []*pb.WatchRequest, enough func([]*pb.WatchResponse) bool) []*pb.WatchResponse {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	stream, err := pb.NewWatchClient(r.c.ActiveConnection()).Watch(ctx, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		r.did(name, nil, err)
		return nil
	}
	come := make(chan *pb.WatchResponse)
	failed := make(chan error, 1)
	go func() {
		for {
			answer, err := stream.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case come <- answer:
			case <-ctx.Done():
				return
			}
		}
	}()
	var seen []*pb.WatchResponse
	for {
		wait := time.After(arrival)
		if len(requests) > 0 {
			if err := stream.Send(requests[0]); err != nil {
				r.did(name, nil, err)
				return seen
			}
			requests = requests[1:]
		}
		if len(requests) > 0 || enough(seen) {
			wait = time.After(silence)
		}
		select {
		case answer := <-come:
			seen = append(seen, answer)
		case err := <-failed:
			r.did(name, nil, err)
			return seen
		case <-wait:
			if len(requests) == 0 {
				return seen
			}
		}
	}
}

func (r *run) rawAnswers(name string, requests []*pb.WatchRequest, count int) {
	answers := r.rawWatch(name, requests, func(seen []*pb.WatchResponse) bool { return len(seen) >= count })
	// etcd keeps the order of one watch only.
	sort.SliceStable(answers, func(i, j int) bool { return answers[i].WatchId < answers[j].WatchId })
	out := []any{}
	for i, a := range answers {
		// Progress of all watches, which is told as often as it is asked for, or less.
		if a.WatchId == -1 && i > 0 && answers[i-1].WatchId == -1 {
			continue
		}
		events := []any{}
		for _, e := range a.Events {
			events = append(events, r.event(e))
		}
		out = append(out, fields{
			"id": a.WatchId, "created": a.Created, "canceled": a.Canceled, "reason": a.CancelReason,
			"compacted": a.CompactRevision, "events": events,
		})
	}
	r.did(name, out, nil)
}

func rawWatches(r *run) {
	at := r.put("put", "a", "1").Header.Revision
	key := func(id int64) *pb.WatchRequest {
		return create(&pb.WatchCreateRequest{Key: r.raw("a"), WatchId: id, StartRevision: at})
	}
	r.rawAnswers("a chosen id", []*pb.WatchRequest{key(5)}, 2)
	r.rawAnswers("an id twice", []*pb.WatchRequest{key(5), key(5)}, 3)
	r.rawAnswers("no such watch to cancel", []*pb.WatchRequest{key(0), cancelWatch(77)}, 2)
	r.rawAnswers("an empty range", []*pb.WatchRequest{create(&pb.WatchCreateRequest{
		Key: r.raw("b"), RangeEnd: r.raw("a"), StartRevision: at,
	})}, 1)
	r.rawAnswers("created and cancelled", []*pb.WatchRequest{
		create(&pb.WatchCreateRequest{Key: r.raw("quiet")}), cancelWatch(0),
	}, 2)
	ask := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
	// More than once: etcd says nothing while a watch of the stream is behind.
	r.rawAnswers("progress", []*pb.WatchRequest{create(&pb.WatchCreateRequest{Key: r.raw("quiet")}), ask, ask, ask}, 2)
	r.rawAnswers("a message without content", []*pb.WatchRequest{{}, key(0)}, 2)
	large := bytes.Repeat([]byte("k"), 2000)
	r.rawAnswers("a long key", []*pb.WatchRequest{create(&pb.WatchCreateRequest{Key: append(r.raw(""), large...)})}, 1)
}

func manyWatches(r *run) {
	const count = 200
	all := make([]clientv3.WatchChan, count)
	for i := range all {
		watch, cancel := r.watch(fmt.Sprintf("many/%03d", i))
		defer cancel()
		all[i] = watch
	}
	for i := range all {
		if _, err := r.c.Put(r.ctx, fmt.Sprintf("many/%03d", i), fmt.Sprint(i)); err != nil {
			r.did("put", nil, err)
			return
		}
	}
	right := 0
	for i, watch := range all {
		select {
		case answer := <-watch:
			key := fmt.Sprintf("many/%03d", i)
			if len(answer.Events) == 1 && string(answer.Events[0].Kv.Key) == key && string(answer.Events[0].Kv.Value) == fmt.Sprint(i) {
				right++
			}
		case <-time.After(arrival):
		}
	}
	r.did("each was told its own", fields{"right": right}, nil)
}
