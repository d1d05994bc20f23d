// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

const (
	supervisorLock = "supervisor.lock"
	supervisorLog  = "supervisor.log"
	attemptsDir    = "attempts"

	// firstConnection is the file descriptor on which a supervisor finds the connection to the process that started it.
	firstConnection = 3

	// replyPatience is how long a process that does not read may hold up the supervisor before it loses its connection; it
	// finds everything again when it comes back.
	replyPatience = 3 * time.Second
	// sweepAgain is how often the process table is read while something of an ended attempt is still dying.
	sweepAgain = 20 * time.Millisecond
)

// Supervise is the body of the hidden command `cairn supervise DIR`: it runs the attempts of the run folder DIR as its
// children until the process that schedules the run has gone and no child lives. Ending ctx kills what runs.
//
// One goroutine owns all state: starts, ends and kills have one order.
func Supervise(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("supervise: want one argument, the run folder, got %d", len(args))
	}
	s := &supervisor{
		dir:      filepath.Clean(args[0]),
		attempts: map[workflow.AttemptID]*attempt{},
		byPID:    map[int]*attempt{},
		helpers:  map[int]*attempt{},
		sweeping: map[*attempt]bool{},
		peers:    map[*lines]bool{},
		inbox:    make(chan message),
		forks:    make(chan func(), maxTogether),
		forked:   make(chan struct{}, 1),
		dead:     make(chan struct{}),
		reaped:   make(chan struct{}),
		quit:     make(chan struct{}),
	}
	if err := s.open(); err != nil {
		return fmt.Errorf("supervise %s: %w", s.dir, err)
	}
	defer s.close()
	return s.serve(ctx)
}

// supervisor holds what it knows of the run's attempts. Everything but the channels belongs to the goroutine of serve.
type supervisor struct {
	dir     string
	lock    *os.File
	journal *journal
	stdin   *os.File // the null device, every child's standard input
	boot    bootRecord
	listen  net.Listener

	attempts map[workflow.AttemptID]*attempt
	byPID    map[int]*attempt  // main processes that are not reaped
	helpers  map[int]*attempt  // cleanup commands
	sweeping map[*attempt]bool // attempts whose main process is gone and whose remains may not be
	peers    map[*lines]bool
	leaving  bool // ctx has ended: no new connections

	inbox  chan message  // from the connections
	forks  chan func()   // to the forkers
	forked chan struct{} // to waitChildren: there is a child now
	dead   chan struct{} // from waitChildren: a child has ended
	reaped chan struct{} // to waitChildren: all ended ones are reaped
	quit   chan struct{} // closed when serve returns
	wg     sync.WaitGroup
}

// attempt is one attempt that this supervisor has claimed or found.
type attempt struct {
	id      workflow.AttemptID
	state   attemptState
	spec    *spec
	status  syscall.WaitStatus // of the main process, when sweeping
	swept   bool               // the main process is reaped; its remains are looked for, or gone
	cleaned bool               // the cleanup command has run, or none is needed
	endAs   engine.OutcomeKind // set while it is being ended: how that will read
	killAt  time.Time          // when the graceful end is over; zero = not being ended, or over
}

func (a *attempt) live() bool { return a.state.Phase == phaseRunning }

// message is something a connection has to say.
type message struct {
	peer   *lines
	opened bool
	// requests that came in together, at most maxTogether.
	requests []request
	err      error // the connection has ended, after them
}

// open takes the folder into possession: the lock, the journal, what a killed predecessor left behind, the socket.
func (s *supervisor) open() (err error) {
	if s.lock, err = tryLock(filepath.Join(s.dir, supervisorLock)); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() {
		if err != nil {
			s.lock.Close()
		}
	}()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	if err := writePID(s.lock); err != nil {
		return err
	}
	if s.boot, err = readBoot(s.dir); err != nil {
		return err
	}
	if s.stdin, err = os.Open(os.DevNull); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, attemptsDir), 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	j, records, damaged, err := openJournal(s.dir)
	if err != nil {
		return err
	}
	s.journal = j
	if damaged > 0 {
		fmt.Fprintf(os.Stderr, "supervise: %d damaged lines in the journal of %s; their attempts count as lost\n", damaged, s.dir)
	}
	if err := s.recover(records); err != nil {
		return err
	}
	return withSocketPath(s.dir, func(path string) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		old := unix.Umask(0o177)
		defer unix.Umask(old)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err == nil {
			l.SetUnlinkOnClose(false) // it would use the path, which leads through a descriptor that is closed by then
			s.listen = l
		}
		return err
	})
}

func (s *supervisor) close() {
	close(s.quit)
	s.listen.Close()
	if err := os.Remove(filepath.Join(s.dir, socketFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "supervise: %v\n", err)
	}
	for p := range s.peers {
		p.conn.Close()
	}
	close(s.forks)
	s.wg.Wait()
	if err := errors.Join(s.journal.f.Close(), s.stdin.Close(), s.lock.Close()); err != nil {
		fmt.Fprintf(os.Stderr, "supervise: %v\n", err)
	}
}

// serve is the loop that owns everything.
func (s *supervisor) serve(ctx context.Context) error {
	runtime.GOMAXPROCS(forkers) // what else is done here is little, and more processors would look for more of it
	for range forkers {
		s.wg.Go(s.forkForAll)
	}
	s.wg.Go(s.waitChildren)
	s.wg.Go(s.accept)
	if peer := firstPeer(); peer != nil {
		s.peers[peer] = true
		s.wg.Go(func() { s.receive(peer) })
	}
	stop := ctx.Done()
	for {
		if len(s.peers) == 0 && s.living() == 0 {
			return s.journal.flush()
		}
		var timer <-chan time.Time
		if wait, ok := s.next(); ok {
			timer = time.After(wait)
		}
		select {
		case m := <-s.inbox:
			s.receiveMessage(m)
		case <-s.dead:
			s.reapAll()
			s.reaped <- struct{}{}
		case <-timer:
			s.tick()
		case <-stop:
			stop, s.leaving = nil, true
			for _, a := range s.attempts {
				if a.live() {
					s.beginKill(a, engine.OutcomeInterrupted) // somebody else's wish, not the run's
				}
			}
			for p := range s.peers {
				s.drop(p)
			}
		}
	}
}

// forkers is how many processes are forked at a time. The fork of one waits until the new program is loaded, which for a
// short task is the longest part of its life.
const forkers = 2

// forkForAll forks, on a thread that lives as long as this process: the kernel kills a child when the thread that forked it
// ends, so that none outlives a supervisor that was killed.
func (s *supervisor) forkForAll() {
	runtime.LockOSThread() // never unlocked
	for f := range s.forks {
		f()
	}
}

// onForker does something on the thread of a forker. The caller waits for done.
func (s *supervisor) onForker(done *sync.WaitGroup, f func()) {
	done.Add(1)
	s.forks <- func() {
		defer done.Done()
		f()
	}
}

// maxTogether bounds the requests that are carried out together, and with it how long the first of them waits for its answer.
const maxTogether = 16

// startTogether carries out starts, and answers each.
func (s *supervisor) startTogether(peer *lines, starts []request) {
	errs := make([]error, len(starts))
	ready := make([]func(), len(starts))
	var forked sync.WaitGroup
	for i, r := range starts {
		if s.attempts[r.Attempt] == nil {
			ready[i], errs[i] = s.start(&forked, peer, r)
		}
	}
	forked.Wait()
	for _, finish := range ready {
		if finish != nil {
			finish()
		}
	}
	for i, r := range starts {
		s.answer(peer, s.replyTo(r, errs[i]))
	}
}

// firstPeer is the process that started this one, nil when the descriptor is no socket.
func firstPeer() *lines {
	var st unix.Stat_t
	if err := unix.Fstat(firstConnection, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil
	}
	f := os.NewFile(firstConnection, "first connection")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil
	}
	return newLines(conn)
}

// living counts attempts that are not over.
func (s *supervisor) living() int { return len(s.byPID) + len(s.sweeping) }

// next says when tick has something to do.
func (s *supervisor) next() (time.Duration, bool) {
	var at time.Time
	for _, a := range s.byPID {
		if !a.killAt.IsZero() && (at.IsZero() || a.killAt.Before(at)) {
			at = a.killAt
		}
	}
	switch {
	case len(s.sweeping) > 0 && (at.IsZero() || time.Until(at) > sweepAgain):
		return sweepAgain, true
	case at.IsZero():
		return 0, false
	}
	return max(time.Until(at), 0), true
}

func (s *supervisor) tick() {
	now := time.Now()
	for pid, a := range s.byPID {
		if !a.killAt.IsZero() && !a.killAt.After(now) {
			a.killAt = time.Time{}
			s.signal(a, pid, syscall.SIGKILL)
		}
	}
	s.sweep()
}

// waitChildren says when a child has ended; the loop reaps.
func (s *supervisor) waitChildren() {
	for {
		select {
		case <-s.forked:
		case <-s.quit:
			return
		}
		for {
			if _, err := endedChild(true); err != nil {
				break // ECHILD: wait for the next fork
			}
			select {
			case s.dead <- struct{}{}:
			case <-s.quit:
				return
			}
			select {
			case <-s.reaped:
			case <-s.quit:
				return
			}
		}
	}
}

func (s *supervisor) noteFork() {
	select {
	case s.forked <- struct{}{}:
	default: // it is told already
	}
}

// accept takes connections of later processes.
func (s *supervisor) accept() {
	for {
		conn, err := s.listen.Accept()
		if err != nil {
			return // closed
		}
		peer := newLines(conn)
		if !s.send(message{peer: peer, opened: true}) {
			conn.Close()
			return
		}
		s.wg.Go(func() { s.receive(peer) })
	}
}

func (s *supervisor) receive(peer *lines) {
	for {
		m := message{peer: peer}
		for more := true; more && m.err == nil && len(m.requests) < maxTogether; more = peer.more() {
			var r request
			if m.err = peer.read(&r); m.err == nil {
				m.requests = append(m.requests, r)
			}
		}
		if !s.send(m) || m.err != nil {
			return
		}
	}
}

func (s *supervisor) send(m message) bool {
	select {
	case s.inbox <- m:
		return true
	case <-s.quit:
		return false
	}
}

func (s *supervisor) receiveMessage(m message) {
	if m.opened {
		if s.leaving {
			m.peer.conn.Close() // it comes again, and finds a supervisor that does not leave
		} else {
			s.peers[m.peer] = true
		}
		return
	}
	for rest := m.requests; len(rest) > 0 && s.peers[m.peer]; {
		starts := 0
		for starts < len(rest) && rest[starts].Kind == requestStart {
			starts++
		}
		if starts > 0 {
			s.startTogether(m.peer, rest[:starts])
			rest = rest[starts:]
			continue
		}
		s.answer(m.peer, s.carryOut(m.peer, rest[0]))
		rest = rest[1:]
	}
	if m.err != nil {
		if !isClosed(m.err) && s.peers[m.peer] {
			fmt.Fprintf(os.Stderr, "supervise: connection: %v\n", m.err)
		}
		s.drop(m.peer)
	}
}

func (s *supervisor) drop(peer *lines) {
	delete(s.peers, peer)
	peer.conn.Close()
}

func (s *supervisor) answer(peer *lines, r reply) {
	if err := peer.write(r, replyPatience); err != nil {
		s.drop(peer)
	}
}

// tell sends news of an attempt to everybody.
func (s *supervisor) tell(a *attempt) {
	for p := range s.peers {
		s.answer(p, reply{Attempt: a.id, State: a.state})
	}
}

func (s *supervisor) carryOut(peer *lines, r request) reply {
	var err error
	switch r.Kind {
	case requestHello:
		out := reply{Number: r.Number}
		out.Version, out.PID, peer.env = wireVersion, os.Getpid(), r.Env
		if r.Version != wireVersion {
			out.Trouble = fmt.Sprintf("the supervisor (pid %d) speaks version %d, not %d", os.Getpid(), wireVersion, r.Version)
		}
		return out
	case requestAttach:
	case requestKill:
		if a, ok := s.attempts[r.Attempt]; !ok {
			err = s.bar(r.Attempt)
		} else if a.live() {
			s.beginKill(a, engine.OutcomeKilled)
		}
	default:
		err = fmt.Errorf("unknown request %q", r.Kind)
	}
	return s.replyTo(r, err)
}

// replyTo tells how the attempt of a request is, and why the request was not carried out, if so.
func (s *supervisor) replyTo(r request, err error) reply {
	out := reply{Number: r.Number, Attempt: r.Attempt}
	if err != nil {
		out.Trouble = err.Error()
	}
	if a, ok := s.attempts[r.Attempt]; ok {
		out.State = a.state
	}
	return out
}

// claim makes the attempt's folder: from then on it is never forked again, whoever asks.
func (s *supervisor) claim(id workflow.AttemptID) (*attempt, error) {
	if _, _, _, _, err := id.Parse(); err != nil {
		return nil, err // it becomes a path
	}
	if err := os.Mkdir(s.folder(id), 0o711); err != nil {
		return nil, fmt.Errorf("claim attempt %s: %w", id, err)
	}
	a := &attempt{id: id}
	s.attempts[id] = a
	return a, nil
}

func (s *supervisor) folder(id workflow.AttemptID) string {
	return filepath.Join(s.dir, attemptsDir, string(id))
}

// start claims an attempt that is not known and has it forked; when that is done, finish must be called. An error means that
// it is not claimed.
func (s *supervisor) start(forked *sync.WaitGroup, peer *lines, r request) (finish func(), err error) {
	if r.Spec == nil || r.Spec.Task == "" || strings.ContainsAny(r.Spec.Task, "/\x00") {
		return nil, errors.New("start without a task")
	}
	r.Spec.unpackEnv(peer.env)
	a, err := s.claim(r.Attempt)
	if err != nil {
		return nil, err
	}
	a.spec = r.Spec
	if s.boot.Since > 0 && r.IntentAt < s.boot.Since {
		s.finish(a, attemptState{Kind: engine.OutcomeLost,
			Message: "the machine was restarted after this attempt was recorded; whether it had run is not known"})
		return nil, nil
	}
	s.write(entry{Kind: entryClaim, Attempt: a.id, Markers: a.spec.Markers, Cleanup: a.spec.Cleanup})
	before, pid := bootTicks(), 0
	s.onForker(forked, func() {
		pid, err = fork(attemptFolder{dir: s.folder(a.id), task: a.spec.Task}, a.spec, s.stdin)
	})
	return func() {
		if err != nil {
			s.finish(a, attemptState{Kind: engine.OutcomeError, Message: err.Error()})
			return
		}
		a.state = attemptState{Phase: phaseRunning, PID: pid, StartedAt: workflow.At(time.Now())}
		s.byPID[pid] = a
		s.write(entry{Kind: entryStart, Attempt: a.id, PID: pid, Ticks: before, TicksTo: bootTicks()})
		s.noteFork()
	}, nil
}

// bar ends an attempt that was never started, and so keeps it from being started.
func (s *supervisor) bar(id workflow.AttemptID) error {
	a, err := s.claim(id)
	if err != nil {
		return err
	}
	s.finish(a, attemptState{Kind: engine.OutcomeKilled, Message: "killed before it was started"})
	return nil
}

// finish records the end of an attempt and tells it.
func (s *supervisor) finish(a *attempt, end attemptState) {
	end.Phase, end.EndedAt = phaseEnded, workflow.At(time.Now())
	end.PID, end.StartedAt = a.state.PID, a.state.StartedAt
	a.state, a.spec = end, nil
	s.write(entry{Kind: entryEnd, Attempt: a.id, State: &end})
	s.tell(a)
}

// write appends to the journal. A full disk must not hold up the run: the entry is kept and written with the next.
func (s *supervisor) write(e entry) {
	e.At = workflow.At(time.Now())
	if err := s.journal.append(e); err != nil {
		fmt.Fprintf(os.Stderr, "supervise: attempt %s: %v\n", e.Attempt, err)
	}
}
