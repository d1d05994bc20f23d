// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

// locals is a block of locals.
func locals(lines ...string) string { return "locals {\n " + strings.Join(lines, "\n ") + "\n}\n" }

// compiled is what compiling one file says.
func compiled(text string) func() string {
	return func() string {
		_, diags := hcl.Compile([]workflow.File{{Path: "w.hcl", Bytes: []byte(text)}}, "")
		return said(diags)
	}
}

// findings is how many findings compiling has.
func findings(flow string) func() string {
	return func() string {
		_, diags := hcl.Compile([]workflow.File{play{flow: flow}.file()}, "w")
		return fmt.Sprint(len(diags), " ", said(diags))
	}
}

// inBoth is what two workflows of one file make of a local: the one declared at its top, or in the second one.
func inBoth(top, second string) func() string {
	f := folder{"w.hcl": top + flowIn("v", echo("a", "local.x", "")) + flowIn("w", second+echo("a", "local.x", ""))}
	return func() string { return f.compiles("", "v")() + " " + f.compiles("", "w")() }
}

const broken = "formatdate(\"YYYY\", \"no time\")"

var localsTable = map[string][]check{
	"locals: of a workflow": {
		given("param \"p\" {}\n"+locals("x = \"${param.p} ${run.workflow} ${task.a.status} ${local.y}\"", "y = \"y\"")+task("a", "")+echo("b", "local.x", ""), []string{"p=1"},
			"b.args", "1 w succeeded y", "p=1", "p=2"),
		sees(locals("x = \"on ${node.unique.name}\"")+echo("a", "local.x", ""), "", "a.args", "on ${node.unique.name}", "local.x", "\"here\""),
		refused(locals("x = each.key")+task("a", "for_each = toset([\"k\"])"), "Not known here: Local x cannot refer to each.key. each.* exists only inside a task with for_each or count.", "each.key", "1"),
		refused(locals("x = attempt.number")+task("a", ""), "Not known here: Local x cannot refer to attempt.number. There is no attempt yet when this is evaluated.", "attempt.number", "1"),
	},
	"locals: at the top of a file": {
		{with: inBoth(locals("x = 1"), ""), without: inBoth("", locals("x = 1")), want: "1 1"},
		{with: folder{"w.hcl": locals("x = upper(local.y)", "y = \"y\"") + flowIn("w", echo("a", "local.x", ""))}.compiles("", "w"),
			without: folder{"w.hcl": locals("x = lower(local.y)", "y = \"y\"") + flowIn("w", echo("a", "local.x", ""))}.compiles("", "w"), want: "Y"},
		{with: compiled(locals("x = param.p") + flowIn("w", "param \"p\" {}\n"+task("a", ""))), without: compiled(locals("x = 1") + flowIn("w", "param \"p\" {}\n"+task("a", ""))),
			want: "invalid: Not known here: Local x cannot refer to param.p. It is needed before any param is known."},
		{with: compiled(locals("x = run.id") + oneTask), without: compiled(locals("x = 1") + oneTask), want: "invalid: Not known here: Local x cannot refer to run.id. It is needed before any run exists."},
		{with: compiled(locals("x = node.unique.name") + oneTask), without: compiled(locals("x = 1") + oneTask),
			want: "invalid: Known only on the worker: node.unique.name is known only on the machine where the task runs, so local x cannot use it. It can stand in an inline Nomad task, or in a group."},
	},
	"locals: edges": {
		sees(locals("x = local.y", "y = task.a.status")+task("a", "")+echo("b", "local.x", ""), "", "b.began", "1s", "= local.y", "= \"here\""),
		sees(locals("x = task.a.status")+task("a", "")+task("b", "when = local.x == \"failed\"\ntrigger_rule = \"all_done\""), "a: exit 1 in 3s", "b b.began", "succeeded 3s", "exit 1", "exit 0"),
	},
	"locals: once": {
		{with: findings(locals("x = "+broken) + echo("a", "local.x", "") + echo("b", "local.x", "")), without: findings(echo("a", broken, "") + echo("b", broken, "")),
			want: "1 invalid: Invalid function argument: Invalid value for \"time\" parameter of formatdate: not a valid RFC3339 timestamp: cannot use \"no time\" as year."},
	},
	"locals: one name": {
		refused(locals("x = 1")+locals("x = 2")+task("a", ""), "Duplicate local: local x is already declared at w.hcl:3. Give one of them another name.", "x = 2", "y = 2"),
		{with: compiled(locals("x = 1") + flowIn("w", locals("x = 2")+task("a", ""))), without: compiled(locals("x = 1") + flowIn("w", locals("y = 2")+task("a", ""))),
			want: "invalid: Duplicate local: local x is already declared for all workflows at w.hcl:2. Give one of them another name."},
	},
}

var inlineAndGroup = task("task", "") + `
task "group" {
  group {
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/echo"
      }
    }
  }
}
`

// bodies are tasks with every kind of body, by its name.
var bodies = inlineAndGroup + `task "job" {
  job {
    source = "j.nomad.hcl"
  }
}
task "dispatch" {
  dispatch {
    job = "crunch"
  }
}
task "run_workflow" {
  run_workflow {
    name = "child"
  }
}
task "approval" {
  approval {
  }
}
task "wait" {
  wait {
    duration = "1s"
  }
}
task "http" {
  http {
    url = "http://example.com"
  }
}
task "join" {
  depends_on = [task.task]
}
`

// everyBody compiles a workflow with tasks of every kind of body below more, and tells about each.
func everyBody(more string, what func(t workflow.Task) string) func() string {
	return func() string {
		files := []workflow.File{
			{Path: "w.hcl", Bytes: []byte(flowIn("w", more+"\n"+bodies) + flowIn("child", task("a", "")))},
			{Path: "j.nomad.hcl", Named: true, Bytes: []byte(strings.ReplaceAll(library["jobs/j.nomad.hcl"], "file(\"c.txt\")", "\"true\""))},
		}
		def, diags := hcl.Compile(files, "w")
		if diags.HasErrors() {
			return said(diags)
		}
		var told []string
		for _, t := range def.Tasks {
			if s := what(t); s != "" {
				told = append(told, t.Name+"="+s)
			}
		}
		return strings.Join(told, " ")
	}
}

// reaches tells which tasks a policy in defaults reaches: those with a policy other than that of a task without defaults.
func reaches(inside string) func() string {
	return everyBody("defaults {\n"+inside+"\n}", func(t workflow.Task) string {
		plain := workflow.DefaultPolicy()
		if p := t.Policy; fmt.Sprint(p) != fmt.Sprint(plain) {
			return "yes"
		}
		return ""
	})
}

// underDefaults is the driver and the environment of a task, with a driver and more in defaults.
func underDefaults(more, inside string) func() string {
	flow := "defaults {\n driver = \"exec\"\n" + more + "\n}\ntask \"a\" {\n config {\n  command = \"/bin/echo\"\n }\n" + inside + "\n}\n"
	return func() string {
		var job struct {
			TaskGroups []struct {
				Tasks []struct {
					Driver string
					Env    map[string]string
				}
			}
		}
		if err := json.Unmarshal([]byte(play{flow: flow, see: "a.body"}.outcome()), &job); err != nil {
			return err.Error()
		}
		t := job.TaskGroups[0].Tasks[0]
		return fmt.Sprint(t.Driver, " ", t.Env)
	}
}

// constraints are those of a task that has one of its own, with more in defaults.
func constraints(inside string) func() string {
	flow := "defaults {\n" + inside + "\n}\n" + task("a", "constraint {\n  attribute = \"b\"\n }")
	return func() string {
		var job struct{ Constraints []struct{ LTarget string } }
		var group struct {
			TaskGroups []struct {
				Constraints []struct{ LTarget string }
				Tasks       []struct{ Constraints []struct{ LTarget string } }
			}
		}
		body := []byte(play{flow: flow, see: "a.body"}.outcome())
		if err := errors.Join(json.Unmarshal(body, &job), json.Unmarshal(body, &group)); err != nil {
			return err.Error()
		}
		var found []string
		for _, c := range slices.Concat(job.Constraints, group.TaskGroups[0].Constraints, group.TaskGroups[0].Tasks[0].Constraints) {
			found = append(found, c.LTarget)
		}
		slices.Sort(found)
		return strings.Join(found, ",")
	}
}

// placedBelow tells which tasks run in the node pool that defaults name.
func placedBelow(inside string) func() string {
	return func() string {
		var found []string
		for _, name := range []string{"task", "group"} {
			p := play{flow: "defaults {\n" + inside + "\n}\n" + inlineAndGroup, see: name + ".body"}
			if _, after, ok := strings.Cut(p.outcome(), `"NodePool":"`); ok {
				pool, _, _ := strings.Cut(after, `"`)
				found = append(found, name+"="+pool)
			}
		}
		return strings.Join(found, " ")
	}
}

const (
	reachesNomad   = "task=yes group=yes job=yes dispatch=yes"
	reachesHTTPToo = reachesNomad + " http=yes"
)

var defaultsTable = map[string][]check{
	"defaults: `timeout`": {
		{with: reaches("timeout = \"1s\""), without: reaches(""), want: reachesHTTPToo},
		sees("defaults {\n timeout = \"3s\"\n}\n"+task("a", "")+task("b", "timeout = \"2s\""), "a: hang; b: hang", "a.ended b.ended", "3s 2s", "timeout = \"2s\"", ""),
	},
	"defaults: `start_timeout`": {
		{with: reaches("start_timeout = \"1s\""), without: reaches(""), want: reachesNomad},
		sees("defaults {\n start_timeout = \"3s\"\n}\n"+task("a", "")+task("b", "start_timeout = \"2s\""), "a: no_room; b: no_room", "a.ended b.ended", "3s 2s", "start_timeout = \"2s\"", ""),
	},
	"defaults: `deadline`": {
		{with: reaches("deadline = \"1s\""), without: reaches(""), want: reachesHTTPToo},
		sees("defaults {\n deadline = \"3s\"\n}\n"+task("a", "")+task("b", "deadline = \"2s\""), "a: hang; b: hang", "a.ended b.ended", "3s 2s", "deadline = \"2s\"", ""),
	},
	"defaults: `allow_failure`": {
		{with: reaches("allow_failure = true"), without: reaches("allow_failure = false"),
			want: "task=yes group=yes job=yes dispatch=yes run_workflow=yes approval=yes wait=yes http=yes join=yes"},
		sees("defaults {\n allow_failure = true\n}\n"+task("a", ""), "a: exit 1", "run", "succeeded", "true", "false"),
	},
	"defaults: `retry { }`": {
		{with: reaches("retry {\n max_attempts = 2\n}"), without: reaches(""), want: reachesHTTPToo},
		sees("defaults {\n retry {\n  max_attempts = 3\n  delay = \"1s\"\n  jitter = 0\n }\n}\n"+task("a", "retry {\n max_attempts = 2\n}"), "a: exit 1", "a.tries took", "failed,failed 3s", "  delay = \"1s\"\n", ""),
	},
	"defaults: `on_worker_loss { }`": {
		{with: reaches("on_worker_loss {\n mode = \"immediate\"\n}"), without: reaches(""), want: reachesNomad},
		{with: lossIn("defaults {\n on_worker_loss {\n  mode = \"immediate\"\n  stop_after = \"7s\"\n }\n}\n", "on_worker_loss {\n stop_after = \"9s\"\n}"),
			without: lossIn("defaults {\n on_worker_loss {\n  mode = \"immediate\"\n  stop_after = \"7s\"\n }\n}\n", ""), want: "immediate 9s"},
		// What else stands in defaults is Nomad's, and reaches the tasks whose body is.
		{with: underDefaults("env = { A = \"1\", B = \"2\" }", "env = { B = \"3\" }"), without: underDefaults("env = { A = \"1\", B = \"2\" }", ""), want: "exec map[A:1 B:3]"},
		{with: constraints("constraint {\n  attribute = \"a\"\n }"), without: constraints(""), want: "a,b"},
		{with: placedBelow("node_pool = \"p\""), without: placedBelow(""), want: "task=p group=p"},
		refused("defaults {\n config {\n }\n}\n"+task("a", ""), "Not allowed here: config cannot be written in defaults. Each task writes its own config.", "config {\n }\n}", "}"),
		refused("defaults {\n when = true\n}\n"+task("a", ""), "Not allowed here: when cannot be written in defaults. What shapes the graph stands in each task, never in defaults.", "when = true", ""),
	},
}
