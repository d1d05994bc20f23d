// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// follow decides what becomes of an instance whose attempt just ended: done, or another try (semantics, "Retry").
func (t *turn) follow(n, i int, a *Attempt, doom workflow.Verdict, retryable bool) {
	m, s := t.m, t.s
	in := s.Instances[n][i]
	done := func(status workflow.Status, why string) { t.settleInstance(n, i, status, why) }
	cancelled := doom == workflow.VerdictCancelled
	switch {
	case a.Verdict == workflow.VerdictSucceeded && t.e.Outcome.Kind == OutcomeSkipped:
		done(workflow.Skipped, cmp.Or(a.Message, "its child run was skipped"))
		return
	case a.Verdict == workflow.VerdictSucceeded && a.OutputsLost && !m.outputsCovered(n):
		done(workflow.Failed, "outputs lost: the worker collected them before they were read")
		return
	case a.Verdict == workflow.VerdictSucceeded:
		s.outputBytes += outputSize(a.Outputs)
		done(workflow.Succeeded, "")
		return
	case a.Verdict == workflow.VerdictCancelled:
		done(workflow.Cancelled, a.Message)
		return
	case cancelled && (a.Verdict == workflow.VerdictLost || a.Verdict == workflow.VerdictInterrupted):
		done(workflow.Cancelled, a.Message)
		return
	case cancelled:
		done(workflow.Failed, a.Message)
		return
	case a.Verdict == workflow.VerdictInterrupted && t.e.Outcome.Kind != OutcomeEvicted:
		done(workflow.Failed, reasonWith("interrupted: somebody stopped it", a.Message))
		return
	case !retryable:
		done(workflow.Failed, a.Message)
		return
	}
	p := m.policy(in, n)
	var again bool
	var why string
	tries := 0
	if a.Verdict == workflow.VerdictLost || a.Verdict == workflow.VerdictInterrupted {
		in.Losses++
		tries = in.Losses
		again = in.Losses <= p.Retry.MaxLost
		why = reasonWith(fmt.Sprintf("lost its worker or had to leave it %s, max_lost = %d", times(in.Losses), p.Retry.MaxLost), a.Message)
	} else {
		in.Tries++
		tries = in.Tries
		again, why = m.again(s, n, i, a, p)
	}
	if !again {
		done(workflow.Failed, why)
		return
	}
	at := t.at.Add(backoff(p.Retry, tries, t.e.Random))
	if p.Deadline > 0 && s.activeAt(at) > in.FirstStart.Add(p.Deadline) {
		done(workflow.Failed, reasonWith("the next try would be after the deadline of "+p.Deadline.String(), a.Message))
		return
	}
	in.RetryAt = at
	in.Reason = a.Message
	t.move(n, i, workflow.Waiting)
	m.arm(s, n, i)
}

// again applies on_exit_codes, when and max_attempts, in this order, to an attempt that counted.
func (m *Machine) again(s *State, n, i int, a *Attempt, p *workflow.Policy) (bool, string) {
	in := s.Instances[n][i]
	if codes := p.Retry.OnExitCodes; len(codes) > 0 && a.Verdict == workflow.VerdictFailed && a.ExitCode != nil &&
		!slices.Contains(codes, *a.ExitCode) {
		return false, reasonWith(a.Message, fmt.Sprintf("on_exit_codes does not hold %d", *a.ExitCode))
	}
	if p.Retry.When != nil {
		v, err := m.eval.Evaluate(*p.Retry.When, workflow.Scope{
			Shared: m.shared(s, n), Each: m.each(s, n, i), Attempt: attemptValues(a),
		})
		yes, isBool := v.Bool()
		switch {
		case err != nil:
			return false, reasonWith(a.Message, "retry.when: "+err.Error())
		case !isBool:
			return false, reasonWith(a.Message, "retry.when is null")
		case !yes:
			return false, reasonWith(a.Message, "retry.when is false")
		}
	}
	if in.Tries >= p.Retry.MaxAttempts {
		return false, a.Message
	}
	return true, ""
}

func attemptValues(a *Attempt) *workflow.AttemptValues {
	v := &workflow.AttemptValues{
		Number: a.Number, Ended: true, ExitCode: a.ExitCode, Signal: a.Signal, OOM: a.OOM,
		Reason: string(a.Verdict), Message: a.Message, Node: a.Place.Node,
	}
	if a.StartedAt != 0 && a.EndedAt > a.StartedAt {
		v.Duration = a.EndedAt.Sub(a.StartedAt)
	}
	return v
}

// backoff is the delay before the try after the n-th: exponential or constant, capped, plus jitter drawn by the shell.
func backoff(r workflow.Retry, n int, random float64) time.Duration {
	d := float64(r.Delay)
	if r.Backoff == workflow.BackoffExponential {
		d *= math.Pow(2, float64(n-1))
	}
	limit := r.MaxDelay
	if limit == 0 {
		limit = max(workflow.DefaultPolicy().Retry.MaxDelay, r.Delay)
	}
	d = math.Min(d, float64(limit))
	return time.Duration(d + d*r.Jitter*random)
}

// outputsCovered reports whether every output of a task has a default, so that lost outputs do no harm.
func (m *Machine) outputsCovered(n int) bool {
	for _, o := range m.def.Tasks[n].Outputs {
		if o.Default == nil && o.From != workflow.FromBody {
			return false
		}
	}
	return true
}

func reasonWith(reason, detail string) string {
	switch {
	case detail == "":
		return reason
	case reason == "":
		return detail
	}
	return reason + ": " + detail
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
