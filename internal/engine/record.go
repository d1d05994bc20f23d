// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/cairnflow/cairn/internal/workflow"
)

// recordVersion is the version of the durable form. A reader accepts this one and the one before.
const recordVersion = 2

// A run's records, by key:
//
//	i                        Input, never changes
//	h                        Head
//	g/<chunk>                32 tasks, each with its instance when it is plain
//	t/<task>/<chunk>         64 instances of a fanned-out task
//	k/<task>/<gen>/<part>    part of an expansion, never changes
//	p/<n>                    attempts that ended, never changes
const (
	tasksPerChunk     = 32
	instancesPerChunk = 64
	// packBytes and partBytes bound one record; an attempt with large outputs has a pack of its own.
	packBytes = 64 << 10
	partBytes = 64 << 10
)

// Record is one durable piece of a run's state. Keys are made of [a-z0-9/].
type Record struct {
	Key   string
	Value []byte
}

// headRecord is the head as it is stored, with what a list of runs tells of the rest.
type headRecord struct {
	*Head
	Outlook *Outlook `json:"outlook,omitempty"` // nil in what an older version wrote
}

// Outlook is what a new leader wants to know of a run before it has loaded it.
type Outlook struct {
	Live int           `json:"live,omitempty"` // attempts in flight, child runs among them
	Wake workflow.Time `json:"wake,omitempty"` // when the next timer is due; 0: none is
}

// ReadHead reads a stored head, without the rest of its run. The outlook is nil where an older version wrote it.
func ReadHead(value []byte) (Head, *Outlook, error) {
	var h Head
	r := headRecord{Head: &h}
	if err := json.Unmarshal(value, &r); err != nil {
		return Head{}, nil, fmt.Errorf("record %s: %w", HeadKey, err)
	}
	return h, r.Outlook, nil
}

type taskRecord struct {
	*TaskState
	Instance *Instance `json:"i,omitempty"`
}

type packEntry struct {
	Task     int     `json:"t"`
	Instance int     `json:"i"`
	Attempt  Attempt `json:"a"`
}

type partRecord struct {
	Keys    []string         `json:"k"`
	Values  []workflow.Value `json:"v"`
	Numbers []int            `json:"n,omitempty"`
}

// dirty is what changed since the last EncodeDirty.
type dirty struct {
	input, head bool
	tasks       map[int]struct{}
	instances   map[[2]int]struct{}
	expansions  map[int]struct{}
	packs       [][3]int // task, instance, index in Past
	plain       []bool   // by task: its instance lives in the task's record

	// What the step under way changed: records (tasks and instances) and the chunks they are in.
	stepSeen                map[[2]int]struct{}
	stepSeenChunks          map[[3]int]struct{}
	stepRecords, stepChunks int
	stepHead                bool
}

func (d *dirty) beginStep() {
	clear(d.stepSeen)
	clear(d.stepSeenChunks)
	d.stepRecords, d.stepChunks, d.stepHead = 0, 0, false
}

func (d *dirty) stepped() bool { return d.stepHead || d.stepRecords > 0 }

func (d *dirty) markHead() { d.head, d.stepHead = true, true }

func (d *dirty) task(n int) {
	if d.tasks == nil {
		d.tasks = map[int]struct{}{}
	}
	d.tasks[n/tasksPerChunk] = struct{}{}
	d.step([2]int{n, -1}, [3]int{0, n / tasksPerChunk, 0})
}

func (d *dirty) instance(n, i int) {
	if d.plain[n] {
		d.task(n)
		return
	}
	if d.instances == nil {
		d.instances = map[[2]int]struct{}{}
	}
	d.instances[[2]int{n, i / instancesPerChunk}] = struct{}{}
	d.step([2]int{n, i}, [3]int{1, n, i / instancesPerChunk})
}

func (d *dirty) step(record [2]int, chunk [3]int) {
	if d.stepSeen == nil {
		d.stepSeen, d.stepSeenChunks = map[[2]int]struct{}{}, map[[3]int]struct{}{}
	}
	if _, ok := d.stepSeen[record]; !ok {
		d.stepSeen[record] = struct{}{}
		d.stepRecords++
	}
	if _, ok := d.stepSeenChunks[chunk]; !ok {
		d.stepSeenChunks[chunk] = struct{}{}
		d.stepChunks++
	}
}

func (d *dirty) expansion(n int) {
	if d.expansions == nil {
		d.expansions = map[int]struct{}{}
	}
	d.expansions[n] = struct{}{}
}

func (d *dirty) pack(n, i, past int) { d.packs = append(d.packs, [3]int{n, i, past}) }

// EncodeDirty returns the records that changed since the last call (all of them, for a new state), sorted by key, and takes
// them for saved: a caller whose save fails throws s away and loads it again.
func (m *Machine) EncodeDirty(s *State) ([]Record, error) {
	w := writer{}
	d := &s.dirty
	if d.input {
		w.add(InputKey, s.Input)
	}
	for n := range d.expansions {
		w.parts(n, max(1, s.Tasks[n].Generation), s.Expansions[n])
	}
	s.Head.Packs += w.packs(s, d.packs)
	if d.head || len(d.packs) > 0 {
		w.add(HeadKey, headRecord{&s.Head, &Outlook{Live: s.live, Wake: s.wake}})
	}
	for c := range d.tasks {
		w.add(fmt.Sprintf("g/%04d", c), m.taskChunk(s, c))
	}
	for k := range d.instances {
		all := s.Instances[k[0]]
		low := k[1] * instancesPerChunk
		w.add(fmt.Sprintf("t/%04d/%05d", k[0], k[1]), all[low:min(low+instancesPerChunk, len(all))])
	}
	if w.err != nil {
		return nil, fmt.Errorf("encode run %s: %w", s.Input.Run, w.err)
	}
	sort.Slice(w.out, func(i, j int) bool { return w.out[i].Key < w.out[j].Key })
	s.dirty = dirty{plain: d.plain}
	return w.out, nil
}

func (m *Machine) taskChunk(s *State, c int) []taskRecord {
	low := c * tasksPerChunk
	out := make([]taskRecord, 0, tasksPerChunk)
	for n := low; n < min(low+tasksPerChunk, len(s.Tasks)); n++ {
		r := taskRecord{TaskState: s.Tasks[n]}
		if s.dirty.plain[n] && len(s.Instances[n]) > 0 {
			r.Instance = s.Instances[n][0]
		}
		out = append(out, r)
	}
	return out
}

// writer encodes records and keeps the first error.
type writer struct {
	out []Record
	err error
}

func (w *writer) add(key string, v any) {
	b, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("record %s: %w", key, err)
	}
	w.out = append(w.out, Record{Key: key, Value: b})
}

func (w *writer) parts(n, generation int, x *Expansion) {
	part, size := partRecord{}, 0
	number := 0
	flush := func() {
		w.add(fmt.Sprintf("k/%04d/%03d/%05d", n, generation, number), part)
		part, size = partRecord{}, 0
		number++
	}
	for i := range x.Keys {
		part.Keys, part.Values = append(part.Keys, x.Keys[i]), append(part.Values, x.Values[i])
		if x.Numbers != nil {
			part.Numbers = append(part.Numbers, x.Numbers[i])
		}
		size += len(x.Keys[i]) + len(x.Values[i].JSON) + 16
		if size >= partBytes {
			flush()
		}
	}
	if len(part.Keys) > 0 || number == 0 {
		flush()
	}
}

// packs writes the ended attempts into as few packs as their size lets it, and returns how many.
func (w *writer) packs(s *State, refs [][3]int) int {
	count, size := 0, 0
	var pack []packEntry
	flush := func() {
		if len(pack) > 0 {
			w.add(fmt.Sprintf("p/%08d", s.Head.Packs+count), pack)
			pack, size = nil, 0
			count++
		}
	}
	for _, r := range refs {
		a := s.Instances[r[0]][r[1]].Past[r[2]]
		bytes := 400 + len(a.Message) + outputSize(a.Outputs)
		if size+bytes > packBytes {
			flush()
		}
		pack = append(pack, packEntry{Task: r[0], Instance: r[1], Attempt: a})
		size += bytes
	}
	flush()
	return count
}

// Load rebuilds a state from its records, in any order. A record that is unknown, missing or cannot be read is an error.
func (m *Machine) Load(records []Record) (*State, error) {
	sorted := append([]Record(nil), records...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Key < sorted[j].Key })
	s := &State{
		Tasks:      make([]*TaskState, len(m.def.Tasks)),
		Instances:  make([][]*Instance, len(m.def.Tasks)),
		Expansions: make([]*Expansion, len(m.def.Tasks)),
	}
	var packs []packEntry
	for _, r := range sorted {
		if err := m.read(s, r, &packs); err != nil {
			return nil, fmt.Errorf("record %s: %w", r.Key, err)
		}
	}
	if s.Input.Version == 0 || s.Head.Version == 0 {
		return nil, fmt.Errorf("a run needs the records %s and %s", InputKey, HeadKey)
	}
	if v := max(s.Input.Version, s.Head.Version); v > recordVersion {
		return nil, fmt.Errorf("the run was written in format %d, this version of cairn reads up to %d: use a newer one", v, recordVersion)
	}
	for n, ts := range s.Tasks {
		if ts == nil {
			return nil, fmt.Errorf("task %s has no record", m.def.Tasks[n].Name)
		}
		if len(s.Instances[n]) != ts.Begun {
			return nil, fmt.Errorf("task %s has %d instance records, its own says %d", m.def.Tasks[n].Name, len(s.Instances[n]), ts.Begun)
		}
	}
	for _, p := range packs {
		if p.Task < 0 || p.Task >= len(s.Instances) || p.Instance < 0 || p.Instance >= len(s.Instances[p.Task]) {
			return nil, fmt.Errorf("a pack names instance %d of task %d, which is not there", p.Instance, p.Task)
		}
		in := s.Instances[p.Task][p.Instance]
		in.Past = append(in.Past, p.Attempt)
	}
	s.Input.Version, s.Head.Version = recordVersion, recordVersion // of what is written from here on
	m.rebuild(s)
	return s, nil
}

func (m *Machine) read(s *State, r Record, packs *[]packEntry) error {
	var n, c, part int
	switch kind, _, _ := strings.Cut(r.Key, "/"); kind {
	case InputKey:
		return json.Unmarshal(r.Value, &s.Input)
	case HeadKey:
		return json.Unmarshal(r.Value, &s.Head)
	case "p":
		var pack []packEntry
		if err := json.Unmarshal(r.Value, &pack); err != nil {
			return err
		}
		*packs = append(*packs, pack...)
		return nil
	case "g":
		if _, err := fmt.Sscanf(r.Key, "g/%04d", &c); err != nil {
			return err
		}
		return m.readTasks(s, c, r.Value)
	case "t":
		if _, err := fmt.Sscanf(r.Key, "t/%04d/%05d", &n, &c); err != nil {
			return err
		}
		var instances []*Instance
		if err := json.Unmarshal(r.Value, &instances); err != nil {
			return err
		}
		if n >= len(s.Instances) || len(s.Instances[n]) != c*instancesPerChunk {
			return fmt.Errorf("it does not follow the chunk before it")
		}
		s.Instances[n] = append(s.Instances[n], instances...)
		return nil
	case "k":
		generation := 0
		if _, err := fmt.Sscanf(r.Key, "k/%04d/%03d/%05d", &n, &generation, &part); err != nil {
			return err
		}
		var p partRecord
		if err := json.Unmarshal(r.Value, &p); err != nil {
			return err
		}
		if n >= len(s.Expansions) {
			return fmt.Errorf("there is no task %d", n)
		}
		if part == 0 {
			s.Expansions[n] = &Expansion{}
		}
		if s.Expansions[n] == nil {
			return fmt.Errorf("it does not follow the part before it")
		}
		s.Expansions[n].Keys = append(s.Expansions[n].Keys, p.Keys...)
		s.Expansions[n].Values = append(s.Expansions[n].Values, p.Values...)
		s.Expansions[n].Numbers = append(s.Expansions[n].Numbers, p.Numbers...)
		return nil
	}
	return fmt.Errorf("unknown key: the run was written by another version of cairn")
}

func (m *Machine) readTasks(s *State, c int, value []byte) error {
	var tasks []taskRecord
	if err := json.Unmarshal(value, &tasks); err != nil {
		return err
	}
	for k, r := range tasks {
		n := c*tasksPerChunk + k
		if n >= len(s.Tasks) || r.TaskState == nil {
			return fmt.Errorf("it holds more tasks than the definition")
		}
		s.Tasks[n] = r.TaskState
		if r.Instance != nil {
			s.Instances[n] = []*Instance{r.Instance}
		}
	}
	return nil
}

// rebuild derives everything that Step keeps beside the durable state.
func (m *Machine) rebuild(s *State) {
	s.derived = derived{tasks: make([]taskDerived, len(m.def.Tasks))}
	s.dirty.plain = make([]bool, len(m.def.Tasks))
	for n := range m.def.Tasks {
		s.dirty.plain[n] = m.def.Tasks[n].Shape() == workflow.ShapePlain
		s.tasks[n].dataOpen = len(m.graph.Data(n))
		if x := s.Expansions[n]; x != nil {
			x.place()
		}
	}
	for n, ts := range s.Tasks {
		s.outputBytes += ts.givenSize()
		switch {
		case ts.Status.Terminal():
			for _, e := range m.out[n] {
				m.count(s, n, e, 1)
			}
		case m.def.Tasks[n].Kind == workflow.KindFinally:
			s.openFinally++
		default:
			s.open++
		}
		for i := range s.Instances[n] {
			m.rebuildInstance(s, n, i)
		}
	}
	m.armRun(s)
	for n, ts := range s.Tasks {
		for i := range s.Instances[n] {
			m.arm(s, n, i)
		}
		if ts.Status.Terminal() {
			continue
		}
		if m.wantsLook(s, n) {
			s.work.add(n)
		} else if m.isBlocked(s, n) {
			s.blocked.add(n)
		}
	}
}

func (m *Machine) rebuildInstance(s *State, n, i int) {
	in, d := s.Instances[n][i], &s.tasks[n]
	position, seen := s.position(n, i)
	if !seen {
		return
	}
	d.tally.add(in.Status, 1)
	s.outputBytes += in.outputSize()
	if occupies(in.Status) && m.counted(n) {
		s.inflight++
	}
	if m.attempted(s, n, i) {
		d.attempted++
	}
	switch in.Status {
	case workflow.Pending:
		d.again.add(position, i)
	case workflow.Queued:
		d.queued.add(i)
	case workflow.Waiting:
		d.waiting.add(i)
		if in.Current == nil && in.RetryAt <= s.Head.Fired {
			d.due.add(position, i)
		}
	}
	if in.Current != nil && !m.def.Tasks[n].BodyKind.Engine() {
		d.live.add(i)
		s.live++
		if s.Head.rests(in.Current) {
			s.idle++
		}
	}
}
