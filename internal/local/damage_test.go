// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// filledStore makes a closed store with one run of a few hundred records.
func filledStore(t *testing.T, path string, done bool) []scheduler.Record {
	t.Helper()
	s := openStore(t, path)
	if _, err := s.Create(t.Context(), 1, scheduler.NewRun{ID: testRun, Workflow: "w", Definition: scheduler.Definition{Hash: "h", Bytes: []byte("d")}}); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		rec := scheduler.Record{Key: fmt.Sprintf("p/%06d", i), Value: []byte(strings.Repeat(strconv.Itoa(i), 100))}
		if err := s.Save(t.Context(), 1, testRun, []scheduler.Record{rec}, done); err != nil {
			t.Fatal(err)
		}
	}
	records, _, err := s.Load(t.Context(), testRun)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return records
}

func TestALockedStoreNamesItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), StoreFile)
	s := openStore(t, path)
	for _, readOnly := range []bool{false, true} {
		_, err := OpenStore(StoreConfig{Path: path, ReadOnly: readOnly})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) || !strings.Contains(err.Error(), path) {
			t.Errorf("read only %t: got %v, want an error that names the file and pid %d", readOnly, err, os.Getpid())
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openStore(t, path)
}

func TestAFinishedRunIsReadWithoutWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), StoreFile)
	want := filledStore(t, path, true)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // beside each other
		s, err := OpenStore(StoreConfig{Path: path, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got, def, err := s.Load(t.Context(), testRun)
		if err != nil || len(got) != len(want) || string(def.Bytes) != "d" {
			t.Errorf("got %d records, definition %q, error %v; want %d records", len(got), def.Bytes, err, len(want))
		}
		if list, err := s.List(t.Context(), scheduler.Filter{}); err != nil || len(list) != 1 || !list[0].Done {
			t.Errorf("list: %v, error %v", list, err)
		}
		if err := s.Save(t.Context(), 1, testRun, want[:1], true); err == nil || !strings.Contains(err.Error(), "reading only") {
			t.Errorf("a save gives %v, want an error about reading only", err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("reading changed the file (error %v)", err)
	}
	if _, err := OpenStore(StoreConfig{Path: path + ".none", ReadOnly: true}); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("a file that is not there gives %v, want ErrNotFound", err)
	}
}

func TestAStoreCutShortSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), StoreFile)
	filledStore(t, path, false)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 100, 4096, 8192, 20000, 65536} {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenStore(StoreConfig{Path: path})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("cut to %d bytes: got %v, want an error that names the file", size, err)
		}
		if got, rerr := os.ReadFile(path); rerr != nil || string(got) != string(whole[:size]) {
			t.Errorf("cut to %d bytes: opening changed the file (error %v)", size, rerr)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("not a store", 10000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(StoreConfig{Path: path}); err == nil || !strings.Contains(err.Error(), "is not one") {
		t.Errorf("another file: got %v", err)
	}
}

// TestDamageIsNeverTakenForState overwrites pieces of the file: either that is noticed, or it does not matter.
func TestDamageIsNeverTakenForState(t *testing.T) {
	path := filepath.Join(t.TempDir(), StoreFile)
	want := filledStore(t, path, false)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	noticed := 0
	for round := range 150 {
		damaged := []byte(string(whole))
		at, length := random.IntN(len(whole)*2/3), 1+random.IntN(300)
		for i := at; i < min(at+length, len(whole)); i++ {
			damaged[i] = byte(random.IntN(256))
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(StoreConfig{Path: path})
		if err != nil {
			noticed++
			continue
		}
		got, _, err := s.Load(t.Context(), testRun)
		if err != nil {
			noticed++
		} else if d := firstDifference(want, got); d != "" {
			t.Errorf("round %d: %d bytes at %d overwritten, and loaded as state: %s", round, length, at, d)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if noticed < 20 {
		t.Errorf("only %d of 150 damages met something that counts: the test proves little", noticed)
	}
}

func firstDifference(want, got []scheduler.Record) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d records instead of %d", len(got), len(want))
	}
	for i := range want {
		if want[i].Key != got[i].Key || string(want[i].Value) != string(got[i].Value) {
			return fmt.Sprintf("record %s is %s with %d bytes", want[i].Key, got[i].Key, len(got[i].Value))
		}
	}
	return ""
}

func TestAFullDiskRefusesTheSaveAndKeepsTheRest(t *testing.T) {
	check := func(t *testing.T, dir, limit string) {
		t.Helper()
		cmd, out := program(t, "fill", dir, limit)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		saved, err := strconv.Atoi(strings.TrimSpace(out.String()))
		if err != nil || saved < 10 {
			t.Fatalf("%q saves fitted, error %v", out, err)
		}
		s, err := OpenStore(StoreConfig{Path: filepath.Join(dir, StoreFile), ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		records, _, err := s.Load(t.Context(), testRun)
		if err != nil || len(records) != saved {
			t.Errorf("%d records afterwards, error %v; want the %d that were saved", len(records), err, saved)
		}
	}
	t.Run("a limit for the size of files", func(t *testing.T) { check(t, t.TempDir(), "2000000") })
	if os.Geteuid() == 0 { // others may not mount; the limit above meets the same code
		t.Run("a small file system", func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			check(t, dir, "0")
		})
	}
}

func TestNoSpaceIsExplained(t *testing.T) {
	err := explain("/x/state.db", fmt.Errorf("write: %w", syscall.ENOSPC))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the run goes on") {
		t.Errorf("got %v", err)
	}
}

func TestAnEpochFileThatIsDamagedStopsTheElection(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, epochFile), []byte("seven"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := NewElector(dir).Acquire(t.Context()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %+v, %v; want an error: a repeated epoch would fence nobody", l, err)
	}
}

func TestLeaderNamesTheProcess(t *testing.T) {
	dir := t.TempDir()
	e := NewElector(dir)
	l, err := e.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := Leader(dir); pid != os.Getpid() || err != nil {
		t.Errorf("leader is %d, error %v; want %d", pid, err, os.Getpid())
	}
	if err := e.Release(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if pid, err := Leader(dir); pid != 0 || err != nil {
		t.Errorf("leader after the release is %d, error %v; want none", pid, err)
	}
}

// BenchmarkSave is one save as the scheduler makes it for one task of a chain: head, one chunk, one pack.
func BenchmarkSave(b *testing.B) {
	dir, err := os.MkdirTemp(".", "save") // on the disk of the checkout: a temporary folder may be in memory
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := openStore(b, filepath.Join(dir, StoreFile))
	if _, err := s.Create(b.Context(), 1, scheduler.NewRun{ID: testRun, Workflow: "w", CreatedAt: workflow.Time(1)}); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		err := s.Save(b.Context(), 1, testRun, []scheduler.Record{{Key: scheduler.HeadKey, Value: fmt.Appendf(nil, "%0200d", n)},
			{Key: fmt.Sprintf("c/%04d", n%40), Value: make([]byte, 400)}, {Key: fmt.Sprintf("p/%06d", n), Value: make([]byte, 300)}}, false)
		if err != nil {
			b.Fatal(err)
		}
	}
}
