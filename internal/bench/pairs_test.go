// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"
	"time"
)

// scratch is a folder for all benchmarks.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "cairn-bench-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(scratch); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// pairs is how often Cairn and its reference run in turn.
const pairs = 5

// program is a built binary with its arguments and environment.
type program struct {
	path string
	args []string
	env  []string
}

// build builds a package of this module into a folder of the benchmark.
func build(b *testing.B, pkg string) string {
	b.Helper()
	out := filepath.Join(b.TempDir(), filepath.Base("/cairn"+pkg))
	if msg, err := exec.Command("go", "build", "-o", out, "github.com/cairnflow/cairn"+pkg).CombinedOutput(); err != nil {
		b.Fatalf("build %s: %v\n%s", pkg, err, msg)
	}
	return out
}

// time runs the program to its end and returns how long that took.
func (p program) time(b *testing.B) time.Duration {
	b.Helper()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	var talk bytes.Buffer
	cmd.Stderr = &talk
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s %v: %v\n%s", p.path, p.args, err, talk.String())
	}
	return time.Since(begin)
}

// samples are the times of pairs of runs, in the order they were made.
type samples struct{ cairn, reference []time.Duration }

// inTurn measures pairs of runs; each call makes the program of the next run.
func inTurn(b *testing.B, cairn, reference func(round int) program) samples {
	b.Helper()
	var s samples
	for round := range pairs {
		s.reference = append(s.reference, reference(round).time(b))
		s.cairn = append(s.cairn, cairn(round).time(b))
		b.Logf("pair %d: cairn %v, reference %v", round+1, s.cairn[round].Round(time.Millisecond), s.reference[round].Round(time.Millisecond))
	}
	return s
}

// each derives one number from every pair and returns them sorted.
func (s samples) each(f func(cairn, reference time.Duration) float64) []float64 {
	out := make([]float64, len(s.cairn))
	for i := range out {
		out[i] = f(s.cairn[i], s.reference[i])
	}
	sort.Float64s(out)
	return out
}

func ratio(cairn, reference time.Duration) float64 { return float64(cairn) / float64(reference) }

// report prints a number's median and range and holds the median against its goal.
func report(b *testing.B, what, unit string, sorted []float64, goal float64) {
	b.Helper()
	median := sorted[len(sorted)/2]
	verdict := "reached"
	if median > goal {
		verdict = "MISSED"
	}
	b.Logf("%s: %.3f %s (range %.3f to %.3f), goal at most %.3g: %s", what, median, unit, sorted[0], sorted[len(sorted)-1], goal, verdict)
	b.ReportMetric(median, fmt.Sprintf("%s/median", unit))
	b.ReportMetric(0, "ns/op")
}
