// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// cancelled makes what a plan expects of a run that is stopped while a task runs: the task is cancelled, what comes after
// it never runs, the finally task does.
func (p *plan) cancelled(names ...string) {
	p.expect.Status = "cancelled"
	for _, name := range names {
		p.expect.Tasks[name] = "cancelled"
	}
}

// stoppable is a task that never ends, one after it, and a finally task.
func (g *ground) stoppable(work, other, last string) *plan {
	p := g.newPlan("stoppable")
	p.task(spec{name: "long", work: work, other: other})
	p.task(spec{name: "after", after: []string{"long"}, silent: true})
	p.task(spec{name: "bye", kind: "finally", work: last})
	p.cancelled("long", "after")
	return p
}

// interrupt sends SIGINT to the process group, as a terminal does.
func (p *process) interrupt() {
	p.g.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT); err != nil {
		p.g.t.Fatalf("interrupt: %v", err)
	}
}

func TestCtrlCOnceStopsTheRun(t *testing.T) {
	onBoth(t, func(t *testing.T, kind string, env ...string) {
		g := newGround(t, env...)
		p := g.stoppable("-for 1h", "", "-for 200ms")
		run := g.start("run", "-"+kind, "-json", p.file())
		g.begun("long")
		run.interrupt()
		run.wants(3)
		contains(t, run.stderr(), "Ctrl-C: stopping the run. What runs is cancelled, finally tasks run. Once more terminates it.")
		g.judge(run.document(), p.expect)
		if got := attempt(t, run.document(), "bye").Verdict; got != "succeeded" {
			t.Errorf("the finally task is %q, want succeeded", got)
		}
		g.nothingLeft()
	})
}

func TestCtrlCTwiceTerminatesTheRun(t *testing.T) {
	onBoth(t, func(t *testing.T, kind string, env ...string) {
		g := newGround(t, env...)
		p := g.stoppable("-for 1h", "", "-for 1h")
		p.cancelled("bye")
		run := g.start("run", "-"+kind, "-json", p.file())
		g.begun("long")
		run.interrupt()
		g.begun("bye")
		run.interrupt()
		run.wants(3)
		contains(t, run.stderr(), "Ctrl-C: terminating the run, finally tasks too. Once more leaves it as it is.")
		g.judge(run.document(), p.expect)
		g.nothingLeft()
	})
}

// A third Ctrl-C leaves the run as it is: what runs goes on, and -resume takes it up.
func TestCtrlCThriceLeavesTheRun(t *testing.T) {
	onBoth(t, func(t *testing.T, kind string, env ...string) {
		g := newGround(t, env...)
		p := g.stoppable("-for 1h -ignore-term", `kill_timeout = "3s"`, "-for 1h")
		p.expect.Tasks["bye"], p.expect.Silent = "cancelled", append(p.expect.Silent, "bye")
		run := g.start("run", "-"+kind, "-json", p.file())
		id := g.begun("long").Run
		// One after the other: the kernel makes one signal of several that nobody has taken yet.
		run.interrupt()
		run.says("Ctrl-C: stopping the run.")
		run.interrupt()
		run.says("Ctrl-C: terminating the run, finally tasks too. Once more leaves it as it is.")
		run.interrupt()
		run.wants(6)
		contains(t, run.stderr(), "Run "+id+" is left as it is", "Continue: cairn run -"+kind+" -resume "+id)
		run = g.call(3, "run", "-"+kind, "-json", "-resume", id)
		g.judge(run.document(), p.expect)
		over := g.call(3, "run", "-"+kind, "-resume", id)
		contains(t, over.stderr(), "Run "+id+" is over: there is nothing to resume.")
		g.nothingLeft()
	})
}

func TestSIGTERMStopsTheRun(t *testing.T) {
	g := newGround(t)
	p := g.stoppable("-for 1h", "", "-for 200ms")
	run := g.start("run", "-local", "-json", p.file())
	g.begun("long")
	run.signal(syscall.SIGTERM)
	run.wants(3)
	contains(t, run.stderr(), "SIGTERM: stopping the run.")
	g.judge(run.document(), p.expect)
	g.nothingLeft()
}

// terminal is a pseudo-terminal, the only way to press a real Ctrl-C.
type terminal struct {
	master, slave *os.File

	mu    sync.Mutex // guards shown
	shown bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	var number int
	err = control(master, func(fd int) (err error) {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		if number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
			return err
		}
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100})
	})
	if err != nil {
		t.Fatalf("open a terminal: %v", err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return &terminal{master: master, slave: slave}
}

func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// run starts a command on the terminal and collects what it shows.
func (x *terminal) run(g *ground, args ...string) *process {
	g.t.Helper()
	cmd := exec.Command(g.cairn, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = x.slave, x.slave, x.slave
	cmd.Env = append(clean(os.Environ()), append(g.env, "TERM=xterm")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p := g.launch(cmd)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Ends when the terminal is closed.
		_, _ = io.Copy(x, x.master)
	}()
	g.t.Cleanup(func() {
		x.slave.Close()
		x.master.Close()
		<-done
	})
	return p
}

func (x *terminal) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.shown.Write(b)
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.shown.String()
}

func TestCtrlCInATerminalStopsTheRun(t *testing.T) {
	g, x := newGround(t), newTerminal(t)
	p := g.stoppable("-for 1h", "", "-until "+filepath.Join(g.dir, "bye"))
	run := x.run(g, "run", "-local", p.file())
	g.begun("long")
	if _, err := x.master.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	g.begun("bye")
	g.await("the terminal to say what happens", soon(), func() bool {
		return strings.Contains(x.text(), "Ctrl-C: stopping the run.")
	})
	g.write("bye", "")
	run.wants(3)
	id := g.runID()
	g.await("the terminal to say how it ended", soon(), func() bool {
		return strings.Contains(x.text(), "Run "+id+" of stoppable ") && strings.Contains(x.text(), "cancelled")
	})
	g.judge(g.call(0, "runs", "show", "-json", id).document(), p.expect)
	g.nothingLeft()
}

func TestATaskThatIgnoresSIGTERMIsKilled(t *testing.T) {
	g := newGround(t)
	p := g.stoppable("-for 1h -ignore-term", `kill_timeout = "400ms"`, "-for 10ms")
	run := g.start("run", "-local", "-json", p.file())
	began := g.begun("long")
	stopped := time.Now()
	g.call(0, "runs", "stop", began.Run)
	g.await("the end of the task", soon(), func() bool { return !ledger.Alive(began.PID) })
	took := time.Since(stopped)
	run.wants(3)
	t.Logf("gone %s after the stop, with a kill_timeout of 400ms", brief(took))
	if took < 400*time.Millisecond || took > 10*time.Second {
		t.Errorf("gone %s after the stop, want at least the kill_timeout of 400ms and little more", took)
	}
	g.judge(run.document(), p.expect)
	if got := attempt(t, run.document(), "long"); got.Verdict != "cancelled" || got.Signal != 9 {
		t.Errorf("got %+v, want cancelled by signal 9", got)
	}
	for _, l := range g.lines() {
		if l.Task == "long" && l.Event == ledger.End {
			t.Error("the task ended by itself")
		}
	}
	g.nothingLeft()
}

// daemon waits until a task's child has left it, and returns the child's pid.
func (g *ground) daemon(file string) int {
	g.t.Helper()
	g.await("the daemon to start", soon(), func() bool { _, err := os.Stat(file); return err == nil })
	pid, err := strconv.Atoi(strings.TrimSpace(g.text(file)))
	if err != nil {
		g.t.Fatal(err)
	}
	return pid
}

func TestADaemonDoesNotOutliveItsTask(t *testing.T) {
	for name, work := range map[string]string{
		"a task that ends": "-for 300ms", "a task that is stopped": "-for 1h",
		"a task that ends, bare": "-for 300ms -bare", "a task that is stopped, bare": "-for 1h -bare",
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t)
			file := filepath.Join(g.dir, "daemon")
			p := g.stoppable(work+" -daemon "+file, "", "-for 10ms")
			code := 3
			if !strings.HasPrefix(work, "-for 1h") {
				code, p.expect.Status, p.expect.Silent = 0, "succeeded", nil
				p.expect.Tasks["long"], p.expect.Tasks["after"] = "succeeded", "succeeded"
			}
			run := g.start("run", "-local", "-json", p.file())
			pid := g.daemon(file + ".1")
			if !ledger.Alive(pid) {
				t.Fatal("the daemon does not run")
			}
			if code == 3 {
				run.interrupt()
			}
			run.wants(code)
			if ledger.Alive(pid) {
				t.Errorf("the run has ended, and the daemon %d lives: %s", pid, g.table())
			}
			g.judge(run.document(), p.expect)
			g.nothingLeft()
		})
	}
}

// A supervisor that follows a killed one ends what the tasks left, before it lets another attempt begin.
func TestADaemonDoesNotOutliveItsSupervisor(t *testing.T) {
	g := newGround(t)
	file, gate := filepath.Join(g.dir, "daemon"), filepath.Join(g.dir, "gate")
	p := g.newPlan("daemons")
	p.task(spec{name: "long", work: "-until " + gate + " -daemon " + file})
	p.expect.Lost = true
	run := g.start("run", "-local", "-json", p.file())
	pid := g.daemon(file + ".1")
	for _, supervisor := range g.processes("\x00supervise\x00") {
		if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	g.daemon(file + ".2")
	if ledger.Alive(pid) {
		t.Errorf("the second attempt has begun, and the first one's daemon %d lives: %s", pid, g.table())
	}
	g.write("gate", "")
	run.wants(0)
	g.judge(run.document(), p.expect)
	g.nothingLeft()
}

func TestATaskKilledFromOutsideHasFailed(t *testing.T) {
	g := newGround(t)
	p := g.newPlan("killed")
	p.task(spec{name: "long", work: "-for 1h", ends: "failed"})
	p.expect.Status = "failed"
	run := g.start("run", "-local", "-json", p.file())
	if err := syscall.Kill(g.begun("long").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	run.wants(1)
	if got := attempt(t, run.document(), "long"); got.Verdict != "failed" || got.Signal != 9 {
		t.Errorf("got %+v, want failed by signal 9", got)
	}
	g.judge(run.document(), p.expect)
	g.nothingLeft()
}

func TestOnlyOneProcessDrivesARun(t *testing.T) {
	g := newGround(t)
	gate := filepath.Join(g.dir, "gate")
	p := g.newPlan("twice")
	p.task(spec{name: "long", work: "-until " + gate})
	first := g.start("run", "-local", "-json", p.file())
	id := g.begun("long").Run
	second := g.call(2, "run", "-local", "-resume", id)
	contains(t, second.stderr(), fmt.Sprintf("is driven by process %d", first.cmd.Process.Pid))

	// Of those who come at the same moment, one wins.
	first.signal(syscall.SIGKILL)
	first.code()
	var rivals []*process
	for range 4 {
		rivals = append(rivals, g.start("run", "-local", "-json", "-resume", id))
	}
	won := map[int]int{}
	g.await("all rivals but one to give up", soon(), func() bool {
		over := 0
		for _, r := range rivals {
			select {
			case <-r.done:
				over++
			default:
			}
		}
		return over == len(rivals)-1
	})
	g.write("gate", "")
	var winner *process
	for _, r := range rivals {
		if code := r.code(); code == 0 {
			winner = r
			won[code]++
		} else {
			won[code]++
			t.Logf("a rival said: %s", strings.TrimSpace(r.stderr()))
		}
	}
	if won[0] != 1 || won[2] != len(rivals)-1 {
		t.Fatalf("exit codes and how often: %v; want one 0 and the rest 2", won)
	}
	g.judge(winner.document(), p.expect)
	g.nothingLeft()
}
