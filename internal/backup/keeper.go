// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/go-hclog"
)

// Leadership is what the keeper knows of the server that it belongs to: only the leader takes backups.
type Leadership interface {
	Leading() bool
	// AwaitReconciled waits until this server leads and everything that was under way is known.
	AwaitReconciled(ctx context.Context) (epoch uint64, err error)
}

// Config is what a keeper works with.
type Config struct {
	Source     Source
	Survey     func() Survey
	Target     Target
	Leadership Leadership
	Cluster    string // whose backups it keeps, as its UUID and the prefix of its keys say
	Prefix     string
	Recipients []age.Recipient // for whom backups are encrypted; none: they are not
	Interval   time.Duration   // between two backups; 0: none is taken without being asked for
	Retain     int             // backups that are kept
	Age        time.Duration   // that a backup is kept at most; the newest is always
	By         string          // name of this server
	Version    string          // of Cairn
	Logger     hclog.Logger
	Now        func() time.Time // nil: time.Now
}

const (
	// firstAfter is how long a leader that finds no backup waits with the first one: a takeover is not the moment for it.
	firstAfter = time.Minute
	// lookEvery is how often the keeper looks whether one is due.
	lookEvery = time.Second
	// againAfter is the pause after a failure, which doubles with every further one, up to againMost.
	againAfter, againMost = time.Minute, 15 * time.Minute
	// listEvery is how often the keeper looks at what there is, besides after each backup: drills are noted there, and people
	// remove files.
	listEvery = 5 * time.Minute
	// listWithin bounds one such look.
	listWithin = 2 * time.Minute
	// takeWithin bounds one backup: a disk or a network that is that slow is a failure.
	takeWithin = 30 * time.Minute
)

// Keeper takes backups when they are due, while its server leads, and removes old ones.
type Keeper struct {
	cfg   Config
	taker taker
	log   hclog.Logger
	busy  chan struct{} // full while a backup is taken

	mu       sync.Mutex // guards what follows
	list     []Manifest // the newest first
	problems []error    // of files that are no good
	listed   time.Time  // when that was
	began    time.Time  // of the leadership; zero while there is none
	failures int        // in a row
	failed   int        // ever
	failedAt time.Time  // the last time
	failure  error      // nil after a success
}

// Status is how a keeper stands.
type Status struct {
	Backups []Manifest // the newest first
	NextAt  time.Time  // zero: none is due
	Running bool
	Overdue bool   // the newest is older than twice the interval
	Drilled string // the one of its own that a drill was made of last; empty: none
	Failed  int    // tries that failed, since this process began
	Trouble error
}

// ErrBusy: a backup is being taken already.
var ErrBusy = errors.New("a backup is being taken at this moment")

// NewKeeper makes no call.
func NewKeeper(cfg Config) *Keeper {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Target = newBounded(cfg.Target)
	return &Keeper{
		cfg: cfg, log: cfg.Logger.Named("backup"), busy: make(chan struct{}, 1),
		taker: taker{
			source: cfg.Source, survey: cfg.Survey, target: cfg.Target, recipients: cfg.Recipients, by: cfg.By, version: cfg.Version, now: cfg.Now,
		},
	}
}

// Keep takes a backup whenever one is due and this server leads, until ctx ends.
func (k *Keeper) Keep(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	epoch := uint64(0)
	for {
		now, err := k.cfg.Leadership.AwaitReconciled(ctx)
		if err != nil {
			return // ctx has ended
		}
		if now != epoch {
			epoch = now
			k.begin(ctx)
		} else if k.stale() && len(k.busy) == 0 { // a backup is followed by a look of its own
			k.look(ctx)
		}
		if next := k.Status().NextAt; !next.IsZero() && !k.cfg.Now().Before(next) {
			if _, err := k.Save(ctx); err != nil && ctx.Err() != nil {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !k.cfg.Leadership.Leading() {
			k.rest()
			epoch = 0 // it may be this one again, which was not to be trusted for a moment
		}
	}
}

// begin looks what there is, at the beginning of a leadership.
func (k *Keeper) begin(ctx context.Context) {
	k.mu.Lock()
	k.began = k.cfg.Now()
	k.failures, k.failure = 0, nil
	k.mu.Unlock()
	k.look(ctx)
}

// look looks what there is.
func (k *Keeper) look(ctx context.Context) {
	k.mu.Lock()
	before := k.listed
	k.mu.Unlock()
	looking, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	list, problems, err := List(looking, k.cfg.Target)
	if err != nil {
		problems = append(problems, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if ctx.Err() != nil || !k.listed.Equal(before) { // a backup was taken meanwhile, which this list may not have
		return
	}
	if told := errors.Join(k.problems...); len(problems) > 0 && (told == nil || told.Error() != errors.Join(problems...).Error()) {
		k.log.Warn("backups cannot be read", "error", errors.Join(problems...))
	}
	if err == nil {
		k.list = list
	}
	k.problems, k.listed = problems, k.cfg.Now()
}

// stale reports whether it is time to look again.
func (k *Keeper) stale() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cfg.Now().Sub(k.listed).Abs() > listEvery
}

// rest forgets the leadership: what is overdue here is somebody else's work.
func (k *Keeper) rest() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list, k.problems, k.began, k.failures, k.failure = nil, nil, time.Time{}, 0, nil
}

// Status says how it stands.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	leads := k.cfg.Leadership.Leading()
	s := Status{Backups: k.list, Drilled: LastDrilled(k.list, k.own), NextAt: k.next(), Running: len(k.busy) > 0, Failed: k.failed, Trouble: errors.Join(append([]error{k.failure}, k.problems...)...)}
	if since := k.newest(); leads && k.cfg.Interval > 0 && !k.began.IsZero() {
		if since.Before(k.began) { // a new leader may keep its backups elsewhere: it has its time
			since = k.began
		}
		s.Overdue = k.cfg.Now().Sub(since) > 2*k.cfg.Interval
	}
	return s
}

// newest is when the newest backup of this Cairn was taken; zero where there is none. One from the future was stamped by a clock that was
// wrong, and does not count. The caller holds mu.
func (k *Keeper) newest() time.Time {
	for _, m := range k.list {
		if k.own(m) && !m.TakenAt.After(k.cfg.Now()) {
			return m.TakenAt
		}
	}
	return time.Time{}
}

// own reports whether a backup is of this Cairn: others may keep theirs at the same place.
func (k *Keeper) own(m Manifest) bool {
	return m.Stock.Cluster == k.cfg.Cluster && m.Stock.Prefix == k.cfg.Prefix
}

// next is when the next backup is due. The caller holds mu.
func (k *Keeper) next() time.Time {
	if k.cfg.Interval == 0 || k.began.IsZero() {
		return time.Time{}
	}
	due := k.newest().Add(k.cfg.Interval)
	if first := k.began.Add(min(firstAfter, k.cfg.Interval)); due.Before(first) {
		due = first
	}
	if k.failures > 0 {
		pause := againMost
		if k.failures <= 4 { // sixteen minutes are more than the most
			pause = againAfter << (k.failures - 1)
		}
		due = earlier(k.failedAt, k.cfg.Now()).Add(min(pause, againMost, k.cfg.Interval))
	}
	return due
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Save takes a backup now, and removes those that are too old. ErrBusy: another one is being taken.
func (k *Keeper) Save(ctx context.Context) (Manifest, error) {
	select {
	case k.busy <- struct{}{}:
	default:
		return Manifest{}, ErrBusy
	}
	defer func() { <-k.busy }()
	began := time.Now()
	taking, cancel := context.WithTimeout(ctx, takeWithin)
	defer cancel()
	m, err := k.taker.take(taking)
	if err != nil {
		err = fmt.Errorf("take a backup: %w", err)
		if !errors.Is(ctx.Err(), context.Canceled) { // whoever has asked for it is gone, or the server ends
			k.fail(err)
		}
		return m, err
	}
	k.log.Info("backup taken", "name", m.Name, "bytes", m.Size, "active", m.Stock.Active, "ended", m.Stock.Ended, "took", time.Since(began).Round(time.Millisecond))
	if m.Stock.Unreadable > 0 {
		k.log.Error("what was backed up cannot be read whole", "name", m.Name, "unreadable", m.Stock.Unreadable, "problems", m.Stock.Problems)
	}
	k.succeed(taking, m)
	return m, nil
}

func (k *Keeper) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed++
	k.failures++
	k.failure, k.failedAt = err, k.cfg.Now()
	k.log.Error("no backup was taken", "failures", k.failures, "error", err)
}

// prune makes room. What is old is measured by the backup before the last one, so that a clock that is wrong for a moment does not
// remove all that there is.
func (k *Keeper) prune(ctx context.Context, list []Manifest, last Manifest) ([]Manifest, error) {
	now := last.TakenAt
	for _, m := range list {
		if k.own(m) && m.Name != last.Name {
			now = earlier(now, m.TakenAt)
			break
		}
	}
	return k.taker.prune(ctx, list, last, k.cfg.Retain, now.Add(-k.cfg.Age))
}

// succeed notes a backup and makes room. That a file cannot be removed is trouble, but the backup is there.
func (k *Keeper) succeed(ctx context.Context, m Manifest) {
	list, problems, err := List(ctx, k.cfg.Target)
	if err == nil {
		list, err = k.prune(ctx, list, m)
	}
	if err != nil {
		k.log.Warn("old backups cannot be removed", "error", err)
		problems = append(problems, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(list) == 0 {
		list = append([]Manifest{m}, k.list...)
	}
	k.list, k.problems, k.listed, k.failures, k.failure = list, problems, k.cfg.Now(), 0, nil
}
