// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// What is kept of an audit record is read for 90 days, by whatever version comes.
func TestTheFormOfAnAuditRecord(t *testing.T) {
	at := time.Date(2026, 11, 28, 13, 19, 14, 5, time.UTC)
	for want, r := range map[string]api.AuditRecord{
		`{"version":1,"id":"1-a","at":"2026-11-28T13:19:14.000000005Z","who":"ada","accessor":"b","from":"10.0.0.9 by 10.0.0.5","action":"stop","run":"r","workflow":"w","outcome":"done"}`: {
			ID: "1-a", At: at, Who: "ada", Accessor: "b", From: "10.0.0.9 by 10.0.0.5", Action: "stop", Run: "r", Workflow: "w", Outcome: "done",
		},
		`{"version":1,"id":"1-a","at":"2026-11-28T13:19:14.000000005Z","from":"10.0.0.9","action":"submit"}`: {ID: "1-a", At: at, From: "10.0.0.9", Action: "submit"},
	} {
		got, err := encodeAudit(r)
		if err != nil || string(got) != want {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
		if back, err := decodeAudit([]byte(want)); err != nil || back != r {
			t.Errorf("%s is read as %+v, %v", want, back, err)
		}
	}
	for text, words := range map[string]string{`{"version":2}`: "reads up to 1", `{}`: "format 0", `{`: "read an audit record"} {
		if _, err := decodeAudit([]byte(text)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want words about %q", text, err, words)
		}
	}
}
