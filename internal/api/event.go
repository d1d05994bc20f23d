// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package api

import "time"

// LastEventHeader carries the ID of the last event that a reader of /v1/events has seen: the stream goes on behind it.
const LastEventHeader = "Last-Event-ID"

// The types of events.
const (
	EventRun   = "run"   // a run has another status
	EventTask  = "task"  // a task has another status, or a plain one another attempt
	EventReset = "reset" // there may have been events that the reader has missed: lists and documents are to be read again
)

// Event is the data of an event of /v1/events.
type Event struct {
	Type  string `json:"type"`
	Index uint64 `json:"index"` // grows with each event of a leader
	// A reset has nothing of what follows.
	At        time.Time `json:"at,omitzero"`
	Run       string    `json:"run,omitempty"`
	Workflow  string    `json:"workflow,omitempty"`
	Namespace string    `json:"namespace,omitempty"`
	Parent    string    `json:"parent,omitempty"` // the run that started this one
	Task      string    `json:"task,omitempty"`
	Status    string    `json:"status,omitempty"`
	Reason    string    `json:"reason,omitempty"` // cut to 200 bytes
	Attempt   int       `json:"attempt,omitempty"`
}
