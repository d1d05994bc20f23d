// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package ledger

import (
	"encoding/json"
	"fmt"
	"time"
)

// Run is what the judge reads of a run document, as `cairn run -json` prints it.
type Run struct {
	ID         string                     `json:"id"`
	Generation int                        `json:"generation"`
	Status     string                     `json:"status"`
	Reason     string                     `json:"reason"`
	EndedAt    time.Time                  `json:"ended_at"`
	Outputs    map[string]json.RawMessage `json:"outputs"`
	// Parent is what started a child run; nil for a run that somebody started.
	Parent *struct {
		Run     string `json:"run"`
		Attempt string `json:"attempt"`
	} `json:"parent"`
	Tasks []struct {
		Name      string `json:"name"`
		Status    string `json:"status"`
		Reason    string `json:"reason"`
		Instances []struct {
			Key      *string `json:"key"`
			Status   string  `json:"status"`
			Reason   string  `json:"reason"`
			Attempts []Tried `json:"attempts"`
		} `json:"instances"`
	} `json:"tasks"`
}

// Tried is an attempt in a run document.
type Tried struct {
	Number   int    `json:"number"`
	Verdict  string `json:"verdict"`
	ExitCode *int   `json:"exit_code"`
	Signal   int    `json:"signal"`
	Message  string `json:"message"`
	JobID    string `json:"job_id"`
	AllocID  string `json:"alloc_id"`
	Child    string `json:"child"` // the run that it started
}

// ParseRun reads a run document.
func ParseRun(b []byte) (*Run, error) {
	var r Run
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read the run document: %w", err)
	}
	if r.ID == "" {
		return nil, fmt.Errorf("read the run document: it names no run: %.200q", b)
	}
	return &r, nil
}

// Expect is what is known of a run beforehand.
type Expect struct {
	Status     string              // how the run ends
	Generation int                 // 0 = 1
	Tasks      map[string]string   // task to its final status: all tasks of the workflow
	After      map[string][]string // task to the tasks whose last end comes before its first begin
	// Tries is how many attempts a task's instances have that ended by themselves, whoever was told; one that is not listed
	// has one. An instance may be listed by itself, as "fan[eu]".
	Tries map[string]int
	// Lost says that attempts may be lost; such an attempt appears at most once, and another one follows.
	Lost bool
	// Severed says that the process that makes calls was killed: a call may have been repeated, or its outcome unknown.
	Severed bool
	// Stepped says that the clock of servers stepped: the times that they have are not held against the ledger's.
	Stepped bool
	// Silent lists tasks that write no ledger: joins, timers, approvals, and those whose rule is not met.
	Silent []string
	// Takes is how long a silent task takes at least, from the end of what it waits for to the begin of what waits for it.
	Takes map[string]time.Duration
	// Calls are the tasks that call a server, with the method; the server writes a line when it is called.
	Calls map[string]string
	// Children are the tasks that start runs, with what is expected of the run of their first attempt, of their second, …;
	// the last goes for all that follow. Lost, Severed and Stepped are those of the run that is judged.
	Children map[string][]Expect
}
