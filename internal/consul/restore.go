// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/backup"
)

// restoring is the key that whoever restores holds, with a session that ends by itself: two at once would mix. Its value names the
// data prefix that is written: what is left of a restore that was killed.
func (k keys) restoring() string { return k.prefix + "restoring" }

// Restorer puts what a snapshot holds of Cairn into Consul, beside what is there, and then has the servers use it: in one
// transaction, so that there is the old state or the new one whenever it is interrupted. Nothing else in Consul is touched, and
// the old state stays until somebody deletes it.
type Restorer struct {
	cfg    Config
	client *client
	keys   keys
	log    hclog.Logger
}

// restoreCall bounds a single call of a restore, which may list all there is.
const restoreCall = time.Minute

// NewRestorer makes no call. Of the configuration it takes what is said about Consul.
func NewRestorer(cfg Config) (*Restorer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.CallTimeout = restoreCall
	c, err := newClient(&cfg)
	if err != nil {
		return nil, err
	}
	return &Restorer{cfg: cfg, client: c, keys: keys{cfg.Prefix}, log: cfg.Logger.Named("restore")}, nil
}

// Archive reads a snapshot to its end and shows every key of it, as backup.Read does. It is called twice.
type Archive func(show func(backup.Entry) error) error

// Plan is what a restore would change.
type Plan struct {
	Snapshot backup.Stock `json:"snapshot"` // what is restored
	Present  backup.Stock `json:"present"`  // what is there; the zero value: nothing
	Leader   string       `json:"leader"`   // name of the server that leads; empty: none does
	Data     string       `json:"data"`     // name of the new data prefix
	Old      string       `json:"old"`      // name of the one in use, which stays; empty: there is none
	Epoch    uint64       `json:"epoch"`    // of the new state: the next leader is above it
	Back     int          `json:"back"`     // runs that the present state does not know
	Unknown  int          `json:"unknown"`  // runs that only the present state knows: what they have in Nomad becomes orphans
	Reopened int          `json:"reopened"` // runs that are over now and active in the snapshot
	// Unfinished is the data prefix that a restore has left which did not come to its end; empty: there is none. It is removed.
	Unfinished string `json:"unfinished"`
	// Stray are data prefixes that are there although none is in use.
	Stray []string `json:"stray"`
}

// Refusal says why a plan is not to be carried out; nil where it may be.
func (p *Plan) Refusal() error {
	runs := p.Present.Active + p.Present.Ended
	if len(p.Stray) > 0 {
		return fmt.Errorf("key %sroot is gone, which says what is in use, and there is data below %s%s/. If that is the state that was in use, put it back: consul kv put %sroot %s",
			p.Present.Prefix, p.Present.Prefix, p.Stray[len(p.Stray)-1], p.Present.Prefix, p.Stray[len(p.Stray)-1])
	}
	if p.Present.Cluster == "" || p.Present.Cluster == p.Snapshot.Cluster || runs == 0 {
		return nil
	}
	return fmt.Errorf("the snapshot is of another Cairn: of cluster %s, and below %s there are %d runs of cluster %s, whose jobs nobody would know any more. "+
		"Delete what is there if it is of no use: consul kv delete -recurse %s", p.Snapshot.Cluster, p.Present.Prefix, runs, p.Present.Cluster, p.Present.Prefix)
}

// Plan reads a snapshot and says what restoring it would change.
func (r *Restorer) Plan(ctx context.Context, read Archive) (Plan, error) {
	snapshot := NewSurvey(r.keys.prefix)
	if err := read(snapshot.Look); err != nil {
		return Plan{}, err
	}
	stock, err := snapshot.Stock()
	if err != nil {
		return Plan{}, fmt.Errorf("the snapshot cannot be restored: %w", err)
	}
	p := newPlan(stock)
	present, err := r.look(ctx, &p)
	if err != nil {
		return p, fmt.Errorf("look at what is in Consul: %w", err)
	}
	compare(&p, snapshot.data[stock.Data], present)
	return p, nil
}

func newPlan(snapshot backup.Stock) Plan {
	return Plan{Snapshot: snapshot, Present: backup.Stock{Problems: []string{}}, Stray: []string{}}
}

// look surveys what is there: the entries of the runs and the workflows, not what they lead to.
func (r *Restorer) look(ctx context.Context, p *Plan) (*surveyed, error) {
	names, err := r.client.names(ctx, r.keys.prefix, "/")
	if err != nil {
		return nil, err
	}
	survey := NewSurvey(r.keys.prefix)
	ops := []*consulapi.KVTxnOp{get(r.keys.root()), get(r.keys.cluster()), get(r.keys.seq()), get(r.keys.leader()), get(r.keys.restoring())}
	pairs, err := r.client.read(ctx, ops...)
	if err != nil {
		return nil, err
	}
	for _, pair := range pairs {
		if pair.Key == r.keys.leader() && pair.Session != "" {
			if p.Leader, err = leaderName(r.keys, pair); err != nil {
				return nil, err
			}
		}
		if pair.Key == r.keys.restoring() {
			p.Unfinished = string(pair.Value)
		}
		if err := survey.Look(entryFrom(pair)); err != nil {
			return nil, err
		}
	}
	p.Old, p.Present.Cluster, p.Present.Epoch, p.Present.Prefix = survey.root, survey.stock.Cluster, survey.stock.Epoch, r.keys.prefix
	p.Epoch = max(p.Present.Epoch, p.Snapshot.Epoch) + 1
	highest := max(dataNumber(p.Snapshot.Data), dataNumber(p.Old))
	for _, name := range names {
		name = strings.TrimSuffix(strings.TrimPrefix(name, r.keys.prefix), "/")
		if n := dataNumber(name); n > 0 {
			highest = max(highest, n)
			if p.Old == "" && name != p.Unfinished {
				p.Stray = append(p.Stray, name)
			}
		}
	}
	if p.Unfinished == p.Old || dataNumber(p.Unfinished) == 0 {
		p.Unfinished = "" // it came to its end, and was killed then
	}
	p.Data = dataName(highest + 1)
	if p.Old == "" {
		return nil, nil
	}
	d := data{r.keys.prefix + p.Old + "/"}
	if pairs, err = r.client.read(ctx, tree(d.index()), tree(d.workflows())); err != nil {
		return nil, err
	}
	for _, pair := range pairs {
		if err := survey.Look(entryFrom(pair)); err != nil {
			return nil, err
		}
	}
	found := survey.data[p.Old]
	if found == nil {
		return nil, nil
	}
	p.Present.Workflows = found.workflows
	for _, e := range found.entries {
		if e.Done {
			p.Present.Ended++
		} else {
			p.Present.Active++
		}
	}
	return found, nil
}

func entryFrom(p *consulapi.KVPair) backup.Entry {
	return backup.Entry{Key: p.Key, Value: p.Value, Flags: p.Flags, ModifyIndex: p.ModifyIndex}
}

// compare counts what becomes of runs.
func compare(p *Plan, snapshot, present *surveyed) {
	if present == nil {
		present = &surveyed{}
	}
	if snapshot == nil {
		snapshot = &surveyed{}
	}
	for id, e := range snapshot.entries {
		now, there := present.entries[id]
		switch {
		case !there:
			p.Back++
		case now.Done && !e.Done:
			p.Reopened++
		}
	}
	for id := range present.entries {
		if _, there := snapshot.entries[id]; !there {
			p.Unknown++
		}
	}
}

// Restore does what a plan says, of the same snapshot. progress is told how many keys are written. When it fails the old state
// is in use, unless the error is ErrUnclear.
func (r *Restorer) Restore(ctx context.Context, p Plan, read Archive, progress func(keys int)) error {
	if err := p.Refusal(); err != nil {
		return err
	}
	c, err := r.claim(ctx, p.Unfinished)
	if err != nil {
		return err
	}
	defer c.close()
	now := newPlan(p.Snapshot)
	if _, err := r.look(ctx, &now); err != nil {
		return err
	}
	c.note = now.Unfinished // nothing, where what was unfinished is in use now
	if now.Old != p.Old || now.Data != p.Data || now.Present.Cluster != p.Present.Cluster {
		return fmt.Errorf("what is below %s has changed since it was looked at: %q was in use, of cluster %q, and now %q, of cluster %q. Try again",
			r.keys.prefix, p.Old, p.Present.Cluster, now.Old, now.Present.Cluster)
	}
	if p.Unfinished != "" {
		if err := c.commit(ctx, []*consulapi.KVTxnOp{removeTree(r.keys.prefix + p.Unfinished + "/")}); err != nil {
			return fmt.Errorf("remove what an unfinished restore has left below %s%s/: %w", r.keys.prefix, p.Unfinished, err)
		}
	}
	if err := c.commit(ctx, []*consulapi.KVTxnOp{c.lock(p.Data)}); err != nil {
		return err
	}
	w := &copying{claim: c, ctx: ctx, from: r.keys.prefix + p.Snapshot.Data + "/", to: r.keys.prefix + p.Data + "/", progress: progress}
	again := NewSurvey(r.keys.prefix)
	err = read(func(e backup.Entry) error { return errors.Join(again.Look(e), w.show(e)) })
	if err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if stock, err := again.Stock(); err != nil || !reflect.DeepEqual(stock, p.Snapshot) {
		return errors.Join(errors.New("the snapshot is another one than was looked at: something replaces the file. Nothing has changed"), err)
	}
	if err := w.check(ctx, p.Snapshot.Keys); err != nil {
		return err
	}
	err = c.turn(ctx, p)
	c.switched = err == nil
	return err
}

// AwaitLeader waits, after a restore, until a server has taken office with what was restored, and tells its name.
func (r *Restorer) AwaitLeader(ctx context.Context) (string, error) {
	for index := uint64(0); ; {
		pair, next, err := r.client.wait(ctx, r.keys.seq(), index)
		if err != nil {
			return "", err
		}
		index = next
		if pair == nil {
			continue
		}
		now, err := parseSeq(r.keys, pair)
		if err != nil {
			return "", err
		}
		if now.Session == "" { // nobody has taken office since
			continue
		}
		pairs, err := r.client.read(ctx, get(r.keys.leader()))
		if err != nil || len(pairs) == 0 {
			return "", err
		}
		return leaderName(r.keys, pairs[0])
	}
}

func leaderName(k keys, pair *consulapi.KVPair) (string, error) {
	var h Holder
	if err := json.Unmarshal(pair.Value, &h); err != nil {
		return "", fmt.Errorf("key %s holds %q: %w", k.leader(), pair.Value, err)
	}
	return h.Name, nil
}

// Mark has the servers notice that all of Consul was restored, whatever they have seen before: the counter is that of a new
// incarnation. Where there is no counter there is nothing of Cairn to notice. Trouble with Consul, which has to find a leader after a
// restore, does not end it.
func (r *Restorer) Mark(ctx context.Context) error {
	for failures := 1; ; failures++ {
		done, err := r.mark(ctx)
		if done {
			return nil
		}
		if waited := r.cfg.Backoff.Wait(ctx, failures); waited != nil {
			return errors.Join(waited, err)
		}
	}
}

// mark tries to once. It is not done and no error where the counter has moved.
func (r *Restorer) mark(ctx context.Context) (done bool, err error) {
	now, index, err := r.client.counter(ctx, r.keys)
	if err != nil || index == 0 {
		return err == nil, err
	}
	next := seq{Incarnation: newUUID(), Epoch: now.Epoch + 1, Restored: true}
	res, err := r.client.txn(ctx, []*consulapi.KVTxnOp{{Verb: consulapi.KVCAS, Key: r.keys.seq(), Index: index, Value: encode(next)}})
	return err == nil && len(res.errors) == 0, err
}

// claim is the right to restore.
type claim struct {
	*Restorer
	session  string
	note     string // the data prefix that is written, or left from before
	switched bool   // it is in use
	stop     context.CancelFunc
	renewal  sync.WaitGroup
}

const (
	// claimTTL ends the claim of a restore that was killed, after twice that at most.
	claimTTL = 20 * time.Second
	// switchTries bounds how often the counter may move between its being read and the switch: a leader under load writes a few
	// hundred times in a second, and each try takes a few milliseconds.
	switchTries = 1000
	// commitTries bounds the repetition of a write without an answer.
	commitTries = 8
)

// ErrUnclear: Consul did not say whether the switch was done.
var ErrUnclear = errors.New("it is not known whether the new state is in use")

// claim takes the right to restore. unfinished is what is left of an earlier one, until it is removed.
func (r *Restorer) claim(ctx context.Context, unfinished string) (*claim, error) {
	create, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	session, _, err := r.client.api.Session().Create(&consulapi.SessionEntry{
		Name: "cairn restore", TTL: claimTTL.String(), Behavior: consulapi.SessionBehaviorRelease, LockDelay: lockDelay,
	}, (&consulapi.WriteOptions{}).WithContext(create))
	if err != nil {
		return nil, fmt.Errorf("create a session: %w", err)
	}
	c := &claim{Restorer: r, session: session}
	res, err := r.client.txn(ctx, []*consulapi.KVTxnOp{c.lock(unfinished)})
	if err == nil && len(res.errors) > 0 {
		err = fmt.Errorf("another restore below %s is under way; one that was killed is forgotten after %s (%s)",
			r.keys.prefix, 2*claimTTL, res.errors[0].What)
	}
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.renewal.Go(func() { c.renew(renewing) })
	return c, nil
}

// renew keeps the session. Where that fails the next write says so.
func (c *claim) renew(ctx context.Context) {
	tick := time.NewTicker(claimTTL / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		call, cancel := context.WithTimeout(ctx, claimTTL/4)
		_, _, err := c.client.api.Session().Renew(c.session, (&consulapi.WriteOptions{}).WithContext(call))
		cancel()
		if err != nil && ctx.Err() == nil {
			c.log.Warn("the session of the restore cannot be renewed; trying again", "error", err)
		}
	}
}

// close gives the claim up. Of a restore that came to its end the key goes too; of another one it says what is left. Where that fails
// the session ends by itself.
func (c *claim) close() {
	c.stop()
	c.renewal.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.CallTimeout)
	defer cancel()
	end := remove(c.keys.restoring())
	if c.note != "" && !c.switched {
		end = &consulapi.KVTxnOp{Verb: consulapi.KVUnlock, Key: c.keys.restoring(), Value: []byte(c.note), Session: c.session}
	}
	_, err := c.client.txn(ctx, []*consulapi.KVTxnOp{c.guard(), end})
	if err := errors.Join(err, c.end()); err != nil {
		c.log.Warn("the right to restore was not given back; it ends by itself", "error", err)
	}
}

func (c *claim) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.CallTimeout)
	defer cancel()
	if _, err := c.client.api.Session().Destroy(c.session, (&consulapi.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("end the session of the restore: %w", err)
	}
	return nil
}

// lock holds the claim, and notes what is written.
func (c *claim) lock(name string) *consulapi.KVTxnOp {
	c.note = name
	return &consulapi.KVTxnOp{Verb: consulapi.KVLock, Key: c.keys.restoring(), Value: []byte(name), Session: c.session}
}

// guard lets a transaction pass only while the claim stands.
func (c *claim) guard() *consulapi.KVTxnOp {
	return &consulapi.KVTxnOp{Verb: consulapi.KVCheckSession, Key: c.keys.restoring(), Session: c.session}
}

// read reads, again where Consul does not answer.
func (c *claim) read(ctx context.Context, ops ...*consulapi.KVTxnOp) (pairs []*consulapi.KVPair, err error) {
	err = c.patiently(ctx, func() error {
		pairs, err = c.client.read(ctx, ops...)
		return err
	})
	return pairs, err
}

// patiently repeats what failed, for about the time that an election of Consul's takes.
func (c *claim) patiently(ctx context.Context, do func() error) error {
	for failures := 1; ; failures++ {
		err := do()
		if err == nil || failures == commitTries {
			return err
		}
		c.log.Warn("Consul does not answer; trying again", "failures", failures, "error", err)
		if err := c.cfg.Backoff.Wait(ctx, failures); err != nil {
			return err
		}
	}
}

// commit writes what may be written twice.
func (c *claim) commit(ctx context.Context, ops []*consulapi.KVTxnOp) error {
	for failures := 1; ; failures++ {
		res, err := c.client.txn(ctx, append([]*consulapi.KVTxnOp{c.guard()}, ops...))
		switch {
		case err == nil && len(res.errors) > 0:
			return fmt.Errorf("refused: %s", res.errors[0].What)
		case err == nil:
			return nil
		case errors.Is(err, errRefused) || failures == commitTries:
			return err
		}
		c.log.Warn("a write was not done, or that is not known; trying again", "failures", failures, "error", err)
		if err := c.cfg.Backoff.Wait(ctx, failures); err != nil {
			return err
		}
	}
}

// turn has the servers use the new data. A leader that is at work is refused with its next write, and begins anew.
func (c *claim) turn(ctx context.Context, p Plan) error {
	root, cluster := c.keys.root(), c.keys.cluster()
	for range switchTries {
		pairs, err := c.read(ctx, get(root), get(cluster), get(c.keys.seq()))
		if err != nil {
			return err
		}
		var now seq
		indexes, values := map[string]uint64{}, map[string]string{}
		for _, pair := range pairs {
			indexes[pair.Key], values[pair.Key] = pair.ModifyIndex, string(pair.Value)
			if pair.Key == c.keys.seq() {
				if now, err = parseSeq(c.keys, pair); err != nil {
					return err
				}
			}
		}
		if values[root] != p.Old || values[cluster] != p.Present.Cluster {
			return fmt.Errorf("what is below %s was changed while the snapshot was written: %q was in use, of cluster %q, and now %q, of cluster %q. Try again",
				c.keys.prefix, p.Old, p.Present.Cluster, values[root], values[cluster])
		}
		next := seq{Incarnation: newUUID(), Epoch: max(now.Epoch, p.Snapshot.Epoch) + 1, Restored: true}
		res, err := c.client.txn(ctx, []*consulapi.KVTxnOp{
			c.guard(),
			{Verb: consulapi.KVCAS, Key: c.keys.seq(), Index: indexes[c.keys.seq()], Value: encode(next)},
			{Verb: consulapi.KVCAS, Key: root, Index: indexes[root], Value: []byte(p.Data)},
			{Verb: consulapi.KVCAS, Key: cluster, Index: indexes[cluster], Value: []byte(p.Snapshot.Cluster)},
		})
		switch {
		case err != nil:
			return c.settle(ctx, next, err)
		case len(res.errors) == 0:
			return nil
		case res.errors[0].OpIndex == 0:
			return fmt.Errorf("the right to restore was lost: %s", res.errors[0].What)
		}
	}
	return fmt.Errorf("the counter at %s moved %d times before it could be taken over: stop the servers, and try again", c.keys.seq(), switchTries)
}

// settle finds out whether a switch without an answer was done.
func (c *claim) settle(ctx context.Context, next seq, cause error) error {
	for failures := 1; failures <= commitTries; failures++ {
		if c.cfg.Backoff.Wait(ctx, failures) != nil {
			break
		}
		now, _, err := c.client.counter(ctx, c.keys)
		switch {
		case err != nil:
			cause = errors.Join(cause, err)
		case now.Incarnation == next.Incarnation:
			return nil
		case errors.Is(cause, errRefused):
			return cause
		}
	}
	return fmt.Errorf("%w: %w", ErrUnclear, cause)
}

// copying copies keys to another prefix, and reads them back.
type copying struct {
	claim    *claim
	ctx      context.Context
	from, to string
	progress func(keys int)

	batch []*consulapi.KVTxnOp
	bytes int
	keys  int
}

// show takes a key in.
func (w *copying) show(e backup.Entry) error {
	rest, ours := strings.CutPrefix(e.Key, w.from)
	if !ours {
		return nil
	}
	op := set(w.to+rest, bytes.Clone(e.Value))
	op.Flags = e.Flags
	if len(w.batch) > 0 && (len(w.batch) >= maxOps || w.bytes+size(op) > maxBytes) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.batch, w.bytes = append(w.batch, op), w.bytes+size(op)
	return nil
}

// flush writes what was taken in, and reads it back.
func (w *copying) flush() error {
	if len(w.batch) == 0 {
		return nil
	}
	if err := w.claim.commit(w.ctx, w.batch); err != nil {
		return fmt.Errorf("write %d keys from %s on: %w", len(w.batch), w.batch[0].Key, err)
	}
	reads := make([]*consulapi.KVTxnOp, len(w.batch))
	for i, op := range w.batch {
		reads[i] = get(op.Key)
	}
	pairs, err := w.claim.read(w.ctx, reads...)
	if err != nil {
		return fmt.Errorf("read back %d keys from %s on: %w", len(reads), reads[0].Key, err)
	}
	same := slices.EqualFunc(w.batch, pairs, func(op *consulapi.KVTxnOp, p *consulapi.KVPair) bool {
		return op.Key == p.Key && bytes.Equal(op.Value, p.Value) && op.Flags == p.Flags
	})
	if !same {
		return fmt.Errorf("some of the %d keys from %s on are not what was written", len(reads), reads[0].Key)
	}
	w.keys += len(w.batch)
	w.batch, w.bytes = nil, 0
	w.progress(w.keys)
	return nil
}

// check compares how many keys there are with how many there should be.
func (w *copying) check(ctx context.Context, want int) error {
	var names []string
	err := w.claim.patiently(ctx, func() (err error) {
		names, err = w.claim.client.names(ctx, w.to, "")
		return err
	})
	if err != nil {
		return err
	}
	if w.keys != want || len(names) != want {
		return fmt.Errorf("below %s there are %d keys of %d that were written, and the snapshot has %d", w.to, len(names), w.keys, want)
	}
	return nil
}
