// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// What comes behind the time in the ID of a child run is drawn like the rest of any ID: it may sort before its parent's.
func TestTheFolderOfAChildRunIsNotPassedOver(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	parent := workflow.NewRunID(at, [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	child := workflow.ChildRunID(workflow.MakeAttemptID(parent, 0, 0, 1))
	if child > parent {
		t.Fatalf("child %s sorts behind %s: the test shows nothing", child, parent)
	}
	for n := 1; n <= len(child); n++ {
		if madeAfter(string(parent), string(child[:n])) {
			t.Errorf("the folder of %s is passed over for its child %s", parent, child[:n])
		}
	}
	later := workflow.NewRunID(at.Add(time.Minute), [6]byte{})
	if !madeAfter(string(later), string(child)) || madeAfter(string(later), string(child[:3])) {
		t.Errorf("run %s, a minute later, could have child %s", later, child)
	}
}
