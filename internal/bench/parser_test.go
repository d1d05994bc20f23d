// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	hclv2 "github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

// largeWorkflow is a file of n tasks of eight lines, each reading an output of the one before.
func largeWorkflow(n int) string {
	var text strings.Builder
	text.WriteString("workflow \"large\" {\n")
	for i := range n {
		arg := `"first"`
		if i > 0 {
			arg = fmt.Sprintf("task.t%d.output.o", i-1)
		}
		fmt.Fprintf(&text, "  task \"t%d\" {\n    driver = \"raw_exec\"\n    config {\n      command = \"/bin/echo\"\n      args    = [%s, \"${NOMAD_TASK_NAME}\"]\n    }\n    output \"o\" {}\n  }\n", i, arg)
	}
	text.WriteString("}\n")
	return text.String()
}

func measureParser(b *testing.B, text string, goal float64) {
	b.Helper()
	var s samples
	for range pairs {
		begin := time.Now()
		if _, diags := hclsyntax.ParseConfig([]byte(text), "large.hcl", hclv2.InitialPos); diags.HasErrors() {
			b.Fatal(diags)
		}
		s.reference = append(s.reference, time.Since(begin))
		begin = time.Now()
		_, diags := hcl.Compile([]workflow.File{{Path: "large.hcl", Bytes: []byte(text)}}, "")
		if diags.HasErrors() {
			b.Fatal(diags)
		}
		s.cairn = append(s.cairn, time.Since(begin))
	}
	report(b, "checking the file, over parsing its syntax alone", "x", s.each(ratio), 5)
	report(b, "checking the file", "s", s.each(func(c, _ time.Duration) float64 { return c.Seconds() }), goal)
}

func sorted(x []float64) []float64 {
	sort.Float64s(x)
	return x
}
