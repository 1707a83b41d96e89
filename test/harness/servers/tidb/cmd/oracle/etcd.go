package main

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// key is a client's key in etcd, never empty.
func (m *etcdMaker) key() string {
	known := []string{"/tidb/ddl/fg/owner", "/tidb/server/info/x", "tidb/autoid/leader", "/", ":", "\x00", "\xff", "/tidb-mesh/beta:", m.prefix}
	if chance(m.random, 40) {
		return known[m.random.IntN(len(known))]
	}
	return string(randomBytes(m.random, 1+m.random.IntN(20)))
}

// rangeOptions say where a range ends: nowhere, everywhere, at the prefix's end, or at any key.
func (m *etcdMaker) rangeOptions() []clientv3.OpOption {
	switch m.random.IntN(6) {
	case 0:
		return []clientv3.OpOption{clientv3.WithFromKey()}
	case 1:
		return []clientv3.OpOption{clientv3.WithPrefix()}
	case 2:
		return []clientv3.OpOption{clientv3.WithRange(m.key())}
	case 3:
		return []clientv3.OpOption{clientv3.WithRange("\x00")}
	default:
		return nil
	}
}

// keyRange is a key and where its range ends. The empty key stands for the first one, where the client library allows it.
func (m *etcdMaker) keyRange() (string, []clientv3.OpOption) {
	options := m.rangeOptions()
	if (clientv3.IsOptsWithFromKey(options) || clientv3.IsOptsWithPrefix(options)) && chance(m.random, 20) {
		return "", options
	}
	return m.key(), options
}

func (m *etcdMaker) get() clientv3.Op {
	key, options := m.keyRange()
	for _, option := range []clientv3.OpOption{
		clientv3.WithLimit(m.random.Int64N(1000)), clientv3.WithRev(m.random.Int64()), clientv3.WithKeysOnly(), clientv3.WithCountOnly(),
		clientv3.WithSerializable(), clientv3.WithMinModRev(m.random.Int64()), clientv3.WithMaxCreateRev(m.random.Int64N(100)),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend),
	} {
		if chance(m.random, 25) {
			options = append(options, option)
		}
	}
	return clientv3.OpGet(key, options...)
}

func (m *etcdMaker) lease() clientv3.LeaseID {
	if !m.leases {
		return 0
	}
	return clientv3.LeaseID(m.random.Int64N(maxLease))
}

func (m *etcdMaker) put() clientv3.Op {
	options := []clientv3.OpOption{clientv3.WithLease(m.lease())}
	for _, option := range []clientv3.OpOption{clientv3.WithPrevKV(), clientv3.WithIgnoreLease()} {
		if chance(m.random, 25) {
			options = append(options, option)
		}
	}
	return clientv3.OpPut(m.key(), string(randomBytes(m.random, m.random.IntN(30))), options...)
}

func (m *etcdMaker) delete() clientv3.Op {
	key, options := m.keyRange()
	if chance(m.random, 30) {
		options = append(options, clientv3.WithPrevKV())
	}
	return clientv3.OpDelete(key, options...)
}

func (m *etcdMaker) compares() []clientv3.Cmp {
	var compares []clientv3.Cmp
	for range m.random.IntN(4) {
		var compare clientv3.Cmp
		result := []string{"=", "!=", ">", "<"}[m.random.IntN(4)]
		switch m.random.IntN(4) {
		case 0:
			compare = clientv3.Compare(clientv3.CreateRevision(m.key()), result, m.random.IntN(1000))
		case 1:
			compare = clientv3.Compare(clientv3.Value(m.key()), result, m.key())
		case 2:
			compare = clientv3.Compare(clientv3.LeaseValue(m.key()), result, m.lease())
		default:
			compare = clientv3.Compare(clientv3.ModRevision(m.key()), result, m.random.IntN(9))
		}
		switch m.random.IntN(4) {
		case 0:
			compare = compare.WithPrefix()
		case 1:
			compare = compare.WithRange("\x00")
		case 2:
			compare = compare.WithRange(m.key())
		}
		compares = append(compares, compare)
	}
	return compares
}

func (m *etcdMaker) ops(depth int) []clientv3.Op {
	var ops []clientv3.Op
	for range m.random.IntN(4) {
		switch kind := m.random.IntN(4); {
		case kind == 0:
			ops = append(ops, m.get())
		case kind == 1:
			ops = append(ops, m.put())
		case kind == 2:
			ops = append(ops, m.delete())
		case depth > 0:
			ops = append(ops, clientv3.OpTxn(m.compares(), m.ops(depth-1), m.ops(depth-1)))
		}
	}
	return ops
}

func (m *etcdMaker) watchOptions() []clientv3.OpOption {
	var options []clientv3.OpOption
	for _, option := range []clientv3.OpOption{
		clientv3.WithRev(m.random.Int64()), clientv3.WithProgressNotify(), clientv3.WithFilterPut(), clientv3.WithFilterDelete(),
		clientv3.WithPrevKV(), clientv3.WithFragment(),
	} {
		if chance(m.random, 25) {
			options = append(options, option)
		}
	}
	return options
}

func (m *etcdMaker) header() *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: m.random.Uint64(), MemberId: m.random.Uint64(), Revision: m.random.Int64(), RaftTerm: 5}
}

// pair is a key of the tenant's as etcd stores it.
func (m *etcdMaker) pair() *mvccpb.KeyValue {
	key := m.key()
	if chance(m.random, 5) {
		key = ""
	}
	pair := &mvccpb.KeyValue{
		Key: []byte(m.prefix + key), Value: randomBytes(m.random, m.random.IntN(30)),
		CreateRevision: m.random.Int64(), ModRevision: m.random.Int64(), Version: m.random.Int64N(99),
	}
	if m.leases {
		switch m.random.IntN(3) {
		case 0:
			pair.Lease = m.storedLease(int64(m.lease()))
		case 1:
			// Another tenant's, or etcd's own.
			pair.Lease = m.random.Int64()
		}
	}
	return pair
}

func (m *etcdMaker) pairs() []*mvccpb.KeyValue {
	var pairs []*mvccpb.KeyValue
	for range m.random.IntN(5) {
		pairs = append(pairs, m.pair())
	}
	return pairs
}

func (m *etcdMaker) rangeAnswer() *pb.RangeResponse {
	return &pb.RangeResponse{Header: m.header(), Kvs: m.pairs(), More: chance(m.random, 50), Count: m.random.Int64N(1000)}
}

func (m *etcdMaker) putAnswer() *pb.PutResponse {
	answer := &pb.PutResponse{Header: m.header()}
	if chance(m.random, 50) {
		answer.PrevKv = m.pair()
	}
	return answer
}

func (m *etcdMaker) deleteAnswer() *pb.DeleteRangeResponse {
	return &pb.DeleteRangeResponse{Header: m.header(), Deleted: m.random.Int64N(9), PrevKvs: m.pairs()}
}

func (m *etcdMaker) txnAnswer(depth int) *pb.TxnResponse {
	answer := &pb.TxnResponse{Header: m.header(), Succeeded: chance(m.random, 50)}
	for range m.random.IntN(4) {
		op := &pb.ResponseOp{}
		switch kind := m.random.IntN(4); {
		case kind == 0:
			op.Response = &pb.ResponseOp_ResponsePut{ResponsePut: m.putAnswer()}
		case kind == 1:
			op.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: m.deleteAnswer()}
		case kind == 2 && depth > 0:
			op.Response = &pb.ResponseOp_ResponseTxn{ResponseTxn: m.txnAnswer(depth - 1)}
		default:
			op.Response = &pb.ResponseOp_ResponseRange{ResponseRange: m.rangeAnswer()}
		}
		answer.Responses = append(answer.Responses, op)
	}
	return answer
}

func (m *etcdMaker) watchAnswer() *pb.WatchResponse {
	answer := &pb.WatchResponse{Header: m.header(), WatchId: m.random.Int64N(1000)}
	for range 1 + m.random.IntN(4) {
		event := &mvccpb.Event{Type: mvccpb.Event_EventType(m.random.IntN(2)), Kv: m.pair()}
		if chance(m.random, 30) {
			// The previous version is of the same key.
			event.PrevKv = m.pair()
			event.PrevKv.Key = append([]byte{}, event.Kv.Key...)
		}
		answer.Events = append(answer.Events, event)
	}
	return answer
}

func (m *etcdMaker) leaseAnswer() *pb.LeaseTimeToLiveResponse {
	answer := &pb.LeaseTimeToLiveResponse{
		Header: m.header(), ID: m.storedLease(m.random.Int64N(maxLease)), TTL: m.random.Int64N(100), GrantedTTL: m.random.Int64N(100),
	}
	for range m.random.IntN(4) {
		answer.Keys = append(answer.Keys, m.pair().Key)
	}
	return answer
}
