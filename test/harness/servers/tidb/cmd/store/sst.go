package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	sst "github.com/pingcap/kvproto/pkg/import_sstpb"
)

const (
	columnDefault = "default"
	columnWrite   = "write"
	// TiKV keeps values up to this length beside their write record and longer ones in the default column family.
	shortValueMax = 255
)

// sstPair is one version to come; an empty value is a deletion, as everywhere in unistore.
type sstPair struct {
	key, value []byte
	commitTs   uint64
}

// before is the order of an engine file.
func (p sstPair) before(other sstPair) bool {
	order := bytes.Compare(p.key, other.key)
	return order < 0 || order == 0 && p.commitTs > other.commitTs
}

// sstFile is what TiKV keeps as a file between Write and Ingest. All pairs are in the file of the write column family;
// that of the default column family stands for their long values and must be ingested with it or before it.
type sstFile struct {
	pairs     []sstPair
	needsLong string
}

// sstFiles holds written files by name until they are ingested. A restart loses them, and clients write them again.
type sstFiles struct {
	mu    sync.Mutex
	files map[string]*sstFile
	// Names of default files that are ingested while their write file is not.
	ingestedLong map[string]struct{}
	ingesting    map[string]struct{}
}

func newSSTFiles() *sstFiles {
	return &sstFiles{
		files: map[string]*sstFile{}, ingestedLong: map[string]struct{}{}, ingesting: map[string]struct{}{},
	}
}

// sstName is made of the same parts as TiKV's file name, so another epoch is another file.
func sstName(meta *sst.SSTMeta) (string, error) {
	if len(meta.GetUuid()) != 16 {
		return "", fmt.Errorf("invalid uuid %x", meta.GetUuid())
	}
	epoch := meta.GetRegionEpoch()
	return fmt.Sprintf("%s_%d_%d_%d_%s", hex.EncodeToString(meta.Uuid), meta.RegionId,
		epoch.GetConfVer(), epoch.GetVersion(), meta.CfName), nil
}

// write keeps the pairs and gives the metas to ingest: the request's, once for each column family that has something.
// TiKV fills in neither length nor checksum here.
func (f *sstFiles) write(meta *sst.SSTMeta, pairs []sstPair) ([]*sst.SSTMeta, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	write := *meta
	write.CfName = columnWrite
	name, err := sstName(&write)
	if err != nil {
		return nil, err
	}
	file := &sstFile{pairs: pairs}
	metas := []*sst.SSTMeta{&write}
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(pairs, func(p sstPair) bool { return len(p.value) > shortValueMax }) {
		long := *meta
		long.CfName = columnDefault
		if file.needsLong, err = sstName(&long); err != nil {
			return nil, err
		}
		f.files[file.needsLong] = &sstFile{}
		metas = []*sst.SSTMeta{&long, &write}
	}
	f.files[name] = file
	return metas, nil
}

// take reserves the files of these metas for one ingest; missing is the name of one that is not there. A file that
// another ingest has reserved is a conflict.
func (f *sstFiles) take(names []string) (files []*sstFile, missing string, conflict bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, name := range names {
		if _, taken := f.ingesting[name]; taken || slices.Contains(names[:i], name) {
			return nil, "", true
		}
	}
	for _, name := range names {
		file := f.files[name]
		if file == nil {
			return nil, name, false
		}
		if long := file.needsLong; long != "" && !slices.Contains(names, long) {
			if _, there := f.ingestedLong[long]; !there {
				return nil, long, false
			}
		}
		files = append(files, file)
	}
	for _, name := range names {
		f.ingesting[name] = struct{}{}
	}
	return files, "", false
}

// put ends a reservation. The files are gone when they are ingested, and when they can never be.
func (f *sstFiles) put(names []string, gone, ingested bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var over []string
	for _, name := range names {
		delete(f.ingesting, name)
		if !gone {
			continue
		}
		file := f.files[name]
		delete(f.files, name)
		if ingested && len(file.pairs) == 0 {
			f.ingestedLong[name] = struct{}{}
		}
		over = append(over, file.needsLong)
	}
	for _, name := range over {
		delete(f.ingestedLong, name)
	}
}
