// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// RunExistsError: the idempotency key belongs to an equal run, which is the one to follow.
type RunExistsError struct {
	Key string
	Run workflow.RunID
}

func (e *RunExistsError) Error() string {
	return fmt.Sprintf("run %s was started with idempotency key %q already", e.Run, e.Key)
}

// keyFile says which run a key belongs to. Every run has a store of its own, so that no store could tell.
type keyFile struct {
	Run         workflow.RunID `json:"run"`
	Fingerprint string         `json:"fingerprint"` // of definition and params
}

// claimKey gives the key of a new run to it, for as long as its folder is there; release takes that back. *RunExistsError: an
// equal run has it; *scheduler.KeyTakenError: another one.
func claimKey(cfg Config, run NewRun) (release func() error, err error) {
	if run.IdempotencyKey == "" {
		return func() error { return nil }, nil
	}
	mine, err := keyOf(run)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.StateDir, "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	name := sha256.Sum256([]byte(run.Definition.Name + "\x00" + run.IdempotencyKey))
	path := filepath.Join(dir, hex.EncodeToString(name[:]))
	draft := path + "." + string(run.ID)
	if err := os.WriteFile(draft, mine, 0o600); err != nil {
		return nil, fmt.Errorf("claim idempotency key %q: %w", run.IdempotencyKey, err)
	}
	defer os.Remove(draft)
	for {
		// A link is made or not: nobody sees half a file, and only one of two processes makes it.
		err := os.Link(draft, path)
		if err == nil {
			return func() error { return os.Remove(path) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("claim idempotency key %q: %w", run.IdempotencyKey, err)
		}
		if err := askOwner(cfg, path, run, mine); err != nil {
			return nil, err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("claim idempotency key %q: %w", run.IdempotencyKey, err)
		}
	}
}

// askOwner returns nil when the key's run is not there (any more).
func askOwner(cfg Config, path string, run NewRun, mine []byte) error {
	b, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(statErr, fs.ErrNotExist) {
		return nil
	}
	if err := errors.Join(err, statErr); err != nil {
		return fmt.Errorf("read the owner of idempotency key %q: %w", run.IdempotencyKey, err)
	}
	var owner, me keyFile
	if err := errors.Join(json.Unmarshal(b, &owner), json.Unmarshal(mine, &me)); err != nil {
		return fmt.Errorf("read the owner of idempotency key %q: %w", run.IdempotencyKey, err)
	}
	_, err = os.Stat(string(folderOf(cfg.StateDir, owner.Run)))
	// Its folder may be about to be made.
	if fresh := time.Since(info.ModTime()) < halfMadeAge; errors.Is(err, fs.ErrNotExist) && !fresh {
		return nil
	}
	if owner.Fingerprint != me.Fingerprint {
		return &scheduler.KeyTakenError{Key: run.IdempotencyKey, Run: owner.Run}
	}
	return &RunExistsError{Key: run.IdempotencyKey, Run: owner.Run}
}

func keyOf(run NewRun) ([]byte, error) {
	b, err := json.Marshal([]any{run.Definition.Hash, run.Params})
	if err != nil {
		return nil, fmt.Errorf("claim idempotency key %q: %w", run.IdempotencyKey, err)
	}
	sum := sha256.Sum256(b)
	b, err = json.Marshal(keyFile{Run: run.ID, Fingerprint: hex.EncodeToString(sum[:])})
	if err != nil {
		return nil, fmt.Errorf("claim idempotency key %q: %w", run.IdempotencyKey, err)
	}
	return b, nil
}
