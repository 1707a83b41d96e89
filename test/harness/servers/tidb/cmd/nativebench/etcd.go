package main

import "go.etcd.io/etcd/api/v3/etcdserverpb"

// prefixTxn puts a prefix in front of every key of a transaction, as etcd's clientv3/namespace does with its own form of operations.
func prefixTxn(prefix string, txn *etcdserverpb.TxnRequest) {
	for _, compare := range txn.Compare {
		compare.Key = prefixed(prefix, compare.Key)
		compare.RangeEnd = prefixedEnd(prefix, compare.RangeEnd)
	}
	for _, operations := range [][]*etcdserverpb.RequestOp{txn.Success, txn.Failure} {
		for _, operation := range operations {
			switch r := operation.Request.(type) {
			case *etcdserverpb.RequestOp_RequestRange:
				r.RequestRange.Key = prefixed(prefix, r.RequestRange.Key)
				r.RequestRange.RangeEnd = prefixedEnd(prefix, r.RequestRange.RangeEnd)
			case *etcdserverpb.RequestOp_RequestPut:
				r.RequestPut.Key = prefixed(prefix, r.RequestPut.Key)
			case *etcdserverpb.RequestOp_RequestDeleteRange:
				r.RequestDeleteRange.Key = prefixed(prefix, r.RequestDeleteRange.Key)
				r.RequestDeleteRange.RangeEnd = prefixedEnd(prefix, r.RequestDeleteRange.RangeEnd)
			case *etcdserverpb.RequestOp_RequestTxn:
				prefixTxn(prefix, r.RequestTxn)
			}
		}
	}
}

func prefixed(prefix string, key []byte) []byte {
	whole := make([]byte, 0, len(prefix)+len(key))
	return append(append(whole, prefix...), key...)
}

// prefixedEnd maps a range's end: empty stays, and the byte 0, which is everything behind the start, becomes the prefix's end.
func prefixedEnd(prefix string, end []byte) []byte {
	if len(end) == 0 {
		return nil
	}
	if len(end) > 1 || end[0] != 0 {
		return prefixed(prefix, end)
	}
	behind := []byte(prefix)
	behind[len(behind)-1]++
	return behind
}
