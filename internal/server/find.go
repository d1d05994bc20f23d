// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Find returns the run whose ID is, or begins with, text. Runs that somebody started come first, then those that a run
// started. scheduler.ErrNotFound: there is no such run.
func Find(ctx context.Context, cfg Config, text string) (workflow.RunID, error) {
	if cfg.Server.Address != "" {
		return findRemote(ctx, cfg, text)
	}
	folders, err := runFolders(cfg.StateDir, time.Now())
	if err != nil {
		return "", err
	}
	var found []string
	for _, f := range folders {
		if name := filepath.Base(string(f)); text != "" && strings.HasPrefix(name, text) {
			found = append(found, name)
		}
	}
	if len(found) == 0 && text != "" {
		if found, _, err = findChildren(ctx, cfg, folders, text); err != nil {
			return "", err
		}
	}
	return only(found, text, "in "+cfg.StateDir)
}

// only is the one run that was found for a text, and says where it was sought.
func only(found []string, text, where string) (workflow.RunID, error) {
	switch len(found) {
	case 0:
		return "", &missingError{text: text, where: where}
	case 1:
		return workflow.RunID(found[0]), nil
	}
	return "", fmt.Errorf("%d runs have IDs that begin with %q: %s; give more of it", len(found), text, strings.Join(found[:min(len(found), 5)], ", "))
}

// missingError: no run has such an ID.
type missingError struct{ text, where string }

func (e *missingError) Error() string {
	return fmt.Sprintf(`there is no run %q %s; "cairn runs list" lists the runs`, e.text, e.where)
}

func (e *missingError) Unwrap() error { return scheduler.ErrNotFound }

// folderWith is the folder that holds a run: its own, or that of the run which somebody started above it.
func folderWith(ctx context.Context, cfg Config, id workflow.RunID) (folder, runFile, error) {
	f := folderOf(cfg.StateDir, id)
	run, err := f.read()
	if err == nil || !errors.Is(err, scheduler.ErrNotFound) {
		return f, run, err
	}
	folders, listErr := runFolders(cfg.StateDir, time.Now())
	if listErr != nil {
		return "", run, listErr
	}
	_, holder, findErr := findChildren(ctx, cfg, folders, string(id))
	switch {
	case findErr != nil:
		return "", run, findErr
	case holder == "":
		return "", run, err
	}
	run, err = holder.read()
	return holder, run, err
}

// findChildren looks for the child runs whose IDs begin with text, newest folders first, and returns the folder of the last
// one. The ID of a child begins with the time of the run above it: no folder that was made later can hold it.
func findChildren(ctx context.Context, cfg Config, folders []folder, text string) (found []string, holder folder, err error) {
	for _, f := range folders {
		if madeAfter(filepath.Base(string(f)), text) {
			continue
		}
		entries, err := listFolder(ctx, cfg, f, Query{RunsQuery: client.RunsQuery{Children: true}})
		if ctx.Err() != nil {
			return nil, "", fmt.Errorf("look for run %s: %w", text, ctx.Err())
		}
		if err != nil {
			cfg.Logger.Debug("run folder cannot be searched", "folder", string(f), "error", err)
			continue // what is damaged holds nothing that can be shown
		}
		for _, e := range entries {
			if e.Parent != "" && strings.HasPrefix(e.ID, text) {
				found, holder = append(found, e.ID), f
			}
		}
		if len(text) == runIDLength && holder != "" {
			break
		}
	}
	return found, holder, nil
}

// timeLength is how much of a run ID is nothing but the time: 48 bits, at 5 a character.
const timeLength = 9

// madeAfter reports whether a run was certainly submitted after the one whose ID begins with text.
func madeAfter(id, text string) bool {
	n := min(timeLength, len(id), len(text))
	return id[:n] > text[:n]
}

// runIDLength is the length of a whole run ID: there is only one run with it.
var runIDLength = len(workflow.NewRunID(time.Time{}, [6]byte{}))

// mostPerPage is what the API gives at once.
const mostPerPage = 1000

// listAll reads every page of a list of runs; with a limit, no more than that.
func listAll(ctx context.Context, c *client.Client, q Query) (api.Runs, error) {
	var out api.Runs
	q.PerPage = min(q.Limit, mostPerPage)
	for {
		page, err := c.Runs(ctx, q.RunsQuery)
		if err != nil {
			return api.Runs{}, err
		}
		out.Runs = append(out.Runs, page.Runs...)
		out.Notice = cmp.Or(out.Notice, page.Notice)
		if q.Next = page.Next; q.Next == "" || q.Limit > 0 && len(out.Runs) >= q.Limit {
			return out, nil
		}
	}
}
