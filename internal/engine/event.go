// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"github.com/cairnflow/cairn/internal/workflow"
)

// EventKind names what happened.
type EventKind string

// The events. Everything a run ever learns enters as one of them.
const (
	// Begin starts the run, and starts it again after a retry by hand. Doubled Begins are dropped; one with a Generation is for
	// that alone.
	Begin EventKind = "begin"
	// Admit grants an instance that a Want asked for its place in flight. Epoch is the leadership that acts.
	Admit EventKind = "admit"
	// Tick says that the moment of the last WakeAt has come; early or doubled ones do nothing.
	Tick EventKind = "tick"
	// Continue goes on with a cascade that was too large for one step.
	Continue EventKind = "continue"

	// Accepted: the executor has taken the attempt; Index is its own number for that.
	Accepted EventKind = "accepted"
	// Refused: the attempt was certainly not started and the start will be repeated; Message says why.
	Refused EventKind = "refused"
	// Held: the attempt is accepted but cannot start yet; Message says why, Impossible that no worker could ever run it.
	Held EventKind = "held"
	// Started: the attempt runs on Node.
	Started EventKind = "started"
	// Ended: the attempt is over; Outcome says how.
	Ended EventKind = "ended"
	// WorkerLost: the worker of the attempt (Place.Node) is taken for dead, for the reason in Message; the attempt is ended
	// without waiting for it. Where By is empty nobody is sure, and only attempts that may overlap the next one
	// (workflow.Immediate) heed it.
	WorkerLost EventKind = "worker_lost"

	// The verbs on a run. By and Reason are recorded.
	Stop      EventKind = "stop"
	Terminate EventKind = "terminate"
	Pause     EventKind = "pause"
	Resume    EventKind = "resume"
	// Retry resets a terminal run that did not succeed, from its failures on; it is queued then and waits for Begin.
	Retry EventKind = "retry"

	// The verbs on a task, or on one instance of it (Instance >= 0; -1 = the whole task).
	CancelTask  EventKind = "cancel_task"
	RetryTask   EventKind = "retry_task"   // that task and everything downstream of it
	SkipTask    EventKind = "skip_task"    // by hand
	SucceedTask EventKind = "succeed_task" // by hand, with Values as its outputs
	Approve     EventKind = "approve"      // with Values as the approval's inputs
	Reject      EventKind = "reject"

	// SkipRun ends a run that never began: its workflow has enough runs already.
	SkipRun EventKind = "skip_run"
	// ChildPaused and ChildResumed: the child run of an attempt has nothing in flight any more, or goes on.
	ChildPaused  EventKind = "child_paused"
	ChildResumed EventKind = "child_resumed"
)

// Event is a fact fed to the core. Kind decides which fields are read.
type Event struct {
	Kind EventKind
	// At is the only clock: never before the run's last event. The shell stamps it (semantics, "Size, clocks, order").
	At workflow.Time
	// Epoch is the fencing number of the leadership that feeds the event.
	Epoch uint64
	// Random is drawn by the shell, uniform in [0, 1): the jitter of a backoff that the event may start.
	Random float64

	Task     int // Admit, verbs on a task
	Instance int // Admit, verbs on a task

	Attempt workflow.AttemptID // Accepted, Refused, Held, Started, Ended, WorkerLost, ChildPaused, ChildResumed

	Index      uint64 // Accepted
	Message    string // Refused, Held, WorkerLost
	Impossible bool   // Held
	Place      Place  // Accepted, Started, Ended, WorkerLost: what is known of where it runs
	StartedAt  workflow.Time
	Outcome    *Outcome // Ended

	By     string // verbs, WorkerLost
	Reason string // verbs
	// Values are given by hand, as JSON that is not converted yet: SucceedTask, Approve.
	Values map[string]workflow.Value
	// Generation makes a Retry or RetryTask idempotent: it is done when the run has reached it. 0 = one more than the run has.
	// For the Ended of a child run it is the child's, when it ended.
	Generation int
}

// Place is where an attempt runs. Empty fields are not known (yet).
type Place struct {
	Node    string `json:"node,omitempty"`     // name of the worker
	JobID   string `json:"job_id,omitempty"`   // Nomad job
	AllocID string `json:"alloc_id,omitempty"` // Nomad allocation
	PID     int    `json:"pid,omitempty"`      // local process
	// Child is the run that the attempt started.
	Child workflow.RunID `json:"child,omitempty"`
}

// OutcomeKind is how an attempt ended, as its executor saw it, before policy looks at it.
type OutcomeKind string

// The kinds of outcome.
const (
	// OutcomeExited: it ended by itself, with ExitCode, Signal, OOM.
	OutcomeExited OutcomeKind = "exited"
	// OutcomeKilled: it was killed on Cairn's order (Stop command).
	OutcomeKilled OutcomeKind = "killed"
	// OutcomeInterrupted: somebody else stopped it.
	OutcomeInterrupted OutcomeKind = "interrupted"
	// OutcomeEvicted: it had to leave its worker, which was drained, or made room for something more important. Nobody
	// wanted it to end, so it is tried again as if it had been lost.
	OutcomeEvicted OutcomeKind = "evicted"
	// OutcomeLost: its worker went away.
	OutcomeLost OutcomeKind = "lost"
	// OutcomeError: it never started, for a reason on the client (driver, artifact, template); counts as a try.
	OutcomeError OutcomeKind = "error"
	// OutcomeInvalid: it can never start: the executor refused the body itself; not retried.
	OutcomeInvalid OutcomeKind = "invalid"
	// OutcomeTimedOut: the executor's own limit ended it.
	OutcomeTimedOut OutcomeKind = "timed_out"
	// OutcomeFailed: it ended badly by itself, and there was no process: a child run that failed, a call that was answered
	// otherwise than expected. Message says how; counts as a try.
	OutcomeFailed OutcomeKind = "failed"
	// OutcomeSkipped: it ended by itself without having done anything: a child run that was skipped.
	OutcomeSkipped OutcomeKind = "skipped"
)

// Outcome is the end of an attempt as its executor saw it.
type Outcome struct {
	Kind      OutcomeKind
	ExitCode  *int // nil when there was no process or it did not exit by itself
	Signal    int
	OOM       bool
	Message   string
	StartedAt workflow.Time // 0: never ran, or not known
	EndedAt   workflow.Time // 0: not known; the event's At is taken

	// Output is the raw output file, at most workflow.MaxTaskOutputBytes + 1; Stdout the last workflow.MaxStdoutTailBytes of
	// standard output, read only when the start asked for it. OutputsLost: it succeeded but the worker has already
	// collected its files.
	Output      []byte
	Stdout      []byte
	OutputsLost bool
	// Values are outputs that the body itself gives (workflow.FromBody); an exited attempt without a process has ExitCode 0.
	Values map[string]workflow.Value
}

// CommandKind names an instruction.
type CommandKind string

// The commands. Start, Kill, Want, WakeAt and Proceed stay outstanding until answered; the others ask for nothing back.
const (
	// StartAttempt: start the attempt in Start. Answered by Ended. A repeated start of the same attempt is a no-op; after
	// Refused it comes again, with a new IntentAt, and for a child run whenever Hold changes.
	StartAttempt CommandKind = "start"
	// KillAttempt: stop the attempt in Start. Answered by Ended. It replaces the StartAttempt of the same attempt: whoever
	// has not acted on that must not start any more, only make sure nothing ever starts. For a child run it comes again when
	// what was a stop becomes a terminate.
	KillAttempt CommandKind = "kill"
	// Want: the instance asks for admission. Answered by Admit; taken back by Withdraw (at a pause all of them, until resume).
	Want CommandKind = "want"
	// Withdraw takes back the Want of one instance.
	Withdraw CommandKind = "withdraw"
	// WakeAt: send Tick at At. Each one replaces the last; At 0 means that no tick is needed.
	WakeAt CommandKind = "wake_at"
	// Proceed: send Continue soon. Any step answers it, and one that leaves work says so anew.
	Proceed CommandKind = "proceed"
	// Settle: the verdict of Attempt is decided (and saved, when the command is acted upon); its executor may forget it and
	// its place in flight is free. Advisory: never outstanding, a lost one does no harm.
	Settle CommandKind = "settle"
	// Finish: the run is over. Advisory, like Settle.
	Finish CommandKind = "finish"
)

// Command is an instruction from the core. Kind decides which fields are set.
type Command struct {
	Kind     CommandKind
	Task     int // Want, Withdraw
	Instance int // Want, Withdraw
	At       workflow.Time
	Attempt  workflow.AttemptID // StartAttempt, KillAttempt, Settle
	Start    *Start             // StartAttempt, KillAttempt
}

// Start is everything an executor needs to start, re-attach to or stop one attempt. All of it was recorded with the
// attempt, so that two leaders derive the same.
type Start struct {
	Attempt    workflow.AttemptID
	Run        workflow.RunID
	Workflow   string
	Definition string   // hash
	Namespace  string   // of the workflow; the body may name its own
	Namespaces []string // Input.Namespaces: what it may be
	Priority   int
	Task       string
	TaskNo     int
	Instance   int
	Key        string // instance key; empty for a plain task
	Number     int
	Generation int
	Epoch      uint64 // leadership that recorded the attempt
	Fence      int64
	IntentAt   workflow.Time // when this start was (last) decided

	// Body is the rendered body, canonical JSON of a Nomad job or of the body type of its kind; nil when it cannot be rendered to the same bytes as when
	// the attempt was recorded (BodyHash): then an attempt that exists is adopted and one that does not is OutcomeInvalid.
	Body     []byte
	BodyHash string
	Kind     workflow.BodyKind // never one of the engine's own

	// Child, for a run_workflow: the run to start or to go on with, and the generation it is to have reached; a retry by hand
	// takes up the child of the attempt before. Hold: the parent is paused, and so is the child to be. Depth is the
	// child's: 1 below a run that somebody started. Terminate: a kill that leaves the child no finally.
	Child           workflow.RunID
	ChildGeneration int
	Hold            bool
	Depth           int
	Terminate       bool

	// Accepted is the executor's index of acceptance, 0 when none is recorded. With one, nothing is started any more: the
	// executor re-attaches to what exists.
	Accepted uint64
	Place    Place

	AvoidNodes   []string // workers it must not run on
	OnWorkerLoss workflow.OnWorkerLoss
	// WorkerLost: the worker in Place is taken for dead; a kill does not wait for what runs there.
	WorkerLost bool
	WantOutput bool // an output is read from the output file; without it Outcome.Output may stay empty
	WantStdout bool // an output is read from stdout
}
