// Command probe uses PD without a pause, as TiDB does: PD's own client for timestamps and regions, etcd's own for keys, a watch and a lease.
// It prints one line of JSON for each attempt, so that a test sees how long each was not to be had while PD's leader is lost. It holds every
// answer against the ones before, and tells what cannot be.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/log"
	"github.com/tikv/client-go/v2/util/codec"
	pd "github.com/tikv/pd/client"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	usage = `Usage:
  probe --pd HOST:PORT,... [--cert FILE --key-file FILE --ca FILE] [--forwarding] [--key-name NAME]
      Runs until stdin ends. With --forwarding PD's client asks followers to forward to a leader that it cannot reach.
`
	pause = 20 * time.Millisecond
	// As long as TiDB waits for one operation on etcd (keyOpDefaultTimeout is 2 s).
	etcdTimeout = 2 * time.Second
	pdTimeout   = 5 * time.Second
	// Longer than any fault, so that only a client that has stopped renewing it loses it.
	leaseTTL    = 120
	dialTimeout = 5 * time.Second
)

// attempt is one line of the output.
type attempt struct {
	Op string `json:"op"`
	// Milliseconds since 1970 at its end, and how long it took.
	At   float64 `json:"at"`
	Took float64 `json:"took"`
	// Why it failed.
	Error string `json:"error,omitempty"`
	// What cannot be.
	Wrong string `json:"wrong,omitempty"`
}

type printer struct {
	mutex sync.Mutex
	out   *json.Encoder
}

func (p *printer) tell(op string, began time.Time, err error, wrong string) {
	now := time.Now()
	a := attempt{Op: op, At: float64(now.UnixMicro()) / 1000, Took: float64(now.Sub(began).Microseconds()) / 1000, Wrong: wrong}
	if err != nil {
		a.Error = err.Error()
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_ = p.out.Encode(a)
}

// repeat makes one attempt after another. What an attempt returns as wrong ends nothing.
func (p *printer) repeat(ctx context.Context, op string, timeout time.Duration, try func(context.Context) (string, error)) {
	for ctx.Err() == nil {
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, timeout)
		wrong, err := try(within)
		cancel()
		if ctx.Err() != nil {
			return
		}
		p.tell(op, began, err, wrong)
		time.Sleep(pause)
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run() error {
	flags := flag.NewFlagSet("probe", flag.ExitOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	addresses := flags.String("pd", "", "")
	cert := flags.String("cert", "", "")
	key := flags.String("key-file", "", "")
	ca := flags.String("ca", "", "")
	forwarding := flags.Bool("forwarding", false, "")
	name := flags.String("key-name", "probe", "")
	_ = flags.Parse(os.Args[1:])

	log.ReplaceGlobals(zap.NewNop(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := &printer{out: json.NewEncoder(os.Stdout)}

	scheme := "http://"
	var config *tls.Config
	if *cert != "" {
		scheme = "https://"
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		pem, err := os.ReadFile(*ca)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		config = &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}
	}
	var urls []string
	for _, address := range strings.Split(*addresses, ",") {
		urls = append(urls, scheme+address)
	}
	client, err := pd.NewClientWithContext(ctx, urls, pd.SecurityOption{CAPath: *ca, CertPath: *cert, KeyPath: *key},
		pd.WithForwardingOption(*forwarding), pd.WithCustomTimeoutOption(pdTimeout))
	if err != nil {
		return err
	}
	defer client.Close()
	// As TiDB makes its client: it moves on to another member when a connection does not answer.
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: urls, TLS: config, Logger: zap.NewNop(), DialTimeout: dialTimeout,
		AutoSyncInterval: 30 * time.Second, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
	})
	if err != nil {
		return err
	}
	defer etcd.Close()

	var lastTS uint64
	go p.repeat(ctx, "tso", pdTimeout, func(ctx context.Context) (string, error) {
		physical, logical, err := client.GetTS(ctx)
		if err != nil {
			return "", err
		}
		ts := uint64(physical)<<18 + uint64(logical)
		if ts <= lastTS {
			return fmt.Sprintf("timestamp %d after %d", ts, lastTS), nil
		}
		lastTS = ts
		return "", nil
	})

	wanted := codec.EncodeBytes(nil, []byte("t\x80\x00\x00\x00\x00\x00\x00\x10"))
	go p.repeat(ctx, "region", pdTimeout, func(ctx context.Context) (string, error) {
		region, err := client.GetRegion(ctx, wanted)
		if err != nil {
			return "", err
		}
		if region == nil || region.Meta == nil {
			return "", fmt.Errorf("no region")
		}
		start, end := region.Meta.StartKey, region.Meta.EndKey
		if bytes.Compare(start, wanted) > 0 || (len(end) > 0 && bytes.Compare(wanted, end) >= 0) {
			return fmt.Sprintf("region %d does not hold the key", region.Meta.Id), nil
		}
		return "", nil
	})

	return useEtcd(ctx, p, etcd, *name)
}

// useEtcd puts, watches what it puts, and keeps a lease, until stdin ends.
func useEtcd(ctx context.Context, p *printer, etcd *clientv3.Client, name string) error {
	// Before the connection is closed, so that its end is not taken for the lease's.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	granted, err := etcd.Grant(ctx, leaseTTL)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	first, err := etcd.Put(ctx, name, "0", clientv3.WithLease(granted.ID))
	if err != nil {
		return fmt.Errorf("first put: %w", err)
	}
	alive, err := etcd.KeepAlive(ctx, granted.ID)
	if err != nil {
		return fmt.Errorf("keep alive: %w", err)
	}
	go func() {
		for range alive {
		}
		if ctx.Err() == nil {
			p.tell("lease", time.Now(), nil, "the lease is lost")
		}
	}()

	// Values by whether the watch told of them, and those whose put was answered.
	watched := make(map[int64]bool)
	var acknowledged []int64
	var mutex sync.Mutex
	next := int64(1)
	go p.repeat(ctx, "put", etcdTimeout, func(ctx context.Context) (string, error) {
		value := next
		next++
		if _, err := etcd.Put(ctx, name, strconv.FormatInt(value, 10), clientv3.WithLease(granted.ID)); err != nil {
			return "", err
		}
		mutex.Lock()
		acknowledged = append(acknowledged, value)
		mutex.Unlock()
		return "", nil
	})

	go func() {
		lastRevision := first.Header.Revision
		// A member without a leader ends the watch, and its client goes on where it was.
		for ; ctx.Err() == nil; time.Sleep(pause) {
			for answer := range etcd.Watch(clientv3.WithRequireLeader(ctx), name, clientv3.WithRev(lastRevision+1)) {
				if err := answer.Err(); err != nil {
					p.tell("watch", time.Now(), err, "")
					break
				}
				for _, event := range answer.Events {
					value, _ := strconv.ParseInt(string(event.Kv.Value), 10, 64)
					wrong := ""
					// A put that timed out may be done later, behind ones that came after it.
					if event.Kv.ModRevision <= lastRevision {
						wrong = fmt.Sprintf("event %d at %d after %d", value, event.Kv.ModRevision, lastRevision)
					}
					lastRevision = event.Kv.ModRevision
					mutex.Lock()
					watched[value] = true
					mutex.Unlock()
					p.tell("watch", time.Now(), nil, wrong)
				}
			}
		}
	}()

	_, _ = io.Copy(io.Discard, os.Stdin)
	mutex.Lock()
	promised := acknowledged
	mutex.Unlock()
	missing := func() (missing []int64) {
		mutex.Lock()
		defer mutex.Unlock()
		for _, value := range promised {
			if !watched[value] {
				missing = append(missing, value)
			}
		}
		return missing
	}
	for until := time.Now().Add(10 * time.Second); len(missing()) > 0 && time.Now().Before(until); time.Sleep(pause) {
	}
	if lost := missing(); len(lost) > 0 {
		p.tell("watch", time.Now(), nil, fmt.Sprintf("of %d puts that were answered no event tells, the first is %d", len(lost), lost[0]))
	}
	left, err := etcd.TimeToLive(context.Background(), granted.ID)
	if err == nil && left.TTL <= 0 {
		p.tell("lease", time.Now(), nil, "the lease has run out")
	}
	return nil
}
