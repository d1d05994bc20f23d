// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/server"
	"github.com/cairnflow/cairn/internal/workflow"
)

// written is a folder with files, each its path, a line break and what it holds. Whoever made it removes it.
func written(files []string) (dir string) {
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		panic(err) // no check can go on without
	}
	for _, file := range files {
		path, text, _ := strings.Cut(file, "\n")
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			panic(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			panic(err)
		}
	}
	return dir
}

func remove(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
}

// live is a run that this process drives, as `cairn run` does: for what more than one run takes part in. Nothing in it needs
// a worker. Where something breaks, err says so and the rest of the story is not told.
type live struct {
	ctx     context.Context
	cfg     server.Config
	session *server.Session
	c       *client.Client
	top     string
	err     error
	seen    []string
}

// lived tells what is seen in a run of the workflow w in w.hcl. A story is lived once, however often it is told.
func lived(files []string, story func(*live)) func() string {
	return sync.OnceValue(func() string {
		dir := written(files)
		defer remove(dir)
		const patience = time.Minute // far above what anything takes
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		l := &live{ctx: ctx, cfg: server.Config{
			StateDir: filepath.Join(dir, "state"), Version: "test", Logger: hclog.NewNullLogger(), Getenv: func(string) string { return "" },
			Supervisor: []string{filepath.Join(dir, "nobody")},
		}}
		l.start(filepath.Join(dir, "w.hcl"))
		if l.err == nil {
			story(l)
			l.fail(l.session.Close())
		}
		if l.err != nil {
			return fmt.Sprintf("broken: %v, after %s", l.err, strings.Join(l.seen, " | "))
		}
		return strings.Join(l.seen, " | ")
	})
}

func (l *live) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

func (l *live) start(file string) {
	files, diags := hcl.Load(file)
	if diags.HasErrors() {
		l.err = fmt.Errorf("%s", said(diags))
		return
	}
	def, diags := hcl.Compile(files, "w")
	if diags.HasErrors() {
		l.err = fmt.Errorf("%s", said(diags))
		return
	}
	now := time.Now()
	run := server.NewRun{ID: server.NewRunID(now), Kind: server.Local, Definition: def, By: "ann", ScheduledAt: workflow.At(now)}
	if l.session, l.err = server.Start(l.ctx, l.cfg, run); l.err == nil {
		l.c, l.top = l.session.Client(), string(l.session.Run)
	}
}

// leave ends the process that drives the run, and another one takes it up.
func (l *live) leave() {
	if l.err != nil {
		return
	}
	l.err = l.session.Close()
	if l.err == nil {
		l.session, l.err = server.Resume(l.ctx, l.cfg, workflow.RunID(l.top), "")
	}
	if l.err == nil {
		l.c = l.session.Client()
	}
}

// until waits until a run looks as it should.
func (l *live) until(id string, look func(*api.Run) bool) *api.Run {
	const wait = 10 * time.Second
	for index := uint64(0); l.err == nil; {
		run, next, err := l.c.Wait(l.ctx, id, index, wait)
		if err == nil && look(run) {
			return run
		}
		l.err = err
		index = next
	}
	return &api.Run{}
}

// is waits for a status of runs.
func (l *live) is(status string, ids ...string) {
	for _, id := range ids {
		l.until(id, func(r *api.Run) bool { return r.Status == status })
	}
	l.see(status)
}

// asks waits until the first task of a run waits for somebody.
func (l *live) asks(id string) {
	l.until(id, func(r *api.Run) bool { return r.Tasks[0].Status == "waiting" })
}

func (l *live) see(what string) { l.seen = append(l.seen, what) }

// newest is the newest attempt of the first task of a run, if it has any.
func newest(r *api.Run) (a api.Attempt) {
	for _, in := range r.Tasks[0].Instances {
		for _, next := range in.Attempts {
			a = next
		}
	}
	return a
}

// child is the run that the first task of a run has started by its attempt of that number.
func (l *live) child(id string, number int) string {
	run := l.until(id, func(r *api.Run) bool {
		a := newest(r)
		return a.Number == number && a.Child != "" && r.Tasks[0].Status == "running"
	})
	if l.err != nil {
		return ""
	}
	return newest(run).Child
}

// use uses a verb on a run, or on its first task. A refusal is seen, without the IDs of runs.
func (l *live) use(id string, verb api.Verb, task string) {
	if l.err != nil {
		return
	}
	_, err := l.c.Verb(l.ctx, id, verb, api.VerbRequest{By: "ann", Task: task})
	if err != nil {
		l.see(strings.NewReplacer(l.top, "TOP", id, "THIS").Replace(err.Error()))
	}
}

// heardLocally runs a task whose body calls URL, and tells whether this process has made the call and how the run ended.
func heardLocally(body string) func() string {
	return func() string {
		var calls atomic.Int32
		to := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			_, _ = io.WriteString(w, "ok")
		}))
		defer to.Close()
		return lived([]string{"w.hcl\nworkflow \"w\" {\n" + bare("a", strings.ReplaceAll(body, "URL", to.URL), "") + "}\n"}, func(l *live) {
			l.until(l.top, func(r *api.Run) bool { return r.Terminal() || r.Tasks[0].Status == "waiting" })
			heard := "nobody"
			if calls.Load() > 0 {
				heard = "this process"
			}
			l.see("heard by " + heard + ": " + newest(l.until(l.top, func(*api.Run) bool { return true })).Verdict)
		})()
	}
}
