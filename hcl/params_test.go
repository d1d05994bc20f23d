// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

const paramsSource = `
locals {
  pattern = "^\\d{4}-\\d{2}-\\d{2}$"
}
workflow "w" {
  param "day" {
    type    = string
    default = formatdate("YYYY-MM-DD", timeadd(run.scheduled_at, "-24h"))
    validation {
      condition     = can(regex(local.pattern, param.day))
      error_message = "day must look like 2026-01-31, not ${param.day}."
    }
  }
  param "file" {
    type    = string
    default = "${param.day}.csv"
  }
  param "regions" {
    type    = list(string)
    default = ["eu"]
  }
  param "n" {
    type    = number
    default = 1
    validation {
      condition     = param.n < 100
      error_message = "n must be below 100."
    }
    validation {
      condition     = param.n % 2 == 1
      error_message = "n must be odd."
    }
  }
  param "options" {
    type = object({
      retries = optional(number, 2)
      tags    = optional(list(string))
    })
    default = {}
  }
  param "maybe" {
    type     = string
    default  = null
    nullable = true
  }
  param "anything" {
    default = 1
  }
  param "token" {
    type      = string
    default   = "none"
    sensitive = true
    validation {
      condition     = length(regexall("[0-9]", param.token)) == 0
      error_message = "token ${param.token} has digits."
    }
  }
  param "pin" {
    type      = number
    default   = 0
    sensitive = true
  }
  task "t" {}
}
`

// settle gives the values of all params, as JSON by name.
func settle(t testing.TB, src string, given map[string]Given) (map[string]string, Diagnostics) {
	t.Helper()
	run := workflow.RunValues{ID: "r", ScheduledAt: workflow.At(time.Date(2026, 2, 1, 2, 0, 0, 0, time.UTC))}
	got, diags := Params(compileText(t, src), given, run)
	out := map[string]string{}
	for name, v := range got {
		out[name] = string(v.JSON)
		if v.Sensitive != (name == "token" || name == "pin") {
			t.Errorf("%s: sensitive is %t", name, v.Sensitive)
		}
	}
	return out, diags
}

func TestParamsTakeTextJSONAndDefaults(t *testing.T) {
	got, diags := settle(t, paramsSource, map[string]Given{
		"regions":  {Text: `["us", upper("eu")]`},
		"n":        {Text: "7"},
		"options":  {JSON: json.RawMessage(`{"tags":["a"]}`)},
		"anything": {Text: "2026-01-31"},
		"token":    {Text: `"quoted"`},
	})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := map[string]string{
		"day": `"2026-01-31"`, "file": `"2026-01-31.csv"`, "regions": `["us","EU"]`, "n": "7", "options": `{"retries":2,"tags":["a"]}`,
		"maybe": "null", "token": `"\"quoted\""`, "pin": "0", "anything": "1994",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("params, -want +got:\n%s", diff)
	}
}

func TestParamsAreRefusedAtTheirBlocks(t *testing.T) {
	for _, c := range []struct {
		name  string
		given map[string]Given
		want  string
	}{
		{"a validation", map[string]Given{"day": {Text: "yesterday"}}, "test.hcl:6: Invalid param: param day: day must look like 2026-01-31, not yesterday."},
		{"the second validation", map[string]Given{"n": {Text: "2"}}, "param n: n must be odd."},
		{"an unknown name", map[string]Given{"regoins": {Text: "[]"}}, "test.hcl:5: Unknown param: workflow w has no param regoins. Did you mean `regions`?"},
		{"another type", map[string]Given{"n": {Text: `"many"`}}, "param n must be a number: a number is required."},
		{"no expression", map[string]Given{"n": {Text: "1 +"}}, "param n must be a number, and the text given is no such value"},
		{"a word for a number", map[string]Given{"n": {Text: "abc"}}, "param n must be a number, not abc."},
		{"a reference", map[string]Given{"n": {Text: "param.day"}}, "it cannot refer to param.day; text stands in quotes"},
		{"a word in a list", map[string]Given{"regions": {Text: "[abc]"}}, "it cannot refer to abc; text stands in quotes"},
		{"JSON null", map[string]Given{"n": {JSON: json.RawMessage("null")}}, "param n must not be null. Write nullable = true in it if null means something."},
		{"null as text of a string param", map[string]Given{"day": {Text: "null"}}, "not null."},
		{"a wrong attribute type", map[string]Given{"options": {Text: `{ retries = "x" }`}}, `param options must be object({retries=number,tags=list(string)}): at .retries a number is required.`},
		{"a sensitive value that is refused", map[string]Given{"token": {Text: "hunter2"}}, "param token: the value is not allowed (see test.hcl:54)."},
		{"a sensitive value of another type", map[string]Given{"pin": {Text: `"hunter2"`}}, "param pin must be a number, which it is not; because it is sensitive, it is not shown here."},
		{"a sensitive word", map[string]Given{"pin": {Text: "hunter2"}}, "param pin must be a number, which it is not; because it is sensitive, it is not shown here."},
		{"a sensitive expression that is broken", map[string]Given{"pin": {Text: `hunter2 +`}}, "param pin must be a number, which it is not; because it is sensitive, it is not shown here."},
		{"a sensitive JSON value that is broken", map[string]Given{"pin": {JSON: json.RawMessage(`"hunter2`)}}, "param pin must be a number, which it is not; because it is sensitive, it is not shown here."},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, diags := settle(t, paramsSource, c.given)
			text := diags.String()
			if !diags.HasErrors() || !strings.Contains(text, c.want) {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
			if strings.Contains(text, "hunter2") {
				t.Errorf("the secret shows: %s", text)
			}
		})
	}
}

func TestARequiredParamMustBeGiven(t *testing.T) {
	src := "workflow \"w\" {\n  param \"day\" {\n    type = string\n  }\n  param \"next\" {\n    default = \"after ${param.day}\"\n  }\n  task \"t\" {}\n}\n"
	_, diags := settle(t, src, nil)
	if len(diags) != 1 || diags[0].Detail != "param day is required and was not given. Give it with -param day=…." {
		t.Errorf("got %v", diags)
	}
	got, diags := settle(t, src, map[string]Given{"day": {Text: "monday"}})
	if len(diags) > 0 || got["next"] != `"after monday"` {
		t.Errorf("got %v %v", got, diags)
	}
}

func TestParamsTogetherHaveALimit(t *testing.T) {
	_, diags := settle(t, paramsSource, map[string]Given{"file": {Text: strings.Repeat("x", workflow.MaxParamBytes)}})
	if !strings.Contains(diags.String(), "at most 262144 are allowed") {
		t.Errorf("got %v", diags)
	}
}

func TestParamFiles(t *testing.T) {
	for _, c := range []struct{ name, file, src, want, err string }{
		{"attributes", "x.tfvars", "day = \"2026-01-31\"\nn = 3\nregions = [\"eu\"]\nmaybe = null\n", `{"day":"2026-01-31","maybe":null,"n":3,"regions":["eu"]}`, ""},
		{"functions", "x.hcl", "day = upper(\"a\")\n", `{"day":"A"}`, ""},
		{"JSON", "x.JSON", `{"n": 3, "options": {"retries": 1}}`, `{"n":3,"options":{"retries":1}}`, ""},
		{"a reference", "x.tfvars", "n = 1\nday = param.x\n", "", "x.tfvars:2: Not a constant: A param file cannot refer to param.x. Text stands in quotes."},
		{"a block", "x.tfvars", "options {\n}\n", "", "write options = { … } with an equals sign"},
		{"broken JSON", "x.json", `[1]`, "", "A param file in JSON is one object"},
		{"deep JSON", "x.json", strings.Repeat("[", 5000), "", "stand inside each other"},
		{"broken syntax", "x.tfvars", "day = \n", "", "x.tfvars:1: Invalid expression"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, diags := ParamFile(c.file, []byte(c.src))
			if c.err != "" {
				if !diags.HasErrors() || !strings.Contains(diags.String(), c.err) {
					t.Errorf("got %v, want %s", diags, c.err)
				}
				return
			}
			plain := map[string]json.RawMessage{}
			for k, v := range got {
				plain[k] = v.JSON
			}
			raw, err := json.Marshal(plain)
			if err != nil || string(raw) != c.want {
				t.Errorf("got %s, %v, %v, want %s", raw, err, diags, c.want)
			}
		})
	}
}

// What depends on params only is judged at submit, though nothing was known of it when the file was checked, unless the
// task may not begin.
func TestParamsAreTriedOnTheTasks(t *testing.T) {
	def := compileText(t, `workflow "w" {
  param "n" {
    type    = number
    default = 2
  }
  param "limit" {
    type      = string
    default   = "5m"
    sensitive = true
  }
  locals {
    half = param.n / 2
  }
  task "fan" {
    count  = local.half
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
    output "x" {
      type = number
    }
  }
  task "first" {
    timeout = param.limit
    driver  = "raw_exec"
    config {
      command = ["/bin/true", "/bin/false"][param.n - 2]
    }
  }
  task "guarded" {
    when   = param.n > 0
    count  = 100 / param.n
    driver = "raw_exec"
    config {
      command = ["/bin/true", "/bin/false"][param.n - 2]
    }
  }
  task "none" {
    for_each = toset([for i in range(param.n) : tostring(i) if i > 10])
    driver   = "raw_exec"
    config {
      command = ["/bin/true", "/bin/false"][param.n - 2]
    }
  }
  task "after" {
    depends_on = [task.guarded]
    driver     = "raw_exec"
    config {
      command = ["/bin/true", "/bin/false"][param.n - 2]
    }
  }
}
`)
	for _, c := range []struct {
		n, limit string
		want     []string // of every error, a part
	}{
		{`2`, `"1m"`, nil},
		{`1`, `"1m"`, []string{"test.hcl:15: Wrong value: `count` of task fan must be a whole number", "test.hcl:28: Invalid index", "test.hcl:36: Invalid index"}},
		{`0`, `"s3cret"`, []string{"test.hcl:25: Wrong value: `timeout` of task first", "test.hcl:28: Invalid index"}},
		{`4`, `"1m"`, []string{"test.hcl:28: Invalid index", "test.hcl:36: Invalid index"}},
	} {
		_, diags := Params(def, map[string]Given{"n": {JSON: json.RawMessage(c.n)}, "limit": {JSON: json.RawMessage(c.limit)}}, workflow.RunValues{})
		if len(diags) != len(c.want) {
			t.Errorf("n = %s, limit = %s: %v, want %q", c.n, c.limit, diags, c.want)
			continue
		}
		for i, d := range diags {
			if !strings.Contains(d.String(), c.want[i]) || strings.Contains(d.String(), "s3cret") {
				t.Errorf("n = %s, limit = %s: %s, want %s", c.n, c.limit, d, c.want[i])
			}
		}
	}
}
