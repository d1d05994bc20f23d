// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const localTasks = 1000

// localWorkflow is n tasks that run /bin/true, in a chain or independent at the given width.
func localWorkflow(n, width int) string {
	var text strings.Builder
	text.WriteString("workflow \"true\" {\n")
	if width > 1 {
		fmt.Fprintf(&text, "  max_parallel = %d\n", width)
	}
	for i := range n {
		fmt.Fprintf(&text, "  task \"t%d\" {\n    driver = \"raw_exec\"\n    config {\n      command = \"/bin/true\"\n    }\n", i)
		if width == 1 && i > 0 {
			fmt.Fprintf(&text, "    depends_on = [task.t%d]\n", i-1)
		}
		text.WriteString("  }\n")
	}
	text.WriteString("}\n")
	return text.String()
}

func measureLocal(b *testing.B, width int) samples {
	b.Helper()
	cairn, forkexec := build(b, ""), build(b, "/internal/bench/reference/forkexec")
	// What this leaves is removed after the last benchmark: ext4 makes new files more slowly for minutes where many have
	// just been deleted.
	dir, err := os.MkdirTemp(scratch, "local-")
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "true.hcl")
	if err := os.WriteFile(file, []byte(localWorkflow(localTasks, width)), 0o600); err != nil {
		b.Fatal(err)
	}
	return inTurn(b,
		func(int) program {
			return program{cairn, []string{"run", "-local", "-json", file}, []string{"CAIRN_STATE_DIR=" + filepath.Join(dir, "state")}}
		},
		func(int) program {
			return program{forkexec, []string{"-n", fmt.Sprint(localTasks), "-width", fmt.Sprint(width)}, nil}
		})
}

// BenchmarkLocalChain: 1,000 tasks one after another, the durable store on, at most 3 ms per task over fork and exec.
func BenchmarkLocalChain(b *testing.B) {
	for b.Loop() {
		s := measureLocal(b, 1)
		over := s.each(func(c, r time.Duration) float64 { return float64(c-r) / float64(time.Millisecond) / localTasks })
		report(b, "a chain of 1,000 tasks, each over fork and exec itself", "ms", over, 3)
	}
}

// BenchmarkLocalWide: 1,000 independent tasks, eight at a time, at most 2.5 times the bare fork and exec.
func BenchmarkLocalWide(b *testing.B) {
	for b.Loop() {
		report(b, "1,000 independent tasks at width 8, over fork and exec", "x", measureLocal(b, 8).each(ratio), 2.5)
	}
}
