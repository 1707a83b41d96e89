//go:build tools

// Package versions pins the server that is built from this module.
package versions

import _ "github.com/tikv/pd/cmd/pd-server"
