// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

// view shows a run while it goes on.
type view interface {
	show(run *api.Run, children nested, now time.Time)
	note(text string, now time.Time)
	tick(now time.Time)
	end(now time.Time)
}

var (
	_ view = (*live)(nil)
	_ view = (*lines)(nil)
)

func (l *lines) tick(time.Time) {}
func (l *lines) end(time.Time)  {}

// viewOn picks the view for an output: a table drawn in place on a terminal, lines everywhere else.
func (a *App) viewOn(out interface{ Write([]byte) (int, error) }) view {
	if s := a.screenOf(out); s.live && a.Getenv(logLevelEnv) == "" {
		return &live{out: out, screen: s}
	}
	return &lines{out: out}
}

const (
	// pollWait is how long a blocking read waits for news.
	pollWait = time.Minute
	// retryDelay is the pause after an answer that says "ask again".
	retryDelay = time.Second
	// tickEvery is how often times are drawn anew on a terminal.
	tickEvery = time.Second
)

// errLeft: the user gave up following a run.
var errLeft = errors.New("left")

// follower shows a run until it is over.
type follower struct {
	app    *App
	client *client.Client
	id     string
	view   view
	// owner: this process drives the run, and an interrupt stops it. Else an interrupt only ends the following.
	owner bool
	// remote: a server drives the run. One that is away comes back, or another one leads.
	remote bool
	// ended is closed when the run is not driven any more; nil when this process does not drive it.
	ended <-chan struct{}
	// notice says why the run does not get on, empty when it does; nil when this process does not drive it.
	notice func() string
}

type reading struct {
	id  string
	run *api.Run
	err error
}

// kids reads the child runs that are in flight, for as long as they are.
type kids struct {
	follower *follower
	known    nested
	reading  map[string]bool // ID -> somebody waits for news of it
	news     chan reading
}

// attend begins to read the children in flight that nobody reads yet.
func (k *kids) attend(ctx context.Context, group *sync.WaitGroup, run *api.Run) {
	for _, id := range childrenOf(run, true) {
		if k.reading[id] {
			continue
		}
		k.reading[id] = true
		group.Go(func() { k.follower.poll(ctx, id, k.news) })
	}
}

// take keeps what was read of a child. One that is over, or not there yet, is read again when attend finds it in flight.
func (k *kids) take(r reading) {
	if r.err == nil {
		k.known[r.id] = r.run
	}
	if r.err != nil || r.run.Terminal() {
		delete(k.reading, r.id)
	}
}

// follow returns the last document of the run: the one after its end, or with an error the newest there is (nil if none).
func (f *follower) follow(ctx context.Context) (*api.Run, error) {
	signals, restore := f.app.signals()
	defer restore()
	ctx, cancel := context.WithCancel(ctx)
	var group, verbs sync.WaitGroup
	defer group.Wait()
	defer cancel()
	readings := make(chan reading)
	group.Go(func() { f.poll(ctx, f.id, readings) })
	children := &kids{follower: f, known: nested{}, reading: map[string]bool{}, news: make(chan reading)}
	answers := make(chan string) // of verbs, for people
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()

	var last *api.Run
	interrupts, noticed := 0, ""
	for {
		select {
		case r := <-readings:
			if r.err != nil {
				f.view.end(f.app.Now())
				return last, r.err
			}
			last = r.run
			noticed = f.remark(noticed)
			children.attend(ctx, &group, last)
			f.view.show(last, children.known, f.app.Now())
			if last.Terminal() {
				f.view.end(f.app.Now())
				return last, nil
			}
		case r := <-children.news:
			children.take(r)
			f.view.show(last, children.known, f.app.Now())
		case s := <-signals:
			interrupts++
			verb, text := f.react(s, interrupts)
			f.view.note(text, f.app.Now())
			if verb == "" {
				f.view.end(f.app.Now())
				finish(&group, &verbs)
				return last, errLeft
			}
			verbs.Add(1)
			group.Go(func() {
				defer verbs.Done()
				f.ask(ctx, verb, answers)
			})
		case text := <-answers:
			f.view.note(text, f.app.Now())
		case <-ticker.C:
			noticed = f.remark(noticed)
			if last != nil {
				children.attend(ctx, &group, last)
			}
			f.view.tick(f.app.Now())
		case <-f.ended:
			f.view.end(f.app.Now())
			return last, errors.New("the run is not driven any more")
		}
	}
}

// remark says once that the run does not get on, and once that it does again. It returns what was said last.
func (f *follower) remark(last string) string {
	if f.notice == nil {
		return ""
	}
	now := f.notice()
	switch {
	case now == last:
	case now == "" && f.driven():
		f.view.note("The run goes on.", f.app.Now())
	case now == "": // nobody has anything to say any more
	default:
		f.view.note(sentence(errors.New(now)), f.app.Now())
	}
	return now
}

// leaveGrace is how long leaving waits for what was announced before: a verb is one write to the store.
const leaveGrace = 2 * time.Second

// finish waits for the verbs under way.
func finish(group, verbs *sync.WaitGroup) {
	done := make(chan struct{})
	group.Go(func() {
		verbs.Wait()
		close(done)
	})
	select {
	case <-done:
	case <-time.After(leaveGrace):
	}
}

// driven reports whether the run is still driven by this process.
func (f *follower) driven() bool {
	select {
	case <-f.ended:
		return false
	default:
		return true
	}
}

// react decides what an interrupt means: the verb to use, or none to leave.
func (f *follower) react(s os.Signal, number int) (api.Verb, string) {
	key := "Ctrl-C"
	if s == syscall.SIGTERM {
		key = "SIGTERM"
	}
	switch {
	case !f.owner:
		return "", "Left: the run goes on without us."
	case number == 1:
		return api.VerbStop, key + ": stopping the run. What runs is cancelled, finally tasks run. Once more terminates it."
	case number == 2:
		return api.VerbTerminate, key + ": terminating the run, finally tasks too. Once more leaves it as it is."
	}
	return "", key + ": leaving the run as it is."
}

// ask uses a verb and says when that did not work.
func (f *follower) ask(ctx context.Context, verb api.Verb, answers chan<- string) {
	_, err := f.client.Verb(ctx, f.id, verb, api.VerbRequest{By: f.app.user(), Reason: "interrupted at the terminal"})
	var said *api.Error
	if err == nil || errors.As(err, &said) && said.Code == api.CodeConflict || ctx.Err() != nil {
		return // a run that ended meanwhile needs no verb
	}
	select {
	case answers <- fmt.Sprintf("%s did not work: %s", verb, err):
	case <-ctx.Done():
	}
}

// poll reads a run again whenever it has changed, until it is over.
func (f *follower) poll(ctx context.Context, id string, out chan<- reading) {
	var index uint64
	for {
		run, now, err := f.client.Wait(ctx, id, index, pollWait)
		if err != nil && (f.remote && away(err) || said(err, api.CodeNotReady)) {
			if !sleep(ctx, retryDelay) {
				return
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case out <- reading{id, run, err}:
		case <-ctx.Done():
			return
		}
		if err != nil || run.Terminal() {
			return
		}
		index = now
	}
}

// sleep waits, and is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// user names who uses a verb.
func (a *App) user() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if v := a.Getenv(name); v != "" {
			return v
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// tails reads the last lines of what the failed instances wrote. A log that cannot be read is left out: the summary names
// the command that will say why.
func (a *App) tails(ctx context.Context, c *client.Client, run *api.Run, failed []failure) {
	const tailBytes = 4 << 10 // a few lines of a usual length
	for i := range failed {
		f := &failed[i]
		if len(f.instance.Attempts) == 0 || childOf(f.instance) != "" {
			continue
		}
		log, err := c.Logs(ctx, run.ID, api.LogQuery{Task: f.task.Name, Key: f.instance.Key, Stderr: true, Tail: tailBytes})
		if err != nil {
			continue
		}
		var all []string
		for s := bufio.NewScanner(log); s.Scan(); {
			if l := strings.TrimSpace(s.Text()); l != "" {
				all = append(all, cut(clean(l), maxValue))
			}
		}
		f.tail = all[max(0, len(all)-maxTail):]
		if err := log.Close(); err != nil {
			f.tail = nil
		}
	}
}
