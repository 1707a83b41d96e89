package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/status"
)

// run is one scenario under way: what it uses and what it has seen.
type run struct {
	ctx        context.Context
	c          *clientv3.Client
	connection connection
	// prefix is of keys that are sent past the namespaced client.
	prefix   string
	scenario string

	mutex  sync.Mutex
	steps  []step
	leases map[int64]string
}

type step struct {
	Scenario string   `json:"scenario"`
	Step     string   `json:"step"`
	Result   any      `json:"result,omitempty"`
	Error    *failure `json:"error,omitempty"`
}

type failure struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

type fields map[string]any

// revision is printed as its rank among all revisions of the scenario: others write between them.
type revision int64

// Ids from here on are numbered in the order in which they are seen; smaller ones were chosen by a scenario.
const chosenLeases = 1 << 20

func (r *run) lease(id clientv3.LeaseID) string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if id >= 0 && id < chosenLeases {
		return fmt.Sprint(int64(id))
	}
	if r.leases == nil {
		r.leases = map[int64]string{}
	}
	if _, known := r.leases[int64(id)]; !known {
		r.leases[int64(id)] = fmt.Sprintf("lease %d", len(r.leases)+1)
	}
	return r.leases[int64(id)]
}

var hexLease = regexp.MustCompile(`[0-9a-f]{7,16}`)

// text has lease ids replaced that the recipes write into keys.
func (r *run) text(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%d bytes of %q", len(s), s[:1])
	}
	return hexLease.ReplaceAllStringFunc(s, func(hex string) string {
		var id int64
		if _, err := fmt.Sscanf(hex, "%x", &id); err != nil {
			return hex
		}
		r.mutex.Lock()
		name, known := r.leases[id]
		r.mutex.Unlock()
		if !known {
			return hex
		}
		return "<" + name + ">"
	})
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		return &failure{known.Code().String(), err.Error()}
	}
	if s, is := status.FromError(err); is {
		return &failure{s.Code().String(), s.Message()}
	}
	return &failure{"client", err.Error()}
}

func (r *run) did(name string, result any, err error) {
	s := step{Scenario: r.scenario, Step: name, Error: failureOf(err)}
	if err == nil {
		s.Result = result
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.steps = append(r.steps, s)
}

// print puts ranks in the place of revisions and writes all steps.
func (r *run) print(out *json.Encoder) error {
	var seen []int64
	for _, s := range r.steps {
		walk(s.Result, func(rev revision) { seen = append(seen, int64(rev)) })
	}
	sort.Slice(seen, func(i, j int) bool { return seen[i] < seen[j] })
	ranks := map[revision]int{0: 0}
	for _, rev := range seen {
		if _, known := ranks[revision(rev)]; !known {
			ranks[revision(rev)] = len(ranks)
		}
	}
	for _, s := range r.steps {
		s.Result = ranked(s.Result, ranks)
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

func walk(v any, with func(revision)) {
	switch v := v.(type) {
	case revision:
		with(v)
	case fields:
		for _, each := range v {
			walk(each, with)
		}
	case []any:
		for _, each := range v {
			walk(each, with)
		}
	}
}

func ranked(v any, ranks map[revision]int) any {
	switch v := v.(type) {
	case revision:
		return fmt.Sprintf("r%d", ranks[v])
	case fields:
		for name, each := range v {
			v[name] = ranked(each, ranks)
		}
	case []any:
		for i, each := range v {
			v[i] = ranked(each, ranks)
		}
	}
	return v
}

func (r *run) kv(kv *mvccpb.KeyValue) any {
	if kv == nil {
		return nil
	}
	return fields{
		"key": r.text(strings.TrimPrefix(string(kv.Key), r.rawPrefix(kv.Key))), "value": r.text(string(kv.Value)),
		"create": revision(kv.CreateRevision), "mod": revision(kv.ModRevision),
		"version": kv.Version, "lease": r.lease(clientv3.LeaseID(kv.Lease)),
	}
}

// rawPrefix is the namespace where a key came past the namespaced client.
func (r *run) rawPrefix(key []byte) string {
	if r.prefix != "" && strings.HasPrefix(string(key), r.prefix) {
		return r.prefix
	}
	return ""
}

func (r *run) kvs(kvs []*mvccpb.KeyValue) []any {
	out := []any{}
	for _, kv := range kvs {
		out = append(out, r.kv(kv))
	}
	return out
}

func (r *run) put(name, key, value string, options ...clientv3.OpOption) *clientv3.PutResponse {
	answer, err := r.c.Put(r.ctx, key, value, options...)
	r.did(name, r.putFields((*pb.PutResponse)(answer), true), err)
	return answer
}

func (r *run) putFields(a *pb.PutResponse, header bool) any {
	if a == nil {
		return nil
	}
	out := fields{"prev": r.kv(a.PrevKv)}
	if header {
		out["at"] = revision(a.Header.Revision)
	}
	return out
}

func (r *run) get(name, key string, options ...clientv3.OpOption) *clientv3.GetResponse {
	answer, err := r.c.Get(r.ctx, key, options...)
	r.did(name, r.rangeFields((*pb.RangeResponse)(answer)), err)
	return answer
}

func (r *run) rangeFields(a *pb.RangeResponse) any {
	if a == nil {
		return nil
	}
	return fields{"kvs": r.kvs(a.Kvs), "count": a.Count, "more": a.More}
}

func (r *run) delete(name, key string, options ...clientv3.OpOption) {
	answer, err := r.c.Delete(r.ctx, key, options...)
	r.did(name, r.deleteFields((*pb.DeleteRangeResponse)(answer)), err)
}

func (r *run) deleteFields(a *pb.DeleteRangeResponse) any {
	if a == nil {
		return nil
	}
	return fields{"deleted": a.Deleted, "prev": r.kvs(a.PrevKvs)}
}

func (r *run) txn(name string, compares []clientv3.Cmp, then, otherwise []clientv3.Op) {
	answer, err := r.c.Txn(r.ctx).If(compares...).Then(then...).Else(otherwise...).Commit()
	r.did(name, r.txnFields((*pb.TxnResponse)(answer)), err)
}

func (r *run) txnFields(a *pb.TxnResponse) any {
	if a == nil {
		return nil
	}
	responses := []any{}
	for _, one := range a.Responses {
		switch one := one.Response.(type) {
		case *pb.ResponseOp_ResponseRange:
			responses = append(responses, fields{"range": r.rangeFields(one.ResponseRange)})
		case *pb.ResponseOp_ResponsePut:
			responses = append(responses, fields{"put": r.putFields(one.ResponsePut, false)})
		case *pb.ResponseOp_ResponseDeleteRange:
			responses = append(responses, fields{"delete": r.deleteFields(one.ResponseDeleteRange)})
		case *pb.ResponseOp_ResponseTxn:
			responses = append(responses, fields{"txn": r.txnFields(one.ResponseTxn)})
		}
	}
	return fields{"succeeded": a.Succeeded, "responses": responses}
}
