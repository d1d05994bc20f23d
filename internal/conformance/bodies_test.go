// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// partsOfBodies are the checks of the bodies of tasks.
var partsOfBodies = []map[string][]check{bodyTable, besideTable, ownedFields, groupTable, jobTable, dispatchTable, childTable, approvalTable, inputTable, waitTable, httpTable}

// The least of every body.
const (
	inlineBody   = "driver = \"raw_exec\"\nconfig {\n command = \"x\"\n}"
	groupBody    = "group {\n task \"m\" {\n driver = \"raw_exec\"\n config {\n command = \"x\"\n }\n }\n}"
	jobBody      = "job {\n source = \"j.nomad.hcl\"\n}"
	dispatchBody = "dispatch {\n job = \"x\"\n}"
	childBody    = "run_workflow {\n name = \"k\"\n}"
	approvalBody = "approval {}"
	waitBody     = "wait {\n duration = \"1h\"\n}"
	httpBody     = "http {\n url = \"https://h\"\n}"
	joinBody     = "# no body"
)

// kid is a workflow to run, and jobFile a job file to name.
const (
	kid     = "workflow \"k\" {\n task \"x\" {}\n output \"n\" {\n value = 1\n }\n}\n"
	jobFile = "j.nomad.hcl\njob \"j\" {\n type = \"batch\"\n group \"g\" {\n task \"t\" {\n driver = \"raw_exec\"\n config {\n command = \"x\"\n }\n }\n }\n}\n"
)

// bare is a task of a body, with more in it.
func bare(name, body, more string) string {
	return fmt.Sprintf("task %q {\n%s\n%s\n}\n", name, body, more)
}

// embodied is a play beside whose workflow stands what bodies name.
func embodied(flow string) play {
	return play{flow: flow, also: kid, files: []string{jobFile}}
}

// refusal is why a workflow is refused.
func refusal(flow string) func() string {
	return func() string {
		p := embodied(flow)
		if _, _, _, problem := p.compile(); problem != "" {
			return problem
		}
		return "valid"
	}
}

// kindOf tells what the body of the first task is and who runs it, and outputsOf the names of its outputs.
func kindOf(p play) string {
	def, _, _, problem := p.compile()
	if problem != "" {
		return problem
	}
	kind, where := def.Tasks[0].BodyKind, "by the server"
	switch {
	case kind.Cluster():
		where = "on workers"
	case kind.Engine():
		where = "nowhere"
	}
	return string(kind) + " " + where
}

func outputsOf(p play) string {
	def, _, _, problem := p.compile()
	if problem != "" {
		return problem
	}
	var names []string
	for _, o := range def.Tasks[0].Outputs {
		names = append(names, o.Name)
	}
	return strings.Join(names, " ")
}

// bodyRow checks a row of the table of bodies: what the body is, which outputs its task has, and how two tasks of it end in a
// run that has room for one.
func bodyRow(body, kind, outputs, pair string) []check {
	other, without, more := dispatchBody, httpBody, ""
	if strings.HasPrefix(pair, "running queued") {
		other = httpBody
	}
	if body == httpBody {
		without = dispatchBody
	}
	if outputs == "declared" {
		more = "output \"declared\" {}"
	}
	of := func(body, more string, look func(play) string) func() string {
		return func() string { return look(embodied(bare("a", body, more))) }
	}
	two := embodied("max_parallel = 1\n" + bare("a", body, "") + bare("b", body, ""))
	two.script, two.see = "a: hang; b: hang", "a b starts took"
	return []check{
		{with: of(body, "", kindOf), without: of(other, "", kindOf), want: kind},
		{with: of(body, more, outputsOf), without: of(without, "", outputsOf), want: outputs},
		{play: two, want: pair, but: []string{body, other}},
	}
}

// fannedRow checks that a body may be fanned out.
func fannedRow(body, script, want string) check {
	p := embodied(bare("a", body, "for_each = toset([\"x\", \"y\"])"))
	p.script, p.see = script, "a.size a[0] a[1]"
	return check{play: p, want: want, but: []string{"\"x\", \"y\"", "\"x\""}}
}

var bodyTable = map[string][]check{
	"bodies: inline task": append(bodyRow(inlineBody, "task on workers", "declared", "running queued 1 never"),
		fannedRow(inlineBody, "", "2 succeeded succeeded")),
	"bodies: `group`": append(bodyRow(groupBody, "group on workers", "declared", "running queued 1 never"),
		fannedRow(groupBody, "", "2 succeeded succeeded"),
		check{play: play{flow: bare("a", groupBody, "output \"n\" {}"), script: "a: exit 0 n=1", see: "a.out.n"}, want: `"1"`, but: []string{"n=1", "n=2"}}),
	"bodies: `job`": append(bodyRow(jobBody, "job on workers", "", "running queued 1 never"),
		fannedRow(jobBody, "", "2 succeeded succeeded")),
	"bodies: `dispatch`": append(bodyRow(dispatchBody, "dispatch on workers", "", "running queued 1 never"),
		fannedRow(dispatchBody, "", "2 succeeded succeeded")),
	"bodies: `run_workflow`": append(bodyRow(childBody, "run_workflow by the server", "n", "running queued 1 never"),
		fannedRow(childBody, "a: exit 0 n=1", "2 succeeded succeeded")),
	"bodies: `approval`": append(bodyRow(approvalBody, "approval nowhere", "by comment", "waiting waiting 0 never"),
		fannedRow(approvalBody, "", "2 waiting waiting")),
	"bodies: `wait`": append(bodyRow(waitBody, "wait nowhere", "", "succeeded succeeded 0 1h0m0s"),
		fannedRow(waitBody, "", "2 succeeded succeeded")),
	"bodies: `http`": append(bodyRow(httpBody, "http by the server", "status body json", "running running 2 never"),
		fannedRow(httpBody, "a: exit 0 status=200 body=\"x\" json=null", "2 succeeded succeeded"),
		check{with: heardLocally("http {\n url = \"URL\"\n}"), without: heardLocally("approval {}"), want: "heard by this process: succeeded"}),
	"bodies: join": append(bodyRow(joinBody, "join nowhere", "", "succeeded succeeded 0 0s"),
		check{with: refusal(bare("a", joinBody, "count = 2")), without: refusal(bare("a", waitBody, "count = 2")),
			want: "invalid: Nothing to fan out: task a has no body, so it only joins others and has no instances. Leave for_each and count out, or give it a driver."}),
}

// allBodies are the bodies by their words.
var allBodies = []struct{ word, body string }{
	{"inline", inlineBody}, {"group", groupBody}, {"job", jobBody}, {"dispatch", dispatchBody}, {"run_workflow", childBody},
	{"approval", approvalBody}, {"wait", waitBody}, {"http", httpBody}, {"join", joinBody},
}

// refusers are the bodies beside which text cannot stand, as a finding about word says. Those in skip are not tried.
func refusers(word, text string, skip ...string) func() string {
	return func() string {
		var names []string
		for _, b := range allBodies {
			if !slices.Contains(skip, b.word) && strings.Contains(refusal(bare("a", b.body, text))(), word) {
				names = append(names, b.word)
			}
		}
		return strings.Join(names, " ")
	}
}

// beside checks which bodies a word cannot stand beside.
func beside(word, text, want string, skip ...string) check {
	return check{with: refusers(word, text, skip...), without: refusers(word, "allow_failure = true", skip...), want: want}
}

const (
	withoutAttempts = "approval wait join"
	withoutWorker   = "run_workflow approval wait http"
	blocks          = "group job dispatch run_workflow approval wait http"
)

var besideTable = map[string][]check{
	"bodies: `output`": {
		beside("output", "output \"n\" {}", "job dispatch run_workflow approval wait http join"),
		{with: refusal(bare("a", approvalBody, "output \"n\" {}")), without: refusal(bare("a", inlineBody, "output \"n\" {}")),
			want: "invalid: No output block here: task a cannot declare outputs: leave the block out. The outputs of an approval are its inputs, and by and comment. Write input \"name\" { … } in the approval."},
	},
	"bodies: `timeout`, `deadline`": {
		beside("timeout", "timeout = \"1m\"", withoutAttempts), beside("deadline", "deadline = \"1m\"", withoutAttempts),
		{with: refusal(bare("a", approvalBody, "timeout = \"1m\"")), without: refusal(bare("a", "approval {\n timeout = \"1m\"\n}", "")),
			want: "invalid: Not with this body: The body of task a is approval, so timeout cannot stand beside it. Write timeout in the approval block."},
	},
	"bodies: `start_timeout`": {beside("start_timeout", "start_timeout = \"1m\"", withoutWorker+" join")},
	"bodies: `retry`":         {beside("retry", "retry {\n max_attempts = 2\n}", withoutAttempts)},
	"bodies: `on_exit_codes`, `avoid_nodes` and `max_lost` of a retry": {
		beside("on_exit_codes", "retry {\n on_exit_codes = [1]\n}", "run_workflow http"),
		beside("avoid_nodes", "retry {\n avoid_nodes = true\n}", "run_workflow http"),
		beside("max_lost", "retry {\n max_lost = 1\n}", "run_workflow http"),
	},
	"bodies: `on_worker_loss`": {beside("on_worker_loss", "on_worker_loss {\n mode = \"immediate\"\n}", withoutWorker+" join")},
	"bodies: `for_each`, `count`": {
		beside("for_each", "for_each = toset([\"x\"])", "join"), beside("count", "count = 2", "join"),
	},
	"bodies: `driver` and other fields of a Nomad task": {
		beside("driver", "driver = \"raw_exec\"", blocks, "inline"),
		beside("env", "env = {\n A = \"b\"\n}", blocks), beside("resources", "resources {\n cpu = 100\n}", blocks),
		beside("kill_timeout", "kill_timeout = \"5s\"", blocks),
		{with: refusal(bare("a", "driver = \"raw_exec\"\n"+waitBody, "")), without: refusal(bare("a", waitBody, "")),
			want: "invalid: Two bodies: task a has both a driver, whose body is a Nomad task, and wait. A task has one body: make one of them a task of its own."},
		{with: refusal(bare("a", waitBody, approvalBody)), without: refusal(bare("a", waitBody, "")),
			want: "invalid: Two bodies: task a has both wait and approval. A task has one body: make the second a task of its own."},
	},
	"bodies: `namespace`, `region`": {
		beside("namespace", "namespace = \"n\"", withoutWorker), beside("region", "region = \"r\"", withoutWorker),
	},
	"bodies: `datacenters`, `node_pool`": {
		beside("datacenters", "datacenters = [\"d\"]", "job dispatch "+withoutWorker), beside("node_pool", "node_pool = \"p\"", "job dispatch "+withoutWorker),
	},
	"bodies: `constraint`, `affinity`, `spread`": {
		beside("constraint", "constraint {\n attribute = \"a\"\n value = \"b\"\n}", "job dispatch "+withoutWorker),
		beside("affinity", "affinity {\n attribute = \"a\"\n value = \"b\"\n}", "job dispatch "+withoutWorker),
		beside("spread", "spread {\n attribute = \"a\"\n}", "job dispatch "+withoutWorker),
		{with: refusal(bare("a", joinBody, "spread {\n attribute = \"a\"\n}")), without: refusal(bare("a", joinBody, "")),
			want: "invalid: Missing driver: task a has a body but no driver. Write driver = \"docker\" (or exec, raw_exec, java, …), in the task or in defaults."},
	},
}

// owned checks that a field of Nomad's is refused in an inline task, and in a group or a task of one.
func owned(field, text, advice string, places ...string) []check {
	var list []check
	for _, place := range places {
		flow := map[string]string{
			"inline":        bare("a", inlineBody, text),
			"group":         bare("a", strings.Replace(groupBody, "group {", "group {\n"+text, 1), ""),
			"task of group": bare("a", strings.Replace(groupBody, "config {", text+"\nconfig {", 1), ""),
		}[place]
		list = append(list, check{play: play{flow: flow, see: "a"}, but: []string{text, ""},
			want: "invalid: Not for a workflow's task: " + field + " cannot be written here. " + advice})
	}
	return list
}

var ownedFields = map[string][]check{
	"inline task: `restart`, `reschedule`": append(
		owned("restart", "restart {\n attempts = 1\n}", "Cairn repeats attempts itself; write a retry block in the task.", "inline", "group", "task of group"),
		owned("reschedule", "reschedule {\n attempts = 1\n}", "Cairn repeats attempts itself; write a retry block in the task.", "inline", "group")...),
	"inline task: `disconnect`": owned("disconnect", "disconnect {\n lost_after = \"1m\"\n}",
		"Cairn decides what happens when a worker is lost; write an on_worker_loss block in the task.", "inline", "group"),
	"inline task: `scaling`, `count` in a group": append(
		owned("scaling", "scaling {\n max = 3\n}", "Cairn runs the instances of a task itself; write count in the task.", "inline", "group"),
		owned("count", "count = 3", "Cairn runs the instances of a task itself; write count in the task.", "group")...),
	"inline task: `update`, `migrate`": append(
		owned("update", "update {\n max_parallel = 1\n}", "Batch work needs no update strategy; leave it out.", "inline", "group"),
		owned("migrate", "migrate {\n max_parallel = 1\n}", "Batch work needs no migrate strategy; leave it out.", "inline", "group")...),
	"inline task: `periodic`": owned("periodic", "periodic {\n cron = \"@daily\"\n}",
		"A workflow is started by its schedule, which is not supported yet: leave it out, and start the workflow from cron.", "inline", "group"),
	"inline task: `parameterized`": owned("parameterized", "parameterized {}", "A workflow takes its input from param blocks: leave it out, and write param in the workflow.", "inline", "group"),
}
