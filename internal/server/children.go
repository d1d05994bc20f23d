// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"sync"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// language keeps the evaluators of the definitions that a run folder is about: the run's own, and those of its child runs.
// Which ones there are stands in the files of the run's own definition.
type language struct {
	mu         sync.Mutex                // guards evaluators
	evaluators map[string]*hcl.Evaluator // by definition hash
}

func newLanguage(run NewRun) *language {
	l := &language{evaluators: map[string]*hcl.Evaluator{}}
	if e, ok := run.Evaluator.(*hcl.Evaluator); ok {
		l.evaluators[run.Definition.Hash] = e
	}
	return l
}

// evaluator is scheduler.Config.Evaluators.
func (l *language) evaluator(def *workflow.Definition) (engine.Evaluator, error) { return l.of(def) }

func (l *language) of(def *workflow.Definition) (*hcl.Evaluator, error) {
	l.mu.Lock()
	e := l.evaluators[def.Hash]
	l.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e, err := hcl.NewEvaluator(def)
	if err != nil {
		return nil, err
	}
	l.keep(def.Hash, e)
	return e, nil
}

func (l *language) keep(hash string, e *hcl.Evaluator) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.evaluators[hash] == nil {
		l.evaluators[hash] = e
	}
}

// child is scheduler.Config.Children: it compiles what a run_workflow starts from the files of the parent's own definition,
// and checks the params that it is given.
func (l *language) child(parent *workflow.Definition, body workflow.ChildBody, run workflow.RunValues) (scheduler.ChildRun, error) {
	from, err := l.of(parent)
	if err != nil {
		return scheduler.ChildRun{}, err
	}
	def, eval, err := from.Child(body)
	if err != nil {
		return scheduler.ChildRun{}, err
	}
	l.keep(def.Hash, eval)
	run.Workflow, run.Version, run.Namespace = def.Name, def.Hash, def.Namespace
	given := hcl.GivenByParent(body.Params)
	params, diags := hcl.Params(def, given, run)
	for _, d := range diags {
		if d.Severity == hcl.SeverityError {
			return scheduler.ChildRun{}, errors.New(d.String())
		}
	}
	out := scheduler.ChildRun{Definition: def, Params: params, Evaluator: eval}
	for i := range def.Params {
		if _, ok := given[def.Params[i].Name]; ok {
			out.Given = append(out.Given, def.Params[i].Name)
		}
	}
	return out, nil
}
