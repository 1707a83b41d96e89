package main

import (
	"fmt"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/keyspacepb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/tikv/client-go/v2/tikv"
	"github.com/tikv/client-go/v2/tikvrpc"
	"github.com/tikv/client-go/v2/util/codec"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// wire is what gogo generates for every message.
type wire interface {
	Unmarshal([]byte) error
	Marshal() ([]byte, error)
}

// rewriterOf gives the function that does to a message's bytes what the filter does.
func rewriterOf(m message) (func([]byte) ([]byte, error), error) {
	c, err := newClient(m.Keyspace)
	if err != nil {
		return nil, err
	}
	switch m.Type {
	case "kvrpcpb.GetRequest":
		return through(func() *kvrpcpb.GetRequest { return &kvrpcpb.GetRequest{} }, func(r *kvrpcpb.GetRequest) (wire, error) {
			encoded, err := c.encode(tikvrpc.CmdGet, r, r.Context)
			if err != nil {
				return nil, err
			}
			defer c.giveBack(encoded)
			return encoded.Get(), nil
		}), nil
	case "kvrpcpb.PrewriteRequest":
		return through(func() *kvrpcpb.PrewriteRequest { return &kvrpcpb.PrewriteRequest{} }, func(r *kvrpcpb.PrewriteRequest) (wire, error) {
			encoded, err := c.encode(tikvrpc.CmdPrewrite, r, r.Context)
			if err != nil {
				return nil, err
			}
			defer c.giveBack(encoded)
			return encoded.Prewrite(), nil
		}), nil
	case "coprocessor.Request":
		return through(func() *coprocessor.Request { return &coprocessor.Request{} }, func(r *coprocessor.Request) (wire, error) {
			encoded, err := c.encode(tikvrpc.CmdCop, r, r.Context)
			if err != nil {
				return nil, err
			}
			defer c.giveBack(encoded)
			return encoded.Cop(), nil
		}), nil
	case "kvrpcpb.ScanResponse":
		return through(func() *kvrpcpb.ScanResponse { return &kvrpcpb.ScanResponse{} }, func(r *kvrpcpb.ScanResponse) (wire, error) {
			return r, c.decode(tikvrpc.CmdScan, r)
		}), nil
	case "coprocessor.Response":
		return through(func() *coprocessor.Response { return &coprocessor.Response{} }, func(r *coprocessor.Response) (wire, error) {
			return r, c.decode(tikvrpc.CmdCop, r)
		}), nil
	case "tikvpb.BatchCommandsRequest":
		return through(func() *tikvpb.BatchCommandsRequest { return &tikvpb.BatchCommandsRequest{} }, c.encodeGets), nil
	case "pdpb.ScanRegionsResponse":
		return through(func() *pdpb.ScanRegionsResponse { return &pdpb.ScanRegionsResponse{} }, c.decodeRegions), nil
	case "etcdserverpb.TxnRequest":
		return through(func() *etcdserverpb.TxnRequest { return &etcdserverpb.TxnRequest{} }, func(r *etcdserverpb.TxnRequest) (wire, error) {
			prefixTxn(m.Prefix, r)
			return r, nil
		}), nil
	}
	return nil, fmt.Errorf("%s: no native peer for %s", m.Name, m.Type)
}

func through[M wire](empty func() M, rewrite func(M) (wire, error)) func([]byte) ([]byte, error) {
	return func(source []byte) ([]byte, error) {
		m := empty()
		if err := m.Unmarshal(source); err != nil {
			return nil, err
		}
		rewritten, err := rewrite(m)
		if err != nil {
			return nil, err
		}
		return rewritten.Marshal()
	}
}

// client does what client-go's RPC client does around its codec.
type client struct {
	codec tikv.Codec
}

func newClient(keyspace uint32) (client, error) {
	codec, err := tikv.NewCodecV2(tikv.ModeTxn, &keyspacepb.KeyspaceMeta{Id: keyspace})
	return client{codec}, err
}

func (c client) encode(command tikvrpc.CmdType, request any, context *kvrpcpb.Context) (*tikvrpc.Request, error) {
	r := tikvrpc.Request{Type: command, Req: request, Context: *context}
	encoded, err := c.codec.EncodeRequest(&r)
	if err != nil {
		return nil, err
	}
	tikvrpc.AttachContext(encoded, encoded.Context)
	return encoded, nil
}

// giveBack returns an encoded request to the codec's pool, as the decoding of its response would.
func (c client) giveBack(encoded *tikvrpc.Request) {
	encoded.Type = tikvrpc.CmdEmpty
	_, _ = c.codec.DecodeResponse(encoded, nil)
}

func (c client) decode(command tikvrpc.CmdType, response any) error {
	_, err := c.codec.DecodeResponse(&tikvrpc.Request{Type: command}, &tikvrpc.Response{Resp: response})
	return err
}

func (c client) encodeGets(batch *tikvpb.BatchCommandsRequest) (wire, error) {
	for i, request := range batch.Requests {
		get, ok := request.Cmd.(*tikvpb.BatchCommandsRequest_Request_Get)
		if !ok {
			return nil, fmt.Errorf("request %d of the batch is a %T", i, request.Cmd)
		}
		encoded, err := c.encode(tikvrpc.CmdGet, get.Get, get.Get.Context)
		if err != nil {
			return nil, err
		}
		batch.Requests[i] = encoded.ToBatchCommandsRequest()
		c.giveBack(encoded)
	}
	return batch, nil
}

// decodeRegions does what client-go's PD client does with PD's answer, and gives the keys back in PD's form, which an API V1 client reads.
func (c client) decodeRegions(response *pdpb.ScanRegionsResponse) (wire, error) {
	for _, region := range response.Regions {
		start, end, err := c.codec.DecodeRegionRange(region.Region.StartKey, region.Region.EndKey)
		if err != nil {
			return nil, err
		}
		region.Region.StartKey, region.Region.EndKey = memcomparable(start), memcomparable(end)
	}
	return response, nil
}

func memcomparable(key []byte) []byte {
	if len(key) == 0 {
		return nil
	}
	return codec.EncodeBytes(make([]byte, 0, len(key)/8*9+9), key)
}
