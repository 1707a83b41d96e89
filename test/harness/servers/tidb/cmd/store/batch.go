package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type (
	batchRequest  = tikvpb.BatchCommandsRequest_Request
	batchResponse = tikvpb.BatchCommandsResponse_Response
)

// Answers that wait for the stream; a full queue holds the commands back.
const batchQueue = 1024

type batchAnswer struct {
	id   uint64
	resp *batchResponse
}

// BatchCommands serves each sub-request on a goroutine of its own and answers as they finish, out of order. A
// sub-request that fails as a whole (not with an error in its answer) ends the stream, so that nobody waits for it.
func (s *service) BatchCommands(stream tikvpb.Tikv_BatchCommandsServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	answers := make(chan batchAnswer, batchQueue)
	go func() {
		var running sync.WaitGroup
		for {
			batch, err := stream.Recv()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					cancel(err)
				}
				running.Wait()
				close(answers)
				return
			}
			if len(batch.Requests) != len(batch.RequestIds) {
				cancel(status.Errorf(codes.InvalidArgument, "%d requests with %d ids", len(batch.Requests), len(batch.RequestIds)))
				continue
			}
			for i, req := range batch.Requests {
				running.Add(1)
				go func() {
					defer running.Done()
					resp, err := s.dispatch(ctx, req)
					if err != nil {
						cancel(err)
						return
					}
					select {
					case answers <- batchAnswer{id: batch.RequestIds[i], resp: resp}:
					case <-ctx.Done():
					}
				}()
			}
		}
	}()
	for {
		var first batchAnswer
		var more bool
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case first, more = <-answers:
			if !more {
				return nil
			}
		}
		out := &tikvpb.BatchCommandsResponse{
			Responses: []*batchResponse{first.resp}, RequestIds: []uint64{first.id},
		}
		for waiting := len(answers); waiting > 0; waiting-- {
			next, more := <-answers
			if !more {
				break
			}
			out.Responses = append(out.Responses, next.resp)
			out.RequestIds = append(out.RequestIds, next.id)
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

// serve runs one typed sub-request through the checks.
func serve[Q, R any](ctx context.Context, s *service, method string, req Q, call func(context.Context, Q) (R, error)) (R, error) {
	resp, err := s.guarded(ctx, method, req, func(ctx context.Context, _ any) (any, error) { return call(ctx, req) })
	if err != nil {
		var none R
		return none, err
	}
	return resp.(R), nil
}

func (s *service) dispatch(ctx context.Context, req *batchRequest) (*batchResponse, error) {
	out := &batchResponse{}
	var err error
	switch c := req.GetCmd().(type) {
	case *tikvpb.BatchCommandsRequest_Request_Get:
		answer := &tikvpb.BatchCommandsResponse_Response_Get{}
		answer.Get, err = serve(ctx, s, "KvGet", c.Get, s.KvGet)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_Scan:
		answer := &tikvpb.BatchCommandsResponse_Response_Scan{}
		answer.Scan, err = serve(ctx, s, "KvScan", c.Scan, s.KvScan)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_Prewrite:
		answer := &tikvpb.BatchCommandsResponse_Response_Prewrite{}
		answer.Prewrite, err = serve(ctx, s, "KvPrewrite", c.Prewrite, s.KvPrewrite)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_Commit:
		answer := &tikvpb.BatchCommandsResponse_Response_Commit{}
		answer.Commit, err = serve(ctx, s, "KvCommit", c.Commit, s.KvCommit)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_Cleanup:
		answer := &tikvpb.BatchCommandsResponse_Response_Cleanup{}
		answer.Cleanup, err = serve(ctx, s, "KvCleanup", c.Cleanup, s.KvCleanup)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_BatchGet:
		answer := &tikvpb.BatchCommandsResponse_Response_BatchGet{}
		answer.BatchGet, err = serve(ctx, s, "KvBatchGet", c.BatchGet, s.KvBatchGet)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_BatchRollback:
		answer := &tikvpb.BatchCommandsResponse_Response_BatchRollback{}
		answer.BatchRollback, err = serve(ctx, s, "KvBatchRollback", c.BatchRollback, s.KvBatchRollback)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_ScanLock:
		answer := &tikvpb.BatchCommandsResponse_Response_ScanLock{}
		answer.ScanLock, err = serve(ctx, s, "KvScanLock", c.ScanLock, s.KvScanLock)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_ResolveLock:
		answer := &tikvpb.BatchCommandsResponse_Response_ResolveLock{}
		answer.ResolveLock, err = serve(ctx, s, "KvResolveLock", c.ResolveLock, s.KvResolveLock)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_GC:
		answer := &tikvpb.BatchCommandsResponse_Response_GC{}
		answer.GC, err = serve(ctx, s, "KvGC", c.GC, s.KvGC)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_DeleteRange:
		answer := &tikvpb.BatchCommandsResponse_Response_DeleteRange{}
		answer.DeleteRange, err = serve(ctx, s, "KvDeleteRange", c.DeleteRange, s.KvDeleteRange)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_PessimisticLock:
		answer := &tikvpb.BatchCommandsResponse_Response_PessimisticLock{}
		answer.PessimisticLock, err = serve(ctx, s, "KvPessimisticLock", c.PessimisticLock, s.KvPessimisticLock)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_PessimisticRollback:
		answer := &tikvpb.BatchCommandsResponse_Response_PessimisticRollback{}
		answer.PessimisticRollback, err = serve(ctx, s, "KVPessimisticRollback", c.PessimisticRollback, s.KVPessimisticRollback)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_CheckTxnStatus:
		answer := &tikvpb.BatchCommandsResponse_Response_CheckTxnStatus{}
		answer.CheckTxnStatus, err = serve(ctx, s, "KvCheckTxnStatus", c.CheckTxnStatus, s.KvCheckTxnStatus)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_TxnHeartBeat:
		answer := &tikvpb.BatchCommandsResponse_Response_TxnHeartBeat{}
		answer.TxnHeartBeat, err = serve(ctx, s, "KvTxnHeartBeat", c.TxnHeartBeat, s.KvTxnHeartBeat)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_CheckSecondaryLocks:
		answer := &tikvpb.BatchCommandsResponse_Response_CheckSecondaryLocks{}
		answer.CheckSecondaryLocks, err = serve(ctx, s, "KvCheckSecondaryLocks", c.CheckSecondaryLocks, s.KvCheckSecondaryLocks)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_Flush:
		answer := &tikvpb.BatchCommandsResponse_Response_Flush{}
		answer.Flush, err = serve(ctx, s, "KvFlush", c.Flush, s.KvFlush)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_BufferBatchGet:
		answer := &tikvpb.BatchCommandsResponse_Response_BufferBatchGet{}
		answer.BufferBatchGet, err = serve(ctx, s, "KvBufferBatchGet", c.BufferBatchGet, s.KvBufferBatchGet)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_GetHealthFeedback:
		answer := &tikvpb.BatchCommandsResponse_Response_GetHealthFeedback{}
		answer.GetHealthFeedback, err = serve(ctx, s, "GetHealthFeedback", c.GetHealthFeedback, s.GetHealthFeedback)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_BroadcastTxnStatus:
		answer := &tikvpb.BatchCommandsResponse_Response_BroadcastTxnStatus{}
		answer.BroadcastTxnStatus, err = serve(ctx, s, "BroadcastTxnStatus", c.BroadcastTxnStatus, s.BroadcastTxnStatus)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_RawGet:
		answer := &tikvpb.BatchCommandsResponse_Response_RawGet{}
		answer.RawGet, err = serve(ctx, s, "RawGet", c.RawGet, s.RawGet)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_RawBatchGet:
		answer := &tikvpb.BatchCommandsResponse_Response_RawBatchGet{}
		answer.RawBatchGet, err = serve(ctx, s, "RawBatchGet", c.RawBatchGet, s.RawBatchGet)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_RawPut:
		answer := &tikvpb.BatchCommandsResponse_Response_RawPut{}
		answer.RawPut, err = serve(ctx, s, "RawPut", c.RawPut, s.RawPut)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_RawBatchPut:
		answer := &tikvpb.BatchCommandsResponse_Response_RawBatchPut{}
		answer.RawBatchPut, err = serve(ctx, s, "RawBatchPut", c.RawBatchPut, s.RawBatchPut)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_RawDelete:
		answer := &tikvpb.BatchCommandsResponse_Response_RawDelete{}
		answer.RawDelete, err = serve(ctx, s, "RawDelete", c.RawDelete, s.RawDelete)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_RawBatchDelete:
		answer := &tikvpb.BatchCommandsResponse_Response_RawBatchDelete{}
		answer.RawBatchDelete, err = serve(ctx, s, "RawBatchDelete", c.RawBatchDelete, s.RawBatchDelete)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_RawScan:
		answer := &tikvpb.BatchCommandsResponse_Response_RawScan{}
		answer.RawScan, err = serve(ctx, s, "RawScan", c.RawScan, s.RawScan)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_RawDeleteRange:
		answer := &tikvpb.BatchCommandsResponse_Response_RawDeleteRange{}
		answer.RawDeleteRange, err = serve(ctx, s, "RawDeleteRange", c.RawDeleteRange, s.RawDeleteRange)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_RawBatchScan:
		answer := &tikvpb.BatchCommandsResponse_Response_RawBatchScan{}
		answer.RawBatchScan, err = serve(ctx, s, "RawBatchScan", c.RawBatchScan, s.RawBatchScan)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_PrepareFlashbackToVersion:
		answer := &tikvpb.BatchCommandsResponse_Response_PrepareFlashbackToVersion{}
		answer.PrepareFlashbackToVersion, err = serve(ctx, s, "KvPrepareFlashbackToVersion", c.PrepareFlashbackToVersion, s.KvPrepareFlashbackToVersion)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_FlashbackToVersion:
		answer := &tikvpb.BatchCommandsResponse_Response_FlashbackToVersion{}
		answer.FlashbackToVersion, err = serve(ctx, s, "KvFlashbackToVersion", c.FlashbackToVersion, s.KvFlashbackToVersion)
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_Coprocessor:
		// It checks each of its tasks by itself.
		answer := &tikvpb.BatchCommandsResponse_Response_Coprocessor{}
		_, err = recovered(ctx, "Coprocessor", c, func(ctx context.Context, _ any) (any, error) {
			var failure error
			answer.Coprocessor, failure = s.Coprocessor(ctx, c.Coprocessor)
			return nil, failure
		})
		out.Cmd = answer
	case *tikvpb.BatchCommandsRequest_Request_Empty:
		s.stats.request("Empty")
		out.Cmd = &tikvpb.BatchCommandsResponse_Response_Empty{
			Empty: &tikvpb.BatchCommandsEmptyResponse{TestId: c.Empty.GetTestId()},
		}
	default:
		s.refuse("BatchCommands", fmt.Sprintf("%T", c))
		return nil, status.Error(codes.Unimplemented, fmt.Sprintf("BatchCommands: %T is not served", c))
	}
	return out, err
}
