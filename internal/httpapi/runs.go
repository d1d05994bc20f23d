// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

var instanceStatuses = []workflow.Status{
	workflow.Pending, workflow.Queued, workflow.Starting, workflow.Running, workflow.Waiting,
	workflow.Succeeded, workflow.Failed, workflow.Cancelled, workflow.Skipped, workflow.Omitted,
}

var runStatuses = []workflow.RunStatus{
	workflow.RunQueued, workflow.RunRunning, workflow.RunPausing, workflow.RunPaused, workflow.RunStopping,
	workflow.RunSucceeded, workflow.RunFailed, workflow.RunCancelled, workflow.RunSkipped,
}

// show answers /v1/run/ID. With index it blocks until the run has changed, is over, or wait has passed.
func (h *handler) show(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "index", "wait", "stale"); err != nil {
		return err
	}
	id, err := runID(r)
	if err != nil {
		return err
	}
	index, err := h.block(r, id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	var doc *api.Run
	err = h.Runs.View(ctx, id, func(m *engine.Machine, s *engine.State) error {
		doc = Document(m, s)
		return nil
	})
	if err != nil {
		return err
	}
	if notice := h.Runs.Notice(id); notice != "" && !doc.Terminal() {
		doc.Reason = notice
	}
	w.Header().Set(api.IndexHeader, strconv.FormatUint(index, 10))
	h.reply(w, r, http.StatusOK, doc)
	return nil
}

// blocking reads index and wait: from where on, and for how long, a read blocks. No index is 0.
func blocking(r *http.Request) (index uint64, wait time.Duration, err error) {
	query := r.URL.Query()
	if text := query.Get("index"); text != "" {
		if index, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, 0, badRequest("index=%s: want the number from the header %s", text, api.IndexHeader)
		}
	}
	wait = defaultWait
	if text := query.Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 {
			return 0, 0, badRequest("wait=%s: want a duration such as 30s", text)
		}
		wait = min(wait, maxWait)
	}
	return index, wait, nil
}

// block waits as index and wait ask, and returns the index to read at: never newer than what is read next.
func (h *handler) block(r *http.Request, id workflow.RunID) (uint64, error) {
	index, wait, err := blocking(r)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	if index > 0 {
		err = h.Runs.View(ctx, id, func(_ *engine.Machine, s *engine.State) error {
			if s.Head.Status.Terminal() {
				index = 0 // what is over does not change any more
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	if index == 0 || wait == 0 {
		return h.Runs.Changes(ctx, id, 0) // what is there now
	}
	end, err := h.Watches.Begin()
	if err != nil {
		return 0, err
	}
	defer end()
	waiting, stop := context.WithTimeout(r.Context(), wait)
	defer stop()
	return h.Runs.Changes(waiting, id, index)
}

// instances answers /v1/run/ID/instances: those of one task, by status, a page at a time.
func (h *handler) instances(w http.ResponseWriter, r *http.Request) error {
	id, err := runID(r)
	if err != nil {
		return err
	}
	q, err := instancesQuery(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	page := api.Instances{Instances: []api.Instance{}}
	err = h.Runs.View(ctx, id, func(m *engine.Machine, s *engine.State) error {
		n, err := taskNumber(m, s, q.task)
		if err != nil {
			return err
		}
		d := document{m, s, n}
		for i, count := q.first, d.size(); i < count; i++ {
			if q.status != "" && string(d.status(i)) != q.status {
				continue
			}
			if len(page.Instances) == q.size {
				page.Next = strconv.Itoa(i)
				return nil
			}
			page.Instances = append(page.Instances, d.instance(i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	h.reply(w, r, http.StatusOK, page)
	return nil
}

// pageQuery asks for a page of the instances of a task.
type pageQuery struct {
	task, status string
	first, size  int
}

func instancesQuery(r *http.Request) (q pageQuery, err error) {
	if err := unknown(r, "task", "status", "next", "per_page", "stale"); err != nil {
		return q, err
	}
	size, err := number(r, "per_page", defaultPage, 1, maxPage)
	if err != nil {
		return q, err
	}
	first, err := number(r, "next", 0, 0, workflow.MaxInstances)
	if err != nil {
		return q, err
	}
	q = pageQuery{r.URL.Query().Get("task"), r.URL.Query().Get("status"), int(first), int(size)}
	if q.status != "" && !slices.Contains(instanceStatuses, workflow.Status(q.status)) {
		return q, badRequest("status=%s: there is no such status of an instance", q.status)
	}
	return q, nil
}
