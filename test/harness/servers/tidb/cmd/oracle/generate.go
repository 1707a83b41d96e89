package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/resource_manager"
	"github.com/pingcap/tipb/go-tipb"
)

const (
	maxDepth = 8
	maxEnum  = 64
	// Timestamps of requests stay below this (1973 to 2004 by the clock in them): the filter refuses those of the future.
	maxTimestamp = 1 << 58
)

// Numbers that the filter lets pass.
const (
	maxLimit      = 1 << 20
	maxDurationMs = 86_400_000
	maxPriority   = 16
	maxLockTTL    = 1 << 32
)

// What a mutation of a prewrite does.
var writes = []kvrpcpb.Op{kvrpcpb.Op_Put, kvrpcpb.Op_Del, kvrpcpb.Op_Lock, kvrpcpb.Op_Insert, kvrpcpb.Op_CheckNotExists}

// Bytes of the store's answers that are exact raw keys. All other bytes mean nothing to a codec. Ranges are made by `bounds`.
var answerKeys = map[string]bool{
	"kvrpcpb.KvPair.Key":             true,
	"kvrpcpb.LockInfo.PrimaryLock":   true,
	"kvrpcpb.LockInfo.Key":           true,
	"kvrpcpb.LockInfo.Secondaries":   true,
	"kvrpcpb.WriteConflict.Key":      true,
	"kvrpcpb.WriteConflict.Primary":  true,
	"kvrpcpb.AlreadyExist.Key":       true,
	"kvrpcpb.Deadlock.LockKey":       true,
	"kvrpcpb.Deadlock.DeadlockKey":   true,
	"kvrpcpb.CommitTsExpired.Key":    true,
	"kvrpcpb.TxnNotFound.PrimaryKey": true,
	"kvrpcpb.AssertionFailed.Key":    true,
	"kvrpcpb.MvccLock.Primary":       true,
	"kvrpcpb.MvccLock.Secondaries":   true,
	"deadlock.WaitForEntry.Key":      true,
	"errorpb.KeyNotInRegion.Key":     true,
}

// Fields of requests that are one exact key.
var requestKeys = map[string]bool{"Key": true, "PrimaryLock": true, "PrimaryKey": true}

// Fields that make a case one of the listed differences: set less often than others, of a hundred times so many.
var rareFields = map[string]int{
	"errorpb.Error.KeyNotInRegion":         10,
	"errorpb.Error.BucketVersionNotMatch":  10,
	"metapb.Region.EncryptionMeta":         4,
	"kvrpcpb.KeyError.PrimaryMismatch":     12,
	"kvrpcpb.Deadlock.DeadlockKey":         20,
	"pdpb.ScanRegionsResponse.RegionMetas": 10,
	"pdpb.ScanRegionsResponse.Leaders":     10,
	"pdpb.GetRegionResponse.Buckets":       10,
	"pdpb.Region.Buckets":                  6,
}

// Fields that decide whether a request names the region that it acts on: nearly always set.
var regionFields = map[string]bool{
	"kvrpcpb.Context.RegionId":    true,
	"kvrpcpb.Context.RegionEpoch": true,
	"metapb.RegionEpoch.Version":  true,
}

// Texts of answers: plain ones pass, those that may quote keys are withheld.
var (
	plainTexts   = []string{"", "region 5 is missing", "not leader", "deadlock", "start ts 453128812934103041 of pid 1"}
	quotingTexts = []string{`key "t\200\000"`, "Key 7480000000000000FF already exists", "clé", "123456789012345678901"}
	names        = []string{"", "default", "a name", "node-1"}
	families     = []string{"", "default"}
	humanTexts   = map[string]bool{"Error": true, "Message": true, "Reason": true, "Abort": true, "Retryable": true, "OtherError": true}
)

// maker fills messages with random values, by their Go types.
type maker struct {
	random *rand.Rand
	// Of a hundred fields so many are set.
	density int
	request bool
	// Of a hundred exact keys of a request so many are empty.
	emptyPercent int
	// Of a hundred texts of an answer so many may quote keys.
	quotingPercent int
	store          storeKeys
}

// make gives a filled message of the type.
func (m *maker) make(message reflect.Type) any {
	value := reflect.New(message)
	m.fill(value.Elem(), 0)
	return value.Interface()
}

func typeName(message reflect.Type) string {
	return path.Base(message.PkgPath()) + "." + message.Name()
}

func (m *maker) fill(message reflect.Value, depth int) {
	kind := message.Type()
	for i := range kind.NumField() {
		field := kind.Field(i)
		if strings.HasPrefix(field.Name, "XXX_") || field.Name == "Context" {
			continue
		}
		density := m.density
		if depth > 2 {
			density = density * 3 / 4
		}
		name := typeName(kind) + "." + field.Name
		if percent, rare := rareFields[name]; rare {
			density = min(density, percent)
		} else if m.request && regionFields[name] {
			density = max(density, 95)
		} else if isBytes(field.Type) && (answerKeys[name] || (m.request && requestKeys[field.Name])) {
			// How often keys are empty is said elsewhere.
			density = 100
		}
		if !chance(m.random, density) {
			continue
		}
		m.set(message.Field(i), name, depth)
	}
	m.settle(message)
}

func isBytes(kind reflect.Type) bool {
	return kind.Kind() == reflect.Slice && kind.Elem().Kind() == reflect.Uint8
}

func (m *maker) set(field reflect.Value, name string, depth int) {
	kind := field.Type()
	switch kind.Kind() {
	case reflect.Pointer:
		if depth < maxDepth {
			field.Set(reflect.New(kind.Elem()))
			m.fill(field.Elem(), depth+1)
		}
	case reflect.Struct:
		m.fill(field, depth+1)
	case reflect.Slice:
		if isBytes(kind) {
			field.SetBytes(m.bytes(name))
			return
		}
		count := m.random.IntN(4)
		if depth == 0 && chance(m.random, 5) {
			count = 12
		}
		if (kind.Elem().Kind() == reflect.Pointer || kind.Elem().Kind() == reflect.Struct) && depth >= maxDepth {
			count = 0
		}
		if count > 0 {
			field.Set(reflect.MakeSlice(kind, count, count))
		}
		for i := range count {
			m.set(field.Index(i), name, depth)
		}
	case reflect.Bool:
		field.SetBool(chance(m.random, 50))
	case reflect.String:
		field.SetString(m.text(name))
	case reflect.Int32:
		field.SetInt(int64(m.int32(kind)))
	case reflect.Int64:
		field.SetInt(int64(m.uint64()))
	case reflect.Uint32:
		field.SetUint(m.uint64() & math.MaxUint32)
	case reflect.Uint64:
		value := m.uint64()
		if m.request {
			value %= maxTimestamp
		}
		field.SetUint(value)
	case reflect.Float64:
		field.SetFloat(float64(m.random.IntN(1000)) / 8)
	default:
		panic(fmt.Sprintf("%s: cannot make a %s", name, kind))
	}
}

// uint64 has every length on the wire.
func (m *maker) uint64() uint64 {
	return m.random.Uint64() >> m.random.UintN(64)
}

// enumOf knows how many values an enum has, from the names that its generated code gives.
var enumOf = map[reflect.Type][]int32{}

func (m *maker) int32(kind reflect.Type) int32 {
	if kind.PkgPath() == "" {
		return int32(m.uint64())
	}
	values, known := enumOf[kind]
	if !known {
		for i := range int32(maxEnum) {
			value := reflect.New(kind).Elem()
			value.SetInt(int64(i))
			if name := value.Interface().(fmt.Stringer).String(); name != strconv.Itoa(int(i)) {
				values = append(values, i)
			}
		}
		enumOf[kind] = values
	}
	return values[m.random.IntN(len(values))]
}

func (m *maker) text(name string) string {
	field := name[strings.LastIndexByte(name, '.')+1:]
	if m.request && field == "Cf" {
		return families[m.random.IntN(len(families))]
	}
	if m.request || !humanTexts[field] {
		return names[m.random.IntN(len(names))]
	}
	if chance(m.random, m.quotingPercent) {
		return quotingTexts[m.random.IntN(len(quotingTexts))]
	}
	return plainTexts[m.random.IntN(len(plainTexts))]
}

func (m *maker) bytes(name string) []byte {
	switch {
	case m.request:
		return clientKey(m.random, m.emptyPercent)
	case answerKeys[name]:
		return m.store.key()
	default:
		return randomBytes(m.random, m.random.IntN(24))
	}
}

// settle makes fields of one message agree, where a store or a client would never send anything else.
func (m *maker) settle(message reflect.Value) {
	switch message := message.Addr().Interface().(type) {
	case *metapb.Region:
		message.StartKey, message.EndKey = m.store.regionBounds()
	case *errorpb.KeyNotInRegion:
		message.StartKey, message.EndKey = m.store.regionBounds()
		message.Key = m.store.key()
	case *errorpb.BucketVersionNotMatch:
		message.Keys = m.bucketKeys()
	case *metapb.Buckets:
		message.Keys = m.bucketKeys()
	case *coprocessor.KeyRange:
		if !m.request {
			message.Start, message.End = m.store.bounds()
		}
	case *kvrpcpb.LockInfo:
		if m.store.foreignPercent == 0 {
			// CodecV2 takes no lock without its two keys, and no store sends one.
			message.Key, message.PrimaryLock = m.store.key(), m.store.key()
		}
	case *coprocessor.Request:
		m.settlePlan(message)
	case *kvrpcpb.Mutation:
		message.Op = writes[m.random.IntN(len(writes))]
	case *kvrpcpb.PessimisticLockRequest:
		message.LockTtl %= maxLockTTL + 1
		for _, mutation := range message.Mutations {
			mutation.Op = kvrpcpb.Op_PessimisticLock
		}
		message.Mutations = distinct(message.Mutations, mutationKey)
		message.StartVersion = max(message.StartVersion, 1)
	case *kvrpcpb.ScanRequest:
		message.Limit %= maxLimit + 1
	case *kvrpcpb.ScanLockRequest:
		message.Limit %= maxLimit + 1
		message.StartKey, message.EndKey = ordered(message.StartKey, message.EndKey)
	case *kvrpcpb.UnsafeDestroyRangeRequest:
		message.StartKey, message.EndKey = ordered(clientKey(m.random, 0), clientKey(m.random, 0))
	case *kvrpcpb.SplitRegionRequest:
		message.IsRawKv = false
	case *kvrpcpb.PrewriteRequest:
		message.LockTtl %= maxLockTTL + 1
		message.SkipConstraintCheck = false
		if len(message.Mutations) == 0 {
			mutation := &kvrpcpb.Mutation{Op: kvrpcpb.Op_Put, Key: clientKey(m.random, 0)}
			message.Mutations = append(message.Mutations, mutation)
		}
		message.Mutations = distinct(message.Mutations, mutationKey)
		message.StartVersion = max(message.StartVersion, 1)
		if message.ForUpdateTs != 0 {
			// One for each mutation.
			message.PessimisticActions = append(message.PessimisticActions, make([]kvrpcpb.PrewriteRequest_PessimisticAction, len(message.Mutations))...)[:len(message.Mutations)]
		}
	case *kvrpcpb.FlushRequest:
		message.LockTtl %= maxLockTTL + 1
		message.Mutations = distinct(message.Mutations, mutationKey)
		message.StartTs = max(message.StartTs, 1)
	case *kvrpcpb.TxnHeartBeatRequest:
		message.AdviseLockTtl %= maxLockTTL + 1
	case *kvrpcpb.CommitRequest:
		if len(message.Keys) == 0 {
			message.Keys = append(message.Keys, clientKey(m.random, 0))
		}
		message.Keys = distinct(message.Keys, bytes.Clone)
		message.StartVersion = max(message.StartVersion, 1)
	case *kvrpcpb.BatchRollbackRequest:
		message.Keys = distinct(message.Keys, bytes.Clone)
		message.StartVersion = max(message.StartVersion, 1)
	case *kvrpcpb.CheckSecondaryLocksRequest:
		message.Keys = distinct(message.Keys, bytes.Clone)
		message.StartVersion = max(message.StartVersion, 1)
	case *kvrpcpb.CheckTxnStatusRequest:
		message.LockTs = max(message.LockTs, 1)
	case *kvrpcpb.CleanupRequest:
		message.StartVersion = max(message.StartVersion, 1)
	case *kvrpcpb.RawScanRequest:
		message.Limit %= maxLimit + 1
	case *kvrpcpb.Context:
		message.MaxExecutionDurationMs %= maxDurationMs + 1
	case *kvrpcpb.ResourceControlContext:
		message.OverridePriority %= maxPriority + 1
	case *resource_manager.Consumption:
		message.SqlLayerCpuTimeMs = min(message.SqlLayerCpuTimeMs, message.TotalCpuTimeMs)
	case *kvrpcpb.ResolveLockRequest:
		message.Keys = distinct(message.Keys, bytes.Clone)
		if len(message.Keys) > 0 {
			message.StartVersion = max(message.StartVersion, 1)
		}
		message.CommitVersion = commitAfter(message.StartVersion, message.CommitVersion)
	case *kvrpcpb.TxnInfo:
		message.Txn = max(message.Txn, 1)
		message.Status = commitAfter(message.Txn, message.Status)
	case *kvrpcpb.KvPair:
		if m.request {
			// Only answers have errors.
			message.Error = nil
		}
	case *kvrpcpb.StoreSafeTSRequest:
		if message.KeyRange == nil {
			// CodecV2 panics without.
			message.KeyRange = &kvrpcpb.KeyRange{}
		}
	}
}

// distinct keeps the first item of each key.
func distinct[T any](items []T, keyOf func(T) []byte) []T {
	seen := map[string]bool{}
	return slices.DeleteFunc(items, func(item T) bool {
		key := string(keyOf(item))
		again := seen[key]
		seen[key] = true
		return again
	})
}

func mutationKey(mutation *kvrpcpb.Mutation) []byte { return mutation.Key }

// ordered puts the lower bound first. An empty upper bound lies behind all keys.
func ordered(start, end []byte) ([]byte, []byte) {
	if len(end) > 0 && bytes.Compare(start, end) > 0 {
		return end, start
	}
	return start, end
}

// commitAfter is 0, or a timestamp behind the start.
func commitAfter(start, commit uint64) uint64 {
	if commit == 0 {
		return 0
	}
	return max(commit, start+1)
}

// bucketKeys are the borders inside a region, the region's own ones included.
func (m *maker) bucketKeys() [][]byte {
	if chance(m.random, 20) {
		return nil
	}
	start, end := m.store.regionBounds()
	keys := [][]byte{start}
	for range m.random.IntN(4) {
		keys = append(keys, memcomparable(m.store.v2.EncodeKey(clientKey(m.random, 0))))
	}
	return append(keys, end)
}

// Coprocessor request types of tipb.
const (
	copDAG      = 103
	copAnalyze  = 104
	copChecksum = 105
)

// settlePlan gives a coprocessor request a type and a plan of that type.
func (m *maker) settlePlan(request *coprocessor.Request) {
	switch m.random.IntN(3) {
	case 0:
		request.Tp = copDAG
		request.Data = mustMarshal(&tipb.DAGRequest{
			OutputOffsets: []uint32{0, m.random.Uint32N(3)},
			Executors: []*tipb.Executor{{
				Tp:      tipb.ExecType_TypeTableScan,
				TblScan: &tipb.TableScan{TableId: m.random.Int64N(1 << 40), Columns: []*tipb.ColumnInfo{{ColumnId: 1}}},
			}},
		})
	case 1:
		request.Tp = copAnalyze
		request.Data = mustMarshal(&tipb.AnalyzeReq{
			Tp:     tipb.AnalyzeType_TypeFullSampling,
			ColReq: &tipb.AnalyzeColumnsReq{SampleSize: m.random.Int64N(100), SketchSize: 10000},
		})
	default:
		request.Tp = copChecksum
		checksum := &tipb.ChecksumRequest{
			ScanOn:    tipb.ChecksumScanOn(m.random.IntN(2)),
			Algorithm: tipb.ChecksumAlgorithm_Crc64_Xor,
		}
		if chance(m.random, 30) {
			checksum.Rule = &tipb.ChecksumRewriteRule{
				OldPrefix: clientKey(m.random, 10),
				NewPrefix: clientKey(m.random, 0),
			}
		}
		request.Data = mustMarshal(checksum)
	}
}
