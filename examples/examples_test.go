// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package examples_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/cli"
)

// TestMain lets the test program be the supervisor of its runs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "supervise" {
		os.Exit(cli.Run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// expectation is what a command in a README must lead to.
type expectation struct {
	code    int
	outputs string            // of the run, as JSON; not looked at when empty
	tasks   map[string]string // statuses of some tasks
}

// expectations by command. Every `cairn run -local` in the READMEs must be here, and the other way round.
var expectations = map[string]expectation{
	"examples/quickstart":                 {outputs: `{"line":"HELLO, WORLD. (2 words)"}`},
	"examples/quickstart -param name=Ada": {outputs: `{"line":"HELLO, ADA. (2 words)"}`},
	"examples/fan-out": {
		outputs: `{"orders":{"apac":12,"eu":42,"us":27},"total":81}`,
	},
	"examples/fan-out -param 'regions={ north = 3, south = 30 }'": {
		outputs: `{"orders":{"north":3,"south":30},"total":33}`,
	},
	"examples/retry-and-catch": {
		outputs: `{"bytes":1024}`,
		tasks:   map[string]string{"primary": "failed", "mirror": "succeeded", "publish": "succeeded"},
	},
	"examples/retry-and-catch -param primary_works=true": {
		outputs: `{"bytes":1024}`,
		tasks:   map[string]string{"primary": "succeeded", "mirror": "skipped", "publish": "succeeded"},
	},
	"examples/conditions": {
		outputs: `{"summary":"full: skipped, changes: succeeded"}`,
		tasks:   map[string]string{"announce": "skipped", "drop_tables": "skipped", "load_everything": "skipped", "loaded": "succeeded"},
	},
	"examples/conditions -param mode=full": {
		outputs: `{"summary":"full: succeeded, changes: skipped"}`,
	},
	"examples/conditions -param mode=sometimes": {code: 2},
	"examples/finally": {
		tasks: map[string]string{"warm_cache": "failed", "release": "succeeded", "report": "succeeded"},
	},
	"examples/finally -param fail=true": {
		code:  1,
		tasks: map[string]string{"work": "failed", "warm_cache": "omitted", "release": "succeeded", "report": "succeeded"},
	},
	"examples/partial-success": {
		outputs: `{"in_sync":["m1","m2","m4","m5","m6","m8"]}`,
		tasks:   map[string]string{"sync": "succeeded"},
	},
	`examples/partial-success -param 'down=["m1", "m2", "m3"]'`: {
		code:  1,
		tasks: map[string]string{"sync": "failed", "summary": "omitted"},
	},
	"examples/etl": {
		outputs: `{"best_customer":"c1","orders":558,"revenue":26276.62}`,
	},
	`examples/etl -param 'regions=["eu"]' -param rows=5000`: {
		tasks: map[string]string{"report": "succeeded", "tidy": "succeeded"},
	},
	"examples/files": {
		outputs: `{"counts":{"orders":7,"returns":2},"queries":"4bfda606"}`,
	},
	"examples/files -param greeting=Hello": {
		tasks: map[string]string{"mail": "succeeded"},
	},
	"examples/approval": {
		outputs: `{"decision":"rolling 1.4.2 out to 10% said nobody"}`,
		tasks:   map[string]string{"cool_down": "succeeded", "ask": "succeeded", "keep": "skipped"},
	},
	"examples/approval -param silence=reject": {
		outputs: `{"decision":"kept"}`,
		tasks:   map[string]string{"ask": "failed", "roll_out": "omitted", "keep": "succeeded"},
	},
	"examples/child-workflow": {outputs: `{"revenue":500}`},
	"examples/child-workflow -param 'regions={ eu = 1, us = 1, apac = 1 }'": {
		outputs: `{"revenue":300}`,
	},
	"examples/child-workflow/region -param region=eu -param orders=7": {outputs: `{"revenue":700}`},
	"examples/child-workflow -param 'regions={ eu = -1 }'": {
		code:  1,
		tasks: map[string]string{"region": "failed", "report": "omitted"},
	},
	"examples/http-call -param url=http://127.0.0.1:8000/": {
		outputs: `{"holiday":false,"line":"100 EUR are 125 USD"}`,
	},
	"examples/fencing": {outputs: `{"late_write":"refused"}`},
	"examples/etl -param max_bad=1": {
		code:  1,
		tasks: map[string]string{"check": "failed", "load": "omitted", "tidy": "succeeded"},
	},
	"examples/etl -param keep=true -param workspace=/tmp/orders": {
		tasks: map[string]string{"tidy": "skipped"},
	},
}

// onNomadOnly are the examples that nothing but a Nomad cluster can run.
var onNomadOnly = map[string]bool{"sidecar": true}

// readmes returns the commands of every README, by example.
func readmes(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(e.Name(), "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = nil
		for line := range strings.Lines(string(b)) {
			command, _, _ := strings.Cut(line, "  #")
			if command, ok := strings.CutPrefix(strings.TrimSpace(command), "cairn run -local "); ok {
				out[e.Name()] = append(out[e.Name()], strings.TrimSpace(command))
			}
		}
	}
	return out
}

func TestEveryCommandOfTheREADMEs(t *testing.T) {
	tried := map[string]bool{}
	for name, commands := range readmes(t) {
		if onNomadOnly[name] != (len(commands) == 0) {
			t.Errorf("%s: its README names %d times cairn run -local", name, len(commands))
		}
		for _, command := range commands {
			want, ok := expectations[command]
			if !ok {
				t.Errorf("%s: nothing is expected of %q", name, command)
				continue
			}
			tried[command] = true
			t.Run(command, func(t *testing.T) { try(t, command, want) })
		}
	}
	for command := range expectations {
		if !tried[command] {
			t.Errorf("no README names %q", command)
		}
	}
}

func try(t *testing.T, command string, want expectation) {
	service := served(t)
	args := []string{"run", "-local", "-json"}
	for _, word := range words(command) {
		if path, ok := strings.CutPrefix(word, "examples/"); ok {
			word = path
		}
		args = append(args, strings.NewReplacer("/tmp/orders", t.TempDir(), "http://127.0.0.1:8000", service).Replace(word))
	}
	code, stdout, stderr := run(t, args)
	if code != want.code {
		t.Fatalf("exit %d, want %d\n%s%s", code, want.code, stderr, stdout)
	}
	if code == 2 {
		return
	}
	var doc api.Run
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	if want.outputs != "" {
		got, err := json.Marshal(doc.Outputs)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.outputs, string(got)); diff != "" {
			t.Errorf("outputs (-want +got):\n%s", diff)
		}
	}
	for name, status := range want.tasks {
		i := slices.IndexFunc(doc.Tasks, func(task api.Task) bool { return task.Name == name })
		if i < 0 || doc.Tasks[i].Status != status {
			t.Errorf("task %s is not %s:\n%s", name, status, stderr)
		}
	}
}

// served is the address of a server for the files of http-call, as its README starts one.
func served(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.FileServer(http.Dir("http-call")))
	t.Cleanup(s.Close)
	return s.URL
}

// run runs cairn in this process, for a user with a state folder of their own.
func run(t *testing.T, args []string) (code int, stdout, stderr string) {
	t.Helper()
	env := map[string]string{"CAIRN_STATE_DIR": t.TempDir()}
	var out, talk bytes.Buffer
	app := &cli.App{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &talk,
		Getenv: func(name string) string { return env[name] }, Now: time.Now,
	}
	code = app.Run(args)
	return code, out.String(), talk.String()
}

// words splits a command as a shell would: at spaces that are not between single quotes.
func words(command string) []string {
	quoted := false
	split := strings.FieldsFunc(command, func(r rune) bool {
		if r == '\'' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
	for i := range split {
		split[i] = strings.ReplaceAll(split[i], "'", "")
	}
	return split
}

func TestExamplesAreInTheUsualLayout(t *testing.T) {
	if code, stdout, stderr := run(t, []string{"fmt", "-check", "."}); code != 0 {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

func TestExamplesBecomeNomadJobs(t *testing.T) {
	for name := range readmes(t) {
		code, stdout, stderr := run(t, []string{"render", name})
		if code != 0 || !strings.Contains(stdout, `"Job"`) {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
		}
		if strings.Contains(stderr, "Warning") {
			t.Errorf("%s has warnings: %s", name, stderr)
		}
	}
}
