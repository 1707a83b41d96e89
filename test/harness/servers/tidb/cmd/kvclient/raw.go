package main

import (
	"context"
	"slices"

	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
)

func raw(ctx context.Context, pd []string, security config.Security) error {
	client, err := rawkv.NewClient(ctx, pd, security)
	if err != nil {
		return err
	}
	defer client.Close()
	key := func(text string) []byte { return []byte(text) }
	scan := func(what, start, end string, limit int, options ...rawkv.RawOption) {
		keys, values, err := client.Scan(ctx, key(start), key(end), limit, options...)
		show(what, err, keys, values)
	}

	scan("scan at first", "", "", 5)
	show("put", client.Put(ctx, key("a"), key("1")))
	value, err := client.Get(ctx, key("a"))
	show("get", err, value)
	value, err = client.Get(ctx, key("absent"))
	show("get absent", err, value)
	keys := manyKeys()
	values := slices.Repeat([][]byte{key("v")}, len(keys))
	show("batch put", client.BatchPut(ctx, keys, values))
	values, err = client.BatchGet(ctx, [][]byte{key("a"), key("many0001"), key("b")})
	show("batch get", err, values)
	scan("scan", "a", "many0004", 10)
	scan("scan keys", "many", "", 3, rawkv.ScanKeyOnly())
	below, found, err := client.ReverseScan(ctx, key("many0290"), key("many"), 3)
	show("reverse scan", err, below, found)
	show("put with ttl", client.PutWithTTL(ctx, key("brief"), key("1"), 1000))
	ttl, err := client.GetKeyTTL(ctx, key("brief"))
	show("ttl", err, ttl != nil && *ttl > 900 && *ttl <= 1000)
	ttl, err = client.GetKeyTTL(ctx, key("absent"))
	show("ttl of absent", err, ttl == nil)
	show("delete", client.Delete(ctx, key("a")))
	show("delete range", client.DeleteRange(ctx, key("many0000"), key("many0100")))
	scan("scan after", "", "", 2)
	show("batch delete", client.BatchDelete(ctx, keys))
	scan("scan at last", "", "", 5)

	client.SetAtomicForCAS(true)
	cas := func(what string, before []byte, after string) {
		was, swapped, err := client.CompareAndSwap(ctx, key("cas"), before, key(after))
		show(what, err, was, swapped)
	}
	cas("cas of absent", nil, "1")
	cas("cas", key("1"), "2")
	cas("cas too late", key("1"), "3")
	value, err = client.Get(ctx, key("cas"))
	show("get after cas", err, value)
	return nil
}
