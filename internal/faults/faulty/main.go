// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Command faulty drives a run as `cairn run` does, and kills itself when it comes to a fault point for the n-th time.
// Without a point it prints how often it came to each.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
	"github.com/cairnflow/cairn/internal/workflow"
)

type options struct {
	kind, resume, file string
	cairn              string
	point              string
	nth                int
}

func main() {
	var o options
	flag.StringVar(&o.kind, "kind", "local", "local or nomad")
	flag.StringVar(&o.cairn, "cairn", "", "the program that supervises")
	flag.StringVar(&o.resume, "resume", "", "the run to go on with")
	flag.StringVar(&o.point, "point", "", "fault point to die at")
	flag.IntVar(&o.nth, "nth", 1, "at which visit")
	flag.Parse()
	o.file = flag.Arg(0)
	run, err := o.run(context.Background())
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(run)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
		os.Exit(1)
	}
}

// visits counts the visits to every point, and ends the process at the chosen one.
type visits struct {
	point string
	nth   int

	mu   sync.Mutex // guards seen
	seen map[string]int
}

func (v *visits) come(point string) {
	v.mu.Lock()
	v.seen[point]++
	die := point == v.point && v.seen[point] == v.nth
	v.mu.Unlock()
	if die {
		// As from outside: no deferred function, no buffer, no other goroutine has a say.
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (o *options) run(ctx context.Context) (*api.Run, error) {
	dir, err := server.StateDir(os.Getenv)
	if err != nil {
		return nil, err
	}
	v := &visits{point: o.point, nth: o.nth, seen: map[string]int{}}
	cfg := server.Config{
		StateDir: dir, Version: "faulty", Getenv: os.Getenv, Supervisor: []string{o.cairn, "supervise"}, Fault: v.come,
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: os.Stderr}),
	}
	session, err := o.open(ctx, cfg)
	var over *server.OverError
	if errors.As(err, &over) {
		return nil, nil // it died after the run's last save: no document, and nothing to do
	}
	if err != nil {
		return nil, err
	}
	run, err := follow(ctx, session)
	err = errors.Join(err, session.Close())
	if err == nil && o.point == "" {
		err = json.NewEncoder(os.Stderr).Encode(v.seen)
	}
	return run, err
}

func (o *options) open(ctx context.Context, cfg server.Config) (*server.Session, error) {
	if o.resume != "" {
		return server.Resume(ctx, cfg, workflow.RunID(o.resume), server.Kind(o.kind))
	}
	files, diags := hcl.Load(o.file)
	if diags.HasErrors() {
		return nil, fmt.Errorf("load %s: %v", o.file, diags)
	}
	def, diags := hcl.Compile(files, "")
	if diags.HasErrors() {
		return nil, fmt.Errorf("compile %s: %v", o.file, diags)
	}
	return server.Start(ctx, cfg, server.NewRun{
		ID: server.NewRunID(time.Now()), Kind: server.Kind(o.kind), Definition: def, By: "faulty", ScheduledAt: workflow.At(time.Now()),
	})
}

// follow waits for the end of the run.
func follow(ctx context.Context, s *server.Session) (*api.Run, error) {
	var index uint64
	for {
		run, now, err := s.Client().Wait(ctx, string(s.Run), index, time.Minute)
		var said *api.Error
		switch {
		case errors.As(err, &said) && said.Code == api.CodeNotReady:
			select {
			case <-time.After(50 * time.Millisecond): // it is not loaded yet
			case <-s.Done():
				return nil, errors.New("the run is not driven any more")
			}
			continue
		case err != nil || run.Terminal():
			return run, err
		}
		index = now
	}
}
