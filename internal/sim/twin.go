// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/cairnflow/cairn/internal/engine"
)

// twin is the state as a new leader would load it, kept beside the live one: both must do the same from then on.
type twin struct {
	w     *world
	state *engine.State
}

// newTwin loads the saved records and holds that they are the live state.
func newTwin(w *world, live *engine.State) *twin {
	s, err := w.machine.Load(w.store.load())
	if err != nil {
		w.fail("load of what was just saved: %v", err)
	}
	if a, b := picture(live), picture(s); a != b {
		a, b = around(a, b)
		w.fail("the live state and the one loaded from its records differ:\n live   %s\n loaded %s", a, b)
	}
	a, b := w.machine.Outstanding(live), w.machine.Outstanding(s)
	if !reflect.DeepEqual(a, b) {
		x, y := around(encoded(a), encoded(b))
		w.fail("outstanding differs after a reload:\n live   %s\n loaded %s", x, y)
	}
	return &twin{w: w, state: s}
}

// around cuts two texts to where they differ.
func around(a, b string) (string, string) {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	cut := func(s string) string { return "…" + s[max(0, i-150):min(len(s), i+150)] }
	return cut(a), cut(b)
}

// picture is everything durable of a state as text.
func picture(s *engine.State) string {
	instances := make([][]*engine.Instance, len(s.Instances))
	for n, ins := range s.Instances {
		if len(ins) > 0 { // none and nil are the same
			instances[n] = ins
		}
	}
	return encoded(struct {
		A, B, C, D, E any
		Past          any
	}{s.Input, s.Head, s.Tasks, instances, s.Expansions, pasts(s)})
}

func pasts(s *engine.State) []engine.Attempt {
	var out []engine.Attempt
	for _, t := range s.Instances {
		for _, in := range t {
			if in != nil {
				out = append(out, in.Past...)
			}
		}
	}
	return out
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// step does what the live state just did and holds that the commands are the same.
func (t *twin) step(e engine.Event, want []engine.Command) {
	got := t.w.machine.Step(t.state, e)
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.w.fail("a reloaded state answers %s with other commands:\n live   %s\n loaded %s", describe(t.w, e), encoded(want), encoded(got))
	}
}

// encode holds that both states have the same records to save.
func (t *twin) encode(want []engine.Record) {
	got, err := t.w.machine.EncodeDirty(t.state)
	if err != nil {
		t.w.fail("encode: %v", err)
	}
	same := slices.EqualFunc(got, want, func(a, b engine.Record) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) })
	if !same {
		t.w.fail("a reloaded state saves other records:\n live   %s\n loaded %s", keys(want), keys(got))
	}
}

func keys(records []engine.Record) string {
	var b bytes.Buffer
	for _, r := range records {
		b.WriteString(r.Key + "=" + string(r.Value[:min(len(r.Value), 400)]) + " ")
	}
	return b.String()
}
