// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestWhatCannotRunHereIsRefused(t *testing.T) {
	raw := func(more map[string]any) map[string]any {
		return merge(map[string]any{"Driver": "raw_exec", "Config": map[string]any{"command": "true"}}, more)
	}
	config := func(driver string, c map[string]any) map[string]any {
		return map[string]any{"Driver": driver, "Config": c}
	}
	for _, c := range []struct {
		name string
		body map[string]any // fields of the task, or of job and group with a prefix
		want []string
	}{
		{"a plain task is fine", raw(nil), nil},
		{"no driver", raw(map[string]any{"Driver": ""}), []string{"the task names no driver"}},
		{"another driver", config("podman", nil), []string{"driver podman cannot run here"}},
		{"a mistyped driver", config("raw_exce", nil), []string{"did you mean raw_exec?"}},
		{"a mistyped config key", config("raw_exec", map[string]any{"comand": "true"}),
			[]string{"config has no attribute comand (did you mean command?)", "config needs command"}},
		{"a config key of the wrong kind", config("raw_exec", map[string]any{"command": []any{"x"}, "args": "y"}),
			[]string{"config.command must be text", "config.args must be a list"}},
		{"java without a class", config("java", map[string]any{"args": []any{}}), []string{"class or jar_path"}},
		{"docker volumes", config("docker", map[string]any{"image": "x", "volumes": []any{"/a:/b"}}), []string{"config.volumes cannot be used"}},
		{"vault", raw(map[string]any{"Vault": map[string]any{"Role": "x"}}), []string{"vault cannot be used in a local run"}},
		{"an artifact", raw(map[string]any{"Artifacts": []any{map[string]any{"GetterSource": "x"}}}), []string{"artifact cannot be used"}},
		{"a service of the group", raw(map[string]any{"group.Services": []any{map[string]any{"Name": "x"}}}), []string{"service cannot be used"}},
		{"a network of the group", raw(map[string]any{"group.Networks": []any{map[string]any{"Mode": "bridge"}}}), []string{"network cannot be used"}},
		{"a volume of the group", raw(map[string]any{"group.Volumes": map[string]any{"v": map[string]any{"Type": "host"}}}), []string{"volume cannot be used"}},
		{"a field from the future", raw(map[string]any{"Hologram": true}), []string{"Hologram is not known to local runs"}},
		{"template functions", raw(map[string]any{"Templates": []any{map[string]any{"DestPath": "local/a", "EmbeddedTmpl": `{{ key "x" }}`}}}), []string{"template local/a uses functions"}},
		{"template functions with other delimiters", raw(map[string]any{"Templates": []any{map[string]any{"DestPath": "local/a", "EmbeddedTmpl": "<< key >> {{", "LeftDelim": "<<"}}}), []string{"uses functions (<<)"}},
		{"a template that leaves the folder", raw(map[string]any{"Templates": []any{map[string]any{"DestPath": "../../x", "EmbeddedTmpl": "y"}}}), []string{"must be a file below the task's folder"}},
		{"a template file", raw(map[string]any{"Templates": []any{map[string]any{"DestPath": "local/a", "SourcePath": "b"}}}), []string{"template source cannot be used"}},
		{"an unknown user", raw(map[string]any{"User": "no-such-user"}), []string{`user "no-such-user" is not known`}},
		{"an unknown signal", raw(map[string]any{"KillSignal": "SIGNOPE"}), []string{`kill_signal "SIGNOPE"`}},
		{"an unknown reference in config", config("raw_exec", map[string]any{"command": "x", "args": []any{"${NOMAD_ALOC_DIR}", "${attr.cpu.arhc}"}}),
			[]string{"${NOMAD_ALOC_DIR} is not known", "did you mean attr.cpu.arch?"}},
		{"an expression in config", config("raw_exec", map[string]any{"command": "x", "args": []any{`${upper("a${b}")}`}}), []string{"an expression"}},
		{"a directive in config", config("raw_exec", map[string]any{"command": "x", "args": []any{"%{ if true }"}}), []string{"a template directive"}},
		{"an unknown reference in env", raw(map[string]any{"Env": map[string]string{"A": "${meta.rack} ${other}"}}), []string{"env uses ${meta.rack}"}},
		{"a service job", raw(map[string]any{"job.Type": "service"}), []string{"a job of type service"}},
		{"several allocations", raw(map[string]any{"group.Count": 3}), []string{"count 3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Check(workflow.BodyTask, bodyOf(t, c.body))
			if err != nil {
				t.Fatal(err)
			}
			if len(c.want) == 0 && len(r.Refused) > 0 {
				t.Errorf("refused: %q", r.Refused)
			}
			for _, want := range c.want {
				if !slices.ContainsFunc(r.Refused, func(s string) bool { return strings.Contains(s, want) }) {
					t.Errorf("refused %q, want a sentence with %q", r.Refused, want)
				}
			}
			if len(c.want) == 0 {
				return
			}
			o, _ := runOne(t, bodyOf(t, c.body), nil)
			if o.Kind != engine.OutcomeInvalid || !strings.Contains(o.Message, c.want[0]) {
				t.Errorf("started: got %+v, want invalid with %q", o, c.want[0])
			}
		})
	}
}

// bodyOf puts "job." and "group." fields where they belong and the others into the task.
func bodyOf(t *testing.T, fields map[string]any) []byte {
	t.Helper()
	task, group, job := map[string]any{"Name": "t"}, map[string]any{"Name": "t"}, map[string]any{"Type": "batch"}
	for k, v := range fields {
		if name, ok := strings.CutPrefix(k, "job."); ok {
			job[name] = v
		} else if name, ok := strings.CutPrefix(k, "group."); ok {
			group[name] = v
		} else {
			task[k] = v
		}
	}
	group["Tasks"] = []any{task}
	job["TaskGroups"] = []any{group}
	b, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatHasNoEffectHereIsNamedOnce(t *testing.T) {
	one := []any{map[string]any{"LTarget": "${attr.os.name}", "RTarget": "x", "Operand": "="}}
	body := bodyOf(t, map[string]any{
		"Driver": "raw_exec", "Config": map[string]any{"command": "true", "oom_score_adj": 5},
		"Constraints": one, "Affinities": one, "Resources": map[string]any{"CPU": 100}, "LogConfig": map[string]any{"MaxFiles": 1},
		"Leader": false, "ShutdownDelay": 0, "RestartPolicy": nil, "Meta": map[string]string{"a": "b"},
		"group.Constraints": one, "group.Spreads": []any{map[string]any{}}, "group.Services": []any{}, "job.NodePool": "x", "job.Priority": 70,
		"job.Datacenters": []any{"dc1"}, "job.Constraints": one,
	})
	r, err := Check(workflow.BodyTask, body)
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Ignored: []string{"affinity", "config.oom_score_adj", "constraint", "datacenters", "logs", "node_pool", "priority", "resources", "spread"}}
	if d := cmp.Diff(want, r); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	o, _ := runOne(t, body, nil)
	wantExit(t, o, 0)
}

func TestKindsThatNeedNomadAreRefused(t *testing.T) {
	for kind, want := range map[workflow.BodyKind]string{
		workflow.BodyGroup: "a group runs its tasks side by side", workflow.BodyJob: "a job file is Nomad's to run",
		workflow.BodyDispatch: "a dispatch asks Nomad for a job", workflow.BodyTask: "",
		workflow.BodyApproval: "", workflow.BodyWait: "", workflow.BodyHTTP: "", workflow.BodyRunWorkflow: "", workflow.BodyJoin: "",
	} {
		body := []byte("{}")
		if kind == workflow.BodyTask {
			body = rawExec("true", nil)
		}
		r, err := Check(kind, body)
		if err != nil || !strings.HasPrefix(r.Message(), want) || (want == "") != (r.Message() == "") {
			t.Errorf("%s: refused %q (%v), want %q", kind, r.Refused, err, want)
		}
		if want == "" {
			continue
		}
		if !strings.Contains(r.Message(), "-nomad") {
			t.Errorf("%s: %q does not name the way out", kind, r.Message())
		}
		o, _ := runOne(t, rawExec("true", nil), func(s *engine.Start) { s.Kind = kind })
		if o.Kind != engine.OutcomeInvalid || o.Message != r.Message() || o.StartedAt != 0 {
			t.Errorf("%s: started: got %+v, want invalid with %q", kind, o, r.Message())
		}
	}
}

func TestABodyThatIsNoJobIsAnError(t *testing.T) {
	for _, body := range []string{"", "[]", `{"TaskGroups":[]}`, `{"TaskGroups":[{"Tasks":[{},{}]}]}`, `{"TaskGroups":[{"Tasks":[{"Driver":5}]}]}`} {
		if r, err := Check(workflow.BodyTask, []byte(body)); err == nil {
			t.Errorf("%s: no error, report %+v", body, r)
		}
		o, _ := runOne(t, []byte(body+" "), nil)
		if o.Kind != engine.OutcomeInvalid || o.Message == "" {
			t.Errorf("%s: got %+v, want invalid", body, o)
		}
	}
}
