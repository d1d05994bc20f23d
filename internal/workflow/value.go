// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"encoding/json"
	"time"
)

// Time is a moment in nanoseconds since the Unix epoch; 0 means "not reached". Durable records use it instead of
// time.Time: it is small, has no zone and compares with operators.
type Time int64

// At converts a wall-clock time.
func At(t time.Time) Time { return Time(t.UnixNano()) }

// Time converts back, in UTC; the zero Time gives the zero time.Time.
func (t Time) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(t)).UTC()
}

// Add moves t by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub gives the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Value is a JSON value with its sensitive mark. A nil JSON reads as null.
type Value struct {
	JSON      json.RawMessage `json:"v"`
	Sensitive bool            `json:"s,omitempty"`
}

// Text is a string as a Value.
func Text(s string, sensitive bool) Value {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always encodes
	}
	return Value{JSON: b, Sensitive: sensitive}
}

// Null reports whether the value is absent or JSON null.
func (v Value) Null() bool { return len(v.JSON) == 0 || string(v.JSON) == "null" }

// Bool reads a JSON boolean; ok is false for anything else.
func (v Value) Bool() (value, ok bool) {
	switch string(v.JSON) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// Range is a place in a source file. Lines and columns count from 1, columns in characters; Byte from 0.
type Range struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Byte   int    `json:"byte"`
	End    int    `json:"end"` // byte after the last one
}

// ExprKind says how the evaluator reads an expression.
type ExprKind string

// The kinds of expression.
const (
	ExprValue   ExprKind = "value"   // an HCL expression; gives its value
	ExprBody    ExprKind = "body"    // a task block; gives the canonical JSON of the Nomad job it describes
	ExprConvert ExprKind = "convert" // a type constraint; converts Scope.Input to it and gives the result
)

// Expr is an expression as source text with the place it stands at. It holds no parsed form, so that a definition stays
// plain data; the evaluator finds its parsed form by kind and range.
type Expr struct {
	Kind  ExprKind `json:"kind"`
	Text  string   `json:"text"`
	Range Range    `json:"range"`
}

// Scope is everything an expression may read. Shared is the same pointer for all instances and attempts of a task, so an
// evaluator may keep what it derived from it.
type Scope struct {
	Shared  *Shared
	Each    *Each          // nil outside fan-outs
	Attempt *AttemptValues // nil outside bodies and retry policies
	Input   *Value         // what ExprConvert converts
}

// Shared is the part of a scope that does not differ between the instances of a task.
type Shared struct {
	Run    RunValues
	Params map[string]Value
	Tasks  map[string]*TaskValues // only tasks that the reader may refer to
}

// RunValues are the values of `run.*`.
type RunValues struct {
	ID          string
	Workflow    string
	Version     string // the definition's hash
	Namespace   string
	Trigger     string // "manual"
	URL         string
	ScheduledAt Time
	StartedAt   Time
	// Status and FailedTasks are set in finally tasks only.
	Status      RunStatus
	FailedTasks []string
}

// Each is `each.*` of one instance.
type Each struct {
	Key   string
	Value Value
	Index int
}

// AttemptValues are `attempt.*`. In a body only Number is known; the rest is for retry.when.
type AttemptValues struct {
	Number   int
	Ended    bool
	ExitCode *int // nil when the process had none
	Signal   int
	OOM      bool
	Reason   string // the verdict
	Message  string
	Node     string
	Duration time.Duration
}

// Shape says how `task.x` reads.
type Shape string

// The shapes of a task's value.
const (
	ShapePlain Shape = ""     // one instance: task.x.output
	ShapeMap   Shape = "map"  // for_each: task.x["key"].output
	ShapeList  Shape = "list" // count: task.x[0].output
)

// TaskValues is what an expression sees of one task, as the reader's view fixed it.
type TaskValues struct {
	Shape     Shape
	Status    Status
	Instances []InstanceValues // one for a plain task
}

// InstanceValues is what an expression sees of one instance. Outputs holds every declared output: the value, its default,
// or null.
type InstanceValues struct {
	Key     string
	Status  Status
	Outputs map[string]Value
}
