// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// eventsPath streams what happens.
const eventsPath = "/v1/events"

const (
	// eventsAtOnce bounds what is written at once.
	eventsAtOnce = 256
	// keepAlive is the longest silence of a stream: proxies cut off what is silent for a minute.
	keepAlive = 25 * time.Second
	// writePatience is how long a reader may take to take what was written to it; then it is dropped, and may come back
	// with the last ID it has seen.
	writePatience = 30 * time.Second
)

// Streams reports whether a path is a stream that its reader takes up again where it ended: it may end at any time.
func Streams(path string) bool { return path == eventsPath }

// events answers /v1/events with server-sent events. An ID is the epoch of the leader and the index of the event. Whoever
// comes back with the last one (Last-Event-ID) misses nothing, or is told by a reset that he may have.
func (h *handler) events(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "run", "workflow", "namespace"); err != nil {
		return err
	}
	match, err := wantedNews(r)
	if err != nil {
		return err
	}
	at, err := lastEvent(r)
	if err != nil {
		return err
	}
	end, err := h.Watches.Begin()
	if err != nil {
		return err
	}
	defer end()
	// The first look does not wait: whoever asks learns at once whether this is a stream, and where it stands.
	now, stop := context.WithCancel(r.Context())
	stop()
	list, at, missed, err := h.Runs.News(now, at, match, eventsAtOnce)
	if errors.Is(err, scheduler.ErrNotLeading) {
		return &api.Error{
			Status: http.StatusServiceUnavailable, Code: api.CodeNotReady,
			Message: "nobody drives runs here at the moment, so that nothing happens: ask again",
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	for {
		if list, err = h.visible(r, list); err != nil {
			h.Logger.Warn("a stream of events ends: what its reader may see is not known", "error", err)
			return nil
		}
		if err := out.SetWriteDeadline(time.Now().Add(writePatience)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return nil // nobody listens any more
		}
		b, err := encodeEvents(list, at, missed)
		if err != nil {
			h.Logger.Error("events cannot be encoded", "error", err)
			panic(http.ErrAbortHandler) // the status is sent
		}
		if _, err := w.Write(b); err != nil {
			return nil
		}
		if err := out.Flush(); err != nil {
			return nil
		}
		wait, stop := context.WithTimeout(r.Context(), keepAlive)
		list, at, missed, err = h.Runs.News(wait, at, match, eventsAtOnce)
		stop()
		if err != nil || r.Context().Err() != nil {
			return nil // another leader has the rest: the stream ends here, and its reader asks again
		}
	}
}

// visible leaves out what is not for whoever asks. It is asked anew with every piece of a stream: rights are taken away.
func (h *handler) visible(r *http.Request, list []scheduler.News) ([]scheduler.News, error) {
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	kept := list[:0]
	for _, n := range list {
		yes, err := h.mayList(ctx, r, n.Namespace)
		if err != nil {
			return nil, err
		}
		if yes {
			kept = append(kept, n)
		}
	}
	return kept, nil
}

// wantedNews are those that the filters of a request let through.
func wantedNews(r *http.Request) (func(*scheduler.News) bool, error) {
	query := r.URL.Query()
	name, namespace := query.Get("workflow"), query.Get("namespace")
	var run workflow.RunID
	if text := query.Get("run"); text != "" {
		var err error
		if run, err = workflow.ParseRunID(text); err != nil {
			return nil, badRequest("%s", err)
		}
	}
	return func(n *scheduler.News) bool {
		return (run == "" || n.Run == run) && (name == "" || n.Workflow == name) && (namespace == "" || n.Namespace == namespace)
	}, nil
}

// lastEvent is the place where a reader was; the zero value: he is new.
func lastEvent(r *http.Request) (at scheduler.NewsPosition, err error) {
	text := r.Header.Get(api.LastEventHeader)
	if text == "" {
		return at, nil
	}
	epoch, index, _ := strings.Cut(text, ".")
	at.Epoch, err = strconv.ParseUint(epoch, 10, 64)
	if err == nil {
		at.Index, err = strconv.ParseUint(index, 10, 64)
	}
	if err != nil || at == (scheduler.NewsPosition{}) {
		return at, badRequest("%s: %s: want the ID of an event", api.LastEventHeader, text)
	}
	return at, nil
}

func eventID(p scheduler.NewsPosition) string { return fmt.Sprintf("%d.%d", p.Epoch, p.Index) }

// encodeEvents writes events as a stream has them, and where it stands after them.
func encodeEvents(list []scheduler.News, at scheduler.NewsPosition, missed bool) ([]byte, error) {
	var b bytes.Buffer
	put := func(id string, e *api.Event) error {
		data, err := json.Marshal(e)
		fmt.Fprintf(&b, "id: %s\nevent: %s\ndata: %s\n\n", id, e.Type, data)
		return err
	}
	if missed {
		if err := put(eventID(at), &api.Event{Type: api.EventReset, Index: at.Index}); err != nil {
			return nil, err
		}
	}
	for i := range list {
		n := &list[i]
		e := api.Event{
			Type: api.EventRun, Index: n.Index, At: n.At.Time(), Run: string(n.Run), Workflow: n.Workflow, Namespace: n.Namespace,
			Parent: string(n.Parent), Task: n.Task, Status: n.Status, Reason: n.Reason, Attempt: n.Attempt,
		}
		if n.Task != "" {
			e.Type = api.EventTask
		}
		if err := put(eventID(scheduler.NewsPosition{Epoch: at.Epoch, Index: n.Index}), &e); err != nil {
			return nil, err
		}
	}
	if b.Len() == 0 { // an ID without data is no event, but the place from which a reader goes on
		fmt.Fprintf(&b, ": nothing new\nid: %s\n\n", eventID(at))
	}
	return b.Bytes(), nil
}
