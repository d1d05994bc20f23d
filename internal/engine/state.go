// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Input is what a run is started with. It never changes.
type Input struct {
	Version     int                       `json:"version"`
	Run         workflow.RunID            `json:"run"`
	Workflow    string                    `json:"workflow"`
	Definition  string                    `json:"definition"` // hash
	Namespace   string                    `json:"namespace"`  // of the workflow
	Params      map[string]workflow.Value `json:"params"`
	Labels      map[string]string         `json:"labels,omitempty"`
	Trigger     string                    `json:"trigger"` // "manual"
	By          string                    `json:"by,omitempty"`
	CreatedAt   workflow.Time             `json:"created_at"`
	ScheduledAt workflow.Time             `json:"scheduled_at"`
	// Given names the params that were given; the others have their defaults.
	Given []string `json:"given,omitempty"`
	// Parent is the attempt that started this run; empty when somebody did. Depth counts the runs above it.
	Parent workflow.AttemptID `json:"parent,omitempty"`
	Depth  int                `json:"depth,omitempty"`
	// Namespaces are those of Nomad that its tasks are held to, with REGION/ before a name where the region is not that of
	// everything; empty: they may name any. Child runs are held to the same.
	Namespaces []string `json:"namespaces,omitempty"`
	// CopiedFrom is the run whose results stand in for the tasks that do not run again (rerun); empty otherwise.
	CopiedFrom workflow.RunID `json:"copied_from,omitempty"`
}

// Head is the small part of a run's state that changes often.
type Head struct {
	Version    int                `json:"version"`
	Status     workflow.RunStatus `json:"status"`
	Reason     string             `json:"reason,omitempty"`
	Generation int                `json:"generation"`
	StartedAt  workflow.Time      `json:"started_at,omitempty"`
	EndedAt    workflow.Time      `json:"ended_at,omitempty"`
	LastAt     workflow.Time      `json:"last_at"` // the newest At of any event that changed something
	Fired      workflow.Time      `json:"fired"`   // timers up to here have been handled

	// Ending is why nothing new begins any more; empty while the run goes forward.
	Ending Ending `json:"ending,omitempty"`
	// Terminated says that finally does not run, or is cancelled.
	Terminated bool `json:"terminated,omitempty"`
	// Verdict is the status the run ends with unless finally changes it, fixed when finally begins.
	Verdict       workflow.RunStatus `json:"verdict,omitempty"`
	VerdictReason string             `json:"verdict_reason,omitempty"`
	FinallyBegun  bool               `json:"finally_begun,omitempty"`

	PausedAt    workflow.Time `json:"paused_at,omitempty"`    // since when it is paused
	PausedTotal time.Duration `json:"paused_total,omitempty"` // before that
	Pauses      int           `json:"pauses,omitempty"`       // how often it was paused; Current.Idle refers to it

	// Resetting is the retry by hand whose resets are under way: until they are done no task is looked at.
	Resetting *Resetting `json:"resetting,omitempty"`

	Packs   int                       `json:"packs,omitempty"` // packs written so far
	Outputs map[string]workflow.Value `json:"outputs,omitempty"`
	Verbs   []Verb                    `json:"verbs,omitempty"` // the newest 20
}

// Ending is why a run begins nothing new.
type Ending string

// The endings.
const (
	EndingStop     Ending = "stop"      // the verbs stop and terminate
	EndingTimeout  Ending = "timeout"   // the run's own timeout
	EndingDrain    Ending = "drain"     // on_failure = "drain"
	EndingFailFast Ending = "fail_fast" // on_failure = "fail_fast"
	EndingSkip     Ending = "skip"      // it never began, and never will
)

// Resetting says what a retry by hand resets: with everything downstream of it. The set follows from this and the state, and
// does not change while it is worked off: a task that is done has the generation of the run.
type Resetting struct {
	Task    int  `json:"task"`              // the task that is retried; AllFailed = whatever did not succeed
	Finally bool `json:"finally,omitempty"` // finally too: the run was over
}

// AllFailed is Resetting.Task of a retry from failure.
const AllFailed = -1

// Verb is a verb that somebody used on the run.
type Verb struct {
	At     workflow.Time `json:"at"`
	Kind   EventKind     `json:"kind"`
	Task   string        `json:"task,omitempty"`
	Key    string        `json:"key,omitempty"` // of the instance that was meant
	By     string        `json:"by,omitempty"`
	Reason string        `json:"reason,omitempty"`
}

// TaskState is the durable state of one task.
type TaskState struct {
	Status workflow.Status `json:"status"`
	Reason string          `json:"reason,omitempty"`
	// Unseen is the view, fixed when the rule is met: the predecessors that were not terminal then. They read as pending
	// with null outputs; all others read as they ended, which does not change within a generation.
	Unseen []int `json:"unseen,omitempty"`
	// Exempt: a handler below a failed task, or a task all of whose edges come from such: drain and fail_fast spare it.
	Exempt bool `json:"exempt,omitempty"`
	// Generation is the one in which the task was last reset; 0 stands for the first.
	Generation int `json:"generation,omitempty"`
	// Resetting: some of its instances are reset for the run's generation, and the task itself is not yet.
	Resetting bool `json:"resetting,omitempty"`
	// Expanded says that Size is decided. Instances below Begun have a record; the others, and those whose record says
	// pending, are pending, or share Rest. Stale: the expansion is of an earlier generation and is evaluated anew.
	Expanded bool `json:"expanded,omitempty"`
	Stale    bool `json:"stale,omitempty"`
	Size     int  `json:"size,omitempty"`
	Begun    int  `json:"begun,omitempty"`
	// Rest is the status of the instances that never began, once the task can begin no more of them.
	Rest workflow.Status `json:"rest,omitempty"`
	// MinSuccess and MaxParallel are the evaluated numbers for this expansion.
	MinSuccess  int `json:"min_success,omitempty"`
	MaxParallel int `json:"max_parallel,omitempty"`
	// Cancelling says why running instances are being cancelled: a verb, or fail_fast inside its own fan-out.
	Cancelling Cancelling `json:"cancelling,omitempty"`
	// ByHand: it, or an instance of it, was cancelled by a verb.
	ByHand bool `json:"by_hand,omitempty"`
	// Given is what somebody decided about the task by hand; Ahead the same about instances that have not begun, by number.
	Given *Given         `json:"given,omitempty"`
	Ahead map[int]*Given `json:"ahead,omitempty"`
	// CopiedFrom is the run whose results stand in for the task (rerun). Outside: the rerun was not to run it, and so no
	// retry does.
	CopiedFrom workflow.RunID `json:"copied_from,omitempty"`
	Outside    bool           `json:"outside,omitempty"`
	// SkipBranch: skipped, and dependents under all_success are skipped with it.
	SkipBranch bool `json:"skip_branch,omitempty"`
	// AllowFailure as evaluated when the task began.
	AllowFailure bool          `json:"allow_failure,omitempty"`
	BeganAt      workflow.Time `json:"began_at,omitempty"` // when its rule was met
	EndedAt      workflow.Time `json:"ended_at,omitempty"`
}

// Cancelling is why a task's instances are being cancelled.
type Cancelling string

// The reasons to cancel a task by itself.
const (
	CancelByHand   Cancelling = "by_hand"
	CancelFailFast Cancelling = "fail_fast"
)

// Given is a result that no attempt made: somebody skipped a task or an instance, or took it for succeeded, or a rerun copied
// it.
type Given struct {
	Status  workflow.Status           `json:"status"`
	Why     string                    `json:"why,omitempty"`
	Outputs map[string]workflow.Value `json:"outputs,omitempty"`
	// Next: the run was over; it acts when a retry resets what it is about.
	Next bool `json:"next,omitempty"`
}

// Instance is the durable state of one begun instance of a task.
type Instance struct {
	Status workflow.Status `json:"s"`
	Reason string          `json:"r,omitempty"`
	Number int             `json:"n,omitempty"` // of the newest attempt; 0 = none yet
	Tries  int             `json:"t,omitempty"` // attempts that counted against max_attempts
	Losses int             `json:"l,omitempty"` // attempts that counted against max_lost: lost or evicted
	Fence  int64           `json:"f,omitempty"` // of the newest attempt

	FirstStart workflow.Time `json:"fs,omitempty"` // active time of the first attempt's admission: deadline counts from here
	RetryAt    workflow.Time `json:"ra,omitempty"` // Waiting: when the backoff ends
	QueuedAt   workflow.Time `json:"qa,omitempty"` // when it last asked for admission
	EndedAt    workflow.Time `json:"e,omitempty"`

	// Given is a result that no attempt made. One without outputs has those of the task's own.
	Given *Given `json:"g,omitempty"`

	// Current is the attempt in flight; nil when there is none. Past attempts are in packs.
	Current *Current `json:"c,omitempty"`

	// Policy is the policy as evaluated for the newest attempt, when the task's is dynamic.
	Policy *workflow.Policy `json:"p,omitempty"`

	// Past are the ended attempts, oldest first: kept in memory, stored in packs.
	Past []Attempt `json:"-"`
}

// Current is an attempt that has no verdict yet.
type Current struct {
	Epoch      uint64        `json:"ep,omitempty"`
	Generation int           `json:"g,omitempty"` // of the run when it was admitted; 0 stands for the first
	BodyHash   string        `json:"b,omitempty"`
	IntentAt   workflow.Time `json:"i"` // when this start was last decided: anew after each certain refusal
	// IntentSince is when the attempt was admitted: start_timeout counts from here.
	IntentSince workflow.Time `json:"is"`
	Accepted    uint64        `json:"a,omitempty"`
	Place       Place         `json:"pl"`

	StartedAt workflow.Time `json:"st,omitempty"` // observed; timeout counts from Observed
	Observed  workflow.Time `json:"ob,omitempty"` // when Started came in; active time for a child run
	Message   string        `json:"m,omitempty"`  // why it does not run yet
	// ImpossibleSince: since when no worker could ever run it; 0 = not so.
	ImpossibleSince workflow.Time `json:"im,omitempty"`
	// Kill is why Cairn is ending it: the verdict it gets when it dies of it. Empty = it is not.
	Kill    workflow.Verdict `json:"k,omitempty"`
	KillWhy string           `json:"kw,omitempty"`

	// WorkerLost: its worker is taken for dead. It is being ended, and what may run there is not waited for.
	WorkerLost bool `json:"wl,omitempty"`

	// Of approval and wait: when it ends by itself (0 = never), what that means, and who may decide.
	Due       workflow.Time      `json:"d,omitempty"`
	OnTimeout workflow.OnTimeout `json:"ot,omitempty"`
	Approvers []string           `json:"ap,omitempty"`

	// Of run_workflow: the generation that the child is to reach, and the pause (Head.Pauses) in which it came to rest.
	ChildGeneration int `json:"cg,omitempty"`
	Idle            int `json:"id,omitempty"`
}

func (c *Current) generation() int { return max(1, c.Generation) }

// Attempt is an ended attempt, written once.
type Attempt struct {
	Number     int              `json:"number"`
	Generation int              `json:"generation"`
	Verdict    workflow.Verdict `json:"verdict"`
	ExitCode   *int             `json:"exit_code"`
	Signal     int              `json:"signal,omitempty"`
	OOM        bool             `json:"oom,omitempty"`
	Message    string           `json:"message,omitempty"`
	Place      Place            `json:"place"`
	Fence      int64            `json:"fence"`
	QueuedAt   workflow.Time    `json:"queued_at,omitempty"`
	StartedAt  workflow.Time    `json:"started_at,omitempty"`
	EndedAt    workflow.Time    `json:"ended_at"`

	// Outputs of a succeeded attempt: every declared output that was written. Nil otherwise.
	Outputs     map[string]workflow.Value `json:"outputs,omitempty"`
	OutputsLost bool                      `json:"outputs_lost,omitempty"`
	// Of run_workflow: what the child was started with, and the generation in which it ended.
	BodyHash        string   `json:"body_hash,omitempty"`
	ChildGeneration int      `json:"child_generation,omitempty"`
	Notes           []string `json:"notes,omitempty"` // e.g. undeclared outputs
}

// State is the whole state of one run, in memory. Only Machine changes it. A caller reads it; nothing it reads may be
// changed.
type State struct {
	Input Input
	Head  Head
	Tasks []*TaskState
	// Instances by task number, then by instance number: those that have a record. An instance number is for ever; where an
	// instance stands in its task is Machine.Position.
	Instances [][]*Instance
	// Expansions by task number: nil unless for_each expanded it.
	Expansions []*Expansion

	derived       // rebuilt by Load, kept up to date by Step
	dirty   dirty // what the next EncodeDirty returns
}

// Expansion is the evaluated for_each of a task, by position: immutable within a generation.
type Expansion struct {
	Keys   []string         `json:"keys"`
	Values []workflow.Value `json:"values"`
	// Numbers are the instance numbers by position, of an expansion that replaced another; nil = the positions themselves.
	Numbers []int `json:"numbers,omitempty"`

	positions []int // by number, -1 for what left the view; nil without Numbers
}

// HeadKey is the record that holds the head of a run.
const HeadKey = "h"

// InputKey is the record that holds the input of a run.
const InputKey = "i"
