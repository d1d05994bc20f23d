// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posener/complete"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/server"
	"github.com/cairnflow/cairn/internal/workflow"
)

// predicted gives an option another completion of its value.
func predicted(o option, predict complete.Predictor) option {
	o.predict = predict
	return o
}

// completePatience bounds what a completion may wait for the process that drives a run: somebody has just pressed Tab.
const completePatience = 300 * time.Millisecond

// predictRunAndTask completes a run ID, then a task of that run.
func (a *App) predictRunAndTask() complete.Predictor {
	return complete.PredictFunc(func(args complete.Args) []string {
		if id := firstRun(args); id != "" {
			return a.tasksOfRun(id)
		}
		return a.predictRuns().Predict(args)
	})
}

// predictTasksOfRun completes a task of the run that stands on the line.
func (a *App) predictTasksOfRun() complete.Predictor {
	return complete.PredictFunc(func(args complete.Args) []string {
		if id := firstRun(args); id != "" {
			return a.tasksOfRun(id)
		}
		return nil
	})
}

// firstRun is the first word of the line that is a run's ID.
func firstRun(args complete.Args) string {
	for _, word := range args.Completed {
		if _, err := workflow.ParseRunID(word); err == nil {
			return word
		}
	}
	return ""
}

// tasksOfRun are the names of a run's tasks; none when they are not known at once.
func (a *App) tasksOfRun(text string) []string {
	cfg, err := a.serverConfig()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), completePatience)
	defer cancel()
	id, err := server.Find(ctx, cfg, text)
	if err != nil {
		return nil
	}
	r, err := server.Read(ctx, cfg, id)
	if err != nil {
		return nil
	}
	defer r.Close()
	run, err := r.Run(ctx, string(id))
	if err != nil {
		return nil
	}
	names := make([]string, len(run.Tasks))
	for n := range run.Tasks {
		names[n] = run.Tasks[n].Name
	}
	return names
}

// predictTasksOfFile completes a task of the workflow whose file stands on the line.
func (a *App) predictTasksOfFile() complete.Predictor {
	return a.predictOfFile(func(def *workflow.Definition) []string {
		var names []string
		for n := range def.Tasks {
			names = append(names, def.Tasks[n].Name)
		}
		return names
	})
}

// predictParams completes NAME= of -param, for the workflow whose file stands on the line.
func (a *App) predictParams() complete.Predictor {
	return a.predictOfFile(func(def *workflow.Definition) []string {
		var names []string
		for i := range def.Params {
			names = append(names, def.Params[i].Name+"=")
		}
		return names
	})
}

// predictWorkflowNames completes -workflow.
func (a *App) predictWorkflowNames() complete.Predictor {
	return complete.PredictFunc(func(args complete.Args) []string {
		files, diags := hcl.Load(fileOn(args))
		if diags.HasErrors() {
			return nil
		}
		return hcl.Workflows(files)
	})
}

func (a *App) predictOfFile(of func(*workflow.Definition) []string) complete.Predictor {
	return complete.PredictFunc(func(args complete.Args) []string {
		files, diags := hcl.Load(fileOn(args))
		if diags.HasErrors() {
			return nil
		}
		var out []string
		for _, name := range hcl.Workflows(files) {
			if def, diags := hcl.Compile(files, name); !diags.HasErrors() {
				out = append(out, of(def)...)
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	})
}

// fileOn is the path of a workflow on the line: the last word that is a file of ours or a folder.
func fileOn(args complete.Args) string {
	for _, word := range slices.Backward(args.Completed) {
		info, err := os.Stat(word)
		if err == nil && !strings.HasPrefix(word, "-") && (info.IsDir() || strings.HasSuffix(word, ".hcl")) {
			return word
		}
	}
	return ""
}
