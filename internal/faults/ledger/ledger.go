// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package ledger is the evidence of the fault tests: a file to which the tasks themselves append a line when they begin
// and one when they end, and the judge that holds it against the run document. It imports nothing of Cairn, so that
// Cairn's own records are never the evidence for Cairn's own correctness.
package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Event is what a line tells of an attempt.
type Event string

// The events. A process that is killed writes no end. A call is written by the server that a task calls.
const (
	Begin Event = "begin"
	End   Event = "end"
	Call  Event = "call"
)

// Passing is the exit code of a failure that goes away when the task has failed so often; every other code comes again.
const Passing = 75

// Line is one line of the file.
type Line struct {
	Run     string `json:"run"`
	Task    string `json:"task"`
	Key     string `json:"key"` // of the instance; empty for a plain task
	Attempt int    `json:"attempt"`
	Fence   int64  `json:"fence"`
	PID     int    `json:"pid"`
	Event   Event  `json:"event"`
	At      int64  `json:"at"` // wall clock, nanoseconds since 1970

	Exit int `json:"exit"` // end: the code that the process is about to exit with
	// Overlap, at a begin: another process of the same instance held the instance's lock, that is, was still alive.
	Overlap bool `json:"overlap,omitempty"`
	// Method and Idempotency, at a call: how it was made, and the key that came with it.
	Method      string `json:"method,omitempty"`
	Idempotency string `json:"idempotency,omitempty"`
}

// instance is what attempts of one instance have in common. The run is empty for the run that is judged, and the ID of a
// child run.
type instance struct{ run, task, key string }

type attempt struct {
	instance
	number int
}

// name is how an expectation calls the instance.
func (i instance) name() string {
	if i.key == "" {
		return i.task
	}
	return i.task + "[" + i.key + "]"
}

func (i instance) String() string { return i.name() + i.where() }

func (i instance) where() string {
	if i.run == "" {
		return ""
	}
	return " of child run " + i.run
}

func (a attempt) String() string { return fmt.Sprintf("%s #%d%s", a.name(), a.number, a.where()) }

// whole reports whether the line says all that a line of its kind has to say.
func (l *Line) whole() bool {
	if l.Run == "" || l.Task == "" || l.Attempt < 1 || l.At == 0 {
		return false
	}
	switch l.Event {
	case Begin, End:
		return l.Fence > 0 && l.PID > 0 && l.Method == "" && l.Idempotency == ""
	case Call:
		return l.Method != "" && l.Idempotency != ""
	}
	return false
}

// Append adds a line in one write, so that lines of processes that write at the same moment stay whole.
func Append(path string, l Line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("append to the ledger: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("append to the ledger: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("append to the ledger: %w", err)
	}
	return nil
}

// Alive says whether a process runs: one of its threads does, be it the first or not. One that has ended and is not reaped yet
// is no more alive than one that is.
func Alive(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		panic(err) // the pattern is sound
	}
	return slices.ContainsFunc(threads, func(thread string) bool {
		b, err := os.ReadFile(thread)
		if err != nil {
			return false
		}
		// "tid (name) state …", where the name may hold anything.
		_, state, ok := bytes.Cut(b[bytes.LastIndexByte(b, ')'):], []byte(") "))
		return ok && len(state) > 0 && state[0] != 'Z' && state[0] != 'X'
	})
}

// Read returns the lines in the order in which they were written; a file that is not there is an empty one.
func Read(path string) ([]Line, error) {
	var lines []Line
	err := Each(path, func(l Line) { lines = append(lines, l) })
	return lines, err
}

// Each visits the lines in the order in which they were written, one at a time: tasks with little memory look into ledgers of
// many hours. A line without its end is not there yet: of a write that crosses a page, a reader may see the first part.
func Each(path string, visit func(Line)) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	defer f.Close()
	return each(f, visit)
}

func each(r io.Reader, visit func(Line)) error {
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		var l Line
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&l); err != nil {
			return fmt.Errorf("read the ledger: line %d, %q: %w", n, text, err)
		}
		if !l.whole() {
			return fmt.Errorf("read the ledger: line %d, %q, lacks something", n, text)
		}
		visit(l)
	}
}
