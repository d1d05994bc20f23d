// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// check is one expectation that a row states.
type check struct {
	play
	want string // what is seen
	// but takes away what the row is about: pairs of text in the play and what stands there instead. Then something else
	// must be seen.
	but []string
	// Instead of a play: what is seen, and what is seen without.
	with, without func() string
}

// judge says what is wrong with a check, nothing when it holds. Inverted, the expectation is that something else is seen.
func (c check) judge(inverted bool) string {
	got, other := c.both()
	holds := got == c.want
	switch {
	case holds == inverted:
		return fmt.Sprintf("saw    %s\nwanted %s%s", got, c.want, map[bool]string{true: " (inverted)"}[inverted])
	case !inverted && other == c.want:
		return fmt.Sprintf("%q is seen without what the row is about too: the check says nothing", other)
	}
	return ""
}

func (c check) both() (got, other string) {
	if c.with != nil {
		return c.with(), c.without()
	}
	return c.play.outcome(), c.play.changed(c.but).outcome()
}

// changed is the play with text replaced. A text that does not occur is a mistake of the check.
func (p play) changed(pairs []string) play {
	if len(pairs) == 0 || len(pairs)%2 != 0 {
		panic("a check needs pairs of what to change, or it could hold by accident")
	}
	p.do, p.params, p.files = slices.Clone(p.do), slices.Clone(p.params), slices.Clone(p.files)
	for i := 0; i < len(pairs); i += 2 {
		found := false
		replace := func(s *string) {
			found = found || strings.Contains(*s, pairs[i])
			*s = strings.ReplaceAll(*s, pairs[i], pairs[i+1])
		}
		for _, text := range []*string{&p.flow, &p.also, &p.script, &p.begins} {
			replace(text)
		}
		for _, list := range [][]string{p.do, p.params, p.files} {
			for k := range list {
				replace(&list[k])
			}
		}
		if !found {
			panic(fmt.Sprintf("%q does not occur in the play", pairs[i]))
		}
	}
	return p
}

// checks are all checks by the key of their row.
func checks(t *testing.T) map[string][]check {
	t.Helper()
	all := map[string][]check{}
	for _, part := range slices.Concat(partsOfRules, partsOfLanguage, partsOfBodies) {
		for key, list := range part {
			if all[key] != nil {
				t.Fatalf("the row %q has checks in two places", key)
			}
			all[key] = list
		}
	}
	for _, r := range rows(t) {
		if !strings.HasPrefix(r.key, "Functions: ") {
			continue
		}
		list, missing := functionChecks(r)
		if len(missing) > 0 {
			t.Errorf("%s: no call of %s to check", r.at, strings.Join(missing, ", "))
		}
		all[r.key] = append(all[r.key], list...)
	}
	return all
}

func rows(t *testing.T) []row {
	t.Helper()
	found := append(rowsOfReference(t), rowsOfEngine(t)...)
	seen := map[string]string{}
	for _, r := range found {
		if seen[r.key] != "" {
			t.Errorf("%s: the row %q stands at %s too: rows need names of their own", r.at, r.key, seen[r.key])
		}
		seen[r.key] = r.at
	}
	if len(found) == 0 {
		t.Fatal("there are no tables")
	}
	return found
}

// TestRowsHold checks every row of every table.
func TestRowsHold(t *testing.T) {
	inverted := os.Getenv("CAIRN_CONFORMANCE") == "inverted"
	all := checks(t)
	named := map[string]bool{}
	count := 0
	for _, r := range rows(t) {
		named[r.key] = true
		t.Run(r.key, func(t *testing.T) {
			if len(all[r.key]) == 0 {
				t.Fatalf("%s: no check names this row:\n%s", r.at, r.text)
			}
			for _, c := range all[r.key] {
				count++
				if problem := c.judge(inverted); problem != "" {
					t.Errorf("%s: %s", r.at, problem)
				}
			}
			t.Logf("%s: %d checks", r.at, len(all[r.key]))
		})
	}
	for key := range all {
		if !named[key] {
			t.Errorf("the row %q is in no table any more", key)
		}
	}
	t.Logf("%d rows, %d checks", len(named), count)
}

// TestRowsHoldUnderEveryLeader plays every play once more, with another leader after every event.
func TestRowsHoldUnderEveryLeader(t *testing.T) {
	plays := 0
	for key, list := range checks(t) {
		for _, c := range list {
			if c.with != nil {
				continue
			}
			plays++
			c.leaders = true
			if got := c.outcome(); got != c.want {
				t.Errorf("%s: under other leaders saw\n%s\nwanted\n%s", key, got, c.want)
			}
		}
	}
	if plays == 0 {
		t.Error("there are no plays")
	}
}

// TestInvertedExpectationsFail inverts every expectation once and wants to see it fail.
func TestInvertedExpectationsFail(t *testing.T) {
	for key, list := range checks(t) {
		for _, c := range list {
			if c.judge(true) == "" {
				t.Errorf("%s: holds with its expectation inverted", key)
			}
		}
	}
}

// task is a task that runs a program, with more in it.
func task(name, more string) string {
	return fmt.Sprintf("task %q {\n  driver = \"raw_exec\"\n  config {\n    command = \"/bin/echo\"\n  }\n%s\n}\n", name, more)
}

// finally is the same at the end of the run.
func finally(name, more string) string {
	return "finally" + strings.TrimPrefix(task(name, more), "task")
}

// echo is a task with arguments to look at, with more in it.
func echo(name, args, more string) string {
	return fmt.Sprintf("task %q {\n  driver = \"raw_exec\"\n  config {\n    command = \"/bin/echo\"\n    args    = [%s]\n  }\n%s\n}\n", name, args, more)
}
