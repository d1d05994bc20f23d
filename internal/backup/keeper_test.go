// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// consul is a source whose snapshots a test says.
type consul struct {
	mu    sync.Mutex // guards what follows
	next  []byte
	fails error
	taken int
	gate  chan struct{} // not nil: each waits for it
}

func (c *consul) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken++
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return io.NopCloser(bytes.NewReader(c.next)), c.fails
}

func (c *consul) say(next []byte, fails error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next, c.fails = next, fails
}

func (c *consul) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken
}

// keysOf counts keys, and takes the value of one for the cluster.
type keysOf struct{ stock Stock }

func (k *keysOf) Look(e Entry) error {
	if k.stock.Keys++; e.Key == "cairn/a" {
		k.stock.Cluster = string(e.Value)
	}
	return nil
}

func (k *keysOf) Stock() (Stock, error) {
	if k.stock.Cluster == "" {
		return k.stock, errors.New("nothing of Cairn is in it")
	}
	return k.stock, nil
}

// server is a leadership that a test gives and takes.
type server struct {
	mu      sync.Mutex // guards what follows
	epoch   uint64     // 0: it does not lead
	changed chan struct{}
}

func (s *server) lead(epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch = epoch
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func (s *server) Leading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch != 0
}

func (s *server) AwaitReconciled(ctx context.Context) (uint64, error) {
	for {
		s.mu.Lock()
		epoch := s.epoch
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if epoch != 0 {
			return epoch, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func newConfig(t *testing.T, source *consul) Config {
	t.Helper()
	source.say(snapshotOf(goodState()), nil)
	return Config{
		Cluster: "a", Source: source, Survey: func() Survey { return &keysOf{} }, Target: Folder(filepath.Join(t.TempDir(), "backups")), Leadership: &server{},
		Retain: 3, Age: 24 * time.Hour, By: "one", Version: "1.2.3", Logger: hclog.NewNullLogger(),
	}
}

func names(t *testing.T, target Target) []string {
	t.Helper()
	list, err := target.Names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func TestABackupIsASnapshotWithItsManifest(t *testing.T) {
	source := &consul{}
	cfg := newConfig(t, source)
	at := time.Date(2026, 1, 31, 2, 0, 0, 5_000_000, time.UTC)
	cfg.Now = func() time.Time { return at }
	m, err := NewKeeper(cfg).Save(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, problems, err := List(t.Context(), cfg.Target)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	if d := cmp.Diff([]Manifest{m}, list); d != "" {
		t.Errorf("listed (-said +kept):\n%s", d)
	}
	if !strings.HasPrefix(m.Name, "cairn-20260131T020000.005Z-") || m.Keys != 5 || m.Stock.Keys != 5 || m.Index != 345 || m.By != "one" || m.Version != "1.2.3" || !m.TakenAt.Equal(at) {
		t.Errorf("the manifest: %+v", m)
	}
	path := filepath.Join(cfg.Target.String(), m.Name)
	content, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(content, source.next) {
		t.Errorf("the file is another one than the snapshot: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
	f, err := NewFile(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Compare(m); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, content[:len(content)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Compare(m); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "its manifest says") {
		t.Errorf("a file that was cut: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, problems, err := List(t.Context(), cfg.Target); err != nil || len(problems) != 1 || !strings.Contains(problems[0].Error(), "is gone") {
		t.Errorf("a manifest whose snapshot is gone: %v, %v", problems, err)
	}
}

func TestAnEncryptedBackupTakesItsKey(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	source := &consul{}
	cfg := newConfig(t, source)
	if cfg.Recipients, err = Recipients([]string{id.Recipient().String()}); err != nil {
		t.Fatal(err)
	}
	m, err := NewKeeper(cfg).Save(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.Target.String(), m.Name)
	if !m.Encrypted || !strings.HasSuffix(m.Name, ".snap.age") {
		t.Errorf("the manifest: %+v", m)
	}
	if content, err := os.ReadFile(path); err != nil || bytes.Contains(content, []byte("cairn/")) || int64(len(content)) != m.Size {
		t.Errorf("the file is in clear, or of another size than %d: %v", m.Size, err)
	}
	locked, err := NewFile(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locked.Read(nil); !errors.Is(err, ErrEncrypted) {
		t.Errorf("without a key: %v", err)
	}
	if err := locked.Compare(m); err != nil {
		t.Errorf("the file alone: %v", err)
	}
	keys := filepath.Join(t.TempDir(), "key")
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"# ours\n" + id.String() + "\n": "", other.String(): "did not match any of the recipients", "": "no identities found"} {
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := NewFile(path, keys)
		var found Contents
		if err == nil {
			found, err = f.Read(nil)
		}
		if want == "" && (err != nil || found.Keys != 5) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %d keys and %v, want %q", found.Keys, err, want)
		}
	}
	if _, err := Recipients([]string{"age1x"}); err == nil || !strings.Contains(err.Error(), "entry 1 is no public key of age") {
		t.Errorf("a wrong public key: %v", err)
	}
	if _, err := Recipients([]string{id.Recipient().String(), id.String()}); err == nil || !strings.Contains(err.Error(), "entry 2 is a private key") || strings.Contains(err.Error(), id.String()) {
		t.Errorf("a private key: %v", err)
	}
}

// What is no whole snapshot, or holds nothing, leaves nothing behind.
func TestABackupThatFailsLeavesNothing(t *testing.T) {
	good := snapshotOf(goodState())
	for what, c := range map[string]struct {
		next  []byte
		fails error
		want  string
	}{
		"Consul is away":         {nil, errors.New("refused"), "refused"},
		"it was cut off":         {good[:len(good)/2], nil, "it ends too early"},
		"it is something else":   {[]byte("<html>"), nil, "no sound snapshot"},
		"nothing of Cairn in it": {snapshotOf(header), nil, "nothing of Cairn"},
	} {
		t.Run(what, func(t *testing.T) {
			source := &consul{}
			cfg := newConfig(t, source)
			source.say(c.next, c.fails)
			k := NewKeeper(cfg)
			if _, err := k.Save(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if left := names(t, cfg.Target); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			hidden, err := os.ReadDir(cfg.Target.String())
			if err != nil || len(hidden) > 0 {
				t.Errorf("left: %v, %v", hidden, err)
			}
			if s := k.Status(); s.Failed != 1 || s.Trouble == nil {
				t.Errorf("the status: %+v", s)
			}
		})
	}
}

// diskOf is a target whose disk fails, or changes what is written.
type diskOf struct {
	Folder
	fails  func(name string) error
	rotten bool
}

func (d *diskOf) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	if err := d.fails(name); err != nil {
		return err
	}
	return d.Folder.Put(ctx, name, write)
}

func (d *diskOf) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	f, err := d.Folder.Open(ctx, name)
	if err != nil || !d.rotten || strings.HasSuffix(name, manifestSuffix) {
		return f, err
	}
	content, err := io.ReadAll(f)
	content[len(content)/2] ^= 1
	return io.NopCloser(bytes.NewReader(content)), errors.Join(err, f.Close())
}

func TestADiskThatFailsIsNoticed(t *testing.T) {
	for what, c := range map[string]struct {
		rotten bool
		fails  func(string) error
		want   string
	}{
		"it is full": {false, func(string) error { return errors.New("no space left") }, "no space left"},
		"it is full after the first": {false, func(name string) error {
			return map[bool]error{true: errors.New("no space")}[strings.HasSuffix(name, ".json")]
		}, "no space"},
		"it keeps something else": {true, func(string) error { return nil }, "read back"},
	} {
		t.Run(what, func(t *testing.T) {
			cfg := newConfig(t, &consul{})
			cfg.Target = &diskOf{Folder: Folder(cfg.Target.String()), fails: c.fails, rotten: c.rotten}
			if _, err := NewKeeper(cfg).Save(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if left := names(t, cfg.Target); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A folder that hangs holds up nobody for longer than he waits.
func TestADiskThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := newConfig(t, &consul{})
		free := make(chan struct{})
		cfg.Target = &diskOf{Folder: Folder(cfg.Target.String()), fails: func(string) error {
			<-free
			return errors.New("it was away")
		}}
		k := NewKeeper(cfg)
		for _, want := range []string{"does not answer", "an operation before this one has not come back"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if _, err := k.Save(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
				t.Errorf("a folder that hangs: %v, want %q", err, want)
			}
			cancel()
		}
		if s := k.Status(); s.Failed != 2 || s.Running {
			t.Errorf("the status: %+v", s)
		}
		close(free)
		synctest.Wait()
		if _, err := k.Save(t.Context()); err == nil || !strings.Contains(err.Error(), "it was away") {
			t.Errorf("when it is back: %v", err)
		}
	})
}

// stateOf is a state of one key.
func stateOf(cluster string) []byte {
	return slices.Concat(header, keyRecord(Entry{Key: "cairn/a", Value: []byte(cluster)}))
}

// What is too old or too much leaves, but for the newest, and for what is somebody else's.
func TestOldBackupsLeave(t *testing.T) {
	source := &consul{}
	cfg := newConfig(t, source)
	now := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	cfg.Now = func() time.Time { return now }
	k := NewKeeper(cfg)
	save := func(cluster string, after time.Duration) string {
		t.Helper()
		now = now.Add(after)
		source.say(snapshotOf(stateOf(cluster)), nil)
		m, err := k.Save(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stem(m.Name)
	}
	want := func(stems ...string) {
		t.Helper()
		var all []string
		for _, s := range stems {
			all = append(all, s+".json", s+".snap")
		}
		if d := cmp.Diff(all, names(t, cfg.Target)); d != "" {
			t.Errorf("kept (-want +got):\n%s", d)
		}
	}
	k.cfg.Cluster = "mine"
	other := save("other", 0)
	var mine []string
	for range 5 {
		mine = append(mine, save("mine", time.Hour))
	}
	want(append([]string{other}, mine[2:]...)...)
	if s := k.Status(); len(s.Backups) != 4 || stem(s.Backups[0].Name) != mine[4] {
		t.Errorf("the status tells of %d", len(s.Backups))
	}
	last := save("mine", 23*time.Hour)
	want(other, mine[3], mine[4], last)
	wrong := save("mine", 3000*time.Hour) // a clock that is wrong for a moment costs no more than what is too much
	want(other, mine[4], last, wrong)
	late := save("mine", 30*time.Hour)
	want(other, wrong, late)
	alone := save("mine", 30*time.Hour)
	want(other, late, alone)

	// What a crash has left, and what is not ours.
	folder := cfg.Target.String()
	crashed := "cairn-20260201T000000.000Z-ABCDEF.snap"
	for name, at := range map[string]time.Time{crashed: now, "notes.txt": now, unfinished + "1": now.Add(-48 * time.Hour), unfinished + "2": now} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		since := time.Since(now) // files have the machine's clock
		if err := os.Chtimes(filepath.Join(folder, name), at.Add(since), at.Add(since)); err != nil {
			t.Fatal(err)
		}
	}
	next := save("mine", time.Hour)
	left, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range left {
		got = append(got, e.Name())
	}
	all := []string{unfinished + "2", other + ".json", other + ".snap", alone + ".json", alone + ".snap", next + ".json", next + ".snap", "notes.txt"}
	if d := cmp.Diff(all, got); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
}

func TestWhatIsNoManifestIsTold(t *testing.T) {
	folder := Folder(t.TempDir())
	for name, content := range map[string]string{
		"cairn-20260131T020000.000Z-AAAAAA.json": "{",
		"cairn-20260131T020000.000Z-BBBBBB.json": `{"format": 99, "name": "cairn-20260131T020000.000Z-BBBBBB.snap"}`,
		"cairn-20260131T020000.000Z-CCCCCC.json": `{"format": 1, "name": "/etc/passwd"}`,
		"cairn-20260131T020000.000Z-DDDDDD.json": strings.Repeat(" ", maxManifest+1),
		"other.json":                             "{",
	} {
		if err := os.WriteFile(filepath.Join(string(folder), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, problems, err := List(t.Context(), folder)
	if err != nil || len(list) > 0 || len(problems) != 4 {
		t.Fatalf("listed %v with problems %v: %v", list, problems, err)
	}
	for i, want := range []string{"is no manifest", `it is that of "/etc/passwd"`, "this Cairn reads up to 1", "it is no manifest"} {
		if !strings.Contains(problems[i].Error(), want) {
			t.Errorf("got %v, want %q", problems[i], want)
		}
	}
	if _, err := ManifestOf(t.Context(), folder, "cairn-20260131T020000.000Z-EEEEEE.snap"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a snapshot without a manifest: %v", err)
	}
	if list, problems, err := List(t.Context(), Folder(filepath.Join(t.TempDir(), "none"))); err != nil || len(list)+len(problems) > 0 {
		t.Errorf("a folder that is not there: %v, %v, %v", list, problems, err)
	}
}

// What comes of a drill is kept beside the backup, seen by the leader, and leaves with it.
func TestDrillsAreNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &consul{}
		cfg := newConfig(t, source)
		leader := &server{}
		cfg.Leadership, cfg.Interval = leader, time.Hour
		k := NewKeeper(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go k.Keep(ctx)
		leader.lead(1)
		pass := func(d time.Duration) {
			t.Helper()
			<-time.NewTimer(d).C
			synctest.Wait()
		}
		pass(firstAfter + time.Second)
		first := k.Status().Backups[0]
		if s := k.Status(); first.Drill != nil || s.Drilled != "" {
			t.Errorf("before any drill: %+v", s)
		}
		note := func(m Manifest, broken ...string) {
			t.Helper()
			if err := NoteDrill(t.Context(), Folder(cfg.Target.String()), m, Drill{At: time.Now(), By: "worker", Active: 3, Broken: broken}); err != nil {
				t.Fatal(err)
			}
			pass(listEvery + 2*time.Second)
		}
		note(first, "run x: its head is gone")
		if s := k.Status(); s.Drilled != first.Name || s.Backups[0].Drill.Good() || s.Trouble != nil {
			t.Errorf("after a drill that failed: %+v", s)
		}
		note(first)
		if s := k.Status(); s.Drilled != first.Name || !s.Backups[0].Drill.Good() || s.Backups[0].Drill.Active != 3 {
			t.Errorf("after another one of the same: %+v", s)
		}
		pass(time.Hour)
		second := k.Status().Backups[0]
		note(second)
		if s := k.Status(); s.Drilled != second.Name || len(s.Backups) != 2 {
			t.Errorf("after one of the next: %+v", s)
		}
		pass(5 * time.Hour)
		there := strings.Join(names(t, cfg.Target), " ")
		if strings.Contains(there, stem(first.Name)) || !strings.Contains(there, stem(second.Name)+drillSuffix) || !strings.Contains(there, second.Name) {
			t.Errorf("want nothing of the first, and the one that was drilled last: %s", there)
		}

		// What cannot be read is told, and the backup stays what it is.
		last := k.Status().Backups[0]
		if err := os.WriteFile(filepath.Join(cfg.Target.String(), stem(last.Name)+drillSuffix), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		pass(listEvery + 2*time.Second)
		if s := k.Status(); s.Backups[0].Name != last.Name || s.Trouble == nil || !strings.Contains(s.Trouble.Error(), "no outcome of a drill") {
			t.Errorf("with a note that is damaged: %+v", s)
		}
	})
}

// A leader that cannot look at what there is says so, and what it does not take is overdue some time.
func TestAFolderThatHangsFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader, free := &server{}, make(chan struct{})
		cfg := newConfig(t, &consul{})
		cfg.Leadership, cfg.Interval = leader, time.Hour
		cfg.Target = &hanging{Target: cfg.Target, free: free}
		k := NewKeeper(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go k.Keep(ctx)
		leader.lead(1)
		<-time.NewTimer(4 * time.Hour).C
		synctest.Wait()
		if s := k.Status(); !s.Overdue || s.Trouble == nil || !strings.Contains(s.Trouble.Error(), "does not answer") {
			t.Errorf("the status: %+v", s)
		}
		close(free)
	})
}

// hanging is a target that lists nothing until it is free.
type hanging struct {
	Target
	free chan struct{}
}

func (h *hanging) Names(ctx context.Context) ([]string, error) {
	<-h.free
	return h.Target.Names(ctx)
}

// The leader takes one when it is due, and nobody else does.
func TestTheLeaderTakesBackupsWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, leader := &consul{}, &server{}
		cfg := newConfig(t, source)
		cfg.Leadership, cfg.Interval, cfg.Retain, cfg.Age = leader, time.Hour, 100, 1000*time.Hour
		k := NewKeeper(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go k.Keep(ctx)
		pass := func(d time.Duration, want int) {
			t.Helper()
			timer := time.NewTimer(d)
			<-timer.C
			synctest.Wait()
			if got := source.count(); got != want {
				t.Errorf("%d were asked for, want %d", got, want)
			}
		}
		pass(5*time.Hour, 0) // it does not lead
		if s := k.Status(); s.Overdue || !s.NextAt.IsZero() {
			t.Errorf("a server that does not lead: %+v", s)
		}
		leader.lead(1)
		pass(firstAfter-2*time.Second, 0)
		pass(4*time.Second, 1)
		pass(time.Hour-5*time.Second, 1)
		pass(10*time.Second, 2)

		// It fails: again and again, ever more seldom, and it is said.
		source.say(nil, errors.New("Consul is away"))
		pass(time.Hour, 3)
		pass(90*time.Second, 4)
		pass(time.Minute, 4)
		pass(time.Minute, 5)
		pass(15*time.Minute, 7) // four and eight minutes later
		s := k.Status()
		if s.Failed != 5 || s.Overdue || s.Trouble == nil || !strings.Contains(s.Trouble.Error(), "Consul is away") || len(s.Backups) != 2 {
			t.Errorf("after five failures: %+v", s)
		}
		pass(45*time.Minute, 10)
		if s := k.Status(); !s.Overdue {
			t.Errorf("two hours after the last one: %+v", s)
		}
		source.say(snapshotOf(goodState()), nil)
		pass(16*time.Minute, 11)
		if s := k.Status(); s.Overdue || s.Trouble != nil || len(s.Backups) != 3 {
			t.Errorf("after a success: %+v", s)
		}

		// Another one leads for some hours, and this one again: what is there is seen.
		leader.lead(0)
		pass(3*time.Hour, 11)
		if s := k.Status(); s.Overdue {
			t.Error("what is overdue while another server leads is told")
		}
		leader.lead(7)
		pass(30*time.Second, 11)
		if s := k.Status(); s.Overdue {
			t.Error("a new leader is late at once")
		}
		pass(time.Minute, 12)

		// It may not be trusted for a moment, and then it may, in the same epoch.
		leader.lead(0)
		pass(10*time.Second, 12)
		leader.lead(7)
		pass(time.Hour, 13)

		// What is of another Cairn, or of a clock that was wrong, is no backup of now.
		put := func(name string, m Manifest) {
			t.Helper()
			m.Format, m.Name = 1, name+".snap"
			b, err := json.Marshal(m)
			if err := errors.Join(err, os.WriteFile(filepath.Join(cfg.Target.String(), name+".json"), b, 0o600),
				os.WriteFile(filepath.Join(cfg.Target.String(), m.Name), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		put("cairn-20990101T000000.000Z-AAAAAA", Manifest{TakenAt: time.Now().Add(1000 * time.Hour), Stock: Stock{Cluster: "a"}})
		put("cairn-20980101T000000.000Z-AAAAAA", Manifest{TakenAt: time.Now(), Stock: Stock{Cluster: "b"}})
		pass(time.Hour, 14) // which sees them
		pass(time.Hour, 15)
		pass(time.Hour, 16)
		source.say(nil, errors.New("Consul is away"))
		pass(3*time.Hour, 28)
		if s := k.Status(); !s.Overdue {
			t.Error("what is not ours, or of the future, passes for a backup")
		}
	})
}

func TestOneBackupIsTakenAtATime(t *testing.T) {
	source := &consul{gate: make(chan struct{})}
	k := NewKeeper(newConfig(t, source))
	first := make(chan error, 1)
	go func() {
		_, err := k.Save(t.Context())
		first <- err
	}()
	for !k.Status().Running {
		select {
		case err := <-first:
			t.Fatal(err)
		default:
		}
	}
	if _, err := k.Save(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one at once: %v", err)
	}
	close(source.gate)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := k.Save(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Save(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits for it any more: %v", err)
	}
	if s := k.Status(); s.Failed != 0 || s.Trouble != nil {
		t.Errorf("whoever goes away makes it a failure: %+v", s)
	}
}
