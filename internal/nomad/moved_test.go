// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
)

func TestWhatHasMovedHasItsNamesOfNow(t *testing.T) {
	moved, err := ParseMoved([]string{"north=south", "north-1=south-1", "same=same"})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"Region":"north","Datacenters":["north-1","*","east-1"],"TaskGroups":[{"Name":"a","Tasks":[{"Name":"a","Driver":"raw_exec"}]}]}`)
	job, err := decodeBody(engine.Start{Task: "a", Body: body}, moved)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"south", "south-1", "*", "east-1"}, append([]string{*job.Region}, job.Datacenters...)); d != "" {
		t.Errorf("the job's names (-want +got):\n%s", d)
	}
	dispatch, err := decodeDispatch(engine.Start{Task: "a", Body: []byte(`{"job":"x","region":"north"}`)}, moved)
	if err != nil || dispatch.Region != "south" {
		t.Errorf("dispatched in %+v: %v", dispatch, err)
	}
	if job, err := decodeBody(engine.Start{Task: "a", Body: body}, nil); err != nil || *job.Region != "north" {
		t.Errorf("where nothing has moved: %v", err)
	}
}

func TestWhereSomethingHasMovedIsSaidOnce(t *testing.T) {
	for words, pairs := range map[string][]string{
		`"north": want an old name and a new one`:   {"north"},
		`"=south": want an old`:                     {"=south"},
		`"north=": want an old`:                     {"north="},
		`"a=c": a has become b already`:             {"a=b", "a=c"},
		"a has become b, and that c: name for each": {"a=b", "b=c"},
	} {
		if _, err := ParseMoved(pairs); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want %q", pairs, err, words)
		}
	}
}
