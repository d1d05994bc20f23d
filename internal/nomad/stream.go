// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

// streamSilence is after what silence a stream is taken for dead: Nomad sends an empty line every 30 seconds.
const streamSilence = 75 * time.Second

// errSilent: nothing came, not even the empty lines.
var errSilent = errors.New("nothing came for " + streamSilence.String())

// batch is one line of the event stream. Payloads stay undecoded until it is clear that they concern us.
type batch struct {
	Index  uint64
	Events []struct {
		Topic      string
		FilterKeys []string // of allocations and evaluations: the job ID first
		Payload    json.RawMessage
	}
}

// streaming reads the events of a realm until ctx ends. The stream only wakes us: Nomad drops what it cannot keep without
// a word, so every connection is followed by a list.
func (e *Executor) streaming(ctx context.Context, r realm) {
	for failures := 0; ; {
		began := time.Now()
		err := e.stream(ctx, r)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > pace.Max {
			failures = 0
		}
		failures++
		e.log.Debug("event stream ended; connecting again", "realm", r, "failures", failures, "error", err)
		// The first reconnect is at once: most ends are Nomad's own and say nothing.
		if failures > 1 && pace.Wait(ctx, failures) != nil {
			return
		}
	}
}

func (e *Executor) stream(ctx context.Context, r realm) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(streamSilence, func() { cancel(errSilent) })
	defer silence.Stop()

	e.mu.Lock()
	index := e.realms[r].index
	e.mu.Unlock()
	e.client.count.streams.Add(1)
	// Index 0 replays what Nomad still holds: jobs registered before the first connection are not missed.
	body, err := e.client.open(ctx, r, "/v1/event/stream", url.Values{
		"topic": {string(nomadapi.TopicAllocation), string(nomadapi.TopicEvaluation)},
		"index": {strconv.FormatUint(index, 10)},
	})
	if err != nil {
		return fmt.Errorf("open the event stream: %w", err)
	}
	defer body.Close()
	e.mu.Lock()
	for _, a := range e.attempts {
		if a.realm == r {
			a.listed = false
		}
	}
	e.wantList(r)
	e.mu.Unlock()

	lines := json.NewDecoder(body)
	for {
		var b batch
		if err := lines.Decode(&b); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			if errors.Is(err, io.EOF) {
				err = errors.New("closed by Nomad")
			}
			return fmt.Errorf("read the event stream: %w", err)
		}
		silence.Reset(streamSilence)
		if b.Index > 0 {
			e.take(r, &b)
		}
	}
}

// take hands events to the attempts they are about.
func (e *Executor) take(r realm, b *batch) {
	e.mu.Lock()
	e.realms[r].index = b.Index
	e.mu.Unlock()
	for _, ev := range b.Events {
		if len(ev.FilterKeys) == 0 || !e.ours(ev.FilterKeys[0]) {
			continue
		}
		var payload struct {
			Allocation *alloc
			Evaluation *evaluation
		}
		if err := json.Unmarshal(ev.Payload, &payload); err != nil {
			e.log.Warn("an event of Nomad cannot be read", "realm", r, "topic", ev.Topic, "error", err)
			continue
		}
		e.mu.Lock()
		if a := e.jobs[ev.FilterKeys[0]]; a != nil && a.realm == r {
			switch {
			case payload.Allocation != nil:
				if a.apply(payload.Allocation) {
					e.advance(a)
				}
			case payload.Evaluation != nil:
				e.evaluated(a, payload.Evaluation)
			}
		}
		e.mu.Unlock()
	}
}

// ours reports whether a job is of an attempt that is waited for.
func (e *Executor) ours(jobID string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.jobs[jobID] != nil
}
