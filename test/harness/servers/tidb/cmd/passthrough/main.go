// Command passthrough hands gRPC on without reading it: what a proxy costs that is written with Go's own library and does nothing. It
// takes every method, with mutual TLS, and makes each call of a server that speaks plain text.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// payload is a message that nobody decodes.
type payload []byte

type untouched struct{}

func (untouched) Name() string { return "proto" }

func (untouched) Marshal(message any) ([]byte, error) { return *message.(*payload), nil }

func (untouched) Unmarshal(data []byte, message any) error {
	*message.(*payload) = append((*message.(*payload))[:0], data...)
	return nil
}

type receiver interface{ RecvMsg(message any) error }
type sender interface{ SendMsg(message any) error }

// copyAll hands messages on until there are no more; io.EOF is no error.
func copyAll(to sender, from receiver) error {
	for {
		var message payload
		if err := from.RecvMsg(&message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := to.SendMsg(&message); err != nil {
			return err
		}
	}
}

func handler(upstream *grpc.ClientConn) grpc.StreamHandler {
	description := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	return func(_ any, down grpc.ServerStream) error {
		method, found := grpc.MethodFromServerStream(down)
		if !found {
			return status.Error(codes.Internal, "a stream without a method")
		}
		incoming, _ := metadata.FromIncomingContext(down.Context())
		ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(down.Context(), incoming.Copy()))
		defer cancel()
		up, err := upstream.NewStream(ctx, description, method, grpc.ForceCodec(untouched{}))
		if err != nil {
			return err
		}
		go func() {
			if copyAll(up, down) != nil {
				cancel()
				return
			}
			_ = up.CloseSend()
		}()
		err = copyAll(down, up)
		down.SetTrailer(up.Trailer())
		return err
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on; it is printed")
	target := flag.String("target", "", "address of the server")
	cert := flag.String("cert", "", "PEM file of the certificate")
	key := flag.String("key", "", "PEM file of its key")
	ca := flag.String("ca", "", "PEM file of the authority that clients' certificates come from")
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	upstream, err := grpc.NewClient(*target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{pair},
			ClientCAs:    pool,
			ClientAuth:   tls.RequireAndVerifyClientCert,
		})),
		grpc.ForceServerCodec(untouched{}),
		grpc.UnknownServiceHandler(handler(upstream)),
	).Serve(listener)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "passthrough:", err)
		os.Exit(1)
	}
}
