package main

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
)

func TestRustForm(t *testing.T) {
	cases := []struct {
		name    string
		message proto.Message
		wanted  string
	}{
		{"numbers of a list one by one", &tikvpb.BatchCommandsResponse{RequestIds: []uint64{1, 300}}, "100110ac02"},
		{"in messages as well", &kvrpcpb.PessimisticLockResponse{NotFounds: []bool{true, false}}, "30013000"},
		{"an empty message stays", &kvrpcpb.GetResponse{RegionError: nil, Error: &kvrpcpb.KeyError{}}, "1200"},
		{"and so does an alternative", &tikvpb.BatchCommandsResponse_Response{
			Cmd: &tikvpb.BatchCommandsResponse_Response_Get{Get: &kvrpcpb.GetResponse{}},
		}, "0a00"},
		{"what nobody knows is last", &coprocessor.Response{
			Data: []byte{0}, XXX_unrecognized: []byte{0xf8, 0x3f, 0x01},
		}, "0a0100f83f01"},
	}
	for _, c := range cases {
		encoded, err := proto.Marshal(c.message)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rustForm(c.message, encoded)
		if err != nil || hex.EncodeToString(got) != c.wanted {
			t.Errorf("%s: %x instead of %s: %v", c.name, got, c.wanted, err)
		}
	}
}

// plainBytes leaves answers as they come.
type plainBytes struct{ encoding.Codec }

func (plainBytes) Unmarshal(bytes []byte, into any) error {
	*into.(*[]byte) = append([]byte{}, bytes...)
	return nil
}

func TestAnswersLieOnTheWireAsTiKVWritesThem(t *testing.T) {
	_, _, conn := testStoreOf(t, apiV1)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
		"/tikvpb.Tikv/BatchCommands", grpc.ForceCodec(plainBytes{encoding.GetCodec("proto")}))
	if err != nil {
		t.Fatal(err)
	}
	empty := &tikvpb.BatchCommandsRequest_Request{
		Cmd: &tikvpb.BatchCommandsRequest_Request_Empty{Empty: &tikvpb.BatchCommandsEmptyRequest{}},
	}
	if err := stream.SendMsg(&tikvpb.BatchCommandsRequest{
		Requests: []*tikvpb.BatchCommandsRequest_Request{empty}, RequestIds: []uint64{7},
	}); err != nil {
		t.Fatal(err)
	}
	var answer []byte
	if err := stream.RecvMsg(&answer); err != nil {
		t.Fatal(err)
	}
	// The response, then its id by itself: packed it would be 12 01 07.
	if got := hex.EncodeToString(answer); got != "0a03fa0f001007" {
		t.Errorf("%s", got)
	}
}
