package main

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

func keyspaceOf(t *testing.T, mode string, id uint32) codecs {
	t.Helper()
	both, err := newCodecs(options{mode: mode, keyspace: id})
	if err != nil {
		t.Fatal(err)
	}
	return both
}

func run1(t *testing.T, args []string, opts options) []byte {
	t.Helper()
	var buffer bytes.Buffer
	out := newEmitter(&buffer)
	var err error
	switch args[0] {
	case "codec":
		err = codecCases(keyspaceOf(t, opts.mode, opts.keyspace), opts, out)
	case "pd":
		err = pdCases(keyspaceOf(t, opts.mode, opts.keyspace), opts, out)
	default:
		err = namespaceCases(opts, out)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := out.close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// The same seed makes the same cases, another seed others; and no seed meets a difference that is not listed.
func TestSeeds(t *testing.T) {
	for _, subcommand := range []string{"codec", "pd", "namespace"} {
		for _, mode := range []string{"txn", "raw"} {
			opts := options{count: 40, keyspace: 9, mode: mode, prefix: "/p:", tenant: 2}
			var last []byte
			for seed := uint64(1); seed < 6; seed++ {
				opts.seed = seed
				made := run1(t, []string{subcommand}, opts)
				if !bytes.Equal(made, run1(t, []string{subcommand}, opts)) {
					t.Errorf("%s: seed %d makes other cases the second time", subcommand, seed)
				}
				if bytes.Equal(made, last) {
					t.Errorf("%s: seeds %d and %d make the same cases", subcommand, seed-1, seed)
				}
				last = made
			}
		}
	}
}

func TestEveryCommandIsListed(t *testing.T) {
	if err := checkCommands(); err != nil {
		t.Fatal(err)
	}
	whole := commands
	defer func() { commands = whole }()
	commands = commands[1:]
	if checkCommands() == nil {
		t.Error("a command that is missing goes unnoticed")
	}
}

func TestForeignKeysAreForeign(t *testing.T) {
	for _, mode := range []string{"txn", "raw"} {
		for _, id := range []uint32{0, 7, 0xffffff} {
			store := storeKeys{codecs: keyspaceOf(t, mode, id), random: randomFor(1, mode, "keys", int(id)), foreignPercent: 50}
			outside, own := 0, 0
			for range 2000 {
				if store.owns(store.foreign()) {
					t.Fatal("a foreign key is the keyspace's own")
				}
				if start, end := store.bounds(); store.ownsRange(start, end) {
					own++
				} else {
					outside++
				}
			}
			if outside < 200 || own < 200 {
				t.Errorf("%s %d: %d ranges outside, %d not", mode, id, outside, own)
			}
		}
	}
}

func TestShuffledMessagesSayTheSame(t *testing.T) {
	random := randomFor(1, "shuffled", "", 0)
	moved := 0
	for range 200 {
		store := storeKeys{codecs: keyspaceOf(t, "txn", 7), random: random}
		make := maker{random: random, density: 85, store: store}
		source := mustMarshal(make.make(reflect.TypeOf(kvrpcpb.ScanLockResponse{})))
		other := shuffled(random, source)
		if !bytes.Equal(source, other) {
			moved++
		}
		if !bytes.Equal(source, mustMarshal(parse(reflect.TypeOf(kvrpcpb.ScanLockResponse{}), other))) {
			t.Fatal("a shuffled message says something else")
		}
	}
	if moved < 100 {
		t.Errorf("only %d of 200 messages changed", moved)
	}
}
