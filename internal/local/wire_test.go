// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"slices"
	"strings"
	"testing"
)

func TestTheEnvironmentArrivesAsItWas(t *testing.T) {
	words := func(s string) []string { return strings.Fields(s) }
	for _, c := range []struct{ all, common, sent, without string }{
		{"", "", "", ""},
		{"A=1 B=2", "", "A=1 B=2", ""},
		{"", "A=1 B=2", "", "A=1 B=2"},
		{"A=1 B=2", "A=1 B=2", "", ""},
		{"A=2 B=2 D=4", "A=1 B=2 C=3", "A=2 D=4", "A=1 C=3"},
		{"A=1 Z=1", "A=1 M=1 Z=2", "Z=1", "M=1 Z=2"},
		{"A=1 A_B=1", "A=1 A_=1 A_B=1", "", "A_=1"},
	} {
		all, common := words(c.all), words(c.common)
		s := &spec{Env: slices.Clone(all)}
		s.packEnv(slices.Clone(common))
		if !slices.Equal(s.Env, words(c.sent)) || !slices.Equal(s.Without, words(c.without)) {
			t.Errorf("%q over %q: sent %q without %q", all, common, s.Env, s.Without)
		}
		s.unpackEnv(common)
		if slices.Sort(s.Env); !slices.Equal(s.Env, all) || s.Without != nil {
			t.Errorf("%q over %q: arrived as %q", all, common, s.Env)
		}
	}
}
