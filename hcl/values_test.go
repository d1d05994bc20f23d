// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// runOutput evaluates `expr` as an output of a run with a few tasks and params around it.
func evaluateExpr(t testing.TB, expr string, shared *workflow.Shared) (workflow.Value, error) {
	t.Helper()
	def, e := evaluatorOf(t, `
workflow "w" {
  param "day" {
    type    = string
    default = ""
  }
  param "n" {
    type    = number
    default = 0
  }
  param "secret" {
    type      = string
    default   = ""
    sensitive = true
  }
  param "list" {
    type    = list(string)
    default = []
  }
  locals {
    rows = task.one.output.rows
  }
  task "one" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
    output "name" {}
  }
  task "many" {
    for_each = toset(["a", "b"])
    driver   = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
  }
  task "numbered" {
    count  = 2
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
  }
  task "loose" {
    for_each = toset(["a", "b"])
    driver   = "raw_exec"
    config {
      command = "x"
    }
    output "v" {
      type = any
    }
  }
  task "secretive" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "key" {
      sensitive = true
    }
  }
  output "o" {
    sensitive = true
    value     = `+expr+`
  }
}`)
	return e.Evaluate(def.Outputs[0].Value, workflow.Scope{Shared: shared})
}

// sampleScope is a view with one of each: succeeded, skipped, fanned out.
func sampleScope(t testing.TB) *workflow.Shared {
	instance := func(key string, status workflow.Status, outputs map[string]any) workflow.InstanceValues {
		return workflow.InstanceValues{Key: key, Status: status, Outputs: values(t, outputs)}
	}
	return &workflow.Shared{
		Run: workflow.RunValues{
			ID: "r1", Workflow: "w", ScheduledAt: workflow.At(time.Date(2026, 1, 31, 2, 0, 0, 5, time.UTC)), StartedAt: 0,
		},
		Params: values(t, map[string]any{"day": "2026-01-31", "n": 3, "secret": "hunter2", "list": []string{"x", "y"}}),
		Tasks: map[string]*workflow.TaskValues{
			"one":       plainTask(workflow.Succeeded, values(t, map[string]any{"rows": 42, "name": "${x}"})),
			"secretive": plainTask(workflow.Succeeded, values(t, map[string]any{"key": "hunter3"})),
			"many": {Shape: workflow.ShapeMap, Status: workflow.Failed, Instances: []workflow.InstanceValues{
				instance("a", workflow.Succeeded, map[string]any{"rows": 1}), instance("b", workflow.Failed, map[string]any{"rows": nil}),
			}},
			"numbered": {Shape: workflow.ShapeList, Status: workflow.Succeeded, Instances: []workflow.InstanceValues{
				instance("0", workflow.Succeeded, map[string]any{"rows": 10}), instance("1", workflow.Succeeded, map[string]any{"rows": 20}),
			}},
			"loose": {Shape: workflow.ShapeMap, Status: workflow.Succeeded, Instances: []workflow.InstanceValues{
				instance("a", workflow.Succeeded, map[string]any{"v": 1}), instance("b", workflow.Succeeded, map[string]any{"v": []int{2}}),
			}},
		},
	}
}

func TestExpressionsReadTheView(t *testing.T) {
	for expr, want := range map[string]string{
		`task.one.output.rows + 1`:                      `43`,
		`local.rows * 2`:                                `84`,
		`task.one.output.name`:                          `"${x}"`,
		`task.one.status`:                               `"succeeded"`,
		`task.many.status`:                              `"failed"`,
		`task.many["a"].output.rows`:                    `1`,
		`task.many["b"].output.rows`:                    `null`,
		`task.many["b"].status`:                         `"failed"`,
		`keys(task.many)`:                               `["a","b"]`,
		`[for t in values(task.many) : t.status]`:       `["succeeded","failed"]`,
		`sum([for t in task.numbered : t.output.rows])`: `30`,
		`task.numbered[1].output.rows`:                  `20`,
		`task.numbered[*].output.rows`:                  `[10,20]`,
		`{ for k, t in task.loose : k => t.output.v }`:  `{"a":1,"b":[2]}`,
		`{ for k, t in task.many : k => t.output.rows if t.status == "succeeded" }`: `{"a":1}`,
		`run.scheduled_at`:                  `"2026-01-31T02:00:00.000000005Z"`,
		`run.started_at`:                    `null`,
		`length(param.list)`:                `2`,
		`timeadd(run.scheduled_at, "-24h")`: `"2026-01-30T02:00:00.000000005Z"`,
		`formatdate("YYYY-MM-DD", timeadd(run.scheduled_at, "-24h"))`:  `"2026-01-30"`,
		`weekday("2026-02-01T00:00:00Z")`:                              `7`,
		`timeaddmonths("2026-01-31T10:00:00+01:00", 1)`:                `"2026-02-28T10:00:00+01:00"`,
		`timeaddmonths("2024-02-29T00:00:00Z", -12)`:                   `"2023-02-28T00:00:00Z"`,
		`timetrunc("2026-05-20T13:14:15.9Z", "quarter")`:               `"2026-04-01T00:00:00Z"`,
		`timetrunc("2026-05-20T13:14:15.9Z", "week")`:                  `"2026-05-18T00:00:00Z"`,
		`timetrunc("2026-05-20T23:14:15.9Z", "day", "Europe/Berlin")`:  `"2026-05-21T00:00:00+02:00"`,
		`timetrunc("2026-05-20T13:14:15.9Z", "second")`:                `"2026-05-20T13:14:15Z"`,
		`timein("2026-07-01T00:00:00Z", "America/New_York")`:           `"2026-06-30T20:00:00-04:00"`,
		`timecmp("2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00")`: `0`,
		`try(jsondecode("nope"), "fallback")`:                          `"fallback"`,
		`yamldecode("a: [1, 2]").a[1]`:                                 `2`,
		`csvdecode("a,b\n1,2")[0].b`:                                   `"2"`,
		`base64decode(base64encode("hi"))`:                             `"hi"`,
		`sha256("")`:                                                   `"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`,
		`regex("(\\d+)-", param.day)[0]`:                               `"2026"`,
		`reverse(["a", "b"])`:                                          `["b","a"]`,
		`reverse("ab")`:                                                `"ba"`,
		`sum([])`:                                                      `0`,
		`one([])`:                                                      `null`,
		`setproduct(["a"], ["b", "c"])`:                                `[["a","b"],["a","c"]]`,
		`alltrue([true, 1 == 1])`:                                      `true`,
		`anytrue([])`:                                                  `false`,
		`transpose({ a = ["x"], b = ["x"] })`:                          `{"x":["a","b"]}`,
		`toset(["b", "a", "b"])`:                                       `["a","b"]`,
		`startswith("abc", "ab") && endswith("abc", "bc") && strcontains("abc", "b")`: `true`,
	} {
		t.Run(expr, func(t *testing.T) {
			v, err := evaluateExpr(t, expr, sampleScope(t))
			if err != nil {
				t.Fatal(err)
			}
			if string(v.JSON) != want {
				t.Errorf("got %s, want %s", v.JSON, want)
			}
		})
	}
}

func TestErrorsNamePlaceAndProducer(t *testing.T) {
	for _, c := range []struct {
		name, expr string
		change     func(*workflow.Shared)
		want       []string
	}{
		{"an output of a skipped task in text", `"rows: ${task.one.output.rows}"`,
			func(s *workflow.Shared) { s.Tasks["one"] = plainTask(workflow.Skipped, nil) },
			[]string{"test.hcl:74: ", "null", "task.one.output.rows is null because task one was skipped."}},
		{"an output of an omitted task in a sum", `task.one.output.rows + 1`,
			func(s *workflow.Shared) { s.Tasks["one"] = plainTask(workflow.Omitted, nil) },
			[]string{"task.one.output.rows is null because task one was omitted."}},
		{"by way of a local", `local.rows + 1`,
			func(s *workflow.Shared) { s.Tasks["one"] = plainTask(workflow.Failed, nil) },
			[]string{"task.one.output.rows is null because task one failed without writing it."}},
		{"an instance that failed", `sum([for t in values(task.many) : t.output.rows])`, nil,
			[]string{`The outputs of task.many["b"] are null because that instance failed`}},
		{"a task that has not begun", `task.one.output.rows + 1`,
			func(s *workflow.Shared) { delete(s.Tasks, "one") },
			[]string{"test.hcl:74: output o: "}},
		{"a key that is not there", `task.many[upper("c")].output.rows`, nil, []string{"test.hcl:74: output o: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			shared := sampleScope(t)
			if c.change != nil {
				c.change(shared)
			}
			_, err := evaluateExpr(t, c.expr, shared)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got %q, want %q in it", err, w)
				}
			}
		})
	}
}

func TestSensitiveValuesTravelAndNeverShow(t *testing.T) {
	for expr, wantSensitive := range map[string]bool{
		`param.secret`:                    true,
		`upper("x-${param.secret}")`:      true,
		`strlen(param.secret)`:            true,
		`{ a = [param.secret] }`:          true,
		`task.secretive.output.key`:       true,
		`nonsensitive(param.secret)`:      false,
		`sensitive("x")`:                  true,
		`param.secret == "x" ? "a" : "b"`: true,
		`task.secretive.status`:           false,
		`param.day`:                       false,
	} {
		v, err := evaluateExpr(t, expr, sampleScope(t))
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		}
		if v.Sensitive != wantSensitive {
			t.Errorf("%s: sensitive is %t, want %t", expr, v.Sensitive, wantSensitive)
		}
	}
	for _, expr := range []string{
		`jsondecode(param.secret)`, `parseint(param.secret, 10)`, `tonumber(param.secret)`, `regex("x+", param.secret)`,
		`{ a = 1 }[param.secret]`, `jsondecode(task.secretive.output.key)`, `tonumber("x${upper(param.secret)}")`,
	} {
		_, err := evaluateExpr(t, expr, sampleScope(t))
		if err == nil {
			t.Errorf("%s: no error", expr)
			continue
		}
		for _, secret := range []string{"hunter", "HUNTER"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error shows the secret: %v", expr, err)
			}
		}
		if !strings.Contains(err.Error(), "test.hcl:") {
			t.Errorf("%s: no place in %v", expr, err)
		}
	}
}

func TestOutputsConvertByTheirType(t *testing.T) {
	for _, c := range []struct {
		name, ty, in, want, err string
	}{
		{"text to a number", `number`, `"5"`, `5`, ""},
		{"a number to text", `string`, `5`, `"5"`, ""},
		{"text with spaces to a number", `number`, `" 42 "`, `42`, ""},
		{"text stays as it is", `string`, `" 42 "`, `" 42 "`, ""},
		{"true to text", `string`, `true`, `"true"`, ""},
		{"text to true", `bool`, `"true"`, `true`, ""},
		{"null stays null", `number`, `null`, `null`, ""},
		{"a list in text", `list(number)`, `"[1, 2]"`, `[1,2]`, ""},
		{"a list", `list(number)`, `[1, "2"]`, `[1,2]`, ""},
		{"an object with an optional attribute", `object({ a = string, b = optional(number, 7) })`, `"{\"a\":\"x\"}"`, `{"a":"x","b":7}`, ""},
		{"any reads JSON in text", `any`, `"{\"a\":[1]}"`, `{"a":[1]}`, ""},
		{"any keeps other text", `any`, `"hello"`, `"hello"`, ""},
		{"exact numbers", `number`, `"12345678901234567890.123"`, `12345678901234567890.123`, ""},
		{"text that is no number", `number`, `"many"`, "", `test.hcl:8: output x of task a must be a number: "many" is not`},
		{"a list for a number", `number`, `[1]`, "", `test.hcl:8: output x of task a must be a number: it is a list`},
		{"text that is no JSON", `list(string)`, `"a,b"`, "", `"a,b" is no JSON`},
		{"an attribute that is missing", `object({ a = string })`, `{}`, "", `attribute "a" is required`},
	} {
		t.Run(c.name, func(t *testing.T) {
			def, e := evaluatorOf(t, "workflow \"w\" {\n  task \"a\" {\n    driver = \"raw_exec\"\n    config {\n      command = \"x\"\n    }\n    output \"x\" {\n      type = "+c.ty+"\n    }\n  }\n}")
			v, err := e.Evaluate(def.Tasks[0].Outputs[0].Type, workflow.Scope{Input: &workflow.Value{JSON: []byte(c.in)}})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || string(v.JSON) != c.want {
				t.Errorf("got %s, %v, want %s", v.JSON, err, c.want)
			}
		})
	}
}

func TestSensitiveOutputsAreNotQuoted(t *testing.T) {
	def, e := evaluatorOf(t, `
workflow "w" {
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "x" {
      type      = number
      sensitive = true
    }
  }
}`)
	_, err := e.Evaluate(def.Tasks[0].Outputs[0].Type, workflow.Scope{Input: &workflow.Value{JSON: []byte(`"hunter2"`)}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	v, err := e.Evaluate(def.Tasks[0].Outputs[0].Type, workflow.Scope{Input: &workflow.Value{JSON: []byte(`"7"`)}})
	if err != nil || !v.Sensitive || string(v.JSON) != "7" {
		t.Errorf("got %s %t %v", v.JSON, v.Sensitive, err)
	}
}

func TestPlacesGiveWhatTheyNeed(t *testing.T) {
	def, e := evaluatorOf(t, `
workflow "w" {
  param "n" {
    type = number
  }
  param "map" {
    type = map(object({ weight = number }))
  }
  param "words" {
    type = any
  }
  task "a" {
    for_each    = [for k, v in param.map : { name = k, weight = v.weight }]
    key         = each.value.name
    min_success = "${param.n}%"
    driver      = "raw_exec"
    timeout     = "${param.n * attempt.number}m"
    config {
      command = "x"
    }
    retry {
      max_attempts = param.n
      when         = attempt.exit_code != 2 && attempt.duration < 60 && each.value.weight > 1
    }
  }
  task "b" {
    for_each = param.words
    driver   = "raw_exec"
    config {
      command = "x"
    }
  }
  task "c" {
    count  = param.n
    when   = param.n > 0
    driver = "raw_exec"
    config {
      command = "x"
    }
  }
}`)
	task := func(name string) workflow.Task {
		for _, t := range def.Tasks {
			if t.Name == name {
				return t
			}
		}
		t.Fatalf("no task %s", name)
		return workflow.Task{}
	}
	a, b, c := task("a"), task("b"), task("c")
	scope := func(n, words any) workflow.Scope {
		return workflow.Scope{
			Shared:  &workflow.Shared{Params: values(t, map[string]any{"n": n, "words": words, "map": map[string]any{"x": map[string]any{"weight": 5}}})},
			Each:    &workflow.Each{Key: "x", Value: workflow.Value{JSON: []byte(`{"name":"x","weight":5}`)}},
			Attempt: &workflow.AttemptValues{Number: 2},
		}
	}
	one := 1
	ended := scope(4, nil)
	ended.Attempt = &workflow.AttemptValues{Number: 1, Ended: true, ExitCode: &one, Duration: 90 * time.Second}
	for _, x := range []struct {
		name  string
		expr  workflow.Expr
		scope workflow.Scope
		want  string
		err   string
	}{
		{"a list with keys", *a.ForEach, scope(4, nil), `[{"name":"x","weight":5}]`, ""},
		{"its key", *a.Key, scope(4, nil), `"x"`, ""},
		{"min_success as text", a.Dynamic[1].Expr, scope(80, nil), `"80%"`, ""},
		{"min_success beyond all", a.Dynamic[1].Expr, scope(120, nil), "", "test.hcl:15: `min_success` of task a must be a whole number, at least 1, or a percentage"},
		{"a duration", a.Dynamic[0].Expr, scope(4, nil), `"8m0s"`, ""},
		{"a negative duration", a.Dynamic[0].Expr, scope(-4, nil), "", "`timeout` of task a must not be negative."},
		{"too many attempts", a.Dynamic[2].Expr, scope(101, nil), "", "`retry.max_attempts` of task a must be a whole number from 1 to 100."},
		{"retry.when", *a.Policy.Retry.When, ended, `false`, ""},
		{"for_each over a map", *b.ForEach, scope(4, map[string]any{"k": 1}), `{"k":1}`, ""},
		{"for_each over null", *b.ForEach, scope(4, nil), "", "`for_each` of task b is null where a value is needed."},
		{"for_each over text", *b.ForEach, scope(4, "x"), "", "It is text."},
		{"for_each over a list without key", *b.ForEach, scope(4, []string{"x"}), "", "is a list, whose elements have no names"},
		{"for_each with an endless key", *b.ForEach, scope(4, map[string]any{strings.Repeat("k", 129): 1}), "", "gives a key of 129 bytes; at most 128 are allowed"},
		{"count", *c.Count, scope(4, nil), `4`, ""},
		{"count that is no whole number", *c.Count, scope(1.5, nil), "", "`count` of task c must be a whole number from 0 to 1000000."},
		{"when", *c.When, scope(0, nil), `false`, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			v, err := e.Evaluate(x.expr, x.scope)
			if x.err != "" {
				if err == nil || !strings.Contains(err.Error(), x.err) {
					t.Errorf("got %s, error %v, want %q", v.JSON, err, x.err)
				}
				return
			}
			if err != nil || string(v.JSON) != x.want {
				t.Errorf("got %s, %v, want %s", v.JSON, err, x.want)
			}
		})
	}
}

func TestEvaluatorServesManyGoroutines(t *testing.T) {
	def, e := evaluatorOf(t, bodyBenchSource)
	scopes := make([]*workflow.Shared, 3*keptFrames)
	for i := range scopes {
		shared := *benchShared(t)
		shared.Tasks = map[string]*workflow.TaskValues{"before": {Shape: workflow.ShapeMap, Instances: shared.Tasks["before"].Instances[:3]}}
		scopes[i] = &shared
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range scopes {
				shared := scopes[(i*7+g)%len(scopes)]
				if _, err := e.Evaluate(*def.Tasks[1].Body, workflow.Scope{Shared: shared, Each: &workflow.Each{Key: "k", Value: workflow.Value{JSON: []byte("1")}}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if len(e.frames) > keptFrames || len(e.order) != len(e.frames) {
		t.Errorf("%d scopes are kept, at most %d wanted", len(e.frames), keptFrames)
	}
}
