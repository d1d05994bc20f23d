// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

// RunStatus is the state of one run, as stored and as shown.
//
//	queued ─▶ running ─▶ succeeded | failed | skipped
//	  │        │   ▲
//	  │        ▼   │ resume
//	  │     pausing ─▶ paused
//	  └────────┴────────┴──▶ stopping ─▶ cancelled
type RunStatus string

// The statuses of a run; the last four are terminal.
const (
	RunQueued    RunStatus = "queued"
	RunRunning   RunStatus = "running"
	RunPausing   RunStatus = "pausing"
	RunPaused    RunStatus = "paused"
	RunStopping  RunStatus = "stopping"
	RunSucceeded RunStatus = "succeeded"
	RunFailed    RunStatus = "failed"
	RunCancelled RunStatus = "cancelled"
	RunSkipped   RunStatus = "skipped"
)

// Terminal reports whether nothing can change the status any more, short of a retry by hand.
func (s RunStatus) Terminal() bool {
	switch s {
	case RunSucceeded, RunFailed, RunCancelled, RunSkipped:
		return true
	}
	return false
}

// Status is the state of a task or of one of its instances, as stored and as shown.
//
//	pending ─▶ queued ─▶ starting ─▶ running ─▶ succeeded | failed | cancelled
//	   │          ▲                     │
//	   │          └────── waiting ◀─────┘ backoff
//	   └─▶ skipped | omitted | cancelled
type Status string

// The statuses of tasks and instances; the last five are terminal.
const (
	Pending   Status = "pending"   // its rule is not met yet
	Queued    Status = "queued"    // waits for admission
	Waiting   Status = "waiting"   // waits for a timer or for somebody: backoff, wait, approval
	Starting  Status = "starting"  // handed to the executor
	Running   Status = "running"   // the executor saw it run
	Succeeded Status = "succeeded" //
	Failed    Status = "failed"    //
	Skipped   Status = "skipped"   // not needed
	Omitted   Status = "omitted"   // could not
	Cancelled Status = "cancelled" //
)

// Terminal reports whether the status is final within its generation.
func (s Status) Terminal() bool {
	switch s {
	case Succeeded, Failed, Skipped, Omitted, Cancelled:
		return true
	}
	return false
}

// OK reports whether the status lets an all_success dependent start.
func (s Status) OK() bool { return s == Succeeded || s == Skipped }

// Bad reports whether the status keeps an all_success dependent from starting.
func (s Status) Bad() bool { return s == Failed || s == Omitted || s == Cancelled }

// Verdict is how one attempt ended. It is written once.
type Verdict string

// The verdicts.
const (
	VerdictSucceeded   Verdict = "succeeded"
	VerdictFailed      Verdict = "failed"      // exit code, signal or out of memory
	VerdictTimedOut    Verdict = "timed_out"   // timeout or deadline
	VerdictError       Verdict = "error"       // never started: driver, artifact, invalid body, placement impossible
	VerdictLost        Verdict = "lost"        // its worker went away
	VerdictInterrupted Verdict = "interrupted" // killed from outside
	VerdictCancelled   Verdict = "cancelled"   // killed by Cairn: stop, fail_fast, task cancel
)

// TriggerRule decides from the predecessors' statuses whether a task starts.
type TriggerRule string

// The trigger rules.
const (
	AllSuccess TriggerRule = "all_success"
	NoneFailed TriggerRule = "none_failed"
	AllDone    TriggerRule = "all_done"
	OneSuccess TriggerRule = "one_success"
	OneFailed  TriggerRule = "one_failed"
	AllFailed  TriggerRule = "all_failed"
)

// TriggerRules lists every rule in the order of the language reference.
func TriggerRules() []TriggerRule {
	return []TriggerRule{AllSuccess, NoneFailed, AllDone, OneSuccess, OneFailed, AllFailed}
}

// Handler reports whether the rule starts its task because something failed.
func (r TriggerRule) Handler() bool { return r == OneFailed || r == AllFailed }

// OnFailure says what a final failure does to the rest of the run.
type OnFailure string

// The on_failure modes.
const (
	OnFailureContinue OnFailure = "continue"
	OnFailureDrain    OnFailure = "drain"
	OnFailureFailFast OnFailure = "fail_fast"
)

// OnLimit says what becomes of a run that would be one too many.
type OnLimit string

// The on_limit modes.
const (
	OnLimitQueue         OnLimit = "queue"          // it waits
	OnLimitSkip          OnLimit = "skip"           // it ends skipped
	OnLimitCancelRunning OnLimit = "cancel_running" // the oldest is stopped for it
)

// WhenFalse says what a false `when` does to the dependents.
type WhenFalse string

// The when_false modes.
const (
	WhenFalseSkip       WhenFalse = "skip"
	WhenFalseSkipBranch WhenFalse = "skip_branch"
)

// Backoff is the growth of the delay between tries.
type Backoff string

// The backoff modes.
const (
	BackoffConstant    Backoff = "constant"
	BackoffExponential Backoff = "exponential"
)

// WorkerLossMode says what happens to an attempt whose worker is lost.
type WorkerLossMode string

// The on_worker_loss modes.
const (
	WaitForStop WorkerLossMode = "wait_for_stop"
	Immediate   WorkerLossMode = "immediate"
)
