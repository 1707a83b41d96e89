package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"math"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"
)

type connection struct {
	endpoint, namespace string
	cert, key, ca       string
}

func (o *connection) flags(flags *flag.FlagSet) {
	flags.StringVar(&o.endpoint, "endpoint", "", "HOST:PORT")
	flags.StringVar(&o.namespace, "namespace", "", "prefix of every key")
	flags.StringVar(&o.cert, "cert", "", "client certificate")
	flags.StringVar(&o.key, "key-file", "", "its key")
	flags.StringVar(&o.ca, "ca", "", "who signed the server's")
}

// open does not wait for the connection: the first call does.
func (o connection) open() (*clientv3.Client, error) {
	config := clientv3.Config{
		Endpoints:   []string{"http://" + o.endpoint},
		DialTimeout: 10 * time.Second,
		Logger:      zap.NewNop(),
		// Above etcd's own limit, so that it is etcd that refuses.
		MaxCallSendMsgSize: 64 << 20,
		MaxCallRecvMsgSize: math.MaxInt32,
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, err
		}
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", o.ca)
		}
		config.Endpoints[0] = "https://" + o.endpoint
		config.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "localhost"}
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, err
	}
	if o.namespace != "" {
		client.KV = namespace.NewKV(client.KV, o.namespace)
		client.Watcher = namespace.NewWatcher(client.Watcher, o.namespace)
		client.Lease = namespace.NewLease(client.Lease, o.namespace)
	}
	return client, nil
}

// everything is the range of all keys.
func everything() []clientv3.OpOption {
	return []clientv3.OpOption{clientv3.WithPrefix()}
}
