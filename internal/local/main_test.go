// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
)

// TestMain is also the programs that tests start and kill: the supervisor, and a process that uses an executor.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	programs := map[string]func([]string) error{
		"supervise": supervise,
		"client":    client,
		"fill":      fill,
		"headless":  headless,
	}
	program, ok := programs[os.Args[1]]
	if !ok {
		os.Exit(m.Run())
	}
	if err := program(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func supervise(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return Supervise(ctx, args)
}

// client DIR N SCRIPT starts N attempts in the run folder, and prints a line for each that has ended.
func client(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	e, err := OpenExecutor(ExecutorConfig{Dir: args[0]})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan error, 1)
	ended := map[string]bool{}
	go func() {
		watched <- e.Watch(ctx, func(ev engine.Event) {
			if ev.Kind == engine.Ended && !ended[string(ev.Attempt)] {
				ended[string(ev.Attempt)] = true
				fmt.Println(ev.Attempt, ev.Outcome.Kind)
				if len(ended) == n {
					cancel()
				}
			}
		})
	}()
	for i := range n {
		if err := e.Start(ctx, instanceStart(i, args[2])); err != nil && ctx.Err() == nil {
			return err
		}
	}
	<-watched
	return e.Close()
}

// headless LEDGER ends its first thread, notes in the ledger that it began, and lives on.
func headless(args []string) error {
	never := make(chan struct{})
	for p, _ := readProcess(os.Getpid()); !p.headless; p, _ = readProcess(os.Getpid()) {
		go func() {
			runtime.LockOSThread()
			if syscall.Gettid() == os.Getpid() {
				syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // of the thread; that of the process is SYS_EXIT_GROUP
			}
			<-never // so that the next goroutine gets another thread
		}()
		<-time.After(time.Millisecond)
	}
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "begin 0 %d\n", os.Getpid()); err != nil {
		return err
	}
	<-time.After(time.Hour)
	return f.Close()
}

// fill DIR BYTES saves larger and larger states under a limit for the size of files, until one is refused.
func fill(args []string) error {
	limit, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	if limit > 0 {
		signal.Ignore(syscall.SIGXFSZ) // so that a write fails instead
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	ctx := context.Background()
	s, err := OpenStore(StoreConfig{Path: filepath.Join(args[0], StoreFile)})
	if err != nil {
		return err
	}
	if _, err := s.Create(ctx, 1, scheduler.NewRun{ID: testRun, Workflow: "w"}); err != nil {
		return err
	}
	for i := range 10000 {
		rec := scheduler.Record{Key: fmt.Sprintf("p/%06d", i), Value: make([]byte, 10000)}
		if err := s.Save(ctx, 1, testRun, []scheduler.Record{rec}, false); err != nil {
			fmt.Printf("%d\n", i)
			fmt.Fprintln(os.Stderr, err)
			// What was saved is still there, and small changes may still fit.
			records, _, lerr := s.Load(ctx, testRun)
			if lerr != nil || len(records) != i {
				return fmt.Errorf("after the refused save: %d records, error %v; want %d", len(records), lerr, i)
			}
			return s.Close()
		}
	}
	return fmt.Errorf("everything fitted")
}
