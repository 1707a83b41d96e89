package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/pingcap/badger"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/config"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/lockstore"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/pd"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

// engine is unistore with our region manager in place of its own.
type engine struct {
	mode   apiMode
	data   string
	pd     pd.Client
	bundle *mvcc.DBBundle
	// Unistore's own. What it writes, change feeds do not show.
	writer  mvcc.DBWriter
	regions *regions
	raw     *rawStore // nil where there is no RawKV
	plans   *scratch  // nil where there are no keyspaces
	store   *tikv.MVCCStore
	server  *tikv.Server
	feeds   *feeds
}

func openEngine(opts options, client pd.Client, stats *counters) (*engine, error) {
	conf := config.DefaultConf
	conf.Server.Raft = false
	conf.Server.StoreAddr = opts.advertise
	conf.Server.RegionSize = opts.regionSize
	conf.Engine.DBPath = opts.data
	if err := os.MkdirAll(filepath.Join(opts.data, "kv"), 0o755); err != nil {
		return nil, err
	}
	physical, logical, err := client.GetTS(context.Background())
	if err != nil {
		return nil, fmt.Errorf("a timestamp from PD: %w", err)
	}
	safePoint := &tikv.SafePoint{}
	db, err := openDB(&conf.Engine)
	if err != nil {
		return nil, err
	}
	locks := lockstore.NewMemStore(8 << 20)
	if err := loadLocks(filepath.Join(opts.data, "lock_store"), locks); err != nil {
		return nil, err
	}
	bundle := &mvcc.DBBundle{DB: db, LockStore: locks, StateTS: uint64(physical)<<18 + uint64(logical)}
	var raw *rawStore
	var plans *scratch
	if opts.api == apiV2 {
		if plans, err = openScratch(filepath.Join(opts.data, "scratch")); err != nil {
			return nil, err
		}
	}
	if opts.api != apiV1 {
		if raw, err = openRawStore(filepath.Join(opts.data, "raw")); err != nil {
			return nil, err
		}
	}
	manager, err := openRegions(bundle, raw, client, opts, stats)
	if err != nil {
		return nil, err
	}
	inner := tikv.NewStandAlongInnerServer(bundle)
	inner.Setup(client)
	writer := tikv.NewDBWriter(bundle)
	eng := &engine{
		mode: opts.api, data: opts.data, pd: client, bundle: bundle, writer: writer, regions: manager, raw: raw, plans: plans,
	}
	eng.feeds = newFeeds(eng)
	manager.observeSplits(eng.feeds.regionSplit)
	store := tikv.NewMVCCStore(&conf, bundle, opts.data, safePoint, &feedWriter{writer, eng.feeds}, client)
	store.DeadlockDetectSvr.ChangeRole(tikv.Leader)
	if err := inner.Start(client); err != nil {
		return nil, err
	}
	store.StartDeadlockDetection(false)
	eng.store, eng.server = store, tikv.NewServer(manager, store, inner)
	return eng, nil
}

func (e *engine) close() {
	e.feeds.close()
	e.server.Stop()
	if e.raw != nil {
		e.raw.close()
	}
	if e.plans != nil {
		e.plans.close()
	}
	e.pd.Close()
}

func openDB(conf *config.Engine) (*badger.DB, error) {
	opts := badger.DefaultOptions
	opts.Dir = filepath.Join(conf.DBPath, "kv")
	opts.ValueDir = opts.Dir
	// Unistore writes at the transaction's own timestamps.
	opts.ManagedTxns = true
	// See dropped. Without compaction nothing may wait for it either.
	opts.DoNotCompact = true
	opts.NumLevelZeroTablesStall = math.MaxInt
	opts.ValueThreshold = conf.ValueThreshold
	opts.ValueLogWriteOptions.WriteBufferSize = 4 << 20
	opts.ValueLogFileSize = conf.VlogFileSize
	opts.ValueLogMaxNumFiles = 3
	opts.MaxMemTableSize = conf.MaxMemTableSize
	opts.NumMemtables = conf.NumMemTables
	opts.NumLevelZeroTables = conf.NumL0Tables
	opts.LevelOneSize = conf.L1Size
	opts.TableBuilderOptions.MaxTableSize = conf.MaxTableSize
	opts.TableBuilderOptions.SuRFStartLevel = conf.SurfStartLevel
	for level := range opts.TableBuilderOptions.CompressionPerLevel {
		opts.TableBuilderOptions.CompressionPerLevel[level] = config.ParseCompression(conf.Compression[level])
	}
	opts.MaxBlockCacheSize = conf.BlockCacheSize
	opts.MaxIndexCacheSize = conf.IndexCacheSize
	opts.SyncWrites = conf.SyncWrite
	opts.CompactL0WhenClose = false
	return badger.Open(opts)
}

// loadLocks reads what unistore dumps when it is stopped and never reads itself: u32 key length, u32 value length
// (little endian), key, value. The file goes afterwards: after a crash it would bring back locks that are long resolved.
func loadLocks(path string, locks *lockstore.MemStore) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	reader := bufio.NewReader(file)
	for {
		var lengths [2]uint32
		if err := binary.Read(reader, binary.LittleEndian, &lengths); errors.Is(err, io.EOF) {
			return os.Remove(path)
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		entry := make([]byte, lengths[0]+lengths[1])
		if _, err := io.ReadFull(reader, entry); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		locks.Put(entry[:lengths[0]], entry[lengths[0]:])
	}
}
