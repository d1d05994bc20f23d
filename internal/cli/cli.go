// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package cli is Cairn's command line: one file per command, each arguments, then work, then view. Data goes to standard
// output, talk to standard error.
package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/agext/levenshtein"
	hashicli "github.com/hashicorp/cli"

	"github.com/cairnflow/cairn/internal/client"
)

// The exit codes. Those of a run that was followed to its end are its verdict.
const (
	exitOK          = 0
	exitFailed      = 1 // the run failed, or the command did
	exitUsage       = 2 // bad arguments, an invalid file, or an environment in which nothing can be run
	exitCancelled   = 3
	exitUnreachable = 4 // a server, Nomad or Consul, at the start
	exitSkipped     = 5
	exitUntold      = 6 // the run was left before its end, or succeeded and its output was lost
)

// App is one call of the program: everything a command may touch of the world around it.
type App struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
	Now    func() time.Time
	// Supervisor is the command line that starts the supervisor of local runs; nil = this program with "supervise".
	Supervisor []string
	// Signals are the interrupts and terminations that this process gets; nil = those of the system.
	Signals <-chan os.Signal

	out      *output       // what Stdout is while a command runs
	server   client.Server // what the options of a command say of one
	patience time.Duration // of a completion that asks a server; 0 = completePatience
}

// New returns the App of the process itself.
func New() *App {
	return &App{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now}
}

// Run runs the command that the arguments name and returns the exit code.
func Run(args []string) int { return New().Run(args) }

// Run runs the command that the arguments name and returns the exit code.
func (a *App) Run(args []string) int {
	if a.Signals == nil {
		catchBrokenPipes()
	}
	own := *a
	own.out = &output{to: a.Stdout}
	own.Stdout = own.out
	code := own.dispatch(args)
	if err := own.out.lost(); err != nil {
		own.errorf("Standard output cannot be written: %s.", err)
		if code == exitOK {
			code = exitFailed
		}
	}
	return code
}

func (a *App) dispatch(args []string) int {
	commands := a.commands()
	// A shell that completes a line calls with words of its own, and the line in the environment.
	completing := a.Getenv("COMP_LINE") != ""
	if name, ok := unknownCommand(args, commands); ok && !completing {
		a.errorf("There is no command %q.%s Run \"cairn -h\" for a list.", name, suggestion(name, names(commands)))
		return exitUsage
	}
	program := &hashicli.CLI{
		Args:           args,
		Name:           "cairn",
		Version:        versionText(),
		Commands:       commands,
		HiddenCommands: []string{"supervise"},
		Autocomplete:   true,
		HelpFunc:       help,
		HelpWriter:     forgiving{a.out},
		ErrorWriter:    a.Stderr,
	}
	code, err := program.Run()
	if err != nil {
		a.errorf("%s", err)
		return exitFailed
	}
	if code == codeNoCommand {
		return exitUsage // the list of commands has been printed
	}
	return code
}

// codeNoCommand is what hashicorp/cli answers when no command was given.
const codeNoCommand = 127

func (a *App) commands() map[string]hashicli.CommandFactory {
	all := map[string]func(*App) *command{
		"run":                       runCommand,
		"validate":                  validateCommand,
		"fmt":                       fmtCommand,
		"graph":                     graphCommand,
		"plan":                      planCommand,
		"render":                    renderCommand,
		"runs":                      runsCommand,
		"runs list":                 runsListCommand,
		"runs show":                 runsShowCommand,
		"runs logs":                 runsLogsCommand,
		"runs watch":                runsWatchCommand,
		"runs stop":                 runsStopCommand,
		"runs terminate":            runsTerminateCommand,
		"runs pause":                runsPauseCommand,
		"runs resume":               runsResumeCommand,
		"runs retry":                runsRetryCommand,
		"runs rerun":                runsRerunCommand,
		"runs approve":              runsApproveCommand,
		"runs reject":               runsRejectCommand,
		"task":                      taskCommand,
		"task retry":                taskRetryCommand,
		"task skip":                 taskSkipCommand,
		"task succeed":              taskSucceedCommand,
		"task cancel":               taskCancelCommand,
		"workflow":                  workflowCommand,
		"workflow apply":            workflowApplyCommand,
		"workflow list":             workflowListCommand,
		"workflow show":             workflowShowCommand,
		"workflow versions":         workflowVersionsCommand,
		"workflow delete":           workflowDeleteCommand,
		"workflow run":              workflowRunCommand,
		"agent":                     agentCommand,
		"operator":                  operatorCommand,
		"operator leader":           operatorLeaderCommand,
		"operator members":          operatorMembersCommand,
		"operator workers":          operatorWorkersCommand,
		"operator worker-dead":      operatorWorkerDeadCommand,
		"operator check":            operatorCheckCommand,
		"operator orphans":          operatorOrphansCommand,
		"operator audit":            operatorAuditCommand,
		"operator snapshot":         snapshotCommand,
		"operator snapshot save":    snapshotSaveCommand,
		"operator snapshot list":    snapshotListCommand,
		"operator snapshot inspect": snapshotInspectCommand,
		"operator snapshot verify":  snapshotVerifyCommand,
		"operator snapshot restore": snapshotRestoreCommand,
		"operator snapshot drill":   snapshotDrillCommand,
		"operator step-down":        operatorStepDownCommand,
		"version":                   versionCommand,
		"supervise":                 superviseCommand,
	}
	out := make(map[string]hashicli.CommandFactory, len(all))
	for name, make := range all {
		out[name] = func() (hashicli.Command, error) {
			c := make(a)
			c.app, c.name = a, name
			if asksServer(name) {
				c.options = append(c.options, a.serverOptions()...)
			}
			return c, nil
		}
	}
	return out
}

// unknownCommand finds the first words that name no command, so that a mistyped one gets a suggestion instead of a help
// page.
func unknownCommand(args []string, commands map[string]hashicli.CommandFactory) (string, bool) {
	var words []string
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") || len(words) == 3 {
			break
		}
		words = append(words, arg)
	}
	if len(words) == 0 {
		return "", false
	}
	if _, ok := commands[words[0]]; !ok {
		return words[0], true
	}
	if len(words) == 1 || !slices.ContainsFunc(names(commands), func(name string) bool {
		return strings.HasPrefix(name, words[0]+" ")
	}) {
		return "", false
	}
	both := words[0] + " " + words[1]
	if _, ok := commands[both]; !ok || len(words) == 2 {
		return both, !ok
	}
	if !slices.ContainsFunc(names(commands), func(name string) bool { return strings.HasPrefix(name, both+" ") }) {
		return "", false // it takes arguments
	}
	all := both + " " + words[2]
	_, ok := commands[all]
	return all, !ok
}

func names(commands map[string]hashicli.CommandFactory) []string {
	var out []string
	for name := range commands {
		if name != "supervise" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// suggestion is " Did you mean …?" when one of the names is close, else nothing.
func suggestion(name string, names []string) string {
	best, distance := "", 3 // more than two letters off is another word
	for _, n := range names {
		if d := levenshtein.Distance(name, n, nil); d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", best)
}

// help is the text of `cairn -h`.
func help(commands map[string]hashicli.CommandFactory) string {
	var b strings.Builder
	b.WriteString("Usage: cairn COMMAND [options] [arguments]\n\n")
	b.WriteString("  Cairn runs workflows written in HCL, on this machine or as batch jobs on Nomad.\n")
	b.WriteString("  Begin with \"cairn run -local FILE\". \"cairn COMMAND -h\" explains a command.\n\nCommands:\n\n")
	for _, name := range names(commands) {
		if c, err := commands[name](); err == nil {
			fmt.Fprintf(&b, "  %-18s %s\n", name, c.Synopsis())
		}
	}
	b.WriteString("\n  Completion for bash, zsh and fish: \"cairn -autocomplete-install\".")
	return b.String()
}

// say prints talk: whole lines for people, on standard error.
func (a *App) say(format string, args ...any) {
	fmt.Fprintf(a.Stderr, format+"\n", args...)
}

// errorf says what went wrong.
func (a *App) errorf(format string, args ...any) { a.say("Error: "+format, args...) }

// warnf says what should not surprise anybody later.
func (a *App) warnf(format string, args ...any) { a.say("Warning: "+format, args...) }

// print writes data to standard output.
func (a *App) print(text string) { _, _ = io.WriteString(a.Stdout, text) } // output remembers the error

// output is standard output. It remembers the first write that failed, so that nobody else has to look, and takes nothing
// after it: a gap would not be seen.
type output struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (n int, err error) {
	if o.err == nil {
		n, o.err = o.to.Write(p)
	}
	return n, o.err
}

// lost is why something that was printed did not arrive. A reader that went away (a closed pager) wanted no more.
func (o *output) lost() error {
	var path *fs.PathError
	switch {
	case errors.Is(o.err, syscall.EPIPE):
		return nil
	case errors.As(o.err, &path):
		return path.Err
	}
	return o.err
}

// forgiving keeps from hashicorp/cli what output remembers: it would say it too.
type forgiving struct{ out *output }

// Write implements io.Writer.
func (f forgiving) Write(p []byte) (int, error) {
	_, _ = f.out.Write(p)
	return len(p), nil
}

// catchBrokenPipes lets writes fail when the reader of our output goes away (`cairn run … | head`), until this process
// ends: the signal would end it, and the run with it. Ignoring the signal would do the same to the tasks, which inherit
// that.
func catchBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// signals returns the interrupts and terminations of this process, and a function that gives them back.
func (a *App) signals() (<-chan os.Signal, func()) {
	if a.Signals != nil {
		return a.Signals, func() {}
	}
	// Three Ctrl-C in a row are three requests: none may be lost while the first is carried out.
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	return c, func() { signal.Stop(c) }
}
