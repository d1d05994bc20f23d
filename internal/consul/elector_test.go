// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// counted is the counter as Consul holds it.
func counted(t testing.TB, e *Elector) seq {
	t.Helper()
	s, _, err := e.client.counter(t.Context(), e.keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A snapshot that is restored under a living leader brings its session back too: it still renews, and still holds the lock.
// Only the counter tells.
func TestAgentARestoredConsulIsNoticed(t *testing.T) {
	own := testcluster.Consul(t, testcluster.ConsulConfig{})
	cfg := testConfig(t)
	cfg.Address, cfg.SeenFile = own.Address(), filepath.Join(t.TempDir(), "seq")
	s, epoch := leading(t, cfg)
	id := begin(t, s, epoch, 1)
	archive, _, err := own.Client().Snapshot().Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := io.ReadAll(archive)
	if err := errors.Join(err, archive.Close()); err != nil {
		t.Fatal(err)
	}
	save := func() error {
		return s.Save(t.Context(), epoch, id, []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte(newUUID())}}, false)
	}
	if err := save(); err != nil {
		t.Fatal(err)
	}
	before := counted(t, s.elector)
	restore := func() {
		t.Helper()
		if err := own.Client().Snapshot().Restore(nil, bytes.NewReader(snapshot)); err != nil {
			t.Fatal(err)
		}
	}
	restore()
	if entry, _, err := own.Client().Session().Renew(s.elector.current().session, nil); err != nil || entry == nil {
		t.Errorf("the session of the snapshot does not renew (%v): this test shows less than it should", err)
	}
	if err := save(); !errors.Is(err, scheduler.ErrFenced) || !errors.Is(err, ErrRestored) {
		t.Fatalf("a save after the restore: %v", err)
	}
	if _, err := s.elector.Renew(t.Context(), scheduler.Leadership{Epoch: epoch}); !errors.Is(err, scheduler.ErrFenced) {
		t.Errorf("renewed after a write was fenced: %v", err)
	}
	l := lead(t, s.elector)
	after := counted(t, s.elector)
	if after.Incarnation == before.Incarnation || l.Epoch <= epoch || after.Epoch != l.Epoch || !l.Restored {
		t.Errorf("took office at %+v (%+v), the restored one was left at %+v", after, l, before)
	}

	// A leader that has nothing to write notices by its renewals.
	epoch = l.Epoch
	if err := save(); err != nil {
		t.Fatal(err)
	}
	if renewed, err := s.elector.Renew(t.Context(), l); err != nil || renewed.Epoch != l.Epoch {
		t.Fatalf("renewed %+v: %v", renewed, err)
	}
	archive, _, err = own.Client().Snapshot().Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err = io.ReadAll(archive)
	if err := errors.Join(err, archive.Close()); err != nil {
		t.Fatal(err)
	}
	if err := save(); err != nil {
		t.Fatal(err)
	}
	restore()
	if _, err := s.elector.Renew(t.Context(), l); !errors.Is(err, scheduler.ErrFenced) || !strings.Contains(err.Error(), ErrRestored.Error()) {
		t.Errorf("renewed after the second restore: %v", err)
	}
	l = lead(t, s.elector)
	if after = counted(t, s.elector); l.Epoch <= epoch || !l.Restored {
		t.Errorf("took office as %+v after the second restore, and led with epoch %d before", l, epoch)
	}

	// The same while no server of Cairn runs: the file tells the next one.
	epoch = l.Epoch
	if err := save(); err != nil {
		t.Fatal(err)
	}
	if err := s.elector.Release(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	restore()
	next := newElector(t, cfg)
	l = lead(t, next)
	if l.Epoch <= epoch || !l.Restored || counted(t, next).Incarnation == after.Incarnation {
		t.Errorf("took office at %+v after a third restore, and led at %+v before", counted(t, next), after)
	}
	if err := next.Release(t.Context(), l); err != nil {
		t.Fatal(err)
	}

	// Nor does any file: an epoch that is met elsewhere does.
	cfg.SeenFile = filepath.Join(t.TempDir(), "seq")
	stranger := newElector(t, cfg)
	stranger.Surpassed(l.Epoch + 10)
	if last := lead(t, stranger); last.Epoch != l.Epoch+11 || !last.Restored {
		t.Errorf("took office as %+v above epoch %d", last, l.Epoch+10)
	}
}

// Somebody who deletes the leader's key takes the leadership away, although the session lives on.
func TestAgentALostKeyIsALostLeadership(t *testing.T) {
	e := newElector(t, testConfig(t))
	l := lead(t, e)
	if _, err := e.client.api.KV().Delete(e.keys.leader(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Renew(t.Context(), l); !errors.Is(err, scheduler.ErrFenced) {
		t.Errorf("renewed without the key: %v", err)
	}
	if next := lead(t, e); next.Epoch <= l.Epoch {
		t.Errorf("epoch %d after %d", next.Epoch, l.Epoch)
	}
}

// Consul that is away ends no server: whoever wants to lead goes on asking.
func TestAgentAcquireOutlastsConsul(t *testing.T) {
	own := testcluster.Consul(t, testcluster.ConsulConfig{})
	cfg := testConfig(t)
	cfg.Address = own.Address()
	if err := own.Stop(); err != nil {
		t.Fatal(err)
	}
	complained := make(chan struct{})
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: listener{"cannot be asked for", sync.OnceFunc(func() { close(complained) })}})
	e := newElector(t, cfg)
	led := make(chan error, 1)
	go func() {
		_, err := e.Acquire(t.Context())
		led <- err
	}()
	<-complained // it has asked in vain
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-led:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("nobody leads although Consul is back")
	}
}

// listener waits for words in a log.
type listener struct {
	words string
	heard func()
}

func (l listener) Write(p []byte) (int, error) {
	if strings.Contains(string(p), l.words) {
		l.heard()
	}
	return len(p), nil
}

func TestTheCounterSeenIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "seq")
	s, err := readSeen(file, testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	first := seq{Incarnation: "a", Epoch: 3, N: 1}
	s.note(first)
	s.note(seq{Incarnation: "a", Epoch: 2, N: 9}) // older
	if again, err := readSeen(file, testLogger(t)); err != nil || again.highest() != first {
		t.Errorf("read back %+v, %v, want %+v", again, err, first)
	}
	s.note(seq{Incarnation: "a", Epoch: 3, N: 2}) // not stored within a second
	s.store()
	if again, err := readSeen(file, testLogger(t)); err != nil || again.highest().N != 2 {
		t.Errorf("read back %+v, %v, want n = 2", again, err)
	}
	if err := os.WriteFile(file, []byte(`{"incarnation":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewElector(Config{Prefix: "cairn/", TTL: 10 * time.Second, CallTimeout: time.Second, SeenFile: file,
		Backoff: scheduler.Backoff{Base: 1, Max: 1}, Logger: testLogger(t)}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestConfigSaysWhatIsOutOfRange(t *testing.T) {
	for words, change := range map[string]func(*Config){
		"prefix \"cairn\"":     func(c *Config) { c.Prefix = "cairn" },
		"prefix \"\"":          func(c *Config) { c.Prefix = "" },
		"prefix \"/cairn/\"":   func(c *Config) { c.Prefix = "/cairn/" },
		"prefix \"a//b/\"":     func(c *Config) { c.Prefix = "a//b/" },
		"prefix \"../cairn/\"": func(c *Config) { c.Prefix = "../cairn/" },
		"session TTL 9s":       func(c *Config) { c.TTL = 9 * time.Second },
		"call timeout 0s":      func(c *Config) { c.CallTimeout = 0 },
		"backoff from 0s":      func(c *Config) { c.Backoff = scheduler.Backoff{} },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want words about %s", err, words)
		}
	}
	cfg := DefaultConfig()
	if err := cfg.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
