// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// Leader asks a server who leads.
func (c *Client) Leader(ctx context.Context) (api.Leader, error) {
	var out api.Leader
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/v1/status/leader", nil, nil, &out)
	return out, err
}

// Members asks a server for the servers that share its store.
func (c *Client) Members(ctx context.Context) (api.Members, error) {
	var out api.Members
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/v1/operator/members", nil, nil, &out)
	return out, err
}

// StepDown has the leader give up the leadership.
func (c *Client) StepDown(ctx context.Context, req api.StepDownRequest) (api.SteppedDown, error) {
	var out api.SteppedDown
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/v1/operator/step-down", nil, req, &out)
	return out, err
}

// Audit returns what is kept of a day, such as 2006-01-02 of UTC; empty: of today.
func (c *Client) Audit(ctx context.Context, day string) (api.Audit, error) {
	query := url.Values{}
	set(query, "day", day)
	var out api.Audit
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/v1/operator/audit", query, nil, &out)
	return out, err
}

// Workers asks for the machines that run tasks.
func (c *Client) Workers(ctx context.Context) (api.Workers, error) {
	var out api.Workers
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/v1/operator/workers", nil, nil, &out)
	return out, err
}

// WorkerDead says that a worker is off: nobody waits for what ran there any more.
func (c *Client) WorkerDead(ctx context.Context, req api.WorkerDeadRequest) (api.WorkerDead, error) {
	var out api.WorkerDead
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/v1/operator/worker-dead", nil, req, &out)
	return out, err
}

// Check asks how what Cairn depends on is set up.
func (c *Client) Check(ctx context.Context) (api.Checkup, error) {
	var out api.Checkup
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/v1/operator/check", nil, nil, &out)
	return out, err
}

// Snapshots asks for the backups that the leader keeps.
func (c *Client) Snapshots(ctx context.Context) (api.Backups, error) {
	var out api.Backups
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/v1/operator/snapshots", nil, nil, &out)
	return out, err
}

// snapshotTimeout is a little more than the leader gives itself for a backup.
const snapshotTimeout = 31 * time.Minute

// SaveSnapshot has the leader take a backup now.
func (c *Client) SaveSnapshot(ctx context.Context) (api.Backup, error) {
	var out api.Backup
	_, err := c.call(ctx, snapshotTimeout, http.MethodPost, "/v1/operator/snapshots", nil, nil, &out)
	return out, err
}

// Orphans asks for the jobs that run on and whose runs the store does not know.
func (c *Client) Orphans(ctx context.Context) (api.Orphans, error) {
	var out api.Orphans
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/v1/operator/orphans", nil, nil, &out)
	return out, err
}
