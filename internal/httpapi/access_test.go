// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/access"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/scheduler"
)

// rights are what tokens may do: "run default read default".
type rights map[string]string

func (r rights) Whose(_ context.Context, token string) (access.Caller, error) {
	may, ok := r[token]
	switch {
	case may == "away":
		return access.Caller{}, errors.New("Nomad is away")
	case may == "off":
		return access.Caller{}, access.ErrOff
	case token != "" && !ok:
		return access.Caller{}, access.ErrDenied
	case may == "":
		return access.Caller{Accessor: "of-" + token}, nil
	case token == "nameless":
		return access.Caller{Accessor: "of-" + token, Policies: []string{"p"}}, nil
	}
	return access.Caller{Name: token + "'s", Accessor: "of-" + token, Policies: []string{"p"}}, nil
}

func (r rights) May(_ context.Context, token string, right access.Right, namespace string) (bool, error) {
	if r[token] == "half away" {
		return false, errors.New("Nomad is away")
	}
	return strings.Contains(r[token]+" ", string(right)+" "+namespace+" "), nil
}

// book is an audit that keeps records in memory.
type book struct {
	mu      sync.Mutex
	records map[string]api.AuditRecord
	first   []string // outcomes as they were kept first
	full    bool
}

func (b *book) Note(_ context.Context, r api.AuditRecord) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return errors.New("it is full")
	}
	if _, again := b.records[r.ID]; !again {
		b.first = append(b.first, r.Outcome)
	}
	b.records[r.ID] = r
	return nil
}

func (b *book) Day(_ context.Context, day time.Time) (list []api.AuditRecord, err error) {
	if b.full {
		return nil, errors.New("it is full")
	}
	for _, r := range b.records {
		if r.At.Format(time.DateOnly) == day.Format(time.DateOnly) {
			list = append(list, r)
		}
	}
	return list, nil
}

func TestTheAuditIsReadByDay(t *testing.T) {
	b := &book{records: map[string]api.AuditRecord{"1": {ID: "1", At: time.Date(2020, 2, 28, 23, 0, 0, 0, time.UTC), Action: "stop"}}}
	h := httpapi.New(httpapi.Config{Runs: newRuns(nightly(t)), Logger: hclog.NewNullLogger(), Audit: b})
	for query, want := range map[string]string{
		"?day=2020-02-28": `{"day":"2020-02-28","records":[{"id":"1","at":"2020-02-28T23:00:00Z","from":"","action":"stop"}]}`,
		"?day=2020-02-29": `{"day":"2020-02-29","records":[]}`,
		"":                `"records":[]`,
		"?day=monday":     "want a day such as",
		"?date=x":         "does not take",
	} {
		if _, body := call(t, h, "GET", "/v1/operator/audit"+query, ""); !strings.Contains(body, want) {
			t.Errorf("%s: %s, want %s", query, body, want)
		}
	}
	if status, body := call(t, handlerOf(newRuns(nightly(t))), "GET", "/v1/operator/audit", ""); status != http.StatusNotFound {
		t.Errorf("of a process that keeps none: %d %s", status, body)
	}
}

// controlled is a server with access control over a run that uses the namespaces default and team.
type controlled struct {
	t    *testing.T
	runs *runs
	http http.Handler
	book *book
	log  *bytes.Buffer
}

func newControlled(t *testing.T, may rights) *controlled {
	t.Helper()
	m, s := begun(t)
	s.Input.Namespaces = []string{"default", "team"}
	c := &controlled{t: t, runs: newRuns(m, s), book: &book{records: map[string]api.AuditRecord{}}, log: &bytes.Buffer{}}
	c.http = httpapi.New(httpapi.Config{
		Runs: c.runs, Logger: hclog.New(&hclog.LoggerOptions{Output: c.log}), Access: may, Audit: c.book,
	})
	return c
}

func (c *controlled) ask(token, method, path, body string) (int, string) {
	c.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set(api.TokenHeader, token)
	}
	r.Header.Set("X-Forwarded-For", "10.0.0.9")
	w := httptest.NewRecorder()
	c.http.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

const (
	all  = "run default run team read default read team "
	look = "read default read team "
	// elsewhere runs a task in another namespace than the workflow's, as far as that can be seen in the file.
	elsewhere = `workflow "a" {
  namespace = "team"
  task "t" {
    driver    = "raw_exec"
    namespace = "other"
    config { command = "/bin/true" }
  }
}
`
)

func TestCallersDoWhatNomadLetsThem(t *testing.T) {
	may := rights{
		"all": all, "look": look, "half": "run default read default read team ", "part": "run default read default ",
		"other": "run other run team read other ", "none": "", "away": "away", "off": "off", "half-away": "half away",
	}
	run, stop := "/v1/run/"+string(runID), "/v1/run/"+string(runID)+"/stop"
	missing := "/v1/run/" + strings.Repeat("b", 20)
	plain := submission(fmt.Sprintf(oneWorkflow, "a"), `,"params":{"day":"x"}`)
	gone := "there is no run " + string(runID)
	for _, c := range []struct {
		token, method, path, body string
		status                    int
		words                     string
	}{
		{"", "GET", "/v1/agent/health", "", 200, "healthy"},
		{"wrong", "GET", "/v1/agent/health", "", 200, "healthy"},
		{"all", "GET", run, "", 200, string(runID)},
		{"look", "GET", run, "", 200, string(runID)},
		{"part", "GET", run, "", 404, gone},
		{"other", "GET", run, "", 404, gone},
		{"other", "GET", missing, "", 404, "there is no run bbbb"},
		{"all", "GET", missing, "", 404, "there is no run bbbb"},
		{"none", "GET", run, "", 404, gone},
		{"", "GET", run, "", 403, "set CAIRN_TOKEN"},
		{"", "GET", missing, "", 403, "set CAIRN_TOKEN"},
		{"wrong", "GET", run, "", 403, "does not know this token"},
		{"away", "GET", run, "", 503, "is not known: Nomad is away"},
		{"half-away", "GET", run, "", 503, "is not known: Nomad is away"},
		{"off", "GET", run, "", 403, "that Nomad has no access control"},
		{strings.Repeat("x", access.MaxToken+1), "GET", run, "", 400, "longer than 4096 bytes"},

		{"all", "POST", stop, "", 200, string(runID)},
		{"look", "POST", stop, "", 403, `may not run jobs in namespace default, which run ` + string(runID)},
		{"half", "POST", stop, "", 403, `may not run jobs in namespace team`},
		{"part", "POST", stop, "", 404, gone},
		{"", "POST", stop, "", 403, "set CAIRN_TOKEN"},
		{"half-away", "POST", stop, "", 503, "ask again"},
		{"look", "POST", run + "/rerun", "", 403, "may not run"},
		{"look", "GET", run + "/retry", "", 409, "running"},

		{"all", "POST", "/v1/runs", plain, 200, string(runID)},
		{"part", "POST", "/v1/runs", plain, 200, string(runID)},
		{"look", "POST", "/v1/runs", plain, 403, "may not run jobs in namespace default, which workflow a uses"},
		{"part", "POST", "/v1/runs", submission(elsewhere, ""), 403, "namespace team"},
		{"all", "POST", "/v1/runs", submission(elsewhere, ""), 403, "namespace other"},
		{"other", "POST", "/v1/runs", submission(elsewhere, ""), 200, string(runID)},
		{"", "POST", "/v1/runs", plain, 403, "set CAIRN_TOKEN"},
		{"wrong", "POST", "/v1/runs", strings.Repeat("x", httpapi.MaxBody+1), 403, "does not know"},
		{"all", "POST", "/v1/runs", strings.Repeat("x", httpapi.MaxBody+1), 413, "larger than"},
		{"all", "POST", "/v1/runs", "{", 400, "not what a run takes"},
	} {
		s := newControlled(t, may)
		status, body := s.ask(c.token, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.words) {
			t.Errorf("%s %s of %.20q: %d %s, want %d and words about %q", c.method, c.path, c.token, status, body, c.status, c.words)
		}
		if n := len(s.runs.verbs) + len(s.runs.subs) + len(s.runs.reruns); status != 200 && n > 0 || status == 200 && n == 0 && c.method == "POST" {
			t.Errorf("%s %s of %.20q: %d, and %d things were done", c.method, c.path, c.token, status, n)
		}
		for _, sub := range s.runs.subs {
			want := map[string][]string{"part": {"default"}, "all": {"default"}, "other": {"team", "other"}}[c.token]
			if diff := cmp.Diff(want, sub.Namespaces); diff != "" || sub.Namespace != want[0] || sub.By != c.token+"'s" {
				t.Errorf("the run of %s is of namespace %s, by %q, and held to (-want +got):\n%s", c.token, sub.Namespace, sub.By, diff)
			}
		}
		if strings.Contains(s.log.String(), "secret") {
			t.Errorf("the log says: %s", s.log)
		}
	}
}

func TestListsLeaveOutWhatMayNotBeRead(t *testing.T) {
	may := rights{"look": "read default", "other": "read other", "none": "", "half-away": "half away"}
	for token, want := range map[string]int{"look": 3, "other": 0, "none": 0} {
		status, body := newControlled(t, may).ask(token, "GET", "/v1/runs", "")
		if n := strings.Count(body, `"workflow"`); status != 200 || n != want {
			t.Errorf("%s sees %d runs: %d %s", token, n, status, body)
		}
	}
	for token, want := range map[string]int{"": 403, "wrong": 403, "half-away": 503} {
		if status, body := newControlled(t, may).ask(token, "GET", "/v1/runs", ""); status != want {
			t.Errorf("%q: %d %s, want %d", token, status, body, want)
		}
	}
}

func TestATokenComesInOneOfTwoWays(t *testing.T) {
	for name, c := range map[string]struct {
		headers http.Header
		status  int
	}{
		"its own header":                 {http.Header{api.TokenHeader: {"look"}}, 200},
		"bearer":                         {http.Header{"Authorization": {"Bearer look"}}, 200},
		"bearer in other letters":        {http.Header{"Authorization": {"bearer  look"}}, 200},
		"both, the same":                 {http.Header{api.TokenHeader: {"look"}, "Authorization": {"Bearer look"}}, 200},
		"both, and not the same":         {http.Header{api.TokenHeader: {"look"}, "Authorization": {"Bearer all"}}, 400},
		"another scheme, for somebody":   {http.Header{"Authorization": {"Basic look"}}, 403},
		"the header of Nomad":            {http.Header{"X-Nomad-Token": {"look"}}, 403},
		"a query parameter, which is no": {nil, 403},
	} {
		s := newControlled(t, rights{"look": look, "all": all})
		r := httptest.NewRequest("GET", "/v1/run/"+string(runID), nil)
		if c.headers != nil {
			r.Header = c.headers
		}
		w := httptest.NewRecorder()
		s.http.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.status)
		}
	}
}

func TestTheNameOfAVerbIsThatOfTheToken(t *testing.T) {
	for token, want := range map[string]string{"all": "all's", "nameless": "of-nameless"} {
		s := newControlled(t, rights{token: all})
		if status, body := s.ask(token, "POST", "/v1/run/"+string(runID)+"/stop", `{"by":"somebody else","reason":"why not"}`); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		if got := s.runs.verbs[0]; got.By != want || got.Reason != "why not" {
			t.Errorf("stopped by %q for %q, want %q", got.By, got.Reason, want)
		}
	}
}

func TestWhatIsChangedIsNotedBeforeAndAfter(t *testing.T) {
	may := rights{"all": all, "look": look}
	stop, retry := "/v1/run/"+string(runID)+"/stop", "/v1/run/"+string(runID)+"/retry"
	for _, c := range []struct {
		token, method, path, body string
		want                      *api.AuditRecord
	}{
		{"all", "POST", stop, "", &api.AuditRecord{Action: "stop", Run: string(runID), Workflow: "w", Outcome: "done"}},
		{"all", "POST", retry, "", &api.AuditRecord{Action: "retry", Run: string(runID), Workflow: "w", Outcome: api.CodeConflict}},
		{"all", "POST", "/v1/runs", submission(fmt.Sprintf(oneWorkflow, "a"), `,"params":{"day":"x"}`), &api.AuditRecord{Action: "submit", Run: string(runID), Workflow: "w", Outcome: "done"}},
		{"all", "POST", "/v1/runs", takenKey, &api.AuditRecord{Action: "submit", Workflow: "a", Outcome: api.CodeConflict}},
		{"all", "GET", "/v1/runs", "", nil},
		{"look", "POST", stop, "", nil},
		{"wrong", "POST", stop, "", nil},
	} {
		s := newControlled(t, may)
		status, _ := s.ask(c.token, c.method, c.path, c.body)
		logged := strings.Contains(s.log.String(), "audit")
		if c.want == nil {
			if len(s.book.records) > 0 || logged != (c.method == "POST") {
				t.Errorf("%s %s of %s: %d, noted %v, logged %s", c.method, c.path, c.token, status, s.book.records, s.log)
			}
			continue
		}
		if len(s.book.records) != 1 || s.book.first[0] != "" || !logged {
			t.Fatalf("%s %s: noted %v, first as %q; logged %s", c.method, c.path, s.book.records, s.book.first, s.log)
		}
		for id, got := range s.book.records {
			if got.ID != id || got.At.IsZero() {
				t.Errorf("%s is %+v", id, got)
			}
			want := *c.want
			want.ID, want.At, want.Who, want.Accessor, want.From = id, got.At, "all's", "of-all", "10.0.0.9 by 192.0.2.1"
			if want.Workflow == "w" {
				want.Workflow = workflowOf(s)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", c.method, c.path, diff)
			}
		}
	}
}

func workflowOf(s *controlled) string { return s.runs.state.Input.Workflow }

func TestWhatCannotBeNotedIsNotDone(t *testing.T) {
	for path, body := range map[string]string{
		"/v1/run/" + string(runID) + "/stop": "", "/v1/runs": submission(fmt.Sprintf(oneWorkflow, "a"), `,"params":{"day":"x"}`),
	} {
		s := newControlled(t, rights{"all": all})
		s.book.full = true
		status, said := s.ask("all", "POST", path, body)
		if status != http.StatusServiceUnavailable || !strings.Contains(said, "so nothing was done: it is full") || len(s.runs.verbs)+len(s.runs.subs) > 0 {
			t.Errorf("%s: %d %s, and %d things were done", path, status, said, len(s.runs.verbs)+len(s.runs.subs))
		}
	}
}

// Without access control a run is held to nothing, and its name is what the request says.
func TestWithoutAccessControlEverybodyMayDoEverything(t *testing.T) {
	m, s := begun(t)
	r, b := newRuns(m, s), &book{records: map[string]api.AuditRecord{}}
	h := httpapi.New(httpapi.Config{Runs: r, Logger: hclog.NewNullLogger(), Audit: b})
	if status, body := call(t, h, "POST", "/v1/runs", submission(elsewhere, `,"by":"ada"`)); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if sub := r.subs[0]; sub.Namespaces != nil || sub.By != "ada" || sub.Namespace != "team" || len(b.records) != 1 {
		t.Errorf("submission %+v, %d records", sub, len(b.records))
	}
	for _, got := range b.records {
		if got.Who != "ada" || got.Run != string(runID) {
			t.Errorf("noted %+v", got)
		}
	}
}

// Neither a list nor a stream tells of runs in namespaces that its reader may not read.
func TestWhatMayNotBeReadIsNeitherListedNorStreamed(t *testing.T) {
	c := newControlled(t, rights{"look": look, "other": "read other "})
	c.runs.news = []scheduler.News{
		{Run: runID, Workflow: "w", Namespace: "default", Status: "running"}, {Run: runID, Workflow: "w", Namespace: "other", Status: "failed"},
	}
	for token, want := range map[string]struct{ letters, event, not string }{
		"look": {"cba", `"namespace":"default"`, `"namespace":"other"`}, "other": {"", `"namespace":"other"`, `"namespace":"default"`},
	} {
		for _, query := range []string{"", "?per_page=1000&status=running&status=failed&status=succeeded"} {
			status, body := c.ask(token, "GET", "/v1/runs"+query, "")
			if got, next := listed(t, body); status != http.StatusOK || got != want.letters || next != "" {
				t.Errorf("%s lists %d %q and %q is next, want %q", token, status, got, next, want.letters)
			}
		}
		ctx, end := context.WithCancel(t.Context())
		end() // the first piece of the stream will do
		r := httptest.NewRequest("GET", "/v1/events", nil).WithContext(ctx)
		r.Header.Set(api.TokenHeader, token)
		r.Header.Set("Last-Event-ID", "3.1")
		w := httptest.NewRecorder()
		c.http.ServeHTTP(w, r)
		if text := w.Body.String(); !strings.Contains(text, want.event) || strings.Contains(text, want.not) {
			t.Errorf("%s hears %d %s", token, w.Code, text)
		}
	}
	for _, path := range []string{"/v1/events", "/v1/runs"} {
		if status, body := c.ask("", "GET", path, ""); status != http.StatusForbidden && status != http.StatusServiceUnavailable {
			t.Errorf("%s without a token: %d %s", path, status, body)
		}
	}
}
