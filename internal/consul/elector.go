// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/scheduler"
)

var (
	_ scheduler.Elector = (*Elector)(nil)
)

// lockDelay is how long Consul keeps a lock from others after its session ended. Every write is fenced, so none is needed;
// Consul's Go client makes 15s of 0.
const lockDelay = time.Millisecond

// Elector gives the leadership to the server whose session holds the leader's key. Its leadership is what a Store writes
// with.
type Elector struct {
	cfg    Config
	client *client
	log    hclog.Logger
	keys   keys
	seen   *seen

	mu      sync.Mutex // guards what follows
	office  *office    // nil: does not lead
	cluster string     // that this server is of; empty: any
	// restored says that a leadership was lost because Consul was restored, and that none since has come to know what it did.
	restored bool
}

// ErrOtherCluster: Consul holds another cluster than the one that this server is of.
var ErrOtherCluster = errors.New("the store is of another cluster than this server")

// Belong says which cluster this server is of: it leads no other, whose jobs it would not know. The first leader of a store that
// says of no cluster that it is its own writes it there.
func (e *Elector) Belong(cluster string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cluster = cluster
}

// clusterOf makes sure that the store is of this server's cluster. What it returns belongs into the transaction that takes office.
func (e *Elector) clusterOf(ctx context.Context) ([]*consulapi.KVTxnOp, error) {
	e.mu.Lock()
	mine := e.cluster
	e.mu.Unlock()
	if mine == "" {
		return nil, nil
	}
	pairs, err := e.client.read(ctx, get(e.keys.cluster()))
	switch {
	case err != nil:
		return nil, err
	case len(pairs) == 0:
		return []*consulapi.KVTxnOp{{Verb: consulapi.KVCAS, Key: e.keys.cluster(), Index: 0, Value: []byte(mine)}}, nil
	case string(pairs[0].Value) != mine:
		return nil, fmt.Errorf("%w: key %s holds %s, and this server is of %s; started anew it is of that one too", ErrOtherCluster, e.keys.cluster(), pairs[0].Value, mine)
	}
	return []*consulapi.KVTxnOp{{Verb: consulapi.KVCheckIndex, Key: e.keys.cluster(), Index: pairs[0].ModifyIndex}}, nil
}

// NewElector makes no call.
func NewElector(cfg Config) (*Elector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := newClient(&cfg)
	if err != nil {
		return nil, err
	}
	log := cfg.Logger.Named("consul")
	s, err := readSeen(cfg.SeenFile, log)
	if err != nil {
		return nil, err
	}
	return &Elector{cfg: cfg, client: c, log: log, keys: keys{cfg.Prefix}, seen: s}, nil
}

// Acquire implements scheduler.Elector. Trouble with Consul does not end it.
func (e *Elector) Acquire(ctx context.Context) (scheduler.Leadership, error) {
	if o := e.current(); o != nil {
		if o.err() == nil {
			return scheduler.Leadership{}, fmt.Errorf("acquire the leadership: this server leads already, with epoch %d", o.epoch)
		}
		// A session may outlive the leadership, and hold the key: after a restore of Consul it does.
		if err := e.Release(ctx, scheduler.Leadership{Epoch: o.epoch}); err != nil {
			e.log.Warn("the session of a leadership that was lost cannot be ended; it ends by itself", "epoch", o.epoch, "error", err)
		}
	}
	index, failures := uint64(0), 0
	for {
		pair, next, err := e.client.wait(ctx, e.keys.leader(), index)
		if err == nil {
			index = next
			if pair != nil && pair.Session != "" {
				failures = 0
				continue
			}
			var l scheduler.Leadership
			var won bool
			if l, won, err = e.take(ctx); won {
				return l, nil
			}
			index = 0 // look at once who has it
		}
		if ctx.Err() != nil {
			return scheduler.Leadership{}, fmt.Errorf("acquire the leadership: %w", ctx.Err())
		}
		if errors.Is(err, ErrOtherCluster) {
			return scheduler.Leadership{}, fmt.Errorf("acquire the leadership: %w", err)
		}
		if err == nil {
			continue
		}
		failures++
		e.log.Warn("the leadership cannot be asked for; trying again", "failures", failures, "error", err)
		if err := e.cfg.Backoff.Wait(ctx, failures); err != nil {
			return scheduler.Leadership{}, fmt.Errorf("acquire the leadership: %w", err)
		}
	}
}

// take tries to get the leader's key, which was free just now, with a session of its own. It is not won and no error when
// another one was faster.
func (e *Elector) take(ctx context.Context) (l scheduler.Leadership, won bool, err error) {
	sent := time.Now()
	ofCluster, err := e.clusterOf(ctx)
	if err != nil {
		return l, false, err
	}
	top := e.seen.highest() // before the counter is read: others lead meanwhile
	var now seq
	var index uint64
	var counted error
	var counter sync.WaitGroup
	counter.Go(func() { now, index, counted = e.client.counter(ctx, e.keys) }) // whoever comes between makes it another one
	session, err := e.createSession(ctx)
	counter.Wait()
	if err != nil {
		return l, false, err
	}
	defer func() {
		if !won {
			err = errors.Join(err, e.destroySession(session))
		}
	}()
	if counted != nil {
		return l, false, counted
	}
	mine, restored := e.next(now, top, session)
	ops := []*consulapi.KVTxnOp{
		{Verb: consulapi.KVLock, Key: e.keys.leader(), Value: encode(e.self()), Session: session},
		{Verb: consulapi.KVCAS, Key: e.keys.seq(), Index: index, Value: encode(mine)},
	}
	ops = append(ops, ofCluster...)
	if index == 0 { // the first of all: whoever comes second finds another counter
		ops = append(ops, set(e.keys.root(), []byte(firstData)))
	}
	r, err := e.client.txn(ctx, ops)
	switch {
	case err != nil:
		return l, false, err // it may have been done: the session is destroyed, so that a late one does nothing
	case len(r.errors) > 0:
		if holder, err := e.Holder(ctx); err != nil || holder != (Holder{}) {
			return l, false, err // another server was faster
		}
		return l, false, fmt.Errorf("take office: Consul refuses: %s", r.errors[0].What)
	}
	for _, p := range r.pairs {
		if p.Key == e.keys.seq() {
			index = p.ModifyIndex
		}
	}
	e.seen.note(mine)
	e.mu.Lock()
	e.office = newOffice(e, session, mine, index)
	e.mu.Unlock()
	e.log.Info("took office", "epoch", mine.Epoch, "incarnation", mine.Incarnation, "session", session)
	return scheduler.Leadership{Epoch: mine.Epoch, TrustedUntil: sent.Add(e.cfg.TTL), Restored: restored}, true, nil
}

// next is the counter with which this server takes office. A new incarnation begins with the first leader of all, and where
// Consul holds less than this server has seen: it was restored. Where only what is Cairn's was, it has begun already.
func (e *Elector) next(now, top seq, session string) (mine seq, restored bool) {
	mine = seq{Incarnation: now.Incarnation, Epoch: max(now.Epoch, top.Epoch) + 1, Session: session}
	less := now.Epoch < top.Epoch || now.before(top) // epochs grow over incarnations too
	if less || now == (seq{}) {
		mine.Incarnation = newUUID()
	}
	if less {
		e.log.Warn("Consul was restored from a snapshot: it holds less than this server has seen",
			"held_epoch", now.Epoch, "held_n", now.N, "seen_epoch", top.Epoch, "seen_n", top.N, "incarnation", mine.Incarnation)
	}
	// It stays in recovery until that is over, whoever leads meanwhile.
	mine.Restored = less || now.Restored || e.wasRestored()
	return mine, mine.Restored
}

// wasRestored reports whether the last leadership of this server was lost to a restore: what the counter says now may have been
// seen since, by whoever asked who leads.
func (e *Elector) wasRestored() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.office == nil && e.restored
}

// Recovered says that what an earlier leadership did is known: the next write notes that this leadership is in recovery no more.
func (e *Elector) Recovered(epoch uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.office != nil && e.office.epoch == epoch {
		e.office.restored.Store(false)
		e.restored = false
	}
}

// Doubted says that Nomad was restored: whoever leads next is to find out, too, what was done, until a leader has recovered.
func (e *Elector) Doubted() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.office != nil {
		e.office.restored.Store(true)
		e.restored = true
	}
}

// Surpassed notes an epoch that was met outside of Consul, as on a job: the next leadership of this server is above it, and
// knows that Consul was restored if it holds less.
func (e *Elector) Surpassed(epoch uint64) {
	if epoch > e.seen.highest().Epoch {
		e.seen.note(seq{Epoch: epoch})
	}
}

func (e *Elector) createSession(ctx context.Context) (string, error) {
	entry := &consulapi.SessionEntry{
		Name: "cairn leader " + e.cfg.Name, TTL: e.cfg.TTL.String(), Behavior: consulapi.SessionBehaviorRelease, LockDelay: lockDelay,
		NodeChecks: []string{"serfHealth"},
	}
	for _, id := range e.cfg.Checks {
		entry.ServiceChecks = append(entry.ServiceChecks, consulapi.ServiceCheck{ID: id})
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	id, _, err := e.client.api.Session().Create(entry, (&consulapi.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("create a session: %w", err)
	}
	return id, nil
}

// destroySession frees what the session holds, whatever became of the context of its use.
func (e *Elector) destroySession(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), e.cfg.CallTimeout)
	defer cancel()
	if _, err := e.client.api.Session().Destroy(id, (&consulapi.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("destroy session %s: %w", id, err)
	}
	return nil
}

// Renew implements scheduler.Elector.
func (e *Elector) Renew(ctx context.Context, l scheduler.Leadership) (scheduler.Leadership, error) {
	o := e.current()
	if o == nil || o.epoch != l.Epoch {
		return l, fmt.Errorf("renew epoch %d: %w", l.Epoch, scheduler.ErrFenced)
	}
	if err := o.err(); err != nil {
		return l, fmt.Errorf("renew epoch %d: %w", l.Epoch, err)
	}
	sent := time.Now()
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	entry, _, err := e.client.api.Session().Renew(o.session, (&consulapi.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return l, fmt.Errorf("renew epoch %d: %w", l.Epoch, err)
	}
	if entry == nil {
		return l, e.lost(o, errors.New("its session has ended"))
	}
	// A session can live on without the key, which somebody may have deleted, and over a restore of Consul.
	top := e.seen.highest() // before the read: writes go on
	leader, now, err := e.stand(ctx)
	if err != nil {
		return l, fmt.Errorf("renew epoch %d: %w", l.Epoch, err)
	}
	if leader == nil || leader.Session != o.session {
		return l, e.lost(o, errors.New("its session does not hold the leader's key"))
	}
	// Its own counter tells too: what this server has seen may be what was restored, learnt by whoever asked who leads.
	if now.Session != o.session || now.Incarnation != top.Incarnation || now.before(top) {
		return l, e.lost(o, fmt.Errorf("%w: its counter is at %d.%d, this server has seen %d.%d",
			ErrRestored, now.Epoch, now.N, top.Epoch, top.N))
	}
	l.TrustedUntil = sent.Add(e.cfg.TTL)
	return l, nil
}

func (e *Elector) lost(o *office, why error) error {
	err := fmt.Errorf("epoch %d: %w: %w", o.epoch, scheduler.ErrFenced, why)
	o.close(err)
	return fmt.Errorf("renew %w", err)
}

// Release implements scheduler.Elector.
func (e *Elector) Release(ctx context.Context, l scheduler.Leadership) error {
	e.mu.Lock()
	o := e.office
	if o == nil || o.epoch != l.Epoch {
		e.mu.Unlock()
		return nil
	}
	e.office, e.restored = nil, e.restored || errors.Is(o.err(), ErrRestored)
	e.mu.Unlock()
	o.close(fmt.Errorf("epoch %d was given up: %w", o.epoch, scheduler.ErrFenced))
	// Unlocked by its holder, the key is free at once; the session's end alone would free it after the lock delay.
	_, err := e.client.txn(ctx, []*consulapi.KVTxnOp{
		{Verb: consulapi.KVUnlock, Key: e.keys.leader(), Value: encode(e.self()), Session: o.session}})
	e.seen.store()
	if err := errors.Join(err, e.destroySession(o.session)); err != nil {
		return fmt.Errorf("release epoch %d: %w", l.Epoch, err)
	}
	return nil
}

// Holder is who leads.
type Holder struct {
	Name string `json:"name"`
	URL  string `json:"url"` // of its API
}

func (e *Elector) self() Holder { return Holder{Name: e.cfg.Name, URL: e.cfg.ServerURL} }

// Leader implements scheduler.Elector: the name of the server that leads.
func (e *Elector) Leader(ctx context.Context) (string, error) {
	h, err := e.Holder(ctx)
	return h.Name, err
}

// Holder tells who leads; its zero value when nobody does.
func (e *Elector) Holder(ctx context.Context) (Holder, error) {
	h, _, err := e.Standing(ctx)
	return h, err
}

// Standing tells who leads, and the newest epoch there was. It notes where the counter stands: this server may have to notice a
// restore of Consul after that leader is gone.
func (e *Elector) Standing(ctx context.Context) (Holder, uint64, error) {
	leader, now, err := e.stand(ctx)
	if err != nil {
		return Holder{}, 0, fmt.Errorf("who leads: %w", err)
	}
	e.seen.note(now)
	var h Holder
	if leader == nil || leader.Session == "" {
		return h, now.Epoch, nil
	}
	if err := json.Unmarshal(leader.Value, &h); err != nil {
		return Holder{}, 0, fmt.Errorf("who leads: key %s holds %q: %w", e.keys.leader(), leader.Value, err)
	}
	return h, now.Epoch, nil
}

// Next waits until somebody leads with an epoch after the one given, and tells who. Trouble with Consul does not end it.
func (e *Elector) Next(ctx context.Context, after uint64) (Holder, uint64, error) {
	index, failures := uint64(0), 0
	for {
		_, next, err := e.client.wait(ctx, e.keys.leader(), index)
		if err == nil {
			index = next
			var h Holder
			var epoch uint64
			if h, epoch, err = e.Standing(ctx); err == nil {
				failures = 0
				if epoch > after && h != (Holder{}) {
					return h, epoch, nil
				}
				continue
			}
		}
		failures++
		if ctx.Err() == nil {
			e.log.Warn("who leads next cannot be read; trying again", "failures", failures, "error", err)
			index = 0
		}
		if err := e.cfg.Backoff.Wait(ctx, failures); err != nil {
			return Holder{}, 0, fmt.Errorf("who leads next: %w", err)
		}
	}
}

// stand reads the leader's key, nil where there is none, and the counter, as of one moment.
func (e *Elector) stand(ctx context.Context) (leader *consulapi.KVPair, now seq, err error) {
	pairs, err := e.client.read(ctx, get(e.keys.leader()), get(e.keys.seq()))
	if err != nil {
		return nil, seq{}, err
	}
	for _, p := range pairs {
		if p.Key == e.keys.leader() {
			leader = p
		} else if now, err = parseSeq(e.keys, p); err != nil {
			return nil, seq{}, err
		}
	}
	return leader, now, nil
}

// current is the office of this server, held or lost; nil when it was given up or never taken.
func (e *Elector) current() *office {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.office
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])                             // never fails: see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
