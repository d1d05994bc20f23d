// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package ledger

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// family is a run with everything that has no line of its own: after "a", a child run with a child run in it, one that
// fails once and is tried again as another run, two calls, a timer; after them "z".
type family struct {
	lines    []Line
	run      map[string]any
	children map[string]map[string]any // by ID
	expect   Expect
}

func newFamily() *family {
	f := &family{}
	add := func(run, task string, event Event) *Line {
		l := Line{Run: run, Task: task, Attempt: 1, Fence: 101, PID: 11, Event: event, At: int64(len(f.lines) + 1)}
		f.lines = append(f.lines, l)
		return &f.lines[len(f.lines)-1]
	}
	ran := func(run, task string, exit int) {
		add(run, task, Begin)
		add(run, task, End).Exit = exit
	}
	call := func(task, method string, attempt int) {
		l := add("r", task, Call)
		l.Fence, l.PID, l.Method, l.Attempt = 0, 0, method, attempt
		l.Idempotency = fmt.Sprintf("%s-%d", task, attempt)
	}
	ran("r", "a", 0)      // lines 1, 2
	ran("m", "one", 0)    // 3, 4
	ran("i", "deep", 0)   // 5, 6
	ran("m", "two", 0)    // 7, 8
	ran("f", "try", 3)    // 9, 10
	ran("g", "try", 0)    // 11, 12
	call("get", "GET", 1) // 13
	call("get", "GET", 1)
	call("post", "POST", 1) // 15
	call("post", "POST", 2)
	add("r", "z", Begin).At = 50 // 17
	add("r", "z", End).At = 51

	tried := func(number int, verdict string, exit any, child, message string) any {
		return map[string]any{"number": number, "verdict": verdict, "exit_code": exit, "child": child, "message": message}
	}
	task := func(name, status string, tries ...any) any {
		return map[string]any{"name": name, "status": status, "instances": []any{map[string]any{"key": nil, "attempts": tries}}}
	}
	well := func(name, child string) any { return task(name, "succeeded", tried(1, "succeeded", 0, child, "")) }
	f.run = map[string]any{
		"id": "r", "status": "succeeded", "ended_at": time.Unix(0, 60), "generation": 1,
		"tasks": []any{
			well("a", ""), well("nest", "m"),
			task("again", "succeeded", tried(1, "failed", nil, "f", "run f failed"), tried(2, "succeeded", 0, "g", "")),
			well("get", ""),
			task("post", "succeeded", tried(1, "failed", nil, "", "outcome unknown: it is not repeated"), tried(2, "succeeded", 0, "", "")),
			well("timer", ""), well("z", ""),
		},
	}
	child := func(id, parent, attempt, status string, tasks ...any) {
		f.children[id] = map[string]any{
			"id": id, "status": status, "ended_at": time.Unix(0, 49), "generation": 1, "tasks": tasks,
			"parent": map[string]any{"run": parent, "attempt": parent + "-" + attempt},
		}
	}
	f.children = map[string]map[string]any{}
	child("m", "r", "1", "succeeded", well("one", ""), well("inner", "i"), well("two", ""))
	child("i", "m", "1", "succeeded", well("deep", ""))
	child("f", "r", "2", "failed", task("try", "failed", tried(1, "failed", 3, "", "")))
	child("g", "r", "3", "succeeded", well("try", ""))

	all := func(names ...string) map[string]string {
		out := map[string]string{}
		for _, name := range names {
			out[name] = "succeeded"
		}
		return out
	}
	f.expect = Expect{
		Status: "succeeded", Tasks: all("a", "nest", "again", "get", "post", "timer", "z"), Severed: true,
		After: map[string][]string{"nest": {"a"}, "timer": {"a"}, "get": {"a"}, "z": {"nest", "again", "get", "post", "timer"}},
		Tries: map[string]int{"again": 2}, Silent: []string{"timer"}, Takes: map[string]time.Duration{"timer": 30},
		Calls: map[string]string{"get": "GET", "post": "POST"},
		Children: map[string][]Expect{
			"nest": {{
				Status: "succeeded", Tasks: all("one", "inner", "two"), After: map[string][]string{"inner": {"one"}, "two": {"inner"}},
				Children: map[string][]Expect{"inner": {{Status: "succeeded", Tasks: all("deep")}}},
			}},
			"again": {{Status: "failed", Tasks: map[string]string{"try": "failed"}}, {Status: "succeeded", Tasks: all("try")}},
		},
	}
	return f
}

func (f *family) judged(t *testing.T) []string {
	t.Helper()
	read := func(document map[string]any) *Run {
		b, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		run, err := ParseRun(b)
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	e := Evidence{Lines: f.lines, Run: read(f.run)}
	for _, id := range []string{"m", "i", "f", "g", "x"} {
		if document := f.children[id]; document != nil {
			e.Children = append(e.Children, read(document))
		}
	}
	return Judge(e, f.expect)
}

func TestASoundFamilyPasses(t *testing.T) {
	if wrong := newFamily().judged(t); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
}

func TestTheJudgeFindsWhatIsWrongInAFamily(t *testing.T) {
	tests := map[string]struct {
		tamper func(f *family)
		want   string
	}{
		"an attempt of a child run runs twice": {func(f *family) { f.lines = slices.Insert(f.lines, 6, f.lines[4], f.lines[5]) },
			"deep #1 of child run i began 2 times, lines [5 7]"},
		"a run is in the ledger and nowhere else": {func(f *family) { f.lines[4].Run = "x" }, "line 5 is of run x, which no document names"},
		"a run is in the store and no attempt names it": {func(f *family) {
			f.children["x"] = map[string]any{"id": "x", "status": "succeeded", "ended_at": time.Unix(0, 9)}
		}, "run x is in the store, and no attempt"},
		"a run is not in the store": {func(f *family) { delete(f.children, "i") }, "inner #1 of child run m succeeded, and its run i is not in the store"},
		"a task starts a run that nobody wrote": {func(f *family) { delete(f.expect.Children, "nest") },
			"nest #1 started run m, and nobody wrote that"},
		"two tasks share a run": {func(f *family) { attemptIn(f.run, 2, 1)["child"] = "m" }, "have the same run m"},
		"two runs share a run":  {func(f *family) { attemptIn(f.run, 2, 1)["child"] = "i" }, "run i was started by"},
		"a run has another parent": {func(f *family) { f.children["i"]["parent"] = map[string]any{"run": "r", "attempt": "r-1"} },
			"run i, which inner #1 of child run m started, says that its parent is"},
		"a run has no parent":        {func(f *family) { delete(f.children["i"], "parent") }, "says that its parent is <nil>"},
		"a run is not said":          {func(f *family) { attemptIn(f.run, 1, 1)["child"] = "" }, "nest #1 succeeded, and it names no run"},
		"a child run ends otherwise": {func(f *family) { f.children["i"]["status"] = "failed" }, `the run of child run i ended "failed"`},
		"a child run was retried":    {func(f *family) { f.children["i"]["generation"] = 2 }, "the run of child run i ended in generation 2, want 1"},
		"an attempt ends otherwise than its run": {func(f *family) { attemptIn(f.run, 1, 1)["verdict"] = "failed" },
			"nest #1 failed, and its run m succeeded"},
		"a child run begins before what its parent's task waits for has ended": {func(f *family) { f.lines[1], f.lines[2] = f.lines[2], f.lines[1] },
			"nest began, line 2, and its predecessor a still wrote line 3"},
		"a grandchild runs on after its parent's task": {func(f *family) { f.lines[5], f.lines[6] = f.lines[6], f.lines[5] },
			"two of child run m began, line 6, and its predecessor inner still wrote line 7"},
		"a grandchild runs on after the task at the top": {func(f *family) { f.lines[5], f.lines[16] = f.lines[16], f.lines[5] },
			"z began, line 6, and its predecessor nest still wrote line 17"},
		"the next run begins before the one before has ended": {func(f *family) { f.lines[9], f.lines[10] = f.lines[10], f.lines[9] },
			"run g of again began, line 10, and run f before it still wrote line 11"},
		"a child run goes on after its end": {func(f *family) { f.children["i"]["ended_at"] = time.Unix(0, 5) },
			"deep #1 of child run i wrote line 6 1ns after the end of the run of child run i"},
		"a child run goes on after the end of the one above": {func(f *family) { f.children["m"]["ended_at"] = time.Unix(0, 5) },
			"deep #1 of child run i wrote line 6 1ns after the end of the run of child run m"},
		"a child run has no end": {func(f *family) { delete(f.children["m"], "ended_at") }, "the document of child run m does not say when"},
		"a POST is repeated": {func(f *family) { f.lines = append(f.lines[:16:16], append([]Line{f.lines[15]}, f.lines[16:]...)...) },
			"post #2 called 2 times, lines [16 17], by POST"},
		"a POST whose outcome is unknown is repeated": {func(f *family) { f.lines = append(f.lines[:15:15], f.lines[14:]...) },
			"post #1 called 2 times, lines [15 16], by POST"},
		"a GET is repeated although nothing was killed": {func(f *family) { f.expect.Severed = false }, "get #1 called 2 times, lines [13 14], by GET"},
		"an outcome is unknown although nothing was killed": {func(f *family) { f.expect.Severed = false },
			`post #1 ended "outcome unknown: it is not repeated", and nothing was taken from it`},
		"the outcome of a GET is unknown": {func(f *family) {
			attemptIn(f.run, 3, 1)["verdict"], attemptIn(f.run, 3, 1)["message"] = "failed", "outcome unknown"
		}, "and a GET may be repeated"},
		"a call never came":       {func(f *family) { f.lines = slices.Delete(f.lines, 15, 16) }, "post #2 succeeded, and nobody was called"},
		"a key changes":           {func(f *family) { f.lines[13].Idempotency = "other" }, `get #1 called with the key "other", line 14, after "get-1"`},
		"a key is used again":     {func(f *family) { f.lines[15].Idempotency = "post-1" }, "post #2 called with the key of post #1, line 16"},
		"a call is of no attempt": {func(f *family) { f.lines[15].Attempt = 3 }, "post #3 called, line 16, and is not in the document"},
		"the method changes":      {func(f *family) { f.lines[15].Method = "PUT" }, `post #2 called by PUT, line 16, want "POST"`},
		"a task that makes no call does": {func(f *family) { f.lines[15].Task, f.lines[15].Attempt = "a", 1 },
			`a #1 called by POST, line 16, want ""`},
		"a call is made too late": {func(f *family) { f.lines[15], f.lines[16] = f.lines[16], f.lines[15] },
			"z began, line 16, and its predecessor post still wrote line 17"},
		"a timer is cut short": {func(f *family) { f.lines[16].At = 31 }, "z began, line 17, 29ns after a, want at least 30ns between them"},
		"what a timer waits for comes late": {func(f *family) { f.lines[1], f.lines[16] = f.lines[16], f.lines[1] },
			"z began, line 2, and its predecessor a still wrote line 17"},
		"a task that should run by itself has lines": {func(f *family) { f.expect.Silent = append(f.expect.Silent, "a") }, "a #1 ran, line 1, and should not have"},
		"a run is retried by another run": {func(f *family) { attemptIn(f.run, 1, 1)["verdict"] = "lost" },
			"nest #1 was lost"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFamily()
			test.tamper(f)
			wrong := f.judged(t)
			if !slices.ContainsFunc(wrong, func(w string) bool { return strings.Contains(w, test.want) }) {
				t.Errorf("got:\n%s\nwanted a line with: %s", strings.Join(wrong, "\n"), test.want)
			}
		})
	}
}

// Where clocks stepped, times say nothing, and order says what it did.
func TestTimesOfClocksThatSteppedAreNotJudged(t *testing.T) {
	f := newFamily()
	f.expect.Stepped = true
	f.lines[16].At = 31
	for i := range f.lines {
		f.lines[i].At += int64(time.Hour)
	}
	if wrong := f.judged(t); len(wrong) > 0 {
		t.Errorf("times are judged:\n%s", strings.Join(wrong, "\n"))
	}
	f.lines[15], f.lines[16] = f.lines[16], f.lines[15]
	if wrong := f.judged(t); len(wrong) == 0 {
		t.Error("order is not judged")
	}
}

// A retry by hand takes up the run of the attempt before, whose end nobody can see any more.
func TestARunThatWasRetriedIsSharedByAttempts(t *testing.T) {
	shared := func() *family {
		f := newFamily()
		f.lines = slices.Delete(f.lines, 8, 10)
		delete(f.children, "f")
		attemptIn(f.run, 2, 1)["child"] = "g"
		f.run["generation"], f.children["g"]["generation"] = 2, 2
		f.expect.Generation = 2
		f.expect.Children["again"][1].Generation = 2
		return f
	}
	if wrong := shared().judged(t); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
	f := shared()
	attemptIn(f.run, 2, 1)["verdict"] = "succeeded"
	if wrong := strings.Join(f.judged(t), "\n"); !strings.Contains(wrong, "again #1 succeeded, and again #2 ran it again") {
		t.Errorf("got %q, wanted to hear that what succeeded was run again", wrong)
	}
}

func TestAnInstanceMayHaveATryCountOfItsOwn(t *testing.T) {
	tamper := func(tries map[string]int) []string {
		return judged2(t, func(l *[]Line, d map[string]any, e *Expect) {
			for i := range *l {
				if (*l)[i].Task == "b" {
					(*l)[i].Key = "eu"
				}
			}
			d["tasks"].([]any)[1].(map[string]any)["instances"].([]any)[0].(map[string]any)["key"] = "eu"
			e.Tries = tries
		})
	}
	if wrong := tamper(map[string]int{"b": 1, "b[eu]": 3}); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
	if wrong := strings.Join(tamper(map[string]int{"b": 3, "b[eu]": 2}), "\n"); !strings.Contains(wrong, "b[eu] has 3 attempts that ended, want 2") {
		t.Errorf("got %q, wanted to hear of an attempt too many", wrong)
	}
}
