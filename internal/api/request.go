// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package api

import (
	"encoding/json"
	"fmt"
)

// StaleHeader is on answers that another server than the leader has read by itself, because that was asked for with `stale`.
const StaleHeader = "X-Cairn-Stale"

// IndexHeader carries the index of a document: given back as `index` with `wait`, the next read blocks until something
// has changed. An index that went down means that the server began anew: start over from 0.
const IndexHeader = "X-Cairn-Index"

// TokenHeader carries the token of whoever asks: one of Nomad. "Authorization: Bearer" does too.
const TokenHeader = "X-Cairn-Token"

// Verb names an operation on a run.
type Verb string

// The verbs: POST /v1/run/ID/<verb>, answered with the RunEntry of the run as it stands then.
const (
	VerbStop      Verb = "stop"
	VerbTerminate Verb = "terminate"
	VerbPause     Verb = "pause"
	VerbResume    Verb = "resume"
	VerbRetry     Verb = "retry"   // the run from its failures; with a task, that and everything downstream
	VerbCancel    Verb = "cancel"  // one task or instance, like all below
	VerbSkip      Verb = "skip"    // by hand
	VerbSucceed   Verb = "succeed" // by hand, with outputs
	VerbApprove   Verb = "approve" // with inputs
	VerbReject    Verb = "reject"
)

// Verbs lists every verb.
func Verbs() []Verb {
	return []Verb{
		VerbStop, VerbTerminate, VerbPause, VerbResume, VerbRetry, VerbCancel, VerbSkip, VerbSucceed, VerbApprove, VerbReject,
	}
}

// VerbRequest is the body of a verb.
type VerbRequest struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"` // of an approval it is the comment
	// Task is needed by cancel, skip, succeed, approve and reject; retry takes it.
	Task string `json:"task,omitempty"`
	// Key names one instance of a fan-out; absent = the whole task. An approval is given one by one.
	Key *string `json:"key,omitempty"`
	// Values are outputs (succeed) or inputs (approve) by name. Texts are the same as a person types them: where the
	// declared type is string, the text itself, otherwise an HCL expression. A name stands in one of them.
	Values map[string]json.RawMessage `json:"values,omitempty"`
	Texts  map[string]string          `json:"texts,omitempty"`
	// Generation makes a retry idempotent: it is done when the run has reached that generation.
	Generation int `json:"generation,omitempty"`
}

// Plan is the answer of GET /v1/run/ID/retry: what that retry would run again, in declaration order.
type Plan struct {
	Tasks []PlannedTask `json:"tasks"`
}

// PlannedTask is a task that would run.
type PlannedTask struct {
	Name      string `json:"name"`
	Instances int    `json:"instances"` // 0 = not known before it expands
}

// RerunRequest is the body of POST /v1/run/ID/rerun: a new run of the same definition, answered with its RunEntry. Without
// From and Only everything runs.
type RerunRequest struct {
	By     string   `json:"by,omitempty"`
	Reason string   `json:"reason,omitempty"`
	From   []string `json:"from,omitempty"` // these tasks and everything downstream
	Only   []string `json:"only,omitempty"` // these tasks alone
	// Params take the place of the run's own, by name: Params as JSON, ParamTexts as a person types them (see
	// VerbRequest.Texts).
	Params     map[string]json.RawMessage `json:"params,omitempty"`
	ParamTexts map[string]string          `json:"param_texts,omitempty"`
	Key        string                     `json:"key,omitempty"` // idempotency key
}

// SubmitRequest is the body of POST /v1/runs: a new run of a workflow, answered with its RunEntry.
type SubmitRequest struct {
	Files    []File `json:"files"`              // as "cairn run" reads them: of one workflow file, or of a folder
	Workflow string `json:"workflow,omitempty"` // where they declare several
	By       string `json:"by,omitempty"`
	// Params as JSON, ParamTexts as a person types them (see VerbRequest.Texts).
	Params     map[string]json.RawMessage `json:"params,omitempty"`
	ParamTexts map[string]string          `json:"param_texts,omitempty"`
	Key        string                     `json:"key,omitempty"` // idempotency key
}

// File is a file with its path, relative to the folder of the workflow. In JSON its bytes are base64.
type File struct {
	Path  string `json:"path"`
	Bytes []byte `json:"bytes"`
	Named bool   `json:"named,omitempty"` // by another one, as by run_workflow or file
}

// LogQuery names a log: GET /v1/run/ID/logs, with these as query parameters. The answer is the text itself.
type LogQuery struct {
	Task    string
	Key     *string // the instance of a fan-out; nil for a plain task
	Attempt int     // 0 = the newest
	// Part is one of several Nomad tasks in the body: TASK, GROUP/TASK or GROUP[INDEX]/TASK. Empty: the first main task.
	Part   string
	Stderr bool  // stream=stderr; standard output otherwise
	Follow bool  // go on until the attempt has ended
	Tail   int64 // only the last bytes; 0 = all
}

// Health is the answer of /v1/agent/health.
type Health struct {
	Healthy bool `json:"healthy"`
	Leader  bool `json:"leader"` // whether this process schedules
	// Nomad says why Nomad does not answer this server; absent when it does, or where tasks run without it.
	Nomad string `json:"nomad,omitempty"`
	// Overdue says why runs that are over cannot leave the store for the archive; absent when they can.
	Overdue string `json:"overdue,omitempty"`
	PID     int    `json:"pid"`
	// Process is another one in every process of a server; absent where none is.
	Process string `json:"process,omitempty"`
	Version string `json:"version"`
}

// Codes of errors, for programs to branch on.
const (
	CodeBadRequest = "bad_request" // 400
	CodeNotFound   = "not_found"   // 404
	CodeBadMethod  = "bad_method"  // 405
	CodeForbidden  = "forbidden"   // 403
	CodeConflict   = "conflict"    // 409: the verb does not fit the run's state
	CodeNotDriven  = "not_driven"  // 409: it would fit, but no process drives the run
	CodeGone       = "gone"        // 410: logs that were collected
	CodeInvalid    = "invalid"     // 422: Diagnostics say what
	CodeInternal   = "internal"    // 500
	CodeTooLarge   = "too_large"   // 413: the body of the request
	CodeTooMany    = "too_many"    // 429: so many requests wait already that no other one may
	CodeNotReady   = "not_ready"   // 503: nobody leads at the moment; ask again
	CodeUnknown    = "unknown"     // 502: the leader went away while it was asked: look whether it was done
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
