// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/cli"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain lets the test program be cairn itself, for what needs a process of its own: the supervisor, and a cairn that is
// killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "supervise" || os.Getenv("CAIRN_TEST_IS_CAIRN") != "" {
		os.Exit(cli.Run(os.Args[1:]))
	}
	os.Exit(cluster.Run(m))
}

// console is a user with a state folder of their own.
type console struct {
	t       *testing.T
	env     map[string]string
	stdin   string
	signals chan os.Signal
	now     func() time.Time
	// heard is told of everything that is written to standard output, at once.
	heard func(text string)
	// broken takes the place of standard output; nil = what is written is kept.
	broken io.Writer
}

func newConsole(t *testing.T) *console {
	t.Helper()
	return &console{
		t:       t,
		env:     map[string]string{"CAIRN_STATE_DIR": t.TempDir(), "USER": "ada", "TERM": "xterm"},
		signals: make(chan os.Signal, 8),
		now:     time.Now,
	}
}

// result is what a command left.
type result struct {
	code           int
	stdout, stderr string
}

// all is everything a person sees, for golden files.
func (r result) all(t *testing.T) string {
	t.Helper()
	code := map[int]string{0: "0", 1: "1", 2: "2", 3: "3", 4: "4", 5: "5"}[r.code]
	return "-- stdout --\n" + r.stdout + "-- stderr --\n" + r.stderr + "-- exit " + code + " --\n"
}

// writer collects output that several goroutines write.
type writer struct {
	mu    sync.Mutex // guards buf
	buf   bytes.Buffer
	heard func(string)
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if w.heard != nil {
		w.heard(string(p))
	}
	return len(p), nil
}

func (c *console) run(args ...string) result {
	c.t.Helper()
	stdout, stderr := &writer{heard: c.heard}, &writer{}
	var out io.Writer = stdout
	if c.broken != nil {
		out = c.broken
	}
	app := &cli.App{
		Stdin: strings.NewReader(c.stdin), Stdout: out, Stderr: stderr,
		Getenv:  func(name string) string { return c.env[name] },
		Now:     c.now,
		Signals: c.signals,
	}
	code := app.Run(args)
	return result{code, stdout.buf.String(), stderr.buf.String()}
}

// newestID is the ID of the newest run.
func (c *console) newestID() string {
	c.t.Helper()
	r := c.run("runs", "list", "-json", "-limit", "1")
	var list struct{ Runs []struct{ ID string } }
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list.Runs) != 1 {
		c.t.Fatalf("list: %v\n%s%s", err, r.stdout, r.stderr)
	}
	return list.Runs[0].ID
}

var (
	timePattern     = regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`)
	momentPattern   = regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| [A-Z+\-0-9]+)`)
	durationPattern = regexp.MustCompile(`\b(\d+ms|\d+\.\ds|\d+s)\b`)
	idPattern       = regexp.MustCompile(`\b[a-z2-7]{20}\b`)
	hashPattern     = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	pidPattern      = regexp.MustCompile(`(process |"pid": )\d+`)
	spacePattern    = regexp.MustCompile(` {2,}`)
)

// steady replaces what differs from run to run.
func (c *console) steady(text string) string {
	host, err := os.Hostname()
	if err != nil {
		c.t.Fatal(err)
	}
	text = strings.ReplaceAll(text, c.env["CAIRN_STATE_DIR"], "STATE")
	text = regexp.MustCompile(`\b`+regexp.QuoteMeta(host)+`\b`).ReplaceAllString(text, "HOST")
	text = momentPattern.ReplaceAllString(text, "MOMENT")
	text = timePattern.ReplaceAllString(text, "TIME")
	text = durationPattern.ReplaceAllString(text, "DURATION")
	text = hashPattern.ReplaceAllString(text, "HASH")
	text = pidPattern.ReplaceAllString(text, "${1}PID")
	return idPattern.ReplaceAllString(text, "ID")
}

// narrow collapses columns, whose width depends on what steady replaces.
func narrow(text string) string { return spacePattern.ReplaceAllString(text, "  ") }

// golden compares with a file under testdata/golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); -update writes it anew:\n%s", path, diff)
	}
}

// sorted sorts the lines that begin with a time: tasks that run side by side end in any order. Whether a backoff is seen
// before it is over is a matter of time, too.
func sorted(text string) string {
	text = strings.ReplaceAll(text, "; tries again in DURATION", "")
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		for j := i + 1; j < len(lines) && strings.HasPrefix(lines[i], "TIME ") && strings.HasPrefix(lines[j], "TIME "); j++ {
			if lines[j] < lines[i] {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return strings.Join(lines, "")
}

func TestHelpOfEveryCommand(t *testing.T) {
	c := newConsole(t)
	var b strings.Builder
	for _, args := range [][]string{
		{"-h"}, {"run", "-h"}, {"validate", "-h"}, {"fmt", "-h"}, {"graph", "-h"}, {"plan", "-h"}, {"render", "-h"}, {"runs", "-h"},
		{"runs", "list", "-h"}, {"runs", "show", "-h"}, {"runs", "logs", "-h"}, {"runs", "watch", "-h"}, {"runs", "stop", "-h"},
		{"runs", "terminate", "-h"}, {"runs", "pause", "-h"}, {"runs", "resume", "-h"}, {"runs", "retry", "-h"}, {"runs", "rerun", "-h"},
		{"runs", "approve", "-h"}, {"runs", "reject", "-h"}, {"task", "-h"}, {"task", "retry", "-h"}, {"task", "skip", "-h"},
		{"task", "succeed", "-h"}, {"task", "cancel", "-h"}, {"workflow", "-h"}, {"workflow", "apply", "-h"},
		{"workflow", "list", "-h"}, {"workflow", "show", "-h"}, {"workflow", "versions", "-h"}, {"workflow", "delete", "-h"},
		{"workflow", "run", "-h"}, {"version", "-h"},
	} {
		r := c.run(args...)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%v: exit %d, stderr %q", args, r.code, r.stderr)
		}
		b.WriteString("$ cairn " + strings.Join(args, " ") + "\n" + r.stdout + "\n")
	}
	golden(t, "help.txt", b.String())
}

func TestBadArgumentsSaySo(t *testing.T) {
	c := newConsole(t)
	var b strings.Builder
	for _, args := range [][]string{
		{},
		{"rnu"},
		{"runs"},
		{"runs", "lst"},
		{"task", "kill"},
		{"frobnicate", "-h"},
		{"run"},
		{"run", "-lcoal", "x.hcl"},
		{"run", "-local", "-nomad", "x.hcl"},
		{"run", "-local", "x.hcl", "y.hcl"},
		{"run", "-local", "-param", "x", "x.hcl"},
		{"run", "-local", "-param"},
		{"run", "-local", "-detach", "x.hcl"},
		{"run", "-local", "-key", "", "x.hcl"},
		{"run", "-resume", "abcdefghijklmnopqrst", "x.hcl"},
		{"run", "-resume", "abcdefghijklmnopqrst", "-param", "x=1"},
		{"run", "-resume", "7"},
		{"run", "-local", "no-such-file.hcl"},
		{"validate"},
		{"validate", "a", "b"},
		{"graph", "-dot", "-mermaid", "testdata/flow.hcl"},
		{"graph", "testdata/two.hcl"},
		{"plan", "-local", "-nomad", "testdata/flow.hcl"},
		{"plan", "-nmad", "testdata/flow.hcl"},
		{"render", "-instance", "eu", "testdata/flow.hcl"},
		{"render", "-task", "nothing", "testdata/flow.hcl"},
		{"runs", "list", "extra"},
		{"runs", "list", "-status", "done"},
		{"runs", "list", "-since", "yesterday"},
		{"runs", "list", "-limit", "-1"},
		{"runs", "list", "-limit", "many"},
		{"runs", "show"},
		{"runs", "show", "nope"},
		{"runs", "show", "abcdefghijklmnopqrst"},
		{"runs", "show", "-status", "failed", "abcdefghijklmnopqrst"},
		{"runs", "show", "-task", "extract", "-status", "bogus", "abcdefghijklmnopqrst"},
		{"runs", "logs", "abcdefghijklmnopqrst"},
		{"runs", "logs", "-attempt", "-1", "abcdefghijklmnopqrst", "t"},
		{"runs", "logs", "-tail", "-1", "abcdefghijklmnopqrst", "t"},
		{"runs", "logs", "-tail", "few", "abcdefghijklmnopqrst", "t"},
		{"runs", "stop", "abcdefghijklmnopqrst"},
		{"runs", "retry"},
		{"runs", "retry", "-paln", "abcdefghijklmnopqrst"},
		{"runs", "rerun", "-param", "x", "abcdefghijklmnopqrst"},
		{"runs", "rerun", "-from", "", "abcdefghijklmnopqrst"},
		{"runs", "rerun", "-key", "", "abcdefghijklmnopqrst"},
		{"runs", "rerun", "abcdefghijklmnopqrst", "load"},
		{"runs", "approve", "-input", "=x", "abcdefghijklmnopqrst"},
		{"runs", "approve", "-comment", "a", "-reason", "b", "abcdefghijklmnopqrst"},
		{"runs", "reject", "-input", "a=b", "abcdefghijklmnopqrst"},
		{"runs", "approv", "abcdefghijklmnopqrst"},
		{"task", "succeed", "-output", "rows", "abcdefghijklmnopqrst", "load"},
		{"task", "retry", "abcdefghijklmnopqrst"},
		{"task", "skip", "abcdefghijklmnopqrst", "load", "extract"},
		{"task", "cancel", "abcdefghijklmnopqrst"},
		{"workflow"},
		{"workflow", "aply", "x"},
		{"workflow", "apply"},
		{"workflow", "apply", "-json", "testdata/flow.hcl"},
		{"workflow", "apply", "testdata/flow.hcl"},
		{"workflow", "list", "extra"},
		{"workflow", "list"},
		{"workflow", "show", "-version", "0", "flow"},
		{"workflow", "show", "-version", "two", "flow"},
		{"workflow", "run", "-key", "", "flow"},
		{"workflow", "run", "-param-file", "testdata/params-bad.hcl", "flow"},
		{"workflow", "delete"},
		{"version", "extra"},
	} {
		r := c.run(args...)
		if r.code == 0 {
			t.Errorf("%v: exit 0", args)
		}
		b.WriteString("$ cairn " + strings.Join(args, " ") + "\n" + c.steady(r.all(t)) + "\n")
	}
	golden(t, "bad-arguments.txt", b.String())
}

func TestAServerThatDoesNotAnswerIsNamed(t *testing.T) {
	c := newConsole(t)
	c.env["CAIRN_ADDR"] = "http://127.0.0.1:1"
	for _, args := range [][]string{
		{"run", "testdata/flow.hcl"}, {"runs", "list"}, {"runs", "show", "abcdefghijklmnopqrst"}, {"workflow", "list"},
		{"workflow", "apply", "-auto-approve", "testdata/flow.hcl"}, {"workflow", "run", "flow"}, {"workflow", "delete", "-yes", "flow"},
	} {
		r := c.run(args...)
		if want := "No Cairn answers at http://127.0.0.1:1: the connection was refused"; r.code != 4 || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit %d, stderr %q, want %q", args, r.code, r.stderr, want)
		}
	}
	// A plan is one without it.
	r := c.run("plan", "-param", "who=x", "testdata/flow.hcl")
	want := "What would change at the server is not known: no Cairn answers at http://127.0.0.1:1"
	if r.code != 0 || !strings.Contains(r.stderr, want) || strings.Contains(r.stdout, "At the server") {
		t.Errorf("plan: exit %d, stderr %q, want %q", r.code, r.stderr, want)
	}
	if r := c.run("plan", "-local", "-param", "who=x", "testdata/flow.hcl"); r.code != 0 || r.stderr != "" {
		t.Errorf("plan -local: exit %d, stderr %q", r.code, r.stderr)
	}
	if r := c.run("run", "-resume", "abcdefghijklmnopqrst"); r.code != 2 || !strings.Contains(r.stderr, "need no process of yours") {
		t.Errorf("resume: exit %d, stderr %q", r.code, r.stderr)
	}
}

func TestAnAgentSaysWhatIsWrongInItsConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cairn.hcl")
	if err := os.WriteFile(path, []byte("log_level = \"LOUD\"\nhtpp {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"agent"}, []string{"it needs -config PATH, or -dev"}},
		{[]string{"agent", "x"}, []string{"it takes no arguments"}},
		{[]string{"agent", "-config", path}, []string{
			"on " + path + " line 1:", `log_level: "LOUD": want one of TRACE, DEBUG, INFO, WARN, ERROR.`, `Did you mean "http"?`,
		}},
		{[]string{"agent", "-config", path + "x"}, []string{"Configuration cannot be read", "file or directory."}},
		{[]string{"agent", "-config", os.DevNull}, []string{"data_dir is not set"}},
	} {
		r := newConsole(t).run(c.args...)
		for _, want := range c.want {
			if r.code != 2 || !strings.Contains(r.stderr, want) {
				t.Errorf("%v: exit %d, stderr\n%s\nwant in it: %s", c.args, r.code, r.stderr, want)
			}
		}
	}
}

func TestRootHasToSayLocal(t *testing.T) {
	if os.Geteuid() != 0 {
		return // everybody else may leave it away, as the examples' test does
	}
	r := newConsole(t).run("run", "testdata/flow.hcl")
	if r.code != 2 || !strings.Contains(r.stderr, "say -local") {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
}

func TestVersion(t *testing.T) {
	c := newConsole(t)
	for _, args := range [][]string{{"version"}, {"-version"}} {
		if r := c.run(args...); r.code != 0 || !strings.HasPrefix(r.stdout, "cairn "+cli.Version) {
			t.Errorf("%v: exit %d, %q", args, r.code, r.stdout)
		}
	}
	r := c.run("version", "-json")
	var doc struct{ Version, Go, Platform string }
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || doc.Version != cli.Version || doc.Go == "" || doc.Platform == "" {
		t.Errorf("%v: %s", err, r.stdout)
	}
}
