// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/scheduler"
)

// listed is the first letter of each run of a page, and what is said of the next one.
func listed(t *testing.T, body string) (letters, next string) {
	t.Helper()
	var page api.Runs
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	for _, r := range page.Runs {
		letters += r.ID[:1]
	}
	return letters, page.Next
}

func TestAListIsFiltered(t *testing.T) {
	// The runs are c, created last and running, b failed, a succeeded.
	since := at(1).Time().UTC().Format(time.RFC3339Nano)
	for query, want := range map[string]string{
		"":                               "cba",
		"workflow=w":                     "cba",
		"workflow=other":                 "",
		"namespace=default":              "cba",
		"namespace=other":                "",
		"status=failed":                  "b",
		"status=failed&status=running":   "cb",
		"status=succeeded&status=failed": "ba",
		"status=queued":                  "",
		"label=n=1":                      "b",
		"label=of=three":                 "cba",
		"label=of=three&label=n=0":       "c",
		"label=n=":                       "",
		"since=" + since:                 "cb",
		"until=" + since:                 "a",
		"since=" + since + "&until=0s":   "cb",
		"since=1ns":                      "",
		"status=failed&label=n=1&workflow=w&namespace=default&children=true&per_page=1&until=0s": "b",
	} {
		status, body := call(t, handlerOf(newRuns(nightly(t))), "GET", "/v1/runs?"+query, "")
		if got, _ := listed(t, body); status != http.StatusOK || got != want {
			t.Errorf("%s lists %d %q, want %q", query, status, got, want)
		}
	}
}

func TestAListIsReadPageByPage(t *testing.T) {
	for _, filter := range []string{"", "&status=running&status=failed&status=succeeded"} {
		h, next, all := handlerOf(newRuns(nightly(t))), "", ""
		for range 3 {
			_, body := call(t, h, "GET", "/v1/runs?per_page=1&next="+next+filter, "")
			var letters string
			letters, next = listed(t, body)
			all += letters
		}
		if all != "cba" || next != "" {
			t.Errorf("pages of one run%s: %s and %q is next", filter, all, next)
		}
		// A place stays one when its run is gone.
		_, body := call(t, h, "GET", "/v1/runs?next="+strings.Repeat("b", 19)+"c"+filter, "")
		if got, _ := listed(t, body); got != "ba" {
			t.Errorf("behind a run that is gone%s: %s", filter, got)
		}
	}
}

func TestAListBlocksUntilARunHasChanged(t *testing.T) {
	r := newRuns(nightly(t))
	r.waiting = make(chan struct{}, 1)
	s := serve(t, r)
	read := func(query string) (index string) {
		res, err := s.do("GET", "/v1/runs?workflow=w&"+query, nil)
		if err != nil {
			t.Error(err)
			return ""
		}
		defer res.Body.Close()
		return res.Header.Get(api.IndexHeader)
	}
	first := read("")
	if again := read("index=" + first + "&wait=1ms"); again != first {
		t.Errorf("index %s after nothing has happened, want %s", again, first)
	}
	<-r.waiting
	before := r.lists
	done := make(chan string)
	go func() { done <- read("index=" + first) }()
	<-r.waiting
	for _, n := range []scheduler.News{{Workflow: "other"}, {Workflow: "w", Task: "t"}, {Workflow: "w", Parent: "parent"}} {
		r.change(func() { r.news = append(r.news, n) })
		<-r.waiting // it waits again
	}
	if r.lists != before {
		t.Errorf("the list was read %d times for what it does not show", r.lists-before)
	}
	r.change(func() { r.news = append(r.news, scheduler.News{Workflow: "w", Status: "running"}) })
	if last := <-done; last == first {
		t.Errorf("index %s as before", last)
	}
	if now := read("index=4711"); now == "4711" {
		t.Error("an index of another server was waited for")
	}
}

// stream reads events from the handler of r as they come.
func stream(t *testing.T, r *runs, query, last string) (*http.Response, func() string) {
	t.Helper()
	s := httptest.NewServer(handlerOf(r))
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		res.Body.Close()
		s.Close()
	})
	var rest string
	return res, func() string {
		for {
			if event, after, whole := strings.Cut(rest, "\n\n"); whole {
				rest = after
				return event
			}
			b := make([]byte, 4096)
			n, err := res.Body.Read(b)
			rest += string(b[:n])
			if err != nil && !strings.Contains(rest, "\n\n") {
				return "the end: " + err.Error()
			}
		}
	}
}

func TestEventsAreStreamedAndTakenUpAgain(t *testing.T) {
	r := newRuns(nightly(t))
	r.news = []scheduler.News{{Run: "old", Workflow: "w"}}
	res, next := stream(t, r, "?workflow=w", "")
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%s with %s", res.Status, got)
	}
	got := []string{next()} // where it stands
	happens := func(n ...scheduler.News) { r.change(func() { r.news = append(r.news, n...) }) }
	happens(scheduler.News{At: at(1), Run: runID, Workflow: "w", Namespace: "default", Status: "running"})
	got = append(got, next())
	happens(scheduler.News{Run: runID, Workflow: "other"},
		scheduler.News{At: at(2), Run: runID, Workflow: "w", Namespace: "default", Task: "t", Status: "running", Attempt: 2, Reason: "a \n b", Parent: "p"})
	got = append(got, next())
	if diff := cmp.Diff([]string{
		": nothing new\nid: 3.2",
		"id: 3.3\nevent: run\ndata: " + `{"type":"run","index":3,"at":"` + at(1).Time().Format(time.RFC3339Nano) + `","run":"abcdefghijklmnopqrst","workflow":"w","namespace":"default","status":"running"}`,
		"id: 3.5\nevent: task\ndata: " + `{"type":"task","index":5,"at":"` + at(2).Time().Format(time.RFC3339Nano) + `","run":"abcdefghijklmnopqrst","workflow":"w","namespace":"default","parent":"p","task":"t","status":"running","reason":"a \n b","attempt":2}`,
	}, got); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}

	for name, c := range map[string]struct{ query, last, want string }{
		"from the last one seen":       {"", "3.3", "id: 3.4\nevent: run\n"},
		"of one run":                   {"?run=" + string(runID), "3.1", "id: 3.3\n"},
		"of one namespace":             {"?namespace=default", "3.1", "id: 3.3\n"},
		"of another leader":            {"", "2.3", "id: 3.5\nevent: reset\ndata: {\"type\":\"reset\",\"index\":5}"},
		"from where nothing was yet":   {"", "3.99", "id: 3.5\nevent: reset\n"},
		"of what has nothing to offer": {"?workflow=none", "3.2", ": nothing new\nid: 3.5"},
	} {
		_, next := stream(t, r, c.query, c.last)
		if got := next(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}

	r.change(func() { r.over = true })
	if got := next(); got != "the end: EOF" {
		t.Errorf("the leader is over: %q, want a clean end", got)
	}
	res, _ = stream(t, r, "", "")
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("where nobody leads: %s", res.Status)
	}
	res, _ = stream(t, r, "", "x.1")
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a malformed last ID: %s", res.Status)
	}
}
