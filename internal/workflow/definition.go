// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"time"
)

// Definition is one checked, compiled workflow. It is immutable and identified by Hash.
type Definition struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Namespace   string            `json:"namespace"` // Nomad namespace of every task that names none; "default"
	// Namespaces are those that tasks name themselves, those of child workflows among them, as far as the files say so in
	// plain text; with REGION/ before a name where they name a region too. Sorted, without Namespace itself.
	Namespaces  []string      `json:"namespaces,omitempty"`
	Priority    int           `json:"priority"` // 1-100
	Timeout     time.Duration `json:"timeout,omitempty"`
	OnFailure   OnFailure     `json:"on_failure"`
	MaxParallel int           `json:"max_parallel,omitempty"` // attempts of one run in flight; 0 = no limit
	Concurrency *Concurrency  `json:"concurrency,omitempty"`  // nil = runs do not wait for each other
	Params      []Param       `json:"params,omitempty"`
	Tasks       []Task        `json:"tasks"` // declaration order, finally tasks last
	Outputs     []RunOutput   `json:"outputs,omitempty"`

	// Files are the sources the definition was compiled from, sorted by path. Hash is over them and the language version.
	Files []File `json:"files"`
	Hash  string `json:"hash"` // "sha256:<hex>"
}

// AllNamespaces are Namespace and Namespaces.
func (d *Definition) AllNamespaces() []string {
	return append([]string{d.Namespace}, d.Namespaces...)
}

// File is one source file: its path below the workflow's folder, with slashes, and its bytes.
type File struct {
	Path  string `json:"path"`
	Bytes []byte `json:"bytes"`
	// Named marks a file that is no part of the workflow's own namespace: an expression or a body of it names the file.
	Named bool `json:"named,omitempty"`
}

// Concurrency bounds how many runs of a workflow, by namespace and name, go at the same time.
type Concurrency struct {
	MaxRuns int     `json:"max_runs"` // at least 1
	OnLimit OnLimit `json:"on_limit"`
}

// Param is a typed value into a workflow.
type Param struct {
	Name        string `json:"name"`
	Type        string `json:"type,omitempty"` // source text of the type constraint; empty = any
	Description string `json:"description,omitempty"`
	Sensitive   bool   `json:"sensitive,omitempty"`
	Nullable    bool   `json:"nullable,omitempty"`
	Required    bool   `json:"required,omitempty"` // has no default
	Range       Range  `json:"range"`
}

// RunOutput is a value that the run itself gives to its caller.
type RunOutput struct {
	Name      string   `json:"name"`
	Value     Expr     `json:"value"`
	Sensitive bool     `json:"sensitive,omitempty"`
	Refs      []string `json:"refs,omitempty"` // tasks it reads
	Range     Range    `json:"range"`
}

// TaskKind tells normal tasks from those of the end of a run.
type TaskKind string

// The kinds of task.
const (
	KindTask    TaskKind = "task"
	KindFinally TaskKind = "finally"
)

// BodyKind says what a task does when it runs.
type BodyKind string

// The kinds of body.
const (
	BodyTask        BodyKind = "task"         // an inline Nomad task
	BodyGroup       BodyKind = "group"        // a whole Nomad group
	BodyJob         BodyKind = "job"          // an existing job file
	BodyDispatch    BodyKind = "dispatch"     // an existing parameterized job
	BodyRunWorkflow BodyKind = "run_workflow" // a child run
	BodyApproval    BodyKind = "approval"     // somebody decides
	BodyWait        BodyKind = "wait"         // a timer
	BodyHTTP        BodyKind = "http"         // one call, made by the leader
	BodyJoin        BodyKind = "join"         // nothing: the task ends when its rule and `when` are met
)

// Cluster reports whether attempts of such a body run on workers, by way of an executor.
func (k BodyKind) Cluster() bool {
	switch k {
	case BodyTask, BodyGroup, BodyJob, BodyDispatch:
		return true
	}
	return false
}

// Engine reports whether such a body needs nobody but the engine itself: its attempts are never handed out.
func (k BodyKind) Engine() bool {
	return k == BodyApproval || k == BodyWait || k == BodyJoin
}

// Task is one node of a workflow.
type Task struct {
	Name  string   `json:"name"`
	Kind  TaskKind `json:"kind"`
	Range Range    `json:"range"`

	DependsOn   []string    `json:"depends_on,omitempty"` // explicit edges, as written
	Refs        []string    `json:"refs,omitempty"`       // data edges: tasks its expressions read, through locals too
	TriggerRule TriggerRule `json:"trigger_rule"`
	Recovers    bool        `json:"recovers,omitempty"`
	When        *Expr       `json:"when,omitempty"`
	WhenFalse   WhenFalse   `json:"when_false"`

	// At most one of ForEach and Count is set. Key belongs to a ForEach over a list.
	ForEach *Expr `json:"for_each,omitempty"`
	Key     *Expr `json:"key,omitempty"`
	Count   *Expr `json:"count,omitempty"`
	// ExpandRefs are those of Refs that ForEach, Key or Count read: a retry evaluates them anew only if one of these was reset.
	ExpandRefs []string `json:"expand_refs,omitempty"`

	Policy Policy `json:"policy"`
	// Dynamic are policy attributes that are not constant; they overlay Policy when they are evaluated.
	Dynamic []PolicyExpr `json:"dynamic,omitempty"`

	Outputs []Output `json:"outputs,omitempty"`

	BodyKind BodyKind `json:"body_kind"`
	// Body gives what the task does, nil for a join: the canonical JSON of a Nomad job, or of the body type of its kind
	// (body.go).
	Body *Expr `json:"body,omitempty"`
}

// Shape is how expressions read the task.
func (t *Task) Shape() Shape {
	switch {
	case t.ForEach != nil:
		return ShapeMap
	case t.Count != nil:
		return ShapeList
	}
	return ShapePlain
}

// OutputFrom says where an output is read from.
type OutputFrom string

// The sources of an output.
const (
	FromFile   OutputFrom = "file"   // the file $CAIRN_OUTPUT
	FromStdout OutputFrom = "stdout" // the last line, or Pattern
	FromBody   OutputFrom = "body"   // what the body itself gives: a child run, an approval, a call
)

// Output is a declared output of a task.
type Output struct {
	Name      string     `json:"name"`
	Type      Expr       `json:"type"` // ExprConvert; "string" when none was written
	Default   *Value     `json:"default,omitempty"`
	Sensitive bool       `json:"sensitive,omitempty"`
	From      OutputFrom `json:"from"`
	Pattern   string     `json:"pattern,omitempty"` // regular expression, FromStdout only
	Range     Range      `json:"range"`
}

// Policy is how a task's attempts are bounded and repeated.
type Policy struct {
	Timeout      time.Duration `json:"timeout,omitempty"`       // one attempt, from running; 0 = none
	StartTimeout time.Duration `json:"start_timeout,omitempty"` // from submit to running; 0 = the rule of semantics
	Deadline     time.Duration `json:"deadline,omitempty"`      // all attempts of an instance; 0 = none
	AllowFailure bool          `json:"allow_failure,omitempty"`
	MaxParallel  int           `json:"max_parallel,omitempty"` // instances in flight; 0 = no limit
	MinSuccess   MinSuccess    `json:"min_success"`
	Retry        Retry         `json:"retry"`
	OnWorkerLoss OnWorkerLoss  `json:"on_worker_loss"`
}

// MinSuccess is how many instances must succeed: a number, or a percentage (rounded up). The zero value means all.
type MinSuccess struct {
	Number  int     `json:"number,omitempty"`
	Percent float64 `json:"percent,omitempty"`
}

// Retry is a task's retry policy.
type Retry struct {
	MaxAttempts int           `json:"max_attempts"` // tries in all, 1-100
	Delay       time.Duration `json:"delay"`
	Backoff     Backoff       `json:"backoff"`
	MaxDelay    time.Duration `json:"max_delay"`
	Jitter      float64       `json:"jitter"` // 0-1, added after the cap
	OnExitCodes []int         `json:"on_exit_codes,omitempty"`
	When        *Expr         `json:"when,omitempty"`
	AvoidNodes  bool          `json:"avoid_nodes,omitempty"`
	MaxLost     int           `json:"max_lost"` // losses of the worker, counted apart
}

// OnWorkerLoss is what to do when the worker of an attempt is lost.
type OnWorkerLoss struct {
	Mode      WorkerLossMode `json:"mode"`
	StopAfter time.Duration  `json:"stop_after"`
}

// DefaultPolicy is the policy of a task that writes none (language reference, "task").
func DefaultPolicy() Policy {
	return Policy{
		Retry: Retry{
			MaxAttempts: 1,
			Delay:       10 * time.Second,
			Backoff:     BackoffExponential,
			MaxDelay:    5 * time.Minute,
			Jitter:      0.1,
			MaxLost:     3,
		},
		OnWorkerLoss: OnWorkerLoss{Mode: WaitForStop, StopAfter: 5 * time.Minute},
	}
}

// FinallyTimeout bounds an attempt of a finally task that writes no timeout.
const FinallyTimeout = time.Hour

// PolicyExpr is a policy attribute whose value is known only at run time. Attr is the path as written in the task:
// "timeout", "start_timeout", "deadline", "allow_failure", "max_parallel", "min_success", "retry.max_attempts",
// "retry.delay", "retry.backoff", "retry.max_delay", "retry.jitter", "retry.on_exit_codes", "retry.avoid_nodes",
// "retry.max_lost", "on_worker_loss.mode", "on_worker_loss.stop_after".
type PolicyExpr struct {
	Attr string `json:"attr"`
	Expr Expr   `json:"expr"`
	// PerTask marks max_parallel and min_success, which are evaluated once per task, at its expansion; the others are
	// evaluated when an attempt is admitted.
	PerTask bool `json:"per_task,omitempty"`
}
