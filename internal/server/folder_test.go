// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/local"
	"github.com/cairnflow/cairn/internal/scheduler"
)

func TestARunWhoseStoreIsGoneSaysSo(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"replaced by one without the run": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			s, err := local.OpenStore(local.StoreConfig{Path: path})
			if err != nil {
				return err
			}
			return s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, small)
			s := r.start(Local)
			if err := errors.Join(s.Close(), lose(s.folder.store())); err != nil {
				t.Fatal(err)
			}
			before, statErr := os.Stat(s.folder.store())
			check := func(what string, err error) {
				t.Helper()
				if err == nil || !strings.Contains(err.Error(), "missing or empty") || !strings.Contains(err.Error(), "remove "+s.Folder()) {
					t.Errorf("%s: %v, want to hear that the store is gone, and of %s", what, err, s.Folder())
				}
			}
			for _, q := range []client.RunsQuery{{}, {Workflow: "small"}, {Status: []string{"running"}}} {
				runs, problems, err := List(within(t), r.cfg, Query{RunsQuery: q})
				if err != nil || len(runs) > 0 || len(problems) != 1 {
					t.Fatalf("list %+v: %v, %v, %v, want a problem", q, runs, problems, err)
				}
				check("list", problems[0])
			}
			reader, err := Read(within(t), r.cfg, s.Run)
			if err != nil {
				t.Fatal(err)
			}
			_, err = reader.Run(within(t), string(s.Run))
			check("read", err)
			reader.Close()
			_, err = Resume(within(t), r.cfg, s.Run, "")
			check("resume", err)
			var lost *LostError
			if !errors.As(err, &lost) {
				t.Errorf("resume: %v, want a LostError", err)
			}
			after, err := os.Stat(s.folder.store())
			if (err == nil) != (statErr == nil) || err == nil && before.Size() == 0 && after.Size() != 0 {
				t.Errorf("resume made a store: %v, %v", after, err)
			}
		})
	}
}

func TestResumeOfARunThatWasGivenUpMakesNoStore(t *testing.T) {
	r := newRig(t, small)
	id := NewRunID(time.Now())
	f, err := makeFolder(r.cfg.StateDir, runFile{Run: id, Kind: Local})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(within(t), r.cfg, id, ""); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if _, err := os.Stat(f.store()); err == nil {
		t.Error("there is a store now")
	}
}

func TestLogsOfARemovedFolderNameIt(t *testing.T) {
	r := newRig(t, small)
	s := r.start(Local)
	if _, err := follow(within(t), s.Client(), s.Run); err != nil {
		t.Fatal(err)
	}
	attempts := s.folder.file("attempts")
	if err := os.RemoveAll(attempts); err != nil {
		t.Fatal(err)
	}
	check := func(c *client.Client) {
		t.Helper()
		_, err := c.Logs(within(t), string(s.Run), api.LogQuery{Task: "again"})
		var said *api.Error
		if !errors.As(err, &said) || said.Code != api.CodeGone || !strings.Contains(said.Message, "somebody removed "+attempts) {
			t.Errorf("got %v, want to hear that %s was removed", err, attempts)
		}
	}
	check(s.Client())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	stored, err := Read(within(t), r.cfg, s.Run)
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	check(stored.Client)
}
