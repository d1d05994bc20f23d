// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// stub gives every expression's text as its value: what remains is the engine.
type stub struct{}

func (stub) Evaluate(x workflow.Expr, _ workflow.Scope) (workflow.Value, error) {
	return workflow.Value{JSON: json.RawMessage(x.Text)}, nil
}

func plainTask(name string, depends ...string) workflow.Task {
	return workflow.Task{
		Name: name, Kind: workflow.KindTask, DependsOn: depends, TriggerRule: workflow.AllSuccess,
		WhenFalse: workflow.WhenFalseSkip, Policy: workflow.DefaultPolicy(), BodyKind: workflow.BodyTask,
		Body: &workflow.Expr{Kind: workflow.ExprBody, Text: "{}"},
	}
}

// drive runs a definition to its end with at most inflight attempts at a time, encoding what every step changed as a shell
// would before it acts. It returns the records that would have been written and their size.
func drive(b *testing.B, def *workflow.Definition, inflight int) (records map[string][]byte) {
	b.Helper()
	def.OnFailure = workflow.OnFailureContinue
	m, err := engine.New(def, stub{})
	if err != nil {
		b.Fatal(err)
	}
	now := workflow.At(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC))
	s := m.NewState(engine.Input{Run: workflow.NewRunID(now.Time(), [6]byte{}), CreatedAt: now})
	records = map[string][]byte{}
	var wants [][2]int
	var live []workflow.AttemptID
	zero := 0
	step := func(e engine.Event) (more bool) {
		now = now.Add(time.Millisecond)
		e.At = now
		for _, c := range m.Step(s, e) {
			switch c.Kind {
			case engine.Want:
				wants = append(wants, [2]int{c.Task, c.Instance})
			case engine.StartAttempt:
				live = append(live, c.Attempt)
			case engine.Proceed:
				more = true
			}
		}
		return more
	}
	batch := func(events []engine.Event) {
		more := false
		for _, e := range events {
			more = step(e)
		}
		for more {
			more = step(engine.Event{Kind: engine.Continue})
		}
		changed, err := m.EncodeDirty(s)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range changed {
			records[r.Key] = r.Value
		}
	}
	batch([]engine.Event{{Kind: engine.Begin}})
	for !s.Head.Status.Terminal() {
		var events []engine.Event
		for _, id := range live {
			events = append(events, engine.Event{Kind: engine.Ended, Attempt: id,
				Outcome: &engine.Outcome{Kind: engine.OutcomeExited, ExitCode: &zero}})
		}
		live = nil
		for len(wants) > 0 && len(events) < 2*inflight {
			events = append(events, engine.Event{Kind: engine.Admit, Task: wants[0][0], Instance: wants[0][1]})
			wants = wants[1:]
		}
		batch(events)
	}
	if s.Head.Status != workflow.RunSucceeded {
		b.Fatalf("the run ended %s: %s", s.Head.Status, s.Head.Reason)
	}
	return records
}

// encodeOnce is the reference of the engine: the time to write the run's final records as JSON once.
func encodeOnce(b *testing.B, records map[string][]byte) time.Duration {
	b.Helper()
	decoded := make([]any, 0, len(records))
	for key, value := range records {
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			b.Fatalf("record %s: %v", key, err)
		}
		decoded = append(decoded, v)
	}
	begin := time.Now()
	if _, err := json.Marshal(decoded); err != nil {
		b.Fatal(err)
	}
	return time.Since(begin)
}

func BenchmarkEngineTenThousandTasks(b *testing.B) {
	for b.Loop() {
		def := &workflow.Definition{Name: "w"}
		for i := range 10000 {
			if i < 100 {
				def.Tasks = append(def.Tasks, plainTask(fmt.Sprintf("t%d", i)))
			} else {
				def.Tasks = append(def.Tasks, plainTask(fmt.Sprintf("t%d", i), fmt.Sprintf("t%d", i-100)))
			}
		}
		var s samples
		for range pairs {
			begin := time.Now()
			records := drive(b, def, 100)
			s.cairn = append(s.cairn, time.Since(begin))
			s.reference = append(s.reference, encodeOnce(b, records))
		}
		report(b, "10,000 tasks through the engine, over writing their final records once", "x", s.each(ratio), 5)
		report(b, "10,000 tasks through the engine", "s", s.each(func(c, _ time.Duration) float64 { return c.Seconds() }), 1)
	}
}

// childVariable marks the process that BenchmarkEngineHundredThousandInstances measures from outside, for its peak memory.
const childVariable = "CAIRN_BENCH_CHILD"

func BenchmarkEngineHundredThousandInstances(b *testing.B) {
	fan := plainTask("fan")
	fan.Count = &workflow.Expr{Kind: workflow.ExprValue, Text: "100000"}
	def := &workflow.Definition{Name: "w", Tasks: []workflow.Task{fan, plainTask("after", "fan")}}
	if os.Getenv(childVariable) != "" {
		for b.Loop() {
			drive(b, def, 1000)
		}
		return
	}
	for b.Loop() {
		var seconds, mebibytes []float64
		for range pairs {
			cmd := exec.Command(os.Args[0], "-test.run", "^$", "-test.bench", "^"+b.Name()+"$", "-test.benchtime", "1x")
			cmd.Env = append(os.Environ(), childVariable+"=1")
			begin := time.Now()
			_, peak := runPeak(b, cmd)
			seconds, mebibytes = append(seconds, time.Since(begin).Seconds()), append(mebibytes, peak)
		}
		report(b, "100,000 instances through the engine, process included", "s", sorted(seconds), 10)
		report(b, "100,000 instances through the engine, peak resident memory", "MiB", sorted(mebibytes), 1024)
	}
}

// counting gives the text of an expression, or what task list wrote, and counts the scopes that readers of a fan-out are shown.
type counting struct{ shared map[*workflow.Shared]int }

func (c counting) Evaluate(x workflow.Expr, scope workflow.Scope) (workflow.Value, error) {
	switch {
	case x.Kind == workflow.ExprConvert:
		return *scope.Input, nil
	case x.Text == "n":
		return scope.Shared.Tasks["list"].Instances[0].Outputs["n"], nil
	}
	if scope.Shared != nil && scope.Shared.Tasks["fan"] != nil {
		c.shared[scope.Shared] += len(scope.Shared.Tasks["fan"].Instances)
	}
	return workflow.Value{JSON: json.RawMessage("{}")}, nil
}

// BenchmarkEngineDynamicFanOut takes the way from the end of a task to the first starts of the 50,000 instances that its output
// asks for, and from the end of those to the start of as many instances that read them all.
func BenchmarkEngineDynamicFanOut(b *testing.B) {
	const size = 50000
	list, fan, reader := plainTask("list"), plainTask("fan", "list"), plainTask("reader", "fan")
	list.Outputs = []workflow.Output{{Name: "n", From: workflow.FromFile, Type: workflow.Expr{Kind: workflow.ExprConvert}}}
	fan.Outputs = list.Outputs
	fan.Refs, fan.ExpandRefs = []string{"list"}, []string{"list"}
	fan.Count = &workflow.Expr{Kind: workflow.ExprValue, Text: "n"}
	reader.Refs, reader.Count = []string{"fan"}, &workflow.Expr{Kind: workflow.ExprValue, Text: "n"}
	reader.Refs = []string{"fan", "list"}
	def := &workflow.Definition{Name: "w", OnFailure: workflow.OnFailureContinue, Tasks: []workflow.Task{list, fan, reader}}
	for b.Loop() {
		eval := counting{map[*workflow.Shared]int{}}
		m, err := engine.New(def, eval)
		if err != nil {
			b.Fatal(err)
		}
		now := workflow.At(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC))
		s := m.NewState(engine.Input{Run: workflow.NewRunID(now.Time(), [6]byte{}), CreatedAt: now})
		begin, first, slowest := time.Now(), time.Duration(0), time.Duration(0)
		events, zero := []engine.Event{{Kind: engine.Begin}}, 0
		for len(events) > 0 {
			e := events[0]
			events = events[1:]
			now = now.Add(time.Millisecond)
			e.At = now
			step := time.Now()
			commands := m.Step(s, e)
			slowest = max(slowest, time.Since(step))
			for _, c := range commands {
				switch c.Kind {
				case engine.Proceed:
					events = append(events, engine.Event{Kind: engine.Continue})
				case engine.Want:
					events = append(events, engine.Event{Kind: engine.Admit, Task: c.Task, Instance: c.Instance})
				case engine.StartAttempt:
					if c.Start.TaskNo == 1 && first == 0 {
						first = time.Since(begin)
					}
					events = append(events, engine.Event{Kind: engine.Ended, Attempt: c.Attempt, Outcome: &engine.Outcome{
						Kind: engine.OutcomeExited, ExitCode: &zero, Output: []byte(`{"n": ` + strconv.Itoa(size) + `}`),
					}})
				}
			}
		}
		if s.Head.Status != workflow.RunSucceeded || s.Tasks[1].Size != size {
			b.Fatalf("the run is %s with %d instances: %s", s.Head.Status, s.Tasks[1].Size, s.Head.Reason)
		}
		if len(eval.shared) != 1 {
			b.Fatalf("the reader was shown %d scopes, want one", len(eval.shared))
		}
		report(b, "the end of a task to the first start of 50,000 instances, in the engine", "s", []float64{first.Seconds()}, 2)
		report(b, "the slowest step of 50,000 instances and their reader", "s", []float64{slowest.Seconds()}, 2)
		report(b, "50,000 instances and their reader through the engine", "s", []float64{time.Since(begin).Seconds()}, 10)
	}
}

// BenchmarkEngineRetry takes a run of 100,000 instances up again of which every other one failed.
func BenchmarkEngineRetry(b *testing.B) {
	const size = 100000
	fan := plainTask("fan")
	fan.Count = &workflow.Expr{Kind: workflow.ExprValue, Text: strconv.Itoa(size)}
	fan.Policy.MinSuccess.Number = 1
	def := &workflow.Definition{
		Name: "w", OnFailure: workflow.OnFailureContinue, Tasks: []workflow.Task{fan, plainTask("bad"), plainTask("after", "fan")},
	}
	for b.Loop() {
		m, err := engine.New(def, stub{})
		if err != nil {
			b.Fatal(err)
		}
		now := workflow.At(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC))
		s := m.NewState(engine.Input{Run: workflow.NewRunID(now.Time(), [6]byte{}), CreatedAt: now})
		codes, again := [2]int{0, 1}, 0
		drain := func(events []engine.Event) {
			for len(events) > 0 {
				e := events[0]
				events = events[1:]
				now = now.Add(time.Millisecond)
				e.At = now
				for _, c := range m.Step(s, e) {
					switch c.Kind {
					case engine.Proceed:
						events = append(events, engine.Event{Kind: engine.Continue})
					case engine.Want:
						events = append(events, engine.Event{Kind: engine.Admit, Task: c.Task, Instance: c.Instance})
					case engine.StartAttempt:
						code := &codes[0]
						if again++; c.Start.Generation == 1 && c.Start.TaskNo < 2 {
							code = &codes[max(c.Start.Instance%2, c.Start.TaskNo)]
						}
						events = append(events, engine.Event{Kind: engine.Ended, Attempt: c.Attempt, Outcome: &engine.Outcome{
							Kind: engine.OutcomeExited, ExitCode: code,
						}})
					}
				}
			}
		}
		drain([]engine.Event{{Kind: engine.Begin}})
		again = 0
		begin := time.Now()
		drain([]engine.Event{{Kind: engine.Retry}, {Kind: engine.Begin}})
		if s.Head.Status != workflow.RunSucceeded || again != size/2+2 {
			b.Fatalf("the run is %s (%s) and %d attempts were made again", s.Head.Status, s.Head.Reason, again)
		}
		report(b, "a retry of 50,000 of 100,000 instances through the engine", "s", []float64{time.Since(begin).Seconds()}, 10)
	}
}

// BenchmarkParser holds a definition's way from text to Definition against the bare HCL parser on the same bytes.
func BenchmarkParser(b *testing.B) {
	for _, size := range []struct {
		tasks, lines int
		goal         float64
	}{{625, 5000, 0.5}, {10000, 80000, 4}} {
		b.Run(strconv.Itoa(size.lines)+"_lines", func(b *testing.B) {
			for b.Loop() {
				text := largeWorkflow(size.tasks)
				if lines := strings.Count(text, "\n"); lines < size.lines {
					b.Fatalf("the file has %d lines, want %d", lines, size.lines)
				}
				measureParser(b, text, size.goal)
			}
		})
	}
}
