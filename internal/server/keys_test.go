// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/local"
	"github.com/cairnflow/cairn/internal/workflow"
)

// keyed is a new run with the key "nightly".
func (r *rig) keyed() NewRun {
	r.t.Helper()
	run, err := newRunOf(r.file, Local, "")
	if err != nil {
		r.t.Fatal(err)
	}
	run.IdempotencyKey = "nightly"
	return run
}

// giveUp leaves the claim of a run as its process does when it is killed: nothing is taken back.
func (r *rig) giveUp(run NewRun, after func(folder)) folder {
	r.t.Helper()
	c, err := claimKey(within(r.t), r.cfg, run)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.close()
	if after == nil {
		return folderOf(r.cfg.StateDir, run.ID)
	}
	f, err := makeFolder(r.cfg.StateDir, runFile{Run: run.ID, Workflow: run.Definition.Name, Kind: run.Kind, CreatedAt: time.Now()})
	if err != nil {
		r.t.Fatal(err)
	}
	after(f)
	return f
}

func TestAKeyOfARunThatWasGivenUpIsFree(t *testing.T) {
	emptyStore := func(t *testing.T, f folder) {
		s, err := local.OpenStore(local.StoreConfig{Path: f.store()})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, after := range map[string]func(*testing.T, folder){
		"before its folder was made": nil,
		"with its folder only":       func(*testing.T, folder) {},
		"with a store without it":    emptyStore,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, small)
			var then func(folder)
			if after != nil {
				then = func(f folder) { after(t, f) }
			}
			left := r.giveUp(r.keyed(), then)
			run := r.keyed()
			r.finish(t, run)
			if _, err := os.Stat(string(left)); err == nil {
				t.Errorf("%s is there still", left)
			}
			var exists *RunExistsError
			if _, err := Start(within(t), r.cfg, r.keyed()); !errors.As(err, &exists) || exists.Run != run.ID {
				t.Errorf("the same again: %v, want to hear of run %s", err, run.ID)
			}
		})
	}
}

// finish starts a run, follows it to its end and closes the session.
func (r *rig) finish(t *testing.T, run NewRun) *Session {
	t.Helper()
	s, err := Start(within(t), r.cfg, run)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := follow(within(t), s.Client(), s.Run); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAKeyStaysWithAHalfMadeRunThatIsStored(t *testing.T) {
	r := newRig(t, small)
	run := r.keyed()
	s := r.finish(t, run)
	if err := os.WriteFile(s.folder.file(halfFileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var exists *RunExistsError
	if _, err := Start(within(t), r.cfg, r.keyed()); !errors.As(err, &exists) || exists.Run != run.ID {
		t.Errorf("got %v, want to hear of run %s", err, run.ID)
	}
	if s.folder.half() {
		t.Error("the folder whose run is in the store is still marked as half-made")
	}
}

func TestAKeyOfAFailedStartIsFree(t *testing.T) {
	r := newRig(t, small)
	broken := r.cfg
	broken.Getenv = func(name string) string {
		return map[string]string{"NOMAD_ADDR": "http://127.0.0.1:1"}[name] // where nobody listens
	}
	run := r.keyed()
	run.Kind = Nomad
	var unreachable *UnreachableError
	if _, err := Start(within(t), broken, run); !errors.As(err, &unreachable) {
		t.Fatalf("a start without Nomad: %v, want an UnreachableError", err)
	}
	s, err := Start(within(t), r.cfg, r.keyed())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestManyClaimantsOfAStaleKeyMakeOneRun(t *testing.T) {
	r := newRig(t, small)
	r.giveUp(r.keyed(), nil)
	// Each makes its run as Start does, under its claim.
	const many = 20
	claimed := func(run NewRun) error {
		c, err := claimKey(within(t), r.cfg, run)
		if err != nil {
			return err
		}
		defer c.close()
		f, err := makeFolder(r.cfg.StateDir, runFile{Run: run.ID, Workflow: run.Definition.Name, Kind: run.Kind, CreatedAt: time.Now()})
		if err != nil {
			return err
		}
		return f.complete()
	}
	runs := make([]NewRun, many)
	for i := range runs {
		runs[i] = r.keyed()
	}
	errs := make([]error, many)
	var group sync.WaitGroup
	begin := make(chan struct{})
	for i := range many {
		group.Go(func() {
			<-begin
			errs[i] = claimed(runs[i])
		})
	}
	close(begin)
	group.Wait()
	var winners []workflow.RunID
	for i, err := range errs {
		if err == nil {
			winners = append(winners, runs[i].ID)
		}
	}
	if len(winners) != 1 {
		t.Fatalf("%d runs have the key, want one: %v", len(winners), winners)
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		// The winner made no store, which the others tell.
		var lost *LostError
		if !errors.As(err, &lost) || lost.Run != winners[0] {
			t.Errorf("claimant %d: %v, want to hear of run %s", i, err, winners[0])
		}
	}
}

func TestAKeyIsNotJudgedWhileItsRunIsMade(t *testing.T) {
	r := newRig(t, small)
	first := r.keyed()
	c, err := claimKey(within(t), r.cfg, first)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(within(t), 5*keyPause)
	defer cancel()
	if _, err := claimKey(ctx, r.cfg, r.keyed()); err == nil || !strings.Contains(err.Error(), `"nightly"`) ||
		!strings.Contains(err.Error(), "try again") {
		t.Errorf("a claim beside another: %v, want to hear that a run is being started", err)
	}
	c.close()
	if c, err = claimKey(within(t), r.cfg, r.keyed()); err != nil {
		t.Fatal(err)
	}
	c.close()
}

func TestAKeyOfALostRunNamesItsFolder(t *testing.T) {
	r := newRig(t, small)
	run := r.keyed()
	s, err := Start(within(t), r.cfg, run)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), os.Remove(s.folder.store())); err != nil {
		t.Fatal(err)
	}
	other := r.keyed()
	other.Params = nil
	for _, again := range []NewRun{r.keyed(), other} {
		var lost *LostError
		if _, err := Start(within(t), r.cfg, again); !errors.As(err, &lost) || lost.Run != run.ID || !strings.Contains(err.Error(), "remove "+s.Folder()) {
			t.Errorf("got %v, want the folder to remove", err)
		}
	}
	if err := os.RemoveAll(s.Folder()); err != nil {
		t.Fatal(err)
	}
	if s, err = Start(within(t), r.cfg, r.keyed()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestADamagedKeyNamesItsFile(t *testing.T) {
	r := newRig(t, small)
	r.giveUp(r.keyed(), nil)
	files, err := filepath.Glob(filepath.Join(r.cfg.StateDir, "keys", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("keys %v, %v, want one", files, err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := claimKey(within(t), r.cfg, r.keyed()); err == nil || !strings.Contains(err.Error(), files[0]) {
		t.Errorf("got %v, want the file to remove", err)
	}
}
