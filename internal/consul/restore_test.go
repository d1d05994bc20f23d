// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	consulapi "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/testcluster"
	"github.com/cairnflow/cairn/internal/workflow"
)

// restorable is a store of its own Consul with runs of every kind.
type restorable struct {
	testing.TB
	own   *testcluster.ConsulCluster
	cfg   Config
	store *Store
	epoch uint64
	ids   []workflow.RunID
}

func newRestorable(t testing.TB) *restorable {
	own := testcluster.Consul(t, testcluster.ConsulConfig{})
	r := &restorable{TB: t, own: own, cfg: testConfig(t)}
	r.cfg.Address, r.cfg.Prefix, r.cfg.TTL = own.Address(), "cairn/", time.Hour // nobody renews
	r.lead()
	if _, err := r.store.Cluster(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 30 {
		r.begin(n)
	}
	for n, id := range r.ids[:20] {
		r.save(id, many(1+n, 3000, 1), n%2 == 0)
	}
	return r
}

// lead has another server take office.
func (r *restorable) lead() {
	r.Helper()
	e := newElector(r, r.cfg)
	r.epoch, r.store = lead(r, e).Epoch, NewStore(e)
}

func (r *restorable) begin(n int) workflow.RunID {
	r.Helper()
	id, err := r.store.Create(r.Context(), r.epoch, scheduler.NewRun{
		ID: runID(n), Workflow: "w", Namespace: "default", CreatedAt: workflow.Time(n + 1), IdempotencyKey: fmt.Sprint("key ", n),
		Definition: scheduler.Definition{Hash: "sha256:abc", Bytes: []byte("definition")},
		Records:    []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte("{}")}, {Key: engine.InputKey, Value: []byte("{}")}},
	})
	if err != nil {
		r.Fatal(err)
	}
	r.ids = append(r.ids, id)
	return id
}

func (r *restorable) save(id workflow.RunID, records []scheduler.Record, done bool) {
	r.Helper()
	records[0].Value = fmt.Appendf(nil, `{"save": %d}`, len(records))
	if err := r.store.Save(r.Context(), r.epoch, id, records, done); err != nil {
		r.Fatal(err)
	}
}

// snapshot takes one of all of Consul, into a file.
func (r *restorable) snapshot() *backup.File {
	r.Helper()
	s, err := NewSnapshots(r.cfg)
	if err != nil {
		r.Fatal(err)
	}
	body, err := s.Snapshot(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	b, err := io.ReadAll(body)
	path := filepath.Join(r.TempDir(), "snapshot")
	if err := errors.Join(err, body.Close(), os.WriteFile(path, b, 0o600)); err != nil {
		r.Fatal(err)
	}
	return file(r, path)
}

func file(t testing.TB, path string) *backup.File {
	t.Helper()
	f, err := backup.NewFile(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func reading(f *backup.File) Archive {
	return func(show func(backup.Entry) error) error {
		_, err := f.Read(show)
		return err
	}
}

func (r *restorable) restore(f *backup.File) Plan {
	r.Helper()
	p, err := tryRestore(r, r.cfg, f)
	if err != nil {
		r.Fatal(err)
	}
	return p
}

func tryRestore(t testing.TB, cfg Config, f *backup.File) (Plan, error) {
	t.Helper()
	restorer, err := NewRestorer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := restorer.Plan(t.Context(), reading(f))
	if err != nil {
		return p, err
	}
	return p, restorer.Restore(t.Context(), p, reading(f), func(int) {})
}

// state is all that can be read of the runs, by a server that has not read anything before.
func (r *restorable) state() map[workflow.RunID][]scheduler.Record {
	r.Helper()
	s := NewStore(newElector(r, r.cfg))
	list, err := s.List(r.Context(), scheduler.Filter{Children: true})
	if err != nil {
		r.Fatal(err)
	}
	out := map[workflow.RunID][]scheduler.Record{}
	for _, run := range list {
		out[run.ID] = loaded(r, s, run.ID)
	}
	return out
}

// pairs is everything in Consul's KV store that is not of a prefix.
func (r *restorable) foreign() map[string]*consulapi.KVPair {
	r.Helper()
	all, _, err := r.own.Client().KV().List("", nil)
	if err != nil {
		r.Fatal(err)
	}
	out := map[string]*consulapi.KVPair{}
	for _, p := range all {
		if !strings.HasPrefix(p.Key, r.cfg.Prefix) {
			out[p.Key] = p
		}
	}
	return out
}

// foreignKeys is how many keys of others there are.
const foreignKeys = 50_000

// Into a Consul that others use, and under a leader that writes all the time.
func TestAgentOnlyWhatIsCairnsIsRestored(t *testing.T) {
	r := newRestorable(t)
	kv := r.own.Client().KV()
	for n := 0; n < foreignKeys; n += 100 {
		var ops consulapi.KVTxnOps
		for k := n; k < n+100; k++ {
			ops = append(ops, &consulapi.KVTxnOp{Verb: consulapi.KVSet, Key: fmt.Sprintf("others/%d/%05d", k%7, k), Value: []byte(newUUID()), Flags: uint64(k)})
		}
		if ok, res, _, err := kv.Txn(ops, nil); err != nil || !ok {
			t.Fatal(err, res)
		}
	}
	service := &consulapi.AgentServiceRegistration{Name: "shop", Port: 80, Meta: map[string]string{"a": "b"}}
	if err := r.own.Client().Agent().ServiceRegister(service); err != nil {
		t.Fatal(err)
	}
	f, then := r.snapshot(), r.state()

	// Since then others and Cairn have gone on.
	if _, err := kv.Put(&consulapi.KVPair{Key: "others/new", Value: []byte("x")}, nil); err != nil {
		t.Fatal(err)
	}
	r.save(r.ids[25], many(3, 10, 2), true)
	r.begin(99)
	if err := r.store.Delete(t.Context(), r.epoch, r.ids[0]); err != nil {
		t.Fatal(err)
	}
	now, foreign := r.state(), r.foreign()
	catalog := r.catalog()
	p, err := tryPlan(t, r.cfg, f)
	if err != nil {
		t.Fatal(err)
	}
	if p.Back != 1 || p.Unknown != 1 || p.Reopened != 1 || p.Old != "d1" || p.Data != "d2" || p.Leader != r.cfg.Name || p.Snapshot.Active != 20 || p.Snapshot.Ended != 10 {
		t.Errorf("the plan: %+v", p)
	}
	if d := cmp.Diff(now, r.state()); d != "" {
		t.Errorf("a plan has changed something (-before +after):\n%s", d)
	}

	fenced := r.writeOn(r.ids[26])
	r.restore(f)
	if err := <-fenced; !errors.Is(err, scheduler.ErrFenced) || !errors.Is(err, ErrRestored) {
		t.Errorf("the leader under whom it was restored ended with: %v", err)
	}
	if d := cmp.Diff(then, r.state()); d != "" {
		t.Errorf("restored (-snapshot +now):\n%s", d)
	}
	if d := cmp.Diff(foreign, r.foreign()); d != "" {
		t.Errorf("keys of others (-before +after):\n%s", d)
	}
	if len(foreign) != foreignKeys+1 {
		t.Errorf("there are %d keys of others, want %d", len(foreign), foreignKeys+1)
	}
	if d := cmp.Diff(catalog, r.catalog()); d != "" {
		t.Errorf("the catalog (-before +after):\n%s", d)
	}

	// The same server leads again, in recovery, and reads what was restored, not what it knew.
	l := lead(t, r.store.elector)
	if !l.Restored || l.Epoch <= p.Epoch-1 {
		t.Errorf("took office as %+v", l)
	}
	next := newElector(t, r.successor())
	if l = lead(t, next); !l.Restored {
		t.Error("who leads after one that has not recovered takes it for recovered")
	}
	r.store, r.epoch = NewStore(next), l.Epoch
	if list, err := r.store.List(t.Context(), scheduler.Filter{Children: true}); err != nil || len(list) != len(then) {
		t.Errorf("the leader lists %d runs (%v), want %d", len(list), err, len(then))
	}
	r.store.elector.Recovered(r.epoch)
	r.save(r.ids[25], many(3, 10, 3), false)
	third := newElector(t, r.successor())
	if l = lead(t, third); l.Restored {
		t.Error("who leads after one that has recovered is in recovery")
	}

	// Nomad is restored under it.
	r.store, r.epoch = NewStore(third), l.Epoch
	third.Doubted()
	r.save(r.ids[25], many(3, 10, 3), false)
	if l = lead(t, newElector(t, r.successor())); !l.Restored {
		t.Error("who leads after one under which Nomad was restored is not in recovery")
	}

	// And once more, of the same snapshot.
	if p := r.restore(f); p.Data != "d3" || p.Old != "d2" {
		t.Errorf("the second restore: %+v", p)
	}
	if d := cmp.Diff(then, r.state()); d != "" {
		t.Errorf("restored twice (-snapshot +now):\n%s", d)
	}
	if left, _, err := kv.Keys("cairn/d1/", "", nil); err != nil || len(left) == 0 {
		t.Errorf("what was there is gone: %v", err)
	}
	if found, _, err := kv.Get("cairn/restoring", nil); err != nil || found != nil {
		t.Errorf("the restore has left %v (%v)", found, err)
	}
}

// successor ends the leadership, and is the configuration of a server that may take it.
func (r *restorable) successor() Config {
	r.Helper()
	depose(r, r.store.elector)
	return r.cfg
}

func tryPlan(t testing.TB, cfg Config, f *backup.File) (Plan, error) {
	t.Helper()
	restorer, err := NewRestorer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return restorer.Plan(t.Context(), reading(f))
}

// catalog is what Consul knows of the service of somebody else.
func (r *restorable) catalog() []*consulapi.CatalogService {
	r.Helper()
	found, _, err := r.own.Client().Catalog().Service("shop", "", nil)
	if err != nil || len(found) != 1 {
		r.Fatalf("the service of somebody else: %v, %v", found, err)
	}
	return found
}

// writeOn saves a run again and again until that is refused, and tells the refusal.
func (r *restorable) writeOn(id workflow.RunID) <-chan error {
	fenced := make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			records := []scheduler.Record{{Key: scheduler.HeadKey, Value: fmt.Appendf(nil, `{"n": %d}`, n)}}
			if err := r.store.Save(r.Context(), r.epoch, id, records, false); err != nil {
				fenced <- err
				return
			}
		}
	}()
	return fenced
}

// What a restore takes of the environment when this test program is started as one that is to be killed.
const (
	victimAddress = "CAIRN_TEST_RESTORE_ADDRESS"
	victimFile    = "CAIRN_TEST_RESTORE_FILE"
	victimCalls   = "CAIRN_TEST_RESTORE_CALLS" // after so many transactions it kills itself
)

// victim restores until it has made so many transactions, and is killed by SIGKILL then: nothing of it gets to clean up.
func victim() int {
	left, err := strconv.Atoi(os.Getenv(victimCalls))
	if err != nil {
		return 2
	}
	cfg := DefaultConfig()
	cfg.Address, cfg.Logger = os.Getenv(victimAddress), hclog.Default()
	var mu sync.Mutex
	cfg.Observe = func(Transaction) {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				panic(err)
			}
			select {}
		}
	}
	restorer, err := NewRestorer(cfg)
	if err != nil {
		return 2
	}
	f, err := backup.NewFile(os.Getenv(victimFile), "")
	if err != nil {
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := restorer.Plan(ctx, reading(f))
	if err == nil {
		err = restorer.Restore(ctx, p, reading(f), func(int) {})
	}
	if err != nil {
		hclog.Default().Error("not restored", "error", err)
		return 1
	}
	fmt.Println(left)
	return 0
}

// Killed after any of its transactions, a restore leaves the old state or the new one, and the next one comes through.
func TestAgentARestoreThatIsKilledLeavesTheOldStateOrTheNew(t *testing.T) {
	r := newRestorable(t)
	f, then := r.snapshot(), r.state()
	r.begin(50)
	r.save(r.ids[21], many(2, 10, 2), true)
	old := r.state()
	r.successor()
	const plenty = 1_000_000
	path := filepath.Join(t.TempDir(), "snapshot")
	whole, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(whole)
	if err := errors.Join(err, whole.Close(), os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	before := r.snapshot()
	run := func(calls int) (left int, err error) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), victimAddress+"="+r.cfg.Address, victimFile+"="+path, fmt.Sprintf("%s=%d", victimCalls, calls))
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		if err := cmd.Run(); err != nil {
			return 0, fmt.Errorf("%w: %s", err, said.String())
		}
		return strconv.Atoi(strings.TrimSpace(out.String()))
	}
	left, err := run(plenty)
	if err != nil {
		t.Fatal(err)
	}
	total := plenty - left
	if d := cmp.Diff(then, r.state()); d != "" {
		t.Fatalf("restored by another process (-snapshot +now):\n%s", d)
	}
	r.back(before)
	const points = 10
	sawOld, sawNew := 0, 0
	for n := range points {
		calls := total - (points - 1 - n) // the last points are all around the switch
		if n < points-4 {
			calls = 1 + n*(total-4)/(points-4)
		}
		_, err := run(calls)
		if err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("killed after transaction %d of %d: %v", calls, total, err)
		}
		keep := 6 // what is outside of the data, the old data and the new
		switch now := r.state(); {
		case cmp.Equal(now, old):
			sawOld++
		case cmp.Equal(now, then):
			sawNew++
			keep++ // the data from before that restore
		default:
			t.Errorf("killed after transaction %d of %d there is neither the old state nor the new one:\n%s", calls, total, cmp.Diff(old, now))
		}
		r.expire()
		r.restore(f)
		if d := cmp.Diff(then, r.state()); d != "" {
			t.Errorf("restored after one that was killed at transaction %d (-snapshot +now):\n%s", calls, d)
		}
		if names, _, err := r.own.Client().KV().Keys("cairn/", "/", nil); err != nil || len(names) > keep {
			t.Errorf("after transaction %d something is left of the restore that was killed: %v, %v", calls, names, err)
		}
		r.back(before)
	}
	t.Logf("of %d transactions: the old state after %d kills, the new one after %d", total, sawOld, sawNew)
	if sawOld == 0 || sawNew == 0 {
		t.Errorf("saw the old state %d times, the new one %d times: want both", sawOld, sawNew)
	}
}

// back puts all of Consul back.
func (r *restorable) back(f *backup.File) {
	r.Helper()
	s, err := NewSnapshots(r.cfg)
	if err != nil {
		r.Fatal(err)
	}
	plain, err := f.Open()
	if err != nil {
		r.Fatal(err)
	}
	if err := errors.Join(s.Restore(r.Context(), plain), plain.Close()); err != nil {
		r.Fatal(err)
	}
}

// expire ends the claim of a restore that was killed, as its time does.
func (r *restorable) expire() {
	r.Helper()
	sessions, _, err := r.own.Client().Session().List(nil)
	if err != nil {
		r.Fatal(err)
	}
	for _, s := range sessions {
		if s.Name == "cairn restore" {
			if _, err := r.own.Client().Session().Destroy(s.ID, nil); err != nil {
				r.Fatal(err)
			}
		}
	}
}

// Two at once would mix; what is of another cluster, and what is nothing, is refused.
func TestAgentARestoreThatMustNotBeIsRefused(t *testing.T) {
	r := newRestorable(t)
	f, now := r.snapshot(), r.state()
	restorer, err := NewRestorer(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := restorer.claim(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryRestore(t, r.cfg, f); err == nil || !strings.Contains(err.Error(), "another restore below cairn/ is under way") {
		t.Errorf("a second restore at once: %v", err)
	}
	c.close()

	// One that came between is noticed, although its claim is gone.
	p, err := restorer.Plan(t.Context(), reading(f))
	if err != nil {
		t.Fatal(err)
	}
	r.restore(f)
	if err := restorer.Restore(t.Context(), p, reading(f), func(int) {}); err == nil || !strings.Contains(err.Error(), "has changed since it was looked at") {
		t.Errorf("a plan that is older than another restore: %v", err)
	}
	if d := cmp.Diff(now, r.state()); d != "" {
		t.Errorf("what was refused has changed something (-before +after):\n%s", d)
	}

	// The name of what is in use was lost. Nothing is removed, whatever is restored.
	kv := r.own.Client().KV()
	if _, err := kv.Delete("cairn/root", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tryRestore(t, r.cfg, f); err == nil || !strings.Contains(err.Error(), "consul kv put cairn/root d2") {
		t.Errorf("without a root: %v", err)
	}
	if _, err := kv.Put(&consulapi.KVPair{Key: "cairn/root", Value: []byte("d2")}, nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(now, r.state()); d != "" {
		t.Errorf("after the root was put back (-before +after):\n%s", d)
	}

	// The file is replaced between the two looks.
	looks := 0
	r.successor()
	r.lead()
	r.begin(70)
	replaced := r.snapshot()
	p, err = restorer.Plan(t.Context(), reading(f))
	if err != nil {
		t.Fatal(err)
	}
	err = restorer.Restore(t.Context(), p, func(show func(backup.Entry) error) error {
		looks++
		return reading(replaced)(show)
	}, func(int) {})
	if err == nil || looks != 1 || !strings.Contains(err.Error(), "another one than was looked at") {
		t.Errorf("a file that is replaced: %v", err)
	}
	if p, err = restorer.Plan(t.Context(), reading(f)); err != nil || p.Unfinished != "d3" || p.Data != "d4" {
		t.Errorf("the plan after one that failed: %+v, %v", p, err)
	}
	if p := r.restore(f); p.Data != "d4" {
		t.Errorf("restored into %s", p.Data)
	}
	if left, _, err := kv.Keys("cairn/d3/", "", nil); err != nil || len(left) > 0 {
		t.Errorf("what a failed restore has left is there: %v, %v", left, err)
	}

	other := newRestorable(t)
	if _, err := tryRestore(t, other.cfg, f); err == nil || !strings.Contains(err.Error(), "another Cairn") {
		t.Errorf("a snapshot of another cluster: %v", err)
	}
	elsewhere := r.cfg
	elsewhere.Prefix = "rock/"
	if _, err := tryRestore(t, elsewhere, f); err == nil || !strings.Contains(err.Error(), "nothing of Cairn is in it: Consul has no keys below rock/") {
		t.Errorf("a snapshot without anything of Cairn: %v", err)
	}
}

// Consul was lost and is empty, and a server of Cairn's that has lost its disk too has begun anew in it.
func TestAgentWhatWasLostIsRestoredIntoANewConsul(t *testing.T) {
	r := newRestorable(t)
	f, then := r.snapshot(), r.state()
	cluster, err := r.store.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, prepare := range map[string]func(*restorable){
		"empty": func(*restorable) {},
		"begun anew": func(r *restorable) {
			r.lead()
			if _, err := r.store.Cluster(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			fresh := &restorable{TB: t, own: testcluster.Consul(t, testcluster.ConsulConfig{}), cfg: r.cfg}
			fresh.cfg.Address, fresh.cfg.Logger = fresh.own.Address(), testLogger(t)
			prepare(fresh)
			fresh.restore(f)
			if d := cmp.Diff(then, fresh.state()); d != "" {
				t.Errorf("restored (-snapshot +now):\n%s", d)
			}
			if fresh.store == nil {
				fresh.lead()
			} else {
				e := fresh.store.elector
				restorer, err := NewRestorer(fresh.cfg)
				if err != nil {
					t.Fatal(err)
				}
				soon, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if name, err := restorer.AwaitLeader(soon); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%q is said to lead with what was restored (%v), and nobody has taken office", name, err)
				}
				if _, _, err := e.Standing(t.Context()); err != nil { // whoever asks this server who leads has it look at the counter
					t.Fatal(err)
				}
				if _, err := e.Renew(t.Context(), scheduler.Leadership{Epoch: fresh.epoch}); !errors.Is(err, scheduler.ErrFenced) {
					t.Errorf("renewed after the restore: %v", err)
				}
				if l := lead(t, e); l.Epoch <= r.epoch || !l.Restored {
					t.Errorf("took office as %+v, the snapshot has epoch %d", l, r.epoch)
				}
				if name, err := restorer.AwaitLeader(t.Context()); err != nil || name != fresh.cfg.Name {
					t.Errorf("%q is said to lead (%v), want %q", name, err, fresh.cfg.Name)
				}
			}
			if got, err := fresh.store.Cluster(t.Context()); err != nil || got != cluster {
				t.Errorf("cluster %s (%v), want %s", got, err, cluster)
			}
		})
	}
}

// What the version before has written is restored, and read.
func TestAgentASnapshotOfTheFormatBeforeIsRestored(t *testing.T) {
	r := newRestorable(t)
	r.store.formats = formats{write: entryVersion - 1, asked: time.Now().Add(time.Hour)}
	id := r.begin(60)
	r.save(id, many(2, 10, 1), true)
	d, err := r.store.data(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e, err := r.store.readEntry(t.Context(), d, id); err != nil || e.Version != entryVersion-1 {
		t.Fatalf("the fixture has version %d: %v", e.Version, err)
	}
	f, then := r.snapshot(), r.state()
	r.save(id, many(2, 10, 5), false)
	if p := r.restore(f); p.Snapshot.Unreadable != 0 {
		t.Errorf("cannot be read: %v", p.Snapshot.Problems)
	}
	if d := cmp.Diff(then, r.state()); d != "" {
		t.Errorf("restored (-snapshot +now):\n%s", d)
	}
}

// What is missing or damaged in a store is told, and is no reason not to keep the rest.
func TestAgentASurveyTellsWhatCannotBeRead(t *testing.T) {
	r := newRestorable(t)
	kv := r.own.Client().KV()
	d := data{r.cfg.Prefix + firstData + "/"}
	for _, key := range []string{d.head(r.ids[25], false), d.fixed(r.ids[26]) + engine.InputKey} {
		if _, err := kv.Delete(key, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{d.indexOf(r.ids[27]), d.head(r.ids[28], false), d.workflow("default", "w")} {
		if _, err := kv.Put(&consulapi.KVPair{Key: key, Value: []byte("{")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	survey := NewSurvey(r.cfg.Prefix)
	if _, err := r.snapshot().Read(survey.Look); err != nil {
		t.Fatal(err)
	}
	stock, err := survey.Stock()
	if err != nil {
		t.Fatal(err)
	}
	told := strings.Join(stock.Problems, "\n")
	for _, want := range []string{
		fmt.Sprintf("run %s has no head", r.ids[25]), fmt.Sprintf("run %s has no input", r.ids[26]), fmt.Sprintf("index entry of run %s", r.ids[27]),
		fmt.Sprintf("head of run %s", r.ids[28]), "workflow default/w",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the survey does not tell %q:\n%s", want, told)
		}
	}
	if stock.Unreadable != 6 { // the run without a readable head has none either
		t.Errorf("%d are told, want 6:\n%s", stock.Unreadable, told)
	}
	if stock.Active != 19 || stock.Ended != 10 || stock.Definitions != 1 || stock.Workflows != 0 {
		t.Errorf("counted: %+v", stock)
	}
}

// All of Consul is restored under a server that knows nothing of what is restored, and has seen a lower epoch.
func TestAgentAWholeRestoreIsNoticedWhateverWasSeen(t *testing.T) {
	r := newRestorable(t)
	for range 2 {
		r.successor()
		r.lead()
	}
	f, then := r.snapshot(), r.state()
	fresh := &restorable{TB: t, own: testcluster.Consul(t, testcluster.ConsulConfig{}), cfg: r.cfg}
	fresh.cfg.Address = fresh.own.Address()
	fresh.lead()
	fresh.back(f)
	restorer, err := NewRestorer(fresh.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := restorer.Mark(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := fresh.store.elector
	if _, _, err := e.Standing(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Renew(t.Context(), scheduler.Leadership{Epoch: fresh.epoch}); !errors.Is(err, scheduler.ErrFenced) {
		t.Errorf("renewed after the restore: %v", err)
	}
	destroySessions(t, fresh.own) // that of the leader of the snapshot, which nobody renews
	if l := lead(t, e); !l.Restored || l.Epoch <= r.epoch+1 {
		t.Errorf("took office as %+v, the snapshot has epoch %d", l, r.epoch)
	}
	if d := cmp.Diff(then, fresh.state()); d != "" {
		t.Errorf("restored (-snapshot +now):\n%s", d)
	}
	empty := testcluster.Consul(t, testcluster.ConsulConfig{})
	fresh.cfg.Address = empty.Address()
	if restorer, err = NewRestorer(fresh.cfg); err != nil {
		t.Fatal(err)
	}
	if err := restorer.Mark(t.Context()); err != nil {
		t.Errorf("where there is nothing: %v", err)
	}
	if keys, _, err := empty.Client().KV().Keys("", "", nil); err != nil || len(keys) > 0 {
		t.Errorf("where there was nothing there is %v (%v)", keys, err)
	}
}

func destroySessions(t testing.TB, c *testcluster.ConsulCluster) {
	t.Helper()
	sessions, _, err := c.Client().Session().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		if _, err := c.Client().Session().Destroy(s.ID, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A server would know none of the jobs of another cluster.
func TestAgentAServerLeadsNoOtherCluster(t *testing.T) {
	cfg := testConfig(t)
	first := newElector(t, cfg)
	first.Belong("ours")
	lead(t, first)
	if got, err := NewStore(first).KnownCluster(t.Context()); err != nil || got != "ours" {
		t.Errorf("the store is of cluster %q (%v), want that of its first leader", got, err)
	}
	depose(t, first)
	other := newElector(t, cfg)
	other.Belong("theirs")
	if _, err := other.Acquire(t.Context()); !errors.Is(err, ErrOtherCluster) || !strings.Contains(err.Error(), "holds ours, and this server is of theirs") {
		t.Errorf("a server of another cluster: %v", err)
	}
	again := newElector(t, cfg)
	again.Belong("ours")
	lead(t, again)
}
