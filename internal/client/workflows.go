// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/cairnflow/cairn/internal/api"
)

// WorkflowsQuery pages a list of workflows.
type WorkflowsQuery struct {
	Namespace string // empty = the default one, as below
	Next      string // of the page before
	PerPage   int    // 0 = the server's choice
}

// Workflows returns a page of registered workflows, by name.
func (c *Client) Workflows(ctx context.Context, q WorkflowsQuery) (api.Workflows, error) {
	query := url.Values{}
	set(query, "namespace", q.Namespace)
	set(query, "next", q.Next)
	if q.PerPage > 0 {
		query.Set("per_page", strconv.Itoa(q.PerPage))
	}
	var out api.Workflows
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/v1/workflows", c.content(query), nil, &out)
	return out, err
}

// WorkflowQuery names a registered workflow and one of its versions.
type WorkflowQuery struct {
	Namespace string
	Name      string
	Version   int  // 0 = the newest
	Source    bool // with the files that it was applied from
}

// Workflow returns a version of a registered workflow.
func (c *Client) Workflow(ctx context.Context, q WorkflowQuery) (api.Workflow, error) {
	query := url.Values{}
	set(query, "namespace", q.Namespace)
	if q.Version > 0 {
		query.Set("version", strconv.Itoa(q.Version))
	}
	if q.Source {
		query.Set("source", "true")
	}
	var out api.Workflow
	_, err := c.call(ctx, callTimeout, http.MethodGet, workflowPath(q.Name, ""), c.content(query), nil, &out)
	return out, err
}

// WorkflowVersions returns the versions of a workflow that are kept, newest first.
func (c *Client) WorkflowVersions(ctx context.Context, namespace, name string) (api.WorkflowVersions, error) {
	query := url.Values{}
	set(query, "namespace", namespace)
	var out api.WorkflowVersions
	_, err := c.call(ctx, callTimeout, http.MethodGet, workflowPath(name, "/versions"), c.content(query), nil, &out)
	return out, err
}

// Apply registers workflows, or tells what that would change.
func (c *Client) Apply(ctx context.Context, req api.ApplyRequest) (api.Applied, error) {
	var out api.Applied
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/v1/workflows", nil, req, &out)
	return out, err
}

// DeleteWorkflow takes a workflow out of the register. Its runs go on.
func (c *Client) DeleteWorkflow(ctx context.Context, namespace, name string) (api.DeletedWorkflow, error) {
	query := url.Values{}
	set(query, "namespace", namespace)
	var out api.DeletedWorkflow
	_, err := c.call(ctx, callTimeout, http.MethodDelete, workflowPath(name, ""), query, nil, &out)
	return out, err
}

// RunWorkflow starts a run of a registered workflow, and returns how that stands.
func (c *Client) RunWorkflow(ctx context.Context, namespace, name string, req api.RunWorkflowRequest) (api.RunEntry, error) {
	query := url.Values{}
	set(query, "namespace", namespace)
	var out api.RunEntry
	_, err := c.call(ctx, callTimeout, http.MethodPost, workflowPath(name, "/run"), query, req, &out)
	return out, err
}

func workflowPath(name, rest string) string { return "/v1/workflow/" + url.PathEscape(name) + rest }
