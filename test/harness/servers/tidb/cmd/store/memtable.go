package main

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/pingcap/badger"
	badgeroptions "github.com/pingcap/badger/options"
	"github.com/pingcap/badger/table/sstable"
	"github.com/pingcap/badger/y"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv"
)

// turnKey is written in order to be met by a file.
var turnKey = append(slices.Clone(tikv.InternalKeyPrefix), "turn"...)

// turnMemtable makes the engine begin an empty memory table. A memory table takes versions of a key in rising order only
// and drops others without a word; a new one knows nothing of what is in files by then. The engine turns it when a file is
// brought in from outside whose keys are in it, and has no other way to be told.
func (e *engine) turnMemtable() error {
	version := atomic.AddUint64(&e.bundle.StateTS, 1)
	err := e.bundle.DB.Update(func(txn *badger.Txn) error {
		return txn.SetEntry(&badger.Entry{Key: y.KeyWithTs(turnKey, version), Value: turnKey})
	})
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp(e.data, "turn")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	file, err := y.OpenSyncedFile(filepath.Join(folder, "1.sst"), true)
	if err != nil {
		return err
	}
	defer file.Close()
	table := sstable.NewExternalTableBuilder(file, nil, badger.DefaultOptions.TableBuilderOptions, badgeroptions.None)
	if err := table.Add(y.KeyWithTs(turnKey, 0), y.ValueStruct{Value: turnKey}); err != nil {
		return err
	}
	if _, err := table.Finish(); err != nil {
		return err
	}
	_, err = e.bundle.DB.IngestExternalFiles([]badger.ExternalTableSpec{{Filename: file.Name()}})
	return err
}
