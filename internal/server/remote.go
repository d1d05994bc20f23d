// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"strings"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Remote gives access to the runs of the server at cfg.Server.Address. *client.UnreachableError: it does not answer.
func Remote(ctx context.Context, cfg Config) (*Reader, error) {
	c, err := client.TCP(cfg.Server)
	if err != nil {
		return nil, err
	}
	health, err := c.Health(ctx)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &Reader{Client: c, PID: health.PID, release: func() {}}, nil
}

// findRemote is Find for the runs of a server.
func findRemote(ctx context.Context, cfg Config, text string) (workflow.RunID, error) {
	if id, err := workflow.ParseRunID(text); err == nil {
		return id, nil
	}
	r, err := Remote(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer r.Close()
	runs, err := listAll(ctx, r.Client, Query{RunsQuery: client.RunsQuery{Children: true}})
	if err != nil {
		return "", err
	}
	var found []string
	for _, run := range runs {
		if text != "" && strings.HasPrefix(run.ID, text) {
			found = append(found, run.ID)
		}
	}
	return only(found, text, "on the server at "+cfg.Server.Address)
}

// listRemote is List for the runs of a server.
func listRemote(ctx context.Context, cfg Config, q Query) ([]api.RunEntry, error) {
	r, err := Remote(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	runs, err := listAll(ctx, r.Client, q)
	if err == nil && q.Limit > 0 {
		runs = runs[:min(len(runs), q.Limit)]
	}
	return runs, err
}
