// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"regexp"
	"strings"
)

// called are calls of every function and what they give, as JSON; then a call that gives something else.
var called = map[string][3]string{
	"abs": {"abs(-3)", "3", "abs(4)"}, "ceil": {"ceil(1.2)", "2", "ceil(1)"}, "floor": {"floor(1.8)", "1", "floor(2)"},
	"log": {"log(8, 2)", "3", "log(4, 2)"}, "max": {"max(1, 5, 3)", "5", "max(1, 3)"}, "min": {"min(1, 5, 3)", "1", "min(5, 3)"},
	"parseint": {`parseint("ff", 16)`, "255", `parseint("ff", 36)`}, "pow": {"pow(2, 3)", "8", "pow(3, 2)"}, "signum": {"signum(-9)", "-1", "signum(9)"},
	"sum": {"sum([1, 2, 3])", "6", "sum([1, 2])"},

	"chomp": {`chomp("a\n")`, `"a"`, `chomp("a ")`}, "endswith": {`endswith("abc", "bc")`, "true", `endswith("abc", "ab")`},
	"format": {`format("%s-%03d", "a", 7)`, `"a-007"`, `format("%s-%d", "a", 7)`}, "formatlist": {`formatlist("%s!", ["a", "b"])`, `["a!","b!"]`, `formatlist("%s", ["a", "b"])`},
	"indent": {`indent(2, "a\nb")`, `"a\n  b"`, `indent(1, "a\nb")`}, "join": {`join("-", ["a", "b"])`, `"a-b"`, `join("+", ["a", "b"])`},
	"lower": {`lower("AB")`, `"ab"`, `lower("AC")`}, "upper": {`upper("ab")`, `"AB"`, `upper("ac")`}, "title": {`title("ab cd")`, `"Ab Cd"`, `title("ab")`},
	"regex": {`regex("[0-9]+", "a12b")`, `"12"`, `regex("[0-9]", "a12b")`}, "regexall": {`regexall("[0-9]", "1a2")`, `["1","2"]`, `regexall("[0-9]", "1a")`},
	"regex_replace": {`regex_replace("a1b2", "[0-9]", "-")`, `"a-b-"`, `regex_replace("a1b2", "[1]", "-")`}, "replace": {`replace("aba", "a", "c")`, `"cbc"`, `replace("aba", "b", "c")`},
	"split": {`split(",", "a,b")`, `["a","b"]`, `split(";", "a,b")`}, "startswith": {`startswith("abc", "ab")`, "true", `startswith("abc", "bc")`},
	"strcontains": {`strcontains("abc", "b")`, "true", `strcontains("abc", "d")`}, "strlen": {`strlen("äb")`, "2", `strlen("b")`},
	"strrev": {`strrev("abc")`, `"cba"`, `strrev("ab")`}, "substr": {`substr("hello", 1, 3)`, `"ell"`, `substr("hello", 1, 2)`},
	"trim": {`trim("--a--", "-")`, `"a"`, `trim("--b--", "-")`}, "trimprefix": {`trimprefix("abc", "a")`, `"bc"`, `trimprefix("abc", "b")`},
	"trimspace": {`trimspace(" a ")`, `"a"`, `trimspace(" b ")`}, "trimsuffix": {`trimsuffix("abc", "c")`, `"ab"`, `trimsuffix("abc", "b")`},

	"alltrue": {"alltrue([true, true])", "true", "alltrue([true, false])"}, "anytrue": {"anytrue([true, false])", "true", "anytrue([false])"},
	"chunklist": {"chunklist([1, 2, 3], 2)", "[[1,2],[3]]", "chunklist([1, 2, 3], 1)"}, "coalesce": {`coalesce(null, "b")`, `"b"`, `coalesce("a", "b")`},
	"coalescelist": {"coalescelist([], [1])", "[1]", "coalescelist([2], [1])"}, "compact": {`compact(["a", "", "b"])`, `["a","b"]`, `compact(["a", "", "c"])`},
	"concat": {"concat([1], [2])", "[1,2]", "concat([2], [1])"}, "contains": {`contains(["a"], "a")`, "true", `contains(["a"], "b")`},
	"distinct": {"distinct([1, 1, 2])", "[1,2]", "distinct([1, 1])"}, "element": {`element(["a", "b"], 3)`, `"b"`, `element(["a", "b"], 2)`},
	"flatten": {"flatten([[1], [2, [3]]])", "[1,2,3]", "flatten([[1], [2]])"}, "index": {`index(["a", "b"], "b")`, "1", `index(["a", "b"], "a")`},
	"keys": {"keys({ b = 1, a = 2 })", `["a","b"]`, "keys({ b = 1 })"}, "length": {"length([1, 2])", "2", "length([1])"},
	"lookup": {`lookup({ a = "1" }, "b", "d")`, `"d"`, `lookup({ a = "1" }, "a", "d")`}, "matchkeys": {`matchkeys(["x", "y"], ["a", "b"], ["b"])`, `["y"]`, `matchkeys(["x", "y"], ["a", "b"], ["a"])`},
	"merge": {"merge({ a = 1 }, { a = 2 })", `{"a":2}`, "merge({ a = 2 }, { a = 1 })"}, "one": {"one([7])", "7", "one([])"},
	"range": {"range(3)", "[0,1,2]", "range(2)"}, "reverse": {"reverse([1, 2])", "[2,1]", "reverse([2, 1])"},
	"setintersection": {`setintersection(["a", "b"], ["b"])`, `["b"]`, `setintersection(["a", "b"], ["a"])`}, "setproduct": {`setproduct(["a"], ["x", "y"])`, `[["a","x"],["a","y"]]`, `setproduct(["a"], ["x"])`},
	"setsubtract": {`setsubtract(["a", "b"], ["b"])`, `["a"]`, `setsubtract(["a", "b"], ["a"])`}, "setsymmetricdifference": {`setsymmetricdifference(["a", "b"], ["b", "c"])`, `["a","c"]`, `setsymmetricdifference(["a"], ["a"])`},
	"setunion": {`setunion(["a"], ["b"])`, `["a","b"]`, `setunion(["a"], ["a"])`}, "slice": {"slice([1, 2, 3], 1, 2)", "[2]", "slice([1, 2, 3], 0, 1)"},
	"sort": {`sort(["b", "a"])`, `["a","b"]`, `sort(["b", "c"])`}, "transpose": {`transpose({ a = ["x"] })`, `{"x":["a"]}`, `transpose({ b = ["x"] })`},
	"values": {"values({ b = 1, a = 2 })", "[2,1]", "values({ b = 2, a = 1 })"}, "zipmap": {`zipmap(["a"], [1])`, `{"a":1}`, `zipmap(["b"], [1])`},

	"can": {"can(tonumber(\"x\"))", "false", "can(tonumber(\"1\"))"}, "try": {"try(tonumber(\"x\"), 0)", "0", "try(tonumber(\"1\"), 0)"},
	"convert":     {"convert(\"5\", number)", "5", "convert(\"6\", number)"},
	"issensitive": {"issensitive(sensitive(1))", "true", "issensitive(1)"}, "nonsensitive": {"issensitive(nonsensitive(sensitive(1)))", "false", "issensitive(sensitive(1))"},
	"sensitive": {"issensitive(sensitive(1))", "true", "issensitive(1)"},
	"tobool":    {`tobool("true")`, "true", `tobool("false")`}, "tolist": {`tolist(["b", "a"])`, `["b","a"]`, `tolist(["a"])`}, "tomap": {`tomap({ a = 1 })`, `{"a":1}`, `tomap({ a = 2 })`},
	"tonumber": {`tonumber("5")`, "5", `tonumber("6")`}, "toset": {`toset(["b", "a", "a"])`, `["a","b"]`, `toset(["b"])`}, "tostring": {"tostring(5)", `"5"`, "tostring(6)"},

	"base64decode": {`base64decode("aGk=")`, `"hi"`, `base64decode("aG8=")`}, "base64encode": {`base64encode("hi")`, `"aGk="`, `base64encode("ho")`},
	"csvdecode": {`csvdecode("a,b\n1,2\n")`, `[{"a":"1","b":"2"}]`, `csvdecode("a,b\n1,3\n")`}, "jsondecode": {`jsondecode("{\"a\":1}").a`, "1", `jsondecode("{\"a\":2}").a`},
	"jsonencode": {"jsonencode([1])", `"[1]"`, "jsonencode([2])"}, "urldecode": {`urldecode("a%20b")`, `"a b"`, `urldecode("a")`}, "urlencode": {`urlencode("a b")`, `"a+b"`, `urlencode("a")`},
	"yamldecode": {`yamldecode("a: 1").a`, "1", `yamldecode("a: 2").a`}, "yamlencode": {`yamlencode({ a = 1 })`, `"\"a\": 1\n"`, `yamlencode({ a = 2 })`},

	"base64sha256": {`base64sha256("a")`, `"ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs="`, `base64sha256("b")`},
	"base64sha512": {`substr(base64sha512("a"), 0, 6)`, `"H0D8kt"`, `substr(base64sha512("b"), 0, 6)`}, "md5": {`md5("a")`, `"0cc175b9c0f1b6a831c399e269772661"`, `md5("b")`},
	"sha1": {`sha1("a")`, `"86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"`, `sha1("b")`}, "sha256": {`substr(sha256("a"), 0, 8)`, `"ca978112"`, `substr(sha256("b"), 0, 8)`},
	"sha512": {`substr(sha512("a"), 0, 8)`, `"1f40fc92"`, `substr(sha512("b"), 0, 8)`}, "uuidv5": {`uuidv5("dns", "example.com")`, `"cfbff0d1-9375-5685-968c-48ce8b15ae17"`, `uuidv5("dns", "example.org")`},
	"rsadecrypt": {`can(rsadecrypt("x", "y"))`, "false", `can(md5("x"))`},

	"cidrhost": {`cidrhost("10.0.0.0/8", 5)`, `"10.0.0.5"`, `cidrhost("10.0.0.0/8", 6)`}, "cidrnetmask": {`cidrnetmask("10.0.0.0/8")`, `"255.0.0.0"`, `cidrnetmask("10.0.0.0/16")`},
	"cidrsubnet": {`cidrsubnet("10.0.0.0/8", 8, 2)`, `"10.2.0.0/16"`, `cidrsubnet("10.0.0.0/8", 8, 3)`}, "cidrsubnets": {`cidrsubnets("10.0.0.0/8", 8, 8)`, `["10.0.0.0/16","10.1.0.0/16"]`, `cidrsubnets("10.0.0.0/8", 8)`},
	"basename": {`basename("a/b.txt")`, `"b.txt"`, `basename("a/c")`}, "dirname": {`dirname("a/b.txt")`, `"a"`, `dirname("c/b")`},

	"formatdate":    {`formatdate("DD.MM.YYYY", "2026-01-31T02:00:00Z")`, `"31.01.2026"`, `formatdate("YYYY", "2026-01-31T02:00:00Z")`},
	"timeadd":       {`timeadd("2026-01-31T02:00:00Z", "-24h")`, `"2026-01-30T02:00:00Z"`, `timeadd("2026-01-31T02:00:00Z", "24h")`},
	"timeaddmonths": {`timeaddmonths("2026-01-31T02:00:00Z", 1)`, `"2026-02-28T02:00:00Z"`, `timeaddmonths("2026-01-31T02:00:00Z", 2)`},
	"timecmp":       {`timecmp("2026-01-31T02:00:00Z", "2026-02-01T02:00:00Z")`, "-1", `timecmp("2026-01-31T02:00:00Z", "2026-01-31T02:00:00Z")`},
	"timein":        {`timein("2026-01-31T02:00:00Z", "Asia/Tokyo")`, `"2026-01-31T11:00:00+09:00"`, `timein("2026-01-31T02:00:00Z", "UTC")`},
	"timetrunc":     {`timetrunc("2026-05-31T02:00:00Z", "quarter")`, `"2026-04-01T00:00:00Z"`, `timetrunc("2026-05-31T02:00:00Z", "month")`},
	"weekday":       {`weekday("2026-02-01T02:00:00Z")`, "7", `weekday("2026-02-02T02:00:00Z")`},
}

// functionName finds the functions that a row lists in code.
var functionName = regexp.MustCompile("`([^`]+)`")

// functionChecks are the checks of a row that lists functions, which begins with what they are about in plain words: one for
// each that the row names. missing are those without one.
func functionChecks(r row) (list []check, missing []string) {
	cells := cellsOf(r.text)
	if strings.HasPrefix(cells[0], "`") || !strings.HasPrefix(cells[1], "`") {
		return nil, nil
	}
	for _, code := range functionName.FindAllStringSubmatch(cells[1], -1) {
		words := strings.Fields(code[1])
		if name, _, call := strings.Cut(code[1], "("); call {
			words = []string{name}
		}
		for _, name := range words {
			switch call, reads := called[name], reading[name]; {
			case reads.want != "":
				list = append(list, reads)
			case call[0] != "":
				list = append(list, calls(call[0], call[1], call[2]))
			default:
				missing = append(missing, name)
			}
		}
	}
	return list, missing
}

// note is a folder with files to read.
var note = folder{"n": "a", "m": "b", "t": "${x}!"}

// reading are calls of the functions that read files.
var reading = map[string]check{
	"file":             callsIn(note, `file("n")`, "a", `file("m")`),
	"filebase64":       callsIn(note, `filebase64("n")`, "YQ==", `filebase64("m")`),
	"fileexists":       callsIn(note, `fileexists("n"), fileexists("o")`, "true false", `fileexists("n"), fileexists("m")`),
	"filemd5":          callsIn(note, `filemd5("n")`, "0cc175b9c0f1b6a831c399e269772661", `filemd5("m")`),
	"filesha1":         callsIn(note, `filesha1("n")`, "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8", `filesha1("m")`),
	"filesha256":       callsIn(note, `filesha256("n") == sha256("a"), substr(filesha256("n"), 0, 8)`, "true ca978112", `filesha256("m") == sha256("b"), substr(filesha256("m"), 0, 8)`),
	"filesha512":       callsIn(note, `filesha512("n") == sha512("a"), substr(filesha512("n"), 0, 8)`, "true 1f40fc92", `filesha512("m") == sha512("b"), substr(filesha512("m"), 0, 8)`),
	"filebase64sha256": callsIn(note, `filebase64sha256("n")`, "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=", `filebase64sha256("m")`),
	"filebase64sha512": callsIn(note, `filebase64sha512("n") == base64sha512("a"), substr(filebase64sha512("n"), 0, 6)`, "true H0D8kt", `filebase64sha512("m") == base64sha512("b"), substr(filebase64sha512("m"), 0, 6)`),
	"templatefile":     callsIn(note, `templatefile("t", { x = "y" })`, "y!", `templatefile("t", { x = "z" })`),
}

// calling is what an expression gives, by way of a param's default: as JSON.
func calling(expr string) func() string {
	return func() string {
		_, _, params, problem := play{flow: fmt.Sprintf("param \"x\" {\n  default = %s\n nullable = true\n}\n%s", expr, task("a", ""))}.compile()
		if problem != "" {
			return problem
		}
		return string(params["x"].JSON)
	}
}
