// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/workflow"
)

// largeFile is a workflow of eight lines a task: a chain in ten branches, each task reading an output of the one before.
func largeFile(tasks int) []workflow.File {
	var b strings.Builder
	b.WriteString("workflow \"large\" {\n  param \"day\" {\n    type = string\n  }\n  defaults {\n    timeout = \"1h\"\n    env {\n      DAY = param.day\n    }\n  }\n")
	for i := range tasks {
		fmt.Fprintf(&b, "  task \"t%05d\" {\n", i)
		if i >= 10 {
			fmt.Fprintf(&b, "    depends_on = [task.t%05d]\n", i-10)
		} else {
			b.WriteString("    trigger_rule = \"all_success\"\n")
		}
		fmt.Fprintf(&b, "    driver = \"raw_exec\"\n    config {\n      command = \"/bin/echo\"\n      args    = [\"${param.day}\", \"%d\"]\n    }\n  }\n", i)
	}
	b.WriteString("}\n")
	return []workflow.File{{Path: "large.hcl", Bytes: []byte(b.String())}}
}

// BenchmarkValidate loads and compiles large files: 5,000 lines within 0.5 s, 80,000 within 4 s is what people wait for.
func BenchmarkValidate(b *testing.B) {
	for _, tasks := range []int{625, 10_000} {
		files := largeFile(tasks)
		b.Run(fmt.Sprintf("%d-lines", strings.Count(string(files[0].Bytes), "\n")), func(b *testing.B) {
			for b.Loop() {
				if _, diags := Compile(files, ""); diags.HasErrors() {
					b.Fatal(diags)
				}
			}
		})
	}
}
