// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
)

func executorBars(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter})
	if err := s.ex.Kill(ctx, st); err != nil {
		return err
	}
	o, _, err := s.ended(ctx, st.Attempt)
	if err != nil {
		return err
	}
	if o.Kind != engine.OutcomeKilled || o.ExitCode != nil || o.StartedAt != 0 {
		return fmt.Errorf("got %s, started %d; want killed, never started", describe(o), o.StartedAt)
	}
	for range 2 {
		if err := s.ex.Start(ctx, st); err != nil {
			return err
		}
		if err := s.wantKind(ctx, st.Attempt, engine.OutcomeKilled); err != nil {
			return err
		}
		if err := s.restart(); err != nil {
			return err
		}
	}
	return s.settleLedger(ctx, "begin key 1", 0)
}

// settleLedger lets one more attempt run to its end before it counts: what would start wrongly had its time.
func (s *session) settleLedger(ctx context.Context, line string, times int) error {
	probe := s.start(999, task{script: "sleep 0.2"})
	if err := s.ex.Start(ctx, probe); err != nil {
		return err
	}
	if _, err := s.wantExit(ctx, probe.Attempt, 0); err != nil {
		return err
	}
	return s.wantLedger(line, times)
}

func executorStartAfterKill(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter + "; " + s.waitFor("never")})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
		return err
	}
	if err := errors.Join(s.ex.Kill(ctx, st), s.ex.Start(ctx, st)); err != nil {
		return err
	}
	if err := s.wantKind(ctx, st.Attempt, engine.OutcomeKilled); err != nil {
		return err
	}
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	return s.settleLedger(ctx, "begin key 1", 1)
}

func executorKillGraceful(ctx context.Context, s *session) error {
	st := s.start(1, task{killSignal: "SIGTERM", killTimeout: time.Minute,
		script: `trap 'echo "asked $CAIRN_INSTANCE_KEY" >> "$LEDGER"; exit 0' TERM; ` + enter + "; while :; do sleep 0.05; done"})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
		return err
	}
	for range 2 { // a repeated kill is one kill
		if err := s.ex.Kill(ctx, st); err != nil {
			return err
		}
	}
	return errors.Join(s.wantKind(ctx, st.Attempt, engine.OutcomeKilled), s.wantLedger("asked key 1", 1))
}

func executorKillHard(ctx context.Context, s *session) error {
	st := s.start(1, task{killSignal: "SIGTERM", killTimeout: time.Second,
		script: `trap '' TERM; ` + enter + "; while :; do sleep 0.05; done"})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
		return err
	}
	asked := time.Now()
	if err := s.ex.Kill(ctx, st); err != nil {
		return err
	}
	if err := s.wantKind(ctx, st.Attempt, engine.OutcomeKilled); err != nil {
		return err
	}
	if took := time.Since(asked); took < time.Second {
		return fmt.Errorf("it was killed after %s, before its kill_timeout of 1s", took)
	}
	return nil
}

func executorKillChildren(ctx context.Context, s *session) error {
	st := s.start(1, task{killTimeout: 500 * time.Millisecond,
		script: enter + `; (trap '' INT TERM; while :; do date +%s%N > "$LEDGER.beat"; sleep 0.02; done) & wait`})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := until(ctx, "the child beats", func() (bool, error) {
		b, err := os.ReadFile(s.path("ledger.beat"))
		return err == nil && len(b) > 0, nil
	}); err != nil {
		return err
	}
	if err := s.ex.Kill(ctx, st); err != nil {
		return err
	}
	if err := s.wantKind(ctx, st.Attempt, engine.OutcomeKilled); err != nil {
		return err
	}
	before, err := os.ReadFile(s.path("ledger.beat"))
	if err != nil {
		return err
	}
	if err := s.settleLedger(ctx, "begin key 1", 1); err != nil { // takes ten beats
		return err
	}
	if after, err := os.ReadFile(s.path("ledger.beat")); err != nil || !bytes.Equal(before, after) {
		return fmt.Errorf("a child of the killed task still works (beats %q, %q, error %v)", before, after, err)
	}
	return nil
}

func executorKillEnded(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if _, err := s.wantExit(ctx, st.Attempt, 0); err != nil {
		return err
	}
	if err := s.restart(); err != nil {
		return err
	}
	if err := s.ex.Kill(ctx, st); err != nil {
		return err
	}
	_, err := s.wantExit(ctx, st.Attempt, 0)
	return err
}
