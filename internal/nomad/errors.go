// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// errExists: a job with this ID is registered already. Nomad answers 500 to it, as to so many things.
var errExists = errors.New("the job exists already")

// statusError is an answer of Nomad that is not 2xx.
type statusError struct {
	code int
	body string
}

func (e *statusError) Error() string {
	if e.body == "" {
		return fmt.Sprintf("Nomad answered %d %s", e.code, http.StatusText(e.code))
	}
	return fmt.Sprintf("Nomad answered %d: %s", e.code, e.body)
}

// explain makes the errors of the api module ours: an answer becomes a *statusError with Nomad's own sentence, and the
// answer to a create-only registration of an existing job becomes errExists.
func explain(err error) error {
	var u nomadapi.UnexpectedResponseError
	if !errors.As(err, &u) || !u.HasStatusCode() {
		return err
	}
	body := oneLine(u.Body())
	// Nomad's words for a refused JobModifyIndex; there is no code for it.
	if strings.Contains(body, "Enforcing job modify index") {
		return errExists
	}
	return &statusError{code: u.StatusCode(), body: body}
}

// oneLine makes a sentence of Nomad's lists of errors, for statuses and logs.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// answered returns the status code of an answer, 0 when there was none.
func answered(err error) int {
	var s *statusError
	if errors.As(err, &s) {
		return s.code
	}
	return 0
}

// notSent reports that a request has certainly not reached Nomad: no connection could be made.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// notDone reports that a call has certainly changed nothing: it was not sent, or refused by its form, by its token or for
// being one too many. Nomad answers 5xx to requests it may have carried out.
func notDone(err error) bool {
	code := answered(err)
	return notSent(err) || code >= 400 && code < 500
}

// trouble is an error of Start or Kill that is repeated. unsure says that an earlier call may have started the attempt.
func trouble(err error, unsure bool) error {
	return &scheduler.Trouble{NotStarted: !unsure && notDone(err), Err: err}
}
