// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// handlerTransport answers requests by calling a handler in this process. The body of an answer is a pipe, so that a log
// can be followed; closing it ends the request and waits for the handler.
type handlerTransport struct {
	handler http.Handler
}

// RoundTrip implements http.RoundTripper.
func (t handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	reader, writer := io.Pipe()
	w := &answer{header: http.Header{}, body: writer, started: make(chan struct{})}
	done := make(chan struct{})
	in := req.Clone(ctx)
	in.RequestURI = in.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	go func() {
		defer close(done)
		defer in.Body.Close()
		err := serve(t.handler, w, in)
		if err == nil {
			w.WriteHeader(http.StatusOK) // a handler that says nothing means that
		}
		writer.CloseWithError(err) // nil reads as the end
		w.fail(err)
	}()
	select {
	case <-w.started:
	case <-ctx.Done():
		reader.CloseWithError(ctx.Err())
		cancel()
		<-done
		return nil, ctx.Err()
	}
	if w.err != nil {
		cancel()
		<-done
		return nil, w.err
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.sent,
		Body:          &answerBody{PipeReader: reader, cancel: cancel, done: done},
		ContentLength: -1,
		Request:       req,
	}, nil
}

// serve calls the handler. A handler that aborts breaks the answer off; any other panic is a bug and goes on.
func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = io.ErrUnexpectedEOF
		default:
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return nil
}

// answer is a http.ResponseWriter; its handler's goroutine owns it, but for what started publishes.
type answer struct {
	header  http.Header
	body    *io.PipeWriter
	started chan struct{} // closed when status, sent and err are final
	begun   bool

	status int
	sent   http.Header
	err    error
}

func (w *answer) Header() http.Header { return w.header }

func (w *answer) WriteHeader(status int) {
	if w.begun {
		return
	}
	w.begun, w.status, w.sent = true, status, w.header.Clone()
	close(w.started)
}

func (w *answer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	n, err := w.body.Write(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = fmt.Errorf("nobody reads the answer any more: %w", err)
	}
	return n, err
}

// Flush has nothing to do: a pipe holds nothing back. It sends the header.
func (w *answer) Flush() { w.WriteHeader(http.StatusOK) }

// fail publishes an error of a handler that ended before it answered.
func (w *answer) fail(err error) {
	if !w.begun {
		w.begun, w.err = true, err
		close(w.started)
	}
}

type answerBody struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close ends the request and waits until its handler has returned.
func (b *answerBody) Close() error {
	err := b.PipeReader.Close()
	b.cancel()
	<-b.done
	return err
}
