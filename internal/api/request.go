// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package api

import "fmt"

// IndexHeader carries the index of a document: given back as `index` with `wait`, the next read blocks until something
// has changed. An index that went down means that the server began anew: start over from 0.
const IndexHeader = "X-Cairn-Index"

// Verb names an operation on a run.
type Verb string

// The verbs: POST /v1/run/ID/<verb>.
const (
	VerbStop      Verb = "stop"
	VerbTerminate Verb = "terminate"
	VerbPause     Verb = "pause"
	VerbResume    Verb = "resume"
	VerbCancel    Verb = "cancel" // one task or instance
)

// Verbs lists every verb.
func Verbs() []Verb { return []Verb{VerbStop, VerbTerminate, VerbPause, VerbResume, VerbCancel} }

// VerbRequest is the body of a verb. All of it is optional but Task, for cancel.
type VerbRequest struct {
	By     string  `json:"by,omitempty"`
	Reason string  `json:"reason,omitempty"`
	Task   string  `json:"task,omitempty"` // cancel
	Key    *string `json:"key,omitempty"`  // cancel: one instance; absent = the whole task
}

// LogQuery names a log: GET /v1/run/ID/logs, with these as query parameters. The answer is the text itself.
type LogQuery struct {
	Task    string
	Key     *string // the instance of a fan-out; nil for a plain task
	Attempt int     // 0 = the newest
	Stderr  bool    // stream=stderr; standard output otherwise
	Follow  bool    // go on until the attempt has ended
	Tail    int64   // only the last bytes; 0 = all
}

// Health is the answer of /v1/agent/health.
type Health struct {
	Healthy bool   `json:"healthy"`
	Leader  bool   `json:"leader"` // whether this process schedules
	PID     int    `json:"pid"`
	Version string `json:"version"`
}

// Codes of errors, for programs to branch on.
const (
	CodeBadRequest = "bad_request" // 400
	CodeNotFound   = "not_found"   // 404
	CodeBadMethod  = "bad_method"  // 405
	CodeConflict   = "conflict"    // 409: the verb does not fit the run's state
	CodeGone       = "gone"        // 410: logs that were collected
	CodeInvalid    = "invalid"     // 422: Diagnostics say what
	CodeInternal   = "internal"    // 500
	CodeNotReady   = "not_ready"   // 503: nobody leads at the moment; ask again
)

// Error is the body of every answer that is not a success. It is an error too: what the client returns.
type Error struct {
	Status      int          `json:"status"`
	Code        string       `json:"code"`
	Message     string       `json:"message"`
	Diagnostics []Diagnostic `json:"diagnostics,omitempty"`
}

func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the server answered %d %s without saying why", e.Status, e.Code)
	}
	return e.Message
}

// Diagnostics is the document for problems found in files.
type Diagnostics struct {
	Diagnostics []Diagnostic `json:"diagnostics"`
}

// Diagnostic is one problem in a file. Line and column count from 1; 0 when the problem has no place.
type Diagnostic struct {
	Severity string `json:"severity"` // "error" or "warning"
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
}
