// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// blow is one kill of a round.
type blow struct {
	lines   int           // it is struck when the ledger has so many
	later   time.Duration // and this time has passed since
	what    string        // who is killed
	resumed time.Duration // pause between kill and -resume
}

// siege is one run that is killed again and again.
type siege struct {
	g      *ground
	kind   string // "local", "nomad"
	plan   *plan
	file   string
	lives  int
	struck []kill
	report []string
	stdout string // of the last life
}

// kill is a blow that was struck.
type kill struct {
	blow
	at     time.Duration // when it was
	killed time.Time     // when kill(2) had returned
}

// live starts the run's process: for the first time, or again. A process that was killed before there was a run leaves
// nothing to resume, and the user starts anew.
func (s *siege) live() *process {
	s.g.t.Helper()
	s.lives++
	if s.lives > 1 {
		if id := s.g.runID(); id != "" {
			return s.g.start("run", "-"+s.kind, "-json", "-resume", id)
		}
		if lines := s.g.lines(); len(lines) > 0 {
			s.g.t.Fatalf("there is no run, and a task has begun: %+v", lines[0])
		}
	}
	return s.g.start("run", "-"+s.kind, "-json", s.file)
}

// play strikes every blow at its moment, resumes after each, and returns the document of the run that has ended.
func (s *siege) play(blows []blow) *ledger.Run {
	s.g.t.Helper()
	begin := time.Now()
	p := s.live()
	for _, b := range blows {
		if !s.writes(p, b.lines) || !p.runsFor(b.later) {
			s.report = append(s.report, fmt.Sprintf("kill of the %s after %d lines: the run had ended", b.what, b.lines))
			continue
		}
		at := time.Since(begin)
		killed, ok := s.strike(p, b.what)
		if !ok {
			s.report = append(s.report, fmt.Sprintf("kill of the %s at %s: there was none", b.what, brief(at)))
			continue
		}
		s.struck = append(s.struck, kill{b, at, killed})
		if b.what != supervisor {
			pause(s.g.t, b.resumed)
			p = s.live()
		}
	}
	p.wants(0)
	for _, k := range s.struck {
		s.report = append(s.report, fmt.Sprintf("kill of the %s at %s after %d lines, resumed after %s: %s", k.what, brief(k.at), k.lines, brief(k.resumed), s.gap(k.killed)))
	}
	s.report = append(s.report, fmt.Sprintf("ended after %s and %d processes", brief(time.Since(begin)), s.lives))
	s.stdout = p.stdout()
	return p.document()
}

// The victims.
const (
	driver     = "process"
	supervisor = "supervisor"
	both       = "process and its supervisor"
)

// strike kills with SIGKILL and returns the moment at which kill(2) had returned. It returns when the run's process is
// gone; ok is false when there was nobody to kill: no supervisor before the first task, none after the last.
func (s *siege) strike(p *process, what string) (killed time.Time, ok bool) {
	s.g.t.Helper()
	var victims []int
	if what != driver {
		victims = s.g.processes("\x00supervise\x00")
	}
	if what != supervisor {
		victims = append(victims, p.cmd.Process.Pid)
	}
	for _, pid := range victims {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			s.g.t.Fatalf("kill %d: %v", pid, err)
		}
	}
	killed = time.Now()
	if what != supervisor {
		<-p.done
	}
	return killed, len(victims) > 0
}

// gap is the time from a kill to the next line in the ledger, and to the next begin: proof that the run went on.
func (s *siege) gap(killed time.Time) string {
	s.g.t.Helper()
	var line, begin time.Duration
	for _, l := range s.g.lines() {
		after := time.Unix(0, l.At).Sub(killed)
		if after > 0 && line == 0 {
			line = after
		}
		if after > 0 && l.Event == ledger.Begin && begin == 0 {
			begin = after
		}
	}
	switch {
	case line == 0:
		return "nothing was left to do"
	case begin == 0:
		return fmt.Sprintf("next line after %s, nothing was left to begin", brief(line))
	}
	return fmt.Sprintf("next line after %s, next begin after %s", brief(line), brief(begin))
}

// writes waits until the ledger has so many lines, and is false if the process ends before.
func (s *siege) writes(p *process, lines int) bool {
	s.g.t.Helper()
	for len(s.g.lines()) < lines {
		if !p.runsFor(10 * time.Millisecond) {
			return false
		}
	}
	return true
}

// runsFor waits for a time, and is false if the process ends before.
func (p *process) runsFor(d time.Duration) bool {
	p.g.t.Helper()
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.done:
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// pause lets time pass in which nobody drives the run.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func brief(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// siege plays one run of the thirty tasks.
func (g *ground) siege(kind string) *siege {
	g.t.Helper()
	p := g.thirty()
	return &siege{g: g, kind: kind, plan: p, file: p.file()}
}

// check judges the round and prints it.
func (s *siege) check(run *ledger.Run) {
	s.g.t.Helper()
	s.g.t.Logf("%s\n%s", run.ID, strings.Join(s.report, "\n"))
	s.g.judge(run, s.plan.expect)
	s.g.nothingLeft()
	if shown := s.g.call(0, "runs", "show", "-json", run.ID).stdout(); shown != s.stdout {
		s.g.t.Errorf("the run was printed as\n%s\nand is shown as\n%s", s.stdout, shown)
	}
}

// lengths holds how many lines a run of each kind leaves in the ledger that nobody kills.
var lengths = struct {
	mu    sync.Mutex // guards lines, and is held while they are counted
	lines map[string]int
}{lines: map[string]int{}}

// length counts the lines of a run that nobody kills, once: the moments of kills are drawn over them. How long a run takes
// depends on what else the machine does; how far it is does not.
func length(t *testing.T, kind string, env ...string) int {
	t.Helper()
	lengths.mu.Lock()
	defer lengths.mu.Unlock()
	if lines := lengths.lines[kind]; lines > 0 {
		return lines
	}
	s := newGround(t, env...).siege(kind)
	s.check(s.play(nil))
	lengths.lines[kind] = len(s.g.lines())
	return lengths.lines[kind]
}

// draw chooses the blows of a round: one in the first half of the run, so that there is something to hit, the others
// anywhere from its start to its end.
func draw(r *rand.Rand, number, lines int, what ...string) []blow {
	blows := make([]blow, number)
	for i := range blows {
		at := r.IntN(lines + 1)
		if i == 0 {
			at = 1 + r.IntN(lines/2)
		}
		blows[i] = blow{lines: at, later: time.Duration(r.Int64N(int64(300 * time.Millisecond))), what: what[r.IntN(len(what))]}
		if r.IntN(2) == 0 { // else at once
			blows[i].resumed = time.Duration(r.Int64N(int64(1500 * time.Millisecond)))
		}
	}
	slices.SortFunc(blows, func(a, b blow) int { return a.lines - b.lines })
	return blows
}

// besiege plays rounds of a kind and prints how many kills there were.
func besiege(t *testing.T, kind string, lost bool, kills int, what []string, env ...string) {
	lines := length(t, kind, env...)
	t.Logf("an undisturbed run leaves %d lines", lines)
	landed := 0
	for n := range rounds(t) {
		t.Run(fmt.Sprintf("round %d", n+1), func(t *testing.T) {
			s := newGround(t, env...).siege(kind)
			s.plan.expect.Lost, s.plan.expect.Severed = lost, slices.ContainsFunc(what, func(w string) bool { return w != supervisor })
			run := s.play(draw(chance(t, n+1), kills, lines, what...))
			s.check(run)
			if len(s.struck) == 0 {
				t.Error("no kill landed")
			}
			landed += len(s.struck)
		})
	}
	t.Logf("%d rounds, %d kills landed", rounds(t), landed)
}

func TestALocalRunSurvivesTheKillOfItsProcess(t *testing.T) {
	t.Parallel()
	besiege(t, "local", false, 3, []string{driver})
}

// The children of a killed supervisor are killed by the kernel: their attempts are lost, and appear at most once.
func TestALocalRunSurvivesTheKillOfItsSupervisor(t *testing.T) {
	t.Parallel()
	besiege(t, "local", true, 2, []string{supervisor})
}

func TestALocalRunSurvivesTheKillOfBoth(t *testing.T) {
	t.Parallel()
	besiege(t, "local", true, 2, []string{both})
}

func TestALocalRunSurvivesKillsOfEveryKind(t *testing.T) {
	t.Parallel()
	besiege(t, "local", true, 3, []string{driver, supervisor, both})
}

func TestANomadRunSurvivesTheKillOfItsProcess(t *testing.T) {
	t.Parallel()
	address := cluster.Nomad(t).Address()
	besiege(t, "nomad", false, 3, []string{driver}, "NOMAD_ADDR="+address)
}
