// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/api"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.Local)

func second(n float64) time.Time { return noon.Add(time.Duration(n * float64(time.Second))) }

func ptr[T any](v T) *T { return &v }

// busy is a run in the middle: something of everything.
func busy() *api.Run {
	running := func(number int, start float64) api.Attempt {
		return api.Attempt{Number: number, Node: "worker-1", QueuedAt: second(start), StartedAt: second(start)}
	}
	failed := func(number int, code int, start, end float64) api.Attempt {
		return api.Attempt{
			Number: number, Verdict: "failed", ExitCode: ptr(code), Node: "worker-2", StartedAt: second(start), EndedAt: second(end),
		}
	}
	return &api.Run{
		ID: "abcdefghijklmnopqrst", Workflow: "nightly", Status: "running", StartedAt: second(0),
		Tasks: []api.Task{
			{Name: "done", Status: "succeeded", Instances: []api.Instance{{
				Status: "succeeded", Attempts: []api.Attempt{{Number: 1, Verdict: "succeeded", Node: "worker-1", StartedAt: second(0), EndedAt: second(1.5)}},
			}}},
			{Name: "work", Status: "running", Instances: []api.Instance{{Status: "running", Attempts: []api.Attempt{running(1, 2)}}}},
			{Name: "again", Status: "waiting", Instances: []api.Instance{{
				Status: "waiting", RetryAt: second(40), Attempts: []api.Attempt{failed(1, 75, 1, 2)},
			}}},
			{Name: "stuck", Status: "starting", Instances: []api.Instance{{
				Status: "starting", Attempts: []api.Attempt{{Number: 1, QueuedAt: second(5), Message: "no node has 64000 MB of memory"}},
			}}},
			{Name: "shard", Status: "running", StartedAt: second(1), Instances: []api.Instance{
				{Key: ptr("eu"), Index: 0, Status: "succeeded", Attempts: []api.Attempt{{Number: 1, Verdict: "succeeded", StartedAt: second(1), EndedAt: second(2)}}},
				{Key: ptr("us"), Index: 1, Status: "running", Attempts: []api.Attempt{running(2, 8)}},
				{Key: ptr("x\x1b[31m\n"), Index: 2, Status: "failed", Reason: "exit code 1", Attempts: []api.Attempt{failed(1, 1, 1, 3)}},
				{Key: ptr("later"), Index: 3, Status: "pending"},
			}},
			{Name: "many", Status: "running", StartedAt: second(1), InstanceCounts: map[string]int{"succeeded": 400, "running": 3, "pending": 597}},
			{Name: "caught", Status: "failed", Recovered: true, Instances: []api.Instance{{
				Status: "failed", Reason: "exit code 4", Attempts: []api.Attempt{failed(1, 4, 0, 1)},
			}}},
			{Name: "later", Status: "pending", Reason: "waits for work", Instances: []api.Instance{{Status: "pending", Reason: "waits for work"}}},
			{Name: "unknown_yet", Status: "pending", Instances: []api.Instance{}},
		},
	}
}

func TestTheTableFitsItsTerminal(t *testing.T) {
	var b strings.Builder
	for _, size := range []struct{ width, height int }{{100, 30}, {60, 30}, {100, 8}, {20, 5}, {1, 1}} {
		rows := table(busy(), nil, second(10), screen{}, size.width, size.height)
		for _, row := range rows {
			if n := utf8.RuneCountInString(row); n > max(size.width-1, 0) {
				t.Errorf("%dx%d: a row has %d columns: %q", size.width, size.height, n, row)
			}
		}
		if len(rows) > max(size.height, 3) {
			t.Errorf("%dx%d: %d rows", size.width, size.height, len(rows))
		}
		fmt.Fprintf(&b, "-- %dx%d --\n%s\n", size.width, size.height, strings.Join(rows, "\n"))
	}
	goldenInside(t, "table.txt", b.String())
}

func TestColoursAreOnlyPaint(t *testing.T) {
	plainRows := strings.Join(table(busy(), nil, second(10), screen{}, 100, 30), "\n")
	painted := strings.Join(table(busy(), nil, second(10), screen{color: true}, 100, 30), "\n")
	if !strings.Contains(painted, "\x1b[32msucceeded\x1b[0m") {
		t.Errorf("no colour in:\n%q", painted)
	}
	var bare strings.Builder
	for rest := painted; rest != ""; {
		before, after, found := strings.Cut(rest, "\x1b[")
		bare.WriteString(before)
		if !found {
			break
		}
		_, rest, _ = strings.Cut(after, "m")
	}
	trim := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if diff := cmp.Diff(trim(plainRows), trim(bare.String())); diff != "" {
		t.Errorf("with and without colour (-without +with):\n%s", diff)
	}
}

func TestLinesTellEachTransitionOnce(t *testing.T) {
	run := busy()
	var out bytes.Buffer
	l := &lines{out: &out}
	l.show(run, nil, second(10))
	l.show(run, nil, second(11)) // nothing new
	// Between two readings an attempt failed, another one began and ended, and the fan-out went on.
	again := &run.Tasks[2]
	again.Status, again.Instances[0].Status = "succeeded", "succeeded"
	again.Instances[0].Attempts = append(again.Instances[0].Attempts,
		api.Attempt{Number: 2, Verdict: "succeeded", Node: "worker-3", StartedAt: second(12), EndedAt: second(13)})
	run.Tasks[3].Instances[0].Attempts[0].Message = "no node has 32000 MB of memory"
	run.Tasks[5].InstanceCounts = map[string]int{"succeeded": 500, "pending": 500}
	l.show(run, nil, second(14))
	l.note("Ctrl-C: stopping.", second(15))
	for n := range run.Tasks {
		if !api.Over(run.Tasks[n].Status) {
			run.Tasks[n].Status, run.Tasks[n].EndedAt = "cancelled", second(16)
			for i := range run.Tasks[n].Instances {
				in := &run.Tasks[n].Instances[i]
				if api.Over(in.Status) {
					continue
				}
				in.Status, in.EndedAt = "cancelled", second(16)
				if k := len(in.Attempts) - 1; k >= 0 {
					in.Attempts[k].Verdict, in.Attempts[k].EndedAt = "cancelled", second(16)
				}
			}
		}
	}
	run.Status, run.Reason, run.EndedAt = "cancelled", "stopped by ada", second(16)
	l.show(run, nil, second(17))
	goldenInside(t, "lines.txt", out.String())
}

func TestLinesAfterAResumeTellOnlyNews(t *testing.T) {
	var out bytes.Buffer
	l := &lines{out: &out}
	l.skip(busy())
	run := busy()
	work := &run.Tasks[1]
	work.Status, work.Instances[0].Status = "succeeded", "succeeded"
	work.Instances[0].Attempts[0].Verdict, work.Instances[0].Attempts[0].EndedAt = "succeeded", second(9) // while nobody looked
	l.show(run, nil, second(20))
	if want := "12:00:09 work #1 succeeded after 7.0s\n"; out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}

func TestSentences(t *testing.T) {
	for in, want := range map[string]string{
		"open store: no such file":       "Open store: no such file.",
		"NOMAD_ADDR is not set":          "NOMAD_ADDR is not set.",
		"/tmp/x: permission denied":      "/tmp/x: permission denied.",
		"did you mean it?":               "Did you mean it?",
		"x.hcl: line 3":                  "x.hcl: line 3.",
		" ":                              "Something went wrong, and nobody said what.",
		"there is no run; list the runs": "There is no run; list the runs.",
	} {
		if got := sentence(fmt.Errorf("%s", in)); got != want {
			t.Errorf("sentence(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 0: "0ms", 12 * time.Millisecond: "12ms", 400 * time.Millisecond: "0.4s", 9940 * time.Millisecond: "9.9s",
		9960 * time.Millisecond: "10s", 59600 * time.Millisecond: "1m00s", 185 * time.Second: "3m05s", 59*time.Minute + 59*time.Second + 600*time.Millisecond: "1h00m",
		26 * time.Hour: "1d02h",
	} {
		if got := lasting(d); got != want {
			t.Errorf("lasting(%s) = %s, want %s", d, got, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for status, want := range map[string]int{"succeeded": 0, "failed": 1, "cancelled": 3, "skipped": 5} {
		if got := exitOf(status); got != want {
			t.Errorf("%s: %d, want %d", status, got, want)
		}
	}
}

func TestWordsAreQuotedForAShell(t *testing.T) {
	for in, want := range map[string]string{"eu": "eu", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := quoteWord(in); got != want {
			t.Errorf("quoteWord(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestValuesInASummary(t *testing.T) {
	got := outputLines(map[string]json.RawMessage{
		"b": json.RawMessage(`"a<b\u003e"`), "long_name": json.RawMessage(`12345678901234567890`), "s": json.RawMessage(`"(sensitive)"`),
		"x": json.RawMessage(`"` + strings.Repeat("x", 300) + `"`),
	})
	want := "  b         = \"a<b>\"\n  long_name = 12345678901234567890\n  s         = (sensitive)\n  x         = \"" + strings.Repeat("x", 198) + "…\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLastLinesOfALog(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc", 2, "b\nc"}, {"a\n", 5, "a\n"}, {"", 1, ""}, {"\n\n\n", 1, "\n"},
		{"a\nb\n", 0, ""}, {"a\nb", 0, ""}, {"", 0, ""},
		{strings.Repeat("x", 200_000) + "\nlast\n", 1, "last\n"},
	} {
		skip, err := lastLines(strings.NewReader(c.text), c.n)
		if err != nil || c.text[skip:] != c.want {
			t.Errorf("last %d of %.20q: %.40q, %v; want %q", c.n, c.text, c.text[skip:], err, c.want)
		}
	}
}
