// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
)

// An attempt ends in this order: its main process ends; its process group is killed; whatever it left in other groups and
// sessions is killed (the supervisor is a subreaper, so orphans become its children); then, and not before, the end is
// told.

// beginKill asks the attempt to end: its group, and every process elsewhere that carries its markers.
func (s *supervisor) beginKill(a *attempt, as engine.OutcomeKind) {
	if a.endAs != "" || a.swept {
		return
	}
	a.endAs = as
	a.killAt = time.Now().Add(a.spec.KillTimeout)
	if a.spec.KillTimeout <= 0 {
		a.killAt = time.Time{}
		s.signal(a, a.state.PID, syscall.SIGKILL)
		return
	}
	s.signal(a, a.state.PID, a.spec.KillSignal)
	for _, p := range processes() {
		if p.group != a.state.PID && !p.zombie && p.belongs(a.spec.Markers, s.folder(a.id)) {
			s.signal(a, p.pid, a.spec.KillSignal)
		}
	}
}

// signal signals the group of the attempt's main process, or one other process.
func (s *supervisor) signal(a *attempt, pid int, sig syscall.Signal) {
	if pid == a.state.PID {
		pid = -pid
	}
	if err := kill(pid, sig); err != nil {
		fmt.Fprintf(os.Stderr, "supervise: attempt %s: signal %s to %d: %v\n", a.id, sig, pid, err)
	}
}

// reapAll reaps every child that has ended and goes on with what hung on it.
func (s *supervisor) reapAll() {
	for {
		pid, err := endedChild(false)
		if err != nil || pid == 0 {
			break
		}
		a := s.byPID[pid]
		if a != nil {
			s.signal(a, pid, syscall.SIGKILL) // the zombie still holds the group's number
		}
		status, err := reap(pid)
		if err != nil {
			fmt.Fprintf(os.Stderr, "supervise: reap %d: %v\n", pid, err)
			break
		}
		switch h := s.helpers[pid]; {
		case a != nil:
			delete(s.byPID, pid)
			a.status, a.swept, a.killAt = status, true, time.Time{}
			s.sweeping[a] = true
		case h != nil:
			delete(s.helpers, pid)
			h.cleaned = true
		}
	}
	s.sweep()
}

// sweep kills what attempts without a main process have left, and finishes those that have left nothing.
func (s *supervisor) sweep() {
	if len(s.sweeping) == 0 {
		return
	}
	remains := map[*attempt]bool{}
	if _, err := endedChild(false); !errors.Is(err, syscall.ECHILD) { // without children there are no descendants at all
		s.killRemains(remains)
	}
	for a := range s.sweeping {
		if !remains[a] && s.clean(a) {
			delete(s.sweeping, a)
			s.finish(a, a.verdict())
		}
	}
}

// killRemains kills the remains of attempts and notes which still have some.
func (s *supervisor) killRemains(remains map[*attempt]bool) {
	self := os.Getpid()
	for _, p := range s.strangers() {
		if p.zombie || s.byPID[p.pid] != nil || s.helpers[p.pid] != nil {
			continue
		}
		a := s.ownerOf(p, p.parent == self)
		if a == nil {
			continue
		}
		remains[a] = true
		if err := kill(p.pid, syscall.SIGKILL); err != nil {
			fmt.Fprintf(os.Stderr, "supervise: attempt %s: kill %d: %v\n", a.id, p.pid, err)
		}
	}
}

// strangers lists the processes among which remains may be: the children of this process, since every orphan becomes one,
// and only when a group is not empty, or the kernel does not tell, the whole process table, which costs milliseconds.
func (s *supervisor) strangers() []process {
	for a := range s.sweeping {
		if groupLives(a.state.PID) {
			return processes()
		}
	}
	pids, ok := orphans()
	if !ok {
		return processes()
	}
	var list []process
	for _, pid := range pids {
		if s.byPID[pid] == nil && s.helpers[pid] == nil {
			if p, ok := readProcess(pid); ok {
				list = append(list, p)
			}
		}
	}
	return list
}

// ownerOf finds the attempt, among those without a main process, that has left the process. orphan: it is our child, so it
// comes from some attempt.
func (s *supervisor) ownerOf(p process, orphan bool) *attempt {
	var last *attempt
	for a := range s.sweeping {
		folder := s.folder(a.id)
		if p.group == a.state.PID || orphan && (p.belongs(a.spec.Markers, folder) || p.worksIn(folder)) {
			return a
		}
		last = a
	}
	if !orphan || len(s.byPID) > 0 {
		return nil // it may be of an attempt that runs
	}
	return last // it hides its origin; nobody else is there whose it could be
}

// clean runs the cleanup command of an attempt that did not end by itself; true when there is nothing left to run.
func (s *supervisor) clean(a *attempt) bool {
	if a.cleaned || len(a.spec.Cleanup) == 0 || a.status.Exited() && a.endAs == "" {
		return true
	}
	for pid, h := range s.helpers {
		if h == a && pid > 0 {
			return false // under way
		}
	}
	program, err := lookup(a.spec.Cleanup[0], attemptFolder{dir: s.folder(a.id), task: a.spec.Task}, a.spec.Env)
	if err == nil {
		var pid int
		var forked sync.WaitGroup
		s.onForker(&forked, func() {
			pid, err = syscall.ForkExec(program, a.spec.Cleanup, &syscall.ProcAttr{
				Dir: s.dir, Env: os.Environ(), Files: []uintptr{s.stdin.Fd(), s.stdin.Fd(), os.Stderr.Fd()},
				Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
			})
		})
		forked.Wait()
		if err == nil {
			s.helpers[pid] = a
			s.noteFork()
			return false
		}
	}
	fmt.Fprintf(os.Stderr, "supervise: attempt %s: clean up: %v\n", a.id, err)
	return true
}

// verdict is how an attempt ended whose remains are gone.
func (a *attempt) verdict() attemptState {
	var end attemptState
	switch {
	case a.status.Signaled():
		end.Kind, end.Signal = engine.OutcomeExited, int(a.status.Signal())
		end.Message = fmt.Sprintf("killed by signal %d (%s)", end.Signal, a.status.Signal())
	default:
		code := a.status.ExitStatus()
		end.Kind, end.ExitCode = engine.OutcomeExited, &code
	}
	switch {
	case a.endAs != "":
		end.Kind = a.endAs
	case a.spec.StartFailure != 0 && end.ExitCode != nil && *end.ExitCode == a.spec.StartFailure:
		end.Kind, end.ExitCode = engine.OutcomeError, nil
		end.Message = fmt.Sprintf("%s could not start the task (exit code %d); its standard error says why", a.spec.Command, a.spec.StartFailure)
	}
	return end
}
