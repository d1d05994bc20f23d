// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// Audit keeps what callers changed. A record is kept before anything is done, so that none is lost with a server that dies
// in between, and once more with its outcome. Requests that are refused stand in the log only: whoever may do nothing must
// not fill the store.
type Audit interface {
	// Note keeps a record in place of the one with the same ID.
	Note(ctx context.Context, r api.AuditRecord) error
	// Day returns what is kept of a day of UTC, oldest first.
	Day(ctx context.Context, day time.Time) ([]api.AuditRecord, error)
}

const (
	outcomeDone = "done"
	maxFrom     = 200 // bytes of what a request says of where it comes from
)

// audit answers GET /v1/operator/audit with the records of a day, of today unless day=2006-01-02 says otherwise.
func (h *handler) audit(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "day"); err != nil {
		return err
	}
	day := time.Now().UTC()
	if text := r.URL.Query().Get("day"); text != "" {
		var err error
		if day, err = time.Parse(time.DateOnly, text); err != nil {
			return badRequest("day=%s: want a day such as 2006-01-02", text)
		}
	}
	if h.Audit == nil {
		return notFound("this process keeps no audit")
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	records, err := h.Audit.Day(ctx, day)
	if err != nil {
		return err
	}
	h.reply(w, r, http.StatusOK, api.Audit{Day: day.Format(time.DateOnly), Records: append([]api.AuditRecord{}, records...)})
	return nil
}

func newNote(pattern string, r *http.Request) *api.AuditRecord {
	now := time.Now().UTC()
	var random [4]byte
	// Read never fails: the runtime ends the process instead.
	_, _ = rand.Read(random[:])
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr // of a unix socket
	}
	if before := strings.Join(r.Header.Values("X-Forwarded-For"), ", "); before != "" {
		from = before[:min(len(before), maxFrom)] + " by " + from
	}
	return &api.AuditRecord{
		ID: fmt.Sprintf("%019d-%x", now.UnixNano(), random), At: now, From: from, Action: path.Base(pattern), Run: r.PathValue("id"),
	}
}

// begin keeps the note of a request that may be carried out.
func (h *handler) begin(r *http.Request, a *asker) error {
	if a.note == nil {
		return nil
	}
	if h.Audit == nil {
		a.begun = true
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	if err := h.Audit.Note(ctx, *a.note); err != nil {
		return &api.Error{
			Status: http.StatusServiceUnavailable, Code: api.CodeNotReady,
			Message: fmt.Sprintf("the audit cannot note the request, so nothing was done: %s; ask again", err),
		}
	}
	a.begun = true
	return nil
}

// ended notes what came of a request; out is nil where it was done.
func (h *handler) ended(r *http.Request, a *asker, out *api.Error) {
	if a.note == nil || !h.audited() {
		return
	}
	a.note.Outcome = outcomeDone
	if out != nil {
		a.note.Outcome = out.Code
	}
	h.auditLog(a, out)
	if !a.begun || h.Audit == nil { // refused, for who sent it or for what it holds
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callTimeout)
	defer cancel()
	if err := h.Audit.Note(ctx, *a.note); err != nil {
		h.Logger.Warn("the audit has no outcome of a request", "record", a.note.ID, "error", err)
	}
}

// audited reports whether this is a server for many: one that drives a single run for its user has nothing to tell.
func (h *handler) audited() bool { return h.Access != nil || h.Audit != nil }

func (h *handler) auditLog(a *asker, out *api.Error) {
	n := a.note
	message := "request refused"
	if a.begun {
		message = "request carried out"
	}
	args := []any{
		"record", n.ID, "who", n.Who, "accessor", n.Accessor, "from", n.From, "action", n.Action, "run", n.Run, "workflow", n.Workflow, "outcome", n.Outcome,
	}
	if out != nil {
		args = append(args, "message", out.Message)
	}
	h.Logger.Named("audit").Info(message, args...)
}
