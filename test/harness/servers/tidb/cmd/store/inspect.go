package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/pingcap/badger"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/dbreader"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv/mvcc"
)

const (
	defaultLimit = 1000
	// First bytes of what unistore keeps for itself: records of rollbacks, and its metadata.
	rollbackMeta, rollbackTable, internal = 'n', 'u', 0xff
)

// storedKey is one live key with its latest committed version.
type storedKey struct {
	Key string `json:"key"`
	// Timestamps are decimal strings: they do not fit a JSON number.
	CommitTs    string `json:"commitTs"`
	ValueLength int    `json:"valueLength"`
	Value       string `json:"value,omitempty"`
}

type storedLock struct {
	Key     string `json:"key"`
	Primary string `json:"primary"`
	StartTs string `json:"startTs"`
}

// storedRegion has user keys as borders; an empty end has no bound.
type storedRegion struct {
	ID      uint64 `json:"id"`
	Start   string `json:"start"`
	End     string `json:"end"`
	Version uint64 `json:"version"`
	Bytes   int64  `json:"bytes"`
}

// newInspector serves what lies in the store, past PD, regions and checks. Keys are user keys in hex.
//
//	GET /keys?start=&end=&limit=&values=1   live keys of [start, end) in order; locks and deleted keys are not among them
//	GET /locks?start=&end=&limit=           locks of [start, end)
//	GET /regions                            regions in order
//	GET /stats                              counters, see statsReport
//	POST /gc                                collects garbage with PD's safe point; answers when it is done, see gcReport
//	GET /versions?start=&end=&limit=        every version of the keys of [start, end), newest first
//	POST /commits?hold=                     secondaries, all or none: which commits of [start, end) wait, see commitHold
//	GET /commits                            how many wait
//	/feeds                                  change feeds, see serveFeeds
func newInspector(s *service) http.Handler {
	eng, stats := s.engine, s.stats
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		start, end, limit, err := bounds(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		found, err := eng.keys(start, end, limit, r.FormValue("values") == "1")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, found)
	})
	mux.HandleFunc("GET /locks", func(w http.ResponseWriter, r *http.Request) {
		start, end, limit, err := bounds(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, eng.locks(start, end, limit))
	})
	mux.HandleFunc("GET /regions", func(w http.ResponseWriter, _ *http.Request) {
		out := []storedRegion{}
		for _, r := range eng.regions.snapshot() {
			end := r.rawEnd
			if len(r.meta.EndKey) == 0 {
				end = nil
			}
			out = append(out, storedRegion{
				ID: r.meta.Id, Start: hex.EncodeToString(r.rawStart), End: hex.EncodeToString(end),
				Version: r.meta.RegionEpoch.Version, Bytes: r.bytes(),
			})
		}
		reply(w, out)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, stats.report(len(eng.regions.snapshot())))
	})
	mux.HandleFunc("POST /gc", func(w http.ResponseWriter, r *http.Request) {
		report, err := eng.collectGarbage(r.Context(), s.pending)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, report)
	})
	mux.HandleFunc("GET /versions", func(w http.ResponseWriter, r *http.Request) {
		start, end, limit, err := bounds(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, eng.versions(start, end, limit))
	})
	serveFeeds(mux, eng.feeds)
	mux.HandleFunc("GET /commits", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]int{"waiting": s.holding.count()})
	})
	mux.HandleFunc("POST /commits", func(w http.ResponseWriter, r *http.Request) {
		start, end, _, err := bounds(r)
		which := r.FormValue("hold")
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		case which == "none":
			s.holding.release()
		case which == "all" || which == "secondaries":
			s.holding.hold(start, end, which == "all")
		default:
			http.Error(w, fmt.Sprintf("hold: %q is not secondaries, all or none", which), http.StatusBadRequest)
			return
		}
		reply(w, map[string]int{"waiting": s.holding.count()})
	})
	return mux
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("content-type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// bounds reads start and end (hex, absent means unbounded) and limit (default 1000).
func bounds(r *http.Request) (start, end []byte, limit int, err error) {
	if start, err = hex.DecodeString(r.FormValue("start")); err != nil {
		return nil, nil, 0, fmt.Errorf("start: %w", err)
	}
	if end, err = hex.DecodeString(r.FormValue("end")); err != nil {
		return nil, nil, 0, fmt.Errorf("end: %w", err)
	}
	limit = defaultLimit
	if text := r.FormValue("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit <= 0 {
			return nil, nil, 0, fmt.Errorf("limit: %q is not a positive number", text)
		}
	}
	return start, end, limit, nil
}

func (e *engine) keys(start, end []byte, limit int, values bool) ([]storedKey, error) {
	out := []storedKey{}
	txn := e.bundle.DB.NewTransaction(false)
	defer txn.Discard()
	txn.SetReadTS(math.MaxUint64)
	it := dbreader.NewIterator(txn, false, start, end)
	defer it.Close()
	for it.Seek(start); it.Valid() && len(out) < limit; it.Next() {
		item := it.Item()
		key := item.Key()
		if key[0] == internal || (len(end) > 0 && string(key) >= string(end)) {
			break
		}
		if key[0] == rollbackMeta || key[0] == rollbackTable || item.IsEmpty() {
			continue
		}
		value, err := item.Value()
		if err != nil {
			return nil, err
		}
		found := storedKey{
			Key:         hex.EncodeToString(key),
			CommitTs:    strconv.FormatUint(mvcc.DBUserMeta(item.UserMeta()).CommitTS(), 10),
			ValueLength: len(value),
		}
		if values {
			found.Value = hex.EncodeToString(value)
		}
		out = append(out, found)
	}
	return out, nil
}

// storedVersion is one version of a key; a deletion's value has no length.
type storedVersion struct {
	Key         string `json:"key"`
	StartTs     string `json:"startTs"`
	CommitTs    string `json:"commitTs"`
	ValueLength int    `json:"valueLength"`
}

func (e *engine) versions(start, end []byte, limit int) []storedVersion {
	out := []storedVersion{}
	e.eachVersion(start, end, func(item *badger.Item) {
		if first := item.Key()[0]; len(out) == limit || first == rollbackMeta || first == rollbackTable {
			return
		}
		meta := mvcc.DBUserMeta(item.UserMeta())
		value, _ := item.Value()
		out = append(out, storedVersion{
			Key: hex.EncodeToString(item.Key()), ValueLength: len(value),
			StartTs: strconv.FormatUint(meta.StartTS(), 10), CommitTs: strconv.FormatUint(meta.CommitTS(), 10),
		})
	})
	return out
}

func (e *engine) locks(start, end []byte, limit int) []storedLock {
	out := []storedLock{}
	it := e.bundle.LockStore.NewIterator()
	for it.Seek(start); it.Valid() && len(out) < limit; it.Next() {
		if len(end) > 0 && string(it.Key()) >= string(end) {
			break
		}
		lock := mvcc.DecodeLock(it.Value())
		out = append(out, storedLock{
			Key: hex.EncodeToString(it.Key()), Primary: hex.EncodeToString(lock.Primary),
			StartTs: strconv.FormatUint(lock.StartTS, 10),
		})
	}
	return out
}
