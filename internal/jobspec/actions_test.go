// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"pgregory.net/rapid"
)

// templateData decodes an inline body with a template block that holds args, and returns its data.
func templateData(t testing.TB, args string, ctx *hcl.EvalContext) (string, string) {
	t.Helper()
	b, opts := parseBody(t, "template {\n"+args+"\n}")
	opts.Known = map[string]bool{"local": true, "param": true}
	body, diags := CompileTask(b, opts)
	if diags.HasErrors() {
		return "", diags.Error()
	}
	in, diags := body.DecodeTask(ctx)
	if diags.HasErrors() {
		return "", diags.Error()
	}
	return *in.Task.Templates[0].EmbeddedTmpl, ""
}

// authoredLocal evaluates a local the way a workflow does.
func authoredLocal(t testing.TB, src string, ctx *hcl.EvalContext) cty.Value {
	t.Helper()
	expr, diags := hclsyntax.ParseExpression([]byte(src), "local.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	expr, diags = RewriteExpr(expr, Options{Sources: map[string][]byte{"local.hcl": []byte(src)}})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	v, diags := expr.Value(ctx)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return v
}

func TestDataNeverBecomesAnActionOfATemplate(t *testing.T) {
	files := func(string) ([]byte, error) { return []byte("{{ key \"f\" }} ${name}"), nil }
	ctx := evalContext(map[string]cty.Value{"param": object(
		"x", `{{ env "SECRET" }}`, "brace", "{", "quote", `a" }}{{ env "SECRET" }}{{ "`, "back", "a`b", "n", 7, "neg", "-1.5", "word", "env", "lines", "a\nb\\",
		"other", `[[ env "SECRET" ]]`, "mark", "\uFDD3{{ x }}\uFDD7", "list", cty.ListVal([]cty.Value{cty.StringVal(`a"`), cty.StringVal("b")}))})
	for name, f := range FileFunctions(".", files) {
		ctx.Functions[name] = Guard(map[string]function.Function{name: f})[name]
	}
	ctx.Functions["templatefile"] = TemplateFile(".", files, ctx.Functions, true)
	ctx.Variables["local"] = cty.ObjectVal(map[string]cty.Value{
		"action": authoredLocal(t, `"{{ key \"${param.quote}\" }}"`, ctx),
		"open":   authoredLocal(t, `"{{ key \""`, ctx),
		"text":   authoredLocal(t, `"{{ .x }}"`, ctx),
		"object": authoredLocal(t, `{ "{{ .x }}" = "a" }`, ctx),
	})
	for _, test := range []struct{ name, args, want string }{
		{"the author's action stays", `data = "{{ key \"a\" }}"`, `{{ key "a" }}`},
		{"beside data too", `data = "${param.n}{{ key \"a\" }}"`, `7{{ key "a" }}`},
		{"data is escaped", `data = param.x`, `{{"{"}}{ env "SECRET" }}`},
		{"beside an action too", `data = "{{ a }}${param.x}{{ b }}"`, `{{ a }}{{"{"}}{ env "SECRET" }}{{ b }}`},
		{"put together from a literal brace and data", `data = "{${param.brace} x }}"`, `{{"{"}}{ x }}`},
		{"put together by join", `data = join("{", ["", "", " x }}", param.n])`, `{{"{"}}{ x }}{7`},
		{"a brace of data before an action", `data = "${param.brace}{{ a }}"`, `{{"{"}}{{ a }}`},
		{"in a string of an action", `data = "{{ key \"a/${param.quote}\" }}"`, `{{ key "a/a\" }}{{ env \"SECRET\" }}{{ \"" }}`},
		{"with lines and backslashes", `data = "{{ key \"${param.lines}\" }}"`, `{{ key "a\nb\\" }}`},
		{"in a raw string of an action", "data = \"{{ key `${param.x}` }}\"", "{{ key `{{ env \"SECRET\" }}` }}"},
		{"a number or word of Go as code", `data = "{{ index . ${param.n} ${param.neg} ${true} }}"`, `{{ index . 7 -1.5 true }}`},
		{"in a comment it is left out", `data = "{{/* ${param.quote} */}}x"`, `{{/*  */}}x`},
		{"what is made by a directive", `data = "{{ key \"%{ for l in param.list }${l},%{ endfor }\" }}"`, `{{ key "a\",b," }}`},
		{"actions made by a directive", `data = "%{ for l in param.list }{{ key \"${l}\" }}%{ endfor }"`, `{{ key "a\"" }}{{ key "b" }}`},
		{"a condition inside an action", `data = "{{ key \"${param.n == 7 ? "{{" : param.x}\" }}"`, `{{ key "{{" }}`},
		{"in a heredoc", "data = <<-EOT\n  {{ range service \"${param.word}\" }}\n  ${param.x}\n  {{- end }}\nEOT\n", "{{ range service \"env\" }}\n{{\"{\"}}{ env \"SECRET\" }}\n{{- end }}\n"},
		{"a run-time reference is the author's text", `data = "{{ nomadVar \"${NOMAD_JOB_ID}/${param.n}\" }}"`, `{{ nomadVar "${NOMAD_JOB_ID}/7" }}`},
		{"by way of a local", `data = "${local.text}${param.x}"`, `{{ .x }}{{"{"}}{ env "SECRET" }}`},
		{"by way of a local with data", `data = "${local.action}"`, `{{ key "a\" }}{{ env \"SECRET\" }}{{ \"" }}`},
		{"what a function makes is data", `data = "${upper(local.text)}${param.n}"`, `{{"{"}}{ .X }}7`},
		{"whatever was done to it when all is the author's", `data = replace("{{ x }}", "x", "key")`, `{{ key }}`},
		{"other delimiters", "data = \"[[ key \\\"${param.quote}\\\" ]]${param.other}${param.x}\"\nleft_delimiter = \"[[\"\nright_delimiter = \"]]\"",
			`[[ key "a\" }}{{ env \"SECRET\" }}{{ \"" ]][["["]][ env "SECRET" ]]{{ env "SECRET" }}`},
		{"another right delimiter only", "data = \"{{ a >>${param.x}\"\nright_delimiter = \">>\"", `{{ a >>{{"{">>{ env "SECRET" }}`},
		{"a file is the author's", `data = "${file("x")}${param.brace}"`, `{{ key "f" }} ${name}{`},
		{"so is a template file, and its values are data", `data = templatefile("x", { name = param.x })`, `{{ key "f" }} {{"{"}}{ env "SECRET" }}`},
		{"noncharacters of data mean themselves", `data = "${param.mark}"`, "\uFDD3{{\"{\"}}{ x }}\uFDD7"},
		{"names are found by their text", `data = "${local.object["{{ .x }}"]}${local.text == "{{ .x }}"}${param.n}"`, `atrue7`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, problem := templateData(t, test.args, ctx)
			if diff := cmp.Diff(test.want, got+problem); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, test := range []struct{ args, want string }{
		{`data = "{{ ${param.word} \"SECRET\" }}"`, "would become code there"},
		{"data = \"{{ key `${param.back}` }}\"", "between backquotes"},
		{`data = "{{ key \"\\${param.word}\" }}"`, "behind a backslash"},
		{`data = "{{ eq 'a${param.word}' 1 }}"`, "single quotes"},
		{`data = join(param.word, ["{{ key \"", "\" }}"])`, "Template made of pieces"},
		{`data = "${local.open}${param.quote}\" }}"`, "opens an action in one text and closes it in another"},
		{`data = format("{{ key %q }}", param.quote)`, "opens an action in one text and closes it in another"},
		{`data = "${param.n}{{ a"`, "Template made of pieces"},
		{"data = \"x${param.x}\"\nleft_delimiter = \"env\"", "with delimiters such as env and }}"},
	} {
		if got, problem := templateData(t, test.args, ctx); !strings.Contains(problem, test.want) {
			t.Errorf("%s: %q %q", test.args, got, problem)
		}
	}
}

// Marks of actions are for template data only: elsewhere the text is as if there were none.
func TestActionsElsewhereAreOrdinaryText(t *testing.T) {
	vars := map[string]cty.Value{"param": object("dollar", "$", "x", "y")}
	ctx := evalContext(vars)
	for expr, want := range map[string]string{
		`"{{.State}} ${param.x}"`:                 `{{.State}} y`,
		`"{{ ${param.x} "`:                        `{{ y `,
		`"${param.dollar}{{x}}"`:                  `$${{x}}`,
		`format("{{.%s}}", param.x)`:              `{{.y}}`,
		`jsonencode({ "{{a}}" = "{{b}}" })`:       `{"{{a}}":"{{b}}"}`,
		`"{{ \"${param.x}\" }}" == "{{ \"y\" }}"`: `true`,
		`base64encode("{{a}}")`:                   `e3thfX0=`,
		`strlen("{{a}}")`:                         `5`,
	} {
		if got := configArg(t, "\"_${"+expr+"}\"", vars); got != "_"+want {
			t.Errorf("%s: got %q, wanted %q", expr, got, want)
		}
		if v := authoredLocal(t, expr, ctx); Plain(v).GoString() == "" {
			t.Errorf("%s has no value", expr)
		}
	}
	in := decodeTask(t, "user = \"{{a ${param.x}\"\nenv {\n A = \"${param.dollar}{{a ${param.x}\"\n}\nmeta {\n b = \"{{ ${param.x}\"\n}", vars)
	if in.Task.User != "{{a y" || in.Task.Env["A"] != "${NOMAD_META_cairn_dollar}{{a y" || in.Task.Meta["b"] != "{{ y" {
		t.Error(asJSON(t, in.Task))
	}
}

// What Go makes of the escaped text is the data, whatever the data is, and the author's actions beside and around it survive.
func TestGoReadsBackWhatTheDataWas(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("{}[]\"`\\-/* \nab%$\uFDD0\uFDD3\uFDD4\uFDD5\uFDD7")), 0, 10, -1)
	calls := template.FuncMap{"f": func(s string) string { return "<" + s + ">" }}
	rapid.Check(t, func(rt *rapid.T) {
		before, inside, after := text.Draw(rt, "before"), text.Draw(rt, "inside"), text.Draw(rt, "after")
		left, right := "{{", "}}"
		if rapid.Bool().Draw(rt, "other delimiters") {
			left, right = "[[", "]]"
		}
		args := fmt.Sprintf("data = \"${param.a}%s f \\\"x${param.b}y\\\" %s${param.c}%s f \\\"z\\\" %s\"\nleft_delimiter = %q\nright_delimiter = %q",
			left, right, left, right, left, right)
		got, problem := templateData(t, args, evalContext(map[string]cty.Value{"param": object("a", before, "b", inside, "c", after)}))
		if problem != "" {
			rt.Fatal(problem)
		}
		parsed, err := template.New("data").Delims(left, right).Funcs(calls).Parse(got)
		if err != nil {
			rt.Fatalf("%q does not parse: %v", got, err)
		}
		var out strings.Builder
		if err := parsed.Execute(&out, nil); err != nil {
			rt.Fatalf("%q: %v", got, err)
		}
		if want := before + "<x" + inside + "y>" + after + "<z>"; out.String() != want {
			rt.Fatalf("%q became %q, wanted %q", got, out.String(), want)
		}
	})
}
