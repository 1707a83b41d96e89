package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

// What RawKV's requests say about keys. A reverse scan starts below start_key and ends at end_key.
func init() {
	register(func(q *kvrpcpb.RawGetRequest) claim { return claim{context: q.Context, points: [][]byte{q.Key}} },
		func(e *errorpb.Error) any { return &kvrpcpb.RawGetResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawGetKeyTTLRequest) claim { return claim{context: q.Context, points: [][]byte{q.Key}} },
		func(e *errorpb.Error) any { return &kvrpcpb.RawGetKeyTTLResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawBatchGetRequest) claim { return claim{context: q.Context, points: q.Keys} },
		func(e *errorpb.Error) any { return &kvrpcpb.RawBatchGetResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawPutRequest) claim { return claim{context: q.Context, points: [][]byte{q.Key}} },
		func(e *errorpb.Error) any { return &kvrpcpb.RawPutResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawBatchPutRequest) claim {
		points := make([][]byte, len(q.Pairs))
		for i, pair := range q.Pairs {
			points[i] = pair.Key
		}
		return claim{context: q.Context, points: points}
	}, func(e *errorpb.Error) any { return &kvrpcpb.RawBatchPutResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawDeleteRequest) claim { return claim{context: q.Context, points: [][]byte{q.Key}} },
		func(e *errorpb.Error) any { return &kvrpcpb.RawDeleteResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawBatchDeleteRequest) claim { return claim{context: q.Context, points: q.Keys} },
		func(e *errorpb.Error) any { return &kvrpcpb.RawBatchDeleteResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawCASRequest) claim { return claim{context: q.Context, points: [][]byte{q.Key}} },
		func(e *errorpb.Error) any { return &kvrpcpb.RawCASResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawDeleteRangeRequest) claim {
		return claim{context: q.Context, spans: []span{{lower: &q.StartKey, upper: &q.EndKey, strict: true}}}
	}, func(e *errorpb.Error) any { return &kvrpcpb.RawDeleteRangeResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawScanRequest) claim {
		return claim{context: q.Context, spans: []span{rawSpan(&q.StartKey, &q.EndKey, q.Reverse)}}
	}, func(e *errorpb.Error) any { return &kvrpcpb.RawScanResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawBatchScanRequest) claim {
		return claim{context: q.Context, spans: rawSpans(q.Ranges, q.Reverse), invalid: chainRanges(q.Ranges, q.Reverse)}
	}, func(e *errorpb.Error) any { return &kvrpcpb.RawBatchScanResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawChecksumRequest) claim {
		return claim{context: q.Context, spans: rawSpans(q.Ranges, false)}
	}, func(e *errorpb.Error) any { return &kvrpcpb.RawChecksumResponse{RegionError: e} })
	register(func(q *kvrpcpb.RawCoprocessorRequest) claim { return claim{context: q.Context} },
		func(e *errorpb.Error) any { return &kvrpcpb.RawCoprocessorResponse{RegionError: e} })
}

func rawSpan(start, end *[]byte, backward bool) span {
	if backward {
		start, end = end, start
	}
	return span{lower: start, upper: end, backward: backward, literal: true}
}

func rawSpans(ranges []*kvrpcpb.KeyRange, backward bool) []span {
	out := make([]span, len(ranges))
	for i, r := range ranges {
		out[i] = rawSpan(&r.StartKey, &r.EndKey, backward)
	}
	return out
}

// chainRanges ends a range without an end where the next one starts, as TiKV does, and refuses empty ones.
func chainRanges(ranges []*kvrpcpb.KeyRange, backward bool) error {
	for i, r := range ranges {
		if len(r.EndKey) == 0 && i+1 < len(ranges) {
			r.EndKey = ranges[i+1].StartKey
		}
		order := bytes.Compare(r.StartKey, r.EndKey)
		if len(r.EndKey) > 0 && (order == 0 || (order < 0) == backward) {
			return errors.New("Invalid KeyRanges")
		}
	}
	return nil
}

// rawFamily refuses what API V2 refuses, and what this store does not have: any column family but the default one.
func rawFamily(name string) error {
	if name != "" && name != columnDefault {
		return fmt.Errorf("invalid cf name: %s", name)
	}
	return nil
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// failedPairs is where a list of pairs has its error.
func failedPairs(err error) []*kvrpcpb.KvPair {
	return []*kvrpcpb.KvPair{{Error: &kvrpcpb.KeyError{Abort: err.Error()}}}
}

func (s *service) rawWrite(ctx *kvrpcpb.Context, family string, puts []rawPut) error {
	if err := rawFamily(family); err != nil {
		return err
	}
	written, err := s.engine.raw.write(puts)
	if r := s.regions.get(ctx.GetRegionId()); r != nil {
		atomic.AddInt64(r.Diff(), written)
	}
	return err
}

func (s *service) RawGet(_ context.Context, req *kvrpcpb.RawGetRequest) (*kvrpcpb.RawGetResponse, error) {
	if err := rawFamily(req.Cf); err != nil {
		return &kvrpcpb.RawGetResponse{Error: err.Error()}, nil
	}
	value, _, found, err := s.engine.raw.get(req.Key)
	return &kvrpcpb.RawGetResponse{Value: value, NotFound: err == nil && !found, Error: message(err)}, nil
}

// RawGetKeyTTL gives the seconds that a key has left, 0 for ever.
func (s *service) RawGetKeyTTL(_ context.Context, req *kvrpcpb.RawGetKeyTTLRequest) (*kvrpcpb.RawGetKeyTTLResponse, error) {
	if err := rawFamily(req.Cf); err != nil {
		return &kvrpcpb.RawGetKeyTTLResponse{Error: err.Error()}, nil
	}
	_, left, found, err := s.engine.raw.get(req.Key)
	return &kvrpcpb.RawGetKeyTTLResponse{Ttl: left, NotFound: err == nil && !found, Error: message(err)}, nil
}

func (s *service) RawBatchGet(_ context.Context, req *kvrpcpb.RawBatchGetRequest) (*kvrpcpb.RawBatchGetResponse, error) {
	if err := rawFamily(req.Cf); err != nil {
		return &kvrpcpb.RawBatchGetResponse{Pairs: failedPairs(err)}, nil
	}
	resp := &kvrpcpb.RawBatchGetResponse{}
	for _, key := range req.Keys {
		value, _, found, err := s.engine.raw.get(key)
		if err != nil {
			return &kvrpcpb.RawBatchGetResponse{Pairs: failedPairs(err)}, nil
		}
		if found {
			resp.Pairs = append(resp.Pairs, &kvrpcpb.KvPair{Key: key, Value: value})
		}
	}
	return resp, nil
}

func (s *service) RawPut(_ context.Context, req *kvrpcpb.RawPutRequest) (*kvrpcpb.RawPutResponse, error) {
	err := s.rawWrite(req.Context, req.Cf, []rawPut{{key: req.Key, value: req.Value, life: req.Ttl}})
	return &kvrpcpb.RawPutResponse{Error: message(err)}, nil
}

// RawBatchPut takes one lifetime for all, in the old field or the new one, or one for each.
func (s *service) RawBatchPut(_ context.Context, req *kvrpcpb.RawBatchPutRequest) (*kvrpcpb.RawBatchPutResponse, error) {
	lives := req.Ttls
	if len(lives) == 0 {
		lives = []uint64{req.Ttl} //nolint:staticcheck // old clients send it
	}
	if len(lives) != 1 && len(lives) != len(req.Pairs) {
		return &kvrpcpb.RawBatchPutResponse{Error: "The length of ttls does not equal to the length of pairs"}, nil
	}
	puts := make([]rawPut, len(req.Pairs))
	for i, pair := range req.Pairs {
		puts[i] = rawPut{key: pair.Key, value: pair.Value, life: lives[min(i, len(lives)-1)]}
	}
	return &kvrpcpb.RawBatchPutResponse{Error: message(s.rawWrite(req.Context, req.Cf, puts))}, nil
}

func (s *service) RawDelete(_ context.Context, req *kvrpcpb.RawDeleteRequest) (*kvrpcpb.RawDeleteResponse, error) {
	err := s.rawWrite(req.Context, req.Cf, []rawPut{{key: req.Key, delete: true}})
	return &kvrpcpb.RawDeleteResponse{Error: message(err)}, nil
}

func (s *service) RawBatchDelete(_ context.Context, req *kvrpcpb.RawBatchDeleteRequest) (*kvrpcpb.RawBatchDeleteResponse, error) {
	puts := make([]rawPut, len(req.Keys))
	for i, key := range req.Keys {
		puts[i] = rawPut{key: key, delete: true}
	}
	return &kvrpcpb.RawBatchDeleteResponse{Error: message(s.rawWrite(req.Context, req.Cf, puts))}, nil
}

func (s *service) RawDeleteRange(_ context.Context, req *kvrpcpb.RawDeleteRangeRequest) (*kvrpcpb.RawDeleteRangeResponse, error) {
	if err := rawFamily(req.Cf); err != nil {
		return &kvrpcpb.RawDeleteRangeResponse{Error: err.Error()}, nil
	}
	return &kvrpcpb.RawDeleteRangeResponse{Error: message(s.engine.raw.deleteRange(req.StartKey, req.EndKey))}, nil
}

func (s *service) RawScan(_ context.Context, req *kvrpcpb.RawScanRequest) (*kvrpcpb.RawScanResponse, error) {
	pairs, err := s.rawPairs(req.Cf, req.StartKey, req.EndKey, req.Limit, req.KeyOnly, req.Reverse)
	if err != nil {
		pairs = failedPairs(err)
	}
	return &kvrpcpb.RawScanResponse{Kvs: pairs}, nil
}

func (s *service) RawBatchScan(_ context.Context, req *kvrpcpb.RawBatchScanRequest) (*kvrpcpb.RawBatchScanResponse, error) {
	resp := &kvrpcpb.RawBatchScanResponse{}
	for _, r := range req.Ranges {
		pairs, err := s.rawPairs(req.Cf, r.StartKey, r.EndKey, req.EachLimit, req.KeyOnly, req.Reverse)
		if err != nil {
			return &kvrpcpb.RawBatchScanResponse{Kvs: failedPairs(err)}, nil
		}
		resp.Kvs = append(resp.Kvs, pairs...)
	}
	return resp, nil
}

func (s *service) rawPairs(family string, start, end []byte, limit uint32, keyOnly, backward bool) ([]*kvrpcpb.KvPair, error) {
	if err := rawFamily(family); err != nil {
		return nil, err
	}
	lower, upper := start, end
	if backward {
		if len(start) == 0 {
			return nil, nil
		}
		lower, upper = end, start
	}
	pairs, err := s.engine.raw.scan(lower, upper, int(limit), backward)
	if err != nil {
		return nil, err
	}
	out := make([]*kvrpcpb.KvPair, len(pairs))
	for i, pair := range pairs {
		out[i] = &kvrpcpb.KvPair{Key: pair.key}
		if !keyOnly {
			out[i].Value = pair.value
		}
	}
	return out, nil
}

// RawCompareAndSwap writes when the value is as expected, and tells which one it was.
func (s *service) RawCompareAndSwap(_ context.Context, req *kvrpcpb.RawCASRequest) (*kvrpcpb.RawCASResponse, error) {
	if err := rawFamily(req.Cf); err != nil {
		return &kvrpcpb.RawCASResponse{Error: err.Error()}, nil
	}
	before, had, swapped, err := s.engine.raw.swap(
		rawPut{key: req.Key, value: req.Value, life: req.Ttl}, req.PreviousValue, req.PreviousNotExist,
	)
	return &kvrpcpb.RawCASResponse{
		Succeed: swapped, PreviousNotExist: err == nil && !had, PreviousValue: before, Error: message(err),
	}, nil
}

// RawChecksum sums up as the coprocessor's checksum does, over user keys and values.
func (s *service) RawChecksum(_ context.Context, req *kvrpcpb.RawChecksumRequest) (*kvrpcpb.RawChecksumResponse, error) {
	if req.Algorithm != kvrpcpb.ChecksumAlgorithm_Crc64_Xor {
		return &kvrpcpb.RawChecksumResponse{Error: fmt.Sprintf("unknown checksum algorithm %s", req.Algorithm)}, nil
	}
	sum := &checksum{}
	for _, r := range req.Ranges {
		pairs, err := s.engine.raw.scan(r.StartKey, r.EndKey, math.MaxInt, false)
		if err != nil {
			return &kvrpcpb.RawChecksumResponse{Error: err.Error()}, nil
		}
		for _, pair := range pairs {
			_ = sum.Process(pair.key, pair.value)
		}
	}
	return &kvrpcpb.RawChecksumResponse{Checksum: sum.value, TotalKvs: sum.kvs, TotalBytes: sum.bytes}, nil
}
