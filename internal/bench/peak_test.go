// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// runPeak runs a command and returns what it prints and its peak resident memory in MiB. That is read while it runs: what the
// system tells of a process that has ended counts the program that started it too, which it was a copy of for a moment.
func runPeak(b *testing.B, cmd *exec.Cmd) (out []byte, mebibytes float64) {
	b.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	over, peak := make(chan struct{}), make(chan float64)
	go func() {
		highest := 0.0
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for {
			highest = max(highest, peakOf(cmd.Process.Pid, cmd.Path))
			select {
			case <-t.C:
			case <-over:
				peak <- highest
				return
			}
		}
	}()
	err := cmd.Wait()
	close(over)
	mebibytes = <-peak
	if err != nil {
		b.Fatalf("%v\n%s%s", err, stdout.Bytes(), stderr.Bytes())
	}
	if mebibytes == 0 {
		b.Fatal("the system does not tell the process's peak memory")
	}
	return stdout.Bytes(), mebibytes
}

// peakOf is the peak resident memory of a process so far, in MiB; 0 before it runs its program, and after its end.
func peakOf(pid int, path string) float64 {
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || program != path {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscanf(after, "%f kB", &kib); err != nil {
		return 0
	}
	return kib / 1024
}
