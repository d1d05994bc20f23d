// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// requestPatience bounds a write to a supervisor that does not read.
	requestPatience = 10 * time.Second
	// helloPatience bounds the start of a supervisor; it may have to end what a killed one left (leftoverPatience).
	helloPatience = leftoverPatience + 10*time.Second
	// connectRetry is the first pause between tries to reach or start a supervisor, doubled up to connectRetryMax.
	connectRetry    = 10 * time.Millisecond
	connectRetryMax = time.Second
	connectTries    = 8 // 1.3 s in all; the caller comes again
)

// link is a connection to the supervisor. It ends for good; the executor then makes another.
type link struct {
	lines *lines
	gone  chan struct{} // closed when nothing more comes in

	// writing lets one request out at a time. It is not mu: answers must come in while a request waits to go out, or both
	// ends wait for each other.
	writing sync.Mutex

	// mu guards what follows.
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan reply
}

var errLinkLost = errors.New("the connection to the supervisor was lost")

// newLink says hello on the connection, with the variables that most attempts have, and hands news of attempts to tell until the connection ends.
func newLink(ctx context.Context, conn net.Conn, env []string, wg *sync.WaitGroup, tell func(reply)) (*link, error) {
	l := &link{lines: newLines(conn), gone: make(chan struct{}), waiting: map[uint64]chan reply{}}
	l.lines.env = env
	wg.Go(func() { l.receive(tell) })
	ctx, cancel := context.WithTimeout(ctx, helloPatience)
	defer cancel()
	hello, err := l.ask(ctx, request{Kind: requestHello, Version: wireVersion, Env: env})
	switch {
	case err != nil:
	case hello.Trouble != "":
		err = fmt.Errorf("%s; let its tasks end, or kill it, and resume the run", hello.Trouble)
	case hello.Version != wireVersion:
		err = fmt.Errorf("the supervisor (pid %d) speaks version %d, not %d; let its tasks end, or kill it, and resume the run",
			hello.PID, hello.Version, wireVersion)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *link) close() { l.lines.conn.Close() }

func (l *link) lost() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

func (l *link) receive(tell func(reply)) {
	defer close(l.gone)
	defer l.close()
	for {
		var r reply
		if err := l.lines.read(&r); err != nil {
			return
		}
		if r.Number == 0 {
			tell(r)
			continue
		}
		l.mu.Lock()
		c := l.waiting[r.Number]
		delete(l.waiting, r.Number)
		l.mu.Unlock()
		if c != nil {
			c <- r // has room for its one answer
		}
	}
}

// ask sends a request and waits for its answer. errLinkLost: whether it was carried out is not known.
func (l *link) ask(ctx context.Context, r request) (reply, error) {
	if r.Spec != nil {
		packed := *r.Spec
		packed.packEnv(l.lines.env)
		r.Spec = &packed
	}
	c := make(chan reply, 1)
	l.mu.Lock()
	l.next++
	r.Number = l.next
	l.waiting[r.Number] = c
	l.mu.Unlock()
	defer l.forget(r.Number)
	l.writing.Lock()
	err := l.lines.write(r, requestPatience)
	l.writing.Unlock()
	if errors.Is(err, errTooLong) {
		return reply{}, err
	}
	if err != nil {
		l.close()
		return reply{}, errLinkLost
	}
	select {
	case answer := <-c:
		return answer, nil
	case <-l.gone:
		select {
		case answer := <-c:
			return answer, nil
		default:
			return reply{}, errLinkLost
		}
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
}

func (l *link) forget(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, number)
}

// connect returns the living link, or reaches the run's supervisor, or starts one.
func (e *Executor) connect(ctx context.Context) (*link, error) {
	select {
	case e.connecting <- struct{}{}:
		defer func() { <-e.connecting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e.mu.Lock()
	l, closed := e.link, e.closed
	e.mu.Unlock()
	if closed {
		return nil, errors.New("the executor is closed")
	}
	if l != nil && !l.lost() {
		return l, nil
	}
	pause := connectRetry
	for try := 1; ; try++ {
		l, err := e.reach(ctx)
		if err == nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.closed {
				l.close()
				return nil, errors.New("the executor is closed")
			}
			e.link = l
			return l, nil
		}
		// One that ends at once may have met another that is just leaving.
		if !errors.Is(err, errLinkLost) || try == connectTries {
			return nil, fmt.Errorf("start the run's supervisor: %w%s", err, e.complaint())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(pause):
		}
		pause = min(2*pause, connectRetryMax)
	}
}

// reach tries once: the supervisor that lives, else a new one.
func (e *Executor) reach(ctx context.Context) (*link, error) {
	var conn net.Conn
	err := withSocketPath(e.dir, func(path string) (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "unix", path)
		return err
	})
	if err == nil {
		if l, err := newLink(ctx, conn, e.host.list(), &e.wg, e.observeReply); err == nil || !errors.Is(err, errLinkLost) {
			return l, err
		}
	}
	if conn, err = e.spawn(); err != nil {
		return nil, err
	}
	return newLink(ctx, conn, e.host.list(), &e.wg, e.observeReply)
}

// spawn starts a supervisor in a session of its own and returns the connection to it. It reaps an earlier one.
func (e *Executor) spawn() (net.Conn, error) {
	e.reapSupervisor()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "supervisor"), os.NewFile(uintptr(fds[1]), "supervisor's end")
	defer ours.Close()
	defer theirs.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	log, err := os.OpenFile(filepath.Join(e.dir, supervisorLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	argv := append(append([]string{}, e.command...), e.dir)
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{null.Fd(), log.Fd(), log.Fd(), theirs.Fd()}, // the last is firstConnection
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start %s: %w", strings.Join(argv, " "), err)
	}
	e.supervisor = pid
	return conn, nil
}

// reapSupervisor removes the zombie of a supervisor that this process started and that has ended.
func (e *Executor) reapSupervisor() {
	if e.supervisor == 0 {
		return
	}
	var ws syscall.WaitStatus
	if pid, err := syscall.Wait4(e.supervisor, &ws, syscall.WNOHANG, nil); pid != 0 || err != nil {
		e.supervisor = 0
	}
}

// complaint is the last line of the supervisor's log, for an error message.
func (e *Executor) complaint() string {
	b, err := os.ReadFile(filepath.Join(e.dir, supervisorLog))
	text := strings.TrimSpace(string(b))
	if err != nil || text == "" {
		return ""
	}
	return fmt.Sprintf(" (%s ends with %q)", supervisorLog, text[strings.LastIndexByte(text, '\n')+1:])
}
