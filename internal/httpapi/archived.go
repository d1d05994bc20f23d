// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Archive has the runs that have left the store. Its calls are safe for concurrent use.
type Archive interface {
	// Run returns the document of a run, and when the run last changed. scheduler.ErrNotFound: the archive does not have it.
	Run(ctx context.Context, id workflow.RunID) (*api.Run, time.Time, error)
	// Namespaces returns those that a run used, which whoever asks for it needs. scheduler.ErrNotFound: the archive does not
	// have it.
	Namespaces(ctx context.Context, id workflow.RunID) ([]string, error)
	// Instances returns all instances of a task, in their order. scheduler.ErrNotFound: the archive does not have the run.
	Instances(ctx context.Context, id workflow.RunID, task string) ([]api.Instance, error)
	// List yields the runs in the order of lists, newest first: those behind this ID, all if it is empty. An error is the last
	// thing that it yields.
	List(ctx context.Context, before workflow.RunID) iter.Seq2[api.RunEntry, error]
}

// Whole is all that can be told of a run: its document, and the instances of the tasks that the document only counts.
func Whole(m *engine.Machine, s *engine.State) (doc *api.Run, instances map[string][]api.Instance) {
	doc, instances = Document(m, s), map[string][]api.Instance{}
	for n := range doc.Tasks {
		if doc.Tasks[n].InstanceCounts == nil {
			continue
		}
		d := document{m, s, n}
		all := make([]api.Instance, d.size())
		for i := range all {
			all[i] = d.instance(i)
		}
		instances[doc.Tasks[n].Name] = all
	}
	return doc, instances
}

// orArchived answers a request about a run that the store does not have and the archive may have.
func (h *handler) orArchived(stored, archived handlerFunc) handlerFunc {
	if h.Archive == nil {
		return stored
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		err := stored(w, r)
		if !errors.Is(err, scheduler.ErrNotFound) {
			return err
		}
		return archived(w, r)
	}
}

// archived reads the run that a request is about.
func (h *handler) archived(r *http.Request) (*api.Run, time.Time, error) {
	id, err := runID(r)
	if err != nil {
		return nil, time.Time{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	return h.Archive.Run(ctx, id)
}

// showArchived is show. What is archived does not change: nothing is waited for.
func (h *handler) showArchived(w http.ResponseWriter, r *http.Request) error {
	doc, lastAt, err := h.archived(r)
	if err != nil {
		return err
	}
	w.Header().Set(api.IndexHeader, strconv.FormatInt(max(lastAt.UnixMicro(), 1), 10))
	h.reply(w, r, http.StatusOK, doc)
	return nil
}

// archivedInstances is instances.
func (h *handler) archivedInstances(w http.ResponseWriter, r *http.Request) error {
	q, err := instancesQuery(r)
	if err != nil {
		return err
	}
	doc, _, err := h.archived(r)
	if err != nil {
		return err
	}
	var names []string
	for _, t := range doc.Tasks {
		names = append(names, t.Name)
	}
	if err := knownTask(doc.ID, q.task, names); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	all, err := h.Archive.Instances(ctx, workflow.RunID(doc.ID), q.task)
	if err != nil {
		return err
	}
	page := api.Instances{Instances: []api.Instance{}}
	for i := q.first; i < len(all); i++ {
		if q.status != "" && all[i].Status != q.status {
			continue
		}
		if len(page.Instances) == q.size {
			page.Next = strconv.Itoa(i)
			break
		}
		page.Instances = append(page.Instances, all[i])
	}
	h.reply(w, r, http.StatusOK, page)
	return nil
}

// refuseArchived refuses what an archived run cannot do any more.
func (h *handler) refuseArchived(status int, code, what string) handlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) error {
		doc, _, err := h.archived(r)
		if err != nil {
			return err
		}
		return &api.Error{Status: status, Code: code, Message: fmt.Sprintf("run %s ended at %s and has left the store for the archive: %s",
			doc.ID, doc.EndedAt.UTC().Format(time.RFC3339), what)}
	}
}

// listed reads the next runs of a list: those that the store has, and between and behind them those that have left it. What is
// yielded comes with its entry where it is of the archive. more says that the store may have others behind the last one. A run
// that is in both is on its way from one to the other, or has been begun again: what the store has of it counts. What keeps the
// archive from being read is told in notice.
func (h *handler) listed(
	ctx context.Context, l runsQuery, notice *string,
) (list iter.Seq2[scheduler.Summary, *api.RunEntry], more bool, err error) {
	archived := h.Archive != nil && l.archived && !l.filter.Active && *notice == "" // what has left the store is over
	f := l.filter
	if archived {
		f.Done = false // of what goes on the archive may have something older, which is not to be listed: statuses sort it out
	}
	// First the store, then the archive, for each piece of the list: what leaves the one in between is in the other.
	stored, err := h.Runs.List(ctx, f)
	if err != nil {
		return nil, false, err
	}
	more = len(stored) >= f.Limit
	return func(yield func(scheduler.Summary, *api.RunEntry) bool) {
		next, stop := func() (scheduler.Summary, *api.RunEntry) { return scheduler.Summary{}, nil }, func() {}
		if archived {
			next, stop = h.archivedOnes(ctx, l.filter, notice)
		}
		defer stop()
		sum, e := next()
		for _, s := range stored {
			for ; e != nil && sum.ID > s.ID; sum, e = next() {
				if !yield(sum, e) {
					return
				}
			}
			if e != nil && sum.ID == s.ID {
				sum, e = next()
			}
			if !yield(s, nil) {
				return
			}
		}
		for ; e != nil && !more; sum, e = next() {
			if !yield(sum, e) {
				return
			}
		}
	}, more, nil
}

// archivedOnes returns what matches of the archive, one at a call; no entry at the end. stop ends it.
func (h *handler) archivedOnes(
	ctx context.Context, f scheduler.Filter, notice *string,
) (next func() (scheduler.Summary, *api.RunEntry), stop func()) {
	entries, stop := iter.Pull2(h.Archive.List(ctx, f.Before))
	return func() (scheduler.Summary, *api.RunEntry) {
		for {
			e, err, more := entries()
			if !more {
				return scheduler.Summary{}, nil
			}
			if err != nil {
				h.Logger.Warn("the archive cannot be listed", "error", err)
				*notice = "the archive cannot be read, and older runs may be missing: " + err.Error()
				return scheduler.Summary{}, nil
			}
			sum := scheduler.Summary{
				ID: workflow.RunID(e.ID), Workflow: e.Workflow, Namespace: e.Namespace, Parent: workflow.AttemptID(e.Parent), Labels: e.Labels,
				CreatedAt: workflow.At(e.CreatedAt), Done: true,
			}
			if f.Matches(&sum) {
				return sum, &e
			}
		}
	}, stop
}
