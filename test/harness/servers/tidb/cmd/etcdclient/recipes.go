package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// session gives nil after it has told why.
func (r *run) session(name string, seconds int) *concurrency.Session {
	session, err := concurrency.NewSession(r.c, concurrency.WithTTL(seconds), concurrency.WithContext(r.ctx))
	if err != nil {
		r.did(name, nil, err)
		return nil
	}
	r.did(name, r.lease(session.Lease()), nil)
	return session
}

func sessions(r *run) {
	one := r.session("session", 3)
	if one == nil {
		return
	}
	r.put("put", "mine", "1", clientv3.WithLease(one.Lease()))
	time.Sleep(5 * time.Second)
	r.get("kept alive", "mine")
	r.did("close", "closed", one.Close())
	select {
	case <-one.Done():
		r.did("done", true, nil)
	case <-time.After(arrival):
		r.did("done", false, nil)
	}
	r.get("gone", "mine")
	left := r.session("a session that is left", 2)
	if left == nil {
		return
	}
	r.put("put under it", "mine", "2", clientv3.WithLease(left.Lease()))
	watch, cancel := r.watch("mine")
	defer cancel()
	left.Orphan()
	r.events("expires", watch, 1)
}

func mutexes(r *run) {
	one, two := r.session("session", 30), r.session("another session", 30)
	if one == nil || two == nil {
		return
	}
	defer one.Close()
	defer two.Close()
	first, second := concurrency.NewMutex(one, "lock"), concurrency.NewMutex(two, "lock")
	r.did("lock", "locked", first.Lock(r.ctx))
	r.did("its key", r.text(first.Key()), nil)
	r.did("try the other", "locked", second.TryLock(r.ctx))
	got := make(chan error, 1)
	go func() { got <- second.Lock(r.ctx) }()
	select {
	case err := <-got:
		r.did("the other waits", false, err)
		return
	case <-time.After(silence):
		r.did("the other waits", true, nil)
	}
	waiting, err := r.c.Get(r.ctx, "lock/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err == nil {
		r.did("both are in the queue", waiting.Count, nil)
	}
	r.txn("guarded by the lock", compares{first.IsOwner()}, ops{clientv3.OpPut("guarded", "1")}, nil)
	r.did("unlock", "unlocked", first.Unlock(r.ctx))
	select {
	case err := <-got:
		r.did("the other has it", true, err)
	case <-time.After(arrival):
		r.did("the other has it", false, nil)
	}
	r.txn("guarded by the lock that is gone", compares{first.IsOwner()}, ops{clientv3.OpPut("guarded", "2")}, nil)
	ctx, cancel := context.WithTimeout(r.ctx, silence)
	r.did("lock in too little time", "locked", first.Lock(ctx))
	cancel()
	r.did("closing its session frees it", "closed", two.Close())
	r.did("lock again", "locked", first.Lock(r.ctx))
	r.did("unlock again", "unlocked", first.Unlock(r.ctx))

	// Many at once: each adds one to what is not guarded otherwise.
	var all sync.WaitGroup
	failures := make(chan error, 8)
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			failures <- r.increment()
		}()
	}
	all.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			r.did("increment", nil, err)
		}
	}
	sum, err := r.c.Get(r.ctx, "sum")
	if err != nil || len(sum.Kvs) != 1 {
		r.did("sum", nil, fmt.Errorf("no sum: %v", err))
		return
	}
	r.did("sum", string(sum.Kvs[0].Value), nil)
}

func (r *run) increment() error {
	session, err := concurrency.NewSession(r.c, concurrency.WithTTL(30))
	if err != nil {
		return err
	}
	defer session.Close()
	mutex := concurrency.NewMutex(session, "sum-lock")
	for i := 0; i < 5; i++ {
		if err := mutex.Lock(r.ctx); err != nil {
			return err
		}
		answer, err := r.c.Get(r.ctx, "sum")
		if err != nil {
			return err
		}
		sum := 0
		if len(answer.Kvs) > 0 {
			sum, _ = strconv.Atoi(string(answer.Kvs[0].Value))
		}
		if _, err := r.c.Put(r.ctx, "sum", strconv.Itoa(sum+1)); err != nil {
			return err
		}
		if err := mutex.Unlock(r.ctx); err != nil {
			return err
		}
	}
	return nil
}

func elections(r *run) {
	one, two := r.session("session", 30), r.session("another session", 30)
	if one == nil || two == nil {
		return
	}
	defer one.Close()
	defer two.Close()
	first, second := concurrency.NewElection(one, "owner"), concurrency.NewElection(two, "owner")
	leader := func(name string) {
		answer, err := first.Leader(r.ctx)
		if err != nil {
			r.did(name, nil, err)
			return
		}
		r.did(name, r.kvs(answer.Kvs), nil)
	}
	leader("no leader")
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	observed := second.Observe(ctx)
	observe := func(name string) {
		select {
		case answer := <-observed:
			r.did(name, r.kvs(answer.Kvs), nil)
		case <-time.After(arrival):
			r.did(name, nil, fmt.Errorf("nothing observed"))
		}
	}
	r.did("campaign", "elected", first.Campaign(r.ctx, "one"))
	leader("leader")
	observe("observe")
	won := make(chan error, 1)
	go func() { won <- second.Campaign(r.ctx, "two") }()
	select {
	case err := <-won:
		r.did("the other waits", false, err)
		return
	case <-time.After(silence):
		r.did("the other waits", true, nil)
	}
	r.did("proclaim", "proclaimed", first.Proclaim(r.ctx, "one again"))
	observe("observe what was proclaimed")
	r.did("resign", "resigned", first.Resign(r.ctx))
	select {
	case err := <-won:
		r.did("the other has won", true, err)
	case <-time.After(arrival):
		r.did("the other has won", false, nil)
	}
	observe("observe the other")
	leader("the other leads")
	r.did("proclaim without being elected", "proclaimed", first.Proclaim(r.ctx, "never"))
	r.did("its session ends", "closed", two.Close())
	leader("no leader again")
}

func transactionalMemory(r *run) {
	const accounts, each = 4, 100
	for i := 0; i < accounts; i++ {
		r.put("put", fmt.Sprintf("account/%d", i), strconv.Itoa(each))
	}
	move := func(from, to int) error {
		_, err := concurrency.NewSTM(r.c, func(s concurrency.STM) error {
			source, target := fmt.Sprintf("account/%d", from), fmt.Sprintf("account/%d", to)
			a, err := strconv.Atoi(s.Get(source))
			if err != nil {
				return err
			}
			b, err := strconv.Atoi(s.Get(target))
			if err != nil {
				return err
			}
			s.Put(source, strconv.Itoa(a-1))
			s.Put(target, strconv.Itoa(b+1))
			return nil
		}, concurrency.WithAbortContext(r.ctx))
		return err
	}
	// Each mover takes from one account what it gives to the next: in the end all have what they had, unless a change is lost.
	var all sync.WaitGroup
	failures := make(chan error, accounts*20)
	for i := 0; i < accounts; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for n := 0; n < 10; n++ {
				failures <- move(i, (i+1)%accounts)
			}
		}(i)
	}
	all.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			r.did("move", nil, err)
		}
	}
	answer, err := r.c.Get(r.ctx, "account/", clientv3.WithPrefix())
	if err != nil {
		r.did("accounts", nil, err)
		return
	}
	balances := fields{}
	for _, kv := range answer.Kvs {
		balances[string(kv.Key)] = string(kv.Value)
	}
	r.did("accounts", balances, nil)
	_, err = concurrency.NewSTM(r.c, func(s concurrency.STM) error {
		s.Put("made", s.Get("none")+"new")
		s.Del("account/0")
		return nil
	}, concurrency.WithIsolation(concurrency.Serializable))
	r.did("put and delete", "committed", err)
	left, err := r.c.Get(r.ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		r.did("left", nil, err)
		return
	}
	keys := []any{}
	for _, kv := range left.Kvs {
		keys = append(keys, string(kv.Key))
	}
	r.did("left", keys, nil)
}
