// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/cairnflow/cairn/internal/jobspec"
)

// planned are the words of the language that are reserved for what it will have, and what to do until then.
var planned = map[string]string{
	"schedule":  "Start the workflow from cron in the meantime.",
	"trigger":   "Start the workflow with cairn run in the meantime.",
	"notify":    "Use a finally task in the meantime.",
	"notifier":  "Use a finally task in the meantime.",
	"pool":      "Use max_parallel in the meantime.",
	"task_type": "Use defaults in the meantime.",
	"uses":      "Write the tasks out in the meantime.",
}

// words are what a kind of block may hold. The text of a refused word completes "x cannot be written here. …".
type words struct {
	where   string
	attrs   []string
	blocks  []string // each with its label: `param "name"` for messages
	refused map[string]string
	// reserved says that the words of planned are reserved in it.
	reserved bool
}

var fileWords = &words{
	where:  "at the top of a file",
	blocks: []string{"workflow", "locals"},
	refused: map[string]string{
		"job":      "A Nomad job file is no workflow: write its tasks as task blocks of a workflow.",
		"task":     "A task belongs into a workflow block.",
		"param":    "A param belongs into a workflow block.",
		"variable": "What a job file calls a variable is a param of the workflow.",
	},
	reserved: true,
}

var workflowWords = &words{
	where: "in a workflow",
	attrs: []string{"description", "labels", "owner", "namespace", "region", "datacenters", "node_pool", "priority", "timeout", "on_failure",
		"max_parallel"},
	blocks: []string{"param", "locals", "concurrency", "defaults", "task", "finally", "output"},
	refused: map[string]string{
		"retry":      "Write retry in a task, or in defaults for all of them.",
		"variable":   "What a job file calls a variable is a param here.",
		"group":      "The tasks of a workflow are task blocks.",
		"depends_on": "Tasks depend on each other; write depends_on in a task.",
	},
	reserved: true,
}

// taskWords are Cairn's own; the rest of a task is Nomad's and judged by jobspec.
var taskWords = &words{
	where: "in a task",
	attrs: []string{"depends_on", "trigger_rule", "recovers", "when", "when_false", "for_each", "key", "count", "max_parallel", "min_success",
		"timeout", "start_timeout", "deadline", "allow_failure"},
	blocks:   append([]string{"retry", "on_worker_loss", "output"}, bodyNames()...),
	reserved: true,
}

var defaultsWords = &words{
	where:  "in defaults",
	attrs:  []string{"timeout", "start_timeout", "deadline", "allow_failure"},
	blocks: []string{"retry", "on_worker_loss"},
	refused: map[string]string{
		"config":       "Each task writes its own config.",
		"output":       "Each task declares its own outputs.",
		"depends_on":   whyGraph,
		"trigger_rule": whyGraph,
		"recovers":     whyGraph,
		"when":         whyGraph,
		"when_false":   whyGraph,
		"for_each":     whyGraph,
		"key":          whyGraph,
		"count":        whyGraph,
		"max_parallel": whyGraph + " For the whole run there is max_parallel in the workflow.",
		"min_success":  whyGraph,
		"group":        whyBody, "job": whyBody, "dispatch": whyBody, "run_workflow": whyBody, "approval": whyBody, "wait": whyBody, "http": whyBody,
	},
	reserved: true,
}

const whyBody = "Each task writes its own body."

const whyGraph = "What shapes the graph stands in each task, never in defaults."

var retryWords = &words{
	where: "in retry",
	attrs: []string{"max_attempts", "delay", "backoff", "max_delay", "jitter", "on_exit_codes", "when", "avoid_nodes", "max_lost"},
	refused: map[string]string{
		"attempts": "Write max_attempts: all tries, the first one included.",
		"interval": "Write delay, the wait before the next try.",
		"mode":     "Write max_attempts; after the last one the task has failed.",
	},
}

var concurrencyWords = &words{where: "in concurrency", attrs: []string{"max_runs", "on_limit"}}

var jobWords = &words{where: "in job", attrs: []string{"source", "vars"},
	refused: map[string]string{
		"group": "A job names a job file: write source = \"path.nomad.hcl\". A group written out stands in the task itself.",
		"name":  "A job names a job file: write source = \"path.nomad.hcl\". To start a job that is registered, write dispatch.",
	}}

var dispatchWords = &words{where: "in dispatch", attrs: []string{"job", "meta", "payload"},
	refused: map[string]string{"id_prefix_template": whyOwnToken, "idempotency_token": whyOwnToken}}

const whyOwnToken = "Cairn derives it from the attempt."

var runWorkflowWords = &words{where: "in run_workflow", attrs: []string{"name", "source", "params", "version"}}

var approvalWords = &words{where: "in approval", attrs: []string{"approvers", "timeout", "on_timeout"}, blocks: []string{"input"},
	refused: map[string]string{"output": "What an approval gives are its inputs: write input \"name\" { … }."}}

var inputWords = &words{where: "in an input", attrs: []string{"type", "default", "sensitive", "description"}}

var waitWords = &words{where: "in wait", attrs: []string{"duration", "until"}}

var httpWords = &words{where: "in http", attrs: []string{"method", "url", "headers", "body", "expect_status", "timeout", "idempotent"},
	refused: map[string]string{"retry": "Write retry in the task, beside the http block."}}

var workerLossWords = &words{where: "in on_worker_loss", attrs: []string{"mode", "stop_after"}}

var paramWords = &words{
	where:  "in a param",
	attrs:  []string{"type", "default", "description", "sensitive", "nullable"},
	blocks: []string{"validation"},
}

var validationWords = &words{where: "in a validation", attrs: []string{"condition", "error_message"}}

var outputWords = &words{where: "in an output of a task", attrs: []string{"type", "default", "sensitive", "from", "pattern"},
	refused: map[string]string{"value": "A task's output comes from the program: it appends name=value to the file $CAIRN_OUTPUT."}}

var runOutputWords = &words{where: "in an output of the workflow", attrs: []string{"value", "sensitive", "description"}}

// ownTaskWords are the names in a task that jobspec leaves to this package.
var ownTaskWords = func() map[string]bool {
	own := map[string]bool{}
	for _, names := range [][]string{taskWords.attrs, taskWords.blocks, slices.Collect(maps.Keys(planned))} {
		for _, n := range names {
			own[n] = true
		}
	}
	return own
}()

// checkWords reports every name that does not belong into a block. foreign are names that somebody else judges.
func (f *findings) checkWords(b *hclsyntax.Body, w *words, foreign func(string) bool) {
	for _, name := range sortedAttrs(b) {
		at := b.Attributes[name].NameRange
		switch {
		case slices.Contains(w.attrs, name):
		case slices.Contains(w.blocks, name):
			f.errorf(at, "Not an argument", "%s is a block: write %s { … } without an equals sign.", name, name)
		default:
			f.word(name, at, w, foreign)
		}
	}
	for _, block := range b.Blocks {
		switch name := block.Type; {
		case slices.Contains(w.blocks, name):
		case slices.Contains(w.attrs, name):
			f.errorf(block.TypeRange, "Not a block", "%s is an argument: write %s = … instead of a block.", name, name)
		case name == "dynamic" && len(block.Labels) == 1 && foreign != nil && slices.Contains(w.blocks, block.Labels[0]):
			f.errorf(block.LabelRanges[0], "No dynamic block", "%s is Cairn's own and cannot be made by a dynamic block. Write it out.", block.Labels[0])
		default:
			f.word(name, block.TypeRange, w, foreign)
		}
	}
}

// word reports one name that is none of the block's own.
func (f *findings) word(name string, at hcl.Range, w *words, foreign func(string) bool) {
	switch {
	case w.refused[name] != "":
		f.errorf(at, "Not allowed here", "%s cannot be written %s. %s", name, w.where, w.refused[name])
	case w.reserved && planned[name] != "":
		f.errorf(at, "Not supported yet", "%s is part of the language but not supported yet. %s", name, planned[name])
	case foreign != nil && foreign(name):
	default:
		f.errorf(at, "Unknown name", "%s is nothing that can be written %s.%s", name, w.where, f.suggest(name, slices.Concat(w.attrs, w.blocks)))
	}
}

// nomadWord reports whether jobspec judges the name in a task.
func nomadWord(string) bool { return true }

// has reports whether the name was not refused in defaults.
func (w *words) has(name string) bool {
	own := slices.Contains(w.attrs, name) || slices.Contains(w.blocks, name)
	return own || w.refused[name] == "" && planned[name] == "" && nomadDefault(name)
}

// nomadDefault reports whether the name is one of Nomad's that defaults may hold.
func nomadDefault(name string) bool {
	_, refused := jobspec.Refused(name)
	return refused || jobspec.IsTaskField(name) || name == "dynamic"
}

func sortedAttrs(b *hclsyntax.Body) []string { return slices.Sorted(maps.Keys(b.Attributes)) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
