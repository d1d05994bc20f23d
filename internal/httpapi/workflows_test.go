// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// catalog keeps workflows in memory.
type catalog struct {
	registrations map[string]workflow.Registration
	definitions   map[string]*workflow.Definition
	refuse        error // what Apply answers
}

var _ httpapi.Workflows = (*catalog)(nil)

func newCatalog() *catalog {
	return &catalog{registrations: map[string]workflow.Registration{}, definitions: map[string]*workflow.Definition{}}
}

func (c *catalog) Workflow(_ context.Context, namespace, name string) (workflow.Registration, error) {
	if r := c.registrations[namespace+"/"+name]; len(r.Versions) > 0 {
		return r, nil
	}
	return workflow.Registration{}, scheduler.ErrNotFound
}

func (c *catalog) Workflows(_ context.Context, namespace string) (out []workflow.Registration, err error) {
	for _, r := range c.registrations {
		if r.Namespace == namespace && len(r.Versions) > 0 {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b workflow.Registration) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (c *catalog) Definition(_ context.Context, hash string) (*workflow.Definition, error) {
	if def := c.definitions[hash]; def != nil {
		return def, nil
	}
	return nil, scheduler.ErrNotFound
}

func (c *catalog) Apply(_ context.Context, a scheduler.Application) (out []scheduler.Applied, err error) {
	if c.refuse != nil {
		return nil, c.refuse
	}
	for _, w := range a.Workflows {
		key := w.Definition.Namespace + "/" + w.Definition.Name
		r := c.registrations[key]
		r.Namespace, r.Name = w.Definition.Namespace, w.Definition.Name
		if now, _ := r.Current(); w.Expect != nil && *w.Expect != now.Number {
			return nil, &scheduler.StaleError{Workflow: r.Name, Expected: *w.Expect, Now: now}
		}
		next, changed := r.Apply(w.Definition.Hash, at(0), a.By)
		c.registrations[key], c.definitions[w.Definition.Hash] = next, w.Definition
		out = append(out, scheduler.Applied{Registration: next, Changed: changed})
	}
	return out, nil
}

func (c *catalog) DeleteWorkflow(_ context.Context, namespace, name string) (workflow.Registration, error) {
	r := c.registrations[namespace+"/"+name]
	if len(r.Versions) == 0 {
		return r, scheduler.ErrNotFound
	}
	c.registrations[namespace+"/"+name] = r.Delete()
	return r, nil
}

// shelf is a handler over a catalog, and the runs beside it.
func shelf(t *testing.T) (http.Handler, *catalog, *runs) {
	t.Helper()
	c, r := newCatalog(), newRuns(nightly(t))
	return documented{httpapi.New(httpapi.Config{Runs: r, Workflows: c, Version: "1.2.3", Logger: hclog.NewNullLogger()})}, c, r
}

// ask decodes an answer that has to be a success.
func ask[T any](t *testing.T, h http.Handler, method, path string, body any) T {
	t.Helper()
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	var out T
	status, answer := call(t, h, method, path, text)
	if err := json.Unmarshal([]byte(answer), &out); err != nil || status != http.StatusOK {
		t.Fatalf("%s %s: %d %s (%v)", method, path, status, answer, err)
	}
	return out
}

func folderOf(path, text string) api.Folder {
	return api.Folder{Path: path, Files: []api.File{{Path: "a.hcl", Bytes: []byte(text)}}}
}

func TestWhatIsAppliedIsThere(t *testing.T) {
	h, _, _ := shelf(t)
	req := api.ApplyRequest{By: "ada", Folders: []api.Folder{folderOf("", fmt.Sprintf(oneWorkflow+oneWorkflow, "w", "b"))}}
	dry := req
	dry.DryRun = true
	would := ask[api.Applied](t, h, "POST", "/v1/workflows", dry)
	if list := ask[api.Workflows](t, h, "GET", "/v1/workflows", nil); !would.DryRun || len(list.Workflows) != 0 {
		t.Errorf("after a dry run: %+v, list %+v", would, list)
	}
	did := ask[api.Applied](t, h, "POST", "/v1/workflows", req)
	would.DryRun = false
	if d := cmp.Diff(would, did); d != "" {
		t.Errorf("the dry run told something else (-dry +real):\n%s", d)
	}
	if got := actions(did); !slices.Equal(got, []string{"w create 0 1 3", "b create 0 1 3"}) {
		t.Errorf("applied %q", got)
	}
	if got := actions(ask[api.Applied](t, h, "POST", "/v1/workflows", req)); !slices.Equal(got, []string{"w none 1 1 0", "b none 1 1 0"}) {
		t.Errorf("applied again %q", got)
	}
	req.Folders = []api.Folder{folderOf("", strings.Replace(fmt.Sprintf(oneWorkflow, "w"), "= 3", "= 4", 1))}
	changed := ask[api.Applied](t, h, "POST", "/v1/workflows", req)
	want := []api.Change{
		{Action: "changed", Path: []string{`param "n"`, "default"}, Old: "3", New: "4"},
		{Action: "removed", Path: []string{`workflow "b"`}},
	}
	if d := cmp.Diff(want, changed.Workflows[0].Changes); d != "" || actions(changed)[0] != "w update 1 2 2" {
		t.Errorf("%q (-want +got):\n%s", actions(changed), d)
	}
	if elsewhere := ask[api.Workflows](t, h, "GET", "/v1/workflows?namespace=other", nil); len(elsewhere.Workflows) != 0 {
		t.Errorf("in another namespace: %+v", elsewhere)
	}
	req.Folders = []api.Folder{folderOf("", strings.Replace(fmt.Sprintf(oneWorkflow, "w"), "{", "{\n  namespace = \"other\"", 1))}
	ask[api.Applied](t, h, "POST", "/v1/workflows", req)
	if elsewhere := ask[api.Workflow](t, h, "GET", "/v1/workflow/w?namespace=other", nil); elsewhere.Version != 1 || elsewhere.Namespace != "other" {
		t.Errorf("in another namespace: %+v", elsewhere)
	}
}

// actions are what became of each workflow, in a line.
func actions(a api.Applied) (out []string) {
	for _, w := range a.Workflows {
		out = append(out, fmt.Sprintf("%s %s %d %d %d", w.Name, w.Action, w.Was, w.Version, len(w.Changes)))
	}
	return out
}

// applied is a handler with two versions of workflow w, and one of x and y.
func applied(t *testing.T) (http.Handler, *catalog, *runs) {
	t.Helper()
	h, c, r := shelf(t)
	first := fmt.Sprintf(oneWorkflow, "w")
	for _, text := range []string{first, strings.Replace(first, "= 3", "= 4", 1), fmt.Sprintf(oneWorkflow, "x"), fmt.Sprintf(oneWorkflow, "y")} {
		ask[api.Applied](t, h, "POST", "/v1/workflows", api.ApplyRequest{By: "ada", Folders: []api.Folder{folderOf("", text)}})
	}
	return h, c, r
}

func TestAVersionIsShown(t *testing.T) {
	h, _, _ := applied(t)
	got := ask[api.Workflow](t, h, "GET", "/v1/workflow/w?version=1&source", nil)
	if string(got.Files[0].Bytes) != fmt.Sprintf(oneWorkflow, "w") {
		t.Errorf("source %s", got.Files[0].Bytes)
	}
	got.Files, got.Definition = nil, ""
	want := api.Workflow{
		WorkflowEntry: api.WorkflowEntry{Name: "w", Namespace: "default", Version: 1, AppliedAt: at(0).Time(), By: "ada"},
		Newest:        2, ActiveRuns: 1, Labels: map[string]string{},
		Params: []api.WorkflowParam{{Name: "day", Type: "string", Required: true}, {Name: "n", Type: "number"}},
		Tasks:  []api.WorkflowTask{{Name: "t", Kind: "task", Body: "task", After: []string{}, TriggerRule: "all_success"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("version 1 (-want +got):\n%s", d)
	}
	if newest := ask[api.Workflow](t, h, "GET", "/v1/workflow/w", nil); newest.Version != 2 || newest.Files != nil {
		t.Errorf("newest %+v", newest)
	}
	versions := ask[api.WorkflowVersions](t, h, "GET", "/v1/workflow/w/versions", nil).Versions
	if len(versions) != 2 || versions[0].Version != 2 || versions[1].Version != 1 || versions[1].By != "ada" {
		t.Errorf("versions %+v", versions)
	}
}

func TestWorkflowsAreListedPageByPage(t *testing.T) {
	h, _, _ := applied(t)
	var names []string
	next := ""
	for range 3 {
		page := ask[api.Workflows](t, h, "GET", "/v1/workflows?per_page=1&next="+next, nil)
		for _, w := range page.Workflows {
			names = append(names, w.Name)
		}
		if next = page.Next; next == "" {
			break
		}
		if next == "w" { // a page is found again although its end is gone
			ask[api.DeletedWorkflow](t, h, "DELETE", "/v1/workflow/w", nil)
		}
	}
	if !slices.Equal(names, []string{"w", "x", "y"}) || next != "" {
		t.Errorf("pages %v, then %q", names, next)
	}
}

func TestARegisteredWorkflowIsRun(t *testing.T) {
	h, _, r := applied(t)
	ask[api.RunEntry](t, h, "POST", "/v1/workflow/w/run?namespace=default", api.RunWorkflowRequest{
		By: "bob", Key: "k", Params: map[string]json.RawMessage{"day": json.RawMessage(`"x"`)},
	})
	ask[api.RunEntry](t, h, "POST", "/v1/workflow/w/run", api.RunWorkflowRequest{Version: 1, ParamTexts: map[string]string{"day": "x"}})
	if len(r.subs) != 2 {
		t.Fatalf("%d submissions", len(r.subs))
	}
	sub := r.subs[0]
	if sub.Definition.Name != "w" || sub.By != "bob" || sub.IdempotencyKey != "k" || sub.Namespace != "default" || sub.ScheduledAt == 0 {
		t.Errorf("submission %+v", sub)
	}
	for i, want := range []string{"4", "3"} {
		if got := string(r.subs[i].Params["n"].JSON); got != want {
			t.Errorf("run %d has n = %s, want the default of its version, %s", i, got, want)
		}
	}
	status, body := call(t, h, "POST", "/v1/workflow/w/run", "")
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, `"diagnostics"`) || len(r.subs) != 2 {
		t.Errorf("without its param: %d %s", status, body)
	}
}

func TestADeletedWorkflowLeavesItsRuns(t *testing.T) {
	h, _, _ := applied(t)
	got := ask[api.DeletedWorkflow](t, h, "DELETE", "/v1/workflow/w", nil)
	if d := cmp.Diff(api.DeletedWorkflow{Name: "w", Namespace: "default", Version: 2, ActiveRuns: 1}, got); d != "" {
		t.Errorf("answer (-want +got):\n%s", d)
	}
	if status, body := call(t, h, "DELETE", "/v1/workflow/w", ""); status != http.StatusNotFound {
		t.Errorf("again: %d %s", status, body)
	}
}

func TestBadRequestsAboutWorkflowsSayWhatIsWrong(t *testing.T) {
	body := func(req api.ApplyRequest) string {
		b, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	w := fmt.Sprintf(oneWorkflow, "w")
	changed := strings.Replace(w, "= 3", "= 5", 1)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code, message            string
	}{
		{"an unknown workflow", "GET", "/v1/workflow/weekly", "", 404, "not_found", `there is no workflow "weekly" in namespace default`},
		{"a workflow with a name that is near", "POST", "/v1/workflow/ww/run", "", 404, "not_found", `there is no workflow "ww" in namespace default; did you mean w?`},
		{"a name that is none", "DELETE", "/v1/workflow/W%2F..%00", "", 404, "not_found", `there is no workflow "W/..\x00" in namespace default`},
		{"a name that is too long", "GET", "/v1/workflow/" + strings.Repeat("w", 64), "", 404, "not_found", "there is no workflow of that name: it has 64 bytes, names have at most 63"},
		{"versions in another namespace", "GET", "/v1/workflow/w/versions?namespace=x", "", 404, "not_found", `there is no workflow "w" in namespace x`},
		{"a version that never was", "GET", "/v1/workflow/w?version=3", "", 404, "not_found", "workflow w has no version 3: versions 1 to 2 are kept"},
		{"a run of a version that never was", "POST", "/v1/workflow/w/run", `{"version":3}`, 404, "not_found", "workflow w has no version 3: versions 1 to 2 are kept"},
		{"a version that is no number", "GET", "/v1/workflow/w?version=x", "", 400, "bad_request", "version=x: want a number from 1 to 2147483648"},
		{"a negative version", "POST", "/v1/workflow/w/run", `{"version":-1}`, 400, "bad_request", "version counts from 1"},
		{"a namespace that is none", "GET", "/v1/workflows?namespace=a/b", "", 400, "bad_request", "namespace=a/b: want up to 128 letters, digits and -"},
		{"an empty namespace", "GET", "/v1/workflows?namespace=", "", 400, "bad_request", "namespace=: want up to 128 letters, digits and -"},
		{"a wrong method", "PUT", "/v1/workflow/w", "", 405, "bad_method", "/v1/workflow/w takes DELETE and GET, not PUT"},
		{"a param that is given twice", "POST", "/v1/workflow/w/run", `{"params":{"d":1},"param_texts":{"d":"1"}}`, 400, "bad_request", "param d is given twice: in params and in param_texts"},
		{"an apply of nothing", "POST", "/v1/workflows", "{}", 400, "bad_request", "folders is empty: an apply needs the files of its workflows"},
		{"an apply of an empty folder", "POST", "/v1/workflows", `{"folders":[{"path":"x"}]}`, 400, "bad_request", `files of folder "x" is empty: an apply needs the files of its workflows`},
		{"one name in two folders", "POST", "/v1/workflows", body(api.ApplyRequest{Folders: []api.Folder{folderOf("x", w), folderOf("y", w)}}), 400, "bad_request",
			`workflow w is declared in folder "x" and in folder "y": rename one of them`},
		{"an apply over what has moved on", "POST", "/v1/workflows", body(api.ApplyRequest{Folders: []api.Folder{folderOf("", changed)}, Expect: map[string]int{"w": 1}}), 409, "conflict",
			"workflow w was at version 1 when it was looked at and is at version 2, applied by ada: look again, nothing was applied"},
		{"an expectation of nothing", "POST", "/v1/workflows", body(api.ApplyRequest{Folders: []api.Folder{folderOf("", w)}, Expect: map[string]int{"v": 1}}), 400, "bad_request",
			"expect names workflow v, which the files do not declare"},
		{"a name of whom that is too long", "POST", "/v1/workflows", body(api.ApplyRequest{By: strings.Repeat("x", 257)}), 400, "bad_request", "by has 257 bytes, at most 256 are kept"},
		{"an apply that is too large", "POST", "/v1/workflows", strings.Repeat(" ", httpapi.MaxBody+1), 413, "too_large", "the request is larger than 16777216 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _, _ := applied(t)
			status, body := call(t, h, c.method, c.path, c.body)
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

func TestFilesWithProblemsAreNotApplied(t *testing.T) {
	h, c, _ := shelf(t)
	for what, folders := range map[string][]api.Folder{
		"good/a.hcl is not its fault": {folderOf("good", fmt.Sprintf(oneWorkflow, "a")), folderOf("bad", `workflow "b" {}`)},
		"one name twice":              {folderOf("bad", fmt.Sprintf(oneWorkflow+oneWorkflow, "a", "a"))},
		"no workflow":                 {folderOf("bad", "locals { a = 1 }")},
	} {
		b, err := json.Marshal(api.ApplyRequest{Folders: folders})
		if err != nil {
			t.Fatal(err)
		}
		status, body := call(t, h, "POST", "/v1/workflows", string(b))
		var said api.Error
		if err := json.Unmarshal([]byte(body), &said); err != nil {
			t.Fatal(err)
		}
		if status != http.StatusUnprocessableEntity || len(said.Diagnostics) == 0 || len(c.registrations) != 0 {
			t.Errorf("%s: %d %s, %d registered", what, status, body, len(c.registrations))
			continue
		}
		if at := said.Diagnostics[0].File; at != "bad/a.hcl" && at != "" {
			t.Errorf("%s: a problem in %s", what, at)
		}
	}
}

func TestWhatAnApplyCouldNotDoIsSaid(t *testing.T) {
	for _, c := range []struct {
		refuse error
		status int
		code   string
	}{
		{fmt.Errorf("%w: no answer", scheduler.ErrUnknown), 502, api.CodeUnknown},
		{fmt.Errorf("%w: too many", scheduler.ErrInvalid), 422, api.CodeInvalid},
		{scheduler.ErrFenced, 503, api.CodeNotReady},
		{errors.New("broken"), 500, api.CodeInternal},
	} {
		h, catalog, _ := shelf(t)
		catalog.refuse = c.refuse
		b, err := json.Marshal(api.ApplyRequest{Folders: []api.Folder{folderOf("", fmt.Sprintf(oneWorkflow, "a"))}})
		if err != nil {
			t.Fatal(err)
		}
		status, body := call(t, h, "POST", "/v1/workflows", string(b))
		if status != c.status || !strings.Contains(body, `"code":"`+c.code+`"`) {
			t.Errorf("%v: %d %s, want %d %s", c.refuse, status, body, c.status, c.code)
		}
	}
}

// A definition that is gone is the server's trouble, and no answer to be taken for "there is none".
func TestADefinitionThatIsGoneIsAnError(t *testing.T) {
	h, c, r := applied(t)
	clear(c.definitions)
	for _, path := range []string{"GET /v1/workflow/w", "POST /v1/workflow/w/run"} {
		method, path, _ := strings.Cut(path, " ")
		if status, body := call(t, h, method, path, ""); status != http.StatusInternalServerError || !strings.Contains(body, "version 2 of workflow w cannot be read") {
			t.Errorf("%s %s: %d %s", method, path, status, body)
		}
	}
	if len(r.subs) != 0 {
		t.Errorf("%d runs", len(r.subs))
	}
}

func TestAProcessWithoutWorkflowsSaysSo(t *testing.T) {
	for _, path := range []string{"/v1/workflows", "/v1/workflow/w"} {
		status, body := call(t, handlerOf(newRuns(nightly(t))), "GET", path, "")
		if status != http.StatusNotFound || !strings.Contains(body, "ask a server for them") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
