//go:build tools

// Package versions pins the server that is built from this module.
package versions

import _ "github.com/pingcap/tidb/cmd/tidb-server"
