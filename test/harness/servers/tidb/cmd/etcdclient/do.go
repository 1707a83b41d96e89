package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// doCommand is for a test's hands: what it does and prints is not normalized.
func doCommand(args []string) error {
	flags := flag.NewFlagSet("do", flag.ExitOnError)
	var o connection
	o.flags(flags)
	_ = flags.Parse(args)
	client, err := o.open()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out := json.NewEncoder(os.Stdout)
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	word := flags.Args()
	switch {
	case len(word) >= 3 && len(word) <= 4 && word[0] == "put":
		var options []clientv3.OpOption
		if len(word) == 4 {
			options = append(options, clientv3.WithLease(clientv3.LeaseID(number(word[3]))))
		}
		answer, err := client.Put(ctx, word[1], word[2], options...)
		if err != nil {
			return err
		}
		return out.Encode(map[string]any{"revision": answer.Header.Revision})
	case len(word) == 2 && word[0] == "get":
		answer, err := client.Get(ctx, word[1], clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range answer.Kvs {
			if err := out.Encode(map[string]any{
				"key": string(kv.Key), "value": string(kv.Value), "revision": kv.ModRevision, "lease": fmt.Sprint(kv.Lease),
			}); err != nil {
				return err
			}
		}
		return nil
	case len(word) == 3 && word[0] == "grant":
		answer, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: number(word[1]), TTL: number(word[2])})
		if err != nil {
			return err
		}
		return out.Encode(map[string]any{"lease": fmt.Sprint(answer.ID)})
	case len(word) == 1 && word[0] == "leases":
		answer, err := client.Leases(ctx)
		if err != nil {
			return err
		}
		for _, lease := range answer.Leases {
			left, err := client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
			if err != nil {
				return err
			}
			keys := []string{}
			for _, key := range left.Keys {
				keys = append(keys, string(key))
			}
			sort.Strings(keys)
			if err := out.Encode(map[string]any{"lease": fmt.Sprint(lease.ID), "left": left.TTL, "granted": left.GrantedTTL, "keys": keys}); err != nil {
				return err
			}
		}
		return nil
	case len(word) == 2 && word[0] == "compact":
		_, err := client.Compact(ctx, number(word[1]), clientv3.WithCompactPhysical())
		return err
	case len(word) == 1 && word[0] == "state":
		return state(ctx, client, out)
	}
	return fmt.Errorf("%q is nothing to do", word)
}

// state is what only maintenance, membership and users could change.
func state(ctx context.Context, client *clientv3.Client, out *json.Encoder) error {
	members, err := client.MemberList(ctx)
	if err != nil {
		return err
	}
	alarms, err := client.AlarmList(ctx)
	if err != nil {
		return err
	}
	users, err := client.UserList(ctx)
	if err != nil {
		return err
	}
	roles, err := client.RoleList(ctx)
	if err != nil {
		return err
	}
	return out.Encode(map[string]any{"members": members.Members, "alarms": alarms.Alarms, "users": users.Users, "roles": roles.Roles})
}
