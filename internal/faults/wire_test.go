// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wire is a connection of servers to an agent, through which everything takes a while longer.
type wire struct {
	to       string // host:port
	listener net.Listener
	delay    atomic.Int64 // nanoseconds, each way
	group    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	open   map[net.Conn]bool
	closed bool
}

// newWire listens at an address of its own for what is to go to an address.
func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{to: strings.TrimPrefix(to, "http://"), listener: l, open: map[net.Conn]bool{}}
	w.group.Go(w.accept)
	t.Cleanup(func() {
		w.mu.Lock()
		w.closed = true
		for c := range w.open {
			_ = c.Close() // whatever it was about is over
		}
		w.mu.Unlock()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		w.group.Wait()
	})
	return w
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil || !w.keep(near, far) {
			_ = near.Close() // the server sees that nobody is there
			continue
		}
		w.group.Go(func() { w.carry(near, far) })
		w.group.Go(func() { w.carry(far, near) })
	}
}

// keep notes the two ends of a connection; it is false when the wire is closed.
func (w *wire) keep(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range ends {
		if w.closed {
			_ = c.Close()
		} else {
			w.open[c] = true
		}
	}
	return !w.closed
}

// parcel is what was read at once, and when it is due.
type parcel struct {
	bytes []byte
	due   time.Time
}

// carry takes what comes from one end to the other until one of them is closed. What is on its way is bounded; whoever sends
// more waits.
func (w *wire) carry(from, to net.Conn) {
	parcels := make(chan parcel, 64)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		broken := false
		for p := range parcels {
			if broken {
				continue
			}
			<-time.After(time.Until(p.due)) // a wire that is closed delivers what it has taken
			if _, err := to.Write(p.bytes); err != nil {
				broken = true
				_ = from.Close()
			}
		}
	})
	for {
		b := make([]byte, 32<<10)
		n, err := from.Read(b)
		if n > 0 {
			parcels <- parcel{b[:n], time.Now().Add(time.Duration(w.delay.Load()))}
		}
		if err != nil {
			break
		}
	}
	close(parcels)
	delivery.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range []net.Conn{from, to} {
		_ = c.Close() // the other direction may have done so
		delete(w.open, c)
	}
}

func TestAWireDelaysBothWays(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var echo sync.WaitGroup
	echo.Go(func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if _, err := io.Copy(c, c); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	w := newWire(t, l.Addr().String())
	c, err := net.Dial("tcp", w.address())
	if err != nil {
		t.Fatal(err)
	}
	const delay = 150 * time.Millisecond
	for _, want := range []time.Duration{0, 2 * delay} {
		w.delay.Store(int64(want / 2))
		sent := time.Now()
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 5)
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "hello" {
			t.Fatalf("%q, %v", answer, err)
		}
		if took := time.Since(sent); took < want {
			t.Errorf("there and back took %s, want %s at least", took, want)
		}
	}
	if err := errors.Join(c.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	echo.Wait()
}
