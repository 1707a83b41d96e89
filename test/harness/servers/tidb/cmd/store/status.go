package main

import (
	"fmt"
	"net/http"
)

// As TiKV's coprocessor.region-split-keys by default.
const regionSplitKeys = 960_000

// newStatusAPI serves what TiDB reads of TiKV's status address: /config, for the size of the regions that an import is
// cut into. A store that advertises such an address is also asked to keep an import's borders in its compactions.
func newStatusAPI(opts options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		version := 1
		if opts.api == apiV2 {
			version = 2
		}
		reply(w, map[string]any{
			"coprocessor": map[string]any{
				"region-split-size": fmt.Sprintf("%dB", opts.regionSize),
				"region-split-keys": regionSplitKeys,
			},
			"storage": map[string]any{"api-version": version, "enable-ttl": opts.api != apiV1},
		})
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {})
	return mux
}
