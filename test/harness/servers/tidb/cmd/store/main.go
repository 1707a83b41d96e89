// Command store is one embedded TiKV for tests: TiDB's unistore engine behind a real PD, with the checks of a real TiKV
// that unistore lacks. What still differs is written down in ../../../README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/pingcap/log"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore/pd"
	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"
)

// How long streams, lock waiters and the engine get to end after a signal.
const (
	streamGrace = time.Second
	stopGrace   = 8 * time.Second
)

type options struct {
	pd         string
	listen     string
	advertise  string
	inspect    string
	data       string
	regionSize int64
	logLevel   string
	api        apiMode
	status     string
	wire       wireFormat
	security   security
}

func main() {
	var opts options
	var api, wire string
	flags := pflag.NewFlagSet("store", pflag.ExitOnError)
	flags.StringVar(&opts.pd, "pd", "127.0.0.1:2379", "PD endpoints, host:port, separated by commas")
	flags.StringVar(&opts.listen, "listen", "127.0.0.1:20160", "address to serve gRPC on")
	flags.StringVar(&opts.advertise, "advertise", "", "address that PD hands to clients; default: that of --listen")
	flags.StringVar(&opts.inspect, "inspect", "", "address of the HTTP inspector; none when empty")
	flags.StringVar(&opts.data, "data", "", "data folder")
	flags.Int64Var(&opts.regionSize, "region-size", 64<<20, "bytes that a region aims at; one half larger is split")
	flags.StringVar(&opts.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&api, "api", string(apiV1), "v1: transactions; raw: RawKV with lifetimes; v2: keyspaces")
	flags.StringVar(&opts.status, "status", "", "address of TiKV's status API; none when empty")
	flags.StringVar(&wire, "wire", string(wireTiKV), "how answers are encoded; tikv: as rust-protobuf does; go: as Go does")
	flags.StringVar(&opts.security.ca, "ca", "", "PEM file of the authority; with --cert and --key, TLS only")
	flags.StringVar(&opts.security.cert, "cert", "", "PEM file of the certificate")
	flags.StringVar(&opts.security.key, "key", "", "PEM file of its key")
	_ = flags.Parse(os.Args[1:])
	opts.api, opts.wire = apiMode(api), wireFormat(wire)
	if flags.Arg(0) == "wire-forms" {
		if err := answerWireForms(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "store wire-forms:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(opts); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run(opts options) error {
	switch {
	case opts.data == "":
		return errors.New("--data is missing")
	case !opts.api.known():
		return fmt.Errorf("--api %q is not v1, raw or v2", opts.api)
	case !opts.wire.known():
		return fmt.Errorf("--wire %q is not tikv or go", opts.wire)
	case opts.regionSize <= 0:
		return fmt.Errorf("--region-size %d is not positive", opts.regionSize)
	}
	if opts.advertise == "" {
		opts.advertise = opts.listen
	}
	stderr := zapcore.Lock(os.Stderr)
	logger, properties, err := log.InitLoggerWithWriteSyncer(&log.Config{Level: opts.logLevel}, stderr, stderr)
	if err != nil {
		return err
	}
	log.ReplaceGlobals(logger, properties)

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()

	// Listening comes first, so that a taken port leaves no trace in PD.
	listener, err := net.Listen("tcp", opts.listen)
	if err != nil {
		return err
	}
	secured, err := opts.security.apply()
	if err != nil {
		return err
	}
	client, err := pd.NewClient(strings.Split(opts.pd, ","), "store")
	if err != nil {
		return fmt.Errorf("PD at %s: %w", opts.pd, err)
	}
	stats := newCounters()
	eng, err := openEngine(opts, client, stats)
	if err != nil {
		return err
	}
	service := newService(eng, stats)
	server := newGRPCServer(service, opts.wire, secured...)
	failed := make(chan error, 3)
	go func() { failed <- server.Serve(listener) }()
	for address, handler := range map[string]http.Handler{
		opts.inspect: newInspector(service), opts.status: newStatusAPI(opts),
	} {
		if address == "" {
			continue
		}
		web, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { failed <- http.Serve(web, handler) }()
	}
	fmt.Printf("store ready listen=%s\n", listener.Addr())

	select {
	case <-stop.Done():
	case err = <-failed:
	}
	time.AfterFunc(stopGrace, func() {
		fmt.Fprintln(os.Stderr, "store: did not stop in time")
		os.Exit(1)
	})
	// BatchCommands streams never end by themselves.
	timer := time.AfterFunc(streamGrace, server.Stop)
	server.GracefulStop()
	timer.Stop()
	eng.close()
	return err
}
