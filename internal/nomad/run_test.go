// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
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

// Traps of nomad.md that one agent is enough for.

func TestAgentStopThatIsTrappedIsNoSuccess(t *testing.T) {
	r := newRig(t)
	const trapping = `trap 'exit 0' TERM; echo on; while :; do sleep 0.05; done`
	ours, theirs := r.shell(trapping), r.shell(trapping)
	r.begin(ours)
	r.begin(theirs)
	r.kind(ours.Attempt, engine.Started)
	r.kind(theirs.Attempt, engine.Started)
	r.settleTrap(ours)
	r.settleTrap(theirs)

	r.kill(ours)
	if _, _, err := r.api().Jobs().Deregister(r.jobOf(theirs), false, nil); err != nil {
		t.Fatal(err)
	}
	ofKind(t, r.ended(ours.Attempt), engine.OutcomeKilled)
	ofKind(t, r.ended(theirs.Attempt), engine.OutcomeInterrupted)
}

// settleTrap waits until the script of an attempt has said "on": its trap is set.
func (r *rig) settleTrap(s engine.Start) {
	r.t.Helper()
	r.settlePart(s, "")
}

// settlePart waits for that of one of several tasks.
func (r *rig) settlePart(s engine.Start, part string) {
	r.t.Helper()
	place := r.kind(s.Attempt, engine.Started).Place
	log, err := r.exec.Logs(r.ctx(), scheduler.LogRequest{Attempt: s.Attempt, Place: place, Task: s.Task, Part: part, Follow: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	if _, err := io.ReadFull(log, make([]byte, 3)); err != nil {
		r.t.Fatalf("read the log: %v", err)
	}
}

func TestAgentTaskThatIgnoresItsSignalIsKilled(t *testing.T) {
	r := newRig(t)
	s := r.shell(`trap '' TERM; echo on; while :; do sleep 0.05; done`)
	r.begin(s)
	r.settleTrap(s)
	r.kill(s)
	ofKind(t, r.ended(s.Attempt), engine.OutcomeKilled)
}

func TestAgentTaskThatEndedBeforeItsStopHasSucceeded(t *testing.T) {
	r := newRig(t)
	s := r.shell("true")
	id := r.begin(s)
	r.ended(id)
	if _, _, err := r.api().Jobs().Deregister(r.jobOf(s), false, nil); err != nil {
		t.Fatal(err)
	}
	next := r.again(t)
	s.Accepted = r.kind(id, engine.Accepted).Index
	next.begin(s)
	exited(t, next.ended(id), 0)
}

func TestAgentRepeatedStartIsAdopted(t *testing.T) {
	r := newRig(t)
	s := r.shell("echo once >> $CAIRN_OUTPUT; sleep 0.5")
	r.begin(s)
	first := r.kind(s.Attempt, engine.Started)

	next := r.again(t)
	s.Epoch++ // a new leader; what the attempt was recorded with stays in the job all the same
	next.begin(s)
	if got := next.kind(s.Attempt, engine.Started).Place; got != first.Place {
		t.Errorf("the second start runs at %+v, the first at %+v", got, first.Place)
	}
	o := next.ended(s.Attempt)
	exited(t, o, 0)
	if string(o.Output) != "once\n" {
		t.Errorf("output %q, want one run", o.Output)
	}
	if got := next.exec.Stats().Adoptions; got != 1 {
		t.Errorf("%d adoptions, want 1", got)
	}
	job, _, err := r.api().Jobs().Info(r.jobOf(s), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *job.Version != 0 || job.Meta[metaEpoch] != "7" {
		t.Errorf("job has version %d and epoch %s: it was registered again", *job.Version, job.Meta[metaEpoch])
	}
}

func TestAgentJobWithAnotherBodyIsNotAdopted(t *testing.T) {
	r := newRig(t)
	s := r.shell("sleep 30")
	r.begin(s)
	next := r.again(t)
	other := r.shell("true")
	other.Attempt, other.Instance = s.Attempt, s.Instance
	next.begin(other)
	ofKind(t, next.ended(s.Attempt), engine.OutcomeInvalid)
	r.kill(s)
	r.ended(s.Attempt)
}

func TestAgentLateRegistrationMeetsATombstone(t *testing.T) {
	r := newRig(t)
	s := r.shell("echo ran > $CAIRN_OUTPUT")
	leader, deposed := r.again(t), r
	leader.kill(s)
	ofKind(t, leader.ended(s.Attempt), engine.OutcomeKilled)
	deposed.begin(s)
	ofKind(t, deposed.ended(s.Attempt), engine.OutcomeKilled)
	allocs, _, err := r.api().Jobs().Allocations(r.jobOf(s), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(allocs) != 0 {
		t.Errorf("%d allocations of a job with a tombstone", len(allocs))
	}
}

func TestAgentKillOfAJobThatCannotBePlaced(t *testing.T) {
	r := newRig(t)
	s := r.shell("true", func(task *nomadapi.Task) { task.Resources.MemoryMB = ptr(900_000_000) })
	r.begin(s)
	r.kind(s.Attempt, engine.Held)
	r.kill(s)
	ofKind(t, r.ended(s.Attempt), engine.OutcomeKilled)
	other := r.shell("true", func(task *nomadapi.Task) { task.Resources.MemoryMB = ptr(900_000_000) })
	r.begin(other)
	r.kind(other.Attempt, engine.Held)
	if _, _, err := r.api().Jobs().Deregister(r.jobOf(other), false, nil); err != nil {
		t.Fatal(err)
	}
	ofKind(t, r.ended(other.Attempt), engine.OutcomeInterrupted)
}

func TestAgentFailuresBeforeTheStartAreErrors(t *testing.T) {
	r := newRig(t)
	driver := r.begin(r.shell("", func(task *nomadapi.Task) {
		task.Config = map[string]any{"command": "/no/such/program"}
	}))
	artifact := r.begin(r.shell("true", func(task *nomadapi.Task) {
		task.Artifacts = []*nomadapi.TaskArtifact{{GetterSource: ptr("http://127.0.0.1:1/nothing")}}
	}))
	config := r.begin(r.shell("", func(task *nomadapi.Task) { task.Config = map[string]any{"comand": "/bin/true"} }))
	template := r.begin(r.shell("true", func(task *nomadapi.Task) {
		task.Templates = []*nomadapi.Template{{EmbeddedTmpl: ptr("{{ nofunction }}"), DestPath: ptr("local/x")}}
	}))
	for name, c := range map[string]struct {
		id   workflow.AttemptID
		want string
	}{
		"driver":   {driver, "/no/such/program"},
		"artifact": {artifact, "127.0.0.1:1"},
		"config":   {config, "comand"},
		"template": {template, "nofunction"},
	} {
		o := r.ended(c.id)
		if o.Kind != engine.OutcomeError || !strings.Contains(o.Message, c.want) {
			t.Errorf("%s: outcome %s, want an error about %s", name, show(o), c.want)
		}
	}
}

func TestAgentInvalidBodyIsRefusedOnce(t *testing.T) {
	r := newRig(t)
	s := r.shell("true", func(task *nomadapi.Task) { task.Driver = "" })
	r.begin(s)
	o := r.ended(s.Attempt)
	if o.Kind != engine.OutcomeInvalid || !strings.Contains(o.Message, "driver") {
		t.Errorf("outcome %s, want invalid, about the driver", show(o))
	}
	if got := r.exec.Stats(); got.Registers != 0 {
		t.Errorf("%d registrations of an invalid body", got.Registers)
	}
}

func TestAgentTemplateDoesNotRestartItsTask(t *testing.T) {
	r := newRig(t)
	const path = "nomad/jobs"
	set := func(value string) {
		v := &nomadapi.Variable{Path: path, Items: nomadapi.VariableItems{"v": value}}
		if _, _, err := r.api().Variables().Update(v, nil); err != nil {
			t.Fatal(err)
		}
	}
	set("first")
	withTemplate := func(task *nomadapi.Task) {
		task.Templates = []*nomadapi.Template{{
			EmbeddedTmpl: ptr(`{{ with nomadVar "nomad/jobs" }}{{ .v }}{{ end }}`), DestPath: ptr("local/v"),
		}}
	}
	// It ends when the second value has arrived, having said once that it began.
	s := r.shell(`echo began >> $CAIRN_OUTPUT; echo on; until grep -q second local/v; do sleep 0.05; done; sleep 1`, withTemplate)
	r.begin(s)
	r.settleTrap(s)
	set("second")
	o := r.ended(s.Attempt)
	exited(t, o, 0)
	if string(o.Output) != "began\n" {
		t.Errorf("output %q: the task was restarted", o.Output)
	}
}

func TestAgentDataIsNotEvaluatedByTheClient(t *testing.T) {
	r := newRig(t)
	const key = "a${node.unique.name}$${NOMAD_TASK_NAME}${${b"
	s := r.shell(`printf %s "$CAIRN_INSTANCE_KEY" > "$CAIRN_OUTPUT"; env | grep -o '^CAIRN_[A-Z_]*' | grep -v TESTCLUSTER | sort | xargs`)
	s.Key, s.WantStdout = key, true
	r.begin(s)
	o := r.ended(s.Attempt)
	if string(o.Output) != key {
		t.Errorf("the task saw the key as %q, want %q", o.Output, key)
	}
	const names = "CAIRN_ATTEMPT CAIRN_FENCE CAIRN_INSTANCE_KEY CAIRN_OUTPUT CAIRN_RUN_ID CAIRN_TASK CAIRN_WORKFLOW\n"
	if string(o.Stdout) != names {
		t.Errorf("the task saw the variables %q, want %q", o.Stdout, names)
	}
}

func TestAgentFastTasks(t *testing.T) {
	r := newRig(t)
	var ids []workflow.AttemptID
	for range 20 {
		ids = append(ids, r.begin(r.shell("echo x=1 > $CAIRN_OUTPUT")))
	}
	for _, id := range ids {
		o := r.ended(id)
		exited(t, o, 0)
		if string(o.Output) != "x=1\n" {
			t.Errorf("output %q", o.Output)
		}
	}
	if got := r.exec.Stats(); got.Registers != 20 || got.OutputReads != 20 || got.Validations != 1 {
		t.Errorf("calls %+v, want 20 registrations, 20 reads, one validation", got)
	}
}

func TestAgentOutputFileUpToTheLimitAndBeyond(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ written, want int }{
		{workflow.MaxTaskOutputBytes, workflow.MaxTaskOutputBytes},
		{workflow.MaxTaskOutputBytes + 1, workflow.MaxTaskOutputBytes + 1},
		{10 << 20, workflow.MaxTaskOutputBytes + 1},
	} {
		o := r.ended(r.begin(r.shell(fmt.Sprintf("head -c %d /dev/zero > $CAIRN_OUTPUT", c.written))))
		exited(t, o, 0)
		if len(o.Output) != c.want {
			t.Errorf("of %d bytes written %d were read, want %d", c.written, len(o.Output), c.want)
		}
	}
	none := r.shell("true")
	o := r.ended(r.begin(none))
	if o.Output != nil || o.OutputsLost {
		t.Errorf("a task without an output file has outcome %s", show(o))
	}
	unread := r.shell("echo x=1 > $CAIRN_OUTPUT")
	unread.WantOutput = false
	before := r.exec.Stats().OutputReads
	r.ended(r.begin(unread))
	if after := r.exec.Stats().OutputReads; after != before {
		t.Errorf("an output that nobody wants was read")
	}
}

func TestAgentPlacementSaysWhatIsMissing(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name       string
		change     func(*nomadapi.Task)
		want       string
		impossible bool
	}{
		{"memory", func(task *nomadapi.Task) { task.Resources.MemoryMB = ptr(900_000_000) }, "memory", false},
		{"constraint", func(task *nomadapi.Task) {
			task.Constraints = []*nomadapi.Constraint{nomadapi.NewConstraint("${attr.kernel.name}", "=", "plan9")}
		}, "plan9", true},
		{"driver", func(task *nomadapi.Task) { task.Driver = "nosuchdriver" }, "missing drivers", true},
	} {
		s := r.shell("true", c.change)
		s.Definition = c.name
		got := r.kind(r.begin(s), engine.Held)
		if !strings.Contains(got.Message, c.want) || got.Impossible != c.impossible {
			t.Errorf("%s: held %q (impossible %t), want %q (%t)", c.name, got.Message, got.Impossible, c.want, c.impossible)
		}
		r.kill(s)
	}
	pool := r.job(&nomadapi.Job{NodePool: ptr("default"), Datacenters: []string{"nowhere"}, TaskGroups: []*nomadapi.TaskGroup{{
		Tasks: []*nomadapi.Task{{Name: "work", Driver: "raw_exec", Config: map[string]any{"command": "/bin/true"}}},
	}}})
	got := r.kind(r.begin(pool), engine.Held)
	if !strings.Contains(got.Message, "no node") || !got.Impossible {
		t.Errorf("held %q (impossible %t), want that there is no node", got.Message, got.Impossible)
	}
	r.kill(pool)
}

func TestAgentAvoidsNodes(t *testing.T) {
	r := newRig(t)
	s := r.shell("true")
	s.AvoidNodes = []string{cluster.Nomad(t).Clients[0].Name}
	r.begin(s)
	if got := r.kind(s.Attempt, engine.Held); !strings.Contains(got.Message, s.AvoidNodes[0]) || !got.Impossible {
		t.Errorf("held %q, want it to name the node", got.Message)
	}
	r.kill(s)
}

func TestAgentSecondWatchIsRefused(t *testing.T) {
	r := newRig(t)
	// Its own Watch runs already, or is about to: wait for something it reports.
	r.ended(r.begin(r.shell("true")))
	if err := r.exec.Watch(r.ctx(), func(engine.Event) {}); !errors.Is(err, errWatching) {
		t.Errorf("second watch: %v, want %v", err, errWatching)
	}
}

func TestAgentRepeatedStartTellsAgain(t *testing.T) {
	r := newRig(t)
	s := r.shell("true")
	r.begin(s)
	r.ended(s.Attempt)
	r.begin(s)
	r.begin(s)
	r.kill(s)
	other := r.begin(r.shell("true")) // reported after what is told again
	r.ended(other)
	if n := r.count(s.Attempt, engine.Ended); n < 2 {
		t.Errorf("Ended was told %d times, want it again after a repeated start", n)
	}
	if got := r.exec.Stats().Registers; got != 2 {
		t.Errorf("%d registrations, want 2", got)
	}
}
