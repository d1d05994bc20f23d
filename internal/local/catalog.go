// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

var _ scheduler.Catalog = (*Store)(nil)

// workflowsBucket is there since storeVersionWorkflows: namespace 0 name -> registration.
var workflowsBucket = []byte("workflows")

// Registration implements scheduler.Catalog.
func (s *Store) Registration(ctx context.Context, namespace, name string) (r workflow.Registration, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		r, err = getRegistration(tx, namespace, name)
		return err
	})
	return r, err
}

// Registrations implements scheduler.Catalog.
func (s *Store) Registrations(ctx context.Context, namespace string) ([]workflow.Registration, error) {
	var list []workflow.Registration
	err := s.view(ctx, func(tx *bolt.Tx) error {
		return eachRegistration(tx, workflowKey(namespace, ""), func(r workflow.Registration) {
			if len(r.Versions) > 0 {
				list = append(list, r)
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list workflows: %w", err)
	}
	return list, nil
}

// Register implements scheduler.Catalog.
func (s *Store) Register(
	ctx context.Context, epoch uint64, registrations []workflow.Registration, definitions []scheduler.Definition,
) error {
	encoded := make([][]byte, len(registrations))
	for i, r := range registrations {
		var err error
		if encoded[i], err = workflow.EncodeRegistration(r); err != nil {
			return err
		}
	}
	err := s.update(ctx, func(tx *bolt.Tx) (refusal, fatal error) {
		if err := fenced(tx, epoch); err != nil {
			return err, nil
		}
		var before []string // what may be named no more
		for _, r := range registrations {
			was, err := getRegistration(tx, r.Namespace, r.Name)
			if err != nil {
				return err, nil
			}
			if was.Serial+1 != r.Serial {
				return fmt.Errorf("%w: workflow %s has changed", scheduler.ErrConflict, r.Name), nil
			}
			for _, v := range was.Versions {
				before = append(before, v.Hash)
			}
		}
		if err := raiseEpoch(tx, epoch); err != nil {
			return nil, err
		}
		if err := raiseVersion(tx, storeVersionWorkflows); err != nil {
			return nil, err
		}
		workflows, err := tx.CreateBucketIfNotExists(workflowsBucket)
		if err != nil {
			return nil, err
		}
		for _, d := range definitions {
			if err := putDefinition(tx, d); err != nil {
				return nil, err
			}
		}
		for i, r := range registrations {
			if err := workflows.Put(workflowKey(r.Namespace, r.Name), seal(encoded[i])); err != nil {
				return nil, err
			}
		}
		return nil, dropDefinitions(tx, before...)
	})
	if err != nil {
		return fmt.Errorf("register workflows: %w", err)
	}
	return nil
}

// Definition implements scheduler.Catalog.
func (s *Store) Definition(ctx context.Context, hash string) (scheduler.Definition, error) {
	def := scheduler.Definition{Hash: hash}
	err := s.view(ctx, func(tx *bolt.Tx) error {
		v := tx.Bucket(definitionsBucket).Get([]byte(hash))
		if v == nil {
			return scheduler.ErrNotFound
		}
		value, err := unseal(v)
		def.Bytes = bytes.Clone(value)
		return err
	})
	if err != nil {
		return scheduler.Definition{}, fmt.Errorf("definition %s: %w", hash, err)
	}
	return def, nil
}

// Named implements scheduler.Catalog.
func (s *Store) Named(ctx context.Context) (hashes []string, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		hashes, err = named(tx)
		return err
	})
	return hashes, err
}

func named(tx *bolt.Tx) ([]string, error) {
	var hashes []string
	err := eachRegistration(tx, nil, func(r workflow.Registration) {
		for _, v := range r.Versions {
			hashes = append(hashes, v.Hash)
		}
	})
	slices.Sort(hashes)
	return slices.Compact(hashes), err
}

func workflowKey(namespace, name string) []byte { return []byte(namespace + "\x00" + name) }

func getRegistration(tx *bolt.Tx, namespace, name string) (workflow.Registration, error) {
	none := workflow.Registration{Namespace: namespace, Name: name}
	b := tx.Bucket(workflowsBucket)
	if b == nil {
		return none, nil
	}
	key := workflowKey(namespace, name)
	v := b.Get(key)
	if v == nil {
		return none, nil
	}
	return readRegistration(key, v)
}

func readRegistration(key, v []byte) (workflow.Registration, error) {
	value, err := unseal(v)
	if err != nil {
		return workflow.Registration{}, fmt.Errorf("workflow %q: %w", key, err)
	}
	r, err := workflow.DecodeRegistration(value)
	if err != nil {
		return r, fmt.Errorf("workflow %q: %w", key, err)
	}
	return r, nil
}

// eachRegistration calls do with the registrations below a prefix, in the order of their keys.
func eachRegistration(tx *bolt.Tx, prefix []byte, do func(workflow.Registration)) error {
	b := tx.Bucket(workflowsBucket)
	if b == nil {
		return nil
	}
	c := b.Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		r, err := readRegistration(k, v)
		if err != nil {
			return err
		}
		do(r)
	}
	return nil
}

// putDefinition stores a definition that is not stored yet.
func putDefinition(tx *bolt.Tx, def scheduler.Definition) error {
	d := tx.Bucket(definitionsBucket)
	if def.Hash == "" || d.Get([]byte(def.Hash)) != nil {
		return nil
	}
	return d.Put([]byte(def.Hash), seal(def.Bytes))
}

// dropDefinitions deletes those of some definitions that neither a run nor a registration names any more.
func dropDefinitions(tx *bolt.Tx, hashes ...string) error {
	if len(hashes) == 0 {
		return nil
	}
	used, err := named(tx)
	if err != nil {
		return err
	}
	err = tx.Bucket(runsBucket).ForEach(func(k, _ []byte) error {
		entry, err := getRun(tx, workflow.RunID(k))
		used = append(used, entry.Definition)
		return err
	})
	if err != nil {
		return err
	}
	keep := make(map[string]bool, len(used))
	for _, hash := range used {
		keep[hash] = true
	}
	for _, hash := range hashes {
		if hash == "" || keep[hash] {
			continue
		}
		if err := tx.Bucket(definitionsBucket).Delete([]byte(hash)); err != nil {
			return err
		}
	}
	return nil
}

// raiseVersion makes the file one of a later layout.
func raiseVersion(tx *bolt.Tx, to int) error {
	meta := tx.Bucket(metaBucket)
	v, err := unseal(meta.Get(versionKey))
	if err != nil {
		return fmt.Errorf("version: %w", err)
	}
	now, err := strconv.Atoi(string(v))
	if err != nil || now >= to {
		return err
	}
	return meta.Put(versionKey, seal([]byte(strconv.Itoa(to))))
}
