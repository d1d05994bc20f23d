// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func TestSummaries(t *testing.T) {
	for name, wantBad := range map[string]bool{
		"good": false, // two tests against real agents
		"bad":  true,  // a failure, a skip, a broken build, a panic
		"cut":  true,  // the same without any test's end
	} {
		t.Run(name, func(t *testing.T) {
			in, err := os.Open("testdata/" + name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			var got bytes.Buffer
			bad, err := summarise(in, &got)
			if err != nil {
				t.Fatal(err)
			}
			if bad != wantBad {
				t.Errorf("bad: got %t, want %t", bad, wantBad)
			}
			golden := "testdata/" + name + ".golden"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoTestsAtAllIsAFailure(t *testing.T) {
	var got bytes.Buffer
	bad, err := summarise(bytes.NewReader([]byte("go: no such package\n")), &got)
	if err != nil || !bad {
		t.Errorf("got %t, %v; want true", bad, err)
	}
}

func TestALongRecordDoesNotHideWhatIsSaidAfterIt(t *testing.T) {
	record := "    a_test.go:1: the record:\n" + strings.Repeat("        line\n", 100)
	got := ownWords(record + "    a_test.go:2: wrong\n    cluster.go:1: a log\n")
	want := append(strings.SplitAfter("    a_test.go:1: the record:\n"+strings.Repeat("        line\n", 5), "\n")[:6], "    a_test.go:2: wrong\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
