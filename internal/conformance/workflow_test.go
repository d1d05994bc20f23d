// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"strings"
)

// partsOfLanguage are the checks of what a workflow may hold, but for the bodies of its tasks.
var partsOfLanguage = []map[string][]check{workflowTable, taskTable, paramTable, retryTable, outputsTable, valuesTable}

// defined tells about the definition that a workflow compiles to: "description,owner,labels" and so on, or why it is refused.
func defined(flow string, what func(p play) string) func() string {
	return func() string { return what(play{flow: flow}) }
}

// definition tells a definition's own attributes.
func definition(p play) string {
	def, _, _, problem := p.compile()
	if problem != "" {
		return problem
	}
	return fmt.Sprintf("description=%s owner=%s labels=%v namespace=%s priority=%d timeout=%s on_failure=%s max_parallel=%d",
		def.Description, def.Owner, def.Labels, def.Namespace, def.Priority, def.Timeout, def.OnFailure, def.MaxParallel)
}

// placement is what a rendered job says of where it may run.
func placement(p play) string {
	p.see = "a.body"
	var found []string
	body := p.outcome()
	for _, field := range []string{"Region", "Datacenters", "NodePool", "Namespace", "Priority"} {
		if _, after, ok := strings.Cut(body, `"`+field+`":`); ok {
			end := strings.IndexAny(after, ",}")
			if after[:end] != "null" {
				found = append(found, field+"="+after[:end])
			}
		}
	}
	return strings.Join(found, " ")
}

var workflowTable = map[string][]check{
	"workflow: `description`, `owner`": {{
		with: defined(`description = "d"`+"\n"+`owner = "o"`+"\n"+task("a", ""), definition), without: defined(task("a", ""), definition),
		want: "description=d owner=o labels=map[] namespace=default priority=50 timeout=0s on_failure=continue max_parallel=0",
	}},
	"workflow: `labels`": {{
		with: defined(`labels = { team = "data" }`+"\n"+task("a", ""), definition), without: defined(task("a", ""), definition),
		want: "description= owner= labels=map[team:data] namespace=default priority=50 timeout=0s on_failure=continue max_parallel=0",
	}},
	"workflow: `namespace`": {{
		with: defined(`namespace = "prod"`+"\n"+task("a", ""), placement), without: defined(task("a", ""), placement), want: `Namespace="prod"`,
	}, {
		with: defined(`namespace = "prod"`+"\n"+task("a", `namespace = "own"`), placement), without: defined(`namespace = "prod"`+"\n"+task("a", ""), placement),
		want: `Namespace="own"`,
	}},
	"workflow: `region`, `datacenters`, `node_pool`": {{
		with: func() string {
			return placement(play{flow: "param \"r\" {\n type = string\n}\nregion = param.r\ndatacenters = [\"dc9\"]\nnode_pool = \"p\"\n" + task("a", ""), params: []string{"r=eu"}})
		},
		without: defined(task("a", ""), placement), want: `Region="eu" Datacenters=["dc9"] NodePool="p" Namespace="default"`,
	}, {
		with:    defined("node_pool = \"p\"\n"+task("a", "node_pool = \"q\""), placement),
		without: defined("node_pool = \"p\"\n"+task("a", ""), placement), want: `NodePool="q" Namespace="default"`,
	}},
	"workflow: `priority`": {{
		with: defined("priority = 70\n"+task("a", ""), placement), without: defined(task("a", ""), placement), want: `Namespace="default" Priority=70`,
	}, {
		with: defined("priority = 101\n"+task("a", ""), definition), without: defined("priority = 100\n"+task("a", ""), definition),
		want: "invalid: Wrong value: `priority` of the workflow must be a whole number from 1 to 100.",
	}},
	"workflow: `timeout`": {{
		play: play{flow: "timeout = \"5s\"\n" + task("a", "") + finally("f", ""), script: "a: hang", see: "run reason took a f"},
		want: "failed timeout 6s cancelled succeeded", but: []string{"5s", "50s"},
	}},
	"workflow: `on_failure`": {
		{play: play{flow: task("a", "") + task("b", "") + task("c", "depends_on = [task.b]"), script: "a: exit 1; b: exit 0 in 5s", see: "run b c"},
			want: "failed succeeded succeeded", but: []string{"task \"a\"", "on_failure = \"drain\"\ntask \"a\""}},
		{play: play{flow: "on_failure = \"drain\"\n" + task("a", "") + task("b", "") + task("c", "depends_on = [task.b]"), script: "a: exit 1; b: exit 0 in 5s", see: "b c took"},
			want: "succeeded omitted 5s", but: []string{"drain", "continue"}},
		{play: play{flow: "on_failure = \"fail_fast\"\n" + task("a", "") + task("b", "") + task("c", "depends_on = [task.b]"), script: "a: exit 1; b: exit 0 in 5s", see: "b c took"},
			want: "cancelled omitted 1s", but: []string{"fail_fast", "drain"}},
	},
	"workflow: `max_parallel`": {{
		play: play{flow: "max_parallel = 1\n" + ab, see: "took"}, want: "2s", but: []string{"= 1", "= 2"},
	}},
	"workflow: `locals { }`": {{
		play: play{flow: "locals {\n  x = \"one\"\n}\n" + echo("a", "local.x", ""), see: "a.args"}, want: "one", but: []string{"\"one\"", "\"two\""},
	}},
	"workflow: `defaults { }`": {{
		play: play{flow: "defaults {\n  timeout = \"3s\"\n}\n" + task("a", ""), script: "a: hang", see: "a.tries took"}, want: "timed_out 3s", but: []string{"3s", "4s"},
	}},
	"workflow: `task \"name\" { }`, `finally \"name\" { }`": {{
		play: play{flow: task("a", "") + finally("f", ""), script: "a: exit 1", see: "a f f.began"}, want: "failed succeeded 1s", but: []string{"exit 1", "exit 1 in 2s"},
	}},
	"workflow: `output \"name\" { }`": {{
		play: play{flow: task("a", "output \"n\" {\n type = number\n}") + "output \"x\" {\n  value = task.a.output.n + 1\n}\n", script: "a: exit 0 n=41", see: "out.x"},
		want: "42", but: []string{"n=41", "n=40"},
	}},
}
