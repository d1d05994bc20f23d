// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package ledger

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// A run of two tasks, the second of which needs three attempts, and the fence of everything grows.
func sound() ([]Line, map[string]any, Expect) {
	line := func(n int, task string, attempt int, event Event, exit int) Line {
		return Line{Run: "r", Task: task, Attempt: attempt, Fence: int64(100 + attempt), PID: 10 + attempt, Event: event, Exit: exit, At: int64(n)}
	}
	lines := []Line{
		line(1, "a", 1, Begin, 0), line(2, "a", 1, End, 0),
		line(3, "b", 1, Begin, 0), line(4, "b", 1, End, Passing),
		line(5, "b", 2, Begin, 0), line(6, "b", 2, End, Passing),
		line(7, "b", 3, Begin, 0), line(8, "b", 3, End, 0),
	}
	tried := func(number int, verdict string, exit any) any {
		return map[string]any{"number": number, "verdict": verdict, "exit_code": exit}
	}
	task := func(name string, tries ...any) any {
		return map[string]any{"name": name, "status": "succeeded", "instances": []any{map[string]any{"key": nil, "attempts": tries}}}
	}
	document := map[string]any{
		"id": "r", "status": "succeeded", "ended_at": time.Unix(0, 9), "generation": 1,
		"tasks": []any{
			task("a", tried(1, "succeeded", 0)),
			task("b", tried(1, "failed", 75), tried(2, "failed", 75), tried(3, "succeeded", 0)),
		},
	}
	return lines, document, Expect{
		Status: "succeeded", Tasks: map[string]string{"a": "succeeded", "b": "succeeded"},
		After: map[string][]string{"b": {"a"}}, Tries: map[string]int{"b": 3},
	}
}

// attemptIn finds an attempt in the document of sound.
func attemptIn(document map[string]any, task, number int) map[string]any {
	in := document["tasks"].([]any)[task].(map[string]any)["instances"].([]any)[0].(map[string]any)
	return in["attempts"].([]any)[number-1].(map[string]any)
}

func judged(t *testing.T, lines []Line, document map[string]any, expect Expect) []string {
	t.Helper()
	b, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	run, err := ParseRun(b)
	if err != nil {
		t.Fatal(err)
	}
	return Judge(Evidence{Lines: lines, Run: run}, expect)
}

func TestASoundLedgerPasses(t *testing.T) {
	if wrong := judged2(t, nil); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
}

// judged2 judges the sound run after it was tampered with.
func judged2(t *testing.T, tamper func(lines *[]Line, document map[string]any, expect *Expect)) []string {
	t.Helper()
	lines, document, expect := sound()
	if tamper != nil {
		tamper(&lines, document, &expect)
	}
	return judged(t, lines, document, expect)
}

func TestTheJudgeFindsWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		tamper func(lines *[]Line, document map[string]any, expect *Expect)
		want   string
	}{
		"an attempt runs twice": {func(l *[]Line, _ map[string]any, _ *Expect) {
			*l = slices.Insert(*l, 2, (*l)[0], (*l)[1])
		}, "a #1 began 2 times, lines [1 3]"},
		"a begin is doubled": {func(l *[]Line, _ map[string]any, _ *Expect) {
			*l = slices.Insert(*l, 1, (*l)[0])
		}, "a #1 began 2 times"},
		"an end is doubled": {func(l *[]Line, _ map[string]any, _ *Expect) {
			*l = slices.Insert(*l, 2, (*l)[1])
		}, "a #1 ended 2 times"},
		"an end is missing": {func(l *[]Line, _ map[string]any, _ *Expect) {
			*l = slices.Delete(*l, 1, 2)
		}, "the document says that a #1 succeeded, and it never ended"},
		"a begin is missing": {func(l *[]Line, _ map[string]any, _ *Expect) {
			*l = slices.Delete(*l, 0, 1)
		}, "a #1 ended, line 1, without having begun"},
		"a success never ran": {func(l *[]Line, _ map[string]any, _ *Expect) {
			*l = (*l)[2:]
		}, "the document says that a #1 succeeded, and it never began"},
		"a failure never ran": {func(l *[]Line, _ map[string]any, _ *Expect) {
			*l = slices.Delete(*l, 2, 4)
		}, "the document says that b #1 failed, and it never began"},
		"an attempt that ran is not in the document": {func(_ *[]Line, d map[string]any, _ *Expect) {
			in := d["tasks"].([]any)[1].(map[string]any)["instances"].([]any)[0].(map[string]any)
			in["attempts"] = in["attempts"].([]any)[:2]
		}, "b #3 ran, line 7, and is not in the document"},
		"attempts overlap by their lines": {func(l *[]Line, _ map[string]any, _ *Expect) {
			(*l)[3], (*l)[4] = (*l)[4], (*l)[3]
		}, "b #2 began, line 4, before b #1 had ended, line 5"},
		"attempts overlap by their lock": {func(l *[]Line, _ map[string]any, _ *Expect) {
			(*l)[4].Overlap = true
		}, "b #2 began, line 5, while another process of its instance was alive"},
		"a fence is used again": {func(l *[]Line, _ map[string]any, _ *Expect) {
			(*l)[4].Fence, (*l)[5].Fence = 101, 101
		}, "b #2 began, line 5, under fence 101 after one under 101"},
		"a fence falls": {func(l *[]Line, _ map[string]any, _ *Expect) {
			(*l)[6].Fence, (*l)[7].Fence = 7, 7
		}, "b #3 began, line 7, under fence 7 after one under 102"},
		"a process ends another's attempt": {func(l *[]Line, _ map[string]any, _ *Expect) {
			(*l)[1].PID = 99
		}, "began as process 11 under fence 101 and ended as process 99"},
		"an older attempt begins late": {func(l *[]Line, _ map[string]any, _ *Expect) {
			late := (*l)[2]
			late.Fence = 500
			*l = append(*l, late)
		}, "b #1 began, line 9, after attempt 3"},
		"a task begins before its predecessor has ended": {func(l *[]Line, _ map[string]any, _ *Expect) {
			(*l)[1], (*l)[2] = (*l)[2], (*l)[1]
		}, "b began, line 2, and its predecessor a still wrote line 3"},
		"a failure is called success": {func(l *[]Line, _ map[string]any, _ *Expect) {
			(*l)[1].Exit = 3
		}, "a #1 exited with code 3 and is called succeeded"},
		"the exit code differs": {func(_ *[]Line, d map[string]any, _ *Expect) {
			attemptIn(d, 1, 1)["exit_code"] = 74
		}, "b #1 exited with code 75, the document says 74"},
		"a signal is invented": {func(_ *[]Line, d map[string]any, _ *Expect) {
			attemptIn(d, 1, 1)["signal"] = 9
		}, "says that b #1 died of signal 9, and it ended by itself, line 4"},
		"an attempt has no verdict": {func(_ *[]Line, d map[string]any, _ *Expect) {
			attemptIn(d, 1, 3)["verdict"] = ""
		}, "the run has ended, and b #3 has no verdict"},
		"an attempt is lost although nothing was killed": {func(_ *[]Line, d map[string]any, e *Expect) {
			attemptIn(d, 1, 2)["verdict"] = "lost"
			e.Tries["b"] = 2
		}, "b #2 was lost"},
		"an attempt ends in a way that nothing caused": {func(_ *[]Line, d map[string]any, _ *Expect) {
			attemptIn(d, 1, 2)["verdict"] = "interrupted"
		}, `b #2 ended "interrupted"`},
		"there is an attempt too many": {func(_ *[]Line, _ map[string]any, e *Expect) {
			e.Tries["b"] = 2
		}, "b has 3 attempts that ended, want 2"},
		"a number is left out": {func(_ *[]Line, d map[string]any, _ *Expect) {
			attemptIn(d, 1, 3)["number"] = 4
		}, "the attempts of b are [1 2 4]"},
		"the document has an attempt twice": {func(_ *[]Line, d map[string]any, _ *Expect) {
			attemptIn(d, 1, 3)["number"] = 2
		}, "the document lists b #2 twice"},
		"the run ends otherwise": {func(_ *[]Line, d map[string]any, _ *Expect) {
			d["status"], d["reason"] = "failed", "b failed"
		}, `the run ended "failed" (b failed), want "succeeded"`},
		"a task ends otherwise": {func(_ *[]Line, d map[string]any, _ *Expect) {
			d["tasks"].([]any)[0].(map[string]any)["status"] = "omitted"
		}, `task a ended "omitted" (), want "succeeded"`},
		"a task is missing": {func(_ *[]Line, _ map[string]any, e *Expect) {
			e.Tasks["c"] = "succeeded"
		}, "the document does not list task c"},
		"a task is invented": {func(_ *[]Line, _ map[string]any, e *Expect) {
			delete(e.Tasks, "a")
		}, "the document lists task a, which nobody wrote"},
		"a task that should not run does": {func(_ *[]Line, _ map[string]any, e *Expect) {
			e.Silent = []string{"a"}
		}, "a #1 ran, line 1, and should not have"},
		"something runs after the end": {func(_ *[]Line, d map[string]any, _ *Expect) {
			d["ended_at"] = time.Unix(0, 7)
		}, "b #3 wrote line 8 1ns after the end of the run"},
		"the run has no end": {func(_ *[]Line, d map[string]any, _ *Expect) {
			delete(d, "ended_at")
		}, "does not say when the run ended"},
		"a line is of another run": {func(l *[]Line, _ map[string]any, _ *Expect) {
			(*l)[0].Run = "s"
		}, "line 1 is of run s, which no document names"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			wrong := judged2(t, test.tamper)
			if !slices.ContainsFunc(wrong, func(w string) bool { return strings.Contains(w, test.want) }) {
				t.Errorf("got:\n%s\nwanted a line with: %s", strings.Join(wrong, "\n"), test.want)
			}
		})
	}
}

func TestALostAttemptIsAllowedWhereSaid(t *testing.T) {
	lose := func(l *[]Line, d map[string]any, e *Expect) {
		attemptIn(d, 1, 2)["verdict"], attemptIn(d, 1, 2)["exit_code"] = "lost", nil
		e.Lost, e.Tries["b"] = true, 2
	}
	cut := func(from, to int) func(*[]Line, map[string]any, *Expect) {
		return func(l *[]Line, d map[string]any, e *Expect) {
			lose(l, d, e)
			*l = slices.Delete(*l, from, to)
		}
	}
	for name, tamper := range map[string]func(*[]Line, map[string]any, *Expect){
		"it was killed while it ran": cut(5, 6),
		"it never began":             cut(4, 6),
		"it failed for now and nobody knew": func(l *[]Line, d map[string]any, e *Expect) {
			lose(l, d, e)
			e.Tries["b"] = 3
		},
		"it succeeded and nobody knew": func(l *[]Line, d map[string]any, e *Expect) {
			lose(l, d, e)
			(*l)[5].Exit = 0
		},
		"it failed for good and nobody knew": func(l *[]Line, d map[string]any, e *Expect) {
			lose(l, d, e)
			(*l)[5].Exit = 3
		},
	} {
		t.Run(name, func(t *testing.T) {
			if wrong := judged2(t, tamper); len(wrong) > 0 {
				t.Error(strings.Join(wrong, "\n"))
			}
		})
	}
	t.Run("but not twice", func(t *testing.T) {
		wrong := judged2(t, func(l *[]Line, d map[string]any, e *Expect) {
			lose(l, d, e)
			*l = slices.Insert(*l, 6, (*l)[4], (*l)[5])
		})
		if len(wrong) == 0 {
			t.Error("got nothing wrong, wanted a doubled attempt")
		}
	})
}

// What waits for a task that was stopped before its first line begins after what that task waited for.
func TestATaskThatWasStoppedBeforeItsFirstLine(t *testing.T) {
	const unseen = "c began, line 3, and b has no line at all"
	stopped := func(lost bool, verdicts []string, tamper func(l *[]Line)) []string {
		return judged2(t, func(l *[]Line, d map[string]any, e *Expect) {
			*l = slices.Delete(*l, 2, 8)
			for n, verdict := range verdicts {
				attemptIn(d, 1, n+1)["verdict"], attemptIn(d, 1, n+1)["exit_code"] = verdict, nil
			}
			task := map[string]any{"name": "c", "status": "succeeded", "instances": []any{map[string]any{
				"key": nil, "attempts": []any{map[string]any{"number": 1, "verdict": "succeeded", "exit_code": 0}},
			}}}
			d["tasks"] = append(d["tasks"].([]any), task)
			e.Tasks["c"], e.After["c"], e.Lost = "succeeded", []string{"b"}, lost
			if lost {
				e.Tries["b"] = 2
			}
			for i, event := range []Event{Begin, End} {
				*l = append(*l, Line{Run: "r", Task: "c", Attempt: 1, Fence: 200, PID: 20, Event: event, At: int64(3 + i)})
			}
			if tamper != nil {
				tamper(l)
			}
		})
	}
	for _, verdicts := range [][]string{
		{"timed_out", "timed_out", "timed_out"}, {"cancelled", "cancelled", "cancelled"}, {"lost", "timed_out", "cancelled"},
	} {
		lost := slices.Contains(verdicts, "lost")
		if wrong := stopped(lost, verdicts, nil); len(wrong) > 0 {
			t.Errorf("%s: %s", verdicts, strings.Join(wrong, "\n"))
		}
		wrong := stopped(lost, verdicts, func(l *[]Line) { (*l)[1], (*l)[2] = (*l)[2], (*l)[1] })
		if want := "c began, line 2, and its predecessor a still wrote line 3"; !slices.Contains(wrong, want) {
			t.Errorf("%s: got %q, want %q", verdicts, wrong, want)
		}
	}
	for _, verdicts := range [][]string{{"succeeded", "succeeded", "succeeded"}, {"lost", "timed_out", "timed_out"}} {
		if wrong := stopped(false, verdicts, nil); !slices.Contains(wrong, unseen) {
			t.Errorf("%s: got %q, want %q", verdicts, wrong, unseen)
		}
	}
}

func TestLinesOfManyWritersStayWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	var writers sync.WaitGroup
	const each = 50
	for w := range 8 {
		writers.Go(func() {
			for n := range each {
				err := Append(path, Line{Run: "r", Task: "t", Key: fmt.Sprint(w), Attempt: n + 1, Fence: 1, PID: 1, Event: Begin, At: 1})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	lines, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 8*each {
		t.Errorf("got %d lines, want %d", len(lines), 8*each)
	}
}

func TestALineThatIsBeingWrittenIsNotThereYet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	line := Line{Run: "r", Task: "t", Attempt: 1, Fence: 1, PID: 1, Event: Begin, At: 1}
	if err := Append(path, line); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if err := os.WriteFile(path, append(slices.Clone(whole), whole[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if lines, err := Read(path); err != nil || len(lines) != 1 {
			t.Errorf("with %d bytes of the next line: %d lines, %v, want 1", cut, len(lines), err)
		}
	}
}

func TestAZombieIsNotAlive(t *testing.T) {
	if !Alive(os.Getpid()) {
		t.Error("this process is not alive")
	}
	cmd := exec.Command("/bin/cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !Alive(cmd.Process.Pid) {
		t.Error("a process that waits is not alive")
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	var info [128]byte
	// P_PID, WEXITED | WNOWAIT: returns when the process has ended, and leaves the zombie.
	if _, _, e := syscall.Syscall6(syscall.SYS_WAITID, 1, uintptr(cmd.Process.Pid), uintptr(unsafe.Pointer(&info)), 0x4|0x01000000, 0, 0); e != 0 {
		t.Fatal(e)
	}
	if Alive(cmd.Process.Pid) {
		t.Error("a zombie is alive")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if Alive(cmd.Process.Pid) {
		t.Error("a reaped process is alive")
	}
}

func TestABrokenLineIsNoEvidence(t *testing.T) {
	whole := `{"run":"r","task":"t","key":"","attempt":1,"fence":1,"pid":1,"event":"begin","at":1,"exit":0}`
	parse := func(text string) error { return each(strings.NewReader(text), func(Line) {}) }
	if err := parse(whole + "\n"); err != nil {
		t.Errorf("a whole line: %v", err)
	}
	call := `{"run":"r","task":"t","key":"","attempt":1,"fence":0,"pid":0,"event":"call","at":1,"exit":0,"method":"GET","idempotency":"k"}`
	if err := parse(call + "\n"); err != nil {
		t.Errorf("a whole call: %v", err)
	}
	for _, text := range []string{strings.Replace(call, "GET", "", 1), strings.Replace(whole, "{", `{"method":"GET",`, 1), whole[:20], "{}", strings.Replace(whole, "begin", "middle", 1), strings.Replace(whole, "fence", "hence", 1)} {
		if err := parse(whole + "\n" + text + "\n"); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: got error %v, wanted one about line 2", text, err)
		}
	}
}

func TestTheLedgerKnowsNothingOfCairn(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			if strings.Contains(spec.Path.Value, ".") {
				t.Errorf("%s imports %s; only the standard library is allowed", file, spec.Path.Value)
			}
		}
	}
}
