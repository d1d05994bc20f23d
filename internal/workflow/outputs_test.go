// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

func TestReadOutputs(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string // name=JSON
		err  string   // part of the sentence
	}{
		"nothing":                           {file: ""},
		"blank lines":                       {file: "\n  \n\r\n"},
		"lines":                             {file: "rows=42\nname=Ada\n", want: []string{`rows="42"`, `name="Ada"`}},
		"a value with equals signs":         {file: "q=a=b=c", want: []string{`q="a=b=c"`}},
		"an empty value":                    {file: "x=\n", want: []string{`x=""`}},
		"CR LF":                             {file: "x=1\r\ny=2\r\n", want: []string{`x="1"`, `y="2"`}},
		"the last of a doubled name":        {file: "x=1\ny=2\nx=3\n", want: []string{`x="3"`, `y="2"`}},
		"a block":                           {file: "x<<EOT\none\ntwo\nEOT\ny=1\n", want: []string{`x="one\ntwo"`, `y="1"`}},
		"any word ends a block":             {file: "x<<--8<--\none\n--8<--\n", want: []string{`x="one"`}},
		"an empty block":                    {file: "x<<E\nE\n", want: []string{`x=""`}},
		"a block keeps its own blank lines": {file: "x<<E\n\n\nE\n", want: []string{`x="\n"`}},
		"an unfinished block":               {file: "x<<E\none\n", err: `line 1: the block of x has no line "E"`},
		"a block without a word":            {file: "x<<\n", err: "no word after <<"},
		"a line of nothing known":           {file: "x=1\nhello\n", err: "line 2: want key=value"},
		"no name":                           {file: "=1\n", err: "line 1: want key=value"},
		"an object":                         {file: ` {"rows": 42, "names": ["a"]}`, want: []string{`rows=42`, `names=["a"]`}},
		"a doubled member":                  {file: `{"a": 1, "a": 2}`, want: []string{`a=2`}},
		"broken JSON":                       {file: `{"rows": `, err: "is not JSON"},
		"half an object":                    {file: `{"rows": 1`, err: "is not JSON"},
		"two objects":                       {file: `{} {}`, err: "goes on after its JSON object"},
		"not text":                          {file: "x=\xff\xfe", err: "not UTF-8"},
		"too large":                         {file: "x=" + strings.Repeat("a", workflow.MaxTaskOutputBytes), err: "more than 262144 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			raws, err := workflow.ReadOutputs([]byte(c.file))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range raws {
				got = append(got, r.Name+"="+string(r.JSON))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzReadOutputs: whatever a task writes, the reader gives valid JSON under unique names or a sentence.
func FuzzReadOutputs(f *testing.F) {
	for _, seed := range []string{"", "a=1\n", "a<<E\nx\nE\n", `{"a":1}`, "{", "a<<E", "=", "a=\r\n", "{\"a\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		raws, err := workflow.ReadOutputs(file)
		if err != nil {
			if raws != nil || err.Error() == "" {
				t.Fatalf("an error gives outputs %v and the sentence %q", raws, err)
			}
			return
		}
		seen := map[string]bool{}
		for _, r := range raws {
			if !json.Valid(r.JSON) {
				t.Errorf("output %q is not JSON: %q", r.Name, r.JSON)
			}
			if seen[r.Name] {
				t.Errorf("output %q comes twice", r.Name)
			}
			seen[r.Name] = true
		}
	})
}
