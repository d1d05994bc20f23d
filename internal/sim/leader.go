// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// leader is one leadership of the simulated shell: it steps, saves, then acts, in this order.
type leader struct {
	w     *world
	epoch uint64
	state *engine.State
	out   *ledger
	judge *judge
	twin  *twin

	inbox   []letter
	turning bool // a turn is scheduled
	dead    bool
	deposed bool

	entries []journalEntry // stepped, and not saved yet because nothing was asked for
	granted map[place]bool // admits on their way
	watched map[workflow.AttemptID]bool
	issued  map[workflow.AttemptID]engine.Command // starts and kills that were acted upon, the newest of each attempt
	armed   workflow.Time                         // the wake that a timer runs for
	alarm   int                                   // number of the newest timer

	base   workflow.Time // At when it took office
	taken  workflow.Time // the world's time then
	lastAt workflow.Time
}

// letter is an event on its way into the run. One that must arrive is sent again when its effect was not saved.
type letter struct {
	event engine.Event
	must  bool
}

// clock is the leader's time: it advances with the world's and never falls behind the run's.
func (l *leader) clock() workflow.Time {
	return l.base.Add(l.w.now.Sub(l.taken))
}

// takeover makes a new leader: the store's epoch moves on, the state is loaded, and all that is outstanding is done again.
func (w *world) takeover() {
	if old := w.leader; old != nil {
		w.stats.hit("takeover from a living leader")
		old.deposed = true
		w.zombies = append(w.zombies, old)
		w.after(w.between(0, lateBy), func() { old.die("it noticed that it was deposed") })
	}
	w.store.epoch++
	l := &leader{w: w, epoch: w.store.epoch}
	w.leader = l
	offset := time.Duration(0)
	if w.faults.Clock && w.chance(0.3) {
		offset = time.Duration(w.r.Int64N(int64(2*time.Hour))) - time.Hour
		w.stats.hit("clock step")
	}
	l.taken, l.base = w.now, w.now.Add(offset)
	if w.undone { // whoever restores a store knows what time it is
		l.base = max(l.base, w.maxAt+1_000_000)
	}
	w.logf("leader %d takes office, its clock is off by %s", l.epoch, offset)
	l.load()
}

// load rebuilds the state from the store and carries out everything that is outstanding.
func (l *leader) load() {
	w := l.w
	records := w.store.load()
	s, err := w.machine.Load(records)
	if err != nil {
		w.fail("load: %v", err)
	}
	if now := l.clock(); s.Head.LastAt > now {
		l.base = l.base.Add(s.Head.LastAt.Sub(now))
	}
	l.state, l.lastAt, l.out = s, max(l.lastAt, s.Head.LastAt), newLedger()
	l.granted, l.watched, l.armed = map[place]bool{}, map[workflow.AttemptID]bool{}, 0
	l.issued = map[workflow.AttemptID]engine.Command{}
	outstanding := w.machine.Outstanding(s)
	w.checkOutlook(records, outstanding)
	if err := l.out.fill(outstanding); err != nil {
		w.fail("%v", err)
	}
	l.judge = newJudge(w, s, l.out)
	l.twin, l.entries = nil, nil
	w.scopes = map[scopeKey]workflow.Scope{}
	w.stats.hit("load")
	l.act(outstanding)
}

// checkOutlook holds what the stored head tells of the run against what is outstanding.
func (w *world) checkOutlook(records []engine.Record, outstanding []engine.Command) {
	at := slices.IndexFunc(records, func(r engine.Record) bool { return r.Key == engine.HeadKey })
	head, got, err := engine.ReadHead(records[at].Value)
	if err != nil || got == nil || head.Status.Terminal() {
		if err != nil || got == nil {
			w.fail("the stored head has the outlook %v: %v", got, err)
		}
		return
	}
	var want engine.Outlook
	for _, c := range outstanding {
		switch c.Kind {
		case engine.StartAttempt, engine.KillAttempt:
			want.Live++
		case engine.WakeAt:
			want.Wake = c.At
		}
	}
	if *got != want {
		w.fail("the stored head has the outlook %+v, outstanding is %+v", *got, want)
	}
}

// hear puts an event of the executor into the inbox after d.
func (l *leader) hear(e engine.Event, d time.Duration) {
	l.w.after(d, func() { l.receive(letter{event: e}) })
}

func (l *leader) receive(m letter) {
	if l.dead {
		l.w.lost(m)
		return
	}
	l.inbox = append(l.inbox, m)
	l.schedule()
}

// schedule turns soon: what arrives meanwhile shares the save.
func (l *leader) schedule() {
	if l.turning || l.dead {
		return
	}
	l.turning = true
	l.w.after(l.w.between(0, l.w.profile.batching), func() {
		l.turning = false
		if !l.dead {
			l.turn()
		}
		if len(l.inbox) > 0 && !l.turning {
			l.schedule()
		}
	})
}

// deliver brings an event that must arrive to whoever leads.
func (w *world) deliver(e engine.Event) {
	if w.leader == nil {
		w.after(time.Second, func() { w.deliver(e) })
		return
	}
	w.leader.receive(letter{event: e, must: true})
}

// lost sends a letter again whose effect was not saved, when somebody waits for its answer.
func (w *world) lost(m letter) {
	if m.must {
		w.after(w.between(time.Second, 5*time.Second), func() { w.deliver(m.event) })
	}
}

// maxBatch is how many events share a save.
const maxBatch = 64

// turn folds what waits in the inbox into the state, saves, then acts.
func (l *leader) turn() {
	w := l.w
	if len(l.inbox) == 0 {
		l.settleIn()
		return
	}
	n := min(len(l.inbox), 1+w.r.IntN(maxBatch))
	if len(l.inbox) > 4*maxBatch { // catch up
		n = maxBatch
	}
	batch := l.inbox[:n:n]
	l.inbox = l.inbox[n:]
	commands, entries, must := []engine.Command(nil), l.entries, false
	pending := map[string]engine.Record{}
	each := w.chance(0.5) // encode after every step, or once for all
	for i := range batch {
		e := l.stamp(batch[i].event)
		if e.Kind == engine.Admit {
			delete(l.granted, place{e.Task, e.Instance})
		}
		entries = append(entries, w.entry(l.state, e))
		commands = append(commands, l.step(e)...)
		must = must || batch[i].must
		if each && (i < n-1 || len(commands) > 0 || must) {
			l.encode(pending, i > 0 || len(l.entries) == 0)
		}
	}
	// What asks for nothing may wait for the next save; a crash loses it, and its sender tells it again.
	if l.entries = nil; len(commands) == 0 && !must && len(pending) == 0 && w.chance(0.7) {
		w.stats.hit("save put off")
		l.entries = entries
		l.settleIn()
		return
	}
	l.encode(pending, false)
	if w.crash(crashBeforeSave, l) {
		l.abandon(batch)
		return
	}
	records := make([]engine.Record, 0, len(pending))
	for _, r := range pending {
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b engine.Record) int { return compare(a.Key, b.Key) })
	if err := w.commit(l, records, entries, commands); err != nil {
		w.logf("leader %d: save: %v", l.epoch, err)
		l.lose(batch, err)
		return
	}
	if w.crash(crashAfterSave, l) {
		return
	}
	l.act(commands)
	if l.dead {
		return
	}
	l.refresh()
	l.settleIn()
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// stamp makes a fact of what arrived.
func (l *leader) stamp(e engine.Event) engine.Event {
	e.At = max(l.clock(), l.lastAt, l.state.Head.LastAt)
	l.lastAt = e.At
	l.w.maxAt = max(l.w.maxAt, e.At)
	e.Epoch = l.epoch
	e.Random = l.w.r.Float64()
	return e
}

// encode collects what a step changed and holds the bounds of one step.
func (l *leader) encode(pending map[string]engine.Record, single bool) {
	records, err := l.w.machine.EncodeDirty(l.state)
	if err != nil {
		l.w.fail("encode: %v", err)
	}
	if single {
		l.judge.bounds(records)
	}
	if l.twin != nil {
		l.twin.encode(records)
	}
	for _, r := range records {
		pending[r.Key] = r
	}
}

// lose is what a leader does when a save failed: fenced, it is over; else it throws its state away and loads again.
func (l *leader) lose(batch []letter, err error) {
	if errors.Is(err, errFenced) {
		l.abandon(batch)
		l.die("it was fenced")
		return
	}
	l.abandon(batch)
	l.turning = true // until it has loaded again
	l.w.after(l.w.between(0, 2*time.Second), func() {
		l.turning = false
		if l.dead {
			return
		}
		l.load()
		if len(l.inbox) > 0 {
			l.schedule()
		}
	})
}

// abandon gives up events that are half done.
func (l *leader) abandon(batch []letter) {
	for _, m := range batch {
		l.w.lost(m)
	}
}

func (l *leader) die(why string) {
	if l.dead {
		return
	}
	w := l.w
	w.logf("leader %d is gone: %s", l.epoch, why)
	l.dead = true
	for _, m := range l.inbox {
		w.lost(m)
	}
	l.inbox = nil
	w.zombies = slices.DeleteFunc(w.zombies, func(z *leader) bool { return z == l })
	if w.leader == l {
		w.leader = nil
		w.after(w.between(100*time.Millisecond, w.profile.takeover), func() {
			if w.leader == nil {
				w.takeover()
			}
		})
	}
}

// act carries out saved commands, in order; a leader may die midway.
func (l *leader) act(commands []engine.Command) {
	w := l.w
	for _, c := range commands {
		if w.crash(crashMidway, l) {
			return
		}
		switch c.Kind {
		case engine.StartAttempt, engine.KillAttempt:
			l.watched[c.Start.Attempt] = true
			l.issued[c.Start.Attempt] = c
			l.send(c)
		case engine.Settle:
			delete(l.watched, c.Attempt)
			if id := c.Attempt; !w.chance(w.profile.lost) {
				w.after(w.lag(), func() { w.executor.settle(id) })
			}
		case engine.Proceed:
			l.hear(engine.Event{Kind: engine.Continue}, w.lag())
		}
	}
	l.settleIn()
}

// send brings a start or a kill to the executor, late, twice, and again after a while when it was lost. A kill replaces
// the start of its attempt, but a start may be under way already.
func (l *leader) send(c engine.Command) {
	w := l.w
	s := *c.Start
	do := func() {
		w.flying[s.Attempt]--
		if now := l.issued[s.Attempt]; now.Kind == c.Kind {
			s = *now.Start // what is wanted of a child run may have changed on the way
		}
		if c.Kind == engine.KillAttempt {
			w.executor.kill(s)
			return
		}
		w.executor.begin(l, s)
	}
	copies := 1
	if w.chance(w.profile.doubled) {
		copies = 2
	}
	for range copies {
		w.flying[s.Attempt]++
		if w.chance(w.profile.lost) { // the call failed: it is repeated while it is still asked for
			w.after(w.between(time.Second, 10*time.Second), func() {
				if l.dead || l.out.starts[s.Attempt].Kind != c.Kind {
					w.flying[s.Attempt]--
					return
				}
				w.after(w.lag(), do)
			})
			continue
		}
		w.after(w.late(), do)
	}
	if l.deposed || !w.chance(w.profile.doubled) {
		return
	}
	w.flying[s.Attempt]++
	w.after(w.between(time.Second, lateBy/2), func() { // repeated without need, perhaps by a deposed leader
		if l.dead || l.out.starts[s.Attempt].Kind != c.Kind {
			w.flying[s.Attempt]--
			return
		}
		w.stats.hit("command repeated")
		do()
	})
}

// settleIn admits what there is room for and arms the timer.
func (l *leader) settleIn() {
	w := l.w
	if l.deposed {
		return
	}
	room := w.profile.inflight - len(l.granted)
	for _, c := range l.out.starts {
		if c.Start.Kind != workflow.BodyRunWorkflow { // those ask for no admission
			room--
		}
	}
	if room > 0 && len(l.out.wants) > len(l.granted) {
		for _, p := range l.out.wanted() {
			if room == 0 {
				break
			}
			if l.granted[p] {
				continue
			}
			room--
			l.grant(p)
		}
	}
	if l.out.wake != 0 && l.out.wake != l.armed {
		l.arm(l.out.wake)
	}
}

func (l *leader) grant(p place) {
	w := l.w
	l.granted[p] = true
	e := engine.Event{Kind: engine.Admit, Task: p.task, Instance: p.instance}
	w.after(w.lag(), func() {
		if !l.out.wants[p] {
			w.stats.hit("admit of a withdrawn want")
		}
		l.receive(letter{event: e})
	})
	if w.chance(w.profile.doubled) {
		l.hear(e, w.late())
	}
}

func (l *leader) arm(at workflow.Time) {
	w := l.w
	l.armed = at
	l.alarm++
	alarm := l.alarm
	w.after(at.Sub(l.clock())+w.between(0, w.profile.lateTick), func() {
		if l.dead || l.alarm != alarm {
			return
		}
		l.armed = 0
		l.receive(letter{event: engine.Event{Kind: engine.Tick}})
		if w.chance(w.profile.doubled) {
			l.hear(engine.Event{Kind: engine.Tick}, w.lag())
		}
	})
}
