// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// runs keeps one run in memory; verbs only change its status.
type runs struct {
	mu      sync.Mutex // guards everything below
	machine *engine.Machine
	state   *engine.State
	index   uint64
	changed chan struct{}
	verbs   []engine.Event
	reruns  []scheduler.Rerun
	subs    []scheduler.Submission
	logs    func(scheduler.LogRequest) (io.ReadCloser, error)
	notice  string
	news    []scheduler.News
	over    bool          // nobody leads
	lists   int           // how often the list was read
	waiting chan struct{} // told of each blocking read that begins to wait; nil = nobody wants to know
}

var _ httpapi.Runs = (*runs)(nil)

func newRuns(m *engine.Machine, s *engine.State) *runs {
	return &runs{machine: m, state: s, index: 1, changed: make(chan struct{})}
}

func (r *runs) View(ctx context.Context, id workflow.RunID, read func(*engine.Machine, *engine.State) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if id != r.state.Input.Run {
		return fmt.Errorf("view: %w", scheduler.ErrNotFound)
	}
	return read(r.machine, r.state)
}

func (r *runs) Notice(workflow.RunID) string { return r.notice }
func (r *runs) Leading() bool                { return true }

func (r *runs) Verb(_ context.Context, _ workflow.RunID, e engine.Event) error {
	r.change(func() { r.verbs = append(r.verbs, e) })
	return nil
}

func (r *runs) Rerun(_ context.Context, re scheduler.Rerun) (workflow.RunID, error) {
	if !r.state.Head.Status.Terminal() {
		return "", &engine.Misfit{Text: "it is not over"}
	}
	r.change(func() { r.reruns = append(r.reruns, re) })
	return r.state.Input.Run, nil
}

func (r *runs) Submit(_ context.Context, sub scheduler.Submission) (workflow.RunID, error) {
	if sub.IdempotencyKey == "taken" {
		return "", &scheduler.KeyTakenError{Key: "taken", Run: r.state.Input.Run}
	}
	r.change(func() { r.subs = append(r.subs, sub) })
	return r.state.Input.Run, nil
}

func (r *runs) change(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
	r.index++
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *runs) Changes(ctx context.Context, _ workflow.RunID, index uint64) (uint64, error) {
	for {
		r.mu.Lock()
		now, changed := r.index, r.changed
		r.mu.Unlock()
		if now != index {
			return now, nil
		}
		if r.waiting != nil {
			r.waiting <- struct{}{}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return index, nil
		}
	}
}

func (r *runs) List(_ context.Context, f scheduler.Filter) ([]scheduler.Summary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists++
	var out []scheduler.Summary
	for i, status := range []workflow.RunStatus{"running", "failed", "succeeded"} {
		head, err := json.Marshal(engine.Head{Status: status, StartedAt: at(2 - i)})
		if err != nil {
			return nil, err
		}
		sum := scheduler.Summary{
			ID: workflow.RunID(strings.Repeat(string(rune('c'-i)), 20)), Workflow: "w", Namespace: "default", CreatedAt: at(2 - i), Head: head,
			Labels: map[string]string{"n": strconv.Itoa(i), "of": "three"}, Done: status.Terminal(),
		}
		if f.Matches(&sum) && (f.Limit == 0 || len(out) < f.Limit) {
			out = append(out, sum)
		}
	}
	return out, nil
}

func (r *runs) ListChanges(ctx context.Context, index uint64, match func(*scheduler.News) bool) (uint64, error) {
	at := scheduler.NewsPosition{Epoch: epoch, Index: index}
	for index > 0 {
		list, next, missed, err := r.News(ctx, at, match, 1)
		if err != nil || missed || len(list) > 0 || ctx.Err() != nil {
			return next.Index, err
		}
		at = next
	}
	_, now, _, err := r.News(ctx, scheduler.NewsPosition{}, match, 1)
	return now.Index, err
}

// epoch is that of whom the tests ask.
const epoch = 3

func (r *runs) News(
	ctx context.Context, after scheduler.NewsPosition, match func(*scheduler.News) bool, most int,
) (list []scheduler.News, next scheduler.NewsPosition, missed bool, err error) {
	for {
		r.mu.Lock()
		news, changed, over := r.news, r.changed, r.over
		r.mu.Unlock()
		next = scheduler.NewsPosition{Epoch: epoch, Index: 1 + uint64(len(news))}
		switch {
		case over:
			return nil, after, false, scheduler.ErrNotLeading
		case after == scheduler.NewsPosition{}:
			return nil, next, false, nil
		case after.Epoch != epoch || after.Index > next.Index:
			return nil, next, true, nil
		}
		for i := int(after.Index) - 1; i < len(news) && len(list) < most; i++ {
			next.Index = 2 + uint64(i)
			if n := news[i]; match(&n) {
				n.Index = next.Index
				list = append(list, n)
			}
		}
		if len(list) > 0 {
			return list, next, false, nil
		}
		if r.waiting != nil && ctx.Err() == nil {
			r.waiting <- struct{}{}
		}
		select {
		case <-changed:
			after = next
		case <-ctx.Done():
			return nil, next, false, nil
		}
	}
}

func (r *runs) Logs(_ context.Context, req scheduler.LogRequest) (io.ReadCloser, error) {
	return r.logs(req)
}

// call makes a request by hand and returns status and body.
func call(t *testing.T, h http.Handler, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func handlerOf(r httpapi.Runs) http.Handler {
	return documented{httpapi.New(httpapi.Config{Runs: r, Version: "1.2.3", Logger: hclog.NewNullLogger()})}
}

// submission is the body of a request for a run of a file.
func submission(text, more string) string {
	b, err := json.Marshal(api.SubmitRequest{Files: []api.File{{Path: "a.hcl", Bytes: []byte(text)}}})
	if err != nil {
		panic(err) // strings
	}
	return strings.TrimSuffix(string(b), "}") + more + "}"
}

const oneWorkflow = `workflow "%s" {
  param "day" {
    type = string
  }
  param "n" {
    type    = number
    default = 3
  }
  task "t" {
    driver = "raw_exec"
    config { command = "/bin/true" }
  }
}
`

var (
	severalWorkflows = submission(fmt.Sprintf(oneWorkflow+oneWorkflow, "a", "b"), "")
	takenKey         = submission(fmt.Sprintf(oneWorkflow, "a"), `,"params":{"day":"x"},"key":"taken"`)
)

func TestARunIsSubmittedAsItWasChecked(t *testing.T) {
	r := newRuns(nightly(t))
	status, body := call(t, handlerOf(r), "POST", "/v1/runs", submission(fmt.Sprintf(oneWorkflow, "a"), `,"params":{"day":"x"},"param_texts":{"n":"2 + 2"},"by":"ada","key":"k"`))
	if status != http.StatusOK || !strings.Contains(body, string(runID)) || len(r.subs) != 1 {
		t.Fatalf("%d %s, %d submissions", status, body, len(r.subs))
	}
	sub := r.subs[0]
	if sub.Definition.Name != "a" || sub.By != "ada" || sub.IdempotencyKey != "k" || sub.ID == "" || sub.Namespace != "default" || sub.ScheduledAt == 0 {
		t.Errorf("submission %+v", sub)
	}
	if diff := cmp.Diff(map[string]workflow.Value{"day": value(`"x"`), "n": value("4")}, sub.Params); diff != "" {
		t.Errorf("params (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"day", "n"}, sub.Given); diff != "" {
		t.Errorf("given (-want +got):\n%s", diff)
	}
	for what, text := range map[string]string{
		"the files have problems":                    submission(`workflow "a" {}`, ""),
		"the params are not what the workflow takes": submission(fmt.Sprintf(oneWorkflow, "a"), ""),
	} {
		status, body := call(t, handlerOf(r), "POST", "/v1/runs", text)
		var said api.Error
		if err := json.Unmarshal([]byte(body), &said); err != nil {
			t.Fatal(err)
		}
		if status != http.StatusUnprocessableEntity || said.Code != api.CodeInvalid || said.Message != what || len(said.Diagnostics) != 1 || len(r.subs) != 1 {
			t.Errorf("%d %s, want a problem: %s", status, body, what)
		}
	}
}

// A blocking read that its server ends is told so: an empty answer would be none.
func TestARequestThatTheServerEndsIsAnswered(t *testing.T) {
	r := newRuns(begun(t))
	r.waiting = make(chan struct{}, 1)
	ctx, end := context.WithCancel(t.Context())
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		req := httptest.NewRequest("GET", "/v1/run/"+string(runID)+"?index="+strconv.FormatUint(r.index, 10), nil)
		handlerOf(r).ServeHTTP(w, req.WithContext(ctx))
	}()
	<-r.waiting
	end()
	<-done
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), api.CodeNotReady) {
		t.Errorf("answered %d %q", w.Code, w.Body)
	}
}

func TestBadRequestsSayWhatIsWrong(t *testing.T) {
	run := "/v1/run/" + string(runID)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code, message            string
	}{
		{"no such path", "GET", "/v2/runs", "", 404, "not_found", "there is nothing at /v2/runs"},
		{"wrong method", "PUT", "/v1/runs", "", 405, "bad_method", "/v1/runs takes GET and POST, not PUT"},
		{"run without files", "POST", "/v1/runs", "{}", 400, "bad_request", "files is empty: a run needs the files of its workflow"},
		{"run that is no JSON", "POST", "/v1/runs", "{", 400, "bad_request", "the request is not what a run takes: unexpected EOF"},
		{"run with a param given twice", "POST", "/v1/runs", `{"files":[{"path":"a.hcl"}],"params":{"d":1},"param_texts":{"d":"1"}}`, 400, "bad_request", "param d is given twice: in params and in param_texts"},
		{"run of one of several workflows", "POST", "/v1/runs", severalWorkflows, 400, "bad_request", "the files declare a, b: name one of them in workflow"},
		{"run with a key that is taken", "POST", "/v1/runs", takenKey, 409, "conflict", `idempotency key "taken" was used for run abcdefghijklmnopqrst with another definition or other params: submit with a new key`},
		{"malformed run ID", "GET", "/v1/run/7", "", 400, "bad_request", `run ID "7": want 20 characters of a-z and 2-7`},
		{"unknown run", "GET", "/v1/run/zzzzzzzzzzzzzzzzzzzz", "", 404, "not_found", "there is no run zzzzzzzzzzzzzzzzzzzz"},
		{"index is no number", "GET", run + "?index=x", "", 400, "bad_request", "index=x: want the number from the header X-Cairn-Index"},
		{"wait is no duration", "GET", run + "?index=1&wait=7", "", 400, "bad_request", "wait=7: want a duration such as 30s"},
		{"unknown parameter", "GET", run + "?inedx=1", "", 400, "bad_request", run + ` does not take "inedx"; it takes index, wait and stale`},
		{"stale is neither true nor false", "GET", run + "?stale=maybe", "", 400, "bad_request", "stale=maybe: want true or false"},
		{"unknown status of a run", "GET", "/v1/runs?status=done", "", 400, "bad_request", "status=done: there is no such status of a run"},
		{"page too large", "GET", "/v1/runs?per_page=1001", "", 400, "bad_request", "per_page=1001: want a number from 1 to 1000"},
		{"place in a list that is gone", "GET", "/v1/runs?next=x", "", 400, "bad_request", "next=x: want what the page before says of the next one"},
		{"label without a value", "GET", "/v1/runs?label=team", "", 400, "bad_request", "label=team: want NAME=VALUE"},
		{"label with two values", "GET", "/v1/runs?label=a=1&label=a=2", "", 400, "bad_request", `label a is to be both "1" and "2": no run is listed under that`},
		{"since is no time", "GET", "/v1/runs?since=yesterday", "", 400, "bad_request", "since=yesterday: want a time such as 2026-01-31T08:00:00Z, or how long ago, such as 24h"},
		{"index of a list is no number", "GET", "/v1/runs?index=-1", "", 400, "bad_request", "index=-1: want the number from the header X-Cairn-Index"},
		{"events of a malformed run", "GET", "/v1/events?run=7", "", 400, "bad_request", `run ID "7": want 20 characters of a-z and 2-7`},
		{"leader of no server", "GET", "/v1/status/leader", "", 404, "not_found", "this is the process of one run and no server: there is nobody to lead"},
		{"instances without a task", "GET", run + "/instances", "", 400, "bad_request", "name a task: task=NAME"},
		{"instances of an unknown task", "GET", run + "/instances?task=load", "", 404, "not_found", "run abcdefghijklmnopqrst has no task \"load\"; it has extract"},
		{"unknown status of an instance", "GET", run + "/instances?task=extract&status=done", "", 400, "bad_request", "status=done: there is no such status of an instance"},
		{"logs without a task", "GET", run + "/logs", "", 400, "bad_request", "logs needs the name of a task: task=NAME"},
		{"unknown stream", "GET", run + "/logs?task=extract&stream=out", "", 400, "bad_request", "stream=out: want stdout or stderr"},
		{"unknown key", "GET", run + "/logs?task=extract&key=us", "", 404, "not_found", `task extract has no instance "us"; it has "eu"`},
		{"unknown attempt", "GET", run + "/logs?task=extract&attempt=2", "", 404, "not_found", `instance "eu" of task extract has no attempt 2: the newest is 1`},
		{"verb with an unknown field", "POST", run + "/stop", `{"why":"x"}`, 400, "bad_request", `the request is not what stop takes: json: unknown field "why"`},
		{"verb too large", "POST", run + "/stop", strings.Repeat(" ", 600000), 413, "too_large", "the request is larger than 524288 bytes"},
		{"run too large", "POST", "/v1/runs", strings.Repeat(" ", httpapi.MaxBody+1), 413, "too_large", "the request is larger than 16777216 bytes"},
		{"verb with two documents", "POST", run + "/stop", `{} {}`, 400, "bad_request", "the request is not what stop takes: there is more after the JSON document"},
		{"verb that is a list", "POST", run + "/stop", `[]`, 400, "bad_request", "the request is not what stop takes: it is of type array, want an object"},
		{"verb with a number for a text", "POST", run + "/stop", `{"by":7}`, 400, "bad_request", "the request is not what stop takes: by is of type number, want a string"},
		{"verb that is no text", "POST", run + "/stop", "\x00\xff", 400, "bad_request", "the request is not what stop takes: invalid character '\\x00' looking for beginning of value"},
		{"verb that is deep", "POST", run + "/stop", strings.Repeat("[", 20_000), 400, "bad_request", "the request is not what stop takes: invalid character '[' exceeded max depth"},
		{"value that is too deep", "POST", run + "/succeed", `{"task":"extract","values":{"rows":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}}`, 400, "bad_request", "the request is not what succeed takes: invalid character '[' exceeded max depth"},
		{"files of the wrong type", "POST", "/v1/runs", `{"files":"a.hcl"}`, 400, "bad_request", "the request is not what a run takes: files is of type string, want a list"},
		{"bytes that are no base64", "POST", "/v1/runs", `{"files":[{"path":"a.hcl","bytes":"%"}]}`, 400, "bad_request", "the request is not what a run takes: illegal base64 data at input byte 0"},
		{"a verb that nobody knows", "POST", run + "/explode", "", 404, "not_found", "there is nothing at " + run + "/explode"},
		{"rerun with an unknown field", "POST", run + "/rerun", `{"form":["x"]}`, 400, "bad_request", `the request is not what rerun takes: json: unknown field "form"`},
		{"rerun from an unknown task", "POST", run + "/rerun", `{"from":["load"]}`, 404, "not_found", `run abcdefghijklmnopqrst has no task "load"; it has extract`},
		{"rerun with a param given twice", "POST", run + "/rerun", `{"params":{"day":1},"param_texts":{"day":"1"}}`, 400, "bad_request", "param day is given twice: in params and in param_texts"},
		{"retry by a method that is neither", "PUT", run + "/retry", "", 405, "bad_method", run + "/retry takes GET and POST, not PUT"},
		{"retry of an instance of nothing", "POST", run + "/retry", `{"key":"eu"}`, 400, "bad_request", "key names an instance of a task: retry needs the task too"},
		{"retry plan of a run that succeeded", "GET", run + "/retry", "", 409, "conflict", "run abcdefghijklmnopqrst is succeeded; retry is for runs that are failed, cancelled or skipped"},
		{"skip names no task", "POST", run + "/skip", `{}`, 400, "bad_request", "skip needs the name of a task"},
		{"approve names no task", "POST", run + "/approve", `{}`, 400, "bad_request", "approve needs the name of a task"},
		{"skip takes no values", "POST", run + "/skip", `{"task":"extract","values":{"rows":1}}`, 400, "bad_request", "skip takes no values"},
		{"stop takes no values", "POST", run + "/stop", `{"texts":{"rows":"1"}}`, 400, "bad_request", "stop takes no values"},
		{"an output is given twice", "POST", run + "/succeed", `{"task":"extract","values":{"rows":1},"texts":{"rows":"1"}}`, 400, "bad_request", "output rows is given twice: in values and in texts"},
		{"generation of a stop", "POST", run + "/stop", `{"generation":2}`, 400, "bad_request", "generation is for retry"},
		{"negative generation", "POST", run + "/retry", `{"generation":-2}`, 400, "bad_request", "generation counts from 1"},
		{"children is no truth", "GET", "/v1/runs?children=few", "", 400, "bad_request", "children=few: want true or false"},
		{"stop names a task", "POST", run + "/stop", `{"task":"extract"}`, 400, "bad_request", "stop is for a whole run and takes no task"},
		{"cancel names no task", "POST", run + "/cancel", ``, 400, "bad_request", "cancel needs the name of a task"},
		{
			"stop of a run that is over", "POST", run + "/stop", "", 409, "conflict",
			"run abcdefghijklmnopqrst is succeeded; stop is for runs that are queued, running, pausing or paused",
		},
		{
			"cancel of a task that is over", "POST", run + "/cancel", `{"task":"extract"}`, 409, "conflict",
			"task extract is succeeded; cancel is for what is queued, waiting, starting or running",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := call(t, handlerOf(newRuns(nightly(t))), c.method, c.path, c.body)
			var got api.Error
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("answer %q: %v", body, err)
			}
			if diff := cmp.Diff(api.Error{Status: c.status, Code: c.code, Message: c.message}, got); diff != "" || status != c.status {
				t.Errorf("status %d, error (-want +got):\n%s", status, diff)
			}
		})
	}
}

// server is a handler behind a socket, called as any HTTP client would.
type server struct {
	*httptest.Server
	t *testing.T
}

func serve(t *testing.T, r httpapi.Runs) server {
	t.Helper()
	s := httptest.NewServer(handlerOf(r))
	t.Cleanup(s.Close)
	return server{s, t}
}

// do makes a request; an answer that is no success becomes an *api.Error.
func (s server) do(method, path string, body any) (*http.Response, error) {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		said := &api.Error{}
		if err := json.NewDecoder(res.Body).Decode(said); err != nil {
			s.t.Fatalf("%s %s: status %d and no error: %v", method, path, res.StatusCode, err)
		}
		return nil, said
	}
	return res, nil
}

// get reads a document.
func get[T any](s server, path string) (T, http.Header, error) {
	s.t.Helper()
	var out T
	res, err := s.do("GET", path, nil)
	if err != nil {
		return out, nil, err
	}
	defer res.Body.Close()
	return out, res.Header, json.NewDecoder(res.Body).Decode(&out)
}

// log reads a log to its end.
func (s server) log(query string) (string, error) {
	s.t.Helper()
	res, err := s.do("GET", runPath+"/logs?"+query, nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

const runPath = "/v1/run/" + string(runID)

func TestHealth(t *testing.T) {
	got, _, err := get[api.Health](serve(t, newRuns(nightly(t))), "/v1/agent/health")
	if err != nil || !got.Healthy || !got.Leader || got.Version != "1.2.3" || got.PID == 0 {
		t.Errorf("health %+v, %v", got, err)
	}
}

func TestListsAreFilteredAndPaged(t *testing.T) {
	s := serve(t, newRuns(nightly(t)))
	ids := func(query string) string {
		var out []string
		next := ""
		for {
			page, _, err := get[api.Runs](s, "/v1/runs?"+query+"&next="+next)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Runs {
				out = append(out, r.ID[:1]+":"+r.Status)
			}
			if next = page.Next; next == "" {
				return strings.Join(out, " ")
			}
			out = append(out, "|")
		}
	}
	for query, want := range map[string]string{
		"":                         "c:running b:failed a:succeeded",
		"per_page=2":               "c:running b:failed | a:succeeded",
		"per_page=3":               "c:running b:failed a:succeeded",
		"status=failed&per_page=1": "b:failed",
		"workflow=other":           "",
	} {
		if got := ids(query); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

func TestInstancesArePaged(t *testing.T) {
	s := serve(t, newRuns(manyShards(t)))
	next := ""
	var keys []string
	for pages := 1; ; pages++ {
		page, _, err := get[api.Instances](s, runPath+"/instances?task=shard&status=running&per_page=10&next="+next)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range page.Instances {
			keys = append(keys, *in.Key)
		}
		if next = page.Next; next == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
	}
	if len(keys) != 25 || keys[0] != "9" || keys[24] != "249" {
		t.Errorf("got %v", keys)
	}
}

func TestABlockingReadWaitsForAChange(t *testing.T) {
	m, s := nightly(t)
	s.Head.Status = workflow.RunRunning
	r := newRuns(m, s)
	r.waiting = make(chan struct{}, 1)
	srv := serve(t, r)
	_, header, err := get[api.Run](srv, runPath)
	if err != nil {
		t.Fatal(err)
	}
	index := header.Get(api.IndexHeader)
	type result struct {
		run   api.Run
		index string
		err   error
	}
	answer := make(chan result, 1)
	go func() {
		run, header, err := get[api.Run](srv, runPath+"?wait=1m&index="+index)
		answer <- result{run, header.Get(api.IndexHeader), err}
	}()
	<-r.waiting
	r.change(func() { s.Head.Status = workflow.RunPaused })
	got := <-answer
	if got.err != nil || got.run.Status != "paused" || index != "1" || got.index != "2" {
		t.Errorf("got %+v, %v after index %s", got.run, got.err, index)
	}
}

func TestABlockingReadOfWhatIsOverDoesNotWait(t *testing.T) {
	run, _, err := get[api.Run](serve(t, newRuns(nightly(t))), runPath+"?index=1&wait=10m")
	if err != nil || run.Status != "succeeded" {
		t.Errorf("got %+v, %v", run, err)
	}
}

func TestABlockingReadEndsWithItsWait(t *testing.T) {
	m, s := nightly(t)
	s.Head.Status = workflow.RunRunning
	_, header, err := get[api.Run](serve(t, newRuns(m, s)), runPath+"?index=1&wait=1ms")
	if err != nil || header.Get(api.IndexHeader) != "1" {
		t.Errorf("index %s, %v; want the one given", header.Get(api.IndexHeader), err)
	}
}

func TestANoticeIsTheReasonOfARunThatDoesNotGetOn(t *testing.T) {
	m, s := nightly(t)
	s.Head.Status = workflow.RunRunning
	r := newRuns(m, s)
	r.notice = "its state cannot be saved: no space left on device"
	run, _, err := get[api.Run](serve(t, r), runPath)
	if err != nil || run.Reason != r.notice {
		t.Errorf("reason %q, %v; want the notice", run.Reason, err)
	}
}

func TestLogsAreThoseOfTheAttemptAskedFor(t *testing.T) {
	m, s := nightly(t)
	r := newRuns(m, s)
	var got scheduler.LogRequest
	r.logs = func(req scheduler.LogRequest) (io.ReadCloser, error) {
		got = req
		return io.NopCloser(strings.NewReader("hello\n")), nil
	}
	text, err := serve(t, r).log("task=extract&key=eu&attempt=1&stream=stderr&tail=7")
	if err != nil || text != "hello\n" {
		t.Errorf("log %q, %v", text, err)
	}
	want := scheduler.LogRequest{
		Attempt: workflow.MakeAttemptID(runID, 0, 0, 1), Place: engine.Place{Node: "n1", JobID: "j1", AllocID: "a1"},
		Task: "extract", Stderr: true, Tail: 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestAFollowedLogIsWaitedFor(t *testing.T) {
	m, s := nightly(t)
	in := s.Instances[0][0]
	s.Head.Status, s.Tasks[0].Status, in.Status, in.Current, in.Past = workflow.RunRunning, workflow.Running, workflow.Running, &engine.Current{}, nil
	r := newRuns(m, s)
	r.waiting = make(chan struct{}, 1)
	written := false
	r.logs = func(scheduler.LogRequest) (io.ReadCloser, error) {
		if !written {
			return nil, scheduler.ErrNotFound
		}
		return io.NopCloser(strings.NewReader("at last\n")), nil
	}
	srv := serve(t, r)
	if _, err := srv.log("task=extract"); err == nil || !strings.Contains(err.Error(), "-follow waits for it") {
		t.Errorf("a log that is not there yet: %v", err)
	}
	type result struct {
		text string
		err  error
	}
	answer := make(chan result, 1)
	go func() {
		text, err := srv.log("task=extract&follow=true")
		answer <- result{text, err}
	}()
	<-r.waiting
	r.change(func() { written = true })
	if got := <-answer; got.err != nil || got.text != "at last\n" {
		t.Errorf("log %q, %v", got.text, got.err)
	}
}

func TestALogThatWasCollectedIsGone(t *testing.T) {
	r := newRuns(nightly(t))
	r.logs = func(scheduler.LogRequest) (io.ReadCloser, error) { return nil, scheduler.ErrGone }
	_, err := serve(t, r).log("task=extract")
	var said *api.Error
	if !errors.As(err, &said) || said.Status != http.StatusGone || !strings.Contains(said.Message, "collected") {
		t.Errorf("got %v", err)
	}
}

// breaking is a log that breaks off in the middle.
type breaking struct{ io.Reader }

func (b breaking) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("the worker is gone")
	}
	return n, err
}
func (breaking) Close() error { return nil }

func TestALogThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	r := newRuns(nightly(t))
	long := strings.Repeat("x", 300_000)
	r.logs = func(scheduler.LogRequest) (io.ReadCloser, error) { return breaking{strings.NewReader(long)}, nil }
	text, err := serve(t, r).log("task=extract")
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %d bytes and %v; want a broken connection", len(text), err)
	}
}

func TestALargeLogArrivesWhole(t *testing.T) {
	r := newRuns(nightly(t))
	long := bytes.Repeat([]byte("0123456789abcdef\n"), 600_000) // 10 MB
	r.logs = func(scheduler.LogRequest) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(long)), nil }
	text, err := serve(t, r).log("task=extract")
	if err != nil || text != string(long) {
		t.Errorf("read %d of %d bytes, %v", len(text), len(long), err)
	}
}
