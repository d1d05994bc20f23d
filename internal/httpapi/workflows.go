// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/agext/levenshtein"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/access"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Workflows is what the API needs of whoever keeps the registered workflows. Its calls are safe for concurrent use.
type Workflows interface {
	// Workflow returns what is registered under a name. ErrNotFound: nothing is.
	Workflow(ctx context.Context, namespace, name string) (workflow.Registration, error)
	// Workflows returns what is registered in a namespace, sorted by name.
	Workflows(ctx context.Context, namespace string) ([]workflow.Registration, error)
	// Definition returns a definition that is registered. ErrNotFound: it is not stored (any more).
	Definition(ctx context.Context, hash string) (*workflow.Definition, error)
	// Apply registers workflows, all or none. *scheduler.StaleError: one is not at the version that was expected.
	Apply(ctx context.Context, a scheduler.Application) ([]scheduler.Applied, error)
	// DeleteWorkflow returns what was registered. ErrNotFound: nothing is.
	DeleteWorkflow(ctx context.Context, namespace, name string) (workflow.Registration, error)
}

// workflowRoutes are those about registered workflows. Whoever may read, or run, in every namespace that a workflow uses may
// look at it, or apply, delete and run it; each handler sees to that when it knows which these are.
func (h *handler) workflowRoutes() map[string]methods {
	kept := func(do handlerFunc) handlerFunc {
		return func(w http.ResponseWriter, r *http.Request) error {
			if h.Workflows == nil {
				return notFound("this process drives runs and keeps no workflows: ask a server for them")
			}
			return do(w, r)
		}
	}
	return map[string]methods{
		"/v1/workflows":                {"GET": listing(kept(h.listWorkflows)), "POST": submits(kept(h.apply))},
		"/v1/workflow/{name}":          {"GET": listing(kept(h.showWorkflow)), "DELETE": submits(kept(h.deleteWorkflow))},
		"/v1/workflow/{name}/versions": {"GET": listing(kept(h.workflowVersions))},
		"/v1/workflow/{name}/run":      {"POST": submits(kept(h.runWorkflow))},
	}
}

// validNamespace is Nomad's rule for its own.
var validNamespace = regexp.MustCompile(`^[a-zA-Z0-9-]{1,128}$`)

// namespaceOf reads the optional namespace in the query: the one that the files of a workflow name.
func namespaceOf(r *http.Request) (string, error) {
	values, ok := r.URL.Query()["namespace"]
	if !ok {
		return api.DefaultNamespace, nil
	}
	if !validNamespace.MatchString(values[0]) {
		return "", badRequest("namespace=%s: want up to 128 letters, digits and -", values[0])
	}
	return values[0], nil
}

// listWorkflows answers GET /v1/workflows: by name, a page at a time.
func (h *handler) listWorkflows(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "namespace", "next", "per_page", "stale"); err != nil {
		return err
	}
	namespace, err := namespaceOf(r)
	if err != nil {
		return err
	}
	size, err := number(r, "per_page", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	all, err := h.readable(ctx, r, namespace)
	if err != nil {
		return err
	}
	after := r.URL.Query().Get("next")
	page := api.Workflows{Workflows: []api.WorkflowEntry{}}
	for i := range all {
		if after != "" && all[i].Name <= after { // also where that one is deleted by now
			continue
		}
		if len(page.Workflows) == int(size) {
			page.Next = page.Workflows[size-1].Name
			break
		}
		now, _ := all[i].Current()
		page.Workflows = append(page.Workflows, workflowEntry(&all[i], now))
	}
	h.reply(w, r, http.StatusOK, page)
	return nil
}

// readable lists the workflows of a namespace for whoever may read there; nobody else learns of any.
func (h *handler) readable(ctx context.Context, r *http.Request, namespace string) ([]workflow.Registration, error) {
	if may, err := h.mayList(ctx, r, namespace); err != nil || !may {
		return nil, err
	}
	return h.Workflows.Workflows(ctx, namespace)
}

func workflowEntry(r *workflow.Registration, v workflow.Version) api.WorkflowEntry {
	return api.WorkflowEntry{
		Name: r.Name, Namespace: r.Namespace, Version: v.Number, Definition: v.Hash, AppliedAt: v.AppliedAt.Time(), By: v.By,
	}
}

// named reads what is registered under the name in the path. What may not be read is answered like what is not there.
func (h *handler) named(ctx context.Context, r *http.Request, namespace string) (workflow.Registration, error) {
	name := r.PathValue("name")
	if len(name) > workflow.MaxNameBytes {
		return workflow.Registration{}, notFound("there is no workflow of that name: it has %d bytes, names have at most %d", len(name), workflow.MaxNameBytes)
	}
	may, err := h.mayList(ctx, r, namespace)
	if err != nil {
		return workflow.Registration{}, err
	}
	registered, err := workflow.Registration{}, scheduler.ErrNotFound
	if may && validName.MatchString(name) {
		registered, err = h.Workflows.Workflow(ctx, namespace, name)
	}
	if errors.Is(err, scheduler.ErrNotFound) {
		return registered, notFound("there is no workflow %q in namespace %s%s", name, namespace, h.near(ctx, r, namespace, name))
	}
	return registered, err
}

// validName is the language's rule for names, all of which stores take as they are.
var validName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// near is "; did you mean …?" where a name is close, else nothing.
func (h *handler) near(ctx context.Context, r *http.Request, namespace, name string) string {
	all, err := h.readable(ctx, r, namespace)
	if err != nil {
		h.Logger.Warn("workflows cannot be listed for a suggestion", "error", err)
		return ""
	}
	best, distance := "", 3 // more than two letters off is another word
	for _, r := range all {
		if d := levenshtein.Distance(name, r.Name, nil); d < distance {
			best, distance = r.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// versionOf is a version of a workflow, by number; 0 = the newest.
func versionOf(r *workflow.Registration, number int) (workflow.Version, error) {
	newest, _ := r.Current()
	if number == 0 || number == newest.Number {
		return newest, nil
	}
	v, ok := r.Version(number)
	if !ok {
		return v, notFound("workflow %s has no version %d: versions %d to %d are kept", r.Name, number, r.Versions[0].Number, newest.Number)
	}
	return v, nil
}

// definition is the definition of a version.
func (h *handler) definition(ctx context.Context, r *workflow.Registration, v workflow.Version) (*workflow.Definition, error) {
	def, err := h.Workflows.Definition(ctx, v.Hash)
	if err != nil { // not with %w: that something is missing is not for callers to branch on
		return nil, fmt.Errorf("version %d of workflow %s cannot be read: %s", v.Number, r.Name, err)
	}
	return def, nil
}

// showWorkflow answers GET /v1/workflow/NAME: the newest version, or another one.
func (h *handler) showWorkflow(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "namespace", "version", "source", "stale"); err != nil {
		return err
	}
	namespace, err := namespaceOf(r)
	if err != nil {
		return err
	}
	number, err := number(r, "version", 0, 1, 1<<31)
	if err != nil {
		return err
	}
	source, err := flag(r, "source", false)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	registered, err := h.named(ctx, r, namespace)
	if err != nil {
		return err
	}
	v, err := versionOf(&registered, int(number))
	if err != nil {
		return err
	}
	def, err := h.definition(ctx, &registered, v)
	if err != nil {
		return err
	}
	if missing, err := h.withholds(ctx, r, access.Read, def); err != nil || missing != "" {
		return cmp.Or(err, notFound("there is no workflow %q in namespace %s", registered.Name, namespace))
	}
	newest, _ := registered.Current()
	out := api.Workflow{
		WorkflowEntry: workflowEntry(&registered, v), Newest: newest.Number, Description: def.Description, Owner: def.Owner, Labels: def.Labels,
		Params: []api.WorkflowParam{}, Tasks: []api.WorkflowTask{},
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.ActiveRuns, err = h.activeRuns(ctx, namespace, registered.Name); err != nil {
		return err
	}
	if err := describe(def, &out); err != nil {
		return err
	}
	if source {
		for _, f := range def.Files {
			out.Files = append(out.Files, api.File{Path: f.Path, Bytes: f.Bytes, Named: f.Named})
		}
	}
	h.reply(w, r, http.StatusOK, out)
	return nil
}

// describe fills in the params and tasks of a definition.
func describe(def *workflow.Definition, out *api.Workflow) error {
	for i := range def.Params {
		p := &def.Params[i]
		one := api.WorkflowParam{Name: p.Name, Type: p.Type, Required: p.Required, Sensitive: p.Sensitive, Description: p.Description}
		if one.Type == "" {
			one.Type = "any"
		}
		out.Params = append(out.Params, one)
	}
	graph, err := workflow.NewGraph(def)
	if err != nil {
		return fmt.Errorf("workflow %s: %w", def.Name, err)
	}
	for n := range def.Tasks {
		t := &def.Tasks[n]
		one := api.WorkflowTask{
			Name: t.Name, Kind: string(t.Kind), Body: string(t.BodyKind), After: []string{}, TriggerRule: string(t.TriggerRule),
			FanOut: t.Shape() != workflow.ShapePlain,
		}
		for _, before := range graph.Predecessors(n) {
			one.After = append(one.After, def.Tasks[before].Name)
		}
		out.Tasks = append(out.Tasks, one)
	}
	return nil
}

// activeRuns counts the runs of a workflow that are not over, child runs too.
func (h *handler) activeRuns(ctx context.Context, namespace, name string) (n int, err error) {
	active, err := h.Runs.List(ctx, scheduler.Filter{Active: true, Workflow: name, Children: true})
	for _, run := range active {
		if run.Namespace == namespace {
			n++
		}
	}
	return n, err
}

// workflowVersions answers GET /v1/workflow/NAME/versions.
func (h *handler) workflowVersions(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "namespace", "stale"); err != nil {
		return err
	}
	namespace, err := namespaceOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	registered, err := h.named(ctx, r, namespace)
	if err != nil {
		return err
	}
	out := api.WorkflowVersions{}
	for i := len(registered.Versions) - 1; i >= 0; i-- {
		out.Versions = append(out.Versions, workflowEntry(&registered, registered.Versions[i]))
	}
	h.reply(w, r, http.StatusOK, out)
	return nil
}

// deleteWorkflow answers DELETE /v1/workflow/NAME.
func (h *handler) deleteWorkflow(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "namespace"); err != nil {
		return err
	}
	namespace, err := namespaceOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	registered, err := h.named(ctx, r, namespace)
	if err != nil {
		return err
	}
	newest, _ := registered.Current()
	def, err := h.definition(ctx, &registered, newest)
	if err != nil {
		return err
	}
	if err := h.mayChange(ctx, r, "delete", def); err != nil {
		return err
	}
	active, err := h.activeRuns(ctx, namespace, registered.Name)
	if err != nil {
		return err
	}
	was, err := h.Workflows.DeleteWorkflow(ctx, namespace, registered.Name)
	switch {
	case errors.Is(err, scheduler.ErrNotFound): // since a moment ago
		return notFound("there is no workflow %s in namespace %s any more", registered.Name, namespace)
	case err != nil:
		return err
	}
	now, _ := was.Current()
	h.reply(w, r, http.StatusOK, api.DeletedWorkflow{Name: was.Name, Namespace: was.Namespace, Version: now.Number, ActiveRuns: active})
	return nil
}

// runWorkflow answers POST /v1/workflow/NAME/run: it starts a run of a version and says how that stands.
func (h *handler) runWorkflow(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "namespace"); err != nil {
		return err
	}
	namespace, err := namespaceOf(r)
	if err != nil {
		return err
	}
	var req api.RunWorkflowRequest
	if err := decodeRequest(r, "a run", &req); err != nil {
		return err
	}
	if req.Version < 0 {
		return badRequest("version counts from 1")
	}
	if err := onlyOnce(req.Params, req.ParamTexts); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	registered, err := h.named(ctx, r, namespace)
	if err != nil {
		return err
	}
	v, err := versionOf(&registered, req.Version)
	if err != nil {
		return err
	}
	def, err := h.definition(ctx, &registered, v)
	if err != nil {
		return err
	}
	return h.start(w, r, def, order{params: req.Params, texts: req.ParamTexts, key: req.Key, by: req.By})
}

// apply answers POST /v1/workflows: it registers every workflow of the folders, or says what that would change.
func (h *handler) apply(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r); err != nil {
		return err
	}
	var req api.ApplyRequest
	if err := decodeUpTo(r, MaxBody, "an apply", &req); err != nil {
		return err
	}
	if len(req.By) > workflow.MaxByBytes {
		return badRequest("by has %d bytes, at most %d are kept", len(req.By), workflow.MaxByBytes)
	}
	defs, err := compileFolders(req.Folders)
	if err != nil {
		return err
	}
	a := scheduler.Application{By: h.by(r, req.By)}
	if a.Workflows, err = expecting(defs, req.Expect); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	action := "apply"
	if req.DryRun {
		action = "" // it changes nothing
	}
	if err := h.mayChange(ctx, r, action, defs...); err != nil {
		return err
	}
	var done []scheduler.Applied
	if req.DryRun {
		done, err = h.wouldApply(ctx, a)
	} else {
		done, err = h.Workflows.Apply(ctx, a)
	}
	if err != nil {
		return err
	}
	out := api.Applied{DryRun: req.DryRun, Workflows: []api.AppliedWorkflow{}}
	for i := range done {
		one, err := h.applied(ctx, r, &done[i], defs[i])
		if err != nil && req.DryRun {
			return err
		}
		if err != nil { // it is done, and to be told
			h.Logger.Warn("what an apply has changed cannot be told", "workflow", one.Name, "error", err)
		}
		out.Workflows = append(out.Workflows, one)
	}
	h.reply(w, r, http.StatusOK, out)
	return nil
}

// compileFolders compiles every workflow of the folders.
func compileFolders(folders []api.Folder) ([]*workflow.Definition, error) {
	var defs []*workflow.Definition
	from := map[string]string{}
	for _, folder := range folders {
		if len(folder.Files) == 0 {
			return nil, badRequest("files of folder %q is empty: an apply needs the files of its workflows", folder.Path)
		}
		files := make([]workflow.File, len(folder.Files))
		for i, f := range folder.Files {
			files[i] = workflow.File{Path: f.Path, Bytes: f.Bytes, Named: f.Named}
		}
		compiled, diags := hcl.CompileAll(files)
		for i := range diags {
			if folder.Path != "" && diags[i].Range.File != "" {
				diags[i].Range.File = path.Join(folder.Path, diags[i].Range.File)
			}
		}
		if diags.HasErrors() {
			return nil, invalid("the files have problems", diags)
		}
		for _, def := range compiled {
			if other, taken := from[def.Name]; taken {
				return nil, badRequest("workflow %s is declared in folder %q and in folder %q: rename one of them", def.Name, other, folder.Path)
			}
			from[def.Name] = folder.Path
			defs = append(defs, def)
		}
	}
	if len(defs) == 0 {
		return nil, badRequest("folders is empty: an apply needs the files of its workflows")
	}
	return defs, nil
}

// expecting joins definitions with the versions that they are expected at.
func expecting(defs []*workflow.Definition, expect map[string]int) ([]scheduler.Applying, error) {
	out := make([]scheduler.Applying, len(defs))
	known := map[string]bool{}
	for i, def := range defs {
		out[i].Definition = def
		if version, ok := expect[def.Name]; ok {
			out[i].Expect = &version
		}
		known[def.Name] = true
	}
	for name := range expect {
		if !known[name] {
			return nil, badRequest("expect names workflow %s, which the files do not declare", name)
		}
	}
	return out, nil
}

// wouldApply is what Apply would do.
func (h *handler) wouldApply(ctx context.Context, a scheduler.Application) ([]scheduler.Applied, error) {
	var out []scheduler.Applied
	for _, w := range a.Workflows {
		registered, err := h.Workflows.Workflow(ctx, w.Definition.Namespace, w.Definition.Name)
		if err != nil && !errors.Is(err, scheduler.ErrNotFound) {
			return nil, err
		}
		next, changed := registered.Apply(w.Definition.Hash, 0, a.By)
		next.Namespace, next.Name = w.Definition.Namespace, w.Definition.Name
		out = append(out, scheduler.Applied{Registration: next, Changed: changed})
	}
	return out, nil
}

// applied tells what became of a workflow.
func (h *handler) applied(
	ctx context.Context, r *http.Request, done *scheduler.Applied, def *workflow.Definition,
) (api.AppliedWorkflow, error) {
	now, _ := done.Current()
	out := api.AppliedWorkflow{
		Name: done.Name, Namespace: done.Namespace, Definition: def.Hash, Action: api.ActionNone, Was: now.Number, Version: now.Number,
		Changes: []api.Change{},
	}
	if !done.Changed {
		return out, nil
	}
	out.Action, out.Was = api.ActionCreate, 0
	var before *workflow.Definition
	if n := len(done.Versions); n > 1 {
		was := done.Versions[n-2]
		out.Action, out.Was = api.ActionUpdate, was.Number
		var err error
		if before, err = h.definition(ctx, &done.Registration, was); err != nil {
			return out, err
		}
		if missing, err := h.withholds(ctx, r, access.Read, before); err != nil || missing != "" {
			return out, err // what was there is not for whoever asks
		}
	}
	for _, c := range hcl.Diff(before, def) {
		out.Changes = append(out.Changes, api.Change{Action: string(c.Action), Path: c.Path, Old: c.Old, New: c.New})
	}
	return out, nil
}

// withholds names a namespace that a definition uses, and in which whoever asks has not the right; empty: there is none.
func (h *handler) withholds(ctx context.Context, r *http.Request, right access.Right, def *workflow.Definition) (string, error) {
	if h.Access == nil {
		return "", nil
	}
	return h.lacks(ctx, askerOf(r), right, def.AllNamespaces())
}

// mayChange refuses whoever may not run one of the definitions, and notes what is about to be done; no action: nothing is.
func (h *handler) mayChange(ctx context.Context, r *http.Request, action string, defs ...*workflow.Definition) error {
	a := askerOf(r)
	var names []string
	for _, def := range defs {
		names = append(names, def.Name)
		missing, err := h.withholds(ctx, r, access.Run, def)
		if err != nil {
			return err
		}
		if missing != "" {
			return forbidden("%s may not run jobs in namespace %s, which workflow %s uses: that takes submit-job, and the namespace must exist",
				a.words(), missing, def.Name)
		}
	}
	if action == "" {
		a.note = nil
		return nil
	}
	a.note.Action, a.note.Workflow = action, strings.Join(names, ", ")
	return h.begin(r, a)
}
