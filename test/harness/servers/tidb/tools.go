//go:build tools

// Package servers pins the servers that are built from this module.
package servers

import _ "github.com/pingcap/tidb/cmd/tidb-server"
