// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// literals evaluates every expression to its own text; a body to a job of that name.
type literals struct{}

func (literals) Evaluate(x workflow.Expr, scope workflow.Scope) (workflow.Value, error) {
	switch x.Kind {
	case workflow.ExprBody:
		if x.Text == "broken" {
			return workflow.Value{}, errors.New("w.hcl:1: there is no such thing")
		}
		if strings.HasPrefix(x.Text, "{") {
			return workflow.Value{JSON: json.RawMessage(x.Text)}, nil
		}
		return workflow.Value{JSON: json.RawMessage(`{"Name":"` + x.Text + `"}`)}, nil
	case workflow.ExprConvert:
		return *scope.Input, nil
	}
	return workflow.Value{JSON: json.RawMessage(x.Text)}, nil
}

// task makes a task that waits for others.
func task(name string, after ...string) workflow.Task {
	return workflow.Task{
		Name: name, Kind: workflow.KindTask, DependsOn: after, TriggerRule: workflow.AllSuccess, WhenFalse: workflow.WhenFalseSkip,
		Policy: workflow.DefaultPolicy(), BodyKind: workflow.BodyTask,
		Body: &workflow.Expr{Kind: workflow.ExprBody, Text: name},
	}
}

// starts makes a task that runs another workflow, which is to be found below the definition: see with.
func starts(name, child string, after ...string) workflow.Task {
	t := task(name, after...)
	t.BodyKind, t.Body.Text = workflow.BodyRunWorkflow, `{"workflow":"`+child+`"}`
	t.Outputs = []workflow.Output{{Name: "n", Type: workflow.Expr{Kind: workflow.ExprConvert}, From: workflow.FromBody}}
	return t
}

// calling makes a task that calls somebody.
func calling(name, method string, after ...string) workflow.Task {
	t := task(name, after...)
	t.BodyKind, t.Body.Text = workflow.BodyHTTP, `{"method":"`+method+`","url":"http://x/","timeout":1000000000}`
	t.Outputs = []workflow.Output{{Name: "status", Type: workflow.Expr{Kind: workflow.ExprConvert}, From: workflow.FromBody}}
	return t
}

// with puts the workflows that a definition's tasks start into its files.
func with(def *workflow.Definition, children ...*workflow.Definition) *workflow.Definition {
	for _, c := range children {
		b, err := workflow.EncodeDefinition(c)
		if err != nil {
			panic(err)
		}
		def.Files = append(def.Files, workflow.File{Path: c.Name, Bytes: b})
	}
	return def
}

// compileChild is Config.Children over such files.
func compileChild(parent *workflow.Definition, body workflow.ChildBody, _ workflow.RunValues) (ChildRun, error) {
	for _, f := range parent.Files {
		if f.Path == body.Workflow {
			def, err := workflow.DecodeDefinition(f.Bytes)
			return ChildRun{Definition: def, Params: body.Params, Given: slices.Sorted(maps.Keys(body.Params)), Evaluator: literals{}}, err
		}
	}
	return ChildRun{}, fmt.Errorf("w.hcl:7: there is no workflow %s", body.Workflow)
}

// fakeCaller answers every call with 200 at once, unless onCall does otherwise.
type fakeCaller process

func (f *fakeCaller) Call(ctx context.Context, body workflow.HTTPBody, key string) engine.Outcome {
	if f.dead.Load() {
		return engine.Outcome{Kind: engine.OutcomeKilled}
	}
	f.world.mu.Lock()
	f.world.called = append(f.world.called, key)
	f.world.logf("call %s %s", body.Method, short(workflow.AttemptID(key)))
	f.world.mu.Unlock()
	if f.onCall != nil {
		return f.onCall(ctx, body, key)
	}
	return answered()
}

func answered() engine.Outcome {
	o := *exited(0)
	o.Values = map[string]workflow.Value{"status": {JSON: json.RawMessage("200")}}
	return o
}

// times makes a fan-out of n instances.
func times(t workflow.Task, n int) workflow.Task {
	t.Count = &workflow.Expr{Kind: workflow.ExprValue, Text: fmt.Sprint(n)}
	return t
}

func definition(name string, tasks ...workflow.Task) *workflow.Definition {
	return &workflow.Definition{
		Name: name, Namespace: "default", Priority: 50, OnFailure: workflow.OnFailureContinue, Tasks: tasks, Hash: "sha256:" + name,
	}
}

// chain makes n tasks, each after the one before.
func chain(n int) *workflow.Definition {
	tasks := []workflow.Task{task("t0")}
	for i := 1; i < n; i++ {
		tasks = append(tasks, task(fmt.Sprintf("t%d", i), fmt.Sprintf("t%d", i-1)))
	}
	return definition("chain", tasks...)
}
