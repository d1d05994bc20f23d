// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package api

import (
	"encoding/json"
	"time"
)

// DefaultNamespace is the namespace of a workflow whose files name none.
const DefaultNamespace = "default"

// Workflows is a page of registered workflows, by name. Next is the value of `next` for the page after it; empty on the last.
type Workflows struct {
	Workflows []WorkflowEntry `json:"workflows"`
	Next      string          `json:"next"`
}

// WorkflowEntry is a registered workflow in a list: its newest version.
type WorkflowEntry struct {
	Name       string    `json:"name"`
	Namespace  string    `json:"namespace"`
	Version    int       `json:"version"`
	Definition string    `json:"definition"` // "sha256:<hex>"
	AppliedAt  time.Time `json:"applied_at,omitzero"`
	By         string    `json:"by"`
}

// Workflow is a version of a registered workflow: GET /v1/workflow/NAME.
type Workflow struct {
	WorkflowEntry
	Newest      int               `json:"newest"`      // the version that runs start with unless they say otherwise
	ActiveRuns  int               `json:"active_runs"` // of the workflow's name, whatever their version
	Description string            `json:"description"`
	Owner       string            `json:"owner"`
	Labels      map[string]string `json:"labels"`
	Params      []WorkflowParam   `json:"params"`
	Tasks       []WorkflowTask    `json:"tasks"` // declaration order, finally tasks last
	// Files are what it was applied from, where `source` asks for them.
	Files []File `json:"files,omitempty"`
}

// WorkflowParam is a param that a workflow takes.
type WorkflowParam struct {
	Name        string `json:"name"`
	Type        string `json:"type"` // as written; "any" where nothing is
	Required    bool   `json:"required"`
	Sensitive   bool   `json:"sensitive"`
	Description string `json:"description"`
}

// WorkflowTask is a task of a workflow.
type WorkflowTask struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"`  // "task" or "finally"
	Body        string   `json:"body"`  // see Task.Body
	After       []string `json:"after"` // the tasks that it waits for
	TriggerRule string   `json:"trigger_rule"`
	FanOut      bool     `json:"fan_out"`
}

// WorkflowVersions is the answer of GET /v1/workflow/NAME/versions: those that are kept, newest first.
type WorkflowVersions struct {
	Versions []WorkflowEntry `json:"versions"`
}

// ApplyRequest is the body of POST /v1/workflows: every workflow of the folders is registered, or none.
type ApplyRequest struct {
	Folders []Folder `json:"folders"`
	By      string   `json:"by,omitempty"`
	// DryRun tells what would change, and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Expect holds by name the version that a workflow has to be at, as a dry run has told it in Was; 0 = none. What has moved on
	// since refuses the whole request. A name that is left out may be at any.
	Expect map[string]int `json:"expect,omitempty"`
}

// Folder is the files of one workflow file or folder, as "cairn run" reads them.
type Folder struct {
	Path  string `json:"path,omitempty"` // in messages
	Files []File `json:"files"`
}

// Applied is what an apply has done, or would do.
type Applied struct {
	DryRun    bool              `json:"dry_run"`
	Workflows []AppliedWorkflow `json:"workflows"`
}

// What becomes of a workflow that is applied.
const (
	ActionCreate = "create"
	ActionUpdate = "update"
	ActionNone   = "none" // it is registered like this already
)

// AppliedWorkflow is what becomes of one workflow.
type AppliedWorkflow struct {
	Name       string   `json:"name"`
	Namespace  string   `json:"namespace"`
	Definition string   `json:"definition"`
	Action     string   `json:"action"`
	Was        int      `json:"was"` // its version before; 0 = none
	Version    int      `json:"version"`
	Changes    []Change `json:"changes"` // none of an update: only layout, comments, order or names of files differ
}

// Change is one difference between two versions of a workflow.
type Change struct {
	Action string   `json:"action"` // "added", "removed" or "changed"
	Path   []string `json:"path"`   // blocks as they are written, then the attribute: ["task \"load\"", "config", "args"]
	// Old and New are what stands there; empty where there is nothing, or nothing to be shown.
	Old string `json:"old"`
	New string `json:"new"`
}

// DeletedWorkflow is the answer of DELETE /v1/workflow/NAME.
type DeletedWorkflow struct {
	Name       string `json:"name"`
	Namespace  string `json:"namespace"`
	Version    int    `json:"version"`     // the newest one
	ActiveRuns int    `json:"active_runs"` // they go on
}

// RunWorkflowRequest is the body of POST /v1/workflow/NAME/run: a new run, answered with its RunEntry.
type RunWorkflowRequest struct {
	Version int    `json:"version,omitempty"` // 0 = the newest
	By      string `json:"by,omitempty"`
	// Params as JSON, ParamTexts as a person types them (see VerbRequest.Texts).
	Params     map[string]json.RawMessage `json:"params,omitempty"`
	ParamTexts map[string]string          `json:"param_texts,omitempty"`
	Key        string                     `json:"key,omitempty"` // idempotency key
}
