// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// ledger is the set of commands issued and not yet answered, kept from the stream of events and commands alone. It must
// equal Machine.Outstanding after every step.
type ledger struct {
	starts  map[workflow.AttemptID]engine.Command // StartAttempt or KillAttempt
	wants   map[place]bool
	wake    workflow.Time
	proceed bool
}

// place is one instance of one task.
type place struct{ task, instance int }

func newLedger() *ledger {
	return &ledger{starts: map[workflow.AttemptID]engine.Command{}, wants: map[place]bool{}}
}

// fill makes the ledger what a new leader starts from.
func (l *ledger) fill(commands []engine.Command) error {
	for _, c := range commands {
		switch c.Kind {
		case engine.StartAttempt, engine.KillAttempt, engine.Want, engine.WakeAt, engine.Proceed:
		default:
			return fmt.Errorf("what is outstanding lists %s, which asks for nothing back", c.Kind)
		}
		if err := l.take(c, true); err != nil {
			return fmt.Errorf("what is outstanding: %w", err)
		}
	}
	return nil
}

// answer removes what e answers, before the step's own commands are taken.
func (l *ledger) answer(e engine.Event) {
	l.proceed = false
	switch e.Kind {
	case engine.Admit:
		delete(l.wants, place{e.Task, e.Instance})
	case engine.Tick:
		if l.wake != 0 && e.At >= l.wake {
			l.wake = 0
		}
	case engine.Ended:
		delete(l.starts, e.Attempt)
	}
}

// follow adds a command that a step gave for e. After Refused, what was asked for of the attempt comes again; and a timer
// that fires in the step in which its attempt ends asks for a kill that is answered already, as an instance that ends at its
// admission withdraws what was just granted.
func (l *ledger) follow(e engine.Event, c engine.Command) error {
	if c.Start != nil && c.Start.Attempt == e.Attempt {
		switch e.Kind {
		case engine.Refused:
			if old, ok := l.starts[e.Attempt]; !ok || old.Kind == engine.KillAttempt && c.Kind == engine.StartAttempt {
				return fmt.Errorf("%s of %s after a refusal, it was not asked for", c.Kind, e.Attempt)
			}
			l.starts[e.Attempt] = c
			return nil
		case engine.Ended:
			if c.Kind == engine.KillAttempt {
				return nil
			}
		}
	}
	if c.Kind == engine.Withdraw && e.Kind == engine.Admit && c.Task == e.Task && c.Instance == e.Instance {
		return nil
	}
	return l.take(c, false)
}

// givesUp: a kill comes again when the worker of its attempt is taken for dead.
func givesUp(old, c engine.Command) bool { return !old.Start.WorkerLost && c.Start.WorkerLost }

// take adds a command.
func (l *ledger) take(c engine.Command, first bool) error {
	switch c.Kind {
	case engine.StartAttempt:
		if c.Start == nil {
			return fmt.Errorf("start without Start")
		}
		if old, ok := l.starts[c.Start.Attempt]; ok && !holds(old, c) {
			return fmt.Errorf("%s of %s was issued and is started again", old.Kind, c.Start.Attempt)
		}
		l.starts[c.Start.Attempt] = c
	case engine.KillAttempt:
		if c.Start == nil {
			return fmt.Errorf("kill without Start")
		}
		if old, ok := l.starts[c.Start.Attempt]; !first && (!ok || old.Kind == engine.KillAttempt && !terminates(old, c) && !givesUp(old, c)) {
			return fmt.Errorf("kill of %s, which is not outstanding as a start", c.Start.Attempt)
		}
		l.starts[c.Start.Attempt] = c
	case engine.Want:
		p := place{c.Task, c.Instance}
		if l.wants[p] {
			return fmt.Errorf("doubled want of %v", p)
		}
		l.wants[p] = true
	case engine.Withdraw:
		p := place{c.Task, c.Instance}
		if !l.wants[p] {
			return fmt.Errorf("withdrawal of %v, which was not wanted", p)
		}
		delete(l.wants, p)
	case engine.WakeAt:
		l.wake = c.At
	case engine.Proceed:
		l.proceed = true
	case engine.Settle:
		if old, ok := l.starts[c.Attempt]; ok {
			return fmt.Errorf("settle of %s, whose %s is not answered", c.Attempt, old.Kind)
		}
	case engine.Finish:
		if len(l.starts)+len(l.wants) > 0 || l.proceed {
			return fmt.Errorf("finish while outstanding: %s", l)
		}
	default:
		return fmt.Errorf("unknown command %q", c.Kind)
	}
	return nil
}

// holds reports whether a start says anew of a child run whether it is to be paused.
func holds(old, c engine.Command) bool {
	return old.Kind == engine.StartAttempt && c.Start.Kind == workflow.BodyRunWorkflow && old.Start.Hold != c.Start.Hold
}

// terminates reports whether a kill makes a terminate of what was a stop of a child run.
func terminates(old, c engine.Command) bool {
	return c.Start.Kind == workflow.BodyRunWorkflow && !old.Start.Terminate && c.Start.Terminate
}

// differs says how the ledger and a list of outstanding commands differ; empty when they agree.
func (l *ledger) differs(outstanding []engine.Command) string {
	o := newLedger()
	if err := o.fill(outstanding); err != nil {
		return err.Error()
	}
	if o.wake != l.wake {
		return fmt.Sprintf("wake at %d issued, %d outstanding", l.wake, o.wake)
	}
	if o.proceed != l.proceed {
		return fmt.Sprintf("proceed issued %t, outstanding %t", l.proceed, o.proceed)
	}
	if !maps.Equal(l.wants, o.wants) {
		return fmt.Sprintf("wants issued %v, outstanding %v", l.wants, o.wants)
	}
	for id, c := range l.starts {
		got, ok := o.starts[id]
		if !ok {
			return fmt.Sprintf("%s of %s was issued and is not outstanding", c.Kind, id)
		}
		if got.Kind != c.Kind {
			return fmt.Sprintf("%s: %s issued, %s outstanding", id, c.Kind, got.Kind)
		}
		if d := startDiffers(c.Start, got.Start); d != "" {
			return fmt.Sprintf("%s of %s: %s", c.Kind, id, d)
		}
	}
	for id, c := range o.starts {
		if _, ok := l.starts[id]; !ok {
			return fmt.Sprintf("%s of %s is outstanding and was not issued", c.Kind, id)
		}
	}
	return ""
}

// startDiffers compares what was recorded with an attempt; Accepted and Place come later and IntentAt may move on.
func startDiffers(issued, now *engine.Start) string {
	a, b := *issued, *now
	if b.IntentAt < a.IntentAt {
		return "the intent moved back"
	}
	if a.Accepted != 0 && a.Accepted != b.Accepted {
		return "the acceptance changed"
	}
	switch {
	case !bytes.Equal(a.Body, b.Body):
		return fmt.Sprintf("body %s became %s", a.Body, b.Body)
	case !slices.Equal(a.AvoidNodes, b.AvoidNodes):
		return fmt.Sprintf("avoid %v became %v", a.AvoidNodes, b.AvoidNodes)
	}
	for _, s := range []*engine.Start{&a, &b} {
		s.Body, s.AvoidNodes, s.IntentAt, s.Accepted, s.Place = nil, nil, 0, 0, engine.Place{}
	}
	if !reflect.DeepEqual(a, b) {
		return fmt.Sprintf("%+v became %+v", a, b)
	}
	return ""
}

// wanted lists the wants in admission order.
func (l *ledger) wanted() []place {
	out := make([]place, 0, len(l.wants))
	for p := range l.wants {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b place) int {
		if a.task != b.task {
			return a.task - b.task
		}
		return a.instance - b.instance
	})
	return out
}

func (l *ledger) String() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(l.starts)) {
		fmt.Fprintf(&b, "%s %s, ", l.starts[id].Kind, id)
	}
	fmt.Fprintf(&b, "%d wants, wake %d, proceed %t", len(l.wants), l.wake, l.proceed)
	return b.String()
}
