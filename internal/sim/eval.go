// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"sort"
	"strconv"
	"strings"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

var _ engine.Evaluator = (*evaluator)(nil)

// evaluator is a pure engine.Evaluator for the toy language. It belongs to one goroutine.
type evaluator struct {
	parsed map[string]*node
	// digests of large scopes by identity: the engine promises one Shared for all instances of a task.
	digests map[digestKey]string
}

type digestKey struct {
	shared *workflow.Shared
	names  string
}

func newEvaluator() *evaluator {
	return &evaluator{parsed: map[string]*node{}, digests: map[digestKey]string{}}
}

// largeScope is from how many instances on a scope's digest is remembered by identity instead of computed afresh. Small
// scopes are always read again, so that a scope changed in place shows.
const largeScope = 64

var errPlanned = errors.New("main.hcl:1: planned error")

// Evaluate implements engine.Evaluator.
func (v *evaluator) Evaluate(expr workflow.Expr, scope workflow.Scope) (workflow.Value, error) {
	if expr.Kind == workflow.ExprConvert {
		return convert(expr.Text, scope.Input)
	}
	n, ok := v.parsed[expr.Text]
	if !ok {
		var err error
		if n, err = parse(expr.Text); err != nil {
			panic(err)
		}
		v.parsed[expr.Text] = n
	}
	if scope.Shared == nil {
		return workflow.Value{}, errors.New("main.hcl:1: no shared scope")
	}
	got, err := v.eval(n, &scope)
	if err != nil {
		return workflow.Value{}, err
	}
	if own, ok := got.(rendered); ok && expr.Kind == workflow.ExprBody {
		got = own
	} else if expr.Kind == workflow.ExprBody {
		got = body{Seen: got, Each: eachKey(&scope), Number: attemptNumber(&scope), Run: scope.Shared.Run.Status, Failed: scope.Shared.Run.FailedTasks}
	}
	b, err := json.Marshal(got)
	return workflow.Value{JSON: b}, err
}

// body is what a simulated body renders to: what it saw of the world.
type body struct {
	Seen   any                `json:"seen"`
	Each   string             `json:"each,omitempty"`
	Number int                `json:"number"`
	Run    workflow.RunStatus `json:"run,omitempty"`
	Failed []string           `json:"failed,omitempty"`
}

// rendered is a body that is more than what it saw: of an approval, a wait, a child run.
type rendered map[string]any

// seconds are nanoseconds, whole: bodies hold integers.
func seconds(v any) int64 { return int64(v.(float64)) * 1e9 }

func eachKey(s *workflow.Scope) string {
	if s.Each == nil {
		return ""
	}
	return s.Each.Key
}

func attemptNumber(s *workflow.Scope) int {
	if s.Attempt == nil {
		return 0
	}
	return s.Attempt.Number
}

// convert is the type conversion of outputs: string, number or bool.
func convert(typ string, in *workflow.Value) (workflow.Value, error) {
	if in == nil || in.Null() {
		return workflow.Value{JSON: json.RawMessage("null")}, nil
	}
	raw := bytes.TrimSpace(in.JSON)
	text := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return workflow.Value{}, err
		}
	}
	switch typ {
	case "any":
		return workflow.Value{JSON: raw}, nil
	case "string":
		b, err := json.Marshal(text)
		return workflow.Value{JSON: b}, err
	case "number":
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return workflow.Value{}, fmt.Errorf("%q is not a number", text)
		}
		return workflow.Value{JSON: json.RawMessage(strconv.FormatFloat(f, 'g', -1, 64))}, nil
	case "bool":
		if text == "true" || text == "false" {
			return workflow.Value{JSON: json.RawMessage(text)}, nil
		}
		return workflow.Value{}, fmt.Errorf("%q is not a bool", text)
	}
	return workflow.Value{}, fmt.Errorf("unknown type %q", typ)
}

func (v *evaluator) eval(n *node, s *workflow.Scope) (any, error) {
	if n.fn == "" {
		return n.lit, nil
	}
	if n.fn == "if" {
		c, err := v.eval(n.args[0], s)
		if err != nil {
			return nil, err
		}
		if c == true {
			return v.eval(n.args[1], s)
		}
		return v.eval(n.args[2], s)
	}
	args := make([]any, len(n.args))
	for i, a := range n.args {
		var err error
		if args[i], err = v.eval(a, s); err != nil {
			return nil, err
		}
	}
	switch n.fn {
	case "err":
		return nil, errPlanned
	case "not":
		return args[0] != true, nil
	case "eq":
		return same(args[0], args[1]), nil
	case "need":
		if args[0] == nil {
			return nil, errors.New("main.hcl:1: the value is null")
		}
		return args[0], nil
	case "mod":
		b, err := json.Marshal(args[0])
		if err != nil {
			return nil, err
		}
		h := fnv.New32a()
		h.Write(b)
		return float64(h.Sum32() % uint32(args[1].(float64))), nil
	case "param":
		return decode(s.Shared.Params[args[0].(string)]), nil
	case "runstatus":
		if s.Shared.Run.Status == "" {
			return nil, errors.New("main.hcl:1: run.status exists in finally tasks only")
		}
		return string(s.Shared.Run.Status), nil
	}
	switch n.fn {
	case "approval": // seconds, on_timeout, approvers
		return rendered{"timeout": seconds(args[0]), "on_timeout": args[1], "approvers": args[2:]}, nil
	case "wait":
		return rendered{"duration": seconds(args[0])}, nil
	case "until":
		return rendered{"until": int64(epoch0) + seconds(args[0])}, nil
	case "child": // its params must not differ from attempt to attempt
		return rendered{"source": "child", "seen": args[0], "each": eachKey(s)}, nil
	case "status", "out", "count", "seen":
		return v.task(n.fn, args, s)
	case "key", "value", "index", "number", "exit", "reason":
		return local(n.fn, s)
	}
	return collection(n.fn, args)
}

func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func decode(v workflow.Value) any {
	if v.Null() {
		return nil
	}
	var out any
	if json.Unmarshal(v.JSON, &out) != nil {
		return nil
	}
	return out
}

// local reads each.* and attempt.*.
func local(fn string, s *workflow.Scope) (any, error) {
	switch fn {
	case "key", "value", "index":
		if s.Each == nil {
			return nil, errors.New("main.hcl:1: each exists in fan-outs only")
		}
	default:
		if s.Attempt == nil {
			return nil, errors.New("main.hcl:1: attempt exists in bodies and retry only")
		}
	}
	switch fn {
	case "key":
		return s.Each.Key, nil
	case "value":
		return decode(s.Each.Value), nil
	case "index":
		return float64(s.Each.Index), nil
	case "number":
		return float64(s.Attempt.Number), nil
	case "exit":
		if s.Attempt.ExitCode == nil {
			return nil, errors.New("main.hcl:1: attempt.exit_code is null")
		}
		return float64(*s.Attempt.ExitCode), nil
	}
	return s.Attempt.Reason, nil
}

// task reads task.*.
func (v *evaluator) task(fn string, args []any, s *workflow.Scope) (any, error) {
	if fn == "seen" {
		return v.seen(args, s)
	}
	name := args[0].(string)
	t, ok := s.Shared.Tasks[name]
	if !ok {
		return nil, fmt.Errorf("main.hcl:1: task.%s is not in scope", name)
	}
	switch fn {
	case "status":
		return string(t.Status), nil
	case "count":
		return float64(len(t.Instances)), nil
	}
	field := args[1].(string)
	if t.Shape == workflow.ShapePlain {
		if len(t.Instances) == 0 {
			return nil, nil
		}
		return decode(t.Instances[0].Outputs[field]), nil
	}
	all := []any{}
	for _, in := range t.Instances {
		all = append(all, decode(in.Outputs[field]))
	}
	return all, nil
}

// seen is a digest of everything that the scope shows of the named tasks.
func (v *evaluator) seen(args []any, s *workflow.Scope) (any, error) {
	names := make([]string, len(args))
	size := 0
	for i, a := range args {
		names[i] = a.(string)
		t, ok := s.Shared.Tasks[names[i]]
		if !ok {
			return nil, fmt.Errorf("main.hcl:1: task.%s is not in scope", names[i])
		}
		size += len(t.Instances)
	}
	key := digestKey{s.Shared, strings.Join(names, ",")}
	if size >= largeScope {
		if d, ok := v.digests[key]; ok {
			return d, nil
		}
	}
	d := digest(names, s.Shared.Tasks)
	if size >= largeScope {
		v.digests[key] = d
	}
	return d, nil
}

// digest names tasks, statuses, instances and outputs, in full when that is short.
func digest(names []string, tasks map[string]*workflow.TaskValues) string {
	var b strings.Builder
	for _, name := range names {
		t := tasks[name]
		fmt.Fprintf(&b, "%s=%s%s", name, t.Status, t.Shape)
		for _, in := range t.Instances {
			fmt.Fprintf(&b, "[%s %s", in.Key, in.Status)
			keys := make([]string, 0, len(in.Outputs))
			for k := range in.Outputs {
				keys = append(keys, k)
			}
			sort.Strings(keys)
			for _, k := range keys {
				if val := in.Outputs[k]; !val.Null() {
					fmt.Fprintf(&b, " %s=%s", k, val.JSON)
				}
			}
			b.WriteByte(']')
		}
		b.WriteByte(';')
	}
	if b.Len() <= 300 {
		return b.String()
	}
	h := fnv.New64a()
	h.Write([]byte(b.String()))
	return fmt.Sprintf("%s…%x", b.String()[:100], h.Sum64())
}

// collection makes what for_each expands over.
func collection(fn string, args []any) (any, error) {
	if fn == "list" {
		return args, nil
	}
	n := 0
	if len(args) > 0 {
		f, ok := args[0].(float64)
		if !ok && fn != "field" {
			return nil, errors.New("main.hcl:1: a number is required")
		}
		n = int(f)
	}
	switch fn {
	case "names": // a set of strings, not in key order
		out := make([]any, n)
		for i := range out {
			out[n-1-i] = fmt.Sprintf("k%d", i)
		}
		return out, nil
	case "objs": // a list of objects with an id
		out := make([]any, n)
		for i := range out {
			out[i] = map[string]any{"id": fmt.Sprintf("o%d", (i*7)%n+n*(i/n)), "twin": "t"}
			if n%7 == 0 {
				out[i] = map[string]any{"id": fmt.Sprintf("o%d", n-i), "twin": "t"}
			}
		}
		return out, nil
	case "objsbig": // in another order, with other elements and another value of one, as n has it
		out := make([]any, 0, 6)
		for i := range 6 {
			if k := (i*5 + n) % 6; (k+n)%4 != 0 {
				value := "t"
				if k == n%6 {
					value = "changed"
				}
				out = append(out, map[string]any{"id": fmt.Sprintf("o%d", k), "twin": value})
			}
		}
		return out, nil
	case "objmap":
		out := map[string]any{}
		for i := range n {
			out[fmt.Sprintf("m%d", i)] = i
		}
		return out, nil
	case "long":
		return strings.Repeat("x", workflow.MaxKeyBytes+1), nil
	case "field":
		m, ok := args[0].(map[string]any)
		if !ok {
			return nil, errors.New("main.hcl:1: an object is required")
		}
		return m[args[1].(string)], nil
	}
	return nil, fmt.Errorf("unknown function %s", fn)
}
