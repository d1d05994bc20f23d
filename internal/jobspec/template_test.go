// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"pgregory.net/rapid"
)

// configArgs evaluates expr as an element of config.args.
func configArg(t testing.TB, expr string, vars map[string]cty.Value) string {
	t.Helper()
	return decodeTask(t, "config {\n  arg = "+expr+"\n}", vars).Task.Config["arg"].(string)
}

func TestDataNeverBecomesATemplate(t *testing.T) {
	vars := map[string]cty.Value{"param": object(
		"x", "${env[\"SECRET\"]}", "d", "%{ if true }", "dollar", "5$", "brace", "{attr.x}", "mark", "\uFDD0{node.x}",
		"json", `"\ufdd0{node.x}"`, "code", 0xFDD0, "text", "plain $ text { } %")}
	for _, test := range []struct{ name, expr, want string }{
		{"a param is escaped", `param.x`, `$${env["SECRET"]}`},
		{"so is a directive", `param.d`, `%%{ if true }`},
		{"and inside the author's text", `"a ${param.x} ${node.id} b"`, `a $${env["SECRET"]} ${node.id} b`},
		{"put together from a literal dollar and data", `join("$", ["", param.brace])`, `$${attr.x}`},
		{"put together by format", `format("%s%s", "$", param.brace)`, `$${attr.x}`},
		{"a dollar of data before a template of the author's", `"${param.dollar}${node.id}"`, `5${"$"}${node.id}`},
		{"the author's template stays", `"$${NOMAD_X} $$${literal} %%{ if }"`, `${NOMAD_X} $${literal} %{ if }`},
		{"a noncharacter in data means itself", `param.mark`, "\uFDD0{node.x}"},
		{"other text is untouched", `param.text`, "plain $ text { } %"},
		{"and what a decoder makes of data is data", `jsondecode(param.json)`, "\uFDD0{node.x}"},
		{"functions see data as it is", `base64encode(param.x)`, "JHtlbnZbIlNFQ1JFVCJdfQ=="},
		{"and compare it", `param.x == "$${env[\"SECRET\"]}" ? "same" : "other"`, "same"},
		{"what a function makes of the author's text is data", `upper("$${node.x}")`, "$${NODE.X}"},
		{"movers keep both apart", `join(" ", ["${node.id}", param.x, "$${A}"])`, `${node.id} $${env["SECRET"]} ${A}`},
		{"json of both", `jsonencode({ a = "${node.id}", b = param.x })`, `{"a":"${node.id}","b":"$${env[\"SECRET\"]}"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := configArg(t, test.expr, vars)
			if got != test.want {
				t.Errorf("got %q, wanted %q", got, test.want)
			}
		})
	}
	for _, expr := range []string{`format("%c{node.x}", param.code)`, `join("", [format("%c", param.code), "{node.x}"])`} {
		b, opts := parseBody(t, "config {\n  arg = "+expr+"\n}")
		body, diags := CompileTask(b, opts)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if in, diags := body.DecodeTask(evalContext(vars)); !diags.HasErrors() {
			t.Errorf("%s made a template: %q", expr, in.Task.Config["arg"])
		}
	}
}

func TestTextIsEscapedTheWayEachFieldIsRead(t *testing.T) {
	in := decodeTask(t, `
		env {
			A = "${param.x} ${node.id} ${param.odd}"
		}
		config {
			a = { (param.x) = [param.x] }
			nested "label" {
				b = param.x
			}
		}
		template {
			data        = param.x
			destination = "local/x"
		}
	`, map[string]cty.Value{"param": object("x", "${y}", "odd", "${ y } $${y}")})
	if want := "${NOMAD_META_cairn_dollar}{y} ${node.id} ${NOMAD_META_cairn_dollar}{ y } $${NOMAD_META_cairn_dollar}{y}"; in.Task.Env["A"] != want {
		t.Errorf("env: got %s, wanted %s", in.Task.Env["A"], want)
	}
	if in.Task.Meta[dollarMeta] != "$" {
		t.Error("env refers to a meta key that is not there")
	}
	if got := *in.Task.Templates[0].EmbeddedTmpl; got != "${y}" {
		t.Errorf("template: %s", got)
	}
	want := map[string]any{
		"a":      []any{map[string]any{"$${y}": []any{"$${y}"}}},
		"nested": []any{map[string]any{"label": []any{map[string]any{"b": "$${y}"}}}},
	}
	if diff := cmp.Diff(want, in.Task.Config); diff != "" {
		t.Error(diff)
	}
	if plain := decodeTask(t, "env {\n A = param.x\n}", map[string]cty.Value{"param": object("x", "y")}); plain.Task.Meta != nil {
		t.Error("a meta key that nothing needs")
	}
}

func TestDataThatCannotBeEscapedIsRefused(t *testing.T) {
	vars := map[string]cty.Value{"param": object("x", "${node.id}")}
	for _, src := range []string{
		"user = param.x", "meta {\n  a = param.x\n}", "constraint {\n  value = param.x\n}", "artifact {\n  source = param.x\n}",
		"datacenters = [param.x]", "service {\n  name = \"a${param.x}\"\n}",
	} {
		got := problems(t, src, vars)
		if len(got) != 1 || !strings.Contains(got[0], "comes from data") {
			t.Errorf("%s: %q", src, got)
		}
	}
	for _, src := range []string{"config {\n  a = \"$${f(${param.x})}\"\n}", "config {\n  b {\n    a = \"%%{ if ${param.x} }\"\n  }\n}"} {
		got := problems(t, src, vars)
		if len(got) != 1 || !strings.Contains(got[0], "Template made of pieces") {
			t.Errorf("%s: %q", src, got)
		}
	}
	if got := problems(t, "template {\n  data = \"$${A:-${param.x}} {\"\n}\nconfig {\n  a = \"$${b} {${param.x}} $$${c${param.x}\"\n}", vars); got != nil {
		t.Errorf("%q", got)
	}
}

// What a client makes of an escaped text is the data, whatever the data is, and the author's template beside it survives.
func TestClientsReadBackWhatTheDataWas(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune(`$%{}"a\`+"\uFDD0\uFDD1\uFDD2")), 0, 12, -1)
	rapid.Check(t, func(rt *rapid.T) {
		before, after := text.Draw(rt, "before"), text.Draw(rt, "after")
		vars := map[string]cty.Value{"param": object("a", before, "b", after)}
		got := configArg(t, `"${param.a}${node.id}${param.b}"`, vars)
		expr, diags := hclsyntax.ParseTemplate([]byte(got), "client", hcl.InitialPos)
		if diags.HasErrors() {
			rt.Fatalf("%q does not parse: %v", got, diags)
		}
		v, diags := expr.Value(&hcl.EvalContext{Variables: map[string]cty.Value{"node": object("id", "NODE")}})
		if diags.HasErrors() {
			rt.Fatalf("%q: %v", got, diags)
		}
		if want := before + "NODE" + after; v.AsString() != want {
			rt.Fatalf("%q became %q, wanted %q", got, v.AsString(), want)
		}
	})
}

func TestRuntimeReferences(t *testing.T) {
	vars := map[string]cty.Value{"each": object("key", "k"), "local": object("n", "${not.ours}")}
	for expr, want := range map[string]string{
		`"${node.unique.name}"`:                         `${node.unique.name}`,
		`node.unique.name`:                              `${node.unique.name}`,
		`"${ node.class }"`:                             `${ node.class }`,
		`"a${attr.cpu.arch}b"`:                          `a${attr.cpu.arch}b`,
		`"${env["A B"]}"`:                               `${env["A B"]}`,
		`"${meta["a"].b}"`:                              `${meta["a"].b}`,
		`"${NOMAD_TASK_DIR}/x"`:                         `${NOMAD_TASK_DIR}/x`,
		`"${secret.db.password}"`:                       `${secret.db.password}`,
		`"${each.key == "k" ? node.id : "x"}"`:          `${node.id}`,
		`[for n in ["${node.id}"] : "${n}!"][0]`:        `${node.id}!`,
		`[for node in ["x"] : node][0]`:                 `x`,
		`"%{ for x in ["${node.id}"] }${x}%{ endfor }"`: `${node.id}`,
		`format("%s-%s", node.id, each.key)`:            `${node.id}-k`,
		`coalesce(null, "${device.model}")`:             `${device.model}`,
		`("${node.id}")`:                                `${node.id}`,
		`{ a = node.id }.a`:                             `${node.id}`,
		`jsonencode({ node = 1 })`:                      `{"node":1}`,
	} {
		if got := configArg(t, expr, vars); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", expr, got, want)
		}
	}
}

func TestNamesThatTheBodysEnvDeclaresAreReferences(t *testing.T) {
	in := decodeTask(t, `
		env {
			LEVEL = "1"
			param = "no, that is the caller's"
		}
		config {
			args = ["${LEVEL}", param.x]
		}
	`, map[string]cty.Value{"param": object("x", "y")})
	if diff := cmp.Diff([]any{"${LEVEL}", "y"}, in.Task.Config["args"]); diff != "" {
		t.Error(diff)
	}
}

func TestComputingWithARuntimeReferenceIsAnError(t *testing.T) {
	for _, expr := range []string{
		`upper(node.id)`, `node.id == "x"`, `node.id == "x" ? "a" : "b"`, `!node.id`, `length("${node.id}")`, `sha256("x${node.id}")`,
		`"%{ if node.id }a%{ endif }"`, `node[each.key]`, `device[*].model`, `[for n in [node.id] : upper(n)]`, `[for n in ["x"] : n if n == node.id]`,
		`join(",", [upper(node.id)])`, `upper(join(",", [node.id]))`, `{ a = 1 }[node.id]`, `base64encode("${NOMAD_ALLOC_ID}")`,
	} {
		got := problems(t, "config {\n  a = "+expr+"\n}", map[string]cty.Value{"each": object("key", "k")})
		if len(got) != 1 || !strings.Contains(got[0], "Computing with a run-time reference") {
			t.Errorf("%s: %q", expr, got)
		}
	}
	if got := problems(t, "dynamic \"constraint\" {\n for_each = [node.id]\n content {\n value = upper(constraint.value)\n }\n}", nil); len(got) != 1 {
		t.Errorf("through an iterator: %q", got)
	}
	b, opts := parseBody(t, "user = upper(local.n)\ndriver = local.n")
	opts.Tainted = func(tr hcl.Traversal) bool { return tr.RootName() == "local" }
	if _, diags := CompileTask(b, opts); len(diags) != 1 {
		t.Errorf("through a local: %v", diags)
	}
}

func TestRewriteExprLeavesItsArgumentAlone(t *testing.T) {
	src := []byte(`"${node.id} $${X} ${param.x}"`)
	expr, diags := hclsyntax.ParseExpression(src, "x.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if !RefersToRuntime(expr) {
		t.Error("the reference was not seen")
	}
	rewritten, diags := RewriteExpr(expr, Options{Sources: map[string][]byte{"x.hcl": src}})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{"param": object("x", "${data}"), "node": object("id", "evaluated")}}
	v, diags := rewritten.Value(ctx)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if !CarriesTemplate(v) || Plain(v).AsString() != "${node.id} ${X} ${data}" || len(rewritten.Variables()) != 1 {
		t.Errorf("%#v", v)
	}
	if v, _ := expr.Value(ctx); v.AsString() != "evaluated ${X} ${data}" {
		t.Errorf("the original changed: %#v", v)
	}
}

func TestDataChangesOnlyNoncharacters(t *testing.T) {
	v := object("a", "${x}\uFDD0\uFDD2", "b", cty.ListVal([]cty.Value{cty.StringVal("\uFDD1")}), "c", cty.NullVal(cty.String),
		"d", cty.UnknownVal(cty.String), "e", cty.StringVal("\uFDD0").Mark("sensitive"), "\uFDD0", 1,
		"f", cty.SetVal([]cty.Value{cty.StringVal("\uFDD0")}), "g", cty.MapVal(map[string]cty.Value{"\uFDD1": cty.True}))
	safe := Data(v)
	if CarriesTemplate(safe) {
		t.Errorf("%#v", safe)
	}
	if !Plain(safe).RawEquals(v) {
		t.Errorf("got %#v, wanted %#v", Plain(safe), v)
	}
	if clean := object("a", "${x} مرحبا"); !Data(clean).RawEquals(clean) {
		t.Error("clean text was changed")
	}
}

func TestGuardKeepsFunctionsWorking(t *testing.T) {
	funcs := Guard(map[string]function.Function{"upper": Functions()["upper"], "try": Functions()["try"], "length": Functions()["length"]})
	ctx := &hcl.EvalContext{Functions: funcs, Variables: map[string]cty.Value{"u": cty.UnknownVal(cty.List(cty.String)), "s": cty.StringVal("a").Mark("sensitive")}}
	for src, want := range map[string]cty.Value{
		`upper("a")`: cty.StringVal("A"), `try(nosuch.x, "b")`: cty.StringVal("b"), `upper(s)`: cty.StringVal("A").Mark("sensitive"),
	} {
		expr, _ := hclsyntax.ParseExpression([]byte(src), "x", hcl.InitialPos)
		got, diags := expr.Value(ctx)
		if diags.HasErrors() || !got.RawEquals(want) {
			t.Errorf("%s: %#v %v", src, got, diags)
		}
	}
	expr, _ := hclsyntax.ParseExpression([]byte("length(u)"), "x", hcl.InitialPos)
	if got, diags := expr.Value(ctx); diags.HasErrors() || got.IsKnown() || got.Type() != cty.Number {
		t.Errorf("%#v %v", got, diags)
	}
}
