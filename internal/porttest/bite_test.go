// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"context"
	"testing"
	"time"
)

// bitten says which check must catch a bug.
type bitten struct {
	bug   string
	check string // the beginning of its name
}

// bite runs every check on a sound fake, and on each broken one the check that must notice.
func bite[G any](t *testing.T, checks []Check[G], ground func(t testing.TB, bug string) G, bugs []bitten) {
	t.Helper()
	for _, c := range checks {
		t.Run("sound: "+c.Name, func(t *testing.T) {
			t.Parallel()
			if err := try(t, c, ground(t, ""), Patience); err != nil {
				t.Error(err)
			}
		})
	}
	caught := map[string]bool{}
	for _, b := range bugs {
		c, err := CheckNamed(checks, b.check)
		if err != nil {
			t.Fatal(err)
		}
		caught[c.Name] = true
		t.Run(b.bug, func(t *testing.T) {
			t.Parallel()
			if err := try(t, c, ground(t, b.bug), 3*time.Second); err == nil {
				t.Errorf("%q does not notice that %s", c.Name, b.bug)
			}
		})
	}
	for _, c := range checks {
		if !caught[c.Name] {
			t.Errorf("no bug shows that %q can fail", c.Name)
		}
	}
}

// try bounds a check by less than its usual patience: a broken fake may never do what is waited for.
func try[G any](t *testing.T, c Check[G], ground G, patience time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return c.Run(ctx, ground)
}
