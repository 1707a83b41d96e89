// Command nativebench is the native peer of the rewriter's benchmark: the same messages, unmarshalled, mapped by client-go's CodecV2 and
// marshalled again.
//
// Standard input: the first line is a JSON list of {"name", "type", "keyspace", "prefix", "bytes" (base64)}; then one command a line:
//
//	run INDEX TIMES    answers {"cpuNs", "wallNs"}: of the whole process, the garbage collector's threads included
//	show INDEX         answers {"bytes"}: the rewritten message in base64
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ballast stands for the heap of a real client: with an empty one the collector would run every 4 MiB. It holds no pointers, so marking it
// costs nothing.
var ballast = make([]byte, 64<<20)

type message struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Keyspace uint32 `json:"keyspace"`
	Prefix   string `json:"prefix"`
	Bytes    []byte `json:"bytes"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	if err := serve(in, out); err != nil {
		fmt.Fprintln(os.Stderr, "nativebench:", err)
		os.Exit(1)
	}
	ballast[0] = 1
}

func serve(in *bufio.Reader, out *json.Encoder) error {
	var messages []message
	first, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("no messages: %w", err)
	}
	if err := json.Unmarshal(first, &messages); err != nil {
		return fmt.Errorf("the messages: %w", err)
	}
	rewriters := make([]func([]byte) ([]byte, error), len(messages))
	for i, m := range messages {
		if rewriters[i], err = rewriterOf(m); err != nil {
			return err
		}
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil
		}
		var command string
		var index, times int
		if n, _ := fmt.Sscan(line, &command, &index, &times); n < 2 || index < 0 || index >= len(messages) {
			return fmt.Errorf("what is %q?", line)
		}
		rewrite, source := rewriters[index], messages[index].Bytes
		switch command {
		case "show":
			rewritten, err := rewrite(source)
			if err != nil {
				return fmt.Errorf("%s: %w", messages[index].Name, err)
			}
			if err := out.Encode(map[string][]byte{"bytes": rewritten}); err != nil {
				return err
			}
		case "run":
			cpu, wall := cpuNanoseconds(), time.Now()
			for i := 0; i < times; i++ {
				if _, err := rewrite(source); err != nil {
					return fmt.Errorf("%s: %w", messages[index].Name, err)
				}
			}
			took := map[string]int64{"cpuNs": cpuNanoseconds() - cpu, "wallNs": time.Since(wall).Nanoseconds()}
			if err := out.Encode(took); err != nil {
				return err
			}
		default:
			return fmt.Errorf("what is %q?", line)
		}
	}
}

func cpuNanoseconds() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
