package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tikv/client-go/v2/config"
	tikverr "github.com/tikv/client-go/v2/error"
	"github.com/tikv/client-go/v2/kv"
	"github.com/tikv/client-go/v2/txnkv"
	"github.com/tikv/client-go/v2/txnkv/transaction"
)

// iterator is what a transaction gives for a range, in either direction.
type iterator interface {
	Valid() bool
	Key() []byte
	Next() error
	Close()
}

func txn(ctx context.Context, pd []string, security config.Security) error {
	config.UpdateGlobal(func(conf *config.Config) { conf.Security = security })
	client, err := txnkv.NewClient(pd)
	if err != nil {
		return err
	}
	defer client.Close()
	key := func(text string) []byte { return []byte(text) }
	begin := func() *transaction.KVTxn {
		t, err := client.Begin()
		if err != nil {
			panic(err)
		}
		return t
	}
	// Sets fail for empty keys only.
	write := func(how func(*transaction.KVTxn), value string, keys ...[]byte) *transaction.KVTxn {
		t := begin()
		how(t)
		for _, each := range keys {
			if err := t.Set(each, key(value)); err != nil {
				panic(err)
			}
		}
		return t
	}
	plain := func(*transaction.KVTxn) {}
	keysOf := func(what string, limit int, it iterator, err error) {
		var keys [][]byte
		if err == nil {
			for err == nil && it.Valid() && len(keys) < limit {
				keys = append(keys, slices.Clone(it.Key()))
				err = it.Next()
			}
			it.Close()
		}
		show(what, err, keys)
	}
	scan := func(what string, t *transaction.KVTxn, start, end string, limit int) {
		it, err := t.Iter(key(start), key(end))
		keysOf(what, limit, it, err)
	}

	scan("scan at first", begin(), "", "", 5)
	show("commit", write(plain, "1", append(manyKeys(), key("a"))...).Commit(ctx))
	show("commit in one phase", write(func(t *transaction.KVTxn) { t.SetEnable1PC(true) }, "1", key("b")).Commit(ctx))
	async := func(t *transaction.KVTxn) { t.SetEnableAsyncCommit(true) }
	show("commit asynchronously", write(async, "1", key("c"), key("many0000")).Commit(ctx))

	reads := begin()
	value, err := reads.Get(ctx, key("a"))
	show("get", err, value)
	_, err = reads.Get(ctx, key("absent"))
	show("get absent", nil, tikverr.IsErrNotFound(err))
	found, err := reads.BatchGet(ctx, [][]byte{key("a"), key("many0001"), key("d")})
	show("batch get", err, found)
	scan("scan", reads, "a", "many0004", 10)
	above, err := reads.IterReverse(key("many0290"), key("many"))
	keysOf("reverse scan", 3, above, err)

	first, second := write(plain, "first", key("a")), write(plain, "second", key("a"))
	show("commit of the first", first.Commit(ctx))
	show("the second meets a conflict", nil, tikverr.IsErrWriteConflict(second.Commit(ctx)))

	pessimistic := begin()
	pessimistic.SetPessimistic(true)
	lock := func(t *transaction.KVTxn, wait int64) error {
		return t.LockKeys(ctx, kv.NewLockCtx(t.StartTS(), wait, time.Now()), key("a"))
	}
	show("lock", lock(pessimistic, kv.LockAlwaysWait))
	other := begin()
	other.SetPessimistic(true)
	err = lock(other, kv.LockNoWait)
	show("lock of a locked key", nil, errors.Is(err, tikverr.ErrLockAcquireFailAndNoWaitSet))
	show("rollback of the other", other.Rollback())
	show("set and commit", func() error {
		if err := pessimistic.Set(key("a"), key("third")); err != nil {
			return err
		}
		return pessimistic.Commit(ctx)
	}())
	rolled := write(plain, "never", key("a"))
	show("rollback", rolled.Rollback())
	value, err = begin().Get(ctx, key("a"))
	show("get at last", err, value)

	_, err = client.SplitRegions(ctx, [][]byte{key("many0100"), key("many0200")}, false, nil)
	show("split", err)
	scan("scan over regions", begin(), "many0098", "", 4)
	_, err = client.DeleteRange(ctx, key("many0000"), key("many0250"), 1)
	show("delete range", err)
	scan("scan at last", begin(), "", "", 6)
	return nil
}
