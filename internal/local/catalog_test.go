// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"errors"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/cairnflow/cairn/internal/porttest"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestCatalogConforms(t *testing.T) {
	porttest.Catalog(t, func(t testing.TB) porttest.CatalogGround {
		path := filepath.Join(t.TempDir(), StoreFile)
		s := openStore(t, path)
		return porttest.CatalogGround{CatalogStore: s, Restart: func() (porttest.CatalogStore, error) {
			if err := s.Close(); err != nil {
				return nil, err
			}
			s = openStore(t, path)
			return s, nil
		}}
	})
}

// One that knows no workflows would drop their definitions.
func TestAFileWithWorkflowsIsRefusedByOlderReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), StoreFile)
	s := openStore(t, path)
	r, _ := workflow.Registration{Namespace: "default", Name: "w"}.Apply("sha256:1", 1, "ada")
	if err := s.Register(t.Context(), 1, []workflow.Registration{r}, []scheduler.Definition{{Hash: "sha256:1", Bytes: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	child := scheduler.NewRun{ID: workflow.RunID("2ocdcmwzaaaaaaaaaaaa"), Workflow: "c", Namespace: "default"}
	child.Parent = workflow.MakeAttemptID(child.ID, 0, 0, 1)
	if _, err := s.Create(t.Context(), 1, child); err != nil {
		t.Fatal(err)
	}
	err := s.db.View(func(tx *bolt.Tx) error {
		v, err := unseal(tx.Bucket(metaBucket).Get(versionKey))
		if string(v) != "3" {
			t.Errorf("version %s, want 3", v)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADamagedRegistrationIsFoundWhenTheFileIsOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), StoreFile)
	s := openStore(t, path)
	r, _ := workflow.Registration{Namespace: "default", Name: "w"}.Apply("sha256:1", 1, "ada")
	if err := s.Register(t.Context(), 1, []workflow.Registration{r}, nil); err != nil {
		t.Fatal(err)
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(workflowsBucket).Put(workflowKey("default", "w"), []byte("nonsense"))
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(StoreConfig{Path: path}); !errors.Is(err, errChecksum) {
		t.Errorf("got %v, want an error about the checksum", err)
	}
}

// Nothing else removes what no version names any more.
func TestDefinitionsGoWithTheLastThatNamesThem(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), StoreFile))
	var r workflow.Registration
	r.Namespace, r.Name = "default", "w"
	for n := range workflow.MaxVersions + 1 {
		hash := string(rune('a'+n%26)) + string(rune('a'+n/26))
		r, _ = r.Apply(hash, 1, "ada")
		if err := s.Register(t.Context(), 1, []workflow.Registration{r}, []scheduler.Definition{{Hash: hash, Bytes: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Definition(t.Context(), "aa"); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("the definition of the version that is kept no more: %v", err)
	}
	if _, err := s.Definition(t.Context(), "ba"); err != nil {
		t.Errorf("the definition of the oldest version: %v", err)
	}
	if err := s.Register(t.Context(), 1, []workflow.Registration{r.Delete()}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Definition(t.Context(), "ba"); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("a definition after the deletion: %v", err)
	}
}
