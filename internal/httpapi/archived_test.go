// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// attic is an archive in memory.
type attic struct {
	docs      []*api.Run // newest first
	instances map[string][]api.Instance
	broken    error
}

func (a *attic) Run(_ context.Context, id workflow.RunID) (*api.Run, time.Time, error) {
	if a.broken != nil {
		return nil, time.Time{}, a.broken
	}
	for _, doc := range a.docs {
		if doc.ID == string(id) {
			return doc, doc.EndedAt, nil
		}
	}
	return nil, time.Time{}, scheduler.ErrNotFound
}

func (a *attic) Namespaces(ctx context.Context, id workflow.RunID) ([]string, error) {
	_, _, err := a.Run(ctx, id)
	return []string{"default", "team"}, err
}

func (a *attic) Instances(_ context.Context, _ workflow.RunID, task string) ([]api.Instance, error) {
	return a.instances[task], a.broken
}

func (a *attic) List(_ context.Context, before workflow.RunID) iter.Seq2[api.RunEntry, error] {
	return func(yield func(api.RunEntry, error) bool) {
		for _, doc := range a.docs {
			if before != "" && doc.ID >= string(before) {
				continue
			}
			parent := ""
			if doc.Parent != nil {
				parent = doc.Parent.Run
			}
			if !yield(api.RunEntry{ID: doc.ID, Workflow: doc.Workflow, Namespace: doc.Namespace, Status: doc.Status, CreatedAt: doc.CreatedAt,
				Parent: parent, Labels: doc.Labels, Archived: true}, nil) {
				return
			}
		}
		if a.broken != nil {
			yield(api.RunEntry{}, a.broken)
		}
	}
}

func withArchive(r httpapi.Runs, a httpapi.Archive) http.Handler {
	return httpapi.New(httpapi.Config{
		Runs: r, Archive: a, Version: "1.2.3", Logger: hclog.NewNullLogger(),
		Overdue: func() string { return "the archive is full" },
	})
}

// archivedRun is the document of a run as its archive has it.
func archivedRun(t *testing.T, m *engine.Machine, s *engine.State) (*attic, *api.Run) {
	t.Helper()
	doc, instances := httpapi.Whole(m, s)
	doc.ID, doc.Archived, doc.EndedAt = strings.Repeat("d", 20), true, at(59).Time()
	return &attic{docs: []*api.Run{doc}, instances: instances}, doc
}

func answered[T any](t *testing.T, h http.Handler, method, path, body string, want int) (out T) {
	t.Helper()
	status, text := call(t, h, method, path, body)
	if err := json.Unmarshal([]byte(text), &out); err != nil || status != want {
		t.Fatalf("%s %s: %d %s, %v, want %d", method, path, status, text, err, want)
	}
	return out
}

func TestAnArchivedRunIsShownAndTakesNoVerbs(t *testing.T) {
	r := newRuns(begun(t))
	a, doc := archivedRun(t, r.machine, r.state)
	h := withArchive(r, a)
	path := "/v1/run/" + doc.ID
	for _, query := range []string{"", "?index=7&wait=10m"} { // nothing is waited for
		if d := cmp.Diff(doc, answered[*api.Run](t, h, "GET", path+query, "", http.StatusOK)); d != "" {
			t.Errorf("document (-want +got):\n%s", d)
		}
	}
	refusals := map[string]int{"POST " + path + "/rerun": http.StatusConflict, "GET " + path + "/retry": http.StatusConflict,
		"GET " + path + "/logs?task=extract": http.StatusGone}
	for _, verb := range api.Verbs() {
		refusals["POST "+path+"/"+string(verb)] = http.StatusConflict
	}
	for request, want := range refusals {
		method, path, _ := strings.Cut(request, " ")
		body := ""
		for _, verb := range []api.Verb{api.VerbCancel, api.VerbSkip, api.VerbSucceed, api.VerbApprove, api.VerbReject} {
			if strings.HasSuffix(path, "/"+string(verb)) {
				body = `{"task":"extract"}`
			}
		}
		said := answered[api.Error](t, h, method, path, body, want)
		if !strings.Contains(said.Message, "has left the store for the archive: ") {
			t.Errorf("%s: %q", request, said.Message)
		}
	}
	if len(r.verbs)+len(r.reruns) > 0 {
		t.Errorf("verbs %v, reruns %v", r.verbs, r.reruns)
	}
	unknown := strings.Repeat("e", 20)
	for _, path := range []string{"", "/instances?task=extract", "/logs?task=extract"} {
		said := answered[api.Error](t, h, "GET", "/v1/run/"+unknown+path, "", http.StatusNotFound)
		if said.Message != "there is no run "+unknown {
			t.Errorf("%s of a run that nobody has: %q", path, said.Message)
		}
	}
	a.broken = errors.New("archived run x: file y ends too early")
	if said := answered[api.Error](t, h, "GET", path, "", http.StatusInternalServerError); said.Message != a.broken.Error() {
		t.Errorf("a damaged file: %q", said.Message)
	}
	if got := answered[api.Health](t, h, "GET", "/v1/agent/health", "", http.StatusOK); !got.Healthy || got.Overdue != "the archive is full" {
		t.Errorf("health %+v", got)
	}
}

// Who may not see a run does not see it in the archive either, and who may not run jobs is told that, not what could be.
func TestAccessGoesOnInTheArchive(t *testing.T) {
	c := newControlled(t, rights{"all": all, "look": look, "part": "run default read default "})
	a, doc := archivedRun(t, c.runs.machine, c.runs.state)
	doc.Namespace = "default"
	c.http = httpapi.New(httpapi.Config{
		Runs: c.runs, Archive: a, Logger: hclog.NewNullLogger(), Access: rights{"all": all, "look": look, "part": "run default read default "}, Audit: c.book,
	})
	run := "/v1/run/" + doc.ID
	for _, ask := range []struct {
		token, method, path string
		status              int
		words               string
	}{
		{"all", "GET", run, 200, `"archived":true`},
		{"look", "GET", run, 200, `"archived":true`},
		{"part", "GET", run, 404, "there is no run " + doc.ID},
		{"part", "GET", run + "/instances?task=extract", 404, "there is no run " + doc.ID},
		{"part", "POST", run + "/retry", 404, "there is no run " + doc.ID},
		{"look", "POST", run + "/retry", 403, "may not run jobs"},
		{"all", "POST", run + "/retry", 409, "has left the store for the archive"},
		{"look", "GET", run + "/logs?task=extract", 410, "has left the store for the archive"},
		{"", "GET", run, 403, "this takes a token"},
	} {
		if status, body := c.ask(ask.token, ask.method, ask.path, ""); status != ask.status || !strings.Contains(body, ask.words) {
			t.Errorf("%q %s %s: %d %s, want %d and %q", ask.token, ask.method, ask.path, status, body, ask.status, ask.words)
		}
	}
}

// What the archive answers about instances is what the store has answered before.
func TestInstancesOfAnArchivedRunArePagedAlike(t *testing.T) {
	r := newRuns(manyShards(t))
	a, doc := archivedRun(t, r.machine, r.state)
	h := withArchive(r, a)
	if len(a.instances["shard"]) != 1000 {
		t.Fatalf("%d instances are kept, want all 1000", len(a.instances["shard"]))
	}
	for _, query := range []string{"task=shard", "task=shard&status=running&per_page=10", "task=shard&next=240", "task=shard&next=100000",
		"task=shard&status=running&per_page=10&next=60", "task=none", "task=", "status=x", "next=-1", "bad=1"} {
		_, want := call(t, h, "GET", "/v1/run/"+string(runID)+"/instances?"+query, "")
		_, got := call(t, h, "GET", "/v1/run/"+doc.ID+"/instances?"+query, "")
		got = strings.ReplaceAll(got, doc.ID, string(runID))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-stored +archived):\n%s", query, d)
		}
	}
}

func TestAListReadsTheStoreAndTheArchive(t *testing.T) {
	r := newRuns(nightly(t))
	entry := func(id string, second int, status string) *api.Run {
		return &api.Run{ID: strings.Repeat(id, 10), Workflow: "w", Namespace: "default", Status: status, CreatedAt: at(second).Time()}
	}
	child := entry("mm", 5, "succeeded")
	child.Parent = &api.Parent{Run: strings.Repeat("a", 20)}
	other := entry("bc", 2, "cancelled")
	other.Namespace, other.Labels = "team", map[string]string{"n": "0", "of": "four"}
	// The store has c, which goes on, b, which failed, and a; a is on its way to the archive, and c has begun again.
	a := &attic{docs: []*api.Run{
		entry("pp", 10, "failed"), entry("oo", 9, "succeeded"), entry("nn", 7, "failed"), child, entry("cc", 2, "failed"), other,
		entry("aa", 0, "failed"), entry("22", 0, "succeeded")}}
	h := withArchive(r, a)
	list := func(query string) string {
		var out []string
		for next := ""; ; {
			page := answered[api.Runs](t, h, "GET", "/v1/runs?"+query+"&next="+next, "", http.StatusOK)
			for _, e := range page.Runs {
				mark := ""
				if e.Archived {
					mark = "*"
				}
				out = append(out, e.ID[:2]+mark)
			}
			if page.Notice != "" {
				out = append(out, page.Notice)
			}
			if next = page.Next; next == "" {
				return strings.Join(out, " ")
			}
		}
	}
	for query, want := range map[string]string{
		"":                             "pp* oo* nn* cc bc* bb aa 22*",
		"children=true":                "pp* oo* nn* mm* cc bc* bb aa 22*",
		"archived=false":               "cc bb aa",
		"status=failed":                "pp* nn* bb",
		"status=running":               "cc",
		"status=succeeded&archived":    "oo* aa 22*",
		"status=running&status=failed": "pp* nn* cc bb",
		"label=n%3D0":                  "cc bc*",
		"namespace=team":               "bc*",
		"since=" + at(7).Time().Format(time.RFC3339): "pp* oo* nn*",
		"until=" + at(2).Time().Format(time.RFC3339): "bb aa 22*",
		"workflow=other&children=true":               "",
	} {
		for _, size := range []int{1, 2, 3, 100} {
			if got := list(fmt.Sprintf("%s&per_page=%d", query, size)); got != want {
				t.Errorf("%s in pages of %d: got %q, want %q", query, size, got, want)
			}
		}
	}
	a.docs, a.broken = a.docs[:1], errors.New("stale file handle")
	if got, want := list(""), "pp* cc bb aa the archive cannot be read, and older runs may be missing: stale file handle"; got != want {
		t.Errorf("with a broken archive: got %q, want %q", got, want)
	}
}

// Runs of a namespace that is not for whoever asks are not listed from the archive either.
func TestListsOfTheArchiveAreForThoseWhoMayReadThere(t *testing.T) {
	c := newControlled(t, rights{"part": "read default "})
	a, doc := archivedRun(t, c.runs.machine, c.runs.state)
	foreign := *doc
	doc.Namespace, foreign.ID, foreign.Namespace = "default", strings.Repeat("e", 20), "team"
	a.docs = []*api.Run{&foreign, doc}
	c.http = httpapi.New(httpapi.Config{
		Runs: c.runs, Archive: a, Logger: hclog.NewNullLogger(), Access: rights{"part": "read default "}, Audit: c.book,
	})
	status, body := c.ask("part", "GET", "/v1/runs?children=true", "")
	if status != http.StatusOK || !strings.Contains(body, doc.ID) || strings.Contains(body, foreign.ID) {
		t.Errorf("%d %s, want run %s and not %s", status, body, doc.ID, foreign.ID)
	}
}

// What is archived is what anybody may see: nothing that is sensitive is in it, not even in the instances of a large task.
func TestNothingSensitiveIsArchived(t *testing.T) {
	m, s := manyShards(t)
	def := m.Definition()
	def.Params = append(def.Params, workflow.Param{Name: "password", Sensitive: true})
	def.Outputs = append(def.Outputs, workflow.RunOutput{Name: "token", Sensitive: true})
	const secret = "hunter2-in-clear"
	quoted := value(`"` + secret + `"`)
	s.Input.Params = map[string]workflow.Value{"password": quoted, "marked": {JSON: quoted.JSON, Sensitive: true}}
	s.Head.Outputs = map[string]workflow.Value{"token": quoted}
	def.Tasks[0].Outputs = []workflow.Output{{Name: "key", Sensitive: true}}
	s.Instances[0][7].Past[0].Outputs = map[string]workflow.Value{"key": quoted}
	doc, instances := httpapi.Whole(m, s)
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode([]any{doc, instances}); err != nil {
		t.Fatal(err)
	}
	// Two params, an output of the run, and one of each instance that succeeded.
	if n := strings.Count(text.String(), api.Sensitive); strings.Contains(text.String(), secret) || n != 3+225 {
		t.Errorf("the secret is in it, or %q is there %d times:\n%.2000s", api.Sensitive, n, text.String())
	}
}
