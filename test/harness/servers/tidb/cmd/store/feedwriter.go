package main

import (
	"slices"

	"github.com/pingcap/kvproto/pkg/cdcpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// Values up to this length lie in TiKV's lock itself, so a lock that is written again shows them again.
const shortValue = 255

// feedWriter is unistore's writer with an observer: it tells the feeds what each batch has done. The caller of Write holds
// the latches of the batch's keys, so the feeds see the changes of one key in the order in which they were applied. Ingested
// files, destroyed ranges and flashbacks do not come this way, and TiKV's feeds do not show them either.
type feedWriter struct {
	mvcc.DBWriter
	feeds *feeds
}

// feedBatch collects the rows of a batch.
type feedBatch struct {
	inner         mvcc.WriteBatch
	feeds         *feeds
	start, commit uint64
	source        uint64
	rows          []feedRow
}

// feedRow is a row with the timestamp that its old value is read at; 0 where it has none.
type feedRow struct {
	*cdcpb.Event_Row
	oldAt uint64
}

func (w *feedWriter) NewWriteBatch(start, commit uint64, ctx *kvrpcpb.Context) mvcc.WriteBatch {
	return &feedBatch{
		inner: w.DBWriter.NewWriteBatch(start, commit, ctx), feeds: w.feeds,
		start: start, commit: commit, source: ctx.GetTxnSource(),
	}
}

func (w *feedWriter) Write(batch mvcc.WriteBatch) error {
	b := batch.(*feedBatch)
	end := w.feeds.begin(b)
	err := w.DBWriter.Write(b.inner)
	end(err)
	return err
}

// written is Put or Delete; other locks write nothing and are not shown.
func written(op uint8) (cdcpb.Event_Row_OpType, bool) {
	switch kvrpcpb.Op(op) {
	case kvrpcpb.Op_Put, kvrpcpb.Op_Insert:
		return cdcpb.Event_Row_PUT, true
	case kvrpcpb.Op_Del:
		return cdcpb.Event_Row_DELETE, true
	}
	return cdcpb.Event_Row_UNKNOWN, false
}

func (b *feedBatch) show(row *cdcpb.Event_Row, oldAt uint64) {
	row.Key = slices.Clone(row.Key)
	row.Value = slices.Clone(row.Value)
	b.rows = append(b.rows, feedRow{row, oldAt})
}

func (b *feedBatch) Prewrite(key []byte, lock *mvcc.Lock) {
	b.inner.Prewrite(key, lock)
	if _, shown := written(lock.Op); shown {
		b.feeds.sources.keep(b.start, b.source)
		b.showLock(key, lock)
	}
}

func (b *feedBatch) showLock(key []byte, lock *mvcc.Lock) {
	op, _ := written(lock.Op)
	b.show(&cdcpb.Event_Row{
		StartTs: lock.StartTS, Type: cdcpb.Event_PREWRITE, OpType: op, Key: key, Value: lock.Value,
		TxnSource: b.feeds.sources.of(lock.StartTS),
	}, max(lock.ForUpdateTS, lock.StartTS))
}

// Commit is called with the lock in the store, or with one that never was there: then the transaction commits in one phase.
func (b *feedBatch) Commit(key []byte, lock *mvcc.Lock) {
	op, shown := written(lock.Op)
	if shown && !b.feeds.prewritten(key, b.start) {
		b.feeds.sources.keep(b.start, b.source)
		b.show(&cdcpb.Event_Row{
			StartTs: b.start, CommitTs: b.commit, Type: cdcpb.Event_COMMITTED, OpType: op, Key: key, Value: lock.Value,
			TxnSource: b.feeds.sources.of(b.start),
		}, b.commit-1)
	} else if shown {
		b.show(&cdcpb.Event_Row{
			StartTs: b.start, CommitTs: b.commit, Type: cdcpb.Event_COMMIT, OpType: op, Key: key,
			TxnSource: b.feeds.sources.of(b.start),
		}, 0)
	}
	b.inner.Commit(key, lock)
}

func (b *feedBatch) Rollback(key []byte, deleteLock bool) {
	b.inner.Rollback(key, deleteLock)
	b.show(&cdcpb.Event_Row{StartTs: b.start, Type: cdcpb.Event_ROLLBACK, Key: key}, 0)
}

// PessimisticLock also writes a lock again whose lifetime or least commit timestamp has changed, whatever its kind. TiKV
// shows such a prewrite a second time where its value lies in the lock.
func (b *feedBatch) PessimisticLock(key []byte, lock *mvcc.Lock) {
	b.inner.PessimisticLock(key, lock)
	if _, shown := written(lock.Op); shown && len(lock.Value) <= shortValue {
		b.showLock(key, lock)
	}
}

func (b *feedBatch) PessimisticRollback(key []byte) { b.inner.PessimisticRollback(key) }
