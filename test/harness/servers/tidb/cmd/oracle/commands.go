package main

import (
	"fmt"
	"reflect"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/tikv/client-go/v2/tikvrpc"
)

// needs says which key spaces a command is for.
type needs int

const (
	anySpace needs = iota
	txnSpace
	rawSpace
)

// command is one of tikvrpc's.
type command struct {
	cmd    tikvrpc.CmdType
	method string
	needs  needs
	// The filter turns the method away.
	refused bool
	// Its messages hold no key at all.
	keyless bool
}

// commands are all that tikvrpc knows and tikvpb.Tikv serves. `checkCommands` holds them against tikvrpc.
var commands = []command{
	{cmd: tikvrpc.CmdGet, method: "KvGet", needs: txnSpace},
	{cmd: tikvrpc.CmdScan, method: "KvScan", needs: txnSpace},
	{cmd: tikvrpc.CmdPrewrite, method: "KvPrewrite", needs: txnSpace},
	{cmd: tikvrpc.CmdCommit, method: "KvCommit", needs: txnSpace},
	{cmd: tikvrpc.CmdCleanup, method: "KvCleanup", needs: txnSpace},
	{cmd: tikvrpc.CmdBatchGet, method: "KvBatchGet", needs: txnSpace},
	{cmd: tikvrpc.CmdBatchRollback, method: "KvBatchRollback", needs: txnSpace},
	{cmd: tikvrpc.CmdScanLock, method: "KvScanLock", needs: txnSpace},
	{cmd: tikvrpc.CmdResolveLock, method: "KvResolveLock", needs: txnSpace},
	{cmd: tikvrpc.CmdGC, method: "KvGC", refused: true},
	{cmd: tikvrpc.CmdDeleteRange, method: "KvDeleteRange", needs: txnSpace},
	{cmd: tikvrpc.CmdPessimisticLock, method: "KvPessimisticLock", needs: txnSpace},
	{cmd: tikvrpc.CmdPessimisticRollback, method: "KVPessimisticRollback", needs: txnSpace},
	{cmd: tikvrpc.CmdTxnHeartBeat, method: "KvTxnHeartBeat", needs: txnSpace},
	{cmd: tikvrpc.CmdCheckTxnStatus, method: "KvCheckTxnStatus", needs: txnSpace},
	{cmd: tikvrpc.CmdCheckSecondaryLocks, method: "KvCheckSecondaryLocks", needs: txnSpace},
	{cmd: tikvrpc.CmdFlashbackToVersion, method: "KvFlashbackToVersion", refused: true},
	{cmd: tikvrpc.CmdPrepareFlashbackToVersion, method: "KvPrepareFlashbackToVersion", refused: true},
	{cmd: tikvrpc.CmdFlush, method: "KvFlush", needs: txnSpace},
	{cmd: tikvrpc.CmdBufferBatchGet, method: "KvBufferBatchGet", needs: txnSpace},

	{cmd: tikvrpc.CmdRawGet, method: "RawGet", needs: rawSpace},
	{cmd: tikvrpc.CmdRawBatchGet, method: "RawBatchGet", needs: rawSpace},
	{cmd: tikvrpc.CmdRawPut, method: "RawPut", needs: rawSpace},
	{cmd: tikvrpc.CmdRawBatchPut, method: "RawBatchPut", needs: rawSpace},
	{cmd: tikvrpc.CmdRawDelete, method: "RawDelete", needs: rawSpace},
	{cmd: tikvrpc.CmdRawBatchDelete, method: "RawBatchDelete", needs: rawSpace},
	{cmd: tikvrpc.CmdRawDeleteRange, method: "RawDeleteRange", needs: rawSpace},
	{cmd: tikvrpc.CmdRawScan, method: "RawScan", needs: rawSpace},
	{cmd: tikvrpc.CmdRawGetKeyTTL, method: "RawGetKeyTTL", needs: rawSpace},
	{cmd: tikvrpc.CmdRawCompareAndSwap, method: "RawCompareAndSwap", needs: rawSpace},
	{cmd: tikvrpc.CmdRawChecksum, method: "RawChecksum", refused: true},

	{cmd: tikvrpc.CmdUnsafeDestroyRange, method: "UnsafeDestroyRange", needs: txnSpace},
	{cmd: tikvrpc.CmdRegisterLockObserver, method: "RegisterLockObserver", refused: true},
	{cmd: tikvrpc.CmdCheckLockObserver, method: "CheckLockObserver", refused: true},
	{cmd: tikvrpc.CmdRemoveLockObserver, method: "RemoveLockObserver", refused: true},
	{cmd: tikvrpc.CmdPhysicalScanLock, method: "PhysicalScanLock", refused: true},
	{cmd: tikvrpc.CmdStoreSafeTS, method: "GetStoreSafeTS"},
	{cmd: tikvrpc.CmdLockWaitInfo, method: "GetLockWaitInfo"},
	{cmd: tikvrpc.CmdGetHealthFeedback, method: "GetHealthFeedback"},
	{cmd: tikvrpc.CmdBroadcastTxnStatus, method: "BroadcastTxnStatus", refused: true},

	{cmd: tikvrpc.CmdCop, method: "Coprocessor", needs: txnSpace},
	{cmd: tikvrpc.CmdCopStream, method: "CoprocessorStream", refused: true},
	{cmd: tikvrpc.CmdBatchCop, method: "BatchCoprocessor", refused: true},
	{cmd: tikvrpc.CmdMPPTask, method: "DispatchMPPTask", refused: true},
	{cmd: tikvrpc.CmdMPPConn, method: "EstablishMPPConnection", refused: true},
	{cmd: tikvrpc.CmdMPPCancel, method: "CancelMPPTask", refused: true},
	{cmd: tikvrpc.CmdMPPAlive, method: "IsAlive", keyless: true},

	{cmd: tikvrpc.CmdMvccGetByKey, method: "MvccGetByKey", needs: txnSpace},
	{cmd: tikvrpc.CmdMvccGetByStartTs, method: "MvccGetByStartTs", refused: true},
	{cmd: tikvrpc.CmdSplitRegion, method: "SplitRegion"},

	{cmd: tikvrpc.CmdCompact, method: "Compact", refused: true},
	{cmd: tikvrpc.CmdGetTiFlashSystemTable, method: "GetTiFlashSystemTable", refused: true},
}

// Of tikvrpc's commands these are of another service than tikvpb.Tikv.
var elsewhere = []tikvrpc.CmdType{tikvrpc.CmdDebugGetRegionProperties}

const maxCmd = 1 << 13

// checkCommands fails when tikvrpc knows a command that is not listed here.
func checkCommands() error {
	listed := map[tikvrpc.CmdType]bool{}
	for _, c := range commands {
		listed[c.cmd] = true
	}
	for _, cmd := range elsewhere {
		listed[cmd] = true
	}
	for cmd := tikvrpc.CmdType(0); cmd < maxCmd; cmd++ {
		if cmd.String() != "Unknown" && !listed[cmd] {
			return fmt.Errorf("tikvrpc knows the command %s, which is not in the list", cmd)
		}
	}
	return nil
}

func (c command) path() string {
	return "/tikvpb.Tikv/" + c.method
}

// types gives the message types of a method that the filter lets through.
func (c command) types() (request, response reflect.Type, err error) {
	if c.cmd == tikvrpc.CmdCopStream {
		return reflect.TypeOf(coprocessor.Request{}), reflect.TypeOf(coprocessor.Response{}), nil
	}
	method, ok := reflect.TypeOf((*tikvpb.TikvServer)(nil)).Elem().MethodByName(c.method)
	if !ok || method.Type.NumIn() != 2 || method.Type.NumOut() != 2 {
		return nil, nil, fmt.Errorf("tikvpb.Tikv has no unary method %s", c.method)
	}
	return method.Type.In(1).Elem(), method.Type.Out(0).Elem(), nil
}

// setContext puts a context, or none, into a request that can have one.
func setContext(request any, context *kvrpcpb.Context) {
	if field := reflect.ValueOf(request).Elem().FieldByName("Context"); field.IsValid() {
		field.Set(reflect.ValueOf(context))
	}
}

// contextOf gives the context of a request that has one.
func contextOf(request any) *kvrpcpb.Context {
	field := reflect.ValueOf(request).Elem().FieldByName("Context")
	if !field.IsValid() {
		return nil
	}
	return field.Interface().(*kvrpcpb.Context)
}
