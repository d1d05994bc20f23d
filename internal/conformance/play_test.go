// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// play is a workflow with what happens to it.
type play struct {
	flow   string   // the blocks inside of workflow "w"
	also   string   // beside the workflow: other workflows, locals of the file
	files  []string // files that are named, each its path, a line break and what it holds
	params []string // "k=v", as on the command line
	// script says how attempts end, by task: "a: exit 1, exit 0 n=3 in 5s; b: lost". The last one is repeated; without any
	// an attempt exits with 0. Each takes a second unless it says otherwise; "hang" ends only when it is killed, and what
	// finds "no_room", or is "impossible" everywhere, never starts. What "dies 5s" takes so long to die once it is killed, and
	// may end by itself before; what "queues 5s" is admitted after that.
	script string
	// do is what people do: "2s: stop", "3s: approve t by=ann n=3", "4s: cancel t[1]". Times count from the start. Besides the
	// verbs there are "? run t", which looks at these things at that moment, "takeover" by another leader, and, once the run is
	// over, "rerun from=t only=u k=3", with params as JSON. The run that is looked at from then on is the new one.
	do     []string
	begins string // when the run begins, if it is queued before
	see    string // what is looked at in the end, separated by blanks: see observe
	// leaders lets another leader take over after every event: nothing may look different for it.
	leaders bool
	// luck is what the shell draws for every jitter, from 0 to 1.
	luck float64
}

// start is the moment at which every play begins.
var start = time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)

// patience is after how long, by the play's clock, a play that has not ended is left as it stands.
const patience = 30 * 24 * time.Hour

// happening is something that is going to happen.
type happening struct {
	at    workflow.Time
	order int
	event func(*world) engine.Event
}

// world plays one workflow.
type world struct {
	def             *workflow.Definition
	eval            *hcl.Evaluator
	m               *engine.Machine
	s               *engine.State
	now             workflow.Time
	coming          []happening
	order           int
	wake            workflow.Time
	script          map[string][]string
	played          map[string]int // attempts begun, by task and instance
	running         map[workflow.AttemptID]bool
	bodies          map[string]string // newest body by task and instance
	refused         []string          // verbs that did not fit
	starts          int
	luck            float64
	leaders, taking bool
	epoch           uint64
	seen            []string // by "?"
	idle            int      // verbs that fitted and had been done already
	dies            map[workflow.AttemptID]time.Duration
	newest          map[string]*engine.Start // by task and instance: how its newest attempt was started
	kills           map[string]*engine.Start // and killed
	wants           map[string]int           // by task: admissions asked for
	peaks           map[string]int           // by task, and "" for all: attempts in flight at once
	saved           map[string][]byte        // records
	runs            int
	children        []workflow.RunID
}

// sources are the files of a play's workflow.
func (p play) sources() []workflow.File {
	files := []workflow.File{{Path: "w.hcl", Bytes: []byte("workflow \"w\" {\n" + p.flow + "\n}\n" + p.also)}}
	for _, named := range p.files {
		path, text, _ := strings.Cut(named, "\n")
		files = append(files, workflow.File{Path: path, Bytes: []byte(text), Named: true})
	}
	return files
}

// compile compiles a play's workflow and settles its params. A problem is told as text.
func (p play) compile() (*workflow.Definition, *hcl.Evaluator, map[string]workflow.Value, string) {
	def, eval, diags := hcl.CompileAndOpen(p.sources(), "w")
	if diags.HasErrors() {
		return nil, nil, nil, said(diags)
	}
	given := map[string]hcl.Given{}
	for _, kv := range p.params {
		k, v, _ := strings.Cut(kv, "=")
		given[k] = hcl.Given{Text: v}
	}
	at := workflow.At(start)
	params, diags := hcl.Params(def, given, workflow.RunValues{ID: "r", Workflow: "w", Namespace: "default", Trigger: "manual", ScheduledAt: at})
	if diags.HasErrors() {
		return nil, nil, nil, said(diags)
	}
	return def, eval, params, ""
}

// said is the first error among diagnostics: "invalid: summary: detail".
func said(diags hcl.Diagnostics) string {
	for _, d := range diags {
		if d.Severity == hcl.SeverityError {
			return "invalid: " + d.Summary + ": " + d.Detail
		}
	}
	return "valid"
}

// outcome plays to the end and tells what is seen; a workflow that is refused tells why.
func (p play) outcome() string {
	def, eval, params, problem := p.compile()
	if problem != "" {
		return problem
	}
	m, err := engine.New(def, eval)
	if err != nil {
		return "broken: " + err.Error()
	}
	w := &world{
		def: def, eval: eval, m: m, now: workflow.At(start), script: map[string][]string{}, played: map[string]int{},
		running: map[workflow.AttemptID]bool{}, bodies: map[string]string{}, luck: p.luck, leaders: p.leaders, epoch: 1,
		dies: map[workflow.AttemptID]time.Duration{}, newest: map[string]*engine.Start{}, kills: map[string]*engine.Start{},
		wants: map[string]int{}, peaks: map[string]int{}, saved: map[string][]byte{},
	}
	for _, part := range strings.Split(p.script, ";") {
		if task, outcomes, ok := strings.Cut(part, ":"); ok {
			w.script[strings.TrimSpace(task)] = strings.Split(outcomes, ",")
		}
	}
	w.s = m.NewState(w.input(params))
	for _, line := range p.do {
		at, verb, _ := strings.Cut(line, ":")
		after, err := time.ParseDuration(strings.TrimSpace(at))
		if err != nil {
			return "broken: " + err.Error()
		}
		w.schedule(after, func(w *world) engine.Event { return w.verb(strings.Fields(verb)) })
	}
	if p.begins == "" {
		w.step(engine.Event{Kind: engine.Begin})
	} else {
		after, err := time.ParseDuration(p.begins)
		if err != nil {
			return "broken: " + err.Error()
		}
		w.schedule(after, func(*world) engine.Event { return engine.Event{Kind: engine.Begin} })
	}
	w.play()
	return strings.Join(append(w.seen, w.observe(strings.Fields(p.see))), " | ")
}

func (w *world) schedule(after time.Duration, event func(*world) engine.Event) {
	w.order++
	w.coming = append(w.coming, happening{at: w.now.Add(after), order: w.order, event: event})
}

// play lets happen what is to happen, one thing after the other.
func (w *world) play() {
	for {
		slices.SortFunc(w.coming, func(a, b happening) int {
			if a.at != b.at {
				return int(max(-1, min(1, a.at-b.at)))
			}
			return a.order - b.order
		})
		wakes := w.wake != 0 && (len(w.coming) == 0 || w.wake <= w.coming[0].at)
		switch {
		case wakes && w.wake.Sub(workflow.At(start)) < patience:
			w.now = max(w.now, w.wake)
			w.wake = 0
			w.step(engine.Event{Kind: engine.Tick})
		case len(w.coming) > 0:
			next := w.coming[0]
			w.coming = w.coming[1:]
			w.now = max(w.now, next.at)
			if e := next.event(w); e.Kind != "" {
				w.step(e)
			}
		default:
			return
		}
	}
}

func (w *world) step(e engine.Event) {
	e.At, e.Epoch, e.Random = w.now, w.epoch, w.luck
	w.carry(w.m.Step(w.s, e))
	w.save()
	if w.leaders {
		w.takeover()
	}
}

// carry carries commands out.
func (w *world) carry(commands []engine.Command) {
	for _, c := range commands {
		switch c.Kind {
		case engine.Want:
			if !w.taking {
				w.wants[w.def.Tasks[c.Task].Name]++
			}
			w.schedule(w.course(w.who(c.Task, c.Instance)).queues, func(*world) engine.Event {
				return engine.Event{Kind: engine.Admit, Task: c.Task, Instance: c.Instance}
			})
		case engine.Proceed:
			w.schedule(0, func(*world) engine.Event { return engine.Event{Kind: engine.Continue} })
		case engine.WakeAt:
			w.wake = c.At
		case engine.StartAttempt:
			w.begin(c)
		case engine.KillAttempt:
			w.kill(c)
		}
	}
}

// begin lets an attempt start and end as the script says. A repeated start, as for the pause of a child run, is none.
func (w *world) begin(c engine.Command) {
	id, s := c.Attempt, c.Start
	who := named(s)
	before := w.newest[who]
	w.newest[who] = s
	if s.Child != "" && !slices.Contains(w.children, s.Child) {
		w.children = append(w.children, s.Child)
	}
	if s.Kind == workflow.BodyRunWorkflow && w.running[id] {
		if before.Hold == s.Hold {
			return
		}
		kind := engine.ChildResumed
		if s.Hold {
			kind = engine.ChildPaused
		}
		w.schedule(0, func(*world) engine.Event { return engine.Event{Kind: kind, Attempt: id} })
		return
	}
	if w.running[id] {
		return
	}
	w.running[id] = true
	w.starts++
	w.count(s.Task)
	w.bodies[who] = string(s.Body)
	course := w.course(who)
	w.dies[id] = course.dies
	w.played[who]++
	if course.how == "no_room" || course.how == "impossible" {
		w.schedule(0, func(*world) engine.Event {
			return engine.Event{Kind: engine.Held, Attempt: id, Message: "no worker fits", Impossible: course.how == "impossible"}
		})
		return
	}
	w.schedule(0, func(w *world) engine.Event {
		return engine.Event{Kind: engine.Started, Attempt: id, StartedAt: w.now, Place: engine.Place{Node: "n" + strconv.Itoa(w.starts), Child: s.Child}}
	})
	if course.how == "hang" {
		return
	}
	w.schedule(course.takes, func(w *world) engine.Event {
		if !w.running[id] {
			return engine.Event{}
		}
		delete(w.running, id)
		return engine.Event{Kind: engine.Ended, Attempt: id, Outcome: ending(course.how)}
	})
}

// course is how an attempt goes.
type course struct {
	how                 string
	takes, dies, queues time.Duration
}

// course reads how the next attempt of a task or an instance goes.
func (w *world) course(who string) course {
	c := course{how: "exit 0", takes: time.Second}
	outcomes := w.script[who]
	if outcomes == nil {
		name, _, _ := strings.Cut(who, "[")
		outcomes = w.script[name]
	}
	if len(outcomes) > 0 {
		c.how = strings.TrimSpace(outcomes[min(w.played[who], len(outcomes)-1)])
	}
	for _, part := range []struct {
		word  string
		value *time.Duration
	}{{" queues ", &c.queues}, {" dies ", &c.dies}, {" in ", &c.takes}} {
		before, text, ok := strings.Cut(c.how, part.word)
		if !ok {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			panic(err) // a play that is written wrongly: in, dies and queues stand in this order
		}
		c.how, *part.value = before, d
	}
	return c
}

// kill ends an attempt, at once unless it takes time to die.
func (w *world) kill(c engine.Command) {
	w.kills[named(c.Start)] = c.Start
	w.schedule(w.dies[c.Attempt], func(w *world) engine.Event {
		if !w.running[c.Attempt] {
			return engine.Event{}
		}
		delete(w.running, c.Attempt)
		return engine.Event{Kind: engine.Ended, Attempt: c.Attempt, Outcome: &engine.Outcome{Kind: engine.OutcomeKilled}}
	})
}

// ending reads how an attempt ends: "exit 3 n=1", "signal 9", "oom", "lost", "evicted", "error", "invalid", "interrupted", "timed_out",
// "failed", "skipped". What follows an exit code goes to the output file, a line each; after "stdout" to standard output.
// For a body without a process it is values in JSON.
func ending(how string) *engine.Outcome {
	words := strings.Fields(how)
	out := &engine.Outcome{Kind: engine.OutcomeKind(words[0]), Message: how}
	switch words[0] {
	case "exit":
		code, err := strconv.Atoi(words[1])
		if err != nil {
			panic(err)
		}
		out.Kind, out.ExitCode, out.Message = engine.OutcomeExited, &code, ""
		rest := words[2:]
		if len(rest) > 0 && rest[0] == "stdout" {
			out.Stdout = []byte(strings.Join(rest[1:], "\n"))
			break
		}
		if len(rest) > 0 && rest[0] == "lost_outputs" {
			out.OutputsLost = true
			break
		}
		out.Output = []byte(strings.Join(rest, "\n"))
		for _, kv := range rest {
			k, v, _ := strings.Cut(kv, "=")
			if out.Values == nil {
				out.Values = map[string]workflow.Value{}
			}
			out.Values[k] = workflow.Value{JSON: json.RawMessage(v)}
		}
	case "signal":
		n, err := strconv.Atoi(words[1])
		if err != nil {
			panic(err)
		}
		out.Kind, out.Signal = engine.OutcomeExited, n
	case "oom":
		out.Kind, out.OOM = engine.OutcomeExited, true
	}
	return out
}

// verb reads what somebody does: the kind, the task with its instance, then by=, why= and values.
func (w *world) verb(words []string) engine.Event {
	switch words[0] {
	case "?":
		w.seen = append(w.seen, w.observe(words[1:]))
		return engine.Event{}
	case "takeover":
		w.takeover()
		return engine.Event{}
	case "rerun":
		w.rerun(words[1:])
		return engine.Event{}
	}
	e := engine.Event{Kind: engine.EventKind(words[0]), Instance: -1, By: "ann"}
	for _, word := range words[1:] {
		k, v, isValue := strings.Cut(word, "=")
		switch {
		case isValue && k == "by":
			e.By = v
		case isValue && k == "why":
			e.Reason = v
		case isValue && k == "generation":
			n, err := strconv.Atoi(v)
			if err != nil {
				panic(err)
			}
			e.Generation = n
		case isValue:
			if e.Values == nil {
				e.Values = map[string]workflow.Value{}
			}
			e.Values[k] = workflow.Value{JSON: json.RawMessage(v)}
		default:
			name, index, fanned := strings.Cut(strings.TrimSuffix(word, "]"), "[")
			n, ok := w.m.Graph().Number(name)
			if !ok {
				panic("no task " + name)
			}
			e.Task = n
			if fanned {
				i, err := strconv.Atoi(index)
				if err != nil {
					panic(err)
				}
				e.Instance = i
			}
		}
	}
	if due, err := w.m.Fits(w.s, e); err != nil {
		w.refused = append(w.refused, strings.ReplaceAll(err.Error(), string(w.s.Input.Run), "r"))
	} else if !due {
		w.idle++
	}
	if e.Kind == engine.Retry || e.Kind == engine.RetryTask {
		w.schedule(0, func(*world) engine.Event { return engine.Event{Kind: engine.Begin} })
	}
	return e
}

// observe tells what there is to see:
//
//	run, reason        the run's status and reason
//	a, a[1]            the status of a task, of an instance
//	a.reason           why
//	a.tries            the verdicts of its attempts: "failed,succeeded"; a[1].tries
//	a.notes            what is to be noted of its newest attempt
//	a.fences           how many of its attempts have a larger fence than the one before
//	a.out.n            an output
//	a.began, a.ended   after how long
//	a.body             its newest body; a.args the arguments in it
//	out.n              an output of the run
//	took               how long the run took
//	refused            the sentences of verbs that did not fit
//	starts             attempts handed out
//
// and more about attempts: see lookDeeper.
func (w *world) observe(what []string) string {
	var seen []string
	for _, x := range what {
		seen = append(seen, w.look(x))
	}
	return strings.Join(seen, " ")
}

func (w *world) look(x string) string {
	h := &w.s.Head
	switch {
	case x == "run":
		return string(h.Status)
	case x == "reason":
		return h.Reason
	case x == "took":
		return since(h.EndedAt)
	case x == "generation":
		return strconv.Itoa(h.Generation)
	case x == "refused":
		return strings.Join(w.refused, " / ")
	case x == "starts":
		return strconv.Itoa(w.starts)
	case x == "peak":
		return strconv.Itoa(w.peaks[""])
	case x == "idle":
		return strconv.Itoa(w.idle)
	case x == "verbs":
		return w.recorded()
	case strings.HasPrefix(x, "out."):
		return shown(h.Outputs[x[4:]])
	}
	name, what, _ := strings.Cut(x, ".")
	name, index, fanned := strings.Cut(strings.TrimSuffix(name, "]"), "[")
	n, ok := w.m.Graph().Number(name)
	if !ok {
		return "no task " + name
	}
	ts, i := w.s.Tasks[n], 0
	if fanned {
		var err error
		if i, err = strconv.Atoi(index); err != nil {
			panic(err)
		}
	}
	var in engine.Instance
	if i < len(w.s.Instances[n]) {
		in = *w.s.Instances[n][i]
	}
	switch {
	case what == "" && fanned:
		return string(w.m.InstanceStatus(w.s, n, i))
	case what == "":
		return string(ts.Status)
	case what == "reason" && fanned:
		return in.Reason
	case what == "reason":
		return ts.Reason
	case what == "size":
		return strconv.Itoa(ts.Size)
	case what == "began":
		return since(ts.BeganAt)
	case what == "ended":
		return since(ts.EndedAt)
	case what == "tries":
		verdicts := make([]string, len(in.Past))
		for k, a := range in.Past {
			verdicts[k] = string(a.Verdict)
		}
		return strings.Join(verdicts, ",")
	case what == "notes" && len(in.Past) > 0:
		return strings.Join(in.Past[len(in.Past)-1].Notes, "; ")
	case what == "fences":
		grown := 0
		for k, a := range in.Past[min(1, len(in.Past)):] {
			if a.Fence > in.Past[k].Fence {
				grown++
			}
		}
		return strconv.Itoa(grown)
	case what == "message" && len(in.Past) > 0:
		return in.Past[len(in.Past)-1].Message
	case what == "body" || what == "args":
		if body := w.bodies[w.who(n, i)]; what == "body" {
			return body
		}
		return argsOf(w.bodies[w.who(n, i)])
	case strings.HasPrefix(what, "out.") && len(in.Past) > 0:
		return shown(in.Past[len(in.Past)-1].Outputs[what[4:]])
	}
	return w.lookDeeper(x, what, n, i, in)
}

func shown(v workflow.Value) string {
	if v.Sensitive {
		return "(sensitive)"
	}
	if v.Null() {
		return "null"
	}
	return string(v.JSON)
}

// argsOf is what the first task of a rendered job is called with.
func argsOf(body string) string {
	var job struct {
		TaskGroups []struct {
			Tasks []struct{ Config struct{ Args []any } }
		}
	}
	if json.Unmarshal([]byte(body), &job) != nil || len(job.TaskGroups) == 0 || len(job.TaskGroups[0].Tasks) == 0 {
		return "no job"
	}
	var words []string
	for _, arg := range job.TaskGroups[0].Tasks[0].Config.Args {
		words = append(words, fmt.Sprint(arg))
	}
	return strings.Join(words, " ")
}
