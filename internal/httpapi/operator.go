// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// Servers is what the API tells of the servers that share a store.
type Servers interface {
	// Leader says who leads.
	Leader(ctx context.Context) (api.Leader, error)
	// Members lists the servers, by name.
	Members(ctx context.Context) ([]api.Member, error)
	// StepDown has this server give up the leadership, and says who leads next when it learns that in time.
	StepDown(ctx context.Context, req api.StepDownRequest) (api.SteppedDown, error)
	// Workers lists the machines that run tasks, by name.
	Workers(ctx context.Context) (api.Workers, error)
	// WorkerDead takes a worker for dead, because a person says so.
	WorkerDead(ctx context.Context, req api.WorkerDeadRequest) (api.WorkerDead, error)
	// Check looks at how what Cairn depends on is set up.
	Check(ctx context.Context) (api.Checkup, error)
	// Orphans lists the jobs that run on and whose runs the store does not know.
	Orphans(ctx context.Context) (api.Orphans, error)
	// Snapshots lists the backups, and says how they stand.
	Snapshots(ctx context.Context) (api.Backups, error)
	// SaveSnapshot takes a backup now.
	SaveSnapshot(ctx context.Context) (api.Backup, error)
}

// Paths of the operator's requests that a server has to know apart from the others.
const (
	leaderPath   = "/v1/status/leader"
	membersPath  = "/v1/operator/members"
	workersPath  = "/v1/operator/workers"
	deadPath     = "/v1/operator/worker-dead"
	checkPath    = "/v1/operator/check"
	orphansPath  = "/v1/operator/orphans"
	auditPath    = "/v1/operator/audit"
	SnapshotPath = "/v1/operator/snapshots"
	StepDownPath = "/v1/operator/step-down"
)

// Own reports whether a path asks a server for itself: whoever is asked answers, also where nobody leads.
func Own(path string) bool {
	return slices.Contains([]string{HealthPath, leaderPath, membersPath, openAPIPath, MetricsPath}, path)
}

func (h *handler) leader(w http.ResponseWriter, r *http.Request) error {
	return serversAnswer(h, w, r, Servers.Leader)
}

func (h *handler) members(w http.ResponseWriter, r *http.Request) error {
	return serversAnswer(h, w, r, func(s Servers, ctx context.Context) (api.Members, error) {
		list, err := s.Members(ctx)
		return api.Members{Members: append([]api.Member{}, list...)}, err
	})
}

func (h *handler) workers(w http.ResponseWriter, r *http.Request) error {
	return serversAnswer(h, w, r, Servers.Workers)
}

func (h *handler) workerDead(w http.ResponseWriter, r *http.Request) error {
	return serversAnswer(h, w, r, func(s Servers, ctx context.Context) (api.WorkerDead, error) {
		var req api.WorkerDeadRequest
		if err := decodeRequest(r, "worker-dead", &req); err != nil {
			return api.WorkerDead{}, err
		}
		if req.Worker == "" {
			return api.WorkerDead{}, badRequest("worker: say which worker is dead, by its name or the beginning of its ID")
		}
		req.By = h.by(r, req.By)
		return s.WorkerDead(ctx, req)
	})
}

func (h *handler) check(w http.ResponseWriter, r *http.Request) error {
	return serversAnswer(h, w, r, Servers.Check)
}

func (h *handler) orphans(w http.ResponseWriter, r *http.Request) error {
	return serversAnswer(h, w, r, Servers.Orphans)
}

func (h *handler) stepDown(w http.ResponseWriter, r *http.Request) error {
	return serversAnswer(h, w, r, func(s Servers, ctx context.Context) (api.SteppedDown, error) {
		var req api.StepDownRequest
		if err := decodeRequest(r, "step-down", &req); err != nil {
			return api.SteppedDown{}, err
		}
		req.By = h.by(r, req.By)
		return s.StepDown(ctx, req)
	})
}

func (h *handler) snapshots(w http.ResponseWriter, r *http.Request) error {
	return serversAnswer(h, w, r, Servers.Snapshots)
}

// snapshotTimeout bounds taking a snapshot: of a large Consul it takes minutes.
const snapshotTimeout = 30 * time.Minute

func (h *handler) saveSnapshot(w http.ResponseWriter, r *http.Request) error {
	return serversAnswerWithin(h, w, r, snapshotTimeout, Servers.SaveSnapshot)
}

// Patience is how long a request that changes something may take.
func Patience(path string) time.Duration {
	if path == SnapshotPath {
		return snapshotTimeout
	}
	return callTimeout
}

// serversAnswer answers with what ask says.
func serversAnswer[T any](h *handler, w http.ResponseWriter, r *http.Request, ask func(Servers, context.Context) (T, error)) error {
	return serversAnswerWithin(h, w, r, callTimeout, ask)
}

func serversAnswerWithin[T any](
	h *handler, w http.ResponseWriter, r *http.Request, patience time.Duration, ask func(Servers, context.Context) (T, error),
) error {
	if err := unknown(r); err != nil {
		return err
	}
	if h.Servers == nil {
		return &api.Error{
			Status: http.StatusNotFound, Code: api.CodeNotFound,
			Message: "this is the process of one run and no server: there is nobody to lead",
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	out, err := ask(h.Servers, ctx)
	if err != nil {
		return err
	}
	h.reply(w, r, http.StatusOK, out)
	return nil
}
