// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Nomad is not even asked: at this address nobody answers.
func TestARunStaysInItsNamespaces(t *testing.T) {
	attempt := workflow.MakeAttemptID("abcdefghijklmnopqrst", 0, 0, 1)
	job := func(namespace, region string) string {
		return `{"Namespace":"` + namespace + `","Region":"` + region + `","TaskGroups":[{"Name":"a","Tasks":[{"Name":"a","Driver":"raw_exec"}]}]}`
	}
	for name, c := range map[string]struct {
		kind   workflow.BodyKind
		body   string
		held   []string
		region string // of the executor; eu has become us
		words  string // of the refusal; empty: it is tried
	}{
		"held to nothing":                 {workflow.BodyTask, job("other", ""), nil, "", ""},
		"the namespace of the workflow":   {workflow.BodyTask, job("", ""), []string{"team"}, "", ""},
		"one of several":                  {workflow.BodyGroup, job("b", ""), []string{"team", "b"}, "", ""},
		"another one":                     {workflow.BodyTask, job("other", ""), []string{"team", "b"}, "", "in namespace other of Nomad, and this run is held to team, b"},
		"another region":                  {workflow.BodyTask, job("team", "eu"), []string{"team"}, "", "in namespace us/team"},
		"a region that was asked for":     {workflow.BodyTask, job("team", "eu"), []string{"eu/team"}, "", ""},
		"the region that is everything's": {workflow.BodyTask, job("team", "asia"), []string{"team"}, "asia", ""},
		"that region by name":             {workflow.BodyTask, job("team", "asia"), []string{"asia/team"}, "asia", ""},
		"a region that has moved":         {workflow.BodyTask, job("team", "eu"), []string{"eu/team"}, "us", ""},
		"moved to what is everything's":   {workflow.BodyTask, job("team", "eu"), []string{"team"}, "us", ""},
		"moved where nobody may":          {workflow.BodyTask, job("team", "eu"), []string{"asia/team"}, "", "in namespace us/team"},
		"moved under its name of now":     {workflow.BodyTask, job("team", "us"), []string{"us/team"}, "", ""},
		"a dispatch that has moved":       {workflow.BodyDispatch, `{"job":"x","region":"eu"}`, []string{"eu/team"}, "", ""},
		"a dispatch":                      {workflow.BodyDispatch, `{"job":"x","namespace":"other"}`, []string{"team"}, "", "in namespace other"},
		"a dispatch at home":              {workflow.BodyDispatch, `{"job":"x"}`, []string{"team"}, "", ""},
	} {
		cfg := DefaultConfig()
		cfg.Address, cfg.Cluster, cfg.Region = "http://127.0.0.1:1", "9d7c6e1a-0000-4000-8000-000000000000", c.region
		cfg.Moved = Moved{"eu": "us"}
		start := engine.Start{
			Attempt: attempt, Run: "abcdefghijklmnopqrst", Task: "a", Namespace: "team", Namespaces: c.held, Kind: c.kind, Body: []byte(c.body), Number: 1,
		}
		for _, verb := range []string{"start", "kill"} {
			e, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if verb == "kill" && c.kind == workflow.BodyDispatch {
				continue // nothing is registered in the place of a dispatch
			}
			if verb == "kill" {
				err = e.Kill(t.Context(), start)
			} else {
				err = e.Start(t.Context(), start)
			}
			e.mu.Lock()
			outcome := e.attempts[attempt].outcome
			e.mu.Unlock()
			switch {
			case c.words == "" && (err == nil || outcome != nil):
				t.Errorf("%s, %s: %v, %+v, want it to be tried", name, verb, err, outcome)
			case c.words != "" && (err != nil || outcome == nil || outcome.Kind != engine.OutcomeInvalid || !strings.Contains(outcome.Message, c.words)):
				t.Errorf("%s, %s: %v, %+v, want it refused with words about %q", name, verb, err, outcome, c.words)
			}
		}
	}
}
