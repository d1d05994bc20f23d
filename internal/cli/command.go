// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/posener/complete"
)

// command is one command of the program; it implements the interfaces of hashicorp/cli.
type command struct {
	app  *App
	name string

	synopsis  string
	arguments string // as in the usage line: "FILE"
	about     string // paragraphs, without indentation
	examples  []string

	// min and max bound the number of arguments; a negative max means any number.
	min, max int
	options  []option
	predict  complete.Predictor // of the arguments
	run      func(args []string) int
}

// option is one option of a command, declared once for parsing, help and completion.
type option struct {
	name    string
	value   string // what the usage calls its value; empty for a switch
	usage   string
	bind    func(*flag.FlagSet)
	predict complete.Predictor // of its value
}

func switchOption(target *bool, name, usage string) option {
	return option{name: name, usage: usage, bind: func(f *flag.FlagSet) { f.BoolVar(target, name, *target, "") }}
}

func textOption(target *string, name, value, usage string) option {
	return option{
		name: name, value: value, usage: usage, predict: complete.PredictAnything,
		bind: func(f *flag.FlagSet) { f.StringVar(target, name, *target, "") },
	}
}

func numberOption(target *int, name, value, usage string) option {
	return option{
		name: name, value: value, usage: usage, predict: complete.PredictAnything,
		bind: func(f *flag.FlagSet) { f.IntVar(target, name, *target, "") },
	}
}

// funcOption calls set for every use of the option.
func funcOption(name, value, usage string, set func(string) error) option {
	return option{
		name: name, value: value, usage: usage, predict: complete.PredictAnything,
		bind: func(f *flag.FlagSet) { f.Func(name, "", set) },
	}
}

// Run implements cli.Command: options may stand before, between and after the arguments.
func (c *command) Run(args []string) int {
	set := flag.NewFlagSet(c.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	for _, o := range c.options {
		o.bind(set)
	}
	var rest []string
	for len(args) > 0 {
		if err := set.Parse(args); err != nil {
			return c.usageError(c.explain(err))
		}
		left := set.Args()
		if consumed := len(args) - len(left); consumed > 0 && args[consumed-1] == "--" {
			rest = append(rest, left...)
			break
		}
		if len(left) == 0 {
			break
		}
		rest, args = append(rest, left[0]), left[1:]
	}
	switch {
	case len(rest) < c.min && c.max == 1:
		return c.usageError(fmt.Sprintf("it needs %s", c.arguments))
	case len(rest) < c.min:
		return c.usageError(fmt.Sprintf("it needs %s; given: %s", c.arguments, given(rest)))
	case c.max == 0 && len(rest) > 0:
		return c.usageError(fmt.Sprintf("it takes no arguments; given: %s", given(rest)))
	case c.max > 0 && len(rest) > c.max:
		return c.usageError(fmt.Sprintf("it takes only %s; given: %s", c.arguments, given(rest)))
	}
	return c.run(rest)
}

func given(args []string) string {
	if len(args) == 0 {
		return "nothing"
	}
	return strings.Join(args, " ")
}

// explain turns an error of package flag into a sentence in our words.
func (c *command) explain(err error) string {
	text := err.Error()
	if errors.Is(err, flag.ErrHelp) {
		return "-h stands after its own command"
	}
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		var known []string
		for _, o := range c.options {
			known = append(known, o.name)
		}
		out := fmt.Sprintf("there is no option -%s.", name)
		if near := suggestion(name, known); near != "" {
			return out + strings.Replace(near, `"`, `"-`, 1)
		}
		return out
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Sprintf("-%s needs a value", name)
	}
	if rest, ok := strings.CutPrefix(text, "invalid value "); ok {
		value, problem, _ := strings.Cut(rest, " for flag ")
		name, why, _ := strings.Cut(problem, ": ")
		if why == "parse error" || why == "value out of range" {
			why = fmt.Sprintf("%s %s: want a number", name, value)
		}
		return why
	}
	return text
}

func (c *command) usageError(what string) int {
	what = strings.TrimSuffix(what, ".")
	end := "."
	if strings.HasSuffix(what, "?") {
		end = ""
	}
	c.app.errorf("cairn %s: %s%s See \"cairn %s -h\".", c.name, what, end, c.name)
	return exitUsage
}

// Synopsis implements cli.Command.
func (c *command) Synopsis() string { return c.synopsis }

// Help implements cli.Command.
func (c *command) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: cairn %s", c.name)
	if len(c.options) > 0 {
		b.WriteString(" [options]")
	}
	if c.arguments != "" {
		b.WriteString(" " + c.arguments)
	}
	b.WriteString("\n\n" + indent(c.about, "  "))
	if len(c.examples) > 0 {
		b.WriteString("\n\nExamples:\n")
		for _, e := range c.examples {
			b.WriteString("\n  $ " + e)
		}
	}
	if len(c.options) > 0 {
		b.WriteString("\n\nOptions:\n")
		for _, o := range c.options {
			fmt.Fprintf(&b, "\n  -%s", o.name)
			if o.value != "" {
				b.WriteString(" " + o.value)
			}
			b.WriteString("\n" + indent(o.usage, "      ") + "\n")
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// AutocompleteArgs implements cli.CommandAutocomplete.
func (c *command) AutocompleteArgs() complete.Predictor {
	if c.predict == nil {
		return complete.PredictNothing
	}
	return c.predict
}

// AutocompleteFlags implements cli.CommandAutocomplete.
func (c *command) AutocompleteFlags() complete.Flags {
	out := complete.Flags{}
	for _, o := range c.options {
		predict := o.predict
		if predict == nil {
			predict = complete.PredictNothing
		}
		out["-"+o.name] = predict
	}
	return out
}

// groupCommand is a noun that only has subcommands.
func groupCommand(synopsis, about string) *command {
	c := &command{synopsis: synopsis, about: about, max: -1}
	c.run = func([]string) int {
		c.app.say("%s\n\n  \"cairn %s -h\" lists its commands.", c.Help(), c.name)
		return exitUsage
	}
	return c
}

// predictWorkflow completes the path of a workflow: a file or a folder.
var predictWorkflow = complete.PredictOr(complete.PredictFiles("*.hcl"), complete.PredictDirs("*"))

// indent puts the prefix in front of every line that is not empty.
func indent(text, prefix string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		if line = strings.TrimRight(line, " \t"); line != "" {
			line = prefix + line
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}
