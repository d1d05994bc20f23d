// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

func TestChainRunsToItsEndWithOneSaveForEachTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w).launch()
		id := p.submit(chain(3))
		head := p.wait(id)
		if head.Status != workflow.RunSucceeded {
			t.Errorf("got %s (%s), want succeeded", head.Status, head.Reason)
		}
		// Begin with the first admission, then each end together with the next admission.
		if d := cmp.Diff([]string{"save", "save", "save", "save"}, w.logged("save")); d != "" {
			t.Errorf("saves (-want +got):\n%s", d)
		}
		if err := p.end(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
}
