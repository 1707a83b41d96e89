package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// loadCommand keeps one connection busy with one kind of operation.
func loadCommand(args []string) error {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	var o connection
	o.flags(flags)
	kind := flags.String("kind", "get", "put, get, txn or watch")
	workers := flags.Int("workers", 16, "operations in flight")
	watchers := flags.Int("watchers", 20, "watches that are told of every put, for watch")
	seconds := flags.Float64("seconds", 2, "how long")
	_ = flags.Parse(args)
	client, err := o.open()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	value := large(100)
	key := func(worker int) string { return fmt.Sprintf("load/%03d", worker) }
	put := func(worker int) error {
		_, err := client.Put(ctx, key(worker), value)
		return err
	}
	kinds := map[string]func(int) error{
		"put": put, "watch": put,
		"get": func(worker int) error {
			_, err := client.Get(ctx, key(worker))
			return err
		},
		"txn": func(worker int) error {
			_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.Version(key(worker)), ">", 0)).
				Then(clientv3.OpPut(key(worker), value), clientv3.OpGet(key(worker))).Else(clientv3.OpPut(key(worker), value)).Commit()
			return err
		},
	}
	operation, known := kinds[*kind]
	if !known {
		return fmt.Errorf("%q is none of the kinds", *kind)
	}
	for i := 0; i < *workers; i++ {
		if err := put(i); err != nil {
			return err
		}
	}
	var events atomic.Int64
	if *kind == "watch" {
		for i := 0; i < *watchers; i++ {
			watch := client.Watch(ctx, "load/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
			if answer := <-watch; answer.Err() != nil {
				return answer.Err()
			}
			go func() {
				for answer := range watch {
					events.Add(int64(len(answer.Events)))
				}
			}()
		}
	}
	took := make([][]time.Duration, *workers)
	failures := make(chan error, *workers)
	length := time.Duration(*seconds * float64(time.Second))
	began := time.Now()
	var all sync.WaitGroup
	for i := range took {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for time.Since(began) < length {
				start := time.Now()
				if err := operation(i); err != nil {
					failures <- err
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		}(i)
	}
	all.Wait()
	passed := time.Since(began).Seconds()
	select {
	case err := <-failures:
		return err
	default:
	}
	var times []time.Duration
	for _, each := range took {
		times = append(times, each...)
	}
	if len(times) == 0 {
		return fmt.Errorf("nothing was done in time")
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	at := func(share float64) float64 {
		return float64(times[int(float64(len(times)-1)*share)].Microseconds())
	}
	count := float64(len(times))
	if *kind == "watch" {
		count = float64(events.Load())
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"perSecond": count / passed, "p50": at(0.5), "p99": at(0.99)})
}
