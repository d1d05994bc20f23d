// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/access"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Access knows callers by their tokens; see access.Source, which it remembers the answers of.
type Access interface {
	Whose(ctx context.Context, token string) (access.Caller, error)
	May(ctx context.Context, token string, right access.Right, namespace string) (bool, error)
}

// need is what a request takes of whoever makes it. A route without one is for nobody.
type need string

const (
	needNothing  need = "nothing"
	needRead     need = "read"     // of every namespace that the run in the path uses
	needRun      need = "run"      // in every namespace that the run in the path uses
	needList     need = "list"     // a token that may do something; the handler leaves out what may not be read
	needSubmit   need = "submit"   // the same; the handler calls maySubmit before it does anything
	needOperator need = "operator" // a management token, or one with the policy of operators
)

// route is what a path answers to one method with.
type route struct {
	need need
	do   func(http.ResponseWriter, *http.Request) error
}

type handlerFunc = func(http.ResponseWriter, *http.Request) error

func anybody(do handlerFunc) route   { return route{needNothing, do} }
func readers(do handlerFunc) route   { return route{needRead, do} }
func runners(do handlerFunc) route   { return route{needRun, do} }
func listing(do handlerFunc) route   { return route{needList, do} }
func submits(do handlerFunc) route   { return route{needSubmit, do} }
func operators(do handlerFunc) route { return route{needOperator, do} }

// asker is whoever has made a request, and what the audit keeps of it.
type asker struct {
	access.Caller
	token string
	note  *api.AuditRecord // nil: it only reads
	begun bool             // note is kept
}

type askerKey struct{}

func askerOf(r *http.Request) *asker { return r.Context().Value(askerKey{}).(*asker) }

// answering is the handler of a route: nothing of it runs before whoever asks may have it.
func (h *handler) answering(path string, rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a := &asker{}
		r = r.WithContext(context.WithValue(r.Context(), askerKey{}, a))
		if r.Method != http.MethodGet && r.Method != http.MethodHead && rt.need != needNothing {
			a.note = newNote(path, r)
		}
		r, err := h.stale(w, r)
		if err == nil {
			err = h.admit(r, rt, a)
		}
		if err == nil {
			err = rt.do(w, r)
		}
		var out *api.Error
		if err != nil {
			w.Header().Del(api.StaleHeader)
			out = h.explain(r, err)
			h.reply(w, r, out.Status, out)
		}
		h.ended(r, a, out)
	}
}

// admit refuses whoever may not have a route.
func (h *handler) admit(r *http.Request, rt route, a *asker) error {
	switch rt.need {
	case needNothing:
		return nil
	case needRead, needRun, needList, needSubmit, needOperator:
	default:
		return forbidden("nobody has said who may use %s", r.URL.Path)
	}
	if err := h.identify(r, a); err != nil {
		return err
	}
	switch rt.need {
	case needRead:
		return h.mayUse(r, a, access.Read)
	case needRun:
		if err := h.mayUse(r, a, access.Run); err != nil {
			return err
		}
		return h.begin(r, a)
	case needOperator:
		if h.Access != nil && !a.Management && (h.OperatorPolicy == "" || !slices.Contains(a.Policies, h.OperatorPolicy)) {
			if h.OperatorPolicy == "" {
				return forbidden("%s may not do this: it takes a management token", a.words())
			}
			return forbidden("%s may not do this: it takes a management token, or one with the policy %s", a.words(), h.OperatorPolicy)
		}
		return h.begin(r, a)
	}
	return nil
}

// identify finds out who asks.
func (h *handler) identify(r *http.Request, a *asker) (err error) {
	if h.Access == nil {
		return nil
	}
	if a.token, err = tokenOf(r); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	a.Caller, err = h.Access.Whose(ctx, a.token)
	switch {
	case errors.Is(err, access.ErrDenied):
		return forbidden("Nomad does not know this token (any more): permission denied")
	case errors.Is(err, access.ErrOff):
		return forbidden("this server asks Nomad what callers may do, and that Nomad has no access control: enable acl there, or set access.mode of this server to none, which takes an address of loopback or mTLS")
	case err != nil:
		return unanswered(err)
	}
	if a.note != nil {
		a.note.Who, a.note.Accessor = a.Label(), a.Accessor
	}
	if a.token == "" && !a.Management && len(a.Policies) == 0 {
		return forbidden("this takes a token of Nomad, and the request has none: set CAIRN_TOKEN, or send it as %s", api.TokenHeader)
	}
	return nil
}

// tokenOf is the token that a request presents, if any.
func tokenOf(r *http.Request) (string, error) {
	ours := r.Header.Get(api.TokenHeader)
	scheme, bearer, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if bearer = strings.TrimSpace(bearer); !found || !strings.EqualFold(scheme, "Bearer") {
		bearer = ""
	}
	switch {
	case ours != "" && bearer != "" && ours != bearer:
		return "", badRequest("the request has two tokens: one as %s, another one as Authorization", api.TokenHeader)
	case ours == "":
		ours = bearer
	}
	if len(ours) > access.MaxToken {
		return "", badRequest("the token is longer than %d bytes: it is none of Nomad's", access.MaxToken)
	}
	return ours, nil
}

func forbidden(format string, args ...any) error {
	return &api.Error{Status: http.StatusForbidden, Code: api.CodeForbidden, Message: fmt.Sprintf(format, args...)}
}

func unanswered(err error) error {
	return &api.Error{
		Status: http.StatusServiceUnavailable, Code: api.CodeNotReady, Message: fmt.Sprintf("what the caller may do is not known: %s; ask again", err),
	}
}

// words names an asker in a sentence.
func (a *asker) words() string {
	if a.token == "" {
		return "whoever has no token"
	}
	return fmt.Sprintf("token %q", a.Label())
}

// mayUse refuses whoever lacks a right in a namespace that the run in the path uses. A run that may not be looked at is
// answered like one that is not there.
func (h *handler) mayUse(r *http.Request, a *asker, right access.Right) error {
	id, err := runID(r)
	if err != nil {
		return err
	}
	if a.note != nil {
		a.note.Run = string(id)
	}
	if h.Access == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	var namespaces []string
	err = h.Runs.View(ctx, id, func(m *engine.Machine, s *engine.State) error {
		namespaces = Namespaces(m, s)
		if a.note != nil {
			a.note.Workflow = s.Input.Workflow
		}
		return nil
	})
	if errors.Is(err, scheduler.ErrNotFound) && h.Archive != nil {
		namespaces, err = h.Archive.Namespaces(ctx, id)
	}
	if err != nil {
		return err
	}
	missing, err := h.lacks(ctx, a, right, namespaces)
	if err != nil || missing == "" {
		return err
	}
	if right == access.Run {
		if hidden, err := h.lacks(ctx, a, access.Read, namespaces); err != nil || hidden == "" {
			if err != nil {
				return err
			}
			return forbidden("%s may not run jobs in namespace %s, which run %s uses: that takes submit-job", a.words(), missing, id)
		}
	}
	return notFound("there is no run %s", id)
}

// Namespaces are those that a run uses: what it is held to, or else what its definition names.
func Namespaces(m *engine.Machine, s *engine.State) []string {
	if len(s.Input.Namespaces) > 0 {
		return s.Input.Namespaces
	}
	return m.Definition().AllNamespaces()
}

// lacks names a namespace in which an asker has not the right; empty: there is none.
func (h *handler) lacks(ctx context.Context, a *asker, right access.Right, namespaces []string) (string, error) {
	for _, namespace := range namespaces {
		if yes, err := h.Access.May(ctx, a.token, right, namespace); err != nil {
			return "", unanswered(err)
		} else if !yes {
			return namespace, nil
		}
	}
	return "", nil
}

// mayList reports whether runs of a namespace are for whoever asks.
func (h *handler) mayList(ctx context.Context, r *http.Request, namespace string) (bool, error) {
	if h.Access == nil {
		return true, nil
	}
	missing, err := h.lacks(ctx, askerOf(r), access.Read, []string{namespace})
	return missing == "", err
}

// maySubmit refuses whoever may not run a definition, and returns the namespaces that its run is held to: those that its
// files name, in all of which the caller may run jobs. Nil: there is no access control, and the run may use any.
func (h *handler) maySubmit(r *http.Request, def *workflow.Definition) ([]string, error) {
	a := askerOf(r)
	a.note.Action, a.note.Workflow = "submit", def.Name
	var namespaces []string
	if h.Access != nil {
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		namespaces = def.AllNamespaces()
		missing, err := h.lacks(ctx, a, access.Run, namespaces)
		if err == nil && missing != "" {
			err = forbidden("%s may not run jobs in namespace %s, which workflow %s uses: that takes submit-job, and the namespace must exist",
				a.words(), missing, def.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	return namespaces, h.begin(r, a)
}

// heldTo are the namespaces that a new run of a definition is held to.
func (h *handler) heldTo(def *workflow.Definition) []string {
	if h.Access == nil {
		return nil
	}
	return def.AllNamespaces()
}

// by is who a verb is recorded for: whoever the token belongs to, whatever the request says.
func (h *handler) by(r *http.Request, claimed string) string {
	a := askerOf(r)
	if h.Access != nil {
		return a.Label()
	}
	if a.note != nil {
		a.note.Who = claimed
	}
	return claimed
}
