// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// lifecycle makes a hook of a task.
func lifecycle(hook string, sidecar bool) func(*nomadapi.Task) {
	return func(task *nomadapi.Task) { task.Lifecycle = &nomadapi.TaskLifecycle{Hook: hook, Sidecar: sidecar} }
}

func patient(task *nomadapi.Task) { task.KillTimeout = ptr(2 * time.Second) }

const forever = "trap 'exit 0' INT TERM; echo on; while :; do sleep 0.05; done"

// group is the start of an attempt of a group of tasks.
func (r *rig) group(tasks ...*nomadapi.Task) engine.Start {
	r.t.Helper()
	s := r.job(&nomadapi.Job{TaskGroups: []*nomadapi.TaskGroup{group("work", tasks...)}})
	s.Kind = workflow.BodyGroup
	return s
}

// hooked is a group with a task of every kind, all of which write to the one output file.
func hooked(setup, main, cleanup string) []*nomadapi.Task {
	return []*nomadapi.Task{
		script("setup", setup, lifecycle("prestart", false)),
		script("proxy", forever, lifecycle("prestart", true), patient),
		script("load", main, patient),
		script("cleanup", cleanup, lifecycle("poststop", false)),
	}
}

const note = `echo $NOMAD_TASK_NAME=$CAIRN_TASK >> "$CAIRN_OUTPUT"`

func TestAgentGroupSucceeds(t *testing.T) {
	r := newRig(t)
	s := r.group(hooked(note, note+"; echo hello", "sleep 1; "+note)...)
	s.WantStdout = true
	r.begin(s)
	o := r.ended(s.Attempt)
	exited(t, o, 0)
	if want := "setup=work\nload=work\ncleanup=work\n"; string(o.Output) != want || string(o.Stdout) != "hello\n" {
		t.Errorf("output %q and stdout %q, want %q and hello", o.Output, o.Stdout, want)
	}
	if o.Message != "" {
		t.Errorf("message %q of a group that ended well", o.Message)
	}
	job, _, err := r.api().Jobs().Info(r.jobOf(s), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range job.TaskGroups[0].Tasks {
		if p := task.RestartPolicy; *p.Attempts != 0 || *p.Mode != "fail" {
			t.Errorf("task %s restarts %d times, mode %s", task.Name, *p.Attempts, *p.Mode)
		}
	}
	req := scheduler.LogRequest{Attempt: s.Attempt, Task: s.Task}
	if got := r.log(req); got != "hello\n" {
		t.Errorf("the log of a group is %q, want its main task's", got)
	}
	for _, part := range []string{"proxy", "work/proxy", "work[0]/proxy"} {
		req.Part = part
		if got := r.log(req); got != "on\n" {
			t.Errorf("the log of part %s is %q, want the sidecar's", part, got)
		}
	}
	req.Follow = true
	if got := r.log(req); got != "on\n" {
		t.Errorf("the followed log of the sidecar is %q", got)
	}
	for part, words := range map[string]string{
		"prxy":       `group work has no task "prxy"; its tasks are setup (prestart), proxy (sidecar), load (main), cleanup (poststop)`,
		"other/load": "has not placed other[0]; it has work[0]",
		"a/b/c":      "want TASK, GROUP/TASK or GROUP[INDEX]/TASK",
	} {
		req.Part = part
		if _, err := r.exec.Logs(r.ctx(), req); !errors.Is(err, scheduler.ErrNotFound) || !strings.Contains(err.Error(), words) {
			t.Errorf("log of part %s: %v, want %q", part, err, words)
		}
	}
}

func TestAgentGroupFails(t *testing.T) {
	r := newRig(t)
	main := r.group(hooked("true", "exit 3", note)...)
	setup := r.group(hooked("exit 5", note, "true")...)
	cleanup := r.group(hooked("true", note, "exit 9")...)
	two := r.group(script("one", forever, patient), script("two", "exit 4"), script("three", "exit 6"))
	sidecar := r.group(script("proxy", "sleep 0.5; exit 0", lifecycle("prestart", true)), script("load", forever, patient))
	broken := r.group(append(hooked("true", "true", "true"), &nomadapi.Task{Name: "none", Driver: "raw_exec", Config: map[string]any{"command": "/no/such/program"},
		Lifecycle: &nomadapi.TaskLifecycle{Hook: "prestart"}})...)
	for _, c := range []struct {
		name    string
		s       engine.Start
		want    string
		message string
	}{
		{"the main task", main, "exited 3", `task "load" failed (exit code 3)`},
		{"the prestart task", setup, "exited 5", `prestart task "setup" failed (exit code 5), and Nomad ended the others with it`},
		{"the poststop task", cleanup, "exited 0", `poststop task "cleanup" failed (exit code 9) when the work of the group was done`},
		{"one of several main tasks", two, "exited ", `failed (exit code `},
		{"the sidecar", sidecar, "failed", `sidecar task "proxy" ended by itself (exit code 0), and Nomad stopped the others with it`},
		{"a prestart task that cannot start", broken, "error", `task "none": Driver Failure`},
	} {
		r.begin(c.s)
		o := r.ended(c.s.Attempt)
		found := r.over(r.kind(c.s.Attempt, engine.Ended).Place.AllocID, time.Now())
		if got := verdict(judgement{outcome: o}); !strings.HasPrefix(got, c.want) || !strings.Contains(o.Message, c.message) {
			t.Errorf("%s failed: outcome %s, want %s, %q, of\n%s", c.name, show(o), c.want, c.message, toldOf(found))
		}
	}
}

// toldOf is what Nomad tells of the tasks of an allocation, in the order of time.
func toldOf(a *nomadapi.Allocation) string {
	var all []string
	for name, state := range a.TaskStates {
		for _, e := range state.Events {
			all = append(all, fmt.Sprintf("%d %s: %s %s", e.Time, name, e.Type, e.DisplayMessage))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestAgentGroupIsKilled(t *testing.T) {
	r := newRig(t)
	ours := r.group(hooked("true", forever, "sleep 1; "+note)...)
	theirs := r.group(hooked("true", forever, "true")...)
	for _, s := range []engine.Start{ours, theirs} {
		r.begin(s)
		r.kind(s.Attempt, engine.Started)
		r.settlePart(s, "load")
	}
	next := r.again(t)
	next.kill(ours)
	ofKind(t, next.ended(ours.Attempt), engine.OutcomeKilled)
	if _, _, err := r.api().Jobs().Deregister(r.jobOf(theirs), false, nil); err != nil {
		t.Fatal(err)
	}
	ofKind(t, r.ended(theirs.Attempt), engine.OutcomeInterrupted)
}

func TestAgentGroupIsTakenUpAgain(t *testing.T) {
	r := newRig(t)
	s := r.group(hooked("true", `echo on; until test -e "$NOMAD_ALLOC_DIR/data/go"; do sleep 0.05; done; exit 7`, "sleep 1")...)
	r.begin(s)
	r.kind(s.Attempt, engine.Started)
	next := r.again(t)
	s.Accepted = r.kind(s.Attempt, engine.Accepted).Index
	s.Place = r.kind(s.Attempt, engine.Started).Place
	next.begin(s)
	next.kind(s.Attempt, engine.Started)
	next.settlePart(s, "load")
	touch(t, s.Place.AllocID, "load")
	o := next.ended(s.Attempt)
	if exited(t, o, 7); o.Message != `task "load" failed (exit code 7)` {
		t.Errorf("message %q", o.Message)
	}
}

// TestAgentTaskWithEverything runs what Nomad users give to a task: a template of a variable, an artifact, a constraint, a
// dynamic port.
func TestAgentTaskWithEverything(t *testing.T) {
	r := newRig(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintf(w, "fetched %s\n", req.URL.Path)
	}))
	defer server.Close()
	// The identity of a workload may read what lies at nomad/jobs in its namespace. Paths below it are of job IDs, and every
	// attempt has one of its own.
	space := "etl-" + string(r.run)
	if _, err := r.api().Namespaces().Register(&nomadapi.Namespace{Name: space}, nil); err != nil {
		t.Fatal(err)
	}
	secrets := &nomadapi.Variable{Path: "nomad/jobs", Namespace: space, Items: nomadapi.VariableItems{"everything": "hidden"}}
	if _, _, err := r.api().Variables().Create(secrets, &nomadapi.WriteOptions{Namespace: space}); err != nil {
		t.Fatal(err)
	}
	task := script("load", `{ cat local/conf; cat local/artifact; echo "port=$NOMAD_PORT_http"; } >> "$CAIRN_OUTPUT"`, func(task *nomadapi.Task) {
		task.Templates = []*nomadapi.Template{{
			EmbeddedTmpl: ptr(`secret={{ with nomadVar "nomad/jobs" }}{{ .everything }}{{ end }}` + "\n"), DestPath: ptr("local/conf"),
		}}
		task.Artifacts = []*nomadapi.TaskArtifact{{
			GetterSource: ptr(server.URL + "/data"), GetterMode: ptr("file"), RelativeDest: ptr("local/artifact"),
		}}
		task.Constraints = []*nomadapi.Constraint{nomadapi.NewConstraint("${attr.kernel.name}", "=", "linux")}
	})
	g := group("work", task)
	g.Networks = []*nomadapi.NetworkResource{{Mode: "host", DynamicPorts: []nomadapi.Port{{Label: "http"}}}}
	s := r.job(&nomadapi.Job{Namespace: &space, TaskGroups: []*nomadapi.TaskGroup{g}})
	s.Kind = workflow.BodyTask
	r.begin(s)
	o := r.ended(s.Attempt)
	exited(t, o, 0)
	var secret, fetched, port string
	if _, err := fmt.Sscanf(string(o.Output), "secret=%s\nfetched %s\nport=%s\n", &secret, &fetched, &port); err != nil {
		t.Fatalf("output %q: %v", o.Output, err)
	}
	if secret != "hidden" || fetched != "/data" {
		t.Errorf("output %q, want the variable and the artifact", o.Output)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "0" {
		t.Errorf("port %q: %v", port, err)
	}
}
