package main

import (
	"context"
	"fmt"
	"sort"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func (r *run) grant(name string, seconds int64) clientv3.LeaseID {
	answer, err := r.c.Grant(r.ctx, seconds)
	if err != nil {
		r.did(name, nil, err)
		return 0
	}
	r.did(name, fields{"lease": r.lease(answer.ID), "ttl": answer.TTL, "error": answer.Error}, nil)
	return answer.ID
}

// rawGrant asks for an id, which the client's own Grant cannot.
func (r *run) rawGrant(name string, id, seconds int64) {
	answer, err := pb.NewLeaseClient(r.c.ActiveConnection()).LeaseGrant(r.ctx, &pb.LeaseGrantRequest{ID: id, TTL: seconds})
	if err != nil {
		r.did(name, nil, err)
		return
	}
	r.did(name, fields{"lease": r.lease(clientv3.LeaseID(answer.ID)), "ttl": answer.TTL, "error": answer.Error}, nil)
}

func (r *run) revoke(name string, id clientv3.LeaseID) {
	_, err := r.c.Revoke(r.ctx, id)
	r.did(name, "revoked", err)
}

func (r *run) timeToLive(name string, id clientv3.LeaseID, options ...clientv3.LeaseOption) {
	answer, err := r.c.TimeToLive(r.ctx, id, options...)
	if err != nil {
		r.did(name, nil, err)
		return
	}
	keys := []string{}
	for _, key := range answer.Keys {
		keys = append(keys, r.text(string(key)))
	}
	sort.Strings(keys)
	left := answer.TTL
	if left > 0 && left <= answer.GrantedTTL {
		left = 1
	}
	r.did(name, fields{"lease": r.lease(answer.ID), "granted": answer.GrantedTTL, "sign of what is left": left, "keys": keys}, nil)
}

func (r *run) keepAliveOnce(name string, id clientv3.LeaseID) {
	answer, err := r.c.KeepAliveOnce(r.ctx, id)
	if err != nil {
		r.did(name, nil, err)
		return
	}
	r.did(name, fields{"lease": r.lease(answer.ID), "ttl": answer.TTL}, nil)
}

func leases(r *run) {
	first := r.grant("grant", 600)
	second := r.grant("grant another", 700)
	r.did("they differ", first != second, nil)
	r.put("put", "a", "1", clientv3.WithLease(first))
	r.put("put another", "b", "1", clientv3.WithLease(first))
	r.txn("put in a transaction", compares{clientv3.Compare(clientv3.LeaseValue("a"), "=", first)},
		ops{clientv3.OpPut("c", "1", clientv3.WithLease(first)), clientv3.OpPut("d", "1", clientv3.WithLease(second))}, nil)
	r.put("ignore_lease", "a", "2", clientv3.WithIgnoreLease(), clientv3.WithPrevKV())
	r.get("all", "", clientv3.WithPrefix())
	r.timeToLive("time to live", first)
	r.timeToLive("time to live with keys", first, clientv3.WithAttachedKeys())
	r.timeToLive("of no lease", 987654)
	r.keepAliveOnce("keep alive once", first)
	r.keepAliveOnce("keep alive of no lease", 987654)
	ctx, cancel := context.WithCancel(r.ctx)
	for _, id := range []clientv3.LeaseID{first, second} {
		answers, err := r.c.KeepAlive(ctx, id)
		if err != nil {
			r.did("keep alive", nil, err)
			continue
		}
		select {
		case answer := <-answers:
			r.did("keep alive", fields{"lease": r.lease(answer.ID), "ttl": answer.TTL}, nil)
		case <-time.After(arrival):
			r.did("keep alive", nil, fmt.Errorf("no answer"))
		}
	}
	cancel()
	r.put("to another lease", "b", "2", clientv3.WithLease(second))
	r.put("to no lease", "a", "3")
	r.timeToLive("what the first has left", first, clientv3.WithAttachedKeys())
	r.timeToLive("what the second has", second, clientv3.WithAttachedKeys())
	watch, stop := r.watch("", clientv3.WithPrefix(), clientv3.WithPrevKV())
	defer stop()
	r.revoke("revoke", first)
	r.revoke("revoke again", first)
	r.events("watch", watch, 1)
	r.get("left", "", clientv3.WithPrefix())
	r.revoke("revoke the second", second)
	r.grant("a lease of no time", 0)
	r.grant("a lease of negative time", -1)
	r.grant("a lease of a day", 86_400)
	r.grant("a lease of ten years", 315_360_000)
	r.grant("a lease of too much time", 9_000_000_001)
}

func chosenLeaseIds(r *run) {
	r.rawGrant("grant", 777, 600)
	r.rawGrant("grant again", 777, 600)
	r.put("put", "a", "1", clientv3.WithLease(777))
	r.get("get", "a")
	r.timeToLive("time to live", 777, clientv3.WithAttachedKeys())
	r.keepAliveOnce("keep alive", 777)
	r.revoke("revoke", 777)
	r.get("gone", "a")
	r.rawGrant("the largest of 48 bits", 1<<48-1, 600)
	r.revoke("revoke it", 1<<48-1)
	r.rawGrant("more than 48 bits", 1<<48, 600)
	r.revoke("revoke that", 1<<48)
	r.rawGrant("a negative id", -5, 600)
	r.revoke("revoke the negative one", -5)
}

func expiry(r *run) {
	id := r.grant("grant", 2)
	kept := r.grant("grant one to keep", 3)
	r.put("put", "a", "1", clientv3.WithLease(id))
	r.put("put b", "b", "1", clientv3.WithLease(id))
	r.put("put kept", "kept", "1", clientv3.WithLease(kept))
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	answers, err := r.c.KeepAlive(ctx, kept)
	if err != nil {
		r.did("keep alive", nil, err)
		return
	}
	go func() {
		for range answers {
		}
	}()
	watch, stop := r.watch("", clientv3.WithPrefix(), clientv3.WithPrevKV())
	defer stop()
	seen := map[string]string{}
	for len(seen) < 2 {
		select {
		case answer := <-watch:
			for _, e := range answer.Events {
				seen[string(e.Kv.Key)] = fmt.Sprintf("%s, was %s under %s", e.Type, e.PrevKv.Value, r.lease(clientv3.LeaseID(e.PrevKv.Lease)))
			}
		case <-time.After(4 * arrival):
			r.did("expired", nil, fmt.Errorf("nothing expired"))
			return
		}
	}
	r.did("expired", fields{"a": seen["a"], "b": seen["b"]}, nil)
	time.Sleep(4 * time.Second)
	r.get("left", "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	r.timeToLive("of what expired", id, clientv3.WithAttachedKeys())
	r.keepAliveOnce("keep alive of what expired", id)
	r.revoke("revoke the other", kept)
}
