// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/local"
	"github.com/cairnflow/cairn/internal/workflow"
)

// TestMain is the supervisor too, which checks of what a program is given start.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "supervise" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := local.Supervise(ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// environment prints what Cairn tells a program; the paths in it differ.
const environment = `env | grep ^CAIRN_ | sort | sed "s|=/.*|=PATH|" > "$CAIRN_OUTPUT"`

// execution is a task a that runs a shell script with an argument and an environment.
func execution(script, arg, env string) string {
	return fmt.Sprintf("task \"a\" {\n driver = \"raw_exec\"\n config {\n  command = \"/bin/sh\"\n  args = [\"-c\", %q, \"sh\", %q]\n }\n env = { V = %q }\n}\n", script, arg, env)
}

// onThisMachine runs task a of a workflow as a local run does, and tells what it wrote to its output file, or why it could
// not be started.
func onThisMachine(flow, key string) func() string {
	return sync.OnceValue(func() string {
		def, eval, _, problem := play{flow: flow}.compile()
		if problem != "" {
			return problem
		}
		body, problem := bodyOf(def, eval, nil)
		if problem != "" {
			return problem
		}
		dir, err := os.MkdirTemp("", "conformance")
		if err != nil {
			panic(err)
		}
		o, err := execute(dir, body.JSON, key)
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return "broken: " + err.Error()
		}
		if o.Message != "" {
			_, after, _ := strings.Cut(o.Message, "/bin/sh: ")
			return after
		}
		return strings.Join(strings.Fields(string(o.Output)), " ")
	})
}

// execute runs one attempt in a run folder to its end.
func execute(dir string, body []byte, key string) (engine.Outcome, error) {
	e, err := local.OpenExecutor(local.ExecutorConfig{Dir: dir})
	if err != nil {
		return engine.Outcome{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	run := workflow.NewRunID(start, [6]byte{})
	s := engine.Start{
		Attempt: workflow.MakeAttemptID(run, 0, 0, 1), Run: run, Workflow: "w", Task: "a", Key: key, Number: 1, Fence: 7, Epoch: 1,
		IntentAt: workflow.At(start), Body: body, Kind: workflow.BodyTask, WantOutput: true,
	}
	if err := e.Start(ctx, s); err != nil {
		return engine.Outcome{}, errors.Join(err, e.Close())
	}
	var out engine.Outcome
	err = e.Watch(ctx, func(ev engine.Event) {
		if ev.Kind == engine.Ended {
			out = *ev.Outcome
			cancel()
		}
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	e.Settle(context.Background(), s.Attempt)
	return out, errors.Join(err, e.Close())
}
