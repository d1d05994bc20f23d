// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Shared is one Nomad and one Consul between all tests of a package, each started
// when the first test asks for it. The zero value is ready; the fields are set
// before the first test. See the package's example.
type Shared struct {
	NomadConfig  NomadConfig
	ConsulConfig ConsulConfig

	nomad  lazy[*NomadCluster]
	consul lazy[*ConsulCluster]
}

// Run runs the package's tests, then ends the shared agents. It returns the exit
// code for os.Exit.
func (s *Shared) Run(m *testing.M) int {
	code := m.Run()
	err := errors.Join(
		s.nomad.close((*NomadCluster).Close),
		s.consul.close((*ConsulCluster).Close),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcluster:", err)
		return max(code, 1)
	}
	return code
}

// Nomad returns the shared Nomad. Tests must leave its agents running.
func (s *Shared) Nomad(tb testing.TB) *NomadCluster {
	tb.Helper()
	NomadBinary(tb)
	n, err := s.nomad.get(func() (*NomadCluster, error) { return StartNomad(s.NomadConfig) })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { logTailsAfter(tb, n.ground) })
	return n
}

// Consul returns the shared Consul. Tests must leave its agents running.
func (s *Shared) Consul(tb testing.TB) *ConsulCluster {
	tb.Helper()
	ConsulBinary(tb)
	c, err := s.consul.get(func() (*ConsulCluster, error) { return StartConsul(s.ConsulConfig) })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { logTailsAfter(tb, c.ground) })
	return c
}

// lazy is a cluster that is started at most once; a failed start is not repeated.
type lazy[T any] struct {
	once    sync.Once
	value   T
	err     error
	started bool
}

func (l *lazy[T]) get(start func() (T, error)) (T, error) {
	l.once.Do(func() {
		l.value, l.err = start()
		l.started = l.err == nil
	})
	return l.value, l.err
}

func (l *lazy[T]) close(close func(T) error) error {
	if !l.started {
		return nil
	}
	return close(l.value)
}

// nth is the group after so many others; 0 where there is no first one.
func nth(first uint32, n int) uint32 {
	if first == 0 {
		return 0
	}
	return first + uint32(n)
}

// closeAfter ends a test's own cluster.
func closeAfter(tb testing.TB, g *ground) {
	tb.Helper()
	logTailsAfter(tb, g)
	if err := g.close(); err != nil {
		tb.Error(err)
	}
}

func logTailsAfter(tb testing.TB, g *ground) {
	tb.Helper()
	if tb.Failed() {
		tb.Log(g.logTails())
	}
}

// each calls do on all agents at once and waits for all.
func each(agents []*Agent, do func(*Agent) error) error {
	errs := make([]error, len(agents))
	var wg sync.WaitGroup
	for i, a := range agents {
		wg.Go(func() { errs[i] = do(a) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func hclList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = fmt.Sprintf("%q", item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

func writeFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
