// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package api

import "time"

// AuditRecord says that somebody asked for a change, and what came of it.
type AuditRecord struct {
	ID       string    `json:"id"` // sorts by time
	At       time.Time `json:"at"`
	Who      string    `json:"who,omitempty"`      // name of the token; without access control what the request says
	Accessor string    `json:"accessor,omitempty"` // of the token
	From     string    `json:"from"`               // address; "A by B": B is the server that passed it on
	Action   string    `json:"action"`             // submit, rerun, a verb
	Run      string    `json:"run,omitempty"`
	Workflow string    `json:"workflow,omitempty"`
	// Outcome is "done", or the code of the error; empty: the server ended before it was known.
	Outcome string `json:"outcome,omitempty"`
}

// Audit is the answer of GET /v1/operator/audit: what is kept of one day, oldest first.
type Audit struct {
	Day     string        `json:"day"` // 2006-01-02, of UTC
	Records []AuditRecord `json:"records"`
}
