package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gogo/protobuf/proto"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// attempt is one call that tries to leave a namespace. Bytes are all messages that came back, so that a test can look for what is foreign.
type attempt struct {
	Group string   `json:"group"`
	Step  string   `json:"step"`
	Bytes []byte   `json:"bytes,omitempty"`
	Error *failure `json:"error,omitempty"`
}

type attacker struct {
	ctx  context.Context
	conn *grpc.ClientConn
	out  *json.Encoder
}

func attackCommand(args []string) error {
	flags := flag.NewFlagSet("attack", flag.ExitOnError)
	var o connection
	o.flags(flags)
	names := flags.String("names", "", "foreign keys, separated by commas")
	ids := flags.String("leases", "", "foreign lease ids, separated by commas")
	since := flags.Int64("since", 1, "the revision from which watches look")
	reads := flags.Bool("reads", false, "leave out all that would change something")
	_ = flags.Parse(args)
	client, err := o.open()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	a := &attacker{ctx: ctx, conn: client.ActiveConnection(), out: json.NewEncoder(os.Stdout)}
	keys := append(strings.Split(*names, ","), "\x00", "\xff", "/", "/pd", "/pd/", "/pd0", "/tidb", "/tidb/", "/tidb-mesh/", "/tidb-mesh0", "../", "")
	a.ranges(keys)
	a.watches(keys, *since)
	if *reads {
		return nil
	}
	for _, text := range strings.Split(*ids, ",") {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		a.leases(id)
	}
	a.services()
	a.writes(keys)
	return nil
}

func (a *attacker) tell(group, step string, answer proto.Message, err error) {
	said := attempt{Group: group, Step: step, Error: failureOf(err)}
	if err == nil {
		said.Bytes, err = proto.Marshal(answer)
		if err != nil {
			said.Error = failureOf(err)
		}
	}
	_ = a.out.Encode(said)
}

func ends(key string) []string {
	return []string{"", "\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x00\x00", "/tidb-mesh0", "beta;", key + "\xff", key}
}

func (a *attacker) ranges(keys []string) {
	kv := pb.NewKVClient(a.conn)
	for _, key := range keys {
		for _, end := range ends(key) {
			request := &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)}
			step := fmt.Sprintf("%q to %q", key, end)
			answer, err := kv.Range(a.ctx, request)
			a.tell("range", step, answer, err)
			counted := *request
			counted.CountOnly = true
			answer, err = kv.Range(a.ctx, &counted)
			a.tell("count", step, answer, err)
			txn, err := kv.Txn(a.ctx, &pb.TxnRequest{
				Compare: []*pb.Compare{{
					Target: pb.Compare_VERSION, Result: pb.Compare_GREATER, TargetUnion: &pb.Compare_Version{Version: 0}, Key: request.Key, RangeEnd: request.RangeEnd,
				}},
				Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: request}}},
				Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
					Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: request}}},
				}}}},
			})
			a.tell("txn", step, txn, err)
		}
	}
}

// watches looks from a revision on, with what was there before.
func (a *attacker) watches(keys []string, since int64) {
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	stream, err := pb.NewWatchClient(a.conn).Watch(ctx, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		a.tell("watch", "open", nil, err)
		return
	}
	come := make(chan *pb.WatchResponse, 1000)
	go func() {
		defer close(come)
		for {
			answer, err := stream.Recv()
			if err != nil {
				if ctx.Err() == nil {
					a.tell("watch", "the stream", nil, err)
				}
				return
			}
			come <- answer
		}
	}()
	created := 0
	for _, key := range keys {
		for _, end := range ends(key) {
			if err := stream.Send(create(&pb.WatchCreateRequest{
				Key: []byte(key), RangeEnd: []byte(end), StartRevision: since, PrevKv: true, Fragment: created%2 == 1,
			})); err != nil {
				a.tell("watch", "send", nil, err)
				return
			}
			created++
		}
	}
	for {
		select {
		case answer, open := <-come:
			if !open {
				return
			}
			a.tell("watch", fmt.Sprintf("watch %d", answer.WatchId), answer, nil)
		case <-time.After(2 * time.Second):
			return
		}
	}
}

func (a *attacker) leases(id int64) {
	group := "lease " + strconv.FormatInt(id, 10)
	kv, lease := pb.NewKVClient(a.conn), pb.NewLeaseClient(a.conn)
	put := &pb.PutRequest{Key: []byte("mine"), Value: []byte("1"), Lease: id, PrevKv: true}
	answer, err := kv.Put(a.ctx, put)
	a.tell(group, "put", answer, err)
	op := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}}
	txn, err := kv.Txn(a.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{op}})
	a.tell(group, "put in a transaction", txn, err)
	txn, err = kv.Txn(a.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{
		RequestTxn: &pb.TxnRequest{Success: []*pb.RequestOp{op}}}}}})
	a.tell(group, "put in a nested one", txn, err)
	txn, err = kv.Txn(a.ctx, &pb.TxnRequest{Compare: []*pb.Compare{{
		Target: pb.Compare_LEASE, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_Lease{Lease: id}, Key: []byte("\x00"), RangeEnd: []byte("\x00"),
	}}})
	a.tell(group, "compare", txn, err)
	for _, keys := range []bool{false, true} {
		ttl, err := lease.LeaseTimeToLive(a.ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: keys})
		a.tell(group, "time to live", ttl, err)
	}
	a.keepAlive(group, id)
	revoked, err := lease.LeaseRevoke(a.ctx, &pb.LeaseRevokeRequest{ID: id})
	a.tell(group, "revoke", revoked, err)
}

func (a *attacker) keepAlive(group string, id int64) {
	ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
	defer cancel()
	stream, err := pb.NewLeaseClient(a.conn).LeaseKeepAlive(ctx)
	if err != nil {
		a.tell(group, "keep alive", nil, err)
		return
	}
	// Three in a row: what is refused must not let the next one pass.
	for i := 0; i < 3; i++ {
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			break
		}
	}
	for i := 0; i < 3; i++ {
		answer, err := stream.Recv()
		a.tell(group, "keep alive", answer, err)
		if err != nil {
			return
		}
	}
}

func (a *attacker) services() {
	call := func(group, path string, request proto.Message) {
		answer := &pb.CompactionResponse{}
		a.tell(group, path, answer, a.conn.Invoke(a.ctx, path, request, answer))
	}
	stream := func(path string, request proto.Message) {
		s, err := a.conn.NewStream(a.ctx, &grpc.StreamDesc{ServerStreams: true}, path)
		if err == nil {
			if err = s.SendMsg(request); err == nil {
				_ = s.CloseSend()
				err = s.RecvMsg(&pb.CompactionResponse{})
			}
		}
		a.tell("services", path, &pb.CompactionResponse{}, err)
	}
	all := []struct {
		path    string
		request proto.Message
	}{
		{"KV/Compact", &pb.CompactionRequest{Revision: 2, Physical: true}},
		{"Lease/LeaseLeases", &pb.LeaseLeasesRequest{}},
		{"Maintenance/Alarm", &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: 1}},
		{"Maintenance/Status", &pb.StatusRequest{}},
		{"Maintenance/Defragment", &pb.DefragmentRequest{}},
		{"Maintenance/Hash", &pb.HashRequest{}},
		{"Maintenance/HashKV", &pb.HashKVRequest{}},
		{"Maintenance/MoveLeader", &pb.MoveLeaderRequest{TargetID: 1}},
		{"Maintenance/Downgrade", &pb.DowngradeRequest{Version: "3.3.0"}},
		{"Cluster/MemberAdd", &pb.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1:1"}, IsLearner: true}},
		{"Cluster/MemberRemove", &pb.MemberRemoveRequest{ID: 1}},
		{"Cluster/MemberUpdate", &pb.MemberUpdateRequest{ID: 1, PeerURLs: []string{"http://127.0.0.1:1"}}},
		{"Cluster/MemberPromote", &pb.MemberPromoteRequest{ID: 1}},
		{"Auth/UserAdd", &pb.AuthUserAddRequest{Name: "root", Password: "root"}},
		{"Auth/UserGet", &pb.AuthUserGetRequest{Name: "root"}},
		{"Auth/UserList", &pb.AuthUserListRequest{}},
		{"Auth/UserChangePassword", &pb.AuthUserChangePasswordRequest{Name: "root", Password: "other"}},
		{"Auth/RoleAdd", &pb.AuthRoleAddRequest{Name: "root"}},
		{"Auth/RoleGet", &pb.AuthRoleGetRequest{Role: "root"}},
		{"Auth/RoleList", &pb.AuthRoleListRequest{}},
		{"Auth/RoleGrantPermission", &pb.AuthRoleGrantPermissionRequest{Name: "root"}},
		{"Auth/RoleRevokePermission", &pb.AuthRoleRevokePermissionRequest{Role: "root"}},
		{"Auth/UserGrantRole", &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"}},
		{"Auth/UserRevokeRole", &pb.AuthUserRevokeRoleRequest{Name: "root", Role: "root"}},
		{"Auth/AuthEnable", &pb.AuthEnableRequest{}},
		{"Auth/AuthDisable", &pb.AuthDisableRequest{}},
		{"Auth/AuthStatus", &pb.AuthStatusRequest{}},
		{"Auth/Authenticate", &pb.AuthenticateRequest{Name: "root", Password: "root"}},
		{"Auth/UserDelete", &pb.AuthUserDeleteRequest{Name: "root"}},
		{"Auth/RoleDelete", &pb.AuthRoleDeleteRequest{Role: "root"}},
	}
	for _, one := range all {
		call("services", "/etcdserverpb."+one.path, one.request)
	}
	stream("/etcdserverpb.Maintenance/Snapshot", &pb.SnapshotRequest{})
	// A request of these has a name as its first field, as a range has its key.
	named := &pb.RangeRequest{Key: []byte("/tidb-mesh/beta:lock")}
	for _, path := range []string{
		"/v3lockpb.Lock/Lock", "/v3lockpb.Lock/Unlock", "/v3electionpb.Election/Campaign", "/v3electionpb.Election/Leader",
	} {
		call("services", path, named)
	}
	stream("/v3electionpb.Election/Observe", named)
}

// writes come last: they are the tenant's own keys, should they get where they ought to.
func (a *attacker) writes(keys []string) {
	kv := pb.NewKVClient(a.conn)
	for _, key := range keys {
		put := &pb.PutRequest{Key: []byte(key), Value: []byte("overwritten"), PrevKv: true}
		answer, err := kv.Put(a.ctx, put)
		a.tell("put", fmt.Sprintf("%q", key), answer, err)
		txn, err := kv.Txn(a.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
			Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: put}}},
		}}}}})
		a.tell("put in a transaction", fmt.Sprintf("%q", key), txn, err)
	}
	for _, key := range keys {
		for _, end := range ends(key) {
			remove := &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end), PrevKv: true}
			step := fmt.Sprintf("%q to %q", key, end)
			answer, err := kv.DeleteRange(a.ctx, remove)
			a.tell("delete", step, answer, err)
			txn, err := kv.Txn(a.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: remove}}}})
			a.tell("delete in a transaction", step, txn, err)
		}
	}
	// The largest transaction that etcd takes, and a far larger one.
	for _, count := range []int{128, 20_000} {
		request := &pb.TxnRequest{}
		for i := 0; i < count; i++ {
			request.Success = append(request.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{
				Key: []byte("\x00"), RangeEnd: []byte("\x00"), PrevKv: true,
			}}})
		}
		answer, err := kv.Txn(a.ctx, request)
		a.tell("huge", fmt.Sprint(count), answer, err)
	}
	deep := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{
		Key: []byte("\x00"), RangeEnd: []byte("\x00"), PrevKv: true,
	}}}}}
	for i := 0; i < 2000; i++ {
		deep = &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: deep}}}}
	}
	answer, err := kv.Txn(a.ctx, deep)
	a.tell("deep", "2000", answer, err)
}
