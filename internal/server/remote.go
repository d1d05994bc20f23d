// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
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

// findRemote is Find for the runs of a server. Those that have left its store, which may be very many, are looked at only where
// none of the others fits.
func findRemote(ctx context.Context, cfg Config, text string) (workflow.RunID, error) {
	if id, err := workflow.ParseRunID(text); err == nil {
		return id, nil
	}
	r, err := Remote(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer r.Close()
	var found []string
	for _, stored := range []bool{true, false} {
		page, err := listAll(ctx, r.Client, Query{RunsQuery: client.RunsQuery{Children: true, Stored: stored}})
		if err != nil {
			return "", err
		}
		for _, run := range page.Runs {
			if text != "" && strings.HasPrefix(run.ID, text) {
				found = append(found, run.ID)
			}
		}
		if text == "" || len(found) > 0 {
			break
		}
	}
	return only(found, text, "on the server at "+cfg.Server.Address)
}

// listRemote is List for the runs of a server.
func listRemote(ctx context.Context, cfg Config, q Query) (runs []api.RunEntry, problems []error, err error) {
	r, err := Remote(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	page, err := listAll(ctx, r.Client, q)
	if err != nil {
		return nil, nil, err
	}
	if page.Notice != "" {
		problems = append(problems, errors.New(page.Notice))
	}
	if q.Limit > 0 {
		page.Runs = page.Runs[:min(len(page.Runs), q.Limit)]
	}
	return page.Runs, problems, nil
}
