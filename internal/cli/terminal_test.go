// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairnflow/cairn/internal/cli"
)

// openPTY opens a pseudo terminal of a size: what a terminal program holds, and what cairn writes to.
func openPTY(t *testing.T, width, height uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width}); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// emulator is as much of a terminal as the live view needs: it keeps every line that was ever printed.
type emulator struct {
	width    int
	rows     [][]rune
	row, col int
	wrapped  int  // lines that were too long
	painted  bool // there was colour
	drawings int  // times the cursor went up
	onText   func(screen string)
}

func (e *emulator) put(r rune) {
	for len(e.rows) <= e.row {
		e.rows = append(e.rows, nil)
	}
	if e.col >= e.width {
		e.wrapped++
	}
	for len(e.rows[e.row]) <= e.col {
		e.rows[e.row] = append(e.rows[e.row], ' ')
	}
	e.rows[e.row][e.col] = r
	e.col++
}

func (e *emulator) text() string {
	var lines []string
	for _, row := range e.rows {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
}

// feed interprets output until its end.
func (e *emulator) feed(t *testing.T, in io.Reader) {
	r := bufio.NewReader(in)
	for {
		c, _, err := r.ReadRune()
		if err != nil {
			return // the last holder of the other side has closed it
		}
		switch c {
		case '\r':
			e.col = 0
		case '\n':
			e.row++
			if e.onText != nil {
				e.onText(e.text())
			}
		case 0x1b:
			e.escape(t, r)
		default:
			e.put(c)
		}
	}
}

func (e *emulator) escape(t *testing.T, r *bufio.Reader) {
	var args strings.Builder
	for {
		c, _, err := r.ReadRune()
		if err != nil {
			return
		}
		switch {
		case c == '[', c >= '0' && c <= '9', c == ';':
			args.WriteRune(c)
			continue
		case c == 'm':
			e.painted = true
		case c == 'A':
			var n int
			if _, err := fmt.Sscanf(args.String(), "[%d", &n); err != nil {
				t.Errorf("cursor up %q", args.String())
			}
			e.row -= n
			e.drawings++
			if e.row < 0 {
				t.Errorf("the cursor went %d rows above the screen", -e.row)
				e.row = 0
			}
		case c == 'K' && e.row < len(e.rows):
			e.rows[e.row] = e.rows[e.row][:min(e.col, len(e.rows[e.row]))]
		case c == 'J' && e.row < len(e.rows):
			e.rows = e.rows[:e.row]
		}
		return
	}
}

// onTerminal runs a command on a terminal.
func (c *console) onTerminal(e *emulator, args ...string) (code int) {
	c.t.Helper()
	master, slave := openPTY(c.t, uint16(e.width), 24)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.feed(c.t, master)
	}()
	app := &cli.App{
		Stdin: strings.NewReader(""), Stdout: slave, Stderr: slave,
		Getenv: func(name string) string { return c.env[name] }, Now: time.Now, Signals: c.signals,
	}
	code = app.Run(args)
	slave.Close()
	<-done
	master.Close()
	return code
}

func TestTheLiveViewIsDrawnInPlace(t *testing.T) {
	c := newConsole(t)
	e := &emulator{width: 100}
	if code := c.onTerminal(e, "run", "-local", "testdata/flow.hcl", "-param", "fail=true"); code != 1 {
		t.Errorf("exit %d", code)
	}
	if e.drawings == 0 || e.wrapped > 0 || !e.painted {
		t.Errorf("drawn again %d times, %d columns beyond the width, painted %t", e.drawings, e.wrapped, e.painted)
	}
	golden(t, "terminal.txt", narrow(c.steady(e.text())))
}

func TestALiveRunIsInterruptedOnTheTerminal(t *testing.T) {
	c := newConsole(t)
	sent := false
	e := &emulator{width: 60, onText: func(screen string) {
		if !sent && strings.Contains(screen, "forever  running") {
			sent = true
			c.signals <- syscall.SIGINT
		}
	}}
	if code := c.onTerminal(e, "run", "-local", "testdata/slow.hcl"); code != 3 {
		t.Errorf("exit %d", code)
	}
	text := e.text()
	for _, want := range []string{"Ctrl-C: stopping the run.", "forever  cancelled", "tidy     succeeded"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is there %d times, want once:\n%s", want, strings.Count(text, want), text)
		}
	}
}

func TestATerminalSaysWhatItCan(t *testing.T) {
	for name, row := range map[string]struct {
		env     map[string]string
		live    bool
		painted bool
	}{
		"NO_COLOR":  {map[string]string{"NO_COLOR": "1"}, true, false},
		"TERM=dumb": {map[string]string{"TERM": "dumb"}, false, false},
		"no TERM":   {map[string]string{"TERM": ""}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			for k, v := range row.env {
				c.env[k] = v
			}
			e := &emulator{width: 100}
			if code := c.onTerminal(e, "run", "-local", "testdata/flow.hcl"); code != 0 {
				t.Errorf("exit %d:\n%s", code, e.text())
			}
			if live := e.drawings > 0; live != row.live || e.painted != row.painted {
				t.Errorf("live %t, painted %t; want %t, %t:\n%s", live, e.painted, row.live, row.painted, e.text())
			}
		})
	}
}
