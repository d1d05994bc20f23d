// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

var update = flag.Bool("update", false, "write the golden files anew")

var midnight = time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)

// ranFor is a run that was created so long after midnight.
func ranFor(n int, created time.Duration) Run {
	at := midnight.Add(created)
	return Run{
		LastAt:     at.Add(time.Hour),
		Namespaces: []string{"default", "team"},
		Document: &api.Run{
			ID: string(idOf(n, at)), Workflow: fmt.Sprint("w", n), Namespace: "default", Definition: "sha256:abc", Generation: 1, Status: "succeeded",
			Trigger: api.Trigger{Kind: "manual"}, Params: map[string]json.RawMessage{"day": json.RawMessage(`"2026-01-31"`)},
			Labels: map[string]string{"team": "data"}, CreatedAt: at, StartedAt: at, EndedAt: at.Add(time.Hour), Outputs: map[string]json.RawMessage{},
			Tasks: []api.Task{
				{Name: "one", Kind: "task", Body: "task", Status: "succeeded", Instances: []api.Instance{{Status: "succeeded", Attempts: []api.Attempt{}}}},
				{Name: "wide", Kind: "task", Body: "task", Status: "succeeded", InstanceCounts: map[string]int{"succeeded": 450}},
			},
		},
		Instances: map[string][]api.Instance{"wide": wide(450)},
	}
}

func idOf(n int, at time.Time) workflow.RunID { return workflow.NewRunID(at, [6]byte{byte(n)}) }

func wide(n int) (out []api.Instance) {
	for i := range n {
		key := fmt.Sprint("k", i)
		out = append(out, api.Instance{Key: &key, Index: i, Status: "succeeded", Attempts: []api.Attempt{}})
	}
	return out
}

func newFolder(t *testing.T) (*Folder, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	return NewFolder(filepath.Join(t.TempDir(), "deep", "archive"), hclog.New(&hclog.LoggerOptions{Output: &log})), &log
}

func put(t *testing.T, f *Folder, runs ...Run) {
	t.Helper()
	for _, r := range runs {
		if err := f.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// listed lists the workflows of the runs after one.
func listed(t *testing.T, f *Folder, before string) (names []string) {
	t.Helper()
	for e, err := range f.List(t.Context(), workflow.RunID(before)) {
		if err != nil {
			t.Fatal(err)
		}
		if !e.Archived {
			t.Errorf("run %s is not said to be archived", e.ID)
		}
		names = append(names, e.Workflow)
	}
	return names
}

func TestARunComesBackWhole(t *testing.T) {
	f, log := newFolder(t)
	if _, _, err := f.Run(t.Context(), idOf(1, midnight)); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("before anything is archived: %v, want ErrNotFound", err)
	}
	r := ranFor(1, 0)
	r.Document.Parent = &api.Parent{Run: "parent", Attempt: "attempt"}
	put(t, f, r, r)
	id := workflow.RunID(r.Document.ID)
	doc, lastAt, err := f.Run(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want := *r.Document
	want.Archived = true
	if d := cmp.Diff(&want, doc); d != "" {
		t.Errorf("document (-want +got):\n%s", d)
	}
	if !lastAt.Equal(r.LastAt) {
		t.Errorf("it changed last at %s, want %s", lastAt, r.LastAt)
	}
	for task, want := range map[string][]api.Instance{"one": r.Document.Tasks[0].Instances, "wide": r.Instances["wide"], "none": nil} {
		got, err := f.Instances(t.Context(), id, task)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("instances of %s (-want +got):\n%s", task, d)
		}
	}
	for e, err := range f.List(t.Context(), "") {
		want := api.RunEntry{ID: r.Document.ID, Workflow: "w1", Namespace: "default", Status: "succeeded", CreatedAt: midnight, StartedAt: midnight,
			EndedAt: r.LastAt, Parent: "parent", Labels: map[string]string{"team": "data"}, Archived: true}
		if d := cmp.Diff(want, e); d != "" || err != nil {
			t.Errorf("entry (-want +got):\n%s%v", d, err)
		}
	}
	if got, err := f.Namespaces(t.Context(), id); !slices.Equal(got, r.Namespaces) || err != nil {
		t.Errorf("namespaces %q, %v, want %q", got, err, r.Namespaces)
	}
	if _, err := f.Namespaces(t.Context(), idOf(9, midnight)); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("namespaces of another one: %v, want ErrNotFound", err)
	}
	if got, err := f.LastAt(t.Context(), id); !got.Equal(r.LastAt) || err != nil {
		t.Errorf("it changed last at %s, %v, want %s", got, err, r.LastAt)
	}
	if _, err := f.LastAt(t.Context(), idOf(9, midnight)); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("the last change of another one: %v, want ErrNotFound", err)
	}
	info, err := os.Stat(filepath.Join(f.Path(), "2026-01-31"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the day: %v, %v, want it for this user alone", info, err)
	}
	if log.Len() > 0 {
		t.Errorf("logged:\n%s", log)
	}
}

func TestListsAreInOrderFromAnyPlace(t *testing.T) {
	f, _ := newFolder(t)
	runs := []Run{ranFor(1, 0), ranFor(2, 0), ranFor(3, time.Millisecond), ranFor(4, -time.Millisecond), ranFor(5, 50*time.Hour), ranFor(6, -900*time.Hour)}
	put(t, f, runs...)
	other := NewFolder(f.Path(), hclog.NewNullLogger())
	put(t, other, ranFor(7, time.Hour)) // by another server
	order := []string{"w5", "w7", "w3", "w2", "w1", "w4", "w6"}
	if d := cmp.Diff(order, listed(t, f, "")); d != "" {
		t.Errorf("all (-want +got):\n%s", d)
	}
	runs = append(runs, ranFor(7, time.Hour))
	for _, r := range runs {
		want := order[slices.Index(order, r.Document.Workflow)+1:]
		if d := cmp.Diff(slices.Clip(want), listed(t, f, r.Document.ID)); d != "" && len(want) > 0 {
			t.Errorf("after %s (-want +got):\n%s", r.Document.Workflow, d)
		}
		if _, _, err := f.Run(t.Context(), workflow.RunID(r.Document.ID)); err != nil {
			t.Error(err)
		}
	}
	for range f.List(t.Context(), "") {
		break // a list need not be read to its end
	}
}

// A run that went on after it was archived, and ones whose IDs are of another day than they are, as that of a child run may be.
func TestTheNewestFileOfARunCounts(t *testing.T) {
	f, _ := newFolder(t)
	old, late := ranFor(1, 0), ranFor(1, 0)
	late.LastAt = old.LastAt.Add(time.Minute)
	late.Document.Generation = 2
	waited := ranFor(2, 100*time.Hour)
	waited.Document.ID = string(idOf(2, midnight))
	ahead := ranFor(3, -100*time.Hour)
	ahead.Document.ID = string(idOf(3, midnight))
	put(t, f, late, old, waited, ahead)
	if doc, _, err := f.Run(t.Context(), workflow.RunID(old.Document.ID)); err != nil || doc.Generation != 2 {
		t.Errorf("got %+v, %v; want the second generation", doc, err)
	}
	if d := cmp.Diff([]string{"w3", "w2", "w1"}, listed(t, f, "")); d != "" {
		t.Errorf("list (-want +got):\n%s", d)
	}
	for _, r := range []Run{waited, ahead} {
		if doc, _, err := f.Run(t.Context(), workflow.RunID(r.Document.ID)); err != nil || doc.Workflow != r.Document.Workflow {
			t.Errorf("%s: got %+v, %v", r.Document.Workflow, doc, err)
		}
	}
}

func TestWhatIsDamagedIsLeftOutAndSaid(t *testing.T) {
	sound := ranFor(1, 0)
	id := workflow.RunID(sound.Document.ID)
	packed := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		fmt.Fprint(z, text)
		z.Close()
		return b.Bytes()
	}
	for name, c := range map[string]struct {
		damage func(b []byte) []byte
		listed bool // what a list reads may be sound
		want   string
	}{
		"empty":              {damage: func([]byte) []byte { return nil }, want: "EOF"},
		"cut in its head":    {damage: func(b []byte) []byte { return b[:12] }, want: "ends too early"},
		"cut later":          {damage: func(b []byte) []byte { return b[:len(b)-20] }, listed: true, want: "ends too early"},
		"without its sum":    {damage: func(b []byte) []byte { return b[:len(b)-8] }, listed: true, want: "ends too early"},
		"of another sum":     {damage: func(b []byte) []byte { b[len(b)-7]++; return b }, listed: true, want: "checksum"},
		"no gzip":            {damage: func([]byte) []byte { return []byte("hello, world, this is text") }, want: "invalid header"},
		"no JSON":            {damage: func([]byte) []byte { return packed("hello") }, want: "invalid character"},
		"of another program": {damage: func([]byte) []byte { return packed("{}") }, want: "none of ours"},
		"of a newer Cairn":   {damage: func([]byte) []byte { return packed(`{"version":2}`) }, want: "a newer one has written it"},
		"of another run":     {damage: func([]byte) []byte { return packed(`{"version":1,"entry":{"id":"x"}}`) }, want: "not of the run"},
		"without a document": {
			damage: func([]byte) []byte {
				return packed(`{"version":1,"entry":{"id":"` + string(id) + `","workflow":"w1"}}`)
			},
			listed: true, want: "another document, or none"},
	} {
		t.Run(name, func(t *testing.T) {
			f, log := newFolder(t)
			put(t, f, sound, ranFor(2, time.Minute))
			path := f.pathOf(name1(sound))
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, c.damage(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{runErr(t, f, id), instancesErr(t, f, id)} {
				if strings.Contains(c.want, "document") && err == nil {
					continue // it has no instances
				}
				if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, scheduler.ErrNotFound) || !strings.Contains(err.Error(), path) {
					t.Errorf("got %v, want words about %q, and the file", err, c.want)
				}
			}
			want := []string{"w2"}
			if c.listed {
				want = append(want, "w1")
			}
			for range 2 {
				if d := cmp.Diff(want, listed(t, f, "")); d != "" {
					t.Errorf("list (-want +got):\n%s", d)
				}
			}
			if n := strings.Count(log.String(), "is left out"); c.listed != (n == 0) || n > 1 {
				t.Errorf("it was logged %d times:\n%s", n, log)
			}
			put(t, f, sound) // putting it again mends it
			if err := runErr(t, f, id); err != nil {
				t.Error(err)
			}
		})
	}
}

func name1(r Run) name {
	return name{run: workflow.RunID(r.Document.ID), changed: r.LastAt.UnixNano()}
}

func runErr(t *testing.T, f *Folder, id workflow.RunID) error {
	_, _, err := f.Run(t.Context(), id)
	return err
}

func instancesErr(t *testing.T, f *Folder, id workflow.RunID) error {
	_, err := f.Instances(t.Context(), id, "wide")
	return err
}

func TestWhatIsForeignIsLeftOutAndSaidOnce(t *testing.T) {
	f, log := newFolder(t)
	put(t, f, ranFor(1, 0))
	day := filepath.Join(f.Path(), "2026-01-31")
	for _, path := range []string{
		filepath.Join(f.Path(), "README"), filepath.Join(f.Path(), "2026-02-01"), filepath.Join(day, "notes.txt"),
		filepath.Join(day, name{run: idOf(1, midnight.Add(-time.Hour))}.file()), // of another day
		filepath.Join(day, "short-1234567890123456789.jsonl.gz"),
	} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(day, ranFor(2, 0).Document.ID), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if d := cmp.Diff([]string{"w1"}, listed(t, f, "")); d != "" {
			t.Errorf("list (-want +got):\n%s", d)
		}
	}
	if err := runErr(t, f, idOf(9, midnight)); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if n := strings.Count(log.String(), "is left out"); n != 6 {
		t.Errorf("%d were logged, want each of 6 once:\n%s", n, log)
	}
}

func TestTroubleWithTheFolderIsSaid(t *testing.T) {
	f, _ := newFolder(t)
	if err := os.MkdirAll(filepath.Dir(f.Path()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Path(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := f.Put(t.Context(), ranFor(1, 0))
	if err == nil || !strings.Contains(err.Error(), "not a directory") || !strings.Contains(err.Error(), f.Path()) {
		t.Errorf("put: %v, want what is wrong and where", err)
	}
	met := false
	for _, err := range f.List(t.Context(), "") {
		met = err != nil
	}
	if err := runErr(t, f, idOf(1, midnight)); !met || err == nil || errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("list met trouble: %t; run: %v, want both", met, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	f, _ = newFolder(t)
	put(t, f, ranFor(1, 0))
	if _, _, err := f.Run(ended, idOf(1, midnight)); !errors.Is(err, context.Canceled) {
		t.Errorf("run for a caller who is gone: %v", err)
	}
}

// A write that hangs keeps nobody for longer than they wait, and no other one is begun.
func TestAWriteThatHangsIsNotWaitedFor(t *testing.T) {
	f, _ := newFolder(t)
	f.busy <- struct{}{} // as while a write hangs
	if err := f.Put(t.Context(), ranFor(1, 0)); !errors.Is(err, errBusy) {
		t.Errorf("got %v, want that it is busy", err)
	}
	<-f.busy
	put(t, f, ranFor(1, 0))
}

func TestWhatACrashLeftIsRemoved(t *testing.T) {
	f, log := newFolder(t)
	put(t, f, ranFor(1, 0))
	tmp := filepath.Join(f.Path(), tmpName)
	old, fresh := filepath.Join(tmp, "old"), filepath.Join(tmp, "fresh")
	for _, path := range []string{old, fresh} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(old, before, before); err != nil {
		t.Fatal(err)
	}
	put(t, f, ranFor(2, 0))
	entries, err := os.ReadDir(tmp)
	if err != nil || len(entries) != 1 || entries[0].Name() != "fresh" {
		t.Errorf("left: %v, %v, want what may still be written", entries, err)
	}
	if got := listed(t, f, ""); len(got) != 2 || log.Len() > 0 {
		t.Errorf("listed %v, logged:\n%s", got, log)
	}
}

// The golden files are what version 1 wrote: the text as it is written now, and a file that must stay readable.
func TestTheFormIsThatOfItsVersion(t *testing.T) {
	r := ranFor(1, 0)
	r.Document.Parent = &api.Parent{Run: "parent", Attempt: "attempt"}
	r.Instances["wide"] = wide(3)
	var text bytes.Buffer
	if err := encode(&text, func() error { return nil }, r); err != nil {
		t.Fatal(err)
	}
	golden, file := filepath.Join("testdata", "v1.jsonl"), filepath.Join("testdata", "v1.jsonl.gz")
	if *update {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(text.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(z.Close(), os.WriteFile(golden, text.Bytes(), 0o600), os.WriteFile(file, packed.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text.String()); d != "" {
		t.Errorf("form (-want +got):\n%s", d)
	}
	f, _ := newFolder(t)
	put(t, f, r)
	packed, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(f.pathOf(name1(r)), packed, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if doc, _, err := f.Run(t.Context(), idOf(1, midnight)); err != nil || doc.Parent.Run != "parent" {
		t.Errorf("got %+v, %v", doc, err)
	}
	if got, err := f.Instances(t.Context(), idOf(1, midnight), "wide"); err != nil || len(got) != 3 {
		t.Errorf("got %d instances, %v, want 3", len(got), err)
	}
}

// FuzzFile reads whatever a file may hold: an error or a document, and never more.
func FuzzFile(f *testing.F) {
	var text bytes.Buffer
	if err := encode(&text, func() error { return nil }, ranFor(1, 0)); err != nil {
		f.Fatal(err)
	}
	f.Add(text.Bytes(), true)
	f.Add([]byte(`{"version":1,"entry":null}`), true)
	f.Add([]byte("{"), false)
	f.Fuzz(func(t *testing.T, content []byte, pack bool) {
		folder := NewFolder(t.TempDir(), hclog.NewNullLogger())
		n := name1(ranFor(1, 0))
		if err := folder.makeFolders(n.day()); err != nil {
			t.Fatal(err)
		}
		if pack {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			if _, err := io.Copy(z, bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			content = b.Bytes()
		}
		if err := os.WriteFile(folder.pathOf(n), content, 0o600); err != nil {
			t.Fatal(err)
		}
		doc, _, err := folder.Run(t.Context(), n.run)
		if (doc == nil) == (err == nil) {
			t.Errorf("got %+v and %v", doc, err)
		}
		listed(t, folder, "")
		if _, err := folder.Instances(t.Context(), n.run, "wide"); err != nil && doc != nil {
			t.Errorf("the instances of a document that reads: %v", err)
		}
	})
}
