// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package api holds the JSON shapes of Cairn's HTTP API, and nothing that makes or reads them.
package api

import (
	"encoding/json"
	"time"
)

// Sensitive stands where a sensitive value would.
const Sensitive = "(sensitive)"

// MaxInstances is how many instances a task lists itself; above it carries InstanceCounts, and Instances pages them.
const MaxInstances = 200

// Run is the run document: what `cairn run -json`, `cairn runs show -json` and GET /v1/run/ID say. Times that were not
// reached are absent; maps are never null.
type Run struct {
	ID         string                     `json:"id"`
	Workflow   string                     `json:"workflow"`
	Namespace  string                     `json:"namespace"`
	Definition string                     `json:"definition"` // "sha256:<hex>"
	Generation int                        `json:"generation"` // 1, one more with each retry from failure
	Status     string                     `json:"status"`
	Reason     string                     `json:"reason"`
	Trigger    Trigger                    `json:"trigger"`
	Params     map[string]json.RawMessage `json:"params"`
	Labels     map[string]string          `json:"labels"`
	CreatedAt  time.Time                  `json:"created_at,omitzero"`
	StartedAt  time.Time                  `json:"started_at,omitzero"`
	EndedAt    time.Time                  `json:"ended_at,omitzero"`
	Outputs    map[string]json.RawMessage `json:"outputs"`
	// Parent is what started a child run; absent for a run that somebody started.
	Parent *Parent `json:"parent,omitempty"`
	// CopiedFrom is the run that this one is a rerun of, where it has results of it; empty otherwise.
	CopiedFrom string     `json:"copied_from,omitempty"`
	Verbs      []VerbUsed `json:"verbs,omitempty"` // the newest ones, oldest first
	// Archived says that the run has left the store for the archive: it can be looked at, and takes no verbs.
	Archived bool   `json:"archived,omitempty"`
	Tasks    []Task `json:"tasks"` // declaration order, finally tasks last
}

// Parent is the attempt that started a run.
type Parent struct {
	Run     string `json:"run"`
	Attempt string `json:"attempt"`
}

// VerbUsed is a verb that somebody used on a run.
type VerbUsed struct {
	Verb   string    `json:"verb"`
	Task   string    `json:"task,omitempty"`
	Key    string    `json:"key,omitempty"` // of the instance that was meant
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// Terminal reports whether the run is over.
func (r *Run) Terminal() bool { return RunOver(r.Status) }

// RunOver reports whether a run's status is final, short of a retry by hand.
func RunOver(status string) bool {
	switch status {
	case "succeeded", "failed", "cancelled", "skipped":
		return true
	}
	return false
}

// Over reports whether the status of a task or instance is final.
func Over(status string) bool {
	switch status {
	case "succeeded", "failed", "skipped", "omitted", "cancelled":
		return true
	}
	return false
}

// Writes reports whether attempts of a task with such a body write logs: those that run on a worker do.
func Writes(body string) bool {
	switch body {
	case "task", "group", "job", "dispatch":
		return true
	}
	return false
}

// Trigger is what started a run.
type Trigger struct {
	Kind string `json:"kind"` // "manual"
}

// Task is one task of a run.
type Task struct {
	Name      string                     `json:"name"`
	Kind      string                     `json:"kind"` // "task" or "finally"
	Body      string                     `json:"body"` // what it does: "task", "group", "job", "dispatch", "run_workflow", "approval", "wait", "http" or "join"
	Status    string                     `json:"status"`
	Reason    string                     `json:"reason"`
	Recovered bool                       `json:"recovered"` // it failed, and a handler made good for it
	Outputs   map[string]json.RawMessage `json:"outputs"`   // of a plain task that succeeded; null otherwise
	StartedAt time.Time                  `json:"started_at,omitzero"`
	EndedAt   time.Time                  `json:"ended_at,omitzero"`
	// CopiedFrom is the run that its results were taken from: it did not run in this one.
	CopiedFrom string `json:"copied_from,omitempty"`

	// Instances has one entry for a plain task, none for a fan-out that is not expanded yet, and is absent when
	// InstanceCounts is there.
	Instances []Instance `json:"instances,omitzero"`
	// InstanceCounts are the numbers of instances by status, for more than MaxInstances.
	InstanceCounts map[string]int `json:"instance_counts,omitempty"`
}

// Instance is one element of a fan-out, or the only one of a plain task.
type Instance struct {
	Key       *string                    `json:"key"` // null for a plain task
	Index     int                        `json:"index"`
	Status    string                     `json:"status"`
	Reason    string                     `json:"reason"`
	Outputs   map[string]json.RawMessage `json:"outputs"` // null unless it succeeded
	StartedAt time.Time                  `json:"started_at,omitzero"`
	EndedAt   time.Time                  `json:"ended_at,omitzero"`
	RetryAt   time.Time                  `json:"retry_at,omitzero"` // when a waiting instance is tried again
	Attempts  []Attempt                  `json:"attempts"`          // oldest first; the newest may have no verdict yet

	// Approval is what somebody is asked, while nobody has answered; Wait is the timer that it waits for.
	Approval *Approval `json:"approval,omitempty"`
	Wait     *Wait     `json:"wait,omitempty"`
}

// Approval is a question that is open.
type Approval struct {
	Approvers []string   `json:"approvers"` // empty = anybody who may use verbs
	Since     time.Time  `json:"since,omitzero"`
	Until     time.Time  `json:"until,omitzero"` // absent = as long as it takes
	OnTimeout string     `json:"on_timeout"`     // "reject" or "approve"
	Inputs    []InputAsk `json:"inputs"`
}

// InputAsk is a value that goes with an approval.
type InputAsk struct {
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	Default   json.RawMessage `json:"default,omitempty"` // absent = it has to be given
	Sensitive bool            `json:"sensitive,omitempty"`
}

// Wait is a timer that runs.
type Wait struct {
	Until time.Time `json:"until,omitzero"`
}

// Attempt is one try of an instance.
type Attempt struct {
	Number    int       `json:"number"`
	Verdict   string    `json:"verdict"`   // empty until it has ended
	ExitCode  *int      `json:"exit_code"` // null when there was no process, or it did not exit by itself
	Signal    int       `json:"signal"`
	OOM       bool      `json:"oom"`
	Message   string    `json:"message"` // why it ended so, or why it does not run yet
	Node      string    `json:"node"`
	JobID     string    `json:"job_id"`
	AllocID   string    `json:"alloc_id"`
	PID       int       `json:"pid,omitempty"`   // of a local process
	Child     string    `json:"child,omitempty"` // the run that it started
	QueuedAt  time.Time `json:"queued_at,omitzero"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`

	OutputsLost bool     `json:"outputs_lost,omitempty"` // it succeeded, but its worker had collected its outputs
	Notes       []string `json:"notes,omitempty"`        // for example outputs that nobody declared
}

// Instances is one page of a task's instances. Next is the value of `next` for the page after it; empty on the last.
type Instances struct {
	Instances []Instance `json:"instances"`
	Next      string     `json:"next"`
}

// RunEntry is a run in a list, and the answer to a verb.
type RunEntry struct {
	ID        string    `json:"id"`
	Workflow  string    `json:"workflow"`
	Namespace string    `json:"namespace"`
	Status    string    `json:"status"`
	Reason    string    `json:"reason"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Parent    string    `json:"parent,omitempty"`   // the run that started this one
	Archived  bool      `json:"archived,omitempty"` // as in Run

	Labels map[string]string `json:"labels,omitempty"`
}

// Runs is a page of runs, newest first. Next is the value of `next` for the page after it; empty on the last.
type Runs struct {
	Runs []RunEntry `json:"runs"`
	Next string     `json:"next"`
	// Notice says what is missing, and why; empty when nothing is.
	Notice string `json:"notice,omitempty"`
}
