// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/local"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Kind says where the tasks of a run are executed.
type Kind string

// The kinds of executor.
const (
	Local Kind = "local" // child processes on this machine
	Nomad Kind = "nomad" // batch jobs on the Nomad that NOMAD_ADDR names
)

// StateDir is where runs without a server are kept: $CAIRN_STATE_DIR, else $XDG_STATE_HOME/cairn, else
// ~/.local/state/cairn.
func StateDir(getenv func(string) string) (string, error) {
	if dir := getenv("CAIRN_STATE_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) { // others are to be ignored, says the XDG specification
		return filepath.Join(dir, "cairn"), nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", errors.New("no state folder: set CAIRN_STATE_DIR, or HOME")
	}
	return filepath.Abs(filepath.Join(home, ".local", "state", "cairn"))
}

// folderVersion is the version of run.json.
const folderVersion = 1

// runFile is the content of run.json.
type runFile struct {
	Version   int            `json:"version"`
	Run       workflow.RunID `json:"run"`
	Workflow  string         `json:"workflow"`
	Kind      Kind           `json:"executor"`
	CreatedAt time.Time      `json:"created_at"`
}

// folder is the folder of one run.
type folder string

func folderOf(stateDir string, id workflow.RunID) folder {
	return folder(filepath.Join(stateDir, "runs", string(id)))
}

func (f folder) file(name string) string { return filepath.Join(string(f), name) }
func (f folder) store() string           { return f.file(local.StoreFile) }

const (
	runFileName  = "run.json"
	halfFileName = "new"
	sockFileName = "sock"
)

// makeFolder makes the folder of a new run, still marked as half-made.
func makeFolder(stateDir string, run runFile) (folder, error) {
	f := folderOf(stateDir, run.Run)
	// 0711: outputs, params and logs are nobody else's business, so nobody may list what is here; but a task with another
	// `user` must reach the folders of its attempt.
	if err := os.MkdirAll(filepath.Dir(string(f)), 0o711); err != nil {
		return "", fmt.Errorf("make the state folder: %w", err)
	}
	if err := os.Mkdir(string(f), 0o711); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("make the run folder: run %s: %w", run.Run, scheduler.ErrExists)
		}
		return "", fmt.Errorf("make the run folder: %w", err)
	}
	run.Version = folderVersion
	b, err := json.Marshal(run)
	if err != nil {
		return "", fmt.Errorf("make the run folder: %w", err)
	}
	for name, content := range map[string][]byte{halfFileName: nil, runFileName: append(b, '\n')} {
		if err := os.WriteFile(f.file(name), content, 0o600); err != nil {
			return "", errors.Join(fmt.Errorf("make the run folder: %w", err), os.RemoveAll(string(f)))
		}
	}
	return f, nil
}

// complete takes the mark off: the run is in the store.
func (f folder) complete() error {
	if err := os.Remove(f.file(halfFileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("complete the run folder: %w", err)
	}
	return nil
}

// half reports that the run may not be in the store yet: the mark is there, or nothing is.
func (f folder) half() bool {
	_, marked := os.Lstat(f.file(halfFileName))
	_, named := os.Lstat(f.file(runFileName))
	return marked == nil || errors.Is(named, fs.ErrNotExist)
}

// read reads run.json; ErrNotFound when there is no such run.
func (f folder) read() (runFile, error) {
	var run runFile
	b, err := os.ReadFile(f.file(runFileName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return run, fmt.Errorf("run %s: %w in %s", filepath.Base(string(f)), scheduler.ErrNotFound, filepath.Dir(string(f)))
	case err != nil:
		return run, fmt.Errorf("read the run folder: %w", err)
	}
	if err := json.Unmarshal(b, &run); err != nil {
		return run, fmt.Errorf("read %s: %w", f.file(runFileName), err)
	}
	if run.Version != folderVersion {
		return run, fmt.Errorf("read %s: format version %s, this Cairn reads %d: use the version of Cairn that made it, or a newer one",
			f.file(runFileName), strconv.Itoa(run.Version), folderVersion)
	}
	return run, nil
}

// A folder that is marked as half-made for longer than this was given up: making one takes milliseconds.
const halfMadeAge = time.Minute

// runFolders returns the folders of all runs, newest first. Half-made ones are left out; those that were given up are
// removed, or completed if their run had come into the store just before the end.
func runFolders(stateDir string, now time.Time) ([]folder, error) {
	entries, err := os.ReadDir(filepath.Join(stateDir, "runs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the run folders: %w", err)
	}
	var folders []folder
	for _, e := range slices.Backward(entries) { // IDs sort by time
		id, err := workflow.ParseRunID(e.Name())
		if err != nil || !e.IsDir() {
			continue
		}
		f := folderOf(stateDir, id)
		if f.half() && !f.repair(id, now) {
			continue
		}
		folders = append(folders, f)
	}
	return folders, nil
}

// repair decides about a folder that is marked as half-made, and reports whether it holds a run after all. What it cannot
// decide, or remove, it leaves for the next time.
func (f folder) repair(id workflow.RunID, now time.Time) (complete bool) {
	info, err := os.Stat(string(f))
	if err != nil || now.Sub(info.ModTime()) < halfMadeAge {
		return false
	}
	complete, err = f.settle(id)
	return complete && err == nil
}

// settle completes a half-made folder that was given up, if the store has the run, and removes it otherwise. Errors:
// *LockedError, or why it cannot be decided.
func (f folder) settle(id workflow.RunID) (complete bool, err error) {
	pid, err := local.Leader(string(f))
	if err != nil {
		return false, err
	}
	if pid != 0 {
		return false, &LockedError{Run: id, PID: pid}
	}
	found, err := inStore(f, id)
	if err != nil {
		return false, err
	}
	if found {
		return true, f.complete()
	}
	if err := os.RemoveAll(string(f)); err != nil {
		return false, fmt.Errorf("remove the half-made run folder: %w", err)
	}
	return false, nil
}

// LostError: the run was stored, and its store is missing or empty now.
type LostError struct {
	Run    workflow.RunID
	Folder string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("the store of run %s is missing or empty: restore %s from a copy, or remove %s",
		e.Run, filepath.Join(e.Folder, local.StoreFile), e.Folder)
}

// Unwrap gives what the API answers.
func (e *LostError) Unwrap() error {
	return &api.Error{Status: http.StatusGone, Code: api.CodeGone, Message: e.Error()}
}

// absent says why the store does not have the run: ErrNotFound if it never had, *LostError if it should.
func (f folder) absent(id workflow.RunID) error {
	if f.half() {
		return fmt.Errorf("run %s: %w in its store: it was given up before it was stored, start it again", id, scheduler.ErrNotFound)
	}
	return &LostError{Run: id, Folder: string(f)}
}
