// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/workflow"
)

// handedJob is the part of a job, as Nomad gets it, that is looked at here.
type handedJob struct {
	Namespace, Region string
	TaskGroups        []struct {
		Name             string
		RestartPolicy    *struct{ Attempts int }
		ReschedulePolicy *struct{ Attempts int }
		Disconnect       *struct{ Replace *bool }
		Tasks            []struct {
			Name      string
			Env       map[string]string
			Lifecycle *struct{ Hook string }
		}
	}
}

// handed tells about the job that Nomad gets for the first attempt of the first task.
func handed(p play, look func(handedJob) string) func() string {
	return func() string {
		def, _, _, problem := p.compile()
		if problem != "" {
			return problem
		}
		p.see = def.Tasks[0].Name + ".body"
		out, err := nomad.Render(nomad.Rendering{Definition: def, Run: workflow.NewRunID(start, [6]byte{}), Body: []byte(p.outcome())})
		if err != nil {
			return "broken: " + err.Error()
		}
		var read struct{ Job handedJob }
		if err := json.Unmarshal(out, &read); err != nil {
			return "broken: " + err.Error()
		}
		return look(read.Job)
	}
}

// loaded tells which files a folder's workflow is made of, those that are only named in parentheses, or why it is refused.
func loaded(files ...string) func() string {
	return func() string {
		dir := written(files)
		defer remove(dir)
		found, diags := hcl.Load(filepath.Join(dir, "w.hcl"))
		if diags.HasErrors() {
			return said(diags)
		}
		var names []string
		for _, f := range found {
			if f.Named {
				f.Path = "(" + f.Path + ")"
			}
			names = append(names, f.Path)
		}
		return strings.Join(names, " ")
	}
}

// warningsAt tells the warnings about a play's workflow.
func warningsAt(p play) func() string {
	return func() string {
		_, diags := hcl.Compile(p.sources(), "w")
		var found []string
		for _, d := range diags {
			found = append(found, fmt.Sprintf("%d: %s: %s", d.Range.Line, d.Summary, d.Detail))
		}
		return strings.Join(found, "\n")
	}
}

// member is a task of a group.
func member(name, more string) string {
	return fmt.Sprintf("task %q {\n driver = \"raw_exec\"\n config {\n command = \"x\"\n }\n%s\n}\n", name, more)
}

const helper = "lifecycle {\n hook = \"prestart\"\n}"

func groupOf(members string) string { return "group {\n" + members + "}" }

var groupTable = map[string][]check{
	"group: main tasks": {
		{play: play{flow: bare("a", groupOf(member("m", helper)+member("n", helper)), ""), see: "a"}, but: []string{"task \"n\" {", "task \"o\" {\n driver = \"raw_exec\"\n config {\n command = \"x\"\n }\n}\ntask \"n\" {"},
			want: "invalid: No main task: Every task of this group has a lifecycle block, so none does the work that the group is for. " +
				"The group's verdict is that of its main tasks: give it at least one task without lifecycle."},
		{play: play{flow: bare("a", groupOf(""), ""), see: "a"}, but: []string{"group {", "group {\n" + member("m", "")},
			want: "invalid: Empty group: The group of task a has no task. Write at least one task \"name\" { … } in it, as in a job file."},
	},
	// Which exit status a group ends with is decided from the tasks' own, in the order that Nomad gets them in.
	"group: exit status": {
		{with: handed(play{flow: bare("a", groupOf(member("z", "")+member("h", helper)+member("b", "")), "")}, inOrder),
			without: handed(play{flow: bare("a", groupOf(member("b", "")+member("h", helper)+member("z", "")), "")}, inOrder), want: "z h:prestart b"},
		{play: play{flow: bare("a", groupBody, ""), script: "a: exit 3", see: "a a.tries a.reason"}, want: "failed failed exit code 3", but: []string{"exit 3", "exit 0"}},
	},
	"group: output file": {
		{with: handed(play{flow: bare("a", groupOf(member("m", "")+member("n", "")), "output \"x\" {}")}, outputFiles),
			without: handed(play{flow: bare("a", groupOf(member("m", "")), "output \"x\" {}")}, outputFiles), want: "m=n one file for all"},
		{play: play{flow: bare("a", groupBody, "output \"x\" {\n type = number\n}"), script: "a: exit 0 x=5", see: "a.out.x"}, want: "5", but: []string{"x=5", "x=6"}},
		{play: play{flow: bare("a", groupBody, "output \"x\" {\n from = \"stdout\"\n}"), see: "a"}, but: []string{"stdout", "file"},
			want: "invalid: Whose output?: A group has several tasks, so standard output is not one text. Let a task of it write output x to the file $CAIRN_OUTPUT, which they share."},
	},
}

func inOrder(j handedJob) string {
	var names []string
	for _, t := range j.TaskGroups[0].Tasks {
		name := t.Name
		if t.Lifecycle != nil {
			name += ":" + t.Lifecycle.Hook
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func outputFiles(j handedJob) string {
	files, names := map[string]bool{}, []string{}
	for _, t := range j.TaskGroups[0].Tasks {
		files[t.Env["CAIRN_OUTPUT"]] = true
		names = append(names, t.Name)
	}
	if len(files) != 1 || files[""] {
		return fmt.Sprint(files)
	}
	return strings.Join(names, "=") + " one file for all"
}

// jobWith is a job file with more before the job, in it and in its group, whose task is called with args.
func jobWith(before, inJob, inGroup, args string) string {
	return fmt.Sprintf("j.nomad.hcl\n%s\njob \"j\" {\n%s\ngroup \"g\" {\n%s\ntask \"t\" {\n driver = \"raw_exec\"\n config {\n command = \"x\"\n args = [%s]\n }\n }\n }\n}\n",
		before, inJob, inGroup, args)
}

// jobbed is a task a with the body of a job file, and what stands in the job block beside its source.
func jobbed(file, inBlock, more string) play {
	return play{flow: bare("a", "job {\n source = \"j.nomad.hcl\"\n"+inBlock+"\n}", more), files: []string{file}, see: "a a.args"}
}

const (
	batch     = "type = \"batch\""
	variableV = "variable \"v\" {\n type = number\n}"
	twoJobs   = "type = \"batch\"\ngroup \"h\" {\ntask \"u\" {\n driver = \"raw_exec\"\n config {\n command = \"x\"\n }\n }\n}"
)

// sourced is a task a whose job file is source, as it is written.
func sourced(source string) play {
	return play{flow: "param \"p\" {\n default = \"j\"\n}\n" + bare("a", "job {\n"+source+"\n}", ""), files: []string{jobFile}, see: "a"}
}

var jobTable = map[string][]check{
	"job: `source`": {
		{play: jobbed(jobWith("", batch, "", "\"one\""), "", ""), want: "succeeded one", but: []string{"\"one\"", "\"two\""}},
		{play: sourced("# source"), but: []string{"# source", "source = \"j.nomad.hcl\""},
			want: "invalid: Missing argument: The job block of task a needs source, the path of a job file, such as source = \"etl.nomad.hcl\"."},
		{play: sourced("source = \"${param.p}.nomad.hcl\""), but: []string{"${param.p}", "j"},
			want: "invalid: Not a path: `job.source` of task a names a file: it is read when the workflow is submitted, once, so its path cannot depend on param.p. Write the path as text."},
		{play: sourced("source = \"../j.nomad.hcl\""), but: []string{"../", ""},
			want: "invalid: Not a path: `job.source` of task a names a file: the path leads out of the workflow's folder. Files are read below it only: put the file there."},
		{with: loaded("w.hcl\nworkflow \"w\" {\n"+bare("a", "job {\n source = \"jobs/j.nomad.hcl\"\n}", "")+"}\n", "jobs/"+jobWith("", batch, "", "file(\"n.txt\")"), "jobs/n.txt\nnote"),
			without: loaded("w.hcl\nworkflow \"w\" {\n"+bare("a", "job {\n source = \"jobs/j.nomad.hcl\"\n}", "")+"}\n", "jobs/"+jobWith("", batch, "", "\"n.txt\""), "jobs/n.txt\nnote"),
			want:    "w.hcl (jobs/j.nomad.hcl) (jobs/n.txt)"},
	},
	"job: `vars`": {
		{play: play{flow: "param \"p\" {}\n" + writes("o", "") + bare("a", "job {\n source = \"j.nomad.hcl\"\n vars = {\n v = \"${each.key} ${attempt.number} ${param.p} ${task.o.output.x} ${node.unique.name}\"\n }\n}", "for_each = toset([\"k\"])"),
			files: []string{jobWith("variable \"v\" {}", batch, "", "var.v")}, params: []string{"p=hi"}, script: "o: exit 0 x=out", see: "a[0].args"},
			want: "k 1 hi out ${node.unique.name}", but: []string{"x=out", "x=in"}},
		{play: jobbed(jobWith(variableV, batch, "", "var.v"), "vars = [1]", ""), but: []string{"[1]", "{ v = 1 }"},
			want: "invalid: Wrong value: `job.vars` of task a must be variables by name, such as { day = param.day }, not a list."},
	},
	"job: type": {
		{play: jobbed(jobWith("", "type = \"service\"", "", ""), "", ""), but: []string{"service", "batch"},
			want: "invalid: Not for a workflow's task: A service never ends by itself, and a task of a workflow has to end. Run it with nomad job run, or write type = \"batch\" if its tasks end."},
		{play: jobbed(jobWith("", batch+"\nperiodic {\n cron = \"@daily\"\n}", "", ""), "", ""), but: []string{"periodic {\n cron = \"@daily\"\n}", ""},
			want: "invalid: Not for a workflow's task: A periodic job is started by Nomad's clock and not by a workflow. Take the block out of the file, or register a parameterized job with Nomad and write a dispatch block in the task."},
		{play: jobbed(jobWith("", batch+"\nparameterized {}", "", ""), "", ""), but: []string{"parameterized {}", ""},
			want: "invalid: Not for a workflow's task: A parameterized job does nothing until it is dispatched. Register it with Nomad, and write a dispatch block in the task instead of job."},
	},
	"job: unchanged": {
		{with: handed(jobbed(jobWith("", batch, "restart {\n attempts = 4\n}\nreschedule {\n attempts = 5\n}\ndisconnect {\n replace = true\n}", ""), "", ""), ownRules),
			without: handed(jobbed(jobWith("", batch, "", ""), "", ""), ownRules), want: "restart 4, reschedule 5, disconnect true"},
	},
	"job: placement": {
		{with: handed(jobbed(jobWith("", batch, "", ""), "", "namespace = \"n\"\nregion = \"r\""), placedIn), without: handed(jobbed(jobWith("", batch, "", ""), "", ""), placedIn), want: "n r"},
		{with: handed(play{flow: "namespace = \"n\"\nregion = \"r\"\n" + bare("a", jobBody, ""), files: []string{jobFile}}, placedIn),
			without: handed(play{flow: bare("a", jobBody, ""), files: []string{jobFile}}, placedIn), want: "n r"},
		{with: handed(jobbed(jobWith("", batch+"\nnamespace = \"own\"\nregion = \"mine\"", "", ""), "", "namespace = \"n\"\nregion = \"r\""), placedIn),
			without: handed(jobbed(jobWith("", batch, "", ""), "", "namespace = \"n\"\nregion = \"r\""), placedIn), want: "own mine"},
	},
	// One attempt has all groups of the job, and one verdict.
	"job: verdict": {
		{with: handed(jobbed(jobWith("", twoJobs, "", ""), "", ""), groups), without: handed(jobbed(jobWith("", batch, "", ""), "", ""), groups), want: "h g"},
		{play: play{flow: bare("a", jobBody, ""), files: []string{jobFile}, script: "a: exit 1", see: "starts a.tries a"}, want: "1 failed failed", but: []string{"exit 1", "exit 0"}},
	},
	"job: variables": {
		{play: jobbed(jobWith(variableV, batch, "", "var.v"), "vars = { v = 1, w = 2 }", ""), but: []string{", w = 2", ""},
			want: "invalid: Unknown variable: The job file j.nomad.hcl declares no variable w. There is only v."},
		{play: jobbed(jobWith(variableV, batch, "", "var.v"), "# vars = { v = 1 }", ""), but: []string{"# vars", "vars"},
			want: "invalid: Missing variable: The job file j.nomad.hcl needs a value for its variable v: write vars = { v = … } in job of task a."},
		{play: jobbed(jobWith(variableV, batch, "", "var.v"), "vars = { v = \"many\" }", ""), but: []string{"\"many\"", "1"},
			want: "invalid: Wrong variable: The variable v of the job file must be a number: a number is required."},
	},
	"job: data in variables": {
		{play: play{flow: "param \"p\" {\n type = string\n}\n" + bare("a", "job {\n source = \"j.nomad.hcl\"\n vars = {\n v = param.p\n }\n}", ""),
			files: []string{jobWith("variable \"v\" {}", batch, "", "var.v")}, params: []string{"p=${env.HOME}"}, see: "a starts a.reason"}, but: []string{"${env", "{env"},
			want: "invalid: Value that Nomad would evaluate: The value given for v contains ${, %{ or {{ that comes from data. A job file is taken as it is, so Nomad would evaluate it. " +
				"Write the job's task inline, where it is escaped, or let the task fetch the value."},
	},
	"job: no promise": {
		{with: warningsAt(embodied(bare("a", jobBody, "") + bare("b", dispatchBody, "") + bare("c", inlineBody, ""))), without: warningsAt(embodied(bare("b", dispatchBody, ""))),
			want: "3: A job that is not Cairn's: The jobs of these tasks run unchanged: a, b. Each keeps its own restart, reschedule and disconnect, has no outputs, and nothing keeps an attempt from overlapping one whose worker was lost."},
	},
}

func ownRules(j handedJob) string {
	g := j.TaskGroups[0]
	if g.RestartPolicy == nil || g.ReschedulePolicy == nil || g.Disconnect == nil || g.Disconnect.Replace == nil {
		return "none of its own"
	}
	return fmt.Sprintf("restart %d, reschedule %d, disconnect %t", g.RestartPolicy.Attempts, g.ReschedulePolicy.Attempts, *g.Disconnect.Replace)
}

func placedIn(j handedJob) string { return j.Namespace + " " + j.Region }

func groups(j handedJob) string {
	var names []string
	for _, g := range j.TaskGroups {
		names = append(names, g.Name)
	}
	return strings.Join(names, " ")
}

// dispatched is a task that dispatches, with what stands before it in the workflow.
func dispatched(before, inBlock string) play {
	return play{flow: before + bare("a", "dispatch {\n"+inBlock+"\n}", ""), see: "a.body"}
}

var dispatchTable = map[string][]check{
	"dispatch: `job`": {
		{play: dispatched("namespace = \"n\"\nregion = \"r\"\npriority = 70\n", "job = \"etl\""), but: []string{"etl", "load"},
			want: `{"job":"etl","namespace":"n","priority":70,"region":"r"}`},
		{play: dispatched("", "# job"), but: []string{"# job", "job = \"etl\""},
			want: "invalid: Missing argument: The dispatch block of task a needs job, such as job = \"etl\"."},
	},
	"dispatch: `meta`": {
		{play: dispatched("", "job = \"etl\"\nmeta = { day = \"today\", n = 5 }"), but: []string{"today", "tomorrow"},
			want: `{"job":"etl","meta":{"day":"today","n":"5"},"namespace":"default"}`},
		{play: dispatched("", "job = \"etl\"\nmeta = { day = [1] }"), but: []string{"[1]", "1"},
			want: "invalid: Wrong value: `dispatch.meta` of task a must hold text, and \"day\" is a list. Write jsonencode(…) around it."},
	},
	"dispatch: `payload`": {
		{play: dispatched("", "job = \"etl\"\npayload = \"hello\""), want: `{"job":"etl","namespace":"default","payload":"aGVsbG8="}`, but: []string{"hello", "hallo"}},
		{play: dispatched("", "job = \"etl\"\npayload = format(\"%08193d%08192d\", 1, 1)"), but: []string{"8193", "8192"},
			want: "invalid: Wrong value: `dispatch.payload` of task a has 16385 bytes, at most 16384 are allowed. Put large data where it can be read, and pass its name."},
	},
}
