// Command oracle says what upstream's own codecs make of a message: client-go's CodecV2 for TiKV and PD, etcd's clientv3/namespace.
// It makes seeded cases and prints each one with its answer, a JSON object a line (see emit.go for the fields).
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/pingcap/log"
	"github.com/spf13/pflag"
	"github.com/tikv/client-go/v2/tikv"
	"go.uber.org/zap"
)

const usage = `oracle prints seeded cases and what upstream's codecs make of them, a JSON object a line.

  oracle codec        requests and answers of TiKV through client-go's CodecV1 (the client's side) and CodecV2 (the store's)
  oracle pd           the same for PD, through client-go's CodecPDClient
  oracle namespace    requests and answers of etcd through clientv3/namespace
  oracle differences  where the filter does something else than upstream, on purpose

`

type options struct {
	seed     uint64
	count    int
	keyspace uint32
	mode     string
	only     string
	prefix   string
	tenant   uint32
}

func main() {
	var opts options
	flags := pflag.NewFlagSet("oracle", pflag.ExitOnError)
	flags.Usage = func() {
		fmt.Fprint(os.Stderr, usage+flags.FlagUsages())
	}
	flags.Uint64Var(&opts.seed, "seed", 1, "seed; the same seed gives the same cases")
	flags.IntVar(&opts.count, "count", 1000, "cases for each command and direction")
	flags.Uint32Var(&opts.keyspace, "keyspace", 7, "keyspace id")
	flags.StringVar(&opts.mode, "mode", "txn", "txn or raw")
	flags.StringVar(&opts.only, "only", "", "one command only; default: all")
	flags.StringVar(&opts.prefix, "prefix", "/tidb-mesh/alpha:", "namespace: prefix of the tenant's keys")
	flags.Uint32Var(&opts.tenant, "tenant", 1, "the tenant's number, which its lease ids and resource groups hold")
	_ = flags.Parse(os.Args[1:])
	// CodecV2 logs every key that it refuses; here those are what is tested.
	log.ReplaceGlobals(zap.NewNop(), &log.ZapProperties{})
	if err := run(flags.Args(), opts); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func run(args []string, opts options) error {
	if len(args) != 1 {
		return errors.New("one of codec, pd, namespace, differences is wanted; see --help")
	}
	out := newEmitter(os.Stdout)
	var err error
	switch args[0] {
	case "codec", "pd":
		var both codecs
		if both, err = newCodecs(opts); err != nil {
			return err
		}
		if args[0] == "codec" {
			err = codecCases(both, opts, out)
		} else {
			err = pdCases(both, opts, out)
		}
	case "namespace":
		err = namespaceCases(opts, out)
	case "differences":
		for _, difference := range differences {
			out.emit(difference)
		}
	default:
		return fmt.Errorf("%q is not a subcommand; see --help", args[0])
	}
	if err != nil {
		return err
	}
	return out.close()
}

func modeOf(name string) (tikv.Mode, error) {
	switch name {
	case "txn":
		return tikv.ModeTxn, nil
	case "raw":
		return tikv.ModeRaw, nil
	}
	return 0, fmt.Errorf("--mode %q is neither txn nor raw", name)
}
