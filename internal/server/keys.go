// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cairnflow/cairn/internal/local"
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

// claim is the right of this process to make the run of a key. It ends with the process.
type claim struct {
	file *os.File // locked; nil for a run without a key
}

// claimKey gives the key of a new run to it, for as long as its folder is there. Whoever wants the key too waits until the
// claim is closed, and then finds the run made, or nothing that counts. *RunExistsError: an equal run has the key;
// *scheduler.KeyTakenError: another one; *LostError: one that has lost its store.
func claimKey(ctx context.Context, cfg Config, run NewRun) (claim, error) {
	if run.IdempotencyKey == "" {
		return claim{}, nil
	}
	me, err := ownerOf(run)
	if err != nil {
		return claim{}, err
	}
	dir := filepath.Join(cfg.StateDir, "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return claim{}, fmt.Errorf("make the state folder: %w", err)
	}
	name := sha256.Sum256([]byte(run.Definition.Name + "\x00" + run.IdempotencyKey))
	file, err := lockKey(ctx, filepath.Join(dir, hex.EncodeToString(name[:])))
	if err != nil {
		return claim{}, fmt.Errorf("claim idempotency key %q: %w", run.IdempotencyKey, err)
	}
	c := claim{file: file}
	if err := c.take(cfg, run.IdempotencyKey, me); err != nil {
		c.close()
		return claim{}, err
	}
	return c, nil
}

// take gives the key to me, unless the run that has it is there.
func (c claim) take(cfg Config, key string, me keyFile) error {
	owner, err := c.owner()
	if err != nil {
		return fmt.Errorf("read the owner of idempotency key %q: %w", key, err)
	}
	if owner.Run != "" {
		if err := askOwner(cfg, key, owner, me); err != nil {
			return err
		}
	}
	if err := c.give(me); err != nil {
		return fmt.Errorf("claim idempotency key %q: %w", key, err)
	}
	return nil
}

// A key is locked while its run is made, which takes as long as Nomad takes to answer.
const (
	keyPatience = 15 * time.Second
	keyPause    = 20 * time.Millisecond // a blocking flock cannot be called off
)

// lockKey opens the file of a key, empty if it is new, and locks it. The file is never removed: the lock is on it.
func lockKey(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	patience, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	tick := time.NewTicker(keyPause)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		select {
		case <-tick.C:
		case <-patience.Done():
			return nil, errors.Join(
				fmt.Errorf("another process is starting a run with it, and has %s locked: try again when it is done, or end it", path), f.Close())
		}
	}
}

// owner reads whom the key belongs to; nobody when it is new, or its claimant was killed.
func (c claim) owner() (keyFile, error) {
	var owner keyFile
	b, err := io.ReadAll(c.file)
	if err != nil || len(b) == 0 {
		return owner, err
	}
	if err := json.Unmarshal(b, &owner); err != nil {
		return owner, fmt.Errorf("%s is damaged, remove it: %w", c.file.Name(), err)
	}
	return owner, nil
}

// give writes whom the key belongs to, before anything of the run is made.
func (c claim) give(owner keyFile) error {
	b, err := json.Marshal(owner)
	if err != nil {
		return err
	}
	if err := c.file.Truncate(0); err != nil {
		return err
	}
	if _, err := c.file.WriteAt(b, 0); err != nil {
		return err
	}
	return c.file.Sync()
}

// close lets others ask for the key.
func (c claim) close() {
	if c.file != nil {
		c.file.Close()
	}
}

// askOwner returns nil when the key's run is not there (any more). The key is locked, so nobody is making that run: what is
// half-made was given up.
func askOwner(cfg Config, key string, owner, me keyFile) error {
	f := folderOf(cfg.StateDir, owner.Run)
	if f.half() {
		if there, err := f.settle(owner.Run); err != nil {
			return fmt.Errorf("idempotency key %q belongs to run %s, which was left half-made in %s: %w", key, owner.Run, f, err)
		} else if !there {
			return nil
		}
	}
	if pid, err := local.Leader(string(f)); err == nil && pid == 0 {
		var lost *LostError
		if _, err := inStore(f, owner.Run); errors.As(err, &lost) {
			return fmt.Errorf("idempotency key %q belongs to run %s: %w", key, owner.Run, lost)
		}
	}
	if owner.Fingerprint != me.Fingerprint {
		return &scheduler.KeyTakenError{Key: key, Run: owner.Run}
	}
	return &RunExistsError{Key: key, Run: owner.Run}
}

func ownerOf(run NewRun) (keyFile, error) {
	what := []any{run.Definition.Hash, run.Params}
	if from := run.source; from != nil {
		what = append(what, from.run, from.selection)
	}
	b, err := json.Marshal(what)
	if err != nil {
		return keyFile{}, fmt.Errorf("claim idempotency key %q: %w", run.IdempotencyKey, err)
	}
	sum := sha256.Sum256(b)
	return keyFile{Run: run.ID, Fingerprint: hex.EncodeToString(sum[:])}, nil
}
