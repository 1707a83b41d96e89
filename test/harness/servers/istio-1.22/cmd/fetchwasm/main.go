// Fetches a wasm image by a reference as Istio's agent does, with Istio's own code, and prints the SHA-256 of what comes out.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"

	"istio.io/istio/pkg/wasm"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fetchwasm <image reference>")
		os.Exit(2)
	}
	fetch, digest, err := wasm.NewImageFetcher(context.Background(), wasm.ImageFetcherOption{}).PrepareFetch(os.Args[1])
	if err == nil {
		var code []byte
		if code, err = fetch(); err == nil {
			fmt.Printf("image %s wasm %x\n", digest, sha256.Sum256(code))
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
