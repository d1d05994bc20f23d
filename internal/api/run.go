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
	Tasks      []Task                     `json:"tasks"` // declaration order, finally tasks last
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

// Trigger is what started a run.
type Trigger struct {
	Kind string `json:"kind"` // "manual"
}

// Task is one task of a run.
type Task struct {
	Name      string                     `json:"name"`
	Kind      string                     `json:"kind"` // "task" or "finally"
	Status    string                     `json:"status"`
	Reason    string                     `json:"reason"`
	Recovered bool                       `json:"recovered"` // it failed, and a handler made good for it
	Outputs   map[string]json.RawMessage `json:"outputs"`   // of a plain task that succeeded; null otherwise
	StartedAt time.Time                  `json:"started_at,omitzero"`
	EndedAt   time.Time                  `json:"ended_at,omitzero"`

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
	PID       int       `json:"pid,omitempty"` // of a local process
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
}

// Runs is a page of runs, newest first. Next is the value of `next` for the page after it; empty on the last.
type Runs struct {
	Runs []RunEntry `json:"runs"`
	Next string     `json:"next"`
}
