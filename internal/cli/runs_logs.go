// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

func runsLogsCommand(a *App) *command {
	q := api.LogQuery{}
	var instance instanceFlag
	var stderr, stdout bool
	tail := -1 // everything
	c := &command{
		synopsis:  "Print what a task wrote",
		arguments: "ID TASK",
		min:       2,
		max:       2,
		about: `Prints what an attempt of a task wrote: its standard output, then its standard error, or one of them.
Without -attempt it is the newest attempt.`,
		examples: []string{
			"cairn runs logs 3kq6t2dlxyvm2hd4wq3a extract -instance eu",
			"cairn runs logs -follow -stderr 3kq6t2dlxyvm2hd4wq3a load",
		},
		options: []option{
			instance.option("The instance of a fan-out."),
			numberOption(&q.Attempt, "attempt", "NUMBER", "The attempt, counted from 1. The default is the newest."),
			textOption(&q.Part, "part", "NAME", `Of a task with a group or a job as its body: which of its Nomad tasks, as TASK, GROUP/TASK or
GROUP[INDEX]/TASK. The default is the first main task, of what failed where something did.`),
			switchOption(&stdout, "stdout", "Only its standard output."),
			switchOption(&stderr, "stderr", "Only its standard error."),
			switchOption(&q.Follow, "follow", "Wait for the attempt to begin, and print what it writes until it has ended. One stream: standard output, unless -stderr is given."),
			funcOption("tail", "LINES", "Only the last lines of each stream. 0 prints nothing; with -follow, only what is written from now on.", func(text string) error {
				n, err := strconv.Atoi(text)
				if err != nil || n < 0 {
					return fmt.Errorf("-tail %s: want a number of lines, 0 or more", text)
				}
				tail = n
				return nil
			}),
		},
		predict: a.predictRunAndTask(),
	}
	c.run = func(args []string) int {
		if q.Attempt < 0 {
			return c.usageError("-attempt counts from 1")
		}
		q.Task, q.Key = args[1], instance.key
		r, id, code := a.open(args[0])
		if r == nil {
			return code
		}
		defer r.Close()
		streams := []bool{false, true} // stderr?
		switch {
		case stderr && !stdout:
			streams = []bool{true}
		case stdout && !stderr, q.Follow:
			streams = []bool{false}
		}
		for _, q.Stderr = range streams {
			if err := a.printLog(r.Client, string(id), q, tail); err != nil {
				return a.broken(err)
			}
		}
		return exitOK
	}
	return c
}

// printLog copies one stream to standard output, as it is; with tail >= 0 only so many lines of what is there already.
func (a *App) printLog(c *client.Client, id string, q api.LogQuery, tail int) error {
	ctx := context.Background()
	skip := int64(0)
	if tail >= 0 {
		whole := q
		whole.Follow = false
		log, err := c.Logs(ctx, id, whole)
		var said *api.Error
		switch {
		case err == nil:
			skip, err = lastLines(log, tail)
			if err := errors.Join(err, log.Close()); err != nil {
				return err
			}
		case !q.Follow || !errors.As(err, &said) || said.Code != api.CodeNotFound:
			return err
		}
	}
	log, err := c.Logs(ctx, id, q)
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := io.CopyN(io.Discard, log, skip); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := io.Copy(a.Stdout, log); err != nil && a.out.err == nil {
		return fmt.Errorf("print the log: %w", err)
	}
	return nil
}

// lastLines reads a log to its end and returns at which byte its last n lines begin.
func lastLines(log io.Reader, n int) (int64, error) {
	starts := []int64{0} // of the newest lines, oldest first
	offset, atStart := int64(0), false
	buf := make([]byte, 64<<10)
	for {
		got, err := log.Read(buf)
		for rest := buf[:got]; len(rest) > 0; {
			if atStart {
				starts = append(starts, offset)
				if len(starts) > n {
					starts = starts[1:]
				}
				atStart = false
			}
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				offset += int64(len(rest))
				break
			}
			offset, rest, atStart = offset+int64(end)+1, rest[end+1:], true
		}
		if errors.Is(err, io.EOF) && n == 0 {
			return offset, nil
		}
		if errors.Is(err, io.EOF) {
			return starts[0], nil
		}
		if err != nil {
			return 0, err
		}
	}
}
