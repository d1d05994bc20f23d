// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/httpapi"
)

// described is the part of the OpenAPI document that tests look at.
type described struct {
	Paths      map[string]json.RawMessage
	Components struct {
		Parameters map[string]parameter
		Schemas    map[string]shape
	}
}

type operation struct {
	OperationID string
	Summary     string
	Parameters  []parameter
	RequestBody *struct {
		Content map[string]struct{ Schema json.RawMessage }
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema json.RawMessage }
	}
}

type parameter struct {
	Ref         string `json:"$ref"`
	Name        string
	In          string
	Description string
}

type shape struct {
	Required   []string
	Properties map[string]json.RawMessage
}

// document is the OpenAPI document, and the operations of each path by method.
func document(tb testing.TB) (described, map[string]map[string]operation) {
	tb.Helper()
	doc, ops, err := readDocument()
	if err != nil {
		tb.Fatalf("openapi.json: %v", err)
	}
	return doc, ops
}

func readDocument() (doc described, ops map[string]map[string]operation, err error) {
	if err := json.Unmarshal(httpapi.OpenAPI(), &doc); err != nil {
		return doc, nil, err
	}
	ops = map[string]map[string]operation{}
	for path, item := range doc.Paths {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(item, &members); err != nil {
			return doc, nil, fmt.Errorf("%s: %w", path, err)
		}
		ops[path] = map[string]operation{}
		for name, member := range members {
			if name == "parameters" { // of the path itself
				continue
			}
			var op operation
			if err := json.Unmarshal(member, &op); err != nil {
				return doc, nil, fmt.Errorf("%s %s: %w", name, path, err)
			}
			ops[path][strings.ToUpper(name)] = op
		}
	}
	return doc, ops, nil
}

func TestEveryRouteIsInTheDocumentAndTheOtherWayRound(t *testing.T) {
	_, ops := document(t)
	ids := map[string]string{}
	for path, methods := range httpapi.Routes() {
		for _, method := range methods {
			op, ok := ops[path][method]
			if !ok {
				t.Errorf("openapi.json lacks %s %s: add it to paths, with its parameters and the schema of its answer", method, path)
				continue
			}
			if other := ids[op.OperationID]; other != "" || op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s %s needs a summary and an operationId of its own; it has %q, as has %q", method, path, op.OperationID, other)
			}
			ids[op.OperationID] = method + " " + path
			if _, ok := op.Responses["default"]; !ok {
				t.Errorf(`%s %s says nothing of errors: add "default": {"$ref": "#/components/responses/Error"} to its responses`, method, path)
			}
		}
	}
	for path, methods := range ops {
		for method := range methods {
			if !slices.Contains(httpapi.Routes()[path], method) {
				t.Errorf("openapi.json has %s %s, which nobody serves: take it out", method, path)
			}
		}
	}
}

func TestEveryQueryParameterIsInTheDocumentAndTheOtherWayRound(t *testing.T) {
	doc, ops := document(t)
	for path, methods := range httpapi.Routes() {
		for _, method := range methods {
			var want []string
			for _, p := range ops[path][method].Parameters {
				if ref, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
					p = doc.Components.Parameters[ref]
				}
				if p.Name == "" || p.Description == "" {
					t.Errorf("%s %s has a parameter without a name or a description", method, path)
				}
				if p.In == "query" {
					want = append(want, p.Name)
				}
			}
			w := httptest.NewRecorder()
			target := strings.NewReplacer("{id}", string(runID), "{name}", "w").Replace(path) + "?no_such_parameter=1"
			h := httpapi.New(httpapi.Config{Runs: newRuns(nightly(t)), Workflows: newCatalog(), Logger: hclog.NewNullLogger()})
			h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
			_, takes, ok := strings.Cut(w.Body.String(), `does not take \"no_such_parameter\"; it takes `)
			if w.Code != http.StatusBadRequest || !ok {
				t.Errorf("%s %s takes any parameter (%d): let its handler begin with unknown(r, …)", method, path, w.Code)
				continue
			}
			takes, _, _ = strings.Cut(takes, `"`)
			var got []string
			if takes != "no parameters" {
				got = strings.Split(strings.ReplaceAll(takes, " and ", ", "), ", ")
			}
			slices.Sort(want)
			slices.Sort(got)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("query parameters of %s %s, in openapi.json and of unknown(r, …) in its handler (-document +handler):\n%s", method, path, d)
			}
		}
	}
}

// shapes are the Go types of the schemas.
var shapes = []reflect.Type{
	reflect.TypeFor[api.Run](), reflect.TypeFor[api.Trigger](), reflect.TypeFor[api.Parent](), reflect.TypeFor[api.VerbUsed](),
	reflect.TypeFor[api.Task](), reflect.TypeFor[api.Instance](), reflect.TypeFor[api.Attempt](), reflect.TypeFor[api.Approval](),
	reflect.TypeFor[api.InputAsk](), reflect.TypeFor[api.Wait](), reflect.TypeFor[api.Instances](), reflect.TypeFor[api.Runs](),
	reflect.TypeFor[api.RunEntry](), reflect.TypeFor[api.SubmitRequest](), reflect.TypeFor[api.File](), reflect.TypeFor[api.RerunRequest](),
	reflect.TypeFor[api.VerbRequest](), reflect.TypeFor[api.Plan](), reflect.TypeFor[api.PlannedTask](), reflect.TypeFor[api.Event](),
	reflect.TypeFor[api.Health](), reflect.TypeFor[api.Leader](), reflect.TypeFor[api.Members](), reflect.TypeFor[api.Member](),
	reflect.TypeFor[api.Workers](), reflect.TypeFor[api.Worker](), reflect.TypeFor[api.WorkerHealth](), reflect.TypeFor[api.WorkerAttempt](),
	reflect.TypeFor[api.Orphans](), reflect.TypeFor[api.Orphan](),
	reflect.TypeFor[api.Backups](), reflect.TypeFor[api.Backup](), reflect.TypeFor[api.BackupStock](), reflect.TypeFor[api.BackupDrill](),
	reflect.TypeFor[api.SteppedDown](), reflect.TypeFor[api.StepDownRequest](), reflect.TypeFor[api.Checkup](), reflect.TypeFor[api.Finding](), reflect.TypeFor[api.WorkerDeadRequest](), reflect.TypeFor[api.WorkerDead](), reflect.TypeFor[api.Error](), reflect.TypeFor[api.Diagnostic](),
	reflect.TypeFor[api.Audit](), reflect.TypeFor[api.AuditRecord](), reflect.TypeFor[api.Workflows](), reflect.TypeFor[api.WorkflowEntry](),
	reflect.TypeFor[api.Workflow](), reflect.TypeFor[api.WorkflowParam](), reflect.TypeFor[api.WorkflowTask](), reflect.TypeFor[api.WorkflowVersions](),
	reflect.TypeFor[api.ApplyRequest](), reflect.TypeFor[api.Folder](), reflect.TypeFor[api.Applied](), reflect.TypeFor[api.AppliedWorkflow](),
	reflect.TypeFor[api.Change](), reflect.TypeFor[api.DeletedWorkflow](), reflect.TypeFor[api.RunWorkflowRequest](),
}

func TestEverySchemaHasTheFieldsOfItsType(t *testing.T) {
	doc, _ := document(t)
	left := maps.Clone(doc.Components.Schemas)
	for _, of := range shapes {
		var fields, always []string
		for _, field := range reflect.VisibleFields(of) {
			if field.Anonymous {
				continue // its fields stand for themselves
			}
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			fields = append(fields, name)
			if !strings.Contains(options, "omit") {
				always = append(always, name)
			}
		}
		schema, ok := left[of.Name()]
		delete(left, of.Name())
		if !ok {
			t.Errorf("openapi.json lacks the schema %s", of.Name())
			continue
		}
		slices.Sort(fields)
		slices.Sort(always)
		slices.Sort(schema.Required)
		if d := cmp.Diff(fields, slices.Sorted(maps.Keys(schema.Properties))); d != "" {
			t.Errorf("properties of schema %s (-type +document):\n%s", of.Name(), d)
		}
		if d := cmp.Diff(always, schema.Required); d != "" {
			t.Errorf("what schema %s requires (-type +document):\n%s", of.Name(), d)
		}
	}
	for name := range left {
		t.Errorf("schema %s is of no type that this test knows: add its type to shapes, or take it out", name)
	}
}

// schemas compiles the schemas of the document, without room for what is not described.
var schemas = sync.OnceValues(func() (*jsonschema.Compiler, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(httpapi.OpenAPI()))
	if err != nil {
		return nil, err
	}
	all := doc.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)
	for _, s := range all {
		s.(map[string]any)["additionalProperties"] = false
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c, c.AddResource("openapi.json", doc)
})

// conforms holds JSON against a schema of the document, which is a reference to one with a name, or has only a type.
func conforms(schema json.RawMessage, text []byte) error {
	var ref struct {
		Ref string `json:"$ref"`
	}
	if err := json.Unmarshal(schema, &ref); err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil || ref.Ref == "" {
		return err
	}
	s, err := compiled("openapi.json" + ref.Ref)
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// compiling: a compiler is for one goroutine at a time, and answers are checked in many.
var compiling sync.Mutex

func compiled(schema string) (*jsonschema.Schema, error) {
	compiling.Lock()
	defer compiling.Unlock()
	c, err := schemas()
	if err != nil {
		return nil, err
	}
	return c.Compile(schema)
}

// documented serves as a handler does, and panics where an answer is not what the document says.
type documented struct{ http.Handler }

func (d documented) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var sent bytes.Buffer
	r.Body = io.NopCloser(io.TeeReader(r.Body, &sent)) // whoever serves closes the body itself
	taken := &taken{ResponseWriter: w, status: http.StatusOK}
	d.Handler.ServeHTTP(taken, r)
	if err := d.check(r, sent.Bytes(), taken); err != nil {
		panic(fmt.Sprintf("%s %s is answered %d otherwise than internal/httpapi/openapi.json says: %v\n%s", r.Method, r.URL, taken.status, err, taken.body.Bytes()))
	}
}

func (d documented) check(r *http.Request, sent []byte, w *taken) error {
	if w.status != http.StatusOK {
		return conforms([]byte(`{"$ref":"#/components/schemas/Error"}`), w.body.Bytes())
	}
	method, path, _ := strings.Cut(r.Pattern, " ")
	_, ops, err := readDocument()
	if err != nil {
		return err
	}
	op := ops[path][method]
	if body := op.RequestBody; len(sent) > 0 && body != nil {
		if err := conforms(body.Content["application/json"].Schema, sent); err != nil {
			return fmt.Errorf("the request was taken: %w", err)
		}
	}
	kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	content, ok := op.Responses["200"].Content[kind]
	switch {
	case !ok:
		return fmt.Errorf("it has no answer of the type %q", kind)
	case kind == "application/json":
		return conforms(content.Schema, w.body.Bytes())
	case kind == "text/event-stream":
		for line := range strings.Lines(w.body.String()) {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				if err := conforms(content.Schema, []byte(data)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// taken keeps an answer that goes out.
type taken struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *taken) WriteHeader(status int) {
	t.status = status
	t.ResponseWriter.WriteHeader(status)
}

func (t *taken) Write(b []byte) (int, error) {
	t.body.Write(b)
	return t.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (t *taken) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func TestTheDocumentIsServedAndChecksBite(t *testing.T) {
	if status, body := call(t, handlerOf(newRuns(nightly(t))), "GET", "/v1/openapi.json", ""); status != http.StatusOK || body != string(httpapi.OpenAPI()) {
		t.Errorf("%d, %d bytes", status, len(body))
	}
	lies := documented{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Pattern = "GET /v1/agent/health"
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, r.URL.RawQuery)
	})}
	for body, want := range map[string]string{
		`{"healthy":true,"leader":true,"pid":1,"version":""}`:         "",
		`{"healthy":true,"leader":true,"pid":1}`:                      "version",
		`{"healthy":1,"leader":true,"pid":1,"version":""}`:            "boolean",
		`{"healthy":true,"leader":true,"pid":1,"version":"","new":1}`: "new",
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); (want == "") != (got == "<nil>") || !strings.Contains(got, want) {
					t.Errorf("%s: %s, want words about %q", body, got, want)
				}
			}()
			req := httptest.NewRequest("GET", "/v1/agent/health", nil)
			req.URL.RawQuery = body
			lies.ServeHTTP(httptest.NewRecorder(), req)
		}()
	}
}
