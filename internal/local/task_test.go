// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

func wantExit(t *testing.T, o engine.Outcome, code int) {
	t.Helper()
	if o.Kind != engine.OutcomeExited || o.ExitCode == nil || *o.ExitCode != code {
		t.Errorf("got %+v, want exited with %d", o, code)
	}
}

func TestAKillLeavesNothingBehind(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"a task that ignores the signal", "trap '' TERM INT; %[1]s; while :; do sleep 0.05; done"},
		{"children that ignore the signal", "(trap '' TERM INT; %[2]s; while :; do sleep 0.05; done) & %[1]s; wait"},
		{"a daemon in a session of its own", "setsid -f sh -c 'trap \"\" HUP TERM INT; %[2]s; sleep 1000'; %[1]s; sleep 1000"},
		{"a daemon that hides its environment", "setsid -f env -i CAIRN_INSTANCE_KEY=0 sh -c 'cd /; exec >/dev/null 2>&1; %[2]s; sleep 1000'; %[1]s; sleep 1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ledger := filepath.Join(t.TempDir(), "ledger")
			script := fmt.Sprintf(c.script, note("begin", ledger), strings.ReplaceAll(note("begin", ledger), "'", ""))
			want := strings.Count(c.script, "%[")
			e := openExecutor(t, t.TempDir())
			events := watch(t, e)
			st := testStart(0, rawExec(script, map[string]any{"KillTimeout": 200 * time.Millisecond, "KillSignal": "SIGTERM"}))
			start(t, e, st)
			until(t, "it runs", func() bool { _, pids := counts(t, ledger, "begin"); return len(pids) == want })
			if err := e.Kill(t.Context(), st); err != nil {
				t.Fatal(err)
			}
			if o := waitEnded(t, events, st.Attempt); o.Kind != engine.OutcomeKilled {
				t.Errorf("got %+v, want killed", o)
			}
			_, pids := counts(t, ledger, "begin")
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("process %d still lives when the attempt is told as killed", pid)
				}
			}
		})
	}
}

func TestATaskThatEndsTakesItsDaemonsWithIt(t *testing.T) {
	ledger, gate := filepath.Join(t.TempDir(), "ledger"), filepath.Join(t.TempDir(), "gate")
	e := openExecutor(t, t.TempDir())
	events := watch(t, e)
	// Its neighbour, with a daemon of its own, goes on.
	daemon := "setsid -f sh -c '" + strings.ReplaceAll(note("daemon", ledger), "'", "") + "; sleep 1000'; "
	neighbour := testStart(1, rawExec(daemon+waitForFile(gate), nil))
	start(t, e, neighbour)
	until(t, "the neighbour runs", func() bool { n, _ := counts(t, ledger, "daemon"); return n["1"] == 1 })
	_, neighbours := counts(t, ledger, "daemon")

	st := testStart(0, rawExec(daemon+"while ! grep -q 'daemon 0' '"+ledger+"'; do sleep 0.02; done; exit 6", nil))
	start(t, e, st)
	wantExit(t, waitEnded(t, events, st.Attempt), 6)
	_, pids := counts(t, ledger, "daemon")
	for _, pid := range pids {
		if pid == neighbours[0] != alive(pid) {
			t.Errorf("process %d lives: %t; the neighbour's is %d", pid, alive(pid), neighbours[0])
		}
	}
	touch(t, gate)
	wantExit(t, waitEnded(t, events, neighbour.Attempt), 0)
	if alive(neighbours[0]) {
		t.Error("the neighbour's daemon outlives the neighbour")
	}
}

func TestLargeOutputStaysOnDisk(t *testing.T) {
	dir := t.TempDir()
	e := openExecutor(t, dir)
	events := watch(t, e)
	st := testStart(0, rawExec("head -c 10485760 /dev/zero | tr '\\0' x; echo end", nil))
	st.WantStdout = true
	start(t, e, st)
	o := waitEnded(t, events, st.Attempt)
	wantExit(t, o, 0)
	if len(o.Stdout) != workflow.MaxStdoutTailBytes || !strings.HasSuffix(string(o.Stdout), "xend\n") {
		t.Errorf("tail of %d bytes, want %d that end with xend", len(o.Stdout), workflow.MaxStdoutTailBytes)
	}
	r, err := e.Logs(t.Context(), scheduler.LogRequest{Attempt: st.Attempt, Task: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); n != 10485760+4 || err != nil {
		t.Errorf("log of %d bytes, error %v; want %d", n, err, 10485760+4)
	}
}

func TestAFollowedLogOfTenThousandLinesIsWhole(t *testing.T) {
	e := openExecutor(t, t.TempDir())
	events := watch(t, e)
	gate := filepath.Join(t.TempDir(), "gate")
	st := testStart(0, rawExec("i=0; while [ $i -lt 10000 ]; do i=$((i+1)); echo line $i; [ $i = 5000 ] && "+waitForFile(gate)+"; done", nil))
	start(t, e, st)
	r, err := e.Logs(t.Context(), scheduler.LogRequest{Attempt: st.Attempt, Task: "t", Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	touch(t, gate)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for i, l := range lines {
		if l != fmt.Sprintf("line %d", i+1) {
			t.Fatalf("line %d reads %q", i+1, l)
		}
	}
	if len(lines) != 10000 {
		t.Errorf("%d lines, want 10000", len(lines))
	}
	waitEnded(t, events, st.Attempt)
}

func TestATaskSeesItsFoldersVariablesAndTemplates(t *testing.T) {
	t.Setenv("FROM_HOST", "host")
	t.Setenv("NOMAD_TOKEN", "secret")
	t.Setenv("CAIRN_TOKEN", "secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	o, folder := runOne(t, job(map[string]any{
		"Name": "t", "Driver": "exec", "Meta": map[string]string{"team": "blue"},
		"Config": map[string]any{"command": "sh", "args": []any{"-c",
			`pwd; cat local/config.txt "$NOMAD_SECRETS_DIR/key"; echo "$GREETING|$FROM_HOST|$NOMAD_TOKEN$CAIRN_TOKEN$AWS_SECRET_ACCESS_KEY|$NOMAD_META_team$NOMAD_META_TEAM|$LITERAL"; ` +
				`echo '${NOMAD_TASK_NAME} $${NOMAD_TASK_NAME} %%{x} ${env["FROM_HOST"]} ${NOMAD_META_team}' "$0"`, "${node.unique.name}"}},
		"Env": map[string]string{"GREETING": "hi ${NOMAD_TASK_NAME}", "LITERAL": "${not_a_reference} $${FROM_HOST}"},
		"Templates": []any{
			map[string]any{"DestPath": "local/config.txt", "EmbeddedTmpl": "text ${NOMAD_TASK_DIR} }}\n", "ChangeMode": "restart", "Splay": 5000000000, "Perms": "0600"},
			map[string]any{"DestPath": "${NOMAD_SECRETS_DIR}/key", "EmbeddedTmpl": "s3cret\n"},
		},
	}), func(st *engine.Start) { st.WantStdout = true })
	wantExit(t, o, 0)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(folder, "t") + "\ntext ${NOMAD_TASK_DIR} }}\ns3cret\nhi t|host||blueblue|${not_a_reference} $host\nt ${NOMAD_TASK_NAME} %{x} host blue " + host + "\n"
	if got := string(o.Stdout); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if st, err := os.Stat(filepath.Join(folder, "t/local/config.txt")); err != nil || st.Mode() != 0o600 {
		t.Errorf("config.txt: mode %v, error %v; want 0600", st.Mode(), err)
	}
}

func TestJavaBodiesRun(t *testing.T) {
	bin := t.TempDir()
	fakeCommand(t, bin, "java", `echo "$@"`)
	o, _ := runOne(t, job(map[string]any{"Driver": "java", "Config": map[string]any{
		"jvm_options": []any{"-Xmx64m"}, "class_path": "a:b", "class": "Main", "args": []any{"x", 1}}}), func(st *engine.Start) { st.WantStdout = true })
	wantExit(t, o, 0)
	if got, want := string(o.Stdout), "-Xmx64m -cp a:b Main x 1\n"; got != want {
		t.Errorf("java got %q, want %q", got, want)
	}
}

// fakeCommand puts a script in front of the PATH.
func fakeCommand(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestDockerBodiesRunThroughTheDockerCommand(t *testing.T) {
	bin, calls := t.TempDir(), filepath.Join(t.TempDir(), "calls")
	fakeCommand(t, bin, "docker", `echo "$@" >> `+calls+`
[ "$1" = run ] || exit 0
for last; do :; done
case "$last" in
hang) trap '' TERM; echo ready >> `+calls+`; while :; do sleep 0.05; done;;
broken) exit 125;;
esac
exit 5`)
	body := func(arg string) []byte {
		return job(map[string]any{"Driver": "docker", "User": "1000", "KillTimeout": 100 * time.Millisecond, "Env": map[string]string{"A": "b c"},
			"Config": map[string]any{"image": "alpine:3", "command": "echo", "args": []any{arg}, "network_mode": "none", "init": true,
				"labels": []any{map[string]any{"x": "y"}}, "logging": []any{map[string]any{"type": "journald"}}}})
	}
	dir := t.TempDir()
	e := openExecutor(t, dir)
	events := watch(t, e)
	st := testStart(0, body("hello"))
	start(t, e, st)
	wantExit(t, waitEnded(t, events, st.Attempt), 5)
	got := readLines(t, calls)
	if len(got) != 1 {
		t.Fatalf("docker was called %d times: %q", len(got), got)
	}
	folder := filepath.Join(dir, attemptsDir, string(st.Attempt))
	for _, want := range []string{"run --rm --name cairn-" + string(st.Attempt) + " ", "--env A=b c ", "--env NOMAD_ALLOC_DIR=/alloc ",
		"--env CAIRN_OUTPUT=/alloc/data/cairn_output ", "--volume " + folder + "/alloc:/alloc ", "--volume " + folder + "/t/local:/local ",
		"--user 1000 ", "--init ", "--label x=y ", "--network none ", " alpine:3 echo hello"} {
		if !strings.Contains(got[0]+" ", want) {
			t.Errorf("docker %s\nlacks %q", got[0], want)
		}
	}

	broken := testStart(1, body("broken"))
	start(t, e, broken)
	if o := waitEnded(t, events, broken.Attempt); o.Kind != engine.OutcomeError {
		t.Errorf("docker that starts nothing: got %+v, want error", o)
	}
	hang := testStart(2, body("hang"))
	start(t, e, hang)
	until(t, "the container runs", func() bool { return strings.Contains(strings.Join(readLines(t, calls), "\n"), "ready") })
	if err := e.Kill(t.Context(), hang); err != nil {
		t.Fatal(err)
	}
	if o := waitEnded(t, events, hang.Attempt); o.Kind != engine.OutcomeKilled {
		t.Errorf("killed container: got %+v", o)
	}
	remove := "rm --force cairn-" + string(hang.Attempt)
	if l := readLines(t, calls); l[len(l)-1] != remove {
		t.Errorf("the last call is %q, want %q before the end is told", l[len(l)-1], remove)
	}

	lost := testStart(3, body("hang"))
	start(t, e, lost)
	until(t, "the container runs", func() bool { return strings.Count(strings.Join(readLines(t, calls), "\n"), "ready") == 2 })
	killHard(t, supervisorOf(t, dir))
	if o := waitEnded(t, events, lost.Attempt); o.Kind != engine.OutcomeLost {
		t.Errorf("container of a killed supervisor: got %+v", o)
	}
	remove = "rm --force cairn-" + string(lost.Attempt)
	if l := readLines(t, calls); l[len(l)-1] != remove {
		t.Errorf("the last call is %q, want %q before the loss is told", l[len(l)-1], remove)
	}
}

func TestRootRunsATaskAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 { // then the same body is refused: see TestWhatCannotRunHereIsRefused
		return
	}
	dir, err := os.MkdirTemp("/tmp", "cairn-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	e := openExecutor(t, dir)
	events := watch(t, e)
	st := testStart(0, rawExec("id -un > $CAIRN_OUTPUT; echo $HOME $USER >> $CAIRN_OUTPUT; touch $NOMAD_TASK_DIR/x $NOMAD_SECRETS_DIR/y", map[string]any{"User": "nobody"}))
	start(t, e, st)
	o := waitEnded(t, events, st.Attempt)
	wantExit(t, o, 0)
	if got := string(o.Output); !strings.HasPrefix(got, "nobody\n/") || !strings.HasSuffix(got, " nobody\n") {
		t.Errorf("the task wrote %q, want nobody, and nobody's home and name", got)
	}
}

func TestATaskThatCannotBeStartedSaysWhy(t *testing.T) {
	script := filepath.Join(t.TempDir(), "plain.txt")
	touch(t, script)
	for _, c := range []struct {
		name string
		task map[string]any
		want string
	}{
		{"no such command", map[string]any{"Config": map[string]any{"command": "no-such-command"}}, `command "no-such-command" is neither in the task's folder nor in the PATH`},
		{"not executable", map[string]any{"Config": map[string]any{"command": script}}, "permission denied"},
		{"no such folder", map[string]any{"Config": map[string]any{"command": "true", "work_dir": "/no/such"}}, "work_dir /no/such is no folder"},
		{"an argument that is too long", map[string]any{"Config": map[string]any{"command": "true", "args": []any{strings.Repeat("x", 200<<10)}}}, "at most 128 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := runOne(t, job(merge(map[string]any{"Driver": "raw_exec"}, c.task)), nil)
			if o.Kind != engine.OutcomeError || o.StartedAt != 0 || !strings.Contains(o.Message, c.want) {
				t.Errorf("got %+v, want an error with %q", o, c.want)
			}
		})
	}
}

func TestOutputsThatAreNoPlainFilesAreLost(t *testing.T) {
	for _, script := range []string{`mkfifo "$CAIRN_OUTPUT"`, `mkdir "$CAIRN_OUTPUT"`, `ln -s /etc/passwd "$CAIRN_OUTPUT"`} {
		o, _ := runOne(t, rawExec(script, nil), nil)
		wantExit(t, o, 0)
		if !o.OutputsLost || len(o.Output) > 0 || o.Message == "" {
			t.Errorf("%s: got %+v, want outputs lost, and why", script, o)
		}
	}
}

func TestAShortTaskIsToldOnce(t *testing.T) {
	e := openExecutor(t, t.TempDir())
	events := watch(t, e)
	if _, err := exec.LookPath("true"); err != nil {
		t.Fatal(err)
	}
	started, total := 0, 20
	for i := range total {
		st := testStart(i, job(map[string]any{"Driver": "raw_exec", "Config": map[string]any{"command": "true"}}))
		start(t, e, st)
		for ended := false; !ended; {
			select {
			case ev := <-events:
				if ev.Kind == engine.Started {
					started++
				}
				if ended = ev.Kind == engine.Ended; ended && ev.Outcome.StartedAt == 0 {
					t.Errorf("the end of %s does not say when it started", ev.Attempt)
				}
			case <-time.After(patience):
				t.Fatal("no end")
			}
		}
	}
	if started > total/2 { // a busy machine may stretch some of them
		t.Errorf("%d of %d short tasks were told as started first", started, total)
	}
}
