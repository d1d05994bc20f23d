// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import "time"

// A rendered body is JSON. Those of the kinds task, group and job are Nomad jobs; the others are the types below. Times are
// in nanoseconds, like everywhere in durable records.

// DispatchBody dispatches an existing parameterized job.
type DispatchBody struct {
	Job       string            `json:"job"`
	Namespace string            `json:"namespace,omitempty"`
	Region    string            `json:"region,omitempty"`
	Priority  int               `json:"priority,omitempty"` // 0 = the job's own
	Meta      map[string]string `json:"meta,omitempty"`
	Payload   []byte            `json:"payload,omitempty"` // at most 16 KiB: Nomad's limit
}

// ChildBody starts a run of another workflow.
type ChildBody struct {
	// Workflow names one of several; empty where there is only one.
	Workflow string `json:"workflow,omitempty"`
	// Source is a file or folder below the definition's own folder, with slashes; empty = the definition's own files.
	Source string           `json:"source,omitempty"`
	Params map[string]Value `json:"params,omitempty"` // as given; defaults and checks are the child's
}

// ApprovalBody waits for somebody to decide.
type ApprovalBody struct {
	Approvers []string      `json:"approvers,omitempty"` // empty = anybody who may use verbs
	Timeout   time.Duration `json:"timeout,omitempty"`   // 0 = none
	OnTimeout OnTimeout     `json:"on_timeout"`
}

// OnTimeout is what an approval that nobody gave in time means.
type OnTimeout string

// The on_timeout modes.
const (
	OnTimeoutReject  OnTimeout = "reject"
	OnTimeoutApprove OnTimeout = "approve"
)

// WaitBody waits for a moment: for Until where it is set, else for Duration from when the task begins.
type WaitBody struct {
	Duration time.Duration `json:"duration,omitempty"`
	Until    Time          `json:"until,omitempty"`
}

// HTTPBody is one call.
type HTTPBody struct {
	Method       string            `json:"method"` // upper case
	URL          string            `json:"url"`
	Headers      map[string]string `json:"headers,omitempty"`
	Body         string            `json:"body,omitempty"`
	ExpectStatus []int             `json:"expect_status,omitempty"` // empty = any from 200 to 299
	Timeout      time.Duration     `json:"timeout"`
	// Idempotent: it may be repeated when its outcome is unknown; so it is for GET, HEAD, PUT and DELETE.
	Idempotent bool `json:"idempotent,omitempty"`
}

// Repeatable reports whether the call may be made again when its outcome is unknown.
func (b *HTTPBody) Repeatable() bool {
	switch b.Method {
	case "GET", "HEAD", "PUT", "DELETE":
		return true
	}
	return b.Idempotent
}
