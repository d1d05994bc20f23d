// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Command work is the body of every task in the fault tests. It writes to the ledger when it begins and when it ends, and
// in between behaves as well or as badly as its flags say.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// unusable is the exit code of a task that could not do its part of the test.
const unusable = 99

type options struct {
	ledger     string
	length     time.Duration
	exit       int
	failFirst  int
	output     string
	bytes      int
	lines      int
	until      string
	daemon     string
	bare       bool
	ignoreTerm bool
}

func main() {
	var o options
	flag.StringVar(&o.ledger, "ledger", "", "file to append to")
	flag.DurationVar(&o.length, "for", 0, "how long to take")
	flag.IntVar(&o.exit, "exit", 0, "code to exit with")
	flag.IntVar(&o.failFirst, "fail-first", 0, fmt.Sprintf("exit with %d so many times; attempts that were killed do not count", ledger.Passing))
	flag.StringVar(&o.output, "output", "", "line for the output file")
	flag.IntVar(&o.bytes, "bytes", 0, "size of an output named blob")
	flag.IntVar(&o.lines, "lines", 0, "lines for standard output")
	flag.StringVar(&o.until, "until", "", "go on until this file exists")
	flag.StringVar(&o.daemon, "daemon", "", "leave a child behind that left its session, its pid in this file with the attempt at its end")
	flag.BoolVar(&o.bare, "bare", false, "the child has left its environment too")
	flag.BoolVar(&o.ignoreTerm, "ignore-term", false, "ignore SIGTERM and SIGINT")
	flag.Parse()
	code, err := o.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "work:", err)
		code = unusable
	}
	os.Exit(code)
}

func (o *options) run() (int, error) {
	attempt, err1 := strconv.Atoi(os.Getenv("CAIRN_ATTEMPT"))
	fence, err2 := strconv.ParseInt(os.Getenv("CAIRN_FENCE"), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("read the attempt's variables: %w", err)
	}
	line := ledger.Line{
		Run: os.Getenv("CAIRN_RUN_ID"), Task: os.Getenv("CAIRN_TASK"), Key: os.Getenv("CAIRN_INSTANCE_KEY"),
		Attempt: attempt, Fence: fence, PID: os.Getpid(), Event: ledger.Begin,
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	var err error
	if line.Overlap, err = o.lock(line); err != nil {
		return 0, err
	}
	line.Overlap = line.Overlap || o.daemonLives(attempt-1)
	line.At = time.Now().UnixNano()
	if err := ledger.Append(o.ledger, line); err != nil {
		return 0, err
	}

	line.Exit, err = o.work(attempt, signals)
	if err != nil {
		return 0, err
	}
	if failures, err := o.failures(line); err != nil {
		return 0, err
	} else if failures < o.failFirst {
		line.Exit = ledger.Passing
	}
	line.Event, line.Overlap, line.At = ledger.End, false, time.Now().UnixNano()
	return line.Exit, ledger.Append(o.ledger, line)
}

// failures counts how often the instance has failed already.
func (o *options) failures(own ledger.Line) (int, error) {
	if o.failFirst == 0 {
		return 0, nil
	}
	n := 0
	err := ledger.Each(o.ledger, func(l ledger.Line) {
		if l.Run == own.Run && l.Task == own.Task && l.Key == own.Key && l.Event == ledger.End && l.Exit == ledger.Passing {
			n++
		}
	})
	return n, err
}

// lock takes the lock of the instance, which the kernel gives back when this process is gone, however it goes. It is true
// when another process has the lock.
func (o *options) lock(l ledger.Line) (taken bool, err error) {
	dir := o.ledger + ".locks"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("lock the instance: %w", err)
	}
	// Never closed: it lives as long as the process.
	fd, err := syscall.Open(filepath.Join(dir, l.Run+"."+l.Task+"."+l.Key), syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return false, fmt.Errorf("lock the instance: %w", err)
	}
	err = syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock the instance: %w", err)
	}
	return false, nil
}

func (o *options) work(attempt int, signals <-chan os.Signal) (int, error) {
	if err := errors.Join(o.print(), o.write(), o.leave(attempt)); err != nil {
		return 0, err
	}
	// Exactly one of the two ends the wait.
	over, look := time.NewTimer(o.length), time.NewTicker(10*time.Millisecond)
	defer over.Stop()
	defer look.Stop()
	if o.until != "" {
		over.Stop()
	} else {
		look.Stop()
	}
	for {
		select {
		case s := <-signals:
			if !o.ignoreTerm {
				return 128 + int(s.(syscall.Signal)), nil
			}
			continue
		case <-look.C:
			if _, err := os.Stat(o.until); err != nil {
				continue
			}
		case <-over.C:
		}
		return o.exit, nil
	}
}

// print writes numbered lines of the length of a usual log line.
func (o *options) print() error {
	out := bufio.NewWriter(os.Stdout)
	for n := range o.lines {
		fmt.Fprintf(out, "line %05d of %05d: the quick brown fox jumps over the lazy dog, again and again\n", n+1, o.lines)
	}
	return out.Flush()
}

// write writes the outputs.
func (o *options) write() error {
	if o.output == "" && o.bytes == 0 {
		return nil
	}
	f, err := os.OpenFile(os.Getenv("CAIRN_OUTPUT"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("write the outputs: %w", err)
	}
	if o.output != "" {
		_, err = fmt.Fprintln(f, o.output)
	}
	if o.bytes > 0 && err == nil {
		err = o.blob(f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the outputs: %w", err)
	}
	return nil
}

// blob writes an output of the wanted size in pieces: tasks here have little memory.
func (o *options) blob(f *os.File) error {
	if _, err := f.WriteString("blob="); err != nil {
		return err
	}
	piece := bytes.Repeat([]byte{'x'}, 64<<10)
	for left := o.bytes; left > 0; left -= len(piece) {
		if _, err := f.Write(piece[:min(left, len(piece))]); err != nil {
			return err
		}
	}
	_, err := f.WriteString("\n")
	return err
}

// leave starts a child as a daemon starts itself: a session of its own, a parent that is gone, the root as its folder, and
// if it is bare nothing in its environment but the mark by which the test finds it.
func (o *options) leave(attempt int) error {
	if o.daemon == "" {
		return nil
	}
	clear := ""
	if o.bare {
		clear = `env -i FAULTS_GROUND="$FAULTS_GROUND"`
	}
	script := `cd /; setsid ` + clear + ` sleep 1000 >/dev/null 2>&1 </dev/null & echo $! > "$1.new"; mv "$1.new" "$1"`
	if err := exec.Command("/bin/sh", "-c", script, "sh", o.daemonFile(attempt)).Run(); err != nil {
		return fmt.Errorf("leave a child behind: %w", err)
	}
	return nil
}

func (o *options) daemonFile(attempt int) string { return o.daemon + "." + strconv.Itoa(attempt) }

// daemonLives says whether what an earlier attempt left behind is still there: that, too, is an overlap.
func (o *options) daemonLives(attempt int) bool {
	if o.daemon == "" {
		return false
	}
	b, err := os.ReadFile(o.daemonFile(attempt))
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return err == nil && ledger.Alive(pid)
}
