// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestALeaderThatStepsDownLeavesWhatRunsAndGoesOnInItsNextTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(chain(1))
		synctest.Wait()
		led := p.s.Epoch()
		epoch, err := p.s.StepDown(p.ctx)
		if err != nil || epoch != led {
			t.Errorf("epoch %d, %v; want %d", epoch, err, led)
		}
		var stepped *SteppedDownError
		if err := <-p.ended; !errors.As(err, &stepped) || stepped.Epoch != led {
			t.Errorf("Run returned %v", err)
		}
		if !slices.Contains(w.logged("release"), "release") || len(w.logged("kill")) > 0 {
			t.Errorf("log %q, want a release and no kill", w.log)
		}
		if _, err := p.s.StepDown(p.ctx); !errors.Is(err, ErrFenced) || p.s.Leading() || p.s.Epoch() != 0 {
			t.Errorf("a second time: %v, leading %t with epoch %d", err, p.s.Leading(), p.s.Epoch())
		}
		go func() { p.ended <- p.s.Run(p.ctx) }()
		synctest.Wait()
		p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		succeeded(t, p.wait(id))
		if begun := len(w.begun); begun != 1 {
			t.Errorf("%d attempts, want the one of before", begun)
		}
		gracefully(t, p)
	})
}
