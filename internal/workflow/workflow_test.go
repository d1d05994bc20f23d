// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairnflow/cairn/internal/workflow"
)

func TestAttemptIDsGoThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(0, 1<<47).Draw(t, "at"))
		var random [6]byte
		copy(random[:], rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "random"))
		run := workflow.NewRunID(at, random)
		n, i, number := rapid.IntRange(0, 9999).Draw(t, "task"), rapid.IntRange(0, 999999).Draw(t, "instance"), rapid.IntRange(1, 999).Draw(t, "number")
		id := workflow.MakeAttemptID(run, n, i, number)
		gotRun, gotN, gotI, gotNumber, err := id.Parse()
		if err != nil {
			t.Fatal(err)
		}
		if gotRun != run || gotN != n || gotI != i || gotNumber != number {
			t.Fatalf("%s reads as %s %d %d %d", id, gotRun, gotN, gotI, gotNumber)
		}
	})
}

func TestRunIDsSortByTime(t *testing.T) {
	at := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	first, second := workflow.NewRunID(at, [6]byte{255, 255}), workflow.NewRunID(at.Add(time.Millisecond), [6]byte{})
	if first >= second {
		t.Errorf("%s does not come before %s", first, second)
	}
	if got := second.Time(); !got.Equal(at.Add(time.Millisecond)) {
		t.Errorf("%s was made at %s, want %s", second, got, at.Add(time.Millisecond))
	}
	if got := workflow.RunID("short").Time(); !got.IsZero() {
		t.Errorf("what is no run ID was made at %s", got)
	}
}

func TestChildRunsAreKnownByTheirAttempts(t *testing.T) {
	run := workflow.NewRunID(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC), [6]byte{1, 2, 3})
	first, second := workflow.ChildRunID(workflow.MakeAttemptID(run, 0, 0, 1)), workflow.ChildRunID(workflow.MakeAttemptID(run, 0, 0, 2))
	if first == second || first == run {
		t.Errorf("run %s has the children %s and %s", run, first, second)
	}
	if first[:9] != run[:9] { // 45 of the 48 bits of time
		t.Errorf("child %s does not sort beside its run %s", first, run)
	}
	if _, err := workflow.ParseRunID(string(first)); err != nil {
		t.Error(err)
	}
}

func TestBadIDsAreRefused(t *testing.T) {
	for _, s := range []string{"", "short", "ABCDEFGHIJKLMNOPQRST", "aaaaaaaaaaaaaaaaaaa1", "aaaaaaaaaaaaaaaaaaaaa"} {
		if _, err := workflow.ParseRunID(s); err == nil {
			t.Errorf("run ID %q is accepted", s)
		}
	}
	run := workflow.NewRunID(time.Unix(0, 0), [6]byte{})
	for _, s := range []string{"", string(run), string(run) + "-0001-000001", string(run) + "-0001-000001-01x", string(run) + "-001-000001-001", "x-0001-000001-001"} {
		if _, _, _, _, err := workflow.AttemptID(s).Parse(); err == nil {
			t.Errorf("attempt ID %q is accepted", s)
		}
	}
}

func TestGraphsThatDoNotHoldTogether(t *testing.T) {
	plain := func(name string, depends ...string) workflow.Task {
		return workflow.Task{Name: name, Kind: workflow.KindTask, TriggerRule: workflow.AllSuccess, DependsOn: depends}
	}
	final := workflow.Task{Name: "final", Kind: workflow.KindFinally, TriggerRule: workflow.AllSuccess}
	for name, c := range map[string]struct {
		tasks []workflow.Task
		want  string
	}{
		"a name twice":                    {[]workflow.Task{plain("a"), plain("a")}, "declared twice"},
		"a name that is not there":        {[]workflow.Task{plain("a", "b")}, "task b, which is not declared"},
		"a cycle":                         {[]workflow.Task{plain("a", "c"), plain("b", "a"), plain("c", "b")}, "a -> b -> c -> a"},
		"a task that waits for itself":    {[]workflow.Task{plain("a", "a")}, "a -> a"},
		"a task that waits for a finally": {[]workflow.Task{plain("a", "final"), final}, "cannot depend on finally final"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := workflow.NewGraph(&workflow.Definition{Tasks: c.tasks})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	_, err := workflow.NewGraph(&workflow.Definition{Tasks: []workflow.Task{plain("a", "b"), plain("b", "a")}})
	var cycle *workflow.CycleError
	if !errors.As(err, &cycle) || len(cycle.Tasks) != 3 {
		t.Errorf("got %v, want a cycle of three names", err)
	}
}

func TestAGraphKnowsBothDirections(t *testing.T) {
	g, err := workflow.NewGraph(&workflow.Definition{Tasks: []workflow.Task{
		{Name: "a", Kind: workflow.KindTask, TriggerRule: workflow.AllSuccess},
		{Name: "b", Kind: workflow.KindTask, TriggerRule: workflow.AllSuccess},
		{Name: "c", Kind: workflow.KindTask, TriggerRule: workflow.OneFailed, DependsOn: []string{"b"}, Refs: []string{"a", "b"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ got, want []int }{
		"the rule counts depends_on only": {g.Rule(2), []int{1}},
		"references are data edges":       {g.Data(2), []int{0, 1}},
		"predecessors":                    {g.Predecessors(2), []int{0, 1}},
		"dependents":                      {g.Dependents(0), []int{2}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestPolicyAttributesAreChecked(t *testing.T) {
	for _, c := range []struct{ attr, value, err string }{
		{"timeout", `"90s"`, ""},
		{"timeout", `90`, "must be a duration"},
		{"timeout", `"-1s"`, "negative"},
		{"timeout", `null`, "is null"},
		{"allow_failure", `"yes"`, "true or false"},
		{"max_parallel", `0`, "from 1"},
		{"max_parallel", `1.5`, "whole number"},
		{"min_success", `"80%"`, ""},
		{"min_success", `"0%"`, "percentage"},
		{"min_success", `0`, "percentage"},
		{"retry.max_attempts", `101`, "from 1 to 100"},
		{"retry.backoff", `"linear"`, `"constant" or "exponential"`},
		{"retry.jitter", `2`, "from 0 to 1"},
		{"retry.on_exit_codes", `[1,2]`, ""},
		{"retry.on_exit_codes", `"1"`, "list of exit codes"},
		{"on_worker_loss.mode", `"immediate"`, ""},
		{"nonsense", `1`, "not an attribute"},
	} {
		p := workflow.DefaultPolicy()
		err := p.Set(c.attr, workflow.Value{JSON: json.RawMessage(c.value)})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s = %s: got %v, want %q", c.attr, c.value, err, c.err)
		}
	}
}
