// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"os"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// cluster is one Consul of three servers for every test that does not break it; each test has a prefix of its own.
var cluster = testcluster.Shared{ConsulConfig: testcluster.ConsulConfig{Servers: 3}}

func TestMain(m *testing.M) {
	if os.Getenv(victimFile) != "" {
		os.Exit(victim())
	}
	os.Exit(cluster.Run(m))
}

// testLogger writes to the test's log.
func testLogger(t testing.TB) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}, DisableTime: true})
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}
