package main

import (
	"bytes"
	"context"
	"math"
	"path"
	"reflect"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pingcap/kvproto/pkg/cdcpb"
	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/import_sstpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/log"
	"github.com/pingcap/tidb/pkg/kv"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/tikv"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// service is unistore's gRPC service with TiKV's checks in front and the methods that unistore gets wrong replaced.
type service struct {
	*tikv.Server
	engine  *engine
	modes   apiMode
	regions *regions
	stats   *counters
	pending *pending
	waiting *lockWaits
	// Regions that are being flashed back.
	flashbacks *flashbacks
	holding    *commitHold
	// Of health feedback; TiKV starts at the wall clock too.
	feedback atomic.Uint64
}

func newService(eng *engine, stats *counters) *service {
	s := &service{
		Server: eng.server, engine: eng, modes: eng.mode, regions: eng.regions, stats: stats, pending: newPending(),
		waiting: newLockWaits(eng.bundle.LockStore), flashbacks: newFlashbacks(),
		holding: &commitHold{locks: eng.bundle.LockStore},
	}
	s.feedback.Store(uint64(time.Now().UnixMilli()))
	return s
}

func newGRPCServer(s *service, wire wireFormat, more ...grpc.ServerOption) *grpc.Server {
	codec := encoding.GetCodec("proto")
	if wire == wireTiKV {
		codec = tikvCodec{codec}
	}
	options := append(more,
		grpc.ForceServerCodec(codec),
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.InitialWindowSize(2<<20),
		grpc.InitialConnWindowSize(16<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			method := path.Base(info.FullMethod)
			// Coprocessor checks each of its tasks by itself.
			if _, tasks := req.(*coprocessor.Request); tasks {
				return recovered(ctx, method, req, next)
			}
			return s.guarded(ctx, method, req, next)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			s.stats.request(path.Base(info.FullMethod))
			_, err := recovered(stream.Context(), path.Base(info.FullMethod), nil,
				func(context.Context, any) (any, error) { return nil, next(srv, stream) })
			return err
		}),
	)
	server := grpc.NewServer(options...)
	tikvpb.RegisterTikvServer(server, s)
	import_sstpb.RegisterImportSSTServer(server, newImporter(s))
	cdcpb.RegisterChangeDataServer(server, &changeData{s.engine.feeds})
	healthpb.RegisterHealthServer(server, health.NewServer())
	return server
}

// recovered turns a panic, unistore's way to say "not implemented", into a status.
func recovered(ctx context.Context, method string, req any, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if failure := recover(); failure != nil {
			log.Error("panic", zap.String("method", method), zap.Any("reason", failure), zap.ByteString("stack", debug.Stack()))
			resp, err = nil, status.Errorf(codes.Unimplemented, "%s: %v", method, failure)
		}
	}()
	return next(ctx, req)
}

// guarded serves one request, alone or out of BatchCommands, behind the checks.
func (s *service) guarded(ctx context.Context, method string, req any, next grpc.UnaryHandler) (any, error) {
	s.stats.request(method)
	s.stats.group(req)
	command, known := commands[reflect.TypeOf(req)]
	if !known {
		return recovered(ctx, method, req, next)
	}
	claim := command.claim(req)
	failure, err := s.admit(method, claim)
	if failure != nil {
		return command.refuse(failure), nil
	}
	if err != nil {
		answer := command.refuse(nil)
		if !abort(answer, err.Error()) {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		return answer, nil
	}
	switch req.(type) {
	case *kvrpcpb.GetRequest, *kvrpcpb.BatchGetRequest, *kvrpcpb.ScanRequest, *coprocessor.Request:
		if err := s.pending.wait(ctx, claim); err != nil {
			return nil, err
		}
	}
	return recovered(ctx, method, req, next)
}

// admit holds a claim against the store's mode and its region. A failure is a region error, which clients retry; an error
// is not.
func (s *service) admit(method string, c claim) (failure *errorpb.Error, err error) {
	err = s.modes.check(method, c.context.GetApiVersion(), c)
	if err == nil {
		err = c.invalid
	}
	if err != nil {
		s.refuse(method, err.Error())
		return nil, err
	}
	r, failure := s.regions.resolve(c.context)
	if failure == nil {
		failure = s.flashbacks.check(method, r.meta.Id)
	}
	if failure == nil {
		var clamped int
		clamped, failure = r.check(c)
		s.stats.clampedRanges.Add(uint64(clamped))
	}
	if failure != nil {
		s.count(method, failure)
	}
	return failure, nil
}

func (s *service) count(method string, failure *errorpb.Error) {
	switch {
	case failure.KeyNotInRegion != nil:
		s.stats.outside(method)
		log.Warn("a key outside its region", zap.String("method", method), zap.String("reason", failure.Message))
	case failure.EpochNotMatch != nil:
		s.stats.epochNotMatch.Add(1)
	case failure.RegionNotFound == nil && failure.StoreNotMatch == nil && failure.FlashbackInProgress == nil:
		s.refuse(method, failure.Message)
	}
}

// refuse counts a request that no retry can help.
func (s *service) refuse(method, reason string) {
	s.stats.refused.Add(1)
	log.Warn("refused", zap.String("method", method), zap.String("reason", reason))
}

// Coprocessor serves the request and the tasks that TiDB batches into it, each with its own region and its own outcome.
func (s *service) Coprocessor(ctx context.Context, req *coprocessor.Request) (*coprocessor.Response, error) {
	tasks := req.Tasks
	req.Tasks = nil
	resp, err := s.coprocessorTask(ctx, "Coprocessor", req)
	if err != nil {
		return nil, err
	}
	for _, task := range tasks {
		own := *req
		region := *req.Context
		region.RegionId, region.RegionEpoch, region.Peer = task.RegionId, task.RegionEpoch, task.Peer
		own.Context, own.Ranges, own.IsCacheEnabled = &region, task.Ranges, false
		answer, err := s.coprocessorTask(ctx, "CoprocessorTask", &own)
		if err != nil {
			return nil, err
		}
		resp.BatchResponses = append(resp.BatchResponses, &coprocessor.StoreBatchTaskResponse{
			TaskId:        task.TaskId,
			Data:          answer.Data,
			RegionError:   answer.RegionError,
			Locked:        answer.Locked,
			OtherError:    answer.OtherError,
			ExecDetailsV2: answer.ExecDetailsV2,
		})
	}
	return resp, nil
}

func (s *service) coprocessorTask(ctx context.Context, method string, req *coprocessor.Request) (*coprocessor.Response, error) {
	// Before the region check, which clamps. TiKV asks nothing of a checksum's ranges.
	var invalid error
	if req.Tp != kv.ReqTypeChecksum {
		invalid = checkTableRanges(req.Ranges, req.GetContext().GetApiVersion())
	}
	keyspace := keyspaceOf(req.Ranges)
	resp, err := s.guarded(ctx, method, req, func(ctx context.Context, _ any) (any, error) {
		if invalid != nil {
			s.refuse(method, invalid.Error())
			return &coprocessor.Response{OtherError: invalid.Error()}, nil
		}
		switch {
		case req.Tp == kv.ReqTypeChecksum:
			return s.engine.checksum(req)
		case req.GetContext().GetApiVersion() == kvrpcpb.APIVersion_V2:
			return s.engine.keyspaceCoprocessor(keyspace, req)
		}
		return s.Server.Coprocessor(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	return resp.(*coprocessor.Response), nil
}

// KvScanLock narrows unistore's answer, which is that of the whole region, to the request's range. Unistore leaves out locks
// at the version itself.
func (s *service) KvScanLock(ctx context.Context, req *kvrpcpb.ScanLockRequest) (*kvrpcpb.ScanLockResponse, error) {
	whole := *req
	whole.Limit = math.MaxUint32
	if whole.MaxVersion < math.MaxUint64 {
		whole.MaxVersion++
	}
	resp, err := s.Server.KvScanLock(ctx, &whole)
	if err != nil {
		return nil, err
	}
	resp.Locks = slices.DeleteFunc(resp.Locks, func(lock *kvrpcpb.LockInfo) bool {
		return bytes.Compare(lock.Key, req.StartKey) < 0 || bytes.Compare(lock.Key, req.EndKey) >= 0
	})
	if req.Limit > 0 && len(resp.Locks) > int(req.Limit) {
		resp.Locks = resp.Locks[:req.Limit]
	}
	return resp, nil
}

// SplitRegion goes past unistore, which drops its region checks' outcome.
func (s *service) SplitRegion(_ context.Context, req *kvrpcpb.SplitRegionRequest) (*kvrpcpb.SplitRegionResponse, error) {
	if _, _, failure := s.regions.GetStoreInfoFromCtx(req.Context); failure != nil {
		return &kvrpcpb.SplitRegionResponse{RegionError: failure}, nil
	}
	resp := s.regions.SplitRegion(req)
	if resp.RegionError != nil {
		s.count("SplitRegion", resp.RegionError)
	}
	return resp, nil
}

// BroadcastTxnStatus is a hint that spares readers a lookup of large transactions: taking no note of it is allowed.
func (s *service) BroadcastTxnStatus(context.Context, *kvrpcpb.BroadcastTxnStatusRequest) (*kvrpcpb.BroadcastTxnStatusResponse, error) {
	return &kvrpcpb.BroadcastTxnStatusResponse{}, nil
}

// GetHealthFeedback reports the best score.
func (s *service) GetHealthFeedback(context.Context, *kvrpcpb.GetHealthFeedbackRequest) (*kvrpcpb.GetHealthFeedbackResponse, error) {
	return &kvrpcpb.GetHealthFeedbackResponse{HealthFeedback: &kvrpcpb.HealthFeedback{
		StoreId: s.regions.store.Id, FeedbackSeqNo: s.feedback.Add(1), SlowScore: 1,
	}}, nil
}
