// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/cairnflow/cairn/internal/api"
)

// EventsQuery filters events. What is empty restricts nothing.
type EventsQuery struct {
	Run       string
	Workflow  string
	Namespace string
	// After is the ID of the last event that was seen: the stream goes on behind it. Empty: from now on.
	After string
}

// Events opens the stream of what happens; the caller closes it.
func (c *Client) Events(ctx context.Context, q EventsQuery) (*Events, error) {
	query := url.Values{}
	set(query, "run", q.Run)
	set(query, "workflow", q.Workflow)
	set(query, "namespace", q.Namespace)
	header := http.Header{}
	if q.After != "" {
		header.Set(api.LastEventHeader, q.After)
	}
	// A stream that is alive says so at least twice a minute.
	body, err := c.stream(ctx, idleTimeout, "/v1/events", query, header)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEvent)
	return &Events{where: c.where, body: body, lines: lines, last: q.After}, nil
}

// maxEvent bounds one line of a stream: an event is a few hundred bytes.
const maxEvent = 64 << 10

// Events is a stream of events. It belongs to one goroutine.
type Events struct {
	where string
	body  io.ReadCloser
	lines *bufio.Scanner
	last  string
}

// Last is the ID with which the stream can be taken up again where it stands.
func (e *Events) Last() string { return e.last }

// Close ends the stream.
func (e *Events) Close() error { return e.body.Close() }

// Next waits for the next event. io.EOF: the server has ended the stream, to be taken up again with Last.
func (e *Events) Next() (api.Event, error) {
	id, data := e.last, ""
	for e.lines.Scan() {
		name, value, _ := strings.Cut(e.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			id = value
		case "data":
			data = value
		case "": // the end of an event, or a comment
			if e.lines.Text() != "" {
				continue
			}
			e.last = id
			if data == "" {
				continue
			}
			var out api.Event
			if err := json.Unmarshal([]byte(data), &out); err != nil {
				return out, fmt.Errorf("%s sent an event that is no JSON: is that a Cairn server? (%w)", e.where, err)
			}
			return out, nil
		}
	}
	err := e.lines.Err()
	if err == nil {
		err = io.EOF
	}
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("%s sent a line of more than %d bytes: is that a Cairn server?", e.where, maxEvent)
	}
	return api.Event{}, err
}
