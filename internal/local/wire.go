// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// The run's process and its supervisor exchange JSON lines over a unix socket. The process asks (hello first), the
// supervisor answers each request once, with its number, and tells by itself (number 0) how attempts go on.

// wireVersion is the version of the protocol; the two sides may come from different releases of cairn.
const wireVersion = 2

// maxLine bounds one line: a task's arguments and environment (at most 6 MiB on Linux) and its literal templates.
const maxLine = 32 << 20

type requestKind string

const (
	requestHello requestKind = "hello"
	// requestStart starts an attempt, unless it is known: then it is like requestAttach.
	requestStart requestKind = "start"
	// requestAttach asks how an attempt is.
	requestAttach requestKind = "attach"
	// requestKill ends an attempt, or bars it when it is not known.
	requestKill requestKind = "kill"
)

type request struct {
	Kind     requestKind        `json:"kind"`
	Number   uint64             `json:"number"`
	Version  int                `json:"version,omitempty"` // hello
	Env      []string           `json:"env,omitempty"`     // hello: variables of most attempts, so that a start holds the rest
	Attempt  workflow.AttemptID `json:"attempt,omitempty"`
	IntentAt workflow.Time      `json:"intent_at,omitempty"` // start
	Spec     *spec              `json:"spec,omitempty"`      // start
}

type reply struct {
	Number  uint64             `json:"number,omitempty"` // of the request; 0 = news
	Version int                `json:"version,omitempty"`
	PID     int                `json:"pid,omitempty"` // of the supervisor, in its hello
	Attempt workflow.AttemptID `json:"attempt,omitempty"`
	State   attemptState       `json:"state"`
	// Trouble says why nothing was done; the request may be repeated.
	Trouble string `json:"trouble,omitempty"`
}

type phase string

const (
	phaseUnknown phase = ""
	phaseRunning phase = "running"
	phaseEnded   phase = "ended"
)

// attemptState is how an attempt is.
//
//	unknown ─▶ running ─▶ ended
//	   └──────────────────▶ (barred, could not be started)
type attemptState struct {
	Phase     phase              `json:"phase,omitempty"`
	PID       int                `json:"pid,omitempty"`
	StartedAt workflow.Time      `json:"started_at,omitempty"`
	EndedAt   workflow.Time      `json:"ended_at,omitempty"`
	Kind      engine.OutcomeKind `json:"kind,omitempty"` // ended
	ExitCode  *int               `json:"exit_code,omitempty"`
	Signal    int                `json:"signal,omitempty"`
	Message   string             `json:"message,omitempty"`
}

// packEnv puts what differs from the variables of the hello in the place of the whole. Both are sorted.
func (s *spec) packEnv(common []string) {
	all := s.Env
	s.Env, s.Without = nil, nil
	for len(all) > 0 || len(common) > 0 {
		switch {
		case len(common) == 0 || len(all) > 0 && all[0] < common[0]:
			s.Env, all = append(s.Env, all[0]), all[1:]
		case len(all) == 0 || common[0] < all[0]:
			s.Without, common = append(s.Without, common[0]), common[1:]
		default:
			all, common = all[1:], common[1:]
		}
	}
}

// unpackEnv is the inverse of packEnv, up to the order.
func (s *spec) unpackEnv(common []string) {
	without := s.Without
	for _, kv := range common {
		if len(without) > 0 && without[0] == kv {
			without = without[1:]
			continue
		}
		s.Env = append(s.Env, kv)
	}
	s.Without = nil
}

// errTooLong: the line was not sent; the connection is as before.
var errTooLong = errors.New("message too long")

// lines reads and writes the lines of one connection.
type lines struct {
	conn net.Conn
	in   *bufio.Reader
	env  []string // sorted; of the hello, the same on both sides
}

func newLines(conn net.Conn) *lines {
	return &lines{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
}

// read decodes the next line into to.
func (l *lines) read(to any) error {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return fmt.Errorf("a line of more than %d bytes", maxLine)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(line, to)
	}
}

// more reports whether a whole line can be read without waiting.
func (l *lines) more() bool {
	here, _ := l.in.Peek(l.in.Buffered()) // what is buffered can be had
	return bytes.IndexByte(here, '\n') >= 0
}

// write sends one line; a peer that does not read for the time of patience loses the connection.
func (l *lines) write(v any, patience time.Duration) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) >= maxLine {
		return fmt.Errorf("%w: %d bytes, at most %d", errTooLong, len(b), maxLine)
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = l.conn.Write(append(b, '\n'))
	return err
}

const socketFile = "supervisor.sock"

// withSocketPath calls do with a path to the run folder's socket that fits the 108 bytes a unix address has.
func withSocketPath(dir string, do func(path string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return do(filepath.Join("/proc/self/fd", strconv.Itoa(int(d.Fd())), socketFile))
}

// isClosed tells the ends of a connection that are no news.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF)
}
