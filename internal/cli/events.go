// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/server"
)

// watchAll prints what happens on a server until the user has seen enough.
func (a *App) watchAll(q client.EventsQuery, asJSON bool) int {
	signals, restore := a.signals()
	defer restore()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watching := make(chan int, 1)
	go func() {
		watching <- a.operate(ctx, func(r *server.Reader) (int, error) { return a.watchEvents(ctx, r.Client, q, asJSON) })
	}()
	select {
	case code := <-watching:
		return code
	case <-signals:
		cancel()
		return <-watching
	}
}

// watchEvents reads the stream, and takes it up again where it ended, until ctx ends.
func (a *App) watchEvents(ctx context.Context, c *client.Client, q client.EventsQuery, asJSON bool) (int, error) {
	var since time.Time // the stream is away; zero = it is not
	for {
		seen := q.After
		err := a.printEvents(ctx, c, &q, asJSON)
		if q.After != seen {
			since = time.Time{} // there was a stream
		}
		switch {
		case ctx.Err() != nil, a.out.err != nil:
			return exitOK, nil
		case !errors.Is(err, io.EOF) && !away(err) && !said(err, api.CodeNotReady):
			return 0, err
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > remotePatience:
			return 0, err
		}
		if !sleep(ctx, retryDelay) {
			return exitOK, nil
		}
	}
}

// printEvents prints the events of one stream.
func (a *App) printEvents(ctx context.Context, c *client.Client, q *client.EventsQuery, asJSON bool) error {
	stream, err := c.Events(ctx, *q)
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		e, err := stream.Next()
		q.After = stream.Last()
		switch {
		case err != nil:
			return err
		case asJSON:
			b, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("print event %d: %w", e.Index, err)
			}
			a.print(string(b) + "\n")
		case e.Type == api.EventReset:
			a.warnf("Something may have happened that is not shown here: another server leads, or this was away for too long. See \"cairn runs list\".")
		default:
			a.print(eventLine(e) + "\n")
		}
		if a.out.err != nil {
			return io.EOF
		}
	}
}

// eventLine is an event for people.
func eventLine(e api.Event) string {
	what := "run is " + e.Status
	if e.Task != "" {
		what = "task " + clean(e.Task) + " is " + e.Status
	}
	if e.Attempt > 1 {
		what += fmt.Sprintf(" (attempt %d)", e.Attempt)
	}
	if e.Reason != "" {
		what += ": " + clean(e.Reason)
	}
	return fmt.Sprintf("%s  %s  %s  %s", e.At.Local().Format(time.TimeOnly), e.Run, clean(e.Workflow), what)
}
