// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Forkexec starts /bin/true n times, at most width at a time, and waits for each: what running n tasks costs when nothing
// is remembered about them.
package main

import (
	"flag"
	"fmt"
	"os"
	"syscall"
)

func main() {
	n := flag.Int("n", 1000, "how many processes")
	width := flag.Int("width", 1, "how many at a time")
	flag.Parse()
	if err := run(*n, *width); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(n, width int) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}}
	for started, running := 0, 0; started < n || running > 0; {
		if started < n && running < width {
			if _, err := syscall.ForkExec("/bin/true", []string{"/bin/true"}, attr); err != nil {
				return fmt.Errorf("fork: %w", err)
			}
			started++
			running++
			continue
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(-1, &status, 0, nil); err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		if status.ExitStatus() != 0 {
			return fmt.Errorf("a child ended with %d", status.ExitStatus())
		}
		running--
	}
	return nil
}
