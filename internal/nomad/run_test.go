// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"testing"

	"github.com/cairnflow/cairn/internal/engine"
)

func TestAgentTaskRunsAndItsOutputsAreRead(t *testing.T) {
	r := newRig(t)
	s := r.shell(`echo rows=42 >> "$CAIRN_OUTPUT"; echo hello`)
	s.WantStdout = true
	id := r.begin(s)
	if got := r.kind(id, engine.Accepted); got.Index == 0 || got.Place.JobID != r.jobOf(s) {
		t.Errorf("accepted %+v, want an index and the job", got)
	}
	if got := r.kind(id, engine.Started); got.Place.Node == "" || got.Place.AllocID == "" || got.StartedAt == 0 {
		t.Errorf("started %+v, want node, allocation and time", got)
	}
	o := r.ended(id)
	exited(t, o, 0)
	if string(o.Output) != "rows=42\n" || string(o.Stdout) != "hello\n" {
		t.Errorf("output %q and stdout %q, want rows=42 and hello", o.Output, o.Stdout)
	}
	if o.StartedAt == 0 || o.EndedAt < o.StartedAt {
		t.Errorf("times %d to %d, want both", o.StartedAt, o.EndedAt)
	}
	if got := r.exec.Stats(); got.Registers != 1 || got.OutputReads != 2 || got.Validations != 1 || got.Looks != 0 {
		t.Errorf("calls %+v, want one register, one validation, two reads", got)
	}
}

func TestAgentExitCodesAndSignals(t *testing.T) {
	r := newRig(t)
	three := r.begin(r.shell("exit 3"))
	killed := r.begin(r.shell("kill -KILL $$"))
	exited(t, r.ended(three), 3)
	o := r.ended(killed)
	ofKind(t, o, engine.OutcomeExited)
	if o.Signal != 9 || o.ExitCode != nil {
		t.Errorf("outcome %s, want signal 9 and no exit code", show(o))
	}
}
