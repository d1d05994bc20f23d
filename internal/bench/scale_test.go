// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// This file is the last of its folder, and so are its benchmarks: a hundred thousand folders that were made and removed leave
// some file systems slow for minutes, and the others measure with files.

// fanOutRounds is fewer than pairs: one round runs fifty thousand processes, which take minutes.
const fanOutRounds = 2

// fanOut is a fan-out whose size comes out of a task. The producer and the first instances write the time into the ledger
// themselves; a join reads all of them.
func fanOut(ledger string) string {
	return fmt.Sprintf(`workflow "fan" {
  task "list" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo n=50000 >> $CAIRN_OUTPUT; date +'list %%s.%%N' >> %[1]s"]
    }
    output "n" { type = number }
  }
  task "work" {
    count  = task.list.output.n
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", each.index < 4 ? "date +'work %%s.%%N' >> %[1]s" : ":"]
    }
  }
  output "succeeded" { value = length([for t in task.work : t if t.status == "succeeded"]) }
}
`, ledger)
}

// BenchmarkDynamicFanOut: 50,000 instances whose number is the output of a task. The first of them runs within two seconds
// of its producer's end, and the process that schedules stays below 1 GiB until all are over.
func BenchmarkDynamicFanOut(b *testing.B) {
	for b.Loop() {
		cairn := build(b, "")
		var gaps, mebibytes []float64
		for range fanOutRounds {
			dir, err := os.MkdirTemp(scratch, "fanout-")
			if err != nil {
				b.Fatal(err)
			}
			file, ledger := filepath.Join(dir, "fan.hcl"), filepath.Join(dir, "ledger")
			if err := os.WriteFile(file, []byte(fanOut(ledger)), 0o600); err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command(cairn, "run", "-local", "-json", file)
			cmd.Env = append(os.Environ(), "CAIRN_STATE_DIR="+filepath.Join(dir, "state"))
			out, peak := runPeak(b, cmd)
			if !bytes.Contains(out, []byte(`"succeeded": 50000`)) {
				b.Fatalf("the run does not tell of 50,000 instances that succeeded:\n%.2000s", out)
			}
			gaps = append(gaps, gapIn(b, ledger))
			mebibytes = append(mebibytes, peak)
		}
		report(b, "from the end of the producer to the first of 50,000 instances", "s", sorted(gaps), 2)
		report(b, "a run of 50,000 instances, peak resident memory of the scheduling process", "MiB", sorted(mebibytes), 1024)
	}
}

// gapIn is the time from the producer's line in the ledger to the first line of an instance.
func gapIn(b *testing.B, ledger string) float64 {
	b.Helper()
	text, err := os.ReadFile(ledger)
	if err != nil {
		b.Fatal(err)
	}
	first := map[string]float64{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		who, at, _ := strings.Cut(line, " ")
		seconds, err := strconv.ParseFloat(at, 64)
		if err != nil {
			b.Fatalf("ledger: %q: %v", line, err)
		}
		if old, ok := first[who]; !ok || seconds < old {
			first[who] = seconds
		}
	}
	if len(first) != 2 {
		b.Fatalf("the ledger has no line of producer and instances:\n%s", text)
	}
	return first["work"] - first["list"]
}
