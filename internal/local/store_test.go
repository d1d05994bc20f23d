// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cairnflow/cairn/internal/porttest"
	"github.com/cairnflow/cairn/internal/scheduler"
)

func TestStoreConforms(t *testing.T) {
	porttest.Store(t, func(t testing.TB) porttest.StoreGround {
		path := filepath.Join(t.TempDir(), StoreFile)
		s := openStore(t, path)
		return porttest.StoreGround{Store: s, Restart: func() (scheduler.Store, error) {
			if err := s.Close(); err != nil {
				return nil, err
			}
			s = openStore(t, path)
			return s, nil
		}}
	})
}

func openStore(t testing.TB, path string) *Store {
	t.Helper()
	s, err := OpenStore(StoreConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestElectorConforms(t *testing.T) {
	porttest.Elector(t, func(t testing.TB) porttest.ElectorGround {
		dir := t.TempDir()
		return porttest.ElectorGround{
			Contend: func() (scheduler.Elector, func(), error) {
				e := NewElector(dir)
				t.Cleanup(func() { drop(e) })
				return e, func() { drop(e) }, nil
			},
			Depose: func() error { return os.Remove(filepath.Join(dir, lockFile)) },
		}
	})
}

// drop closes the lock as the end of the process would.
func drop(e *Elector) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lock != nil {
		e.lock.Close()
	}
}
