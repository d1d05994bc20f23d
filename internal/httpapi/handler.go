// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package httpapi serves Cairn's HTTP API: it turns requests into calls of the scheduler and states into documents.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Runs is what the API needs of whoever keeps the runs. Its calls are safe for concurrent use.
type Runs interface {
	// View calls read with the state of a run, which read must neither change nor keep. ErrNotFound: no such run.
	View(ctx context.Context, id workflow.RunID, read func(*engine.Machine, *engine.State) error) error
	// Notice says why a run does not get on, for people; empty when it does.
	Notice(id workflow.RunID) string
	// Verb feeds a verb to a run and returns once it is saved. *engine.Misfit: it does not fit (any more).
	Verb(ctx context.Context, id workflow.RunID, verb engine.Event) error
	// Submit starts a new run. *scheduler.KeyTakenError: its idempotency key belongs to something else.
	Submit(ctx context.Context, sub scheduler.Submission) (workflow.RunID, error)
	// Rerun starts a new run of the definition of a run that is over. *engine.Misfit: that is not possible.
	Rerun(ctx context.Context, r scheduler.Rerun) (workflow.RunID, error)
	// Changes blocks until the index of a run differs from the one given, or ctx ends, and returns the index then. No index
	// is 0.
	Changes(ctx context.Context, id workflow.RunID, index uint64) (uint64, error)
	// List returns the runs that match, newest first.
	List(ctx context.Context, filter scheduler.Filter) ([]scheduler.Summary, error)
	// ListChanges blocks until one of the news behind an index matches, or ctx ends, and returns the index then. No index is
	// 0.
	ListChanges(ctx context.Context, index uint64, match func(*scheduler.News) bool) (uint64, error)
	// News returns what is new behind a position, and waits for it; see scheduler.Scheduler.
	News(ctx context.Context, after scheduler.NewsPosition, match func(*scheduler.News) bool, most int) (
		list []scheduler.News, next scheduler.NewsPosition, missed bool, err error)
	// Logs opens what an attempt wrote. ErrNotFound: it has not written; ErrGone: collected already.
	Logs(ctx context.Context, req scheduler.LogRequest) (io.ReadCloser, error)
	// Leading reports whether this process schedules.
	Leading() bool
}

// Config is everything a Handler is made of.
type Config struct {
	Runs Runs
	// Workflows keeps the registered workflows; nil = this process keeps none.
	Workflows Workflows
	// Archive has the runs that have left the store; nil = none ever does. Overdue says why runs that are over cannot leave it,
	// empty when they can; nil where they do not.
	Archive Archive
	Overdue func() string
	// Nomad says why Nomad does not answer, empty when it does; nil where there is none.
	Nomad   func() string
	Servers Servers      // nil where this process is no server
	Metrics http.Handler // the same
	Watches *Watches
	Version string
	Process string // tells this process from others; may be empty
	Logger  hclog.Logger
	// Access says what callers may do; nil: everybody may do everything.
	Access Access
	// OperatorPolicy is the policy that makes an operator of a token that is no management token; empty: there is none.
	OperatorPolicy string
	// Audit keeps what was changed; nil: nothing is kept.
	Audit Audit
}

// Blocking reads wait as in Consul: 5 minutes unless the caller says otherwise, never more than 10.
const (
	defaultWait = 5 * time.Minute
	maxWait     = 10 * time.Minute
)

// A page holds 100 entries unless the caller says otherwise, never more than 1000.
const (
	defaultPage = 100
	maxPage     = 1000
)

// HealthPath is what every server answers for itself: its process lives, and whether it leads.
const HealthPath = "/v1/agent/health"

// MaxBody bounds the body of every request: the largest holds the files of a workflow, which are of text, in base64.
const MaxBody = 16 << 20

// maxBody bounds the body of a request: the values of one task, or the params of a run, with room around them.
const maxBody = 2 * workflow.MaxTaskOutputBytes

// callTimeout bounds what a request may take apart from blocking reads and logs.
const callTimeout = 30 * time.Second

// New returns the handler of /v1/… and /metrics.
func New(c Config) http.Handler {
	h := &handler{Config: c, mux: http.NewServeMux()}
	for path, on := range h.routes() {
		h.serve(path, on)
	}
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, r, &api.Error{
			Status: http.StatusNotFound, Code: api.CodeNotFound,
			Message: fmt.Sprintf("there is nothing at %s", r.URL.Path),
		})
	})
	return h.mux
}

type handler struct {
	Config
	mux *http.ServeMux
}

// routes are all there are, by path.
func (h *handler) routes() map[string]methods {
	all := map[string]methods{
		HealthPath:               {"GET": anybody(h.health)},
		openAPIPath:              {"GET": anybody(h.openAPI)},
		MetricsPath:              {"GET": anybody(h.metrics)}, // without a token: they are needed most when Nomad is away
		leaderPath:               {"GET": anybody(h.leader)},
		membersPath:              {"GET": operators(h.members)},
		workersPath:              {"GET": operators(h.workers)},
		deadPath:                 {"POST": operators(h.workerDead)},
		checkPath:                {"GET": operators(h.check)},
		orphansPath:              {"GET": operators(h.orphans)},
		SnapshotPath:             {"GET": operators(h.snapshots), "POST": operators(h.saveSnapshot)},
		StepDownPath:             {"POST": operators(h.stepDown)},
		auditPath:                {"GET": operators(h.audit)},
		"/v1/runs":               {"GET": listing(h.list), "POST": submits(h.submit)},
		eventsPath:               {"GET": listing(h.events)},
		"/v1/run/{id}":           {"GET": readers(h.orArchived(h.show, h.showArchived))},
		"/v1/run/{id}/instances": {"GET": readers(h.orArchived(h.instances, h.archivedInstances))},
		"/v1/run/{id}/logs": {"GET": readers(h.orArchived(h.logs, h.refuseArchived(http.StatusGone, api.CodeGone,
			"logs are not kept there; \"cairn runs show\" says where each task ran, which may have them still")))},
		"/v1/run/{id}/rerun": {"POST": runners(h.orArchived(h.rerun, h.refuseArchived(http.StatusConflict, api.CodeConflict,
			"nothing can go on from its results; run its workflow anew")))},
	}
	for _, verb := range api.Verbs() {
		refuse := h.refuseArchived(http.StatusConflict, api.CodeConflict,
			fmt.Sprintf("%s is for runs that are stored; it can be shown, and its workflow can be run anew", verb))
		use := func(w http.ResponseWriter, r *http.Request) error { return h.verb(w, r, verb) }
		on := methods{"POST": runners(h.orArchived(use, refuse))}
		if verb == api.VerbRetry {
			on["GET"] = readers(h.orArchived(h.retryPlan, refuse))
		}
		all["/v1/run/{id}/"+string(verb)] = on
	}
	maps.Copy(all, h.workflowRoutes())
	return all
}

// methods are what a path answers to.
type methods map[string]route

// serve routes the methods of a path, and answers the others with what would be right.
func (h *handler) serve(path string, on methods) {
	for method, rt := range on {
		h.mux.HandleFunc(method+" "+path, h.answering(path, rt))
	}
	names := slices.Sorted(maps.Keys(on))
	h.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(names, ", "))
		h.fail(w, r, &api.Error{
			Status: http.StatusMethodNotAllowed, Code: api.CodeBadMethod,
			Message: fmt.Sprintf("%s takes %s, not %s", r.URL.Path, listed(names), r.Method),
		})
	})
}

// fail answers with an error.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	out := h.explain(r, err)
	h.reply(w, r, out.Status, out)
}

// explain makes an error one for callers. What is not said for them is logged, and they are told so.
func (h *handler) explain(r *http.Request, err error) (out *api.Error) {
	var misfit *engine.Misfit
	var taken *scheduler.KeyTakenError
	var stale *scheduler.StaleError
	switch {
	case errors.As(err, &out):
	case errors.As(err, &taken):
		out = &api.Error{Status: http.StatusConflict, Code: api.CodeConflict, Message: taken.Error()}
	case errors.As(err, &stale):
		out = &api.Error{Status: http.StatusConflict, Code: api.CodeConflict, Message: stale.Error()}
	case errors.Is(err, scheduler.ErrInvalid):
		out = &api.Error{Status: http.StatusUnprocessableEntity, Code: api.CodeInvalid, Message: err.Error()}
	case errors.As(err, &misfit):
		out = &api.Error{Status: http.StatusConflict, Code: api.CodeConflict, Message: misfit.Text}
	case errors.Is(err, scheduler.ErrNotFound):
		out = &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: "there is no run " + r.PathValue("id")}
	case errors.Is(err, scheduler.ErrConflict):
		out = &api.Error{Status: http.StatusConflict, Code: api.CodeConflict, Message: err.Error()}
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil && !errors.Is(err, scheduler.ErrUnknown):
		// Whoever asked is gone, or this process is about to end: an answer without a word would read as one.
		out = &api.Error{
			Status: http.StatusServiceUnavailable, Code: api.CodeNotReady, Message: "this process is about to end: ask again, or ask another server",
		}
	case errors.Is(err, scheduler.ErrUnknown):
		out = &api.Error{Status: http.StatusBadGateway, Code: api.CodeUnknown, Message: err.Error() + "; look, and ask again if it was not"}
	case errors.Is(err, scheduler.ErrFenced):
		out = &api.Error{
			Status: http.StatusServiceUnavailable, Code: api.CodeNotReady,
			Message: "this process does not lead any more: ask again, or ask the one that took over",
		}
	case errors.Is(err, context.DeadlineExceeded):
		out = &api.Error{
			Status: http.StatusServiceUnavailable, Code: api.CodeNotReady,
			Message: fmt.Sprintf("no answer within %s: ask again", callTimeout),
		}
	default:
		h.Logger.Error("request broke", "method", r.Method, "path", r.URL.Path, "error", err)
		out = &api.Error{Status: http.StatusInternalServerError, Code: api.CodeInternal, Message: err.Error()}
	}
	return out
}

func (h *handler) reply(w http.ResponseWriter, r *http.Request, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		h.Logger.Error("answer cannot be encoded", "path", r.URL.Path, "error", err)
		status, b = http.StatusInternalServerError, []byte(`{"status":500,"code":"internal","message":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(b, '\n')); err != nil {
		h.Logger.Debug("answer was not taken", "path", r.URL.Path, "error", err)
	}
}

func (h *handler) health(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r); err != nil {
		return err
	}
	health := api.Health{Healthy: true, Leader: h.Runs.Leading(), PID: os.Getpid(), Process: h.Process, Version: h.Version}
	if h.Nomad != nil {
		health.Nomad = h.Nomad()
	}
	if h.Overdue != nil {
		health.Overdue = h.Overdue()
	}
	h.reply(w, r, http.StatusOK, health)
	return nil
}

func badRequest(format string, args ...any) error {
	return &api.Error{Status: http.StatusBadRequest, Code: api.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: fmt.Sprintf(format, args...)}
}

// runID reads the ID in the path.
func runID(r *http.Request) (workflow.RunID, error) {
	id, err := workflow.ParseRunID(r.PathValue("id"))
	if err != nil {
		return "", badRequest("%s", err)
	}
	return id, nil
}

// number reads an optional query parameter between low and high.
func number(r *http.Request, name string, otherwise, low, high int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, badRequest("%s=%s: want a number from %d to %d", name, text, low, high)
	}
	return n, nil
}

// flag reads an optional boolean query parameter; the bare name counts as true.
func flag(r *http.Request, name string, otherwise bool) (bool, error) {
	values, ok := r.URL.Query()[name]
	if !ok {
		return otherwise, nil
	}
	if values[0] == "" {
		return true, nil
	}
	on, err := strconv.ParseBool(values[0])
	if err != nil {
		return false, badRequest("%s=%s: want true or false", name, values[0])
	}
	return on, nil
}

// WantsStale reports whether a request is content with what the server that gets it can read by itself.
func WantsStale(r *http.Request) bool {
	stale, err := flag(r, "stale", false)
	return r.Method == http.MethodGet && (stale || err != nil)
}

// stale makes a request that wants it one for what is stored nearby, if another server leads.
func (h *handler) stale(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	stale, err := flag(r, "stale", false)
	switch {
	case err != nil || !stale || r.Method != http.MethodGet:
		return r, err
	case r.URL.Query().Has("index"):
		return r, badRequest("stale and index exclude each other: only the leader knows of changes when they happen")
	case h.Runs.Leading():
		return r, nil
	}
	w.Header().Set(api.StaleHeader, "true")
	return r.WithContext(scheduler.Stale(r.Context())), nil
}

// unknown refuses query parameters that the path does not have: a mistyped filter must not read as "everything".
func unknown(r *http.Request, known ...string) error {
	for name := range r.URL.Query() {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			return badRequest("%s does not take %q; it takes %s", r.URL.Path, name, listed(known))
		}
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "no parameters"
	}
	out := names[0]
	for i, name := range names[1:] {
		if i == len(names)-2 {
			out += " and " + name
		} else {
			out += ", " + name
		}
	}
	return out
}
