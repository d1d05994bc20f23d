// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cairnflow/cairn/internal/api"
)

// maxFailures is how many failed instances a summary tells about, and maxTail how many lines of each one's standard error.
const (
	maxFailures = 5
	maxTail     = 5
)

// failure is a failed instance worth telling about.
type failure struct {
	task     *api.Task
	instance *api.Instance
	tail     []string // the last lines of its standard error
}

// failures are the first failed instances of a run that failed, in declaration order.
func failures(run *api.Run) []failure {
	var out []failure
	if run.Status != "failed" {
		return nil // what failed there was allowed to, or was recovered
	}
	for n := range run.Tasks {
		t := &run.Tasks[n]
		if t.Status != "failed" || t.Recovered {
			continue
		}
		for i := range t.Instances {
			if in := &t.Instances[i]; in.Status == "failed" && len(out) < maxFailures {
				out = append(out, failure{task: t, instance: in})
			}
		}
	}
	return out
}

// summary tells how a run ended: for people, after everything else.
func summary(run *api.Run, failed []failure, out screen) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Run %s of %s ", run.ID, clean(run.Workflow))
	b.WriteString(out.paint(run.Status, statusStyle(run.Status)))
	if !run.StartedAt.IsZero() && !run.EndedAt.IsZero() {
		b.WriteString(" after " + lasting(run.EndedAt.Sub(run.StartedAt)))
	}
	if run.Reason != "" {
		b.WriteString(": " + clean(run.Reason))
	}
	counts := map[string]int{}
	for n := range run.Tasks {
		if run.Tasks[n].Recovered {
			counts["recovered"]++
		} else {
			counts[run.Tasks[n].Status]++
		}
	}
	fmt.Fprintf(&b, "\n%s: %s\n", count(len(run.Tasks), "task"), tally(counts))
	for _, f := range failed {
		writeFailure(&b, run, f)
	}
	if len(run.Outputs) > 0 {
		b.WriteString("\nOutputs:\n" + outputLines(run.Outputs))
	}
	return b.String()
}

func writeFailure(b *strings.Builder, run *api.Run, f failure) {
	why := clean(f.instance.Reason)
	var a *api.Attempt
	if n := len(f.instance.Attempts); n > 0 {
		a = &f.instance.Attempts[n-1]
		if why == "" {
			why = howEnded(a)
		}
	} else if why == "" {
		why = clean(f.task.Reason)
	}
	fmt.Fprintf(b, "\n%s failed", instanceName(f.task.Name, f.instance.Key))
	if why != "" {
		b.WriteString(": " + why)
	}
	b.WriteString("\n")
	for _, l := range f.tail {
		b.WriteString("  | " + l + "\n")
	}
	if a != nil && a.Child != "" {
		fmt.Fprintf(b, "  More about it: cairn runs show %s\n", a.Child)
	} else if a != nil && api.Writes(f.task.Body) {
		key := ""
		if f.instance.Key != nil {
			key = " -instance " + quoteWord(*f.instance.Key)
		}
		fmt.Fprintf(b, "  All of it: cairn runs logs%s %s %s\n", key, run.ID, f.task.Name)
	}
}

// quoteWord makes a word safe for a shell where it has to be.
func quoteWord(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// maxValue is how many columns of a value a summary shows; -json has all of it.
const maxValue = 200

// outputLines are values by name, one a line.
func outputLines(values map[string]json.RawMessage) string {
	var names []string
	width := 0
	for name := range values {
		names = append(names, name)
		width = max(width, utf8.RuneCountInString(name))
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "  %s = %s\n", pad(clean(name), width), cut(valueText(values[name]), maxValue))
	}
	return b.String()
}

// valueText is a JSON value in one line, without the escapes that only HTML needs.
func valueText(v json.RawMessage) string {
	if string(v) == `"`+api.Sensitive+`"` {
		return api.Sensitive
	}
	var b strings.Builder
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	in := json.NewDecoder(bytes.NewReader(v))
	in.UseNumber()
	var value any
	if in.Decode(&value) != nil || out.Encode(value) != nil {
		return clean(string(v))
	}
	return clean(b.String())
}

// exitOf is the exit code of a run that is over.
func exitOf(status string) int {
	switch status {
	case "succeeded":
		return exitOK
	case "cancelled":
		return exitCancelled
	case "skipped":
		return exitSkipped
	}
	return exitFailed
}
