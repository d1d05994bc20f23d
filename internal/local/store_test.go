// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/cairnflow/cairn/internal/porttest"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
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

func TestStoreIsKeptInOrder(t *testing.T) {
	porttest.Housekept(t, func(t testing.TB) porttest.HousekeptGround {
		path := filepath.Join(t.TempDir(), StoreFile)
		s := openStore(t, path)
		return porttest.HousekeptGround{Store: s, Restart: func() (porttest.KeptStore, error) {
			if err := s.Close(); err != nil {
				return nil, err
			}
			s = openStore(t, path)
			return s, nil
		}}
	})
}

func TestASweepKeepsWhatRegistrationsName(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), StoreFile))
	def := scheduler.Definition{Hash: "sha256:abc", Bytes: []byte("definition")}
	r, _ := workflow.Registration{Namespace: "default", Name: "w"}.Apply(def.Hash, 1, "ada")
	if err := s.Register(t.Context(), 1, []workflow.Registration{r}, []scheduler.Definition{def}); err != nil {
		t.Fatal(err)
	}
	if swept, more, err := s.Sweep(t.Context(), 1, s.Named); swept != 0 || more || err != nil {
		t.Errorf("%d definitions were swept, %t, %v, want none", swept, more, err)
	}
	if got, err := s.Definition(t.Context(), def.Hash); err != nil || string(got.Bytes) != "definition" {
		t.Errorf("the definition reads %q, %v", got.Bytes, err)
	}
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

// A file without child runs stays readable for a Cairn that knows none.
func TestTheVersionOfAFileSaysWhetherItHoldsChildRuns(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), StoreFile))
	version := func() (v string) {
		if err := s.db.View(func(tx *bolt.Tx) error {
			b, err := unseal(tx.Bucket(metaBucket).Get(versionKey))
			v = string(b)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return v
	}
	run := scheduler.NewRun{ID: workflow.NewRunID(time.UnixMilli(1), [6]byte{1}), Workflow: "w", Namespace: "default"}
	child := scheduler.NewRun{ID: workflow.NewRunID(time.UnixMilli(2), [6]byte{1}), Workflow: "c", Namespace: "default"}
	child.Parent = workflow.MakeAttemptID(run.ID, 0, 0, 1)
	if _, err := s.Create(t.Context(), 1, run); err != nil || version() != "1" {
		t.Errorf("after the first run: version %s, %v, want 1", version(), err)
	}
	if _, err := s.Create(t.Context(), 1, child); err != nil || version() != "2" {
		t.Errorf("after the first child run: version %s, %v, want 2", version(), err)
	}
	path := s.path
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := openStore(t, path).List(t.Context(), scheduler.Filter{Children: true})
	if err != nil || len(list) != 2 || list[0].Parent != child.Parent {
		t.Errorf("opened again: %+v, %v, want both runs", list, err)
	}
}

func TestAStoreThatWasNeverWrittenIsNone(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"no file":       func(string) error { return nil },
		"an empty file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a file whose maker was killed": func(path string) error {
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			return db.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), StoreFile)
			if err := prepare(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(path)
			for _, cfg := range []StoreConfig{{Path: path, ReadOnly: true}, {Path: path, Existing: true}} {
				if _, err := OpenStore(cfg); !errors.Is(err, scheduler.ErrNotFound) || !strings.Contains(err.Error(), path) {
					t.Errorf("%+v: %v, want ErrNotFound and the path", cfg, err)
				}
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("opening made or changed the file")
			}
			if err := openStore(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			s, err := OpenStore(StoreConfig{Path: path, Existing: true})
			if err != nil {
				t.Fatalf("open what was made: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
