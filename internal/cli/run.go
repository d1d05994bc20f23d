// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/server"
	"github.com/cairnflow/cairn/internal/workflow"
)

// runFlags are the options of `cairn run`.
type runFlags struct {
	params   params
	workflow string
	local    bool
	nomad    bool
	resume   string
	json     bool
	key      string
	detach   bool
}

func runCommand(a *App) *command {
	f := &runFlags{}
	c := &command{
		synopsis:  "Run a workflow and follow it to its end",
		arguments: "FILE",
		max:       1,
		about: `Checks the workflow in FILE (one .hcl file or a folder of them), starts a run of it and follows the run
to its end. Where -address or CAIRN_ADDR names a server, that runs it. Else this process schedules the tasks; they run
on this machine (-local, the default) or as batch jobs on a Nomad cluster (-nomad).

On this machine tasks are plain processes: nothing keeps them from anything that you may do yourself.
As root, -local has to be said. If this process is killed, its tasks go on; -resume picks the run up
again.

Ctrl-C stops the run: what runs is cancelled, finally tasks run. A second one terminates it, finally
tasks too; a third one leaves it as it is. A run on a server is left at once, and goes on.

Exit codes: 0 the run succeeded, 1 it failed, 2 nothing was run: the arguments, the file or the
environment do not allow it, 3 the run was cancelled, 4 Nomad or the server cannot be reached, 5 the run
was skipped, 6 it was left before its end, or it succeeded and standard output could not be written.`,
		examples: []string{
			"cairn run -local examples/quickstart",
			"cairn run -nomad examples/etl -param day=2026-01-31",
			"cairn run -nomad -resume 3kq6t2dlxyvm2hd4wq3a",
		},
		options: append(f.params.options(a),
			predicted(textOption(&f.workflow, "workflow", "NAME", "The workflow to run, where FILE holds several."), a.predictWorkflowNames()),
			switchOption(&f.local, "local", "Run the tasks on this machine, as processes of this user."),
			switchOption(&f.nomad, "nomad", "Run the tasks on the Nomad cluster that NOMAD_ADDR names (NOMAD_TOKEN and the others hold too)."),
			option{
				name: "resume", value: "ID", usage: "Go on with a run whose process has ended, instead of starting one.",
				bind: textOption(&f.resume, "resume", "ID", "").bind, predict: a.predictRuns(),
			},
			f.keyOption(),
			switchOption(&f.json, "json", "Print the run document on standard output when the run has ended, and everything else on standard error."),
			switchOption(&f.detach, "detach", "Return once the run is started. Needs a server."),
		),
		predict: predictWorkflow,
	}
	c.run = func(args []string) int {
		if problem := f.check(a, args); problem != "" {
			return c.usageError(problem)
		}
		if f.resume != "" {
			return a.resumeRun(f)
		}
		return a.startRun(f, args[0])
	}
	return c
}

// check finds options that do not go together. It returns a sentence, or nothing.
func (f *runFlags) check(a *App, args []string) string {
	switch {
	case f.local && f.nomad:
		return "-local and -nomad exclude each other"
	case f.resume == "" && len(args) == 0:
		return "it needs FILE"
	case f.resume != "" && len(args) > 0:
		return "-resume goes on with a run as it was started, and takes no FILE"
	case f.resume != "" && (len(f.params.texts) > 0 || len(f.params.files) > 0):
		return "-resume goes on with a run as it was started, and takes no params"
	case f.resume != "" && (f.key != "" || f.workflow != ""):
		return "-resume goes on with a run as it was started, and takes neither -key nor -workflow"
	case f.detach && !f.remote(a):
		return "-detach needs a server to leave the run to: name one with -address or CAIRN_ADDR, without -local and -nomad"
	case f.resume != "" && f.remote(a):
		return "-resume is for runs without a server, and -address or CAIRN_ADDR names one: its runs need no process of yours. Say -local or -nomad for the others"
	case !f.local && !f.nomad && !f.remote(a) && f.resume == "" && os.Geteuid() == 0:
		return "this is root, and tasks on this machine would have all of root's rights; say -local if that is meant, or -nomad"
	}
	return ""
}

// remote reports whether a server is to run the workflow.
func (f *runFlags) remote(a *App) bool {
	return !f.local && !f.nomad && cmp.Or(a.server.Address, a.Getenv(addressEnv)) != ""
}

func (f *runFlags) kind() server.Kind {
	if f.nomad {
		return server.Nomad
	}
	return server.Local
}

// startRun starts a run of a file and follows it.
func (a *App) startRun(f *runFlags, path string) int {
	s, def, eval, code := a.compile(path, f.workflow, f.json)
	if def == nil {
		return code
	}
	cfg, err := a.serverConfig()
	if err != nil {
		return a.refuse(err)
	}
	if f.remote(a) {
		return a.submitRun(f, cfg, def, s)
	}
	cfg.Server.Address = "" // -local and -nomad mean runs without a server
	run, diags, s := a.newRun(f, def, s)
	if !diags.HasErrors() {
		diags = append(diags, checkBodies(run, eval)...)
	}
	if diags.HasErrors() {
		a.report(s, diags, f.json)
		return exitUsage
	}
	a.report(s, diags, false)
	run.Evaluator = eval
	session, err := server.Start(context.Background(), cfg, run)
	var exists *server.RunExistsError
	if errors.As(err, &exists) {
		a.say("Key %s has a run already: %s.", f.key, exists.Run)
		return a.rejoin(cfg, f, exists.Run)
	}
	if err != nil {
		return a.startFailed(cfg, f, err)
	}
	a.say("%s", where(session, def.Name, cfg))
	return a.drive(session, f, nil)
}

// newRun evaluates the params and says what was wrong with them.
func (a *App) newRun(f *runFlags, def *workflow.Definition, s source) (server.NewRun, hcl.Diagnostics, source) {
	now := workflow.At(a.Now())
	run := server.NewRun{
		ID:             server.NewRunID(a.Now()),
		Kind:           f.kind(),
		Definition:     def,
		Labels:         def.Labels,
		IdempotencyKey: f.key,
		By:             a.user(),
		ScheduledAt:    now,
	}
	given, files, diags := f.params.given()
	s = s.over(files)
	if diags.HasErrors() {
		return run, diags, s
	}
	values, found := hcl.Params(def, given, runValues(def, run.ID, now))
	run.Params = values
	for i := range def.Params {
		if _, ok := given[def.Params[i].Name]; ok {
			run.Given = append(run.Given, def.Params[i].Name)
		}
	}
	return run, append(diags, found...), s
}

// runValues is what is known of a run when it is submitted.
func runValues(def *workflow.Definition, id workflow.RunID, now workflow.Time) workflow.RunValues {
	return workflow.RunValues{
		ID: string(id), Workflow: def.Name, Version: def.Hash, Namespace: def.Namespace, Trigger: "manual", ScheduledAt: now, StartedAt: now,
	}
}

// checkBodies finds what the executor cannot run, before anything is started. A body that only a run can evaluate is judged
// when its task starts.
func checkBodies(run server.NewRun, eval *hcl.Evaluator) hcl.Diagnostics {
	r, err := newRenderer(run.Definition, eval, runValues(run.Definition, run.ID, run.ScheduledAt), run.Params)
	if err != nil {
		return nil // the run itself will say it
	}
	var diags hcl.Diagnostics
	var ignored []string
	fine := map[string]bool{} // bodies that differ in their task's name only are judged once
	for n := range run.Definition.Tasks {
		t := &run.Definition.Tasks[n]
		body, ok := r.firstBody(n)
		kind := strings.ReplaceAll(string(body), strconv.Quote(t.Name), "")
		if !ok && t.BodyKind == workflow.BodyTask || fine[kind] {
			continue // of the other kinds an executor may say more without seeing one
		}
		refused, without, err := server.CheckBody(run.Kind, t.BodyKind, body)
		if err != nil {
			refused = append(refused, sentence(err))
		}
		fine[kind] = len(refused) == 0
		for _, why := range refused {
			diags = append(diags, hcl.Diagnostic{
				Severity: hcl.SeverityError,
				Summary:  "Cannot run here",
				Detail:   sentence(fmt.Errorf("task %s: %s", t.Name, why)),
				Range:    t.Range,
			})
		}
		for _, name := range without {
			if name == "priority" && run.Definition.Priority == hcl.DefaultPriority {
				continue // nobody wrote one
			}
			ignored = append(ignored, name)
		}
	}
	if len(ignored) > 0 {
		slices.Sort(ignored)
		diags = append(diags, hcl.Diagnostic{
			Severity: hcl.SeverityWarning,
			Summary:  "No effect here",
			Detail:   "Runs on this machine take no notice of: " + strings.Join(slices.Compact(ignored), ", ") + ".",
		})
	}
	return diags
}

// resumeRun goes on with a run whose process has ended.
func (a *App) resumeRun(f *runFlags) int {
	cfg, err := a.serverConfig()
	if err != nil {
		return a.refuse(err)
	}
	cfg.Server.Address = "" // a run without a server
	id, err := server.Find(context.Background(), cfg, f.resume)
	if err != nil {
		return a.refuse(err)
	}
	var kind server.Kind
	if f.local || f.nomad {
		kind = f.kind()
	}
	return a.resume(cfg, f, id, kind, standing(cfg, id))
}

// standing is the document of a run before this process touches it; nil when it cannot be read.
func standing(cfg server.Config, id workflow.RunID) *api.Run {
	reader, err := server.Read(context.Background(), cfg, id)
	if err != nil {
		return nil
	}
	defer reader.Close()
	run, err := reader.Run(context.Background(), string(id))
	if err != nil {
		return nil
	}
	return run
}

func (a *App) resume(cfg server.Config, f *runFlags, id workflow.RunID, kind server.Kind, before *api.Run) int {
	session, err := server.Resume(context.Background(), cfg, id, kind)
	if err != nil {
		return a.startFailed(cfg, f, err)
	}
	a.say("%s", where(session, "", cfg))
	return a.drive(session, f, before)
}

// rejoin follows a run that was there already: through the process that drives it, or by driving it.
func (a *App) rejoin(cfg server.Config, f *runFlags, id workflow.RunID) int {
	reader, err := server.Read(context.Background(), cfg, id)
	if err != nil {
		return a.startFailed(cfg, f, err)
	}
	defer reader.Close()
	run, err := reader.Run(context.Background(), string(id))
	switch {
	case err != nil:
		return a.refuse(err)
	case run.Terminal():
		return a.conclude(reader.Client, run, f.json)
	case reader.PID != 0:
		return a.watch(reader, f.json, id)
	}
	return a.resume(cfg, f, id, "", run)
}

// startFailed says why a run could not be started or resumed.
func (a *App) startFailed(cfg server.Config, f *runFlags, err error) int {
	var unreachable *server.UnreachableError
	var over *server.OverError
	switch {
	case errors.As(err, &unreachable):
		a.errorf("%s", sentence(err))
		return exitUnreachable
	case errors.As(err, &over):
		return a.showOver(cfg, f, over.Run)
	case errors.Is(err, fs.ErrPermission):
		a.errorf("%s The state folder is %s; CAIRN_STATE_DIR names another one.", sentence(err), cfg.StateDir)
		return exitUsage
	}
	return a.refuse(err)
}

// refuse says why nothing was run.
func (a *App) refuse(err error) int {
	a.errorf("%s", sentence(err))
	return exitUsage
}

// broken says that a command did not get done.
func (a *App) broken(err error) int {
	a.errorf("%s", sentence(err))
	return exitFailed
}

// where says where the tasks of a run are executed.
func where(s *server.Session, name string, cfg server.Config) string {
	what := "Run " + string(s.Run)
	if name != "" {
		what += " of " + name
	}
	if s.Kind == server.Nomad {
		address := cfg.Getenv("NOMAD_ADDR")
		if address == "" {
			address = "http://127.0.0.1:4646, as NOMAD_ADDR is not set"
		}
		return fmt.Sprintf(`%s: batch jobs on the Nomad at %s.
Warning: this process schedules them. While it is away (a closed laptop, a kill), running jobs
go on and nothing new starts. Continue then: cairn run -nomad -resume %s`, what, address, s.Run)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	return fmt.Sprintf("%s: here, on %s, no isolation.", what, host)
}

// viewFor is the view of a run: on standard output, or with -json on standard error.
func (a *App) viewFor(asJSON bool) view {
	if asJSON {
		return a.viewOn(a.Stderr)
	}
	return a.viewOn(a.Stdout)
}

// drive follows a run that this process schedules, and stops scheduling when it is over. What a resumed run was like before
// is no news; nil = the run is new.
func (a *App) drive(s *server.Session, f *runFlags, before *api.Run) int {
	v := a.viewFor(f.json)
	if l, ok := v.(*lines); ok && before != nil {
		l.skip(before)
	}
	w := &follower{app: a, client: s.Client(), id: string(s.Run), view: v, owner: true, ended: s.Done(), notice: s.Notice}
	run, err := w.follow(context.Background())
	code := exitUntold
	switch {
	case err == nil:
		code = a.conclude(s.Client(), run, f.json)
	case errors.Is(err, errLeft):
		a.say("Run %s is left as it is: what runs goes on, nothing new starts.\nContinue: cairn run -%s -resume %s", s.Run, s.Kind, s.Run)
	default:
		a.errorf("%s Continue: cairn run -%s -resume %s", sentence(err), s.Kind, s.Run)
	}
	if err := s.Close(); err != nil {
		a.errorf("%s", sentence(err))
		if code == exitOK {
			code = exitUntold
		}
	}
	return code
}

// watch follows a run that another process schedules.
func (a *App) watch(r *server.Reader, asJSON bool, id workflow.RunID) int {
	w := &follower{app: a, client: r.Client, id: string(id), view: a.viewFor(asJSON), remote: r.Kind == ""}
	run, err := w.follow(context.Background())
	switch {
	case err == nil:
		return a.conclude(w.client, run, asJSON)
	case errors.Is(err, errLeft):
		a.say("Look again: cairn runs watch %s", w.id)
		return exitUntold
	}
	a.errorf("%s See how the run stands: cairn runs show %s", sentence(err), w.id)
	return exitUntold
}

// conclude prints how a run ended and returns its exit code.
func (a *App) conclude(c *client.Client, run *api.Run, asJSON bool) int {
	if asJSON {
		a.printJSON(run)
	} else {
		failed := failures(run)
		a.tails(context.Background(), c, run, failed)
		a.print(summary(run, failed, a.screenOf(a.Stdout)))
	}
	code := exitOf(run.Status)
	if code == exitOK && a.out.lost() != nil {
		return exitUntold
	}
	return code
}

// showOver tells how a run ended that cannot be resumed for that reason.
func (a *App) showOver(cfg server.Config, f *runFlags, id workflow.RunID) int {
	reader, err := server.Read(context.Background(), cfg, id)
	if err != nil {
		return a.refuse(err)
	}
	defer reader.Close()
	run, err := reader.Run(context.Background(), string(id))
	if err != nil {
		return a.refuse(err)
	}
	a.say("Run %s is over: there is nothing to resume.", id)
	return a.conclude(reader.Client, run, f.json)
}
