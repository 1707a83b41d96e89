package main

import (
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

type scenario struct {
	name string
	run  func(*run)
}

var scenarios = []scenario{
	{"keys", keys},
	{"ranges", ranges},
	{"odd ranges", oddRanges},
	{"deletes", deletes},
	{"txns", txns},
	{"txn limits", txnLimits},
	{"watches", watches},
	{"history", history},
	{"fragments", fragments},
	{"progress", progress},
	{"raw watches", rawWatches},
	{"many watches", manyWatches},
	{"leases", leases},
	{"chosen leases", chosenLeaseIds},
	{"expiry", expiry},
	{"sessions", sessions},
	{"mutexes", mutexes},
	{"elections", elections},
	{"stm", transactionalMemory},
}

func keys(r *run) {
	first := r.put("put", "a", "1")
	r.put("put again, prev_kv", "a", "2", clientv3.WithPrevKV())
	r.put("prev_kv of a new key", "b", "1", clientv3.WithPrevKV())
	r.put("ignore_value", "a", "", clientv3.WithIgnoreValue(), clientv3.WithPrevKV())
	r.put("ignore_value of no key", "none", "", clientv3.WithIgnoreValue())
	r.put("ignore_lease", "a", "3", clientv3.WithIgnoreLease(), clientv3.WithPrevKV())
	r.put("a lease that is not there", "a", "4", clientv3.WithLease(123456))
	r.put("an empty value", "empty", "")
	r.put("an empty key", "", "x")
	r.put("bytes of all kinds", "\x00\xff\x01:/\x80", "\x00\xff")
	r.put("a long key", strings.Repeat("k", 4000), "v")
	r.get("get", "a")
	r.get("get, serializable", "a", clientv3.WithSerializable())
	r.get("get nothing", "nothing")
	r.get("get an empty key", "")
	r.get("get at a revision", "a", clientv3.WithRev(first.Header.Revision))
	r.get("get at a future revision", "a", clientv3.WithRev(first.Header.Revision+1_000_000))
	r.get("all", "", clientv3.WithPrefix())
}

func ranges(r *run) {
	var at []int64
	for _, key := range []string{"a", "b/3", "b/1", "b/2", "c"} {
		at = append(at, r.put("put "+key, key, "v"+key).Header.Revision)
	}
	r.put("put b/2 again", "b/2", "a smaller value")
	r.get("prefix", "b/", clientv3.WithPrefix())
	r.get("from key", "b/2", clientv3.WithFromKey())
	r.get("from empty key", "", clientv3.WithFromKey())
	r.get("empty prefix", "", clientv3.WithPrefix())
	r.get("range", "a", clientv3.WithRange("b/2"))
	r.get("count only", "b/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	r.get("keys only", "b/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	r.get("serializable", "b/", clientv3.WithPrefix(), clientv3.WithSerializable())
	for _, limit := range []int64{1, 2, 3, 5, 100} {
		r.get("limited", "", clientv3.WithPrefix(), clientv3.WithLimit(limit))
	}
	targets := []clientv3.SortTarget{
		clientv3.SortByKey, clientv3.SortByVersion, clientv3.SortByCreateRevision, clientv3.SortByModRevision, clientv3.SortByValue,
	}
	for _, target := range targets {
		for _, order := range []clientv3.SortOrder{clientv3.SortNone, clientv3.SortAscend, clientv3.SortDescend} {
			r.get("sorted", "", clientv3.WithPrefix(), clientv3.WithSort(target, order))
			r.get("sorted and limited", "", clientv3.WithPrefix(), clientv3.WithSort(target, order), clientv3.WithLimit(2))
		}
	}
	r.get("first key", "b/", clientv3.WithFirstKey()...)
	r.get("last revision", "b/", clientv3.WithLastRev()...)
	r.get("min mod revision", "", clientv3.WithPrefix(), clientv3.WithMinModRev(at[2]))
	r.get("max mod revision", "", clientv3.WithPrefix(), clientv3.WithMaxModRev(at[2]))
	r.get("min create revision", "", clientv3.WithPrefix(), clientv3.WithMinCreateRev(at[3]))
	r.get("max create revision", "", clientv3.WithPrefix(), clientv3.WithMaxCreateRev(at[3]))
	r.get("at a revision", "", clientv3.WithPrefix(), clientv3.WithRev(at[1]))
}

func oddRanges(r *run) {
	for _, key := range []string{"\x00", "a", "m", "\xff", "\xff\xff"} {
		r.put("put", key, "v")
	}
	r.get("from \\0", "\x00", clientv3.WithFromKey())
	r.get("prefix \\xff", "\xff", clientv3.WithPrefix())
	r.get("prefix \\xff\\xff", "\xff\xff", clientv3.WithPrefix())
	r.get("end \\0\\0", "a", clientv3.WithRange("\x00\x00"))
	r.get("end before start", "m", clientv3.WithRange("a"))
	r.get("end is start", "m", clientv3.WithRange("m"))
	r.get("end \\xff", "a", clientv3.WithRange("\xff"))
	r.get("empty key with an end", "", clientv3.WithRange("m"))
	r.delete("end before start, delete", "m", clientv3.WithRange("a"))
	r.delete("delete an empty key", "")
	r.get("all", "", clientv3.WithPrefix())
}

func deletes(r *run) {
	fill := func() {
		for _, key := range []string{"a", "b/1", "b/2", "b/3", "c"} {
			r.put("put "+key, key, "v"+key)
		}
	}
	fill()
	r.delete("one", "a")
	r.delete("none", "a")
	r.delete("prev_kv", "b/1", clientv3.WithPrevKV())
	r.delete("prefix, prev_kv", "b/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	r.get("left", "", clientv3.WithPrefix())
	fill()
	r.delete("range", "a", clientv3.WithRange("b/2"), clientv3.WithPrevKV())
	r.delete("from key", "b/3", clientv3.WithFromKey(), clientv3.WithPrevKV())
	r.get("left of it", "", clientv3.WithPrefix())
	fill()
	r.delete("all from \\0", "\x00", clientv3.WithFromKey())
	fill()
	r.delete("empty prefix", "", clientv3.WithPrefix(), clientv3.WithPrevKV())
	r.get("nothing left", "", clientv3.WithPrefix())
}
