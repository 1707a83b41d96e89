package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func followCommand(args []string) error {
	flags := flag.NewFlagSet("follow", flag.ExitOnError)
	var o connection
	o.flags(flags)
	key := flags.String("key", "", "prefix to watch")
	from := flags.Int64("revision", 0, "0: from now on")
	_ = flags.Parse(args)
	client, err := o.open()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	out := json.NewEncoder(os.Stdout)
	options := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(*from), clientv3.WithCreatedNotify()}
	for answer := range client.Watch(ctx, *key, options...) {
		if answer.Created {
			_ = out.Encode(map[string]any{"created": true})
		}
		for _, e := range answer.Events {
			_ = out.Encode(map[string]any{
				"type": e.Type.String(), "key": string(e.Kv.Key), "value": string(e.Kv.Value), "revision": e.Kv.ModRevision,
			})
		}
		if err := answer.Err(); err != nil {
			_ = out.Encode(map[string]any{
				"error": failureOf(err), "compacted": err == rpctypes.ErrCompacted, "compactRevision": answer.CompactRevision,
			})
		}
	}
	_ = out.Encode(map[string]any{"ended": true})
	return nil
}
