// Command kvclient runs the calls of client-go, Go's client of TiKV, and prints one line for each:
//
//	kvclient txn|raw PD [CA CERT KEY]
//
// The lines hold nothing that differs from run to run, so those of two clusters can be compared.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pingcap/log"
	"github.com/tikv/client-go/v2/config"
	"go.uber.org/zap"
)

const (
	limit = 90 * time.Second
	many  = 300
)

func main() {
	if len(os.Args) != 3 && len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: kvclient txn|raw PD [CA CERT KEY]")
		os.Exit(2)
	}
	// Only what ends the program anyway.
	log.SetLevel(zap.FatalLevel)
	mode, pd := os.Args[1], []string{os.Args[2]}
	security := config.Security{}
	if len(os.Args) == 6 {
		security = config.NewSecurity(os.Args[3], os.Args[4], os.Args[5], nil)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	run := map[string]func(context.Context, []string, config.Security) error{"raw": raw, "txn": txn}[mode]
	if run == nil {
		fmt.Fprintln(os.Stderr, "unknown mode", mode)
		os.Exit(2)
	}
	if err := run(ctx, pd, security); err != nil {
		fmt.Fprintln(os.Stderr, "kvclient:", err)
		os.Exit(1)
	}
}

// show prints what a call gave, or that it failed.
func show(what string, err error, given ...any) {
	if err != nil {
		fmt.Printf("%s: failed: %v\n", what, err)
		return
	}
	fmt.Printf("%s:", what)
	for _, value := range given {
		if isTrue, isBool := value.(bool); isBool {
			fmt.Printf(" %t", isTrue)
		} else {
			fmt.Printf(" %q", value)
		}
	}
	fmt.Println()
}

func manyKeys() [][]byte {
	keys := make([][]byte, many)
	for n := range keys {
		keys[n] = fmt.Appendf(nil, "many%04d", n)
	}
	return keys
}
