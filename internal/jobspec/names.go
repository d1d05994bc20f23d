// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// refusedWords are the fields of a task, group or job that Cairn owns, or that mean nothing for a batch job of one attempt,
// each with what to write instead.
var refusedWords = map[string]string{
	"restart":                      "Cairn repeats attempts itself; write a retry block in the task.",
	"reschedule":                   "Cairn repeats attempts itself; write a retry block in the task.",
	"disconnect":                   "Cairn decides what happens when a worker is lost; write an on_worker_loss block in the task.",
	"stop_after_client_disconnect": "Cairn decides what happens when a worker is lost; write an on_worker_loss block in the task.",
	"max_client_disconnect":        "Cairn decides what happens when a worker is lost; write an on_worker_loss block in the task.",
	"prevent_reschedule_on_lost":   "Cairn decides what happens when a worker is lost; write an on_worker_loss block in the task.",
	"update":                       "Batch work needs no update strategy; leave it out.",
	"migrate":                      "Batch work needs no migrate strategy; leave it out.",
	"scaling":                      "Cairn runs the instances of a task itself; write count in the task.",
	"count":                        "Cairn runs the instances of a task itself; write count in the task.",
	"periodic":                     "A workflow is started by its schedule, which is not supported yet: leave it out, and start the workflow from cron.",
	"parameterized":                "A workflow takes its input from param blocks: leave it out, and write param in the workflow.",
	"multiregion":                  "An attempt runs in one region; write region in the task.",
}

// foreignWords are fields of a group or job that an inline task body does not take: its name, its own structure, and what
// the workflow says for all its tasks.
var foreignWords = map[string]string{
	"id":          "Cairn names its jobs itself.",
	"name":        "The name of a task is the label of its block.",
	"type":        "A task always runs as a batch job.",
	"priority":    "Write priority in the workflow.",
	"all_at_once": "An attempt has one group, so there is nothing to place all at once.",
	"ui":          "Write description in the workflow.",
	"group":       "An inline body is one Nomad task.",
	"task":        "An inline body is one Nomad task; several tasks that run together go into a group block.",
}

// placementWords are the fields of a job that may stand beside a group block. They say where the job may run.
var placementWords = map[string]bool{
	"datacenters": true, "node_pool": true, "region": true, "namespace": true, "constraint": true, "affinity": true, "spread": true,
}

// groupName is the block of a workflow's task that holds a Nomad group.
const groupName = "group"

// level says which body a name stands in, as far as it matters for the fields that Cairn owns.
type level string

const (
	levelFree    level = ""        // nothing is refused: a whole job file, or a block inside of another
	levelInline  level = "inline"  // a workflow's task that is one Nomad task
	levelGrouped level = "grouped" // a workflow's task beside its group block
	levelGroup   level = "group"   // inside the group block
	levelTask    level = "task"    // a task of that group
)

// IsPlacement reports whether an argument or block of this name may stand beside a group block.
func IsPlacement(name string) bool { return placementWords[name] }

// IsTaskField reports whether an inline task body takes an argument or block of this name.
func IsTaskField(name string) bool {
	return bodies().inline.byName[name] != nil && refusedWords[name] == "" && foreignWords[name] == ""
}

// TaskFields lists what an inline task body takes, sorted.
func TaskFields() []string {
	names := slices.Sorted(maps.Keys(bodies().inline.byName))
	return slices.DeleteFunc(names, func(n string) bool { return !IsTaskField(n) })
}

// Refused returns what to write instead of a Nomad field that Cairn does not take, and whether name is such a field.
func Refused(name string) (advice string, refused bool) {
	if advice = refusedWords[name]; advice != "" {
		return advice, true
	}
	advice = foreignWords[name]
	return advice, advice != ""
}

// namesCheck reports names that do not belong, blocks that are doubled and arguments that are missing. It evaluates nothing.
type namesCheck struct {
	// owned says that Cairn owns some fields: true for inline bodies and groups, false for whole job files.
	owned bool
	// extra are names of the caller's that stand beside Nomad's at the top level, for suggestions.
	extra map[string]bool
	diags hcl.Diagnostics
}

func (c *namesCheck) errorf(at hcl.Range, summary, format string, args ...any) {
	c.diags = append(c.diags, errorAt(at, summary, format, args...)...)
}

// refuse reports name if Cairn owns it, or if it belongs to another level of the same task.
func (c *namesCheck) refuse(l level, s *schema, name string, at hcl.Range) bool {
	if !c.owned || l == levelFree {
		return false
	}
	advice, summary := refusedWords[name], "Not for a workflow's task"
	switch {
	case advice != "":
	case l == levelInline:
		advice = foreignWords[name]
	case s.byName[name] != nil:
	case l == levelGrouped && (name == "task" || IsTaskField(name)):
		advice, summary = "The body of this task is its group block: write it in there, or in one of the tasks of the group.", "Not beside a group"
	case l == levelGrouped:
		advice = foreignWords[name]
	case placementWords[name]:
		advice, summary = "It says where the job may run: write it beside the group block.", "Not in a group"
	}
	if advice == "" {
		return false
	}
	c.errorf(at, summary, "%s cannot be written here. %s", name, advice)
	return true
}

// body checks one body against its schema.
func (c *namesCheck) body(b *hclsyntax.Body, s *schema, l level) {
	seen := map[string]hcl.Range{}
	for _, name := range sortedNames(b.Attributes) {
		attr := b.Attributes[name]
		if c.refuse(l, s, name, attr.NameRange) {
			continue
		}
		f := s.byName[name]
		switch {
		case f == nil:
			c.errorf(attr.NameRange, "Unsupported argument", "Nomad knows no argument %q here.%s", name, c.suggest(name, s, l))
		case f.form == formFree:
			c.errorf(attr.NameRange, "Unsupported argument", "%s is a block: write %s { … } without an equals sign.", name, name)
		case f.form != formAttr && f.form != formMap:
			c.errorf(attr.NameRange, "Unsupported argument", "%s is a block: write %s { … } without an equals sign.", name, blockHeader(f))
		default:
			seen[name] = attr.NameRange
			c.word(s, name, attr.NameRange)
		}
	}
	for _, block := range b.Blocks {
		c.block(block, s, l, seen)
	}
	for _, f := range s.fields {
		if _, ok := seen[f.name]; f.required && !ok {
			c.errorf(b.MissingItemRange(), "Missing required argument", "The argument %q is required here.", f.name)
		}
	}
}

// word warns of arguments that Nomad takes and forgets; where the file is Cairn's, that is an error.
func (c *namesCheck) word(s *schema, name string, at hcl.Range) {
	advice := ignoredConstraintWords[name]
	if advice == "" || s.types[0] != constraintType {
		return
	}
	c.errorf(at, "Constraint without effect", "Nomad takes %s in a constraint and then ignores it. Write %s instead.", name, advice)
	if !c.owned {
		c.diags[len(c.diags)-1].Severity = hcl.DiagWarning
	}
}

func (c *namesCheck) block(b *hclsyntax.Block, s *schema, l level, seen map[string]hcl.Range) {
	name, at := b.Type, b.TypeRange
	dynamic := name == dynamicName && len(b.Labels) == 1
	if dynamic {
		name, at = b.Labels[0], b.LabelRanges[0]
	}
	if c.refuse(l, s, name, at) {
		return
	}
	f := s.byName[name]
	switch {
	case f == nil:
		c.errorf(at, "Unsupported block", "Nomad knows no block %q here.%s", name, c.suggest(name, s, l))
		return
	case !f.isBlock():
		c.errorf(at, "Unsupported block", "%s is an argument: write %s = … instead of a block.", name, name)
		return
	}
	if first, ok := seen[name]; ok && f.once() {
		c.errorf(at, "Duplicate block", "%s may be written once; the first one is at %s.", name, lineOf(first))
		return
	}
	if !dynamic {
		seen[name] = at
		c.labels(b, f)
		c.content(b.Body, f, l)
		return
	}
	for _, attr := range sortedNames(b.Body.Attributes) {
		if attr != "for_each" && attr != "iterator" && attr != "labels" {
			c.errorf(b.Body.Attributes[attr].NameRange, "Unsupported argument",
				"A dynamic block takes for_each, iterator and labels, not %q. The arguments of %s go into its content block.", attr, name)
		}
	}
	if b.Body.Attributes["for_each"] == nil {
		c.errorf(at, "Missing required argument", "A dynamic block needs the argument for_each.")
	}
	contents := 0
	for _, content := range b.Body.Blocks {
		if content.Type != "content" || len(content.Labels) > 0 {
			c.errorf(content.TypeRange, "Unsupported block", "A dynamic block holds one content block and no %q.", content.Type)
			continue
		}
		contents++
		c.content(content.Body, f, l)
	}
	if contents != 1 {
		c.errorf(at, "Invalid dynamic block", "A dynamic block holds exactly one content block, not %d.", contents)
	}
}

func (c *namesCheck) labels(b *hclsyntax.Block, f *field) {
	if f.form == formFree || f.form == formMap {
		if len(b.Labels) > 0 {
			c.errorf(b.LabelRanges[0], "Extraneous label", "%s takes no label.", f.name)
		}
		return
	}
	switch want := f.labelNames(); {
	case len(b.Labels) > 0 && len(want) == 0:
		c.errorf(b.LabelRanges[0], "Extraneous label", "%s takes no label: write %s { … }.", f.name, f.name)
	case len(b.Labels) > len(want):
		c.errorf(b.LabelRanges[len(want)], "Extraneous label", "Write %s { … }: it takes %d labels.", blockHeader(f), len(want))
	case len(b.Labels) < len(want):
		c.errorf(b.TypeRange, "Missing label", "Write %s { … }: its %s is a label.", blockHeader(f), want[len(b.Labels)])
	}
}

// content checks what stands between the braces of a block.
func (c *namesCheck) content(b *hclsyntax.Body, f *field, l level) {
	switch f.form {
	case formFree:
		// A driver's own words: only the driver knows them.
	case formMap:
		for _, block := range b.Blocks {
			c.errorf(block.TypeRange, "Unsupported block", "%s holds plain values, no blocks. A key of it is written %s = value.", f.name, block.Type)
		}
	default:
		inner := levelFree
		switch {
		case l == levelGrouped && f.name == groupName:
			inner = levelGroup
		case l == levelGroup && f.name == "task":
			inner = levelTask
		}
		c.body(b, f.elem, inner)
	}
}

// suggest returns " Did you mean …?" with the nearest name of the body, or nothing.
func (c *namesCheck) suggest(name string, s *schema, l level) string {
	names := make([]string, 0, len(s.fields)+len(c.extra))
	for _, f := range s.fields {
		if l == levelInline && !IsTaskField(f.name) {
			continue
		}
		names = append(names, f.name)
	}
	if l == levelInline || l == levelGrouped {
		names = append(names, slices.Sorted(maps.Keys(c.extra))...)
	}
	if near := Nearest(name, names); near != "" {
		return fmt.Sprintf(" Did you mean %q?", near)
	}
	return ""
}

// Nearest returns the one of names that is most likely meant by name, or "" if none is close.
func Nearest(name string, names []string) string {
	// A third of the letters wrong, but at least one, is what people mistype; more is another word.
	limit := max(1, (len(name)+1)/3)
	best, found := limit+1, ""
	for _, n := range names {
		d := levenshtein.Distance(strings.ToLower(name), strings.ToLower(n), nil)
		if d == 2 && swapped(strings.ToLower(name), strings.ToLower(n)) {
			d = 1
		}
		if d < best {
			best, found = d, n
		}
	}
	return found
}

// swapped reports whether b is a with two neighbouring letters exchanged, the commonest slip of all.
func swapped(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

func blockHeader(f *field) string {
	header := f.name
	for _, l := range f.labelNames() {
		header += fmt.Sprintf(" %q", l)
	}
	return header
}

func sortedNames(attrs hclsyntax.Attributes) []string { return slices.Sorted(maps.Keys(attrs)) }

// lineOf names a place for a sentence.
func lineOf(r hcl.Range) string { return fmt.Sprintf("%s:%d", r.Filename, r.Start.Line) }

// errorAt is one error diagnostic. What is wrong goes into the summary, place and way out into the detail.
func errorAt(at hcl.Range, summary, format string, args ...any) hcl.Diagnostics {
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at}}
}
