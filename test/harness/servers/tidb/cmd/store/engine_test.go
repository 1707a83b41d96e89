package main

import (
	"testing"

	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

func TestLocksSurviveACleanStop(t *testing.T) {
	opts := options{advertise: "here:1", data: t.TempDir(), regionSize: 1 << 20, api: apiV1}
	open := func() *engine {
		eng, err := openEngine(opts, &fakePD{}, newCounters())
		if err != nil {
			t.Fatal(err)
		}
		return eng
	}
	first := open()
	lock := mvcc.Lock{LockHdr: mvcc.LockHdr{StartTS: 9, PrimaryLen: 2}, Primary: []byte("t1")}
	first.bundle.LockStore.Put([]byte("t2"), lock.MarshalBinary())
	storeID := first.regions.store.Id
	first.close()

	second := open()
	defer second.close()
	found := second.locks(nil, nil, 10)
	if len(found) != 1 || found[0].Key != "7432" || found[0].Primary != "7431" || found[0].StartTs != "9" {
		t.Fatalf("%+v", found)
	}
	if second.regions.store.Id != storeID {
		t.Fatalf("store %d, then %d", storeID, second.regions.store.Id)
	}
}
