// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// scanned is how many runs are read at least at once where only they themselves tell which ones are wanted.
const scanned = 500

// runsQuery is what a list of runs is asked for.
type runsQuery struct {
	filter   scheduler.Filter
	statuses []string // empty = all
	archived bool     // those that have left the store too
	size     int      // of a page
}

// list answers /v1/runs: newest first, a page at a time. With index it blocks until something has changed about runs of that
// workflow and namespace, or wait has passed.
func (h *handler) list(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "workflow", "namespace", "status", "label", "since", "until", "children", "archived", "next", "per_page", "index", "wait", "stale"); err != nil {
		return err
	}
	l, err := runsQueryOf(r, time.Now())
	if err != nil {
		return err
	}
	index, err := h.blockList(r, &l.filter)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	page, err := h.page(ctx, r, l)
	if err != nil {
		return err
	}
	w.Header().Set(api.IndexHeader, strconv.FormatUint(index, 10))
	h.reply(w, r, http.StatusOK, page)
	return nil
}

func runsQueryOf(r *http.Request, now time.Time) (l runsQuery, err error) {
	query := r.URL.Query()
	l.filter = scheduler.Filter{Workflow: query.Get("workflow"), Namespace: query.Get("namespace")}
	if l.filter.Children, err = flag(r, "children", false); err != nil {
		return l, err
	}
	if l.archived, err = flag(r, "archived", true); err != nil {
		return l, err
	}
	size, err := number(r, "per_page", defaultPage, 1, maxPage)
	if err != nil {
		return l, err
	}
	l.size = int(size)
	over := 0
	for _, status := range query["status"] {
		if !slices.Contains(runStatuses, workflow.RunStatus(status)) {
			return l, badRequest("status=%s: there is no such status of a run", status)
		}
		if workflow.RunStatus(status).Terminal() {
			over++
		}
	}
	l.statuses = query["status"]
	l.filter.Done = over > 0 && over == len(l.statuses)
	l.filter.Active = over == 0 && len(l.statuses) > 0
	for _, label := range query["label"] {
		name, value, ok := strings.Cut(label, "=")
		if !ok || name == "" {
			return l, badRequest("label=%s: want NAME=VALUE", label)
		}
		if before, twice := l.filter.Labels[name]; twice && before != value {
			return l, badRequest("label %s is to be both %q and %q: no run is listed under that", name, before, value)
		}
		if l.filter.Labels == nil {
			l.filter.Labels = map[string]string{}
		}
		l.filter.Labels[name] = value
	}
	if l.filter.Since, err = moment(r, "since", now); err != nil {
		return l, err
	}
	if l.filter.Until, err = moment(r, "until", now); err != nil {
		return l, err
	}
	if next := query.Get("next"); next != "" {
		if l.filter.Before, err = workflow.ParseRunID(next); err != nil {
			return l, badRequest("next=%s: want what the page before says of the next one", next)
		}
	}
	return l, nil
}

// moment reads an optional time: as such, or as how long ago it was. 0 = it is not given.
func moment(r *http.Request, name string, now time.Time) (workflow.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil && at.Year() > 1970 && at.Year() < 2200 {
		return workflow.At(at), nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return workflow.At(now.Add(-ago)), nil
	}
	return 0, badRequest("%s=%s: want a time such as 2026-01-31T08:00:00Z, or how long ago, such as 24h", name, text)
}

// blockList waits as index and wait ask, and returns the index to read at.
func (h *handler) blockList(r *http.Request, f *scheduler.Filter) (uint64, error) {
	index, wait, err := blocking(r)
	if err != nil {
		return 0, err
	}
	if wait == 0 {
		index = 0 // what is there now
	}
	if index > 0 {
		end, err := h.Watches.Begin()
		if err != nil {
			return 0, err
		}
		defer end()
	}
	ctx, stop := context.WithTimeout(r.Context(), wait)
	defer stop()
	return h.Runs.ListChanges(ctx, index, func(n *scheduler.News) bool {
		return n.Task == "" && (f.Workflow == "" || n.Workflow == f.Workflow) && (f.Namespace == "" || n.Namespace == f.Namespace) &&
			(f.Children || n.Parent == "")
	})
}

// page reads on until the page is full, or there are no more runs.
func (h *handler) page(ctx context.Context, r *http.Request, l runsQuery) (api.Runs, error) {
	page := api.Runs{Runs: []api.RunEntry{}}
	l.filter.Limit = l.size + 1 // the one more tells that there is another page
	if len(l.statuses) > 0 || h.Access != nil {
		l.filter.Limit = max(l.filter.Limit, scanned)
	}
	for {
		list, more, err := h.listed(ctx, l, &page.Notice)
		if err != nil {
			return page, err
		}
		for s, archived := range list {
			l.filter.Before = s.ID
			if visible, err := h.mayList(ctx, r, s.Namespace); err != nil {
				return page, err
			} else if !visible {
				continue
			}
			e, err := archived, error(nil)
			if e == nil {
				e, err = summary(s)
			}
			if err != nil {
				return page, err
			}
			if len(l.statuses) > 0 && !slices.Contains(l.statuses, e.Status) {
				continue
			}
			if len(page.Runs) == l.size {
				page.Next = page.Runs[l.size-1].ID
				return page, nil
			}
			page.Runs = append(page.Runs, *e)
		}
		if !more {
			return page, nil
		}
	}
}

func summary(s scheduler.Summary) (*api.RunEntry, error) {
	var head engine.Head
	if err := json.Unmarshal(s.Head, &head); err != nil {
		return nil, fmt.Errorf("read the head of run %s: %w", s.ID, err)
	}
	in := engine.Input{
		Run: s.ID, Workflow: s.Workflow, Namespace: s.Namespace, Parent: s.Parent, Labels: s.Labels, CreatedAt: s.CreatedAt,
	}
	e := entry(&in, &head)
	return &e, nil
}
