// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/workflow"
)

// What is registered outlives the server, and the runs of a version outlive the register.
func TestADevServerKeepsWorkflows(t *testing.T) {
	dir := t.TempDir()
	c, stop := serving(t, devConfig(t, dir))
	apply := func(c *client.Client, text string) api.AppliedWorkflow {
		t.Helper()
		done, err := c.Apply(t.Context(), api.ApplyRequest{By: "ada", Folders: []api.Folder{{Files: []api.File{{Path: "greet.hcl", Bytes: []byte(text)}}}}})
		if err != nil {
			t.Fatal(err)
		}
		return done.Workflows[0]
	}
	apply(c, greeting)
	if w := apply(c, strings.Replace(greeting, "hello,", "goodbye,", 1)); w.Version != 2 || len(w.Changes) != 1 {
		t.Errorf("second version: %+v", w)
	}
	stop()
	c, _ = serving(t, devConfig(t, dir))
	for version, want := range map[int]string{0: `"goodbye, world"`, 1: `"hello, world"`} {
		entry, err := c.RunWorkflow(t.Context(), "", "greet", api.RunWorkflowRequest{Version: version, ParamTexts: map[string]string{"name": "world"}, By: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		run, err := follow(t.Context(), c, workflow.RunID(entry.ID))
		if err != nil {
			t.Fatal(err)
		}
		if run.Status != "succeeded" || string(run.Outputs["text"]) != want || run.Namespace != "default" || run.Trigger.Kind != "manual" {
			t.Errorf("version %d: run is %s with outputs %s, want %s", version, run.Status, run.Outputs, want)
		}
	}
	if _, err := c.DeleteWorkflow(t.Context(), "", "greet"); err != nil {
		t.Fatal(err)
	}
	var answer *api.Error
	if _, err := c.Workflow(t.Context(), client.WorkflowQuery{Name: "greet"}); !errors.As(err, &answer) || answer.Code != api.CodeNotFound {
		t.Errorf("after the deletion: %v", err)
	}
	list, err := c.Runs(t.Context(), client.RunsQuery{Workflow: "greet"})
	if err != nil || len(list.Runs) != 2 {
		t.Fatalf("its runs after the deletion: %+v, %v", list, err)
	}
	if _, err := c.Run(t.Context(), list.Runs[0].ID); err != nil {
		t.Errorf("a run after the deletion: %v", err)
	}
}
