// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// nomadWorkflow is n tasks with a small body, in a chain or independent.
func nomadWorkflow(n int, chain bool, command string, args ...string) string {
	var text strings.Builder
	text.WriteString("workflow \"jobs\" {\n")
	for i := range n {
		fmt.Fprintf(&text, "  task \"t%d\" {\n    driver = \"raw_exec\"\n    config {\n      command = %q\n      args    = [%s]\n    }\n", i, command, quoted(args))
		text.WriteString("    resources {\n      cpu    = 10\n      memory = 10\n    }\n")
		if chain && i > 0 {
			fmt.Fprintf(&text, "    depends_on = [task.t%d]\n", i-1)
		}
		text.WriteString("  }\n")
	}
	text.WriteString("}\n")
	return text.String()
}

func quoted(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = fmt.Sprintf("%q", a)
	}
	return strings.Join(out, ", ")
}

func measureNomad(b *testing.B, workflow string, reference ...string) samples {
	b.Helper()
	nomad := testcluster.Nomad(b, testcluster.NomadConfig{})
	cairn, jobs := build(b, ""), build(b, "/internal/bench/reference/nomadjobs")
	dir := b.TempDir()
	file := filepath.Join(dir, "jobs.hcl")
	if err := os.WriteFile(file, []byte(workflow), 0o600); err != nil {
		b.Fatal(err)
	}
	address := "NOMAD_ADDR=" + nomad.Address()
	return inTurn(b,
		func(int) program {
			return program{cairn, []string{"run", "-nomad", "-json", file}, []string{address, "CAIRN_STATE_DIR=" + filepath.Join(dir, "state")}}
		},
		func(round int) program {
			return program{jobs, append([]string{"-prefix", fmt.Sprintf("reference%d", round)}, reference...), []string{address}}
		})
}

// BenchmarkNomadChain: the makespan of ten tasks of two seconds, one after another, at most 1.05 times the reference's.
func BenchmarkNomadChain(b *testing.B) {
	for b.Loop() {
		s := measureNomad(b, nomadWorkflow(10, true, "/bin/sleep", "2"), "-n", "10", "-width", "1", "-command", "/bin/sleep 2")
		report(b, "a chain of 10 jobs of 2 s, over the reference", "x", s.each(ratio), 1.05)
	}
}

// BenchmarkNomadWide: 300 independent tasks, at most 1.1 times the reference registering 16 at a time.
func BenchmarkNomadWide(b *testing.B) {
	for b.Loop() {
		s := measureNomad(b, nomadWorkflow(300, false, "/bin/true"), "-n", "300", "-width", "16", "-command", "/bin/true")
		report(b, "300 independent jobs, over the reference at 16 at a time", "x", s.each(ratio), 1.1)
	}
}
