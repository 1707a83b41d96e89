package main

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/deadlock"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/tipb/go-tipb"
	"github.com/tikv/client-go/v2/tikvrpc"
)

// withheld is what the filter puts in the place of a text that may quote keys.
const withheld = "tidb-mesh: the text of this error is withheld, it may quote keys of the store"

// difference is one thing in which the filter does something else than upstream, on purpose.
type difference struct {
	ID string `json:"id"`
	// Where says which commands and fields it is about.
	Where string `json:"where"`
	// Upstream and Ours say what each makes of it.
	Upstream string `json:"upstream"`
	Ours     string `json:"ours"`
	Reason   string `json:"reason"`
}

const (
	methodRefused = "method-refused"
	wrongSpace    = "wrong-space"
	emptyKey      = "empty-key"
	flushKeys     = "flush-keys"
	bufferGetKeys = "buffer-batch-get-keys"
	mvccKey       = "mvcc-key"
	splitKey      = "split-key"
	regionUnknown = "region-unknown"
	regionMissing = "region-missing"
	checksumRule  = "checksum-rule"
	groupName     = "resource-group"

	plainAnswer     = "answers-without-a-case"
	batchTasks      = "coprocessor-batch-responses"
	mvccInfo        = "mvcc-info"
	lockWait        = "lock-wait-entries"
	splitRegions    = "split-left-right"
	splitErrors     = "split-errors"
	primaryMismatch = "primary-mismatch"
	deadlockKey     = "deadlock-key"
	regionKeyError  = "key-not-in-region"
	bucketError     = "bucket-version-not-match"
	encryption      = "region-encryption"
	textWithheld    = "text-withheld"
	noKey           = "no-key"
	foreignKey      = "foreign-key"
	foreignPair     = "foreign-pair"
	foreignLock     = "foreign-lock"
	foreignWait     = "foreign-wait"
	foreignRange    = "foreign-range"
	foreignRegion   = "foreign-region"
	shortBorder     = "short-border"
	addedContext    = "context-added"

	pdOldLists = "pd-old-lists"
	pdBuckets  = "pd-buckets"
	pdRegion   = "pd-foreign-region"

	etcdLease = "etcd-lease"
	etcdWatch = "etcd-watch-all"
)

// differences is the whole list. Each one must come up in a run, and be exactly as the code below makes it.
var differences = []difference{
	{methodRefused, "KvGC, lock observers, PhysicalScanLock, MvccGetByStartTs, BroadcastTxnStatus, BatchCoprocessor, MPP, Compact, TiFlash's tables",
		"maps what it knows of them", "the method is refused",
		"they act on, or answer with, what belongs to all tenants; TiFlash decodes keys that never pass the filter"},
	{wrongSpace, "Raw* in a txn keyspace, transactions and the coprocessor in a raw one",
		"puts the mode's prefix on any command", "refused",
		"the store keeps raw and txn data under different prefixes: such a request is a mistake, or worse"},
	{emptyKey, "one exact key that is absent: Get.key, Mutation.key, primaries, RawPut.key …",
		"takes it for the keyspace's own empty key", "refused",
		"no client has an empty key; absent it looks the same as forgotten"},
	{flushKeys, "Flush.mutations.key, primary_key", "left as they are", "mapped", "CodecV2 has no case for Flush"},
	{bufferGetKeys, "BufferBatchGet.keys", "left as they are", "mapped", "CodecV2 has no case for BufferBatchGet"},
	{mvccKey, "MvccGetByKey.key", "memcomparable", "raw, as CodecV1 sends it",
		"TiKV encodes the key itself (service/kv.rs: Key::from_raw), so CodecV2's finds nothing"},
	{splitKey, "SplitRegion.split_key", "left as it is", "mapped when it is there", "an older form of split_keys"},
	{regionUnknown, "ResolveLock and PessimisticRollback without keys: context.region_epoch.version", "sent as it is", "0 until the region is known to be the tenant's",
		"they act on all that the region holds; 0 is answered with EpochNotMatch, which clients retry"},
	{regionMissing, "the same without a region id or version", "sent as it is", "refused", "nobody can tell what it would act on"},
	{checksumRule, "Cop of type 105: data (tipb.ChecksumRequest.rule)", "left as it is", "new_prefix is the keyspace's prefix",
		"the checksum equals that of a cluster without keyspaces only when the prefix does not count"},
	{groupName, "context.resource_control_context.resource_group_name, but for `default`", "sent as it is", "the tenant's number and a colon in front",
		"PD and the stores have one list of groups for all; `default` is shared"},

	{plainAnswer, "answers of Flush, BufferBatchGet, LockWaitInfo, HealthFeedback: region_error, error(s), pairs", "left as they are", "mapped",
		"CodecV2 has no case for them"},
	{batchTasks, "Cop.batch_responses: region_error, locked", "left as they are", "mapped", "CodecV2 misses them"},
	{mvccInfo, "MvccGetByKey.info.lock: primary, secondaries", "left as they are", "mapped", "CodecV2 misses them"},
	{lockWait, "LockWaitInfo.entries.key", "left as they are", "mapped", "CodecV2 has no case for them"},
	{splitRegions, "SplitRegion.left, right", "left as they are", "mapped", "an older form of regions"},
	{splitErrors, "SplitRegion.errors", "left as they are", "mapped", "CodecV2 misses them"},
	{primaryMismatch, "KeyError.primary_mismatch.lock_info", "left as it is", "mapped", "CodecV2 misses it"},
	{deadlockKey, "KeyError.deadlock.deadlock_key", "left as it is", "mapped", "CodecV2 misses it"},
	{regionKeyError, "region_error.key_not_in_region: key, start_key, end_key", "mapped; a foreign one fails the whole answer", "taken out",
		"TiKV fills them from several layers, raw in one and encoded in another; clients look only at which error it is"},
	{bucketError, "region_error.bucket_version_not_match.keys", "left as they are", "taken out", "keys of the region's other owners among them"},
	{encryption, "metapb.Region.encryption_meta", "passes", "taken out", "it is the store's own"},
	{textWithheld, "texts of errors that hold escapes, long hex or other bytes than ASCII", "pass", "a fixed sentence", "they may quote another tenant's keys"},
	{noKey, "keys of errors and locks that are empty", "the whole answer fails", "stay empty", "stores leave them out where there is none"},
	{foreignKey, "keys of errors that are another tenant's", "the whole answer fails", "empty", "the rest of the error is the client's own"},
	{foreignPair, "pairs of another tenant", "the whole answer fails", "left out", "a range is never followed past the tenant's end"},
	{foreignLock, "locks on another tenant's keys", "the whole answer fails", "left out", "the same"},
	{foreignWait, "entries of a deadlock's chain on another tenant's keys", "the whole answer fails", "left out", "the same"},
	{foreignRange, "Cop.range outside of the keyspace", "the whole answer fails", "left out", "the same"},
	{foreignRegion, "SplitRegion.regions outside of the keyspace", "the whole answer fails", "left out", "as CodecV2 does for epoch_not_match"},
	{shortBorder, "regions that begin behind the keyspace's keys at a border shorter than its end, such as `y` for keyspace FFFFFF",
		"taken for the keyspace's own, from its first key on", "left out", "they hold none of its keys, and the list of regions would overlap"},
	{addedContext, "LockWaitInfo, HealthFeedback: context", "not sent", "API V2 and the keyspace's id", "a V2 store looks at them in every request that has a context"},

	{pdOldLists, "PD: ScanRegions.region_metas, leaders", "not read when there are regions", "taken out",
		"two parallel lists for clients older than 4.0; dropping from one would shift the other"},
	{pdBuckets, "PD: regions' buckets", "their keys are mapped", "taken out", "only a hint, and other tenants' keys are among them"},
	{pdRegion, "PD: regions outside of the keyspace", "the whole answer fails", "left out", "GetRegionByID may ask for any region; the caller gets none"},

	{etcdLease, "etcd: Put.lease, Compare.lease, LeaseTimeToLive.ID, KeyValue.lease", "left as they are", "moved into the tenant's own block of ids; others' become 0",
		"lease ids are global in etcd: one tenant could revoke another's"},
	{etcdWatch, "etcd: Watch of a range that begins at the empty key", "begins at the prefix itself", "begins one byte behind, as Range does in both",
		"the client library sends \\0 for the empty key, so nobody can tell them apart; and no key is empty"},
}

// lacksKey says whether a request has an exact key that is empty.
func lacksKey(request any) bool {
	found := false
	visit(reflect.ValueOf(request), func(message reflect.Value) {
		for i := range message.NumField() {
			field := message.Type().Field(i)
			if requestKeys[field.Name] && message.Field(i).Len() == 0 {
				found = true
			}
		}
	})
	return found
}

// visit calls f for every message in a message, the outermost first.
func visit(value reflect.Value, f func(reflect.Value)) {
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() && value.Elem().Kind() == reflect.Struct {
			visit(value.Elem(), f)
		}
	case reflect.Struct:
		f(value)
		for i := range value.NumField() {
			visit(value.Field(i), f)
		}
	case reflect.Slice:
		if kind := value.Type().Elem().Kind(); kind == reflect.Pointer || kind == reflect.Struct {
			for i := range value.Len() {
				visit(value.Index(i), f)
			}
		}
	}
}

// oursToStore turns CodecV2's request into the filter's.
func oursToStore(both codecs, c command, sent, stored any, ids *notes) {
	key := func(id string, field *[]byte) {
		ids.add(id)
		*field = both.v2.EncodeKey(*field)
	}
	actsOnRegion := false
	switch stored := stored.(type) {
	case *kvrpcpb.FlushRequest:
		for _, mutation := range stored.Mutations {
			key(flushKeys, &mutation.Key)
		}
		key(flushKeys, &stored.PrimaryKey)
	case *kvrpcpb.BufferBatchGetRequest:
		for i := range stored.Keys {
			key(bufferGetKeys, &stored.Keys[i])
		}
	case *kvrpcpb.MvccGetByKeyRequest:
		ids.add(mvccKey)
		stored.Key = both.v2.EncodeKey(sent.(*kvrpcpb.MvccGetByKeyRequest).Key)
	case *kvrpcpb.SplitRegionRequest:
		if len(stored.SplitKey) > 0 {
			key(splitKey, &stored.SplitKey)
		}
	case *kvrpcpb.ResolveLockRequest:
		actsOnRegion = len(stored.Keys) == 0
	case *kvrpcpb.PessimisticRollbackRequest:
		actsOnRegion = len(stored.Keys) == 0
	case *kvrpcpb.GetLockWaitInfoRequest, *kvrpcpb.GetHealthFeedbackRequest:
		ids.add(addedContext)
		setContext(stored, &kvrpcpb.Context{ApiVersion: both.v2.GetAPIVersion(), KeyspaceId: both.id})
	case *coprocessor.Request:
		if stored.Tp == copChecksum {
			ids.add(checksumRule)
			stored.Data = checksumFor(both, stored.Data)
		}
	}
	if group := contextOf(stored).GetResourceControlContext(); group.GetResourceGroupName() != "" && group.ResourceGroupName != "default" {
		ids.add(groupName)
		group.ResourceGroupName = fmt.Sprintf("%d:%s", both.tenant, group.ResourceGroupName)
	}
	if epoch := contextOf(stored).GetRegionEpoch(); actsOnRegion && epoch.GetVersion() != 0 {
		ids.add(regionUnknown)
		epoch.Version = 0
	}
}

// actsNowhere says whether a request acts on a region and does not name one with its version.
func actsNowhere(sent any) bool {
	switch sent := sent.(type) {
	case *kvrpcpb.ResolveLockRequest:
		if len(sent.Keys) > 0 {
			return false
		}
	case *kvrpcpb.PessimisticRollbackRequest:
		if len(sent.Keys) > 0 {
			return false
		}
	default:
		return false
	}
	context := contextOf(sent)
	return context.GetRegionId() == 0 || context.GetRegionEpoch().GetVersion() == 0
}

func checksumFor(both codecs, data []byte) []byte {
	checksum := parse(reflect.TypeOf(tipb.ChecksumRequest{}), data).(*tipb.ChecksumRequest)
	if checksum.Rule == nil {
		checksum.Rule = &tipb.ChecksumRewriteRule{}
	}
	checksum.Rule.NewPrefix = both.v2.EncodeKey(checksum.Rule.NewPrefix)
	return mustMarshal(checksum)
}

// spare takes out of an answer what the filter takes out and CodecV2 fails on. Keys that become empty become the keyspace's empty key here.
func (c codecs) spare(cmd command, answer any, ids *notes) {
	// CodecV2 looks at the same messages in most places; where it does not, `complete` calls it.
	visit(reflect.ValueOf(answer), func(message reflect.Value) {
		switch message := message.Addr().Interface().(type) {
		case *kvrpcpb.ScanResponse:
			message.Pairs = c.ownPairs(message.Pairs, ids)
		case *kvrpcpb.BatchGetResponse:
			message.Pairs = c.ownPairs(message.Pairs, ids)
		case *kvrpcpb.BufferBatchGetResponse:
			message.Pairs = c.ownPairs(message.Pairs, ids)
		case *kvrpcpb.RawScanResponse:
			message.Kvs = c.ownPairs(message.Kvs, ids)
		case *kvrpcpb.RawBatchGetResponse:
			message.Pairs = c.ownPairs(message.Pairs, ids)
		case *kvrpcpb.ScanLockResponse:
			message.Locks = c.ownLocks(message.Locks, ids)
		case *kvrpcpb.CheckSecondaryLocksResponse:
			message.Locks = c.ownLocks(message.Locks, ids)
		case *kvrpcpb.CheckTxnStatusResponse:
			message.LockInfo = c.ownLock(message.LockInfo, ids)
		case *kvrpcpb.GetLockWaitInfoResponse:
			message.Entries = c.ownWaits(message.Entries, ids)
		case *kvrpcpb.KeyError:
			message.Locked = c.ownLock(message.Locked, ids)
		case *kvrpcpb.PrimaryMismatch:
			message.LockInfo = c.ownLock(message.LockInfo, ids)
		case *kvrpcpb.LockInfo:
			c.spareKey(&message.PrimaryLock, ids)
			for i := range message.Secondaries {
				c.spareKey(&message.Secondaries[i], ids)
			}
			if len(message.Key) == 0 {
				c.spareKey(&message.Key, ids)
			}
		case *kvrpcpb.WriteConflict:
			c.spareKey(&message.Key, ids)
			c.spareKey(&message.Primary, ids)
		case *kvrpcpb.AlreadyExist:
			c.spareKey(&message.Key, ids)
		case *kvrpcpb.Deadlock:
			c.spareKey(&message.LockKey, ids)
			c.spareKey(&message.DeadlockKey, ids)
			message.WaitChain = c.ownWaits(message.WaitChain, ids)
		case *deadlock.WaitForEntry:
			if len(message.Key) == 0 {
				c.spareKey(&message.Key, ids)
			}
		case *kvrpcpb.CommitTsExpired:
			c.spareKey(&message.Key, ids)
		case *kvrpcpb.TxnNotFound:
			c.spareKey(&message.PrimaryKey, ids)
		case *kvrpcpb.AssertionFailed:
			c.spareKey(&message.Key, ids)
		case *kvrpcpb.MvccLock:
			c.spareKey(&message.Primary, ids)
			for i := range message.Secondaries {
				c.spareKey(&message.Secondaries[i], ids)
			}
		case *errorpb.KeyNotInRegion:
			ids.add(regionKeyError)
			message.Key, message.StartKey, message.EndKey = c.first(), nil, nil
		case *errorpb.EpochNotMatch:
			message.CurrentRegions = slices.DeleteFunc(message.CurrentRegions, func(region *metapb.Region) bool {
				return c.ownsRegion(region.StartKey, region.EndKey) && c.strayRegion(region, ids)
			})
		case *coprocessor.Response:
			message.Locked = c.ownLock(message.Locked, ids)
			if message.Range != nil && !c.ownsRange(message.Range.Start, message.Range.End) {
				ids.add(foreignRange)
				message.Range = nil
			}
		case *coprocessor.StoreBatchTaskResponse:
			message.Locked = c.ownLock(message.Locked, ids)
		case *kvrpcpb.SplitRegionResponse:
			message.Regions = slices.DeleteFunc(message.Regions, func(region *metapb.Region) bool { return c.foreignRegion(region, ids) })
			if message.Left != nil && c.foreignRegion(message.Left, ids) {
				message.Left = nil
			}
			if message.Right != nil && c.foreignRegion(message.Right, ids) {
				message.Right = nil
			}
		}
	})
}

// spareKey makes a key that CodecV2 fails on one that it decodes to nothing.
func (c codecs) spareKey(key *[]byte, ids *notes) {
	if c.owns(*key) {
		return
	}
	if len(*key) == 0 {
		ids.add(noKey)
	} else {
		ids.add(foreignKey)
	}
	*key = c.first()
}

func (c codecs) foreign(key []byte, id string, ids *notes) bool {
	if len(key) == 0 || c.owns(key) {
		return false
	}
	ids.add(id)
	return true
}

func (c codecs) ownPairs(pairs []*kvrpcpb.KvPair, ids *notes) []*kvrpcpb.KvPair {
	return slices.DeleteFunc(pairs, func(pair *kvrpcpb.KvPair) bool { return c.foreign(pair.Key, foreignPair, ids) })
}

func (c codecs) ownLocks(locks []*kvrpcpb.LockInfo, ids *notes) []*kvrpcpb.LockInfo {
	return slices.DeleteFunc(locks, func(lock *kvrpcpb.LockInfo) bool { return c.foreign(lock.Key, foreignLock, ids) })
}

func (c codecs) ownLock(lock *kvrpcpb.LockInfo, ids *notes) *kvrpcpb.LockInfo {
	if lock != nil && c.foreign(lock.Key, foreignLock, ids) {
		return nil
	}
	return lock
}

func (c codecs) ownWaits(entries []*deadlock.WaitForEntry, ids *notes) []*deadlock.WaitForEntry {
	return slices.DeleteFunc(entries, func(entry *deadlock.WaitForEntry) bool { return c.foreign(entry.Key, foreignWait, ids) })
}

func (c codecs) foreignRegion(region *metapb.Region, ids *notes) bool {
	if !c.ownsRegion(region.StartKey, region.EndKey) {
		ids.add(foreignRegion)
		return true
	}
	return c.strayRegion(region, ids)
}

// strayRegion is one that upstream takes for the keyspace's.
func (c codecs) strayRegion(region *metapb.Region, ids *notes) bool {
	if !c.beginsBehind(region.StartKey) {
		return false
	}
	ids.add(shortBorder)
	return true
}

// complete does to a decoded answer what CodecV2 misses, with CodecV2's own decoding of the same message elsewhere.
func (c codecs) complete(cmd command, answer any, ids *notes) {
	switch answer := answer.(type) {
	case *kvrpcpb.FlushResponse:
		answer.RegionError = c.regionError(plainAnswer, answer.RegionError, ids)
		answer.Errors = c.keyErrors(plainAnswer, answer.Errors, ids)
	case *kvrpcpb.BufferBatchGetResponse:
		answer.RegionError = c.regionError(plainAnswer, answer.RegionError, ids)
		answer.Error = c.keyError(plainAnswer, answer.Error, ids)
		if len(answer.Pairs) > 0 {
			ids.add(plainAnswer)
			answer.Pairs = c.must(tikvrpc.CmdBatchGet, &kvrpcpb.BatchGetResponse{Pairs: answer.Pairs}).(*kvrpcpb.BatchGetResponse).Pairs
		}
	case *kvrpcpb.GetHealthFeedbackResponse:
		answer.RegionError = c.regionError(plainAnswer, answer.RegionError, ids)
	case *kvrpcpb.GetLockWaitInfoResponse:
		answer.RegionError = c.regionError(plainAnswer, answer.RegionError, ids)
		for _, entry := range answer.Entries {
			c.key(lockWait, &entry.Key, ids)
		}
	case *kvrpcpb.MvccGetByKeyResponse:
		if lock := answer.Info.GetLock(); lock != nil {
			c.key(mvccInfo, &lock.Primary, ids)
			for i := range lock.Secondaries {
				c.key(mvccInfo, &lock.Secondaries[i], ids)
			}
		}
	case *kvrpcpb.SplitRegionResponse:
		c.region(splitRegions, answer.Left, ids)
		c.region(splitRegions, answer.Right, ids)
		answer.Errors = c.keyErrors(splitErrors, answer.Errors, ids)
	case *coprocessor.Response:
		for _, task := range answer.BatchResponses {
			task.RegionError = c.regionError(batchTasks, task.RegionError, ids)
			task.Locked = c.lock(batchTasks, task.Locked, ids)
		}
	}
	visit(reflect.ValueOf(answer), func(message reflect.Value) {
		switch message := message.Addr().Interface().(type) {
		case *kvrpcpb.PrimaryMismatch:
			message.LockInfo = c.lock(primaryMismatch, message.LockInfo, ids)
		case *kvrpcpb.Deadlock:
			c.key(deadlockKey, &message.DeadlockKey, ids)
		case *errorpb.BucketVersionNotMatch:
			if len(message.Keys) > 0 {
				ids.add(bucketError)
				message.Keys = nil
			}
		case *metapb.Region:
			if message.EncryptionMeta != nil {
				ids.add(encryption)
				message.EncryptionMeta = nil
			}
		}
		for i := range message.NumField() {
			field := message.Field(i)
			if field.Kind() != reflect.String {
				continue
			}
			if slices.Contains(quotingTexts, field.String()) {
				ids.add(textWithheld)
				field.SetString(withheld)
			}
		}
	})
}

func (c codecs) must(cmd tikvrpc.CmdType, answer any) any {
	decoded, err := c.decode(cmd, answer)
	if err != nil {
		panic(err)
	}
	return decoded
}

func (c codecs) key(id string, key *[]byte, ids *notes) {
	ids.add(id)
	decoded, err := c.v2.DecodeKey(*key)
	if err != nil {
		panic(err)
	}
	*key = decoded
}

func (c codecs) region(id string, region *metapb.Region, ids *notes) {
	if region == nil {
		return
	}
	start, end, err := c.v2.DecodeRegionRange(region.StartKey, region.EndKey)
	if err != nil {
		panic(err)
	}
	// A region around the whole store looks the same to everybody.
	if !bytes.Equal(start, region.StartKey) || !bytes.Equal(end, region.EndKey) {
		ids.add(id)
	}
	region.StartKey, region.EndKey = start, end
}

func (c codecs) regionError(id string, e *errorpb.Error, ids *notes) *errorpb.Error {
	return differs(id, e, ids, func(e *errorpb.Error) *errorpb.Error {
		return c.must(tikvrpc.CmdGet, &kvrpcpb.GetResponse{RegionError: e}).(*kvrpcpb.GetResponse).RegionError
	})
}

func (c codecs) keyError(id string, e *kvrpcpb.KeyError, ids *notes) *kvrpcpb.KeyError {
	return differs(id, e, ids, func(e *kvrpcpb.KeyError) *kvrpcpb.KeyError {
		return c.must(tikvrpc.CmdGet, &kvrpcpb.GetResponse{Error: e}).(*kvrpcpb.GetResponse).Error
	})
}

func (c codecs) keyErrors(id string, errors []*kvrpcpb.KeyError, ids *notes) []*kvrpcpb.KeyError {
	for i := range errors {
		errors[i] = c.keyError(id, errors[i], ids)
	}
	return errors
}

func (c codecs) lock(id string, lock *kvrpcpb.LockInfo, ids *notes) *kvrpcpb.LockInfo {
	return differs(id, lock, ids, func(lock *kvrpcpb.LockInfo) *kvrpcpb.LockInfo {
		return c.must(tikvrpc.CmdCheckTxnStatus, &kvrpcpb.CheckTxnStatusResponse{LockInfo: lock}).(*kvrpcpb.CheckTxnStatusResponse).LockInfo
	})
}

// differs notes the id when f changes a message.
func differs[M interface {
	comparable
	message
}](id string, m M, ids *notes, f func(M) M) M {
	var none M
	if m == none {
		return m
	}
	before := mustMarshal(m)
	after := f(m)
	if !bytes.Equal(before, mustMarshal(after)) {
		ids.add(id)
	}
	return after
}

// wearV1 gives the region keys of a decoded answer the form in which a client without keyspaces expects them.
func (c codecs) wearV1(answer any) {
	visit(reflect.ValueOf(answer), func(message reflect.Value) {
		switch message := message.Addr().Interface().(type) {
		case *metapb.Region:
			message.StartKey, message.EndKey = c.asV1(message.StartKey), c.asV1(message.EndKey)
		case *errorpb.KeyNotInRegion:
			message.StartKey, message.EndKey = c.asV1(message.StartKey), c.asV1(message.EndKey)
		case *metapb.Buckets:
			for i := range message.Keys {
				message.Keys[i] = c.asV1(message.Keys[i])
			}
		}
	})
}
