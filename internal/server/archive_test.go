// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/archive"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/config"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// retainProgram DIR POINT N serves the runs of a folder, of which one may stay, until it kills itself at the Nth time it comes
// by the point.
func retainProgram(args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := config.DefaultConfig()
	c.DataDir, c.HTTP.Bind, c.Retention.Runs = args[0], "127.0.0.1:0", 1
	a, err := NewAgent(context.Background(), AgentConfig{
		Config: c, Dev: true, Version: "test", Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn}), Getenv: os.Getenv,
		Supervisor: []string{self, "supervise"}, Fault: suicide(args[1], n),
	})
	if err != nil {
		return err
	}
	return a.Run(context.Background())
}

// secretive has a param that nobody may see, and a child run.
const secretive = `workflow "outer" {
  param "password" {
    type      = string
    sensitive = true
  }
  task "say" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo text=said >> $CAIRN_OUTPUT"]
    }
    output "text" { type = string }
  }
  task "sub" {
    run_workflow {
      source = "inner.hcl"
    }
  }
  output "text" { value = task.say.output.text }
}
`

const secretiveChild = `workflow "inner" {
  task "join" {
    driver = "raw_exec"
    config { command = "/bin/true" }
  }
}
`

// withRuns fills a folder with three runs and their children, and returns their documents.
func withRuns(t *testing.T, dir, secret string) []*api.Run {
	t.Helper()
	c, stop := serving(t, devConfig(t, dir))
	defer stop()
	var docs []*api.Run
	for n := range 3 {
		entry, err := c.Submit(t.Context(), api.SubmitRequest{
			Files:      []api.File{{Path: "outer.hcl", Bytes: []byte(secretive)}, {Path: "inner.hcl", Bytes: []byte(secretiveChild), Named: true}},
			ParamTexts: map[string]string{"password": secret}, By: "ada", Key: fmt.Sprint("key ", n),
		})
		if err != nil {
			t.Fatal(err)
		}
		run, err := follow(within(t), c, workflow.RunID(entry.ID))
		if err != nil {
			t.Fatal(err)
		}
		if run.Status != "succeeded" {
			t.Fatalf("the run is %s: %s", run.Status, run.Reason)
		}
		child, err := c.Run(t.Context(), run.Tasks[1].Instances[0].Attempts[0].Child)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, run, child)
	}
	return docs
}

// awaitStored waits until so many runs are left in the store, and lists them.
func awaitStored(t *testing.T, c *client.Client, want int) (left []api.RunEntry) {
	t.Helper()
	await(t, fmt.Sprintf("%d runs in the store", want), func(ctx context.Context) bool {
		page, err := c.Runs(ctx, client.RunsQuery{Children: true, Stored: true})
		left = page.Runs
		return err == nil && len(left) == want
	})
	return left
}

// However a server dies while runs leave its store, the next one shows all of them, each as it was.
func TestKilledWhileRunsLeaveAServerShowsThemAll(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range scheduler.HousekeepingFaultPoints() {
		for _, n := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s %d", point, n), func(t *testing.T) {
				t.Parallel()
				const secret = "hunter2-in-clear"
				dir := t.TempDir()
				docs := withRuns(t, dir, secret)
				cmd := exec.CommandContext(within(t), self, "retain", dir, point, strconv.Itoa(n))
				cmd.Env = os.Environ()
				cmd.WaitDelay = 5 * time.Second
				if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
					t.Fatalf("the point was not hit: %v\n%s", err, out)
				}
				cfg := devConfig(t, dir)
				cfg.Retention.Runs = 2
				c, _ := serving(t, cfg)
				if left := awaitStored(t, c, 2); !slices.ContainsFunc(left, func(e api.RunEntry) bool { return e.ID == docs[4].ID }) ||
					!slices.ContainsFunc(left, func(e api.RunEntry) bool { return e.Parent == docs[4].ID }) {
					t.Errorf("stored: %+v, want the newest run and its child", left)
				}
				shownAlike(t, c, docs)
				nowhere(t, dir, secret)
			})
		}
	}
}

// shownAlike wants every run listed and shown as it was, and marked if it is archived.
func shownAlike(t *testing.T, c *client.Client, docs []*api.Run) {
	t.Helper()
	page, err := c.Runs(t.Context(), client.RunsQuery{Children: true})
	if err != nil {
		t.Fatal(err)
	}
	archived := map[string]bool{}
	var order []string
	for _, e := range page.Runs {
		archived[e.ID] = e.Archived
		order = append(order, e.ID)
	}
	var want []string
	for _, doc := range docs {
		want = append(want, doc.ID)
	}
	slices.Sort(want) // a child run and its parent are of one time: the rest of their IDs orders them
	slices.Reverse(want)
	if d := cmp.Diff(want, order); d != "" {
		t.Errorf("list (-want +got):\n%s", d)
	}
	for n, doc := range docs {
		got, err := c.Run(t.Context(), doc.ID)
		if err != nil {
			t.Fatal(err)
		}
		if old := n < len(docs)-2; got.Archived != old || archived[doc.ID] != old {
			t.Errorf("run %d of %d is archived: %t, and %t in the list", n+1, len(docs), got.Archived, archived[doc.ID])
		}
		got.Archived = false
		if d := cmp.Diff(doc, got); d != "" {
			t.Errorf("run %s (-before +after):\n%s", doc.ID, d)
		}
		if doc.Workflow == "outer" && string(got.Params["password"]) != `"(sensitive)"` {
			t.Errorf("the password is shown as %s", got.Params["password"])
		}
	}
}

// nowhere wants a word in no file of the archive.
func nowhere(t *testing.T, dir, secret string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(filepath.Join(dir, archiveFolder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		text, err := exec.Command("gzip", "-dc", path).Output()
		if err == nil && strings.Contains(string(text), secret) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil || files < 4 {
		t.Errorf("%d files, %v, want one for each of the 4 runs that left", files, err)
	}
}

func TestWhatHasLeftTheStoreCannotGoOn(t *testing.T) {
	dir := t.TempDir()
	docs := withRuns(t, dir, "secret")
	cfg := devConfig(t, dir)
	cfg.Retention.Runs = 2
	c, _ := serving(t, cfg)
	awaitStored(t, c, 2)
	id := docs[0].ID
	_, verbErr := c.Verb(t.Context(), id, api.VerbRetry, api.VerbRequest{})
	_, rerunErr := c.Rerun(t.Context(), id, api.RerunRequest{})
	_, logErr := c.Logs(t.Context(), id, api.LogQuery{Task: "say"})
	for what, c := range map[string]struct {
		err  error
		want int
	}{"retry": {verbErr, http.StatusConflict}, "rerun": {rerunErr, http.StatusConflict}, "logs": {logErr, http.StatusGone}} {
		var said *api.Error
		if !errors.As(c.err, &said) || said.Status != c.want || !strings.Contains(said.Message, "has left the store for the archive") {
			t.Errorf("%s: %v, want %d and why", what, c.err, c.want)
		}
	}
	// Its idempotency key has left with it.
	again, err := c.Submit(t.Context(), api.SubmitRequest{
		Files:      []api.File{{Path: "outer.hcl", Bytes: []byte(secretive)}, {Path: "inner.hcl", Bytes: []byte(secretiveChild), Named: true}},
		ParamTexts: map[string]string{"password": "secret"}, Key: "key 0",
	})
	if err != nil || again.ID == id {
		t.Errorf("the same key again: %+v, %v, want a new run", again, err)
	}
	if _, err := follow(within(t), c, workflow.RunID(again.ID)); err != nil {
		t.Error(err)
	}
	// A prefix finds what is archived too, where nothing that is stored fits.
	where := Config{Server: client.Server{Address: c.Where()}, Logger: hclog.NewNullLogger()}
	if found, err := Find(t.Context(), where, id[:len(id)-1]); err != nil || string(found) != id {
		t.Errorf("found %s, %v, want %s", found, err, id)
	}
	runs, problems, err := List(t.Context(), where, Query{RunsQuery: client.RunsQuery{Status: []string{"succeeded"}, Workflow: "outer"}, Limit: 10})
	marked := slices.ContainsFunc(runs, func(e api.RunEntry) bool { return e.ID == id && e.Archived })
	if err != nil || len(problems) > 0 || !marked {
		t.Errorf("list: %+v, %v, %v", runs, problems, err)
	}
}

// An archive that cannot be written keeps everything in the store, and the server says so.
func TestAServerWithoutAnArchiveKeepsItsRuns(t *testing.T) {
	dir := t.TempDir()
	docs := withRuns(t, dir, "secret")
	cfg := devConfig(t, dir)
	cfg.Retention.Runs = 2
	cfg.Archive.Folder = filepath.Join(dir, "taken")
	if err := os.WriteFile(cfg.Archive.Folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ := serving(t, cfg)
	await(t, "the archive's trouble in the health", func(ctx context.Context) bool {
		health, err := c.Health(ctx)
		return err == nil && strings.Contains(health.Overdue, "not a directory")
	})
	awaitStored(t, c, len(docs))
	page, err := c.Runs(t.Context(), client.RunsQuery{Children: true})
	if err != nil || len(page.Runs) != len(docs) || !strings.Contains(page.Notice, "older runs may be missing") {
		b, _ := json.Marshal(page)
		t.Errorf("list: %s, %v", b, err)
	}
}

// Servers on one Consul: the one that leads archives, the next one shows what is archived if both share the folder, and only
// the runs that are stored if they do not.
func TestServersThatShareAnArchiveShowTheSame(t *testing.T) {
	t.Parallel()
	mine := fmt.Sprintf("%x", time.Now().UnixNano())
	shared := t.TempDir()
	server := func(name, folder string) (*client.Client, func()) {
		cfg := sharing(t, "cairn-"+mine+"/", name+"-"+mine)
		cfg.Retention.Runs, cfg.Archive.Folder = 1, folder
		return serving(t, cfg)
	}
	c, stop := server("first", "") // it looks after its runs when it takes office, and once a minute
	var docs []*api.Run
	for n := range 3 {
		var entry api.RunEntry
		await(t, "a leader that takes a run", func(ctx context.Context) (ok bool) {
			var err error
			entry, err = c.Submit(ctx, api.SubmitRequest{Files: []api.File{{Path: "w.hcl", Bytes: []byte("workflow \"joins\" {\n  task \"a\" {}\n}\n")}}, Key: fmt.Sprint(n)})
			return err == nil
		})
		run, err := follow(within(t), c, workflow.RunID(entry.ID))
		if err != nil || run.Status != "succeeded" {
			t.Fatalf("the run: %+v, %v", run, err)
		}
		docs = append(docs, run)
	}
	stop()
	for _, name := range []string{"second", "third"} {
		c, stop := server(name, shared)
		awaitStored(t, c, 1)
		page, err := c.Runs(t.Context(), client.RunsQuery{})
		if err != nil || len(page.Runs) != 3 {
			t.Errorf("the %s lists %+v, %v", name, page, err)
		}
		for n, doc := range docs {
			got, err := c.Run(t.Context(), doc.ID)
			if err != nil {
				t.Fatal(err)
			}
			if got.Archived != (n < 2) {
				t.Errorf("run %d is archived: %t", n, got.Archived)
			}
			got.Archived = false
			if d := cmp.Diff(doc, got); d != "" {
				t.Errorf("the %s shows (-before +after):\n%s", name, d)
			}
		}
		stop()
	}
	c, _ = server("apart", filepath.Join(t.TempDir(), "own"))
	await(t, "the last run", func(ctx context.Context) bool {
		page, err := c.Runs(ctx, client.RunsQuery{})
		return err == nil && len(page.Runs) == 1 && page.Runs[0].ID == docs[2].ID
	})
}

func TestJobsOfArchivedRunsAreOver(t *testing.T) {
	cfg := devConfig(t, t.TempDir())
	a, err := NewAgent(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	k := &keeper{log: hclog.NewNullLogger(), archive: a.archive, scheduler: func() *scheduler.Scheduler { return a.scheduler }}
	now := time.Now()
	fate := func(n byte, ended time.Time) nomad.Fate {
		id := workflow.NewRunID(now, [6]byte{n})
		if !ended.IsZero() {
			if err := a.archive.Put(t.Context(), archive.Run{LastAt: ended, Document: &api.Run{ID: string(id), CreatedAt: now}}); err != nil {
				t.Fatal(err)
			}
		}
		return k.fate(t.Context())(workflow.MakeAttemptID(id, 0, 0, 1))
	}
	if got := fate(1, now.Add(-time.Hour)); got != nomad.FateOver {
		t.Errorf("of a run that is archived: %s, want over", got)
	}
	if got := fate(2, now.Add(time.Hour)); got != nomad.FateActive {
		t.Errorf("of one that has only just ended: %s, want active", got)
	}
	if got := fate(3, time.Time{}); got != nomad.FateUnknown {
		t.Errorf("of one that nobody knows: %s, want unknown", got)
	}
	err = os.RemoveAll(a.archive.Path())
	if err == nil {
		err = os.WriteFile(a.archive.Path(), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := fate(1, time.Time{}); got != nomad.FateActive {
		t.Errorf("while the archive cannot be read: %s, want active", got)
	}
}
