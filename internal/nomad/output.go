// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// errCollected: the client, or Nomad, has removed the allocation's files.
var errCollected = errors.New("the worker has collected the allocation's files")

// collect reads what a succeeded attempt has written. It comes before everything else that is done about its end: a client
// with many allocations removes the files of a finished one at once.
func (e *Executor) collect(ctx context.Context, a *attempt, of *alloc, o engine.Outcome) *engine.Outcome {
	e.mu.Lock()
	f := files{realm: a.realm, alloc: of.ID, task: a.main(), output: a.start.WantOutput, stdout: a.start.WantStdout}
	e.mu.Unlock()
	give := time.Now().Add(e.cfg.OutputPatience)
	// An agent that has just started does not know its allocations yet: it must go on saying so.
	var goneSince time.Time
	for failures := 1; ; failures++ {
		err := e.readFiles(ctx, f, &o)
		if err == nil || ctx.Err() != nil {
			return &o
		}
		switch {
		case !errors.Is(err, errCollected):
			goneSince = time.Time{}
		case goneSince.IsZero():
			goneSince = time.Now()
		}
		if !goneSince.IsZero() && time.Since(goneSince) >= e.cfg.LostAfter || time.Now().After(give) {
			e.log.Warn("the outputs of an attempt are lost", "job", a.jobID, "alloc", of.ID, "error", err)
			o.Output, o.Stdout, o.OutputsLost = nil, nil, true
			o.Message = fmt.Sprintf("its outputs cannot be read: %v", err)
			return &o
		}
		e.log.Warn("an output cannot be read; trying again", "job", a.jobID, "alloc", of.ID, "failures", failures, "error", err)
		if pace.Wait(ctx, failures) != nil {
			return &o
		}
	}
}

// files says what is read of an attempt, and where.
type files struct {
	realm          realm
	alloc, task    string
	output, stdout bool
}

func (e *Executor) readFiles(ctx context.Context, f files, o *engine.Outcome) error {
	if f.output {
		// One byte more than is allowed tells a full file from one that is too long. Nomad's readat and cat would be
		// simpler, but answer their errors as contents, with 200 OK; the stream of frames does not.
		b, err := e.file(ctx, f.realm, "/v1/client/fs/stream/"+f.alloc, url.Values{
			"path": {outputFile}, "origin": {"start"}, "offset": {"0"}, "follow": {"false"},
		}, workflow.MaxTaskOutputBytes+1)
		if err != nil && !missingFile(err) {
			return fmt.Errorf("read the output file: %w", err)
		}
		o.Output = b
	}
	if f.stdout {
		b, err := e.file(ctx, f.realm, "/v1/client/fs/logs/"+f.alloc, url.Values{
			"task": {f.task}, "type": {"stdout"}, "origin": {"end"}, "offset": {strconv.Itoa(workflow.MaxStdoutTailBytes)},
			"follow": {"false"}, "plain": {"false"},
		}, workflow.MaxStdoutTailBytes)
		if err != nil && !missingFile(err) {
			return fmt.Errorf("read the end of stdout: %w", err)
		}
		o.Stdout = b
	}
	return nil
}

// main is the task whose standard output is the attempt's. The caller holds mu.
func (a *attempt) main() string {
	if len(a.groups) > 0 {
		if mains := a.groups[0].named(roleMain); len(mains) > 0 {
			return mains[0]
		}
	}
	return a.start.Task
}

// file reads the frames of a file, at most limit bytes.
func (e *Executor) file(ctx context.Context, r realm, path string, params url.Values, limit int) ([]byte, error) {
	release, err := slot(ctx, e.client.reads)
	if err != nil {
		return nil, err
	}
	defer release()
	var b []byte
	err = e.client.call(ctx, &e.client.count.outputReads, func(ctx context.Context, secret string) error {
		resp, err := e.client.send(ctx, http.MethodGet, r, path, params, nil, secret)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err = readFrames(resp.Body, limit)
		return err
	})
	if collected(err) {
		return nil, fmt.Errorf("%w: %w", errCollected, err)
	}
	return b, err
}

func readFrames(body io.Reader, limit int) ([]byte, error) {
	b := []byte{}
	for frames := json.NewDecoder(body); len(b) < limit; {
		var frame nomadapi.StreamFrame
		err := frames.Decode(&frame)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		b = append(b, frame.Data...)
	}
	return b[:min(len(b), limit)], nil
}

// missingFile reports that the allocation's folder is there and the file is not: the task wrote none. Nomad answers with
// the words of the operating system.
func missingFile(err error) bool {
	var s *statusError
	return errors.As(err, &s) && (strings.Contains(s.body, "no such file") || strings.Contains(s.body, "file does not exist"))
}

// collected reports that the allocation, or its folder, is gone for good.
func collected(err error) bool {
	var s *statusError
	if !errors.As(err, &s) {
		return false
	}
	text := strings.ToLower(s.body)
	return strings.Contains(text, "unknown allocation") || strings.Contains(text, "not found on client")
}
