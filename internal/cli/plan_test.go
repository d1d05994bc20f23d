// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/nomad"
)

// verdicts is a Nomad that answers by task, and keeps what it was asked.
type verdicts struct {
	by    map[string]nomad.Placement
	err   error
	asked []nomad.Rendering
}

func (v *verdicts) Plan(_ context.Context, r nomad.Rendering) (nomad.Placement, error) {
	v.asked = append(v.asked, r)
	if p, ok := v.by[r.Definition.Tasks[r.Task].Name]; ok {
		return p, v.err
	}
	return nomad.Placement{Groups: []nomad.GroupPlacement{{Name: "x", Count: 1}}}, v.err
}

// planning runs `cairn plan` over a Nomad of the test.
func planning(t *testing.T, v *verdicts, insist, asJSON bool) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	a := &App{Stdout: &out, Stderr: &talk, Getenv: func(string) string { return "" }, Now: func() time.Time { return second(0) }}
	a.out = &output{to: &out}
	a.Stdout = a.out
	code = a.plan("testdata/kinds", "kinds", &params{}, asJSON, nil, func() asking {
		return asking{placer: v, address: "http://nomad", insist: insist}
	})
	return code, out.String(), talk.String()
}

func TestAPlanTellsWhatIsKnownAndWhatNomadSays(t *testing.T) {
	v := &verdicts{by: map[string]nomad.Placement{
		"together":   {Groups: []nomad.GroupPlacement{{Name: "together", Count: 1, Unplaced: 1, Why: "memory exhausted on 1 node"}}},
		"existing":   {Groups: []nomad.GroupPlacement{{Name: "work", Count: 1, Unplaced: 1, Why: "no node has driver docker", Impossible: true}}},
		"dispatched": {Refused: "there is no job etl in namespace default to dispatch"},
		"report":     {Groups: []nomad.GroupPlacement{{Name: "report", Count: 1}}, Warnings: []string{"it would preempt 2 running allocations"}},
	}}
	code, stdout, stderr := planning(t, v, false, false)
	goldenInside(t, "plan.txt", stdout+"-- stderr --\n"+stderr)
	if code != exitFailed {
		t.Errorf("exit %d, want %d for a job that Nomad refuses", code, exitFailed)
	}
	for _, r := range v.asked {
		for _, secret := range []string{"hunter2", "aHVudGVyMg", "root-user", "4711"} {
			if strings.Contains(string(r.Body), secret) {
				t.Errorf("Nomad was given %s: %s", secret, r.Body)
			}
		}
	}
	_, stdout, _ = planning(t, v, false, true)
	var doc planDocument
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || len(doc.Tasks) != 15 {
		t.Fatalf("%d tasks, %v: %s", len(doc.Tasks), err, stdout)
	}
	for _, task := range doc.Tasks {
		switch task.Name {
		case "extract":
			if task.Instances == nil || *task.Instances != 2 || len(task.Placements) != 2 || !task.Placements[1].Placed || *task.Placements[1].Key != "us" {
				t.Errorf("extract: %+v", task)
			}
		case "shards":
			if task.Instances != nil || len(task.Unknown) != 1 || len(task.Placements) != 0 {
				t.Errorf("shards: %+v", task)
			}
		}
	}
}

func TestAPlanWithoutNomadIsAPlan(t *testing.T) {
	v := &verdicts{err: errors.New("Nomad at http://nomad does not answer")}
	code, stdout, stderr := planning(t, v, false, false)
	if code != exitOK || !strings.Contains(stdout, "release") || !strings.Contains(stderr, "Warning: Nomad at http://nomad does not answer.") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if len(v.asked) != 1 {
		t.Errorf("asked %d times, want once", len(v.asked))
	}
	code, stdout, stderr = planning(t, v, true, false)
	if code != exitUnreachable || !strings.Contains(stdout, "release") || !strings.Contains(stderr, "Error: Nomad at http://nomad does not answer.") {
		t.Errorf("with -nomad: exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestVerdictsOfManyInstancesShareALine(t *testing.T) {
	key := func(s string) *string { return &s }
	ok := planPlacement{Placed: true}
	full := planPlacement{Groups: []planGroup{{Name: "g", Count: 1, Unplaced: 1, Reason: "memory exhausted on 2 nodes"}}}
	with := func(p planPlacement, k string) planPlacement { p.Key = key(k); return p }
	for _, c := range []struct {
		name  string
		size  int
		given []planPlacement
		want  string
	}{
		{"all the same", 2, []planPlacement{with(ok, "a"), with(ok, "b")}, "would be placed at once"},
		{"more than were asked about", 50, []planPlacement{with(ok, "a"), with(ok, "b")}, "the first 2 of 50 would be placed at once"},
		{"different ones", 3, []planPlacement{with(ok, "a"), with(full, "b"), with(ok, "c")},
			"a, c would be placed at once|b would wait for room: memory exhausted on 2 nodes"},
		{"a plain task", 1, []planPlacement{full}, "would wait for room: memory exhausted on 2 nodes"},
	} {
		if got := strings.Join(placementLines(planTask{Instances: &c.size, Placements: c.given}), "|"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
