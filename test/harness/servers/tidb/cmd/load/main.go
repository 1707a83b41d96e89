// Command load is both ends of a benchmark of proxies for gRPC: a server that answers with canned bytes, and a client that keeps it busy
// and times every answer. Both work on HTTP/2 frames, so that they cost less than what is between them.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

const usage = `Usage:
  load serve --listen ADDRESS --answer PATH=FILE...
      Answers each request (each message of a stream) to a path with the bytes of a file, a gRPC frame.
  load drive --target ADDRESS --path PATH --body FILE [--stream] [--connections N] [--streams N] [--seconds S] [--rate R]
             [--cert FILE --key FILE --ca FILE]
      Sends the bytes of a file, a gRPC frame, again and again, and prints one line of JSON: how many answers came per second, and how
      long each took in microseconds. Without a rate a new request follows each answer. With one, requests are due at even intervals
      and are timed from when they were due, so that a proxy that falls behind cannot hide it.
`

type answers map[string][]byte

func (a answers) String() string { return "" }

func (a answers) Set(text string) error {
	path, file, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("%q is not PATH=FILE", text)
	}
	bytes, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	a[path] = bytes
	return nil
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serveCommand(os.Args[2:])
	case "drive":
		err = driveCommand(os.Args[2:])
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func serveCommand(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address")
	canned := answers{}
	flags.Var(canned, "answer", "PATH=FILE")
	_ = flags.Parse(args)
	return serve(*listen, canned)
}

func driveCommand(args []string) error {
	flags := flag.NewFlagSet("drive", flag.ExitOnError)
	var o driveOptions
	flags.StringVar(&o.target, "target", "", "address")
	flags.StringVar(&o.path, "path", "", "the method's path")
	file := flags.String("body", "", "file with the gRPC frame to send")
	flags.BoolVar(&o.stream, "stream", false, "send all messages of a stream on one request")
	flags.IntVar(&o.connections, "connections", 1, "connections")
	flags.IntVar(&o.streams, "streams", 32, "requests in flight on each connection; with --stream, messages")
	seconds := flags.Float64("seconds", 2, "how long")
	flags.Float64Var(&o.rate, "rate", 0, "requests per second, all together; 0: as fast as answers come")
	flags.StringVar(&o.cert, "cert", "", "client certificate")
	flags.StringVar(&o.key, "key", "", "its key")
	flags.StringVar(&o.ca, "ca", "", "who signed the server's")
	_ = flags.Parse(args)
	body, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	o.body = body
	o.length = time.Duration(*seconds * float64(time.Second))
	report, err := drive(o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}
