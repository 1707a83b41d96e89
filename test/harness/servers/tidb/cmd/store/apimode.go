package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv"
	"github.com/pingcap/tidb/pkg/util/codec"
)

// apiMode is TiKV's storage.api-version: what kind of data the store holds.
//
//	v1    transactions, user keys as they come
//	raw   RawKV with lifetimes (TiKV: api-version 1 with enable-ttl), user keys as they come, borders not encoded
//	v2    keyspaces: `x` + 3-byte id for transactions, `r` + 3-byte id for RawKV, and TiDB's own `m` and `t` for V1 requests
//
// A TiKV of plain V1 takes RawKV too, without lifetimes, into the same column family as transactions: nobody may mix them
// there, so this store takes one kind only.
type apiMode string

const (
	apiV1  apiMode = "v1"
	apiRaw apiMode = "raw"
	apiV2  apiMode = "v2"
)

const (
	rawPrefix = 'r'
	txnPrefix = 'x'
	// A mode byte and a keyspace id.
	keyspacePrefix = 4
)

func (m apiMode) known() bool { return m == apiV1 || m == apiRaw || m == apiV2 }

func (m apiMode) tikvName() string {
	return map[apiMode]string{apiV1: "V1", apiRaw: "V1ttl", apiV2: "V2"}[m]
}

// border is the form in which PD and region errors know a user key: memcomparable, but plain for RawKV of V1.
func (m apiMode) border(key []byte) []byte {
	if m == apiRaw {
		return key
	}
	return codec.EncodeBytes(nil, key)
}

// userKey undoes border; empty, which means unbounded, stays empty.
func (m apiMode) userKey(border []byte) ([]byte, error) {
	if len(border) == 0 || m == apiRaw {
		return border, nil
	}
	_, key, err := codec.DecodeBytes(border, nil)
	if err != nil {
		return nil, fmt.Errorf("%x is no memcomparable key: %w", border, err)
	}
	return key, nil
}

// splitKeys gives the user keys of a split's keys, which TiKV takes for borders if they are RawKV's of V1 and encodes
// otherwise, whatever the store holds.
func (m apiMode) splitKeys(keys [][]byte, raw bool) ([][]byte, error) {
	out := make([][]byte, len(keys))
	for i, key := range keys {
		border := key
		if !raw || m == apiV2 {
			border = codec.EncodeBytes(nil, key)
		}
		user, err := m.userKey(border)
		if err != nil {
			return nil, err
		}
		if len(key) > 0 {
			out[i] = user
		}
	}
	return out, nil
}

// lastKey ends the last region: unistore keeps its own things behind it. RawKV has a store of its own and no end.
func (m apiMode) lastKey() []byte {
	if m == apiRaw {
		return nil
	}
	return tikv.InternalKeyPrefix
}

// firstBorders part a new store. Unistore keeps a rollback's record under its key with the first byte one higher:
// `m` -> `n`, `t` -> `u`, `x` -> `y`. Borders on these keep the records out of every region that holds users' keys, and
// RawKV out of the regions of transactions.
func (m apiMode) firstBorders() [][]byte {
	switch m {
	case apiRaw:
		return nil
	case apiV2:
		return [][]byte{{'m'}, {'n'}, {'r'}, {'s'}, {'t'}, {'u'}, {'x'}, {'y'}}
	}
	return [][]byte{{'m'}, {'n'}, {'t'}, {'u'}}
}

// keepsStatus says whether a key of the engine is such a record.
func (m apiMode) keepsStatus(key []byte) bool {
	return key[0] == rollbackMeta || key[0] == rollbackTable || (m == apiV2 && key[0] == txnPrefix+1)
}

// check is TiKV's check_api_version for one request: its version against the store's, then the first byte of each key and
// range against what the two allow. TiKV looks at keys where data is read or a lock is taken, this store everywhere. The
// text goes into the answer's own error.
func (m apiMode) check(method string, requested kvrpcpb.APIVersion, c claim) error {
	raw := strings.HasPrefix(method, "Raw")
	firstBytes := ""
	switch {
	case m == apiV1 && requested == kvrpcpb.APIVersion_V1 && raw:
		return fmt.Errorf("%s: this store has transactions only; start it with --api raw", method)
	case m == apiV1 && requested == kvrpcpb.APIVersion_V1:
		return nil
	case m == apiRaw && requested == kvrpcpb.APIVersion_V1 && raw:
		return nil
	case m == apiV2 && requested == kvrpcpb.APIVersion_V1 && !raw:
		firstBytes = "mt"
	case m == apiV2 && requested == kvrpcpb.APIVersion_V2 && raw:
		firstBytes = string(rawPrefix)
	case m == apiV2 && requested == kvrpcpb.APIVersion_V2:
		firstBytes = string(txnPrefix)
	default:
		return fmt.Errorf("Api version in request does not match with TiKV storage, cmd: %s, storage: %s, request: %s",
			method, m.tikvName(), requested)
	}
	for _, key := range c.points {
		if len(key) == 0 || strings.IndexByte(firstBytes, key[0]) < 0 {
			return fmt.Errorf("Key mode mismatched with the request mode, cmd: %s, storage: %s, key: %X",
				method, m.tikvName(), key)
		}
	}
	for _, s := range c.spans {
		first, second := *s.lower, *s.upper
		if s.backward {
			first, second = second, first
		}
		// The second may be the one byte behind: `t` to `u`.
		if len(first) == 0 || strings.IndexByte(firstBytes, first[0]) < 0 || len(second) == 0 ||
			(first[0] != second[0] && string(second) != string([]byte{first[0] + 1})) {
			return fmt.Errorf("Key mode mismatched with the request mode, cmd: %s, storage: %s, range: [%X, %X]",
				method, m.tikvName(), first, second)
		}
	}
	return nil
}

// checkImported is what TiKV's writer of transactional files takes.
func (m apiMode) checkImported(key []byte) error {
	if m == apiRaw {
		return errors.New("a store of RawKV takes no transactional files")
	}
	if m == apiV2 && (len(key) == 0 || strings.IndexByte("xmt", key[0]) < 0) {
		return fmt.Errorf("Key mode mismatched with the request mode, writer: Txn, storage: %s, key: %X", m.tikvName(), key)
	}
	return nil
}
