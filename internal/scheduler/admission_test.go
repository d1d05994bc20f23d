// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// takeAll takes every grant of the members and binds it, and names them in the order they were granted.
func takeAll(a *admission, names []string, members []*member) []string {
	var out []string
	for i, m := range members {
		for {
			w, ok := a.take(m)
			if !ok {
				break
			}
			a.bind(m, workflow.AttemptID(fmt.Sprint(w)))
			out = append(out, fmt.Sprintf("%s %d/%d", names[i], w.task, w.instance))
		}
	}
	return out
}

func TestAdmissionOrder(t *testing.T) {
	a := newAdmission(0)
	nudge := make(chan struct{}, 1)
	names := []string{"backfill", "nightly", "urgent", "held"}
	members := []*member{a.join(50, "default", nudge), a.join(50, "default", nudge), a.join(90, "default", nudge), a.join(99, "broken", nudge)}
	a.setClosed("broken", true)
	a.want(members[3], want{0, 0})
	for i := range 3 {
		a.want(members[0], want{1, 2 - i}) // asked for in the wrong order
	}
	a.want(members[0], want{0, 7})
	a.want(members[1], want{5, 0})
	a.want(members[1], want{5, 1})
	a.want(members[2], want{9, 0})
	a.want(members[2], want{9, 1})
	a.withdraw(members[2], want{9, 0})
	var got []string
	for range 7 {
		a.mu.Lock()
		a.limit++
		a.grant()
		a.mu.Unlock()
		got = append(got, takeAll(a, names, members)...)
	}
	wanted := []string{"urgent 9/1", "backfill 0/7", "nightly 5/0", "backfill 1/0", "nightly 5/1", "backfill 1/1", "backfill 1/2"}
	if d := cmp.Diff(wanted, got); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	a.limit++
	a.setClosed("broken", false)
	if d := cmp.Diff([]string{"held 0/0"}, takeAll(a, names, members)); d != "" {
		t.Errorf("after the namespace was opened again (-want +got):\n%s", d)
	}
}

// Whatever runs do, the places in use are counted right, never exceed the limit but for held attempts, and none is left
// empty while an open run wants one.
func TestAdmissionCountsPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAdmission(rapid.IntRange(1, 4).Draw(t, "limit"))
		nudge := make(chan struct{}, 1)
		var members []*member
		taken := map[*member]int{}
		bound := map[*member][]workflow.AttemptID{}
		number := 0
		id := func() workflow.AttemptID { number++; return workflow.AttemptID(fmt.Sprint(number)) }
		pick := func(t *rapid.T) *member {
			if len(members) == 0 {
				members = append(members, a.join(1, "a", nudge))
			}
			return rapid.SampledFrom(members).Draw(t, "member")
		}
		anyWant := func(t *rapid.T) want {
			return want{rapid.IntRange(0, 1).Draw(t, "task"), rapid.IntRange(0, 3).Draw(t, "instance")}
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				members = append(members, a.join(rapid.IntRange(1, 2).Draw(t, "priority"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "ns"), nudge))
			},
			"want":     func(t *rapid.T) { a.want(pick(t), anyWant(t)) },
			"withdraw": func(t *rapid.T) { a.withdraw(pick(t), anyWant(t)) },
			"take": func(t *rapid.T) {
				m := pick(t)
				if _, ok := a.take(m); ok {
					taken[m]++
				}
			},
			"bind": func(t *rapid.T) {
				if m := pick(t); taken[m] > 0 {
					taken[m]--
					bound[m] = append(bound[m], id())
					a.bind(m, bound[m][len(bound[m])-1])
				}
			},
			"give back": func(t *rapid.T) {
				if m := pick(t); taken[m] > 0 {
					taken[m]--
					a.giveBack(m)
				}
			},
			"hold": func(t *rapid.T) {
				m := pick(t)
				bound[m] = append(bound[m], id())
				a.hold(m, bound[m][len(bound[m])-1])
			},
			"free": func(t *rapid.T) {
				if m := pick(t); len(bound[m]) > 0 {
					a.free(m, bound[m][0])
					bound[m] = bound[m][1:]
				}
			},
			"open or close": func(t *rapid.T) {
				a.setClosed(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "ns"), rapid.Bool().Draw(t, "closed"))
			},
			"leave": func(t *rapid.T) {
				i := rapid.IntRange(0, max(len(members)-1, 0)).Draw(t, "member")
				if len(members) == 0 {
					return
				}
				m := members[i]
				a.leave(m)
				delete(taken, m)
				delete(bound, m)
				members = append(members[:i:i], members[i+1:]...)
			},
			"": func(t *rapid.T) {
				used, waiting := 0, 0
				for _, m := range members {
					used += len(m.granted) + taken[m] + len(bound[m])
					if !a.closed[m.namespace] {
						waiting += len(m.wants)
					}
					if len(m.wants) != len(m.wanted) || (m.place != nil) != (len(m.wants) > 0) {
						t.Fatalf("a member with %d wants, %d wanted, queued %v", len(m.wants), len(m.wanted), m.place != nil)
					}
				}
				if used != a.inflight {
					t.Fatalf("%d places are counted, %d are in use", a.inflight, used)
				}
				if a.inflight < a.limit && waiting > 0 {
					t.Fatalf("%d of %d places are in use while %d wait", a.inflight, a.limit, waiting)
				}
			},
		})
	})
}

func TestInflightIsBoundedOverAllRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.cfg.MaxInflight = 3
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		a := p.submit(definition("a", times(task("t"), 20)))
		b := p.submit(definition("b", times(task("t"), 2)))
		for range 22 {
			synctest.Wait()
			w.mu.Lock()
			if w.running != 3 && len(w.begun) < 22 {
				t.Fatalf("%d attempts run, want 3", w.running)
			}
			var next workflow.AttemptID
			for _, id := range w.begun {
				if w.attempts[id].outcome == nil {
					next = id
					break
				}
			}
			w.mu.Unlock()
			p.exec.finish(next, exited(0))
		}
		succeeded(t, p.wait(a))
		succeeded(t, p.wait(b))
		// The small run does not wait for the large one: its two instances are among the first 3 + 4.
		for i, id := range w.begun {
			if run, _, _, _, _ := id.Parse(); run == b && i >= 7 {
				t.Errorf("%s began as number %d of %d", id, i+1, len(w.begun))
			}
		}
		if w.peak != 3 {
			t.Errorf("at most %d ran at once, want 3", w.peak)
		}
		gracefully(t, p)
	})
}

func TestPlaceOfAnAttemptThatDoesNotComeAboutIsFreeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newWorld())
		p.cfg.MaxInflight = 1
		p.launch()
		if head := p.wait(p.submit(definition("broken", times(task("broken"), 3)))); head.Status != workflow.RunFailed {
			t.Errorf("got %s, want failed", head.Status)
		}
		both := definition("both", task("broken"), task("good"))
		both.Tasks[0].Policy.AllowFailure = true
		head, err := p.s.Wait(within(t, time.Hour), p.submit(both))
		if err != nil {
			t.Fatal(err)
		}
		succeeded(t, head)
		gracefully(t, p)
	})
}

// What is due does not wait until everything is loaded, and does not get a place that an attempt has whose run is not loaded.
func TestATakeoverBeginsWithWhatIsDue(t *testing.T) {
	for places, soon := range map[int]bool{2: false, 3: true} {
		t.Run(fmt.Sprint(places, " places"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				hold := func(engine.Start) bool { return true }
				before := newProcess(t, w)
				before.cfg.MaxInflight, before.exec.hold = 3, hold
				before.launch()
				busy, again := definition("busy", task("t")), definition("again", task("t"))
				again.Tasks[0].Policy.Retry.MaxAttempts = 2
				one, two, due := before.submit(busy), before.submit(busy), before.submit(again)
				synctest.Wait()
				before.exec.finish(workflow.MakeAttemptID(due, 0, 0, 1), exited(1))
				synctest.Wait()
				before.crash()
				pass(time.Minute) // the backoff is over

				p := newProcess(t, w)
				p.cfg.MaxInflight, p.exec.hold = places, hold
				loads := make(chan struct{})
				second := workflow.MakeAttemptID(due, 0, 0, 2)
				has := func() bool {
					w.mu.Lock()
					defer w.mu.Unlock()
					return slices.Contains(w.begun, second)
				}
				saves := len(w.logged("save"))
				var acted atomic.Bool // what was due was saved before anything else was loaded
				var asked sync.Once
				p.onLoadAll = func(id workflow.RunID) (bool, error) {
					if id != due {
						asked.Do(func() { acted.Store(len(w.logged("save")) > saves) })
						<-loads
					}
					return true, nil
				}
				p.launch()
				synctest.Wait()
				pass(time.Minute)
				if has() != soon {
					t.Errorf("before the others are loaded the second attempt has begun: %v, want %v", has(), soon)
				}
				if !acted.Load() {
					t.Error("the others were asked for before what was due was saved")
				}
				close(loads)
				synctest.Wait()
				for _, id := range []workflow.RunID{one, two} {
					p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
					succeeded(t, p.wait(id))
				}
				synctest.Wait()
				p.exec.finish(second, exited(0))
				succeeded(t, p.wait(due))
				gracefully(t, p)
			})
		})
	}
}

func TestAttemptsTakenOverHoldTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		hold := func(engine.Start) bool { return true }
		p := newProcess(t, w)
		p.cfg.MaxInflight, p.exec.hold = 3, hold
		p.launch()
		id := p.submit(definition("wide", times(task("t"), 9)))
		synctest.Wait()
		other := p.submit(chain(1)) // has nothing in flight when it is taken over
		synctest.Wait()
		gracefully(t, p)
		next := newProcess(t, w)
		next.cfg.MaxInflight, next.exec.hold = 3, hold
		next.launch()
		for range 10 {
			synctest.Wait()
			w.mu.Lock()
			live := slices.IndexFunc(w.begun, func(id workflow.AttemptID) bool { return w.attempts[id].outcome == nil })
			oldest := w.begun[live]
			w.mu.Unlock()
			next.exec.finish(oldest, exited(0))
		}
		succeeded(t, next.wait(id))
		succeeded(t, next.wait(other))
		if w.peak != 3 {
			t.Errorf("at most %d ran at once, want 3", w.peak)
		}
		gracefully(t, next)
	})
}

// oneByOne is a store that cannot load many runs at once.
type oneByOne struct{ Store }

// However runs are loaded, none gets a place before all of them have theirs.
func TestATakeoverKeepsThePlacesOfRunsThatAreLoadedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const runs = 300
		w := newWorld()
		hold := func(engine.Start) bool { return true }
		before := newProcess(t, w)
		before.cfg.MaxInflight, before.exec.hold = runs, hold
		before.launch()
		again := definition("again", task("t"))
		again.Tasks[0].Policy.Retry.MaxAttempts = 2
		oldest := before.submit(again)
		synctest.Wait()
		before.exec.finish(workflow.MakeAttemptID(oldest, 0, 0, 1), exited(1))
		for range runs { // all places are taken when it is due again
			before.submit(definition("busy", task("t")))
		}
		synctest.Wait()
		before.crash()
		pass(time.Minute)

		p := newProcess(t, w)
		p.cfg.MaxInflight, p.exec.hold, p.cfg.Store = runs, hold, oneByOne{(*fakeStore)(p)}
		p.launch()
		if _, err := p.s.AwaitReconciled(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.mu.Lock()
		running := w.running
		w.mu.Unlock()
		if running > runs {
			t.Errorf("%d attempts run, want %d at most", running, runs)
		}
		gracefully(t, p)
	})
}
