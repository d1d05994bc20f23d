// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/api"
)

func TestChangesStandInTheirBlocks(t *testing.T) {
	many := make([]string, maxChangedLines+2)
	for i := range many {
		many[i] = fmt.Sprint("line ", i)
	}
	text := strings.Join(many, "\n")
	for name, c := range map[string]struct {
		changes []api.Change
		want    []string
	}{
		"two attributes of one block": {[]api.Change{
			{Action: "changed", Path: []string{`task "t"`, "config", "command"}, Old: `"a"`, New: `"b"`},
			{Action: "added", Path: []string{`task "t"`, "config", "args"}, New: `["x"]`},
			{Action: "removed", Path: []string{`task "t"`, "timeout"}, Old: `"5m"`},
			{Action: "changed", Path: []string{"priority"}, Old: "1", New: "2"},
		}, []string{
			`  ~ task "t" {`,
			`      ~ config {`,
			`          ~ command = "a" -> "b"`,
			`          + args = ["x"]`,
			`        }`,
			`      - timeout = "5m"`,
			`    }`,
			`  ~ priority = 1 -> 2`,
		}},
		"blocks": {[]api.Change{
			{Action: "added", Path: []string{`task "t"`, "retry"}, New: "retry {\n  max_attempts = 3\n}"},
			{Action: "removed", Path: []string{`task "u"`}, Old: "task \"u\" {\n}"},
		}, []string{
			`  ~ task "t" {`,
			`      + retry {`,
			`      +   max_attempts = 3`,
			`      + }`,
			`    }`,
			`  - task "u"`,
		}},
		"a heredoc": {[]api.Change{
			{Action: "changed", Path: []string{"description"}, Old: "<<EOF\na\nb\nc\nEOF", New: "<<EOF\na\nd\ne\nc\nEOF"},
		}, []string{
			`  ~ description:`,
			`      - b`,
			`      + d`,
			`      + e`,
		}},
		"long texts": {[]api.Change{
			{Action: "changed", Path: []string{`file "a"`}, Old: "", New: text},
			{Action: "changed", Path: []string{`file "b"`}, Old: "x", New: text},
		}, append(append([]string{`  ~ file "a"`, `  ~ file "b":`, `      - x`}, prefixed("      + ", many[:maxChangedLines])...), "        … and 2 more lines")},
		"what is not shown": {[]api.Change{
			{Action: "changed", Path: []string{`workflow "other"`}},
			{Action: "changed", Path: []string{`param "p"`, "default"}, Old: "(sensitive)", New: "(sensitive)"},
			{Action: "added", Path: []string{`file "x"`}, New: "text"},
			{Action: "removed", Path: []string{`file "y"`}, Old: "text"},
			{Action: "changed", Path: nil},
		}, []string{
			`  ~ workflow "other"`,
			`  ~ param "p" {`,
			`      ~ default`,
			`    }`,
			`  + file "x"`,
			`  - file "y"`,
		}},
		"control characters": {[]api.Change{{Action: "changed", Path: []string{"a"}, Old: "\x1b[2J", New: "b\rc"}}, []string{"  ~ a = ?[2J -> b c"}},
		"nothing":            {nil, []string{"    only layout, comments, order or names of files differ"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := changesText(api.AppliedWorkflow{Name: "w", Action: api.ActionUpdate, Changes: c.changes}, screen{})
			if d := cmp.Diff(strings.Join(c.want, "\n")+"\n", got); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
		})
	}
}

func prefixed(prefix string, lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = prefix + line
	}
	return out
}
