package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"google.golang.org/grpc"
)

// maxLease is the highest lease id that a client can hold: the filter keeps the bits above for itself.
const maxLease = 1 << 48

// etcdSide is one client of etcd on recorded calls: with the namespace it speaks as the filter must towards etcd, without as a tenant does.
type etcdSide struct {
	kv      clientv3.KV
	watcher clientv3.Watcher
	lease   clientv3.Lease
	calls   *etcdCalls
}

// etcdCalls takes the place of a connection to etcd: it keeps the last request and gives the answer that it was given.
type etcdCalls struct {
	request any
	answer  any
}

func newSide(wrap func(*etcdSide)) *etcdSide {
	calls := &etcdCalls{}
	client := clientv3.NewCtxClient(context.Background())
	side := &etcdSide{
		kv:      clientv3.NewKVFromKVClient(kvCalls{calls}, nil),
		watcher: clientv3.NewWatchFromWatchClient(watchCalls{calls}, client),
		lease:   clientv3.NewLeaseFromLeaseClient(leaseCalls{LeaseClient: nil, calls: calls}, client, 0),
		calls:   calls,
	}
	wrap(side)
	return side
}

func call[Request, Answer any](c *etcdCalls, request Request) (Answer, error) {
	c.request = request
	return c.answer.(Answer), nil
}

type kvCalls struct{ *etcdCalls }

func (c kvCalls) Range(_ context.Context, in *pb.RangeRequest, _ ...grpc.CallOption) (*pb.RangeResponse, error) {
	return call[*pb.RangeRequest, *pb.RangeResponse](c.etcdCalls, in)
}

func (c kvCalls) Put(_ context.Context, in *pb.PutRequest, _ ...grpc.CallOption) (*pb.PutResponse, error) {
	return call[*pb.PutRequest, *pb.PutResponse](c.etcdCalls, in)
}

func (c kvCalls) DeleteRange(_ context.Context, in *pb.DeleteRangeRequest, _ ...grpc.CallOption) (*pb.DeleteRangeResponse, error) {
	return call[*pb.DeleteRangeRequest, *pb.DeleteRangeResponse](c.etcdCalls, in)
}

func (c kvCalls) Txn(_ context.Context, in *pb.TxnRequest, _ ...grpc.CallOption) (*pb.TxnResponse, error) {
	return call[*pb.TxnRequest, *pb.TxnResponse](c.etcdCalls, in)
}

func (c kvCalls) Compact(_ context.Context, in *pb.CompactionRequest, _ ...grpc.CallOption) (*pb.CompactionResponse, error) {
	return call[*pb.CompactionRequest, *pb.CompactionResponse](c.etcdCalls, in)
}

type leaseCalls struct {
	pb.LeaseClient
	calls *etcdCalls
}

func (c leaseCalls) LeaseTimeToLive(_ context.Context, in *pb.LeaseTimeToLiveRequest, _ ...grpc.CallOption) (*pb.LeaseTimeToLiveResponse, error) {
	return call[*pb.LeaseTimeToLiveRequest, *pb.LeaseTimeToLiveResponse](c.calls, in)
}

// watchCalls opens a stream that says "created" to the first request, then gives the answer.
type watchCalls struct{ *etcdCalls }

func (c watchCalls) Watch(ctx context.Context, _ ...grpc.CallOption) (pb.Watch_WatchClient, error) {
	return &watchStream{ctx: ctx, calls: c.etcdCalls, answers: make(chan *pb.WatchResponse, 2)}, nil
}

type watchStream struct {
	grpc.ClientStream
	ctx     context.Context
	calls   *etcdCalls
	answers chan *pb.WatchResponse
}

func (s *watchStream) Send(request *pb.WatchRequest) error {
	if request.GetCreateRequest() == nil {
		// Cancellation, on the way out.
		return nil
	}
	s.calls.request = request
	s.answers <- &pb.WatchResponse{Header: &pb.ResponseHeader{}, WatchId: s.calls.answer.(*pb.WatchResponse).WatchId, Created: true}
	s.answers <- s.calls.answer.(*pb.WatchResponse)
	return nil
}

func (s *watchStream) Recv() (*pb.WatchResponse, error) {
	select {
	case answer := <-s.answers:
		return answer, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *watchStream) CloseSend() error { return nil }

// etcdCase is one call, made on both sides.
type etcdCase struct {
	method   string
	request  string
	response string
	call     func(*etcdSide) error
	// answer makes etcd's answer, with the keys that the given function gives.
	answer func(*etcdMaker) any
}

type etcdMaker struct {
	random *rand.Rand
	prefix string
	tenant uint32
	// Some keys have leases.
	leases bool
}

func namespaceCases(opts options, out *emitter) error {
	for _, name := range []string{"Range", "Put", "DeleteRange", "Txn", "Watch", "LeaseTimeToLive"} {
		if opts.only != "" && opts.only != name {
			continue
		}
		for i := range opts.count {
			if err := namespaceCase(name, i, opts, out); err != nil {
				return fmt.Errorf("%s, case %d: %w", name, i, err)
			}
		}
	}
	return nil
}

func namespaceCase(name string, i int, opts options, out *emitter) error {
	random := randomFor(opts.seed, name, "etcd", i)
	maker := &etcdMaker{random: random, prefix: opts.prefix, tenant: opts.tenant, leases: chance(random, 30)}
	made := maker.call(name)

	client := newSide(func(*etcdSide) {})
	store := newSide(func(side *etcdSide) {
		side.kv = namespace.NewKV(side.kv, opts.prefix)
		side.watcher = namespace.NewWatcher(side.watcher, opts.prefix)
		side.lease = namespace.NewLease(side.lease, opts.prefix)
	})
	defer client.watcher.Close()
	defer store.watcher.Close()

	// The answer is etcd's; what the namespace leaves of it is the client's.
	answer := made.answer(maker)
	stored := mustMarshal(answer)
	client.calls.answer, store.calls.answer = made.answer(&etcdMaker{random: randomFor(opts.seed, name, "unread", i), prefix: opts.prefix}), answer
	if err := made.call(client); err != nil {
		return err
	}
	if err := made.call(store); err != nil {
		return err
	}

	request := record{Command: name, Case: i, Path: made.method, Message: made.request, Way: "request", In: mustMarshal(client.calls.request)}
	upstream := mustMarshal(store.calls.request)
	var ids notes
	mapLeases(store.calls.request, maker.storedLease, &ids)
	if watch, ok := store.calls.request.(*pb.WatchRequest); ok {
		sent := client.calls.request.(*pb.WatchRequest).GetCreateRequest().Key
		if create := watch.GetCreateRequest(); string(create.Key) != opts.prefix+string(sent) {
			ids.add(etcdWatch)
			create.Key = append([]byte(opts.prefix), sent...)
		}
	}
	request.Out = mustMarshal(store.calls.request)
	request.differ(ids, upstream, "")
	if chance(random, shuffledPercent) {
		request.In = shuffled(random, request.In)
	}
	out.emit(request)

	response := record{Command: name, Case: i, Path: made.method, Message: made.response, Way: "response", In: stored}
	upstream = mustMarshal(answer)
	ids = nil
	mapLeases(answer, maker.clientLease, &ids)
	response.Out = mustMarshal(answer)
	response.differ(ids, upstream, "")
	if chance(random, shuffledPercent) {
		response.In = shuffled(random, response.In)
	}
	out.emit(response)
	return nil
}

func (m *etcdMaker) storedLease(id int64) int64 {
	if id == 0 {
		return 0
	}
	return int64(1<<63 | uint64(m.tenant)<<48 | uint64(id))
}

// clientLease is 0 for a lease that is not the tenant's.
func (m *etcdMaker) clientLease(id int64) int64 {
	if uint64(id)>>48 != 1<<15|uint64(m.tenant) {
		return 0
	}
	return id & (maxLease - 1)
}

// call makes a random call and the answer to it.
func (m *etcdMaker) call(name string) etcdCase {
	ctx := context.Background()
	made := etcdCase{method: "/etcdserverpb.KV/" + name, request: "etcdserverpb." + name + "Request", response: "etcdserverpb." + name + "Response"}
	switch name {
	case "Range":
		op := m.get()
		made.call = func(s *etcdSide) error { _, err := s.kv.Do(ctx, op); return err }
		made.answer = func(m *etcdMaker) any { return m.rangeAnswer() }
	case "Put":
		op := m.put()
		made.call = func(s *etcdSide) error { _, err := s.kv.Do(ctx, op); return err }
		made.answer = func(m *etcdMaker) any { return m.putAnswer() }
	case "DeleteRange":
		op := m.delete()
		made.call = func(s *etcdSide) error { _, err := s.kv.Do(ctx, op); return err }
		made.answer = func(m *etcdMaker) any { return m.deleteAnswer() }
	case "Txn":
		compares, then, otherwise := m.compares(), m.ops(2), m.ops(2)
		if chance(m.random, 50) {
			op := clientv3.OpTxn(compares, then, otherwise)
			made.call = func(s *etcdSide) error { _, err := s.kv.Do(ctx, op); return err }
		} else {
			made.call = func(s *etcdSide) error {
				_, err := s.kv.Txn(ctx).If(compares...).Then(then...).Else(otherwise...).Commit()
				return err
			}
		}
		made.answer = func(m *etcdMaker) any { return m.txnAnswer(2) }
	case "Watch":
		made.method = "/etcdserverpb.Watch/Watch"
		key, options := m.key(), append(m.rangeOptions(), m.watchOptions()...)
		if chance(m.random, 20) {
			key = ""
		}
		made.call = func(s *etcdSide) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			if _, open := <-s.watcher.Watch(ctx, key, options...); !open {
				return fmt.Errorf("the watch ended")
			}
			return nil
		}
		made.answer = func(m *etcdMaker) any { return m.watchAnswer() }
	case "LeaseTimeToLive":
		made.method = "/etcdserverpb.Lease/LeaseTimeToLive"
		id := clientv3.LeaseID(m.random.Int64N(maxLease))
		var options []clientv3.LeaseOption
		if chance(m.random, 50) {
			options = append(options, clientv3.WithAttachedKeys())
		}
		made.call = func(s *etcdSide) error {
			// The client library makes its own answer; the namespace takes the keys out of that one.
			answer, err := s.lease.TimeToLive(ctx, id, options...)
			if err == nil {
				s.calls.answer.(*pb.LeaseTimeToLiveResponse).Keys = answer.Keys
			}
			return err
		}
		made.answer = func(m *etcdMaker) any { return m.leaseAnswer() }
	}
	return made
}

// mapLeases changes every lease id of a message.
func mapLeases(message any, mapped func(int64) int64, ids *notes) {
	change := func(id *int64) {
		if after := mapped(*id); after != *id {
			ids.add(etcdLease)
			*id = after
		}
	}
	keyValue := func(pair *mvccpb.KeyValue) {
		if pair != nil {
			change(&pair.Lease)
		}
	}
	switch message := message.(type) {
	case *pb.PutRequest:
		change(&message.Lease)
	case *pb.LeaseTimeToLiveRequest:
		change(&message.ID)
	case *pb.LeaseTimeToLiveResponse:
		change(&message.ID)
	case *pb.RangeResponse:
		for _, pair := range message.Kvs {
			keyValue(pair)
		}
	case *pb.PutResponse:
		keyValue(message.PrevKv)
	case *pb.DeleteRangeResponse:
		for _, pair := range message.PrevKvs {
			keyValue(pair)
		}
	case *pb.WatchResponse:
		for _, event := range message.Events {
			keyValue(event.Kv)
			keyValue(event.PrevKv)
		}
	case *pb.TxnRequest:
		for _, compare := range message.Compare {
			if union, ok := compare.TargetUnion.(*pb.Compare_Lease); ok {
				change(&union.Lease)
			}
		}
		for _, op := range append(append([]*pb.RequestOp{}, message.Success...), message.Failure...) {
			switch {
			case op.GetRequestPut() != nil:
				mapLeases(op.GetRequestPut(), mapped, ids)
			case op.GetRequestTxn() != nil:
				mapLeases(op.GetRequestTxn(), mapped, ids)
			}
		}
	case *pb.TxnResponse:
		for _, op := range message.Responses {
			switch {
			case op.GetResponseRange() != nil:
				mapLeases(op.GetResponseRange(), mapped, ids)
			case op.GetResponsePut() != nil:
				mapLeases(op.GetResponsePut(), mapped, ids)
			case op.GetResponseDeleteRange() != nil:
				mapLeases(op.GetResponseDeleteRange(), mapped, ids)
			case op.GetResponseTxn() != nil:
				mapLeases(op.GetResponseTxn(), mapped, ids)
			}
		}
	}
}
