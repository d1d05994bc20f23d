// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Errors of the ports that the scheduler branches on.
var (
	// ErrNotFound: no such run, definition, attempt or log.
	ErrNotFound = errors.New("not found")
	// ErrExists: a run with this ID, or this idempotency key, is there already.
	ErrExists = errors.New("exists already")
	// ErrConflict: the write did not happen because what it was based on is gone; load again.
	ErrConflict = errors.New("conflict")
	// ErrFenced: a newer epoch has written; this leadership is over.
	ErrFenced = errors.New("fenced by a newer epoch")
	// ErrUnknown: a verb's answer was lost, with the leadership or at the store. Look, and use it again if it was not done.
	ErrUnknown = errors.New("the change may or may not have been stored")
	// ErrGone: the logs existed and were collected.
	ErrGone = errors.New("gone")
)

// SteppedDownError ends Run: the leadership was given up because somebody asked for that.
type SteppedDownError struct{ Epoch uint64 }

func (e *SteppedDownError) Error() string {
	return fmt.Sprintf("the leadership of epoch %d was given up", e.Epoch)
}

// Record is one durable piece of a run. Keys are made of [a-z0-9/] and are unique within the run; values are opaque to the
// store. A nil Value deletes the key.
type Record = engine.Record

// NewRun is what Create stores: everything or nothing.
type NewRun struct {
	ID             workflow.RunID
	Workflow       string
	Namespace      string
	IdempotencyKey string // unique per namespace and workflow while the run is stored; empty = none
	// Parent is the attempt that starts a child run; empty for a run that somebody starts.
	Parent     workflow.AttemptID
	Labels     map[string]string // at most workflow.MaxLabelsBytes
	CreatedAt  workflow.Time
	Definition Definition // stored once per hash
	Records    []Record   // the first records, the immutable input among them
}

// Definition is a stored definition: its hash and its encoded form.
type Definition struct {
	Hash  string
	Bytes []byte
}

// Summary is what List tells of a run without loading it.
type Summary struct {
	ID        workflow.RunID
	Workflow  string
	Namespace string
	Parent    workflow.AttemptID // what started a child run; empty for a run that somebody started
	Labels    map[string]string
	CreatedAt workflow.Time
	Done      bool   // terminal: a new leader need not load it
	Head      []byte // the value of record HeadKey
}

// HeadKey is the record that List carries along; engine.EncodeDirty writes it with every change.
const HeadKey = engine.HeadKey

type staleKey struct{}

// Stale makes the reads of a context content with what the store nearby has heard, which may be behind, and is there even when
// nobody can vouch for it. Only what is shown to people is read so.
func Stale(ctx context.Context) context.Context { return context.WithValue(ctx, staleKey{}, true) }

// IsStale reports whether a read is content with that.
func IsStale(ctx context.Context) bool { return ctx.Value(staleKey{}) != nil }

// Store keeps runs and definitions. Every write is fenced by the epoch of the leadership that makes it. Any error other
// than the named ones leaves the outcome of a write unknown: the caller throws its state away and loads again.
type Store interface {
	// Create returns ErrExists when the ID or the idempotency key is taken (with the ID of the run that has it) and
	// ErrFenced when a newer epoch has written.
	Create(ctx context.Context, epoch uint64, run NewRun) (workflow.RunID, error)
	// Load returns all records of a run, sorted by key, and its definition; ErrNotFound when there is none.
	Load(ctx context.Context, id workflow.RunID) ([]Record, Definition, error)
	// Save writes all records or none, durably before it returns. done marks the run terminal; a later save without it makes
	// the run active again. A save without records raises the fence all the same. It returns ErrFenced if a newer epoch has
	// written, ErrNotFound if the run is gone.
	Save(ctx context.Context, epoch uint64, id workflow.RunID, records []Record, done bool) error
	// List returns the runs that match, newest first: by ID, the greatest first.
	List(ctx context.Context, filter Filter) ([]Summary, error)
	// Delete removes a terminal run; ErrNotFound, ErrConflict if it is not terminal.
	Delete(ctx context.Context, epoch uint64, id workflow.RunID) error
	// Cluster returns the UUID made with the store; it never changes.
	Cluster(ctx context.Context) (string, error)
}

// Bulk is a Store from which many runs are loaded at once for less than one by one.
type Bulk interface {
	Store
	// LoadAll returns what Load returns of each of the runs; of one that is not there, or cannot be read by itself, nothing.
	// Runs may share the bytes of a definition, which nobody changes.
	LoadAll(ctx context.Context, ids []workflow.RunID) (map[workflow.RunID]Loaded, error)
}

// Loaded is a run as it is stored.
type Loaded struct {
	Records    []Record // sorted by key
	Definition Definition
}

// BulkRuns is how many runs LoadAll is asked for at once at most.
const BulkRuns = 32

// Trouble is an error of Start or Kill that is not a verdict: the call is repeated, with backoff.
type Trouble struct {
	// NotStarted: the attempt was certainly not started (connection refused, 403, 429); the outcome is unknown otherwise.
	NotStarted bool
	Err        error
}

func (t *Trouble) Error() string { return t.Err.Error() }
func (t *Trouble) Unwrap() error { return t.Err }

// Executor runs attempts. Its calls are idempotent by attempt ID, bounded in time, and safe for concurrent use.
type Executor interface {
	// Start starts the attempt, or re-attaches to it when it exists already or s.Accepted is set. It returns once the
	// attempt is accepted; what follows is told by Watch, never by the return value. A *Trouble is repeated; an attempt
	// that can never start is told through Watch as engine.OutcomeInvalid and returns nil.
	Start(ctx context.Context, s engine.Start) error
	// Kill makes sure that the attempt does not run and never will: it asks for its end, gracefully first, and bars a
	// start that has not happened yet. The end is told by Watch.
	Kill(ctx context.Context, s engine.Start) error
	// Watch reports what happens to the attempts given to Start and Kill, as events Accepted, Held, Started and Ended, until
	// ctx ends or something breaks for good. Events may be late or doubled; Ended is reported for every attempt in the end,
	// at least once. report blocks when the scheduler is busy. One Watch runs at a time.
	Watch(ctx context.Context, report func(engine.Event)) error
	// Settle says that the verdict is saved: the executor need not report the attempt any more and may forget it. Its logs
	// stay readable as long as the executor keeps them.
	Settle(ctx context.Context, id workflow.AttemptID)
	// Logs opens what an attempt wrote. ErrNotFound: it has not written (or never ran); ErrGone: collected already.
	Logs(ctx context.Context, req LogRequest) (io.ReadCloser, error)
}

// Doubter is an Executor whose cluster may have been restored from a backup together with the store, and then believes that
// things run which have long ended.
type Doubter interface {
	// Doubt has it find out what runs of all that was started before, instead of believing its cluster. It does not wait.
	Doubt()
}

// LogRequest names a log.
type LogRequest struct {
	Attempt workflow.AttemptID
	Place   engine.Place
	Task    string // name of the workflow's task
	// Part picks one of several Nomad tasks: TASK, GROUP/TASK or GROUP[INDEX]/TASK. Empty: the first main task, of what
	// failed where something did.
	Part   string
	Stderr bool
	Follow bool  // go on until the attempt has ended and everything is read
	Tail   int64 // only the last bytes; 0 = all
}

// Leadership is the right to act: an epoch, and until when it may be trusted.
type Leadership struct {
	Epoch uint64
	// TrustedUntil counts from when the last renewal was sent. It saves work; the fence is the epoch.
	TrustedUntil time.Time
	// Restored: the store holds less than it did under an earlier leadership. What that one did is to be found out before
	// anything new begins.
	Restored bool
}

// Elector decides who leads.
type Elector interface {
	// Acquire blocks until this process leads or ctx ends.
	Acquire(ctx context.Context) (Leadership, error)
	// Renew prolongs a leadership. ErrFenced: it is lost.
	Renew(ctx context.Context, l Leadership) (Leadership, error)
	// Release hands a leadership over. Releasing a lost one is a no-op.
	Release(ctx context.Context, l Leadership) error
	// Leader says who leads, for people; empty when nobody does.
	Leader(ctx context.Context) (string, error)
}
