package main

import (
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

type (
	compares = []clientv3.Cmp
	ops      = []clientv3.Op
)

func txns(r *run) {
	first := r.put("put a", "a", "1")
	r.put("put b/1", "b/1", "same")
	r.put("put b/2", "b/2", "same")
	yes, no := ops{clientv3.OpPut("yes", "1")}, ops{clientv3.OpGet("a")}
	rev := first.Header.Revision
	for _, one := range []struct {
		name string
		cmp  clientv3.Cmp
	}{
		{"value =", clientv3.Compare(clientv3.Value("a"), "=", "1")},
		{"value !=", clientv3.Compare(clientv3.Value("a"), "!=", "1")},
		{"value <", clientv3.Compare(clientv3.Value("a"), "<", "2")},
		{"version >", clientv3.Compare(clientv3.Version("a"), ">", 0)},
		{"version of no key", clientv3.Compare(clientv3.Version("none"), "=", 0)},
		{"create revision =", clientv3.Compare(clientv3.CreateRevision("a"), "=", rev)},
		{"create revision <", clientv3.Compare(clientv3.CreateRevision("a"), "<", rev)},
		{"mod revision =", clientv3.Compare(clientv3.ModRevision("a"), "=", rev)},
		{"lease = 0", clientv3.Compare(clientv3.LeaseValue("a"), "=", 0)},
		{"lease = another", clientv3.Compare(clientv3.LeaseValue("a"), "=", 5)},
		{"value of a prefix", clientv3.Compare(clientv3.Value("b/"), "=", "same").WithPrefix()},
		{"value of a range", clientv3.Compare(clientv3.Value("a"), "=", "same").WithRange("b/2")},
		{"value of an empty range", clientv3.Compare(clientv3.Value("x"), "=", "same").WithRange("z")},
		{"versions of all", clientv3.Compare(clientv3.Version("\x00"), ">", 0).WithRange("\x00")},
		{"an empty key", clientv3.Compare(clientv3.Version(""), "=", 0)},
	} {
		r.txn(one.name, compares{one.cmp}, yes, no)
	}
	r.txn("two compares", compares{
		clientv3.Compare(clientv3.Value("a"), "=", "1"), clientv3.Compare(clientv3.Version("b/1"), "=", 7),
	}, yes, no)
	r.txn("no compare, no operation", nil, nil, nil)
	r.txn("all kinds", nil, ops{
		clientv3.OpPut("a", "2", clientv3.WithPrevKV()),
		clientv3.OpGet("", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(2)),
		clientv3.OpGet("b/1", clientv3.WithFromKey(), clientv3.WithKeysOnly()),
		clientv3.OpDelete("b/", clientv3.WithPrefix(), clientv3.WithPrevKV()),
		clientv3.OpGet("b/", clientv3.WithPrefix(), clientv3.WithCountOnly()),
		clientv3.OpPut("c", "3"),
	}, nil)
	nested := clientv3.OpTxn(
		compares{clientv3.Compare(clientv3.Value("a"), "=", "2")},
		ops{
			clientv3.OpPut("nested", "1", clientv3.WithPrevKV()),
			clientv3.OpTxn(
				compares{clientv3.Compare(clientv3.Value("c"), "=", "other")},
				ops{clientv3.OpPut("never", "1")},
				ops{
					clientv3.OpGet("", clientv3.WithPrefix()),
					clientv3.OpDelete("c", clientv3.WithFromKey(), clientv3.WithPrevKV()),
				},
			),
		},
		ops{clientv3.OpPut("never", "2")},
	)
	r.txn("nested", nil, ops{nested, clientv3.OpPut("behind", "1")}, nil)
	r.get("all", "", clientv3.WithPrefix())
}

func txnLimits(r *run) {
	r.txn("a key twice", nil, ops{clientv3.OpPut("a", "1"), clientv3.OpPut("a", "2")}, nil)
	r.txn("a key put and deleted", nil, ops{clientv3.OpPut("a", "1"), clientv3.OpDelete("a", clientv3.WithPrefix())}, nil)
	r.txn("an empty key", nil, ops{clientv3.OpPut("", "1")}, nil)
	r.txn("a lease that is not there", nil, ops{clientv3.OpPut("a", "1", clientv3.WithLease(4242))}, nil)
	for _, count := range []int{128, 129} {
		all := ops{}
		for i := 0; i < count; i++ {
			all = append(all, clientv3.OpPut(fmt.Sprintf("k%03d", i), "v"))
		}
		r.txn(fmt.Sprintf("%d operations", count), nil, all, nil)
	}
	r.get("count", "", clientv3.WithPrefix(), clientv3.WithCountOnly())
	r.put("a large value", "large", large(1<<20))
	r.put("a value that is too large", "larger", large(7<<18))
	r.get("what is large", "large")
}
