// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import "testing"

// A reader that knows the index already when it becomes the one that is told must be woken by the next change.
func TestTheFirstReaderOfATakenOverRunIsWoken(t *testing.T) {
	r := newRun(nil, "abcdefghijklmnopqrst")
	r.index = 7 // as loaded: the index of the run's last change
	shown, changed, pause := r.shownIndex()
	if shown != 7 {
		t.Fatalf("shown index %d, want 7", shown)
	}
	if changed == nil && pause == nil {
		t.Error("a reader of index 7 would wait for nothing")
	}
}
