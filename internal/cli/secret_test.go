// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leaks are the forms in which a sensitive value could show. None is short enough to be found in a time in nanoseconds.
func leaks() []string {
	return []string{"hunter2", base64.StdEncoding.EncodeToString([]byte("hunter2-token"))[:12], "471147114711", "902109021090"}
}

// clean fails when text shows a sensitive value.
func (c *console) clean(what, text string) {
	c.t.Helper()
	for _, secret := range leaks() {
		if at := strings.Index(text, secret); at >= 0 {
			c.t.Errorf("%s shows %s: …%s…", what, secret, text[max(0, at-80):min(len(text), at+80)])
		}
	}
}

// quietly runs a command, which must not show a sensitive value, and returns what it printed.
func (c *console) quietly(code int, args ...string) result {
	c.t.Helper()
	r := c.run(args...)
	what := "cairn " + strings.Join(args[:min(len(args), 3)], " ")
	if r.code != code {
		c.t.Errorf("%s: exit %d, want %d\n%s%s", what, r.code, code, r.stdout, r.stderr)
	}
	c.clean(what+", standard output", r.stdout)
	c.clean(what+", standard error", r.stderr)
	return r
}

const secretFile = "testdata/secret.hcl"

// The store, and the environment and arguments of the jobs, hold sensitive values by design. Nothing that Cairn says does.
func TestASensitiveValueNeverShows(t *testing.T) {
	c := newConsole(t)
	c.env["CAIRN_LOG_LEVEL"] = "trace"
	value := "token=hunter2-token"
	of := func(args ...string) []string { return append(args, "-workflow", "secret", secretFile, "-param", value) }

	// Values that are refused, by type, by validation, and because there is no such param.
	c.quietly(2, "run", "-local", "-workflow", "secret", secretFile, "-param", value, "-param", "code=hunter2")
	c.quietly(2, "run", "-local", "-json", "-workflow", "secret", secretFile, "-param", value, "-param", "code=[471147114711]")
	if r := c.quietly(2, "plan", "-local", "-workflow", "secret", secretFile, "-param", "token=902109021090"); !strings.Contains(r.stderr, "token") {
		t.Errorf("the refusal names no param: %s", r.stderr)
	}
	c.quietly(0, "validate", "-workflow", "secret", secretFile)
	c.quietly(0, "graph", "-json", "-workflow", "secret", secretFile)
	c.quietly(0, of("plan", "-local")...)
	c.quietly(0, of("plan", "-local", "-json")...)
	if r := c.quietly(0, of("render", "-task", "make")...); !strings.Contains(r.stdout, "(sensitive)") || !strings.Contains(r.stderr, "Sensitive values are hidden") {
		t.Errorf("render hides nothing:\n%s%s", r.stdout, r.stderr)
	}
	if r := c.quietly(1, of("render", "-task", "unreadable")...); !strings.Contains(r.stderr, "cannot be rendered") {
		t.Errorf("what looks into a sensitive value: %s", r.stderr)
	}

	// A run that asks for a sensitive input, driven by another process; its answers come over the socket.
	cmd := c.cairn(of("run", "-local")...)
	cmd.Env = append(cmd.Env, "CAIRN_LOG_LEVEL=trace", "USER=ada")
	stdout, stderr := &writer{}, &writer{}
	asked := make(chan struct{})
	stdout.heard = func(text string) {
		if strings.Contains(text, "ask waits for approval") {
			close(asked)
		}
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	select {
	case <-asked:
	case <-t.Context().Done():
		t.Fatal("it never asked")
	}
	id := c.newestID()
	c.quietly(0, "runs", "show", id)
	c.quietly(0, "runs", "show", "-json", id)
	c.quietly(1, "runs", "approve", "-input", "pin=hunter2", id)
	c.quietly(1, "runs", "approve", "-input", "pin=[471147114711]", id)
	c.quietly(0, "runs", "approve", "-input", "pin=902109021090", id)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the run: %v\n%s%s", err, stdout.buf.String(), stderr.buf.String())
	}
	c.clean("the run, standard output", stdout.buf.String())
	c.clean("the run, standard error", stderr.buf.String())

	child := c.child()
	for _, args := range [][]string{
		{"runs", "show", id}, {"runs", "show", "-json", id}, {"runs", "show", child}, {"runs", "show", "-json", child},
		{"runs", "list", "-children", "-json"}, {"runs", "logs", id, "use"}, {"runs", "logs", id, "make"},
		{"runs", "retry", "-plan", id}, {"task", "skip", id, "use"},
	} {
		c.quietly(0, args...)
	}
	c.quietly(1, "task", "succeed", "-output", "number=hunter2", id, "mistyped")
	c.quietly(0, "task", "succeed", "-output", "number=471147114711", id, "mistyped")
	c.quietly(2, "runs", "rerun", "-param", "code=hunter2", id)
	c.quietly(1, "runs", "rerun", "-only", "use", "-param", "token=hunter2-again", id)
	doc := c.run("runs", "show", id)
	for _, want := range []string{"token = (sensitive)", "code  = (sensitive)", "made = (sensitive)", "use  failed  exit code 3", "nested  failed"} {
		if !strings.Contains(doc.stdout, want) {
			t.Errorf("the run shows no %q:\n%s", want, doc.stdout)
		}
	}
	c.onDisk()
}

// onDisk looks at everything that the runs left but what holds sensitive values by design.
func (c *console) onDisk() {
	c.t.Helper()
	seen := 0
	err := filepath.WalkDir(c.env["CAIRN_STATE_DIR"], func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == "attempts", e.IsDir() && e.Name() == "files":
			return fs.SkipDir // what tasks were given and wrote
		case !e.Type().IsRegular(), strings.HasPrefix(e.Name(), "state.db"):
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		c.clean(path, string(b))
		return nil
	})
	if err != nil || seen == 0 {
		c.t.Errorf("%d files looked at, %v", seen, err)
	}
}
