// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// RunsQuery filters and pages a list of runs. What is empty restricts nothing.
type RunsQuery struct {
	Workflow  string
	Namespace string
	Status    []string          // one of these
	Labels    map[string]string // all of these
	Since     time.Time         // created then or later
	Until     time.Time         // created before
	Children  bool              // child runs too
	Stored    bool              // without those that have left the store for the archive
	Next      string            // of the page before
	PerPage   int               // 0 = the server's choice
}

func (q *RunsQuery) values() url.Values {
	query := url.Values{}
	set(query, "workflow", q.Workflow)
	set(query, "namespace", q.Namespace)
	set(query, "next", q.Next)
	for _, status := range q.Status {
		query.Add("status", status)
	}
	for name, value := range q.Labels {
		query.Add("label", name+"="+value)
	}
	for name, at := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	if q.Children {
		query.Set("children", "true")
	}
	if q.Stored {
		query.Set("archived", "false")
	}
	if q.PerPage > 0 {
		query.Set("per_page", strconv.Itoa(q.PerPage))
	}
	return query
}

// Runs returns a page of runs, newest first.
func (c *Client) Runs(ctx context.Context, q RunsQuery) (api.Runs, error) {
	page, _, err := c.WaitRuns(ctx, q, 0, 0)
	return page, err
}

// WaitRuns returns a page of runs once the index of the list is no longer the one given, or wait has passed. With index 0 it
// returns at once. The index that comes back is for the next call.
func (c *Client) WaitRuns(ctx context.Context, q RunsQuery, index uint64, wait time.Duration) (api.Runs, uint64, error) {
	query := q.values()
	if index > 0 {
		query.Set("index", strconv.FormatUint(index, 10))
		query.Set("wait", wait.String())
	}
	var out api.Runs
	header, err := c.call(ctx, max(callTimeout, wait+grace), http.MethodGet, "/v1/runs", c.content(query), nil, &out)
	if err != nil {
		return out, 0, err
	}
	now, err := strconv.ParseUint(header.Get(api.IndexHeader), 10, 64)
	if err != nil {
		return out, 0, fmt.Errorf("%s answered without a readable %s: is that a Cairn server?", c.where, api.IndexHeader)
	}
	return out, now, nil
}
