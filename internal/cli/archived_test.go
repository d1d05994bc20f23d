// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/api"
)

func TestListsAndDocumentsSayWhatIsArchived(t *testing.T) {
	runs := []api.RunEntry{
		{ID: "abcdefghijklmnopqrst", Workflow: "nightly", Status: "running", CreatedAt: second(0), StartedAt: second(0)},
		{ID: "bbcdefghijklmnopqrst", Workflow: "nightly", Status: "failed", Reason: "task work failed", CreatedAt: second(-90), StartedAt: second(-80),
			EndedAt: second(-20), Archived: true},
	}
	want := `ID                    WORKFLOW  STATUS     STARTED    TOOK     KEPT IN  REASON
abcdefghijklmnopqrst  nightly   running    10s ago    10s      store
bbcdefghijklmnopqrst  nightly   failed     1m40s ago  1m00s    archive  task work failed
`
	if d := cmp.Diff(want, runTable(runs, second(10), screen{})); d != "" {
		t.Errorf("list (-want +got):\n%s", d)
	}
	if table := runTable(runs[:1], second(10), screen{}); strings.Contains(table, "KEPT") {
		t.Errorf("a list without archived runs has a column for them:\n%s", table)
	}
	for archived, want := range map[bool]int{true: 1, false: 0} {
		run := &api.Run{ID: "abcdefghijklmnopqrst", Workflow: "nightly", Status: "failed", Archived: archived}
		text := runText(run, nil, "", second(10), screen{})
		if n := strings.Count(text, "Kept in     the archive: it takes no verbs any more, and its logs are gone\n"); n != want {
			t.Errorf("archived: %t is said %d times, want %d:\n%s", archived, n, want, text)
		}
	}
}
