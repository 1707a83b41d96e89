package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
)

// The files of TiKV's [security] section: one certificate for all that it serves and calls.
type security struct {
	ca, cert, key string
}

func (s security) enabled() bool { return s.cert != "" }

func (s security) config() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(s.ca + ": no certificate")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2"},
	}, nil
}

// Makes the server ask for certificates, and all gRPC clients of this process show one.
func (s security) apply() ([]grpc.ServerOption, error) {
	if !s.enabled() {
		return nil, nil
	}
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	resolver.Register(tunnels{config})
	resolver.SetDefaultScheme(tunnelScheme)
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(config))}, nil
}

const tunnelScheme = "tunnel"

// Leads each target through a tunnel with TLS, because unistore's client of PD speaks plaintext only.
type tunnels struct{ config *tls.Config }

func (tunnels) Scheme() string { return tunnelScheme }

func (t tunnels) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go t.serve(listener, target.Endpoint())
	address := resolver.Address{Addr: listener.Addr().String()}
	return tunnel{listener}, cc.UpdateState(resolver.State{Addresses: []resolver.Address{address}})
}

func (t tunnels) serve(listener net.Listener, server string) {
	for {
		plain, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer plain.Close()
			secured, err := tls.Dial("tcp", server, t.config)
			if err != nil {
				return
			}
			defer secured.Close()
			go func() {
				defer secured.Close()
				_, _ = io.Copy(secured, plain)
			}()
			_, _ = io.Copy(plain, secured)
		}()
	}
}

type tunnel struct{ listener net.Listener }

func (tunnel) ResolveNow(resolver.ResolveNowOptions) {}
func (t tunnel) Close()                              { _ = t.listener.Close() }
