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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
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
	logs    func(scheduler.LogRequest) (io.ReadCloser, error)
	notice  string
	waiting chan struct{} // told of each blocking read that begins to wait; nil = nobody wants to know
}

var _ httpapi.Runs = (*runs)(nil)

func newRuns(m *engine.Machine, s *engine.State) *runs {
	return &runs{machine: m, state: s, index: 1, changed: make(chan struct{})}
}

func (r *runs) View(_ context.Context, id workflow.RunID, read func(*engine.Machine, *engine.State) error) error {
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
	var out []scheduler.Summary
	for i, status := range []workflow.RunStatus{"running", "failed", "succeeded"} {
		head, err := json.Marshal(engine.Head{Status: status, StartedAt: at(i)})
		if err != nil {
			return nil, err
		}
		id := workflow.RunID(strings.Repeat(string(rune('c'-i)), 20))
		if f.Workflow == "" || f.Workflow == "w" {
			out = append(out, scheduler.Summary{ID: id, Workflow: "w", Namespace: "default", CreatedAt: at(i), Head: head})
		}
	}
	return out, nil
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
	return httpapi.New(httpapi.Config{Runs: r, Version: "1.2.3", Logger: hclog.NewNullLogger()})
}

func TestBadRequestsSayWhatIsWrong(t *testing.T) {
	run := "/v1/run/" + string(runID)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code, message            string
	}{
		{"no such path", "GET", "/v2/runs", "", 404, "not_found", "there is nothing at /v2/runs"},
		{"wrong method", "POST", "/v1/runs", "", 405, "bad_method", "/v1/runs takes GET, not POST"},
		{"malformed run ID", "GET", "/v1/run/7", "", 400, "bad_request", `run ID "7": want 20 characters of a-z and 2-7`},
		{"unknown run", "GET", "/v1/run/zzzzzzzzzzzzzzzzzzzz", "", 404, "not_found", "there is no run zzzzzzzzzzzzzzzzzzzz"},
		{"index is no number", "GET", run + "?index=x", "", 400, "bad_request", "index=x: want the number from the header X-Cairn-Index"},
		{"wait is no duration", "GET", run + "?index=1&wait=7", "", 400, "bad_request", "wait=7: want a duration such as 30s"},
		{"unknown parameter", "GET", run + "?inedx=1", "", 400, "bad_request", run + ` does not take "inedx"; it takes index and wait`},
		{"unknown status of a run", "GET", "/v1/runs?status=done", "", 400, "bad_request", "status=done: there is no such status of a run"},
		{"page too large", "GET", "/v1/runs?per_page=1001", "", 400, "bad_request", "per_page=1001: want a number from 1 to 1000"},
		{"place in a list that is gone", "GET", "/v1/runs?next=x", "", 400, "bad_request", "next=x: the list has no such place (any more): begin anew without it"},
		{"instances without a task", "GET", run + "/instances", "", 400, "bad_request", "name a task: task=NAME"},
		{"instances of an unknown task", "GET", run + "/instances?task=load", "", 404, "not_found", "run abcdefghijklmnopqrst has no task \"load\"; it has extract"},
		{"logs without a task", "GET", run + "/logs", "", 400, "bad_request", "logs needs the name of a task: task=NAME"},
		{"unknown stream", "GET", run + "/logs?task=extract&stream=out", "", 400, "bad_request", "stream=out: want stdout or stderr"},
		{"unknown key", "GET", run + "/logs?task=extract&key=us", "", 404, "not_found", `task extract has no instance "us"; it has "eu"`},
		{"unknown attempt", "GET", run + "/logs?task=extract&attempt=2", "", 404, "not_found", `instance "eu" of task extract has no attempt 2: the newest is 1`},
		{"verb with an unknown field", "POST", run + "/stop", `{"why":"x"}`, 400, "bad_request", `the request is not what stop takes: json: unknown field "why"`},
		{"verb too large", "POST", run + "/stop", strings.Repeat(" ", 70000), 400, "bad_request", "the request is larger than 65536 bytes"},
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

func TestHealth(t *testing.T) {
	c := client.InProcess("here", handlerOf(newRuns(nightly(t))))
	got, err := c.Health(context.Background())
	if err != nil || !got.Healthy || !got.Leader || got.Version != "1.2.3" || got.PID == 0 {
		t.Errorf("health %+v, %v", got, err)
	}
}

func TestListsAreFilteredAndPaged(t *testing.T) {
	c := client.InProcess("here", handlerOf(newRuns(nightly(t))))
	ids := func(q client.RunsQuery) string {
		var out []string
		for {
			page, err := c.Runs(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Runs {
				out = append(out, r.ID[:1]+":"+r.Status)
			}
			if q.Next = page.Next; q.Next == "" {
				return strings.Join(out, " ")
			}
			out = append(out, "|")
		}
	}
	for _, c := range []struct {
		query client.RunsQuery
		want  string
	}{
		{client.RunsQuery{}, "c:running b:failed a:succeeded"},
		{client.RunsQuery{PerPage: 2}, "c:running b:failed | a:succeeded"},
		{client.RunsQuery{PerPage: 3}, "c:running b:failed a:succeeded"},
		{client.RunsQuery{Status: "failed", PerPage: 1}, "b:failed"},
		{client.RunsQuery{Workflow: "other"}, ""},
	} {
		if got := ids(c.query); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.query, got, c.want)
		}
	}
}

func TestInstancesArePaged(t *testing.T) {
	c := client.InProcess("here", handlerOf(newRuns(manyShards(t))))
	q := client.InstancesQuery{Task: "shard", Status: "running", PerPage: 10}
	var keys []string
	for pages := 1; ; pages++ {
		page, err := c.Instances(context.Background(), string(runID), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range page.Instances {
			keys = append(keys, *in.Key)
		}
		if q.Next = page.Next; q.Next == "" {
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
	c := client.InProcess("here", handlerOf(r))
	_, index, err := c.Wait(t.Context(), string(runID), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		run   *api.Run
		index uint64
		err   error
	}
	answer := make(chan result, 1)
	go func() {
		run, index, err := c.Wait(t.Context(), string(runID), index, time.Minute)
		answer <- result{run, index, err}
	}()
	<-r.waiting
	r.change(func() { s.Head.Status = workflow.RunPaused })
	got := <-answer
	if got.err != nil || got.run.Status != "paused" || got.index <= index {
		t.Errorf("got %+v, %v after index %d", got.run, got.err, index)
	}
}

func TestABlockingReadOfWhatIsOverDoesNotWait(t *testing.T) {
	c := client.InProcess("here", handlerOf(newRuns(nightly(t))))
	run, _, err := c.Wait(t.Context(), string(runID), 1, 10*time.Minute)
	if err != nil || run.Status != "succeeded" {
		t.Errorf("got %+v, %v", run, err)
	}
}

func TestANoticeIsTheReasonOfARunThatDoesNotGetOn(t *testing.T) {
	m, s := nightly(t)
	s.Head.Status = workflow.RunRunning
	r := newRuns(m, s)
	r.notice = "its state cannot be saved: no space left on device"
	run, err := client.InProcess("here", handlerOf(r)).Run(t.Context(), string(runID))
	if err != nil || run.Reason != r.notice {
		t.Errorf("reason %q, %v; want the notice", run.Reason, err)
	}
}

func TestVerbsFitOrSayWhatWould(t *testing.T) {
	statuses := []workflow.RunStatus{"queued", "running", "pausing", "paused", "stopping", "succeeded", "failed", "cancelled", "skipped"}
	// + acts, = done already, . refused; in the order of statuses.
	for verb, want := range map[api.Verb]string{
		api.VerbStop:      "++++=..=.",
		api.VerbTerminate: "+++++..=.",
		api.VerbPause:     ".+==.....",
		api.VerbResume:    ".=++.....",
	} {
		got := ""
		for _, status := range statuses {
			m, s := nightly(t)
			s.Head.Status = status
			r := newRuns(m, s)
			_, err := client.InProcess("here", handlerOf(r)).Verb(t.Context(), string(runID), verb, api.VerbRequest{By: "ada", Reason: "x"})
			var said *api.Error
			switch {
			case err == nil && len(r.verbs) == 1 && r.verbs[0].By == "ada" && r.verbs[0].Reason == "x":
				got += "+"
			case err == nil && len(r.verbs) == 0:
				got += "="
			case errors.As(err, &said) && said.Code == api.CodeConflict && len(r.verbs) == 0:
				got += "."
			default:
				t.Errorf("%s on a run that is %s: %v, %d events", verb, status, err, len(r.verbs))
			}
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", verb, got, want)
		}
	}
}

func TestCancelNamesTheTaskOrTheInstance(t *testing.T) {
	m, s := nightly(t)
	s.Head.Status, s.Tasks[0].Status, s.Instances[0][0].Status = workflow.RunRunning, workflow.Running, workflow.Running
	r := newRuns(m, s)
	c := client.InProcess("here", handlerOf(r))
	for _, key := range []*string{nil, ptr("eu")} {
		if _, err := c.Verb(t.Context(), string(runID), api.VerbCancel, api.VerbRequest{Task: "extract", Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	want := []engine.Event{
		{Kind: engine.CancelTask, Task: 0, Instance: -1},
		{Kind: engine.CancelTask, Task: 0, Instance: 0},
	}
	if diff := cmp.Diff(want, r.verbs); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func readLog(t *testing.T, c *client.Client, q api.LogQuery) (string, error) {
	t.Helper()
	log, err := c.Logs(t.Context(), string(runID), q)
	if err != nil {
		return "", err
	}
	defer log.Close()
	b, err := io.ReadAll(log)
	return string(b), err
}

func TestLogsAreThoseOfTheAttemptAskedFor(t *testing.T) {
	m, s := nightly(t)
	r := newRuns(m, s)
	var got scheduler.LogRequest
	r.logs = func(req scheduler.LogRequest) (io.ReadCloser, error) {
		got = req
		return io.NopCloser(strings.NewReader("hello\n")), nil
	}
	text, err := readLog(t, client.InProcess("here", handlerOf(r)), api.LogQuery{Task: "extract", Key: ptr("eu"), Attempt: 1, Stderr: true, Tail: 7})
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
	c := client.InProcess("here", handlerOf(r))
	if _, err := readLog(t, c, api.LogQuery{Task: "extract"}); err == nil || !strings.Contains(err.Error(), "-follow waits for it") {
		t.Errorf("a log that is not there yet: %v", err)
	}
	type result struct {
		text string
		err  error
	}
	answer := make(chan result, 1)
	go func() {
		text, err := readLog(t, c, api.LogQuery{Task: "extract", Follow: true})
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
	_, err := readLog(t, client.InProcess("here", handlerOf(r)), api.LogQuery{Task: "extract"})
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
	server := httptest.NewServer(handlerOf(r))
	defer server.Close()
	overTCP, err := client.TCP(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*client.Client{"in process": client.InProcess("here", handlerOf(r)), "over TCP": overTCP} {
		text, err := readLog(t, c, api.LogQuery{Task: "extract"})
		var unreachable *client.UnreachableError
		if !errors.As(err, &unreachable) {
			t.Errorf("%s: read %d bytes and %v; want a broken connection", name, len(text), err)
		}
	}
}

func TestALargeLogArrivesWhole(t *testing.T) {
	r := newRuns(nightly(t))
	long := bytes.Repeat([]byte("0123456789abcdef\n"), 600_000) // 10 MB
	r.logs = func(scheduler.LogRequest) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(long)), nil }
	text, err := readLog(t, client.InProcess("here", handlerOf(r)), api.LogQuery{Task: "extract"})
	if err != nil || text != string(long) {
		t.Errorf("read %d of %d bytes, %v", len(text), len(long), err)
	}
}
