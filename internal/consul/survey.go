// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

var _ backup.Survey = (*Survey)(nil)

// Survey counts what is stored under a prefix, as it is shown key by key, and looks whether it can be read. What it keeps in
// memory is about 200 bytes for each run.
type Survey struct {
	keys  keys
	root  string
	stock backup.Stock
	data  map[string]*surveyed // by the name of the data prefix
	err   error                // nothing can be told of it
}

// surveyed is what was seen of a data prefix.
type surveyed struct {
	keys        int
	bytes       int64
	entries     map[workflow.RunID]entry
	heads       map[workflow.RunID]bool
	inputs      map[workflow.RunID]bool
	definitions map[string]bool // by hash, as keys have it
	workflows   int
	unreadable  int
	problems    []string
}

// maxProblems is how many problems are told; the others are counted.
const maxProblems = 10

func (d *surveyed) problem(format string, args ...any) {
	d.unreadable++
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, fmt.Sprintf(format, args...))
	}
}

// NewSurvey surveys what is under a prefix.
func NewSurvey(prefix string) *Survey {
	return &Survey{keys: keys{prefix}, stock: backup.Stock{Prefix: prefix, Problems: []string{}}, data: map[string]*surveyed{}}
}

// Look implements backup.Survey.
func (s *Survey) Look(e backup.Entry) error {
	rest, ours := strings.CutPrefix(e.Key, s.keys.prefix)
	if !ours {
		return nil
	}
	switch e.Key {
	case s.keys.root():
		s.root = string(e.Value)
	case s.keys.cluster():
		s.stock.Cluster = string(e.Value)
	case s.keys.seq():
		var now seq
		if err := json.Unmarshal(e.Value, &now); err != nil {
			s.err = fmt.Errorf("key %s holds no counter: %w", e.Key, err)
		}
		s.stock.Incarnation, s.stock.Epoch = now.Incarnation, now.Epoch
	}
	name, rest, inData := strings.Cut(rest, "/")
	if !inData || dataNumber(name) == 0 {
		return nil
	}
	d := s.data[name]
	if d == nil {
		d = &surveyed{
			entries: map[workflow.RunID]entry{}, heads: map[workflow.RunID]bool{}, inputs: map[workflow.RunID]bool{}, definitions: map[string]bool{},
		}
		s.data[name] = d
	}
	d.keys++
	d.bytes += int64(len(e.Key) + len(e.Value))
	d.look(rest, e)
	return nil
}

// look looks at a key below the data prefix.
func (d *surveyed) look(key string, e backup.Entry) {
	kind, rest, _ := strings.Cut(key, "/")
	switch kind {
	case "ix":
		id := workflow.RunID(rest)
		found, err := decodeEntry(id, e.Value, e.ModifyIndex)
		if err != nil {
			d.problem("%s", err)
			return
		}
		d.entries[id] = found
	case "hot", "run":
		_, rest, _ = strings.Cut(rest, "/") // the shard
		run, record, _ := strings.Cut(rest, "/")
		switch record {
		case scheduler.HeadKey:
			if _, _, err := engine.ReadHead(e.Value); err != nil {
				d.problem("head of run %s: %s", run, err)
				return
			}
			d.heads[workflow.RunID(run)] = true
		case "r/" + engine.InputKey:
			d.inputs[workflow.RunID(run)] = true
		}
	case "def":
		hash, _, _ := strings.Cut(rest, "/")
		d.definitions[hash] = true
	case "wf":
		if _, err := workflow.DecodeRegistration(e.Value); err != nil {
			d.problem("workflow %s: %s", rest, err)
			return
		}
		d.workflows++
	}
}

// Stock implements backup.Survey.
func (s *Survey) Stock() (backup.Stock, error) {
	switch {
	case s.err != nil:
		return s.stock, s.err
	case s.root == "" && len(s.data) == 0:
		return s.stock, fmt.Errorf("nothing of Cairn is in it: Consul has no keys below %s", s.keys.prefix)
	case dataNumber(s.root) == 0:
		return s.stock, fmt.Errorf("key %s holds %q, which names no data", s.keys.root(), s.root)
	case s.stock.Epoch > maxEpoch:
		return s.stock, fmt.Errorf("key %s says epoch %d, which no leadership has", s.keys.seq(), s.stock.Epoch)
	case s.stock.Epoch == 0 || s.stock.Cluster == "":
		return s.stock, errors.New("the counter, or the UUID of the cluster, is missing")
	}
	out := s.stock
	out.Data = s.root
	d := s.data[s.root]
	if d == nil {
		return out, nil // nobody has run anything yet
	}
	d.complete()
	out.Keys, out.Bytes, out.Definitions, out.Workflows = d.keys, d.bytes, len(d.definitions), d.workflows
	for _, e := range d.entries {
		switch {
		case e.Cut:
		case e.Done:
			out.Ended++
		default:
			out.Active++
		}
	}
	out.Unreadable, out.Problems = d.unreadable, append(out.Problems, d.problems...)
	return out, nil
}

// complete looks whether the runs have all that they need.
func (d *surveyed) complete() {
	for id, e := range d.entries {
		definition := strings.TrimSuffix(strings.TrimPrefix(data{}.definition(e.Definition), data{}.definitions()), "/")
		switch {
		case e.Cut: // about to leave
		case e.Staged != 0: // its records are in packs
		case !d.heads[id]:
			d.problem("run %s has no head", id)
		case !d.inputs[id]:
			d.problem("run %s has no input", id)
		case !d.definitions[definition]:
			d.problem("run %s has no definition: %s is missing", id, e.Definition)
		}
	}
}

// Bounds of what is counted on from: far above what there ever is, and far below where it would begin anew.
const (
	maxEpoch = 1 << 60
	maxData  = 1 << 30
)

// dataNumber is the number in the name of a data prefix: 1 of d1. 0: it is no such name.
func dataNumber(name string) int {
	digits, found := strings.CutPrefix(name, "d")
	n, err := strconv.Atoi(digits)
	if !found || err != nil || n < 1 || n > maxData || name != dataName(n) {
		return 0
	}
	return n
}

// dataName is the name of the nth data prefix.
func dataName(n int) string { return fmt.Sprintf("d%d", n) }
