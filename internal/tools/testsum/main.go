// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Command testsum reads what `go test -json` prints and says it in plain text: one
// line per package, the output of what failed, and at the end what each failed test
// itself said, how many tests ran against real agents, which were skipped, and how
// many passed and failed. It ends with 1 where a test failed or was skipped.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	failed, err := summarise(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// agentsAttr is the attribute that internal/testcluster gives to a test that asks
// for a real agent.
const agentsAttr = "cairn-agents"

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a package that is being built
	Test       string
	Output     string
	Key, Value string // of an attribute
	Elapsed    float64
}

// test names a test of a package; the package itself has no name.
type test struct{ pkg, name string }

type summary struct {
	out     io.Writer
	output  map[test]*strings.Builder // of what has not ended yet
	builds  map[string]*strings.Builder
	agents  map[test]bool
	passed  int
	failed  []test
	skipped []test
	said    map[test][]string // of what failed: its own words
}

// summarise copies in to out in readable form and reports whether anything failed
// or was skipped. Lines that are no events, as of a broken go command, are copied.
func summarise(in io.Reader, out io.Writer) (bad bool, err error) {
	s := &summary{
		out:    out,
		output: map[test]*strings.Builder{},
		builds: map[string]*strings.Builder{},
		agents: map[test]bool{},
		said:   map[test][]string{},
	}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(out, line)
			} else {
				s.add(e)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return true, fmt.Errorf("read the events: %w", err)
		}
	}
	s.close()
	return len(s.failed)+len(s.skipped) > 0 || s.passed == 0, nil
}

func (s *summary) add(e event) {
	id := test{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.addOutput(id, e.Output)
	case "build-output":
		builder(s.builds, e.ImportPath).WriteString(e.Output)
	case "build-fail":
		s.print(builder(s.builds, e.ImportPath))
		delete(s.builds, e.ImportPath)
	case "attr":
		if e.Key == agentsAttr {
			s.agents[id] = true
		}
	case "pass", "fail", "skip":
		s.end(id, e.Action)
	}
}

// addOutput prints the closing lines of a package and keeps all else until the
// test has ended, when it is known whether anybody wants to read it.
func (s *summary) addOutput(id test, text string) {
	if id.name == "" && closing(text) {
		fmt.Fprint(s.out, text)
		return
	}
	builder(s.output, id).WriteString(text)
}

// closing recognises go test's last line about a package.
func closing(text string) bool {
	for _, start := range []string{"ok  \t", "FAIL\t", "?   \t"} {
		if strings.HasPrefix(text, start) {
			return true
		}
	}
	return false
}

func (s *summary) end(id test, action string) {
	if id.name == "" {
		// What a package prints outside its tests: a panic, a failed TestMain.
		if action == "fail" {
			s.print(s.output[id])
			if !slices.ContainsFunc(s.failed, func(t test) bool { return t.pkg == id.pkg }) {
				s.failed = append(s.failed, id)
			}
		}
		delete(s.output, id)
		return
	}
	switch action {
	case "pass":
		s.passed++
	case "fail":
		s.fail(id)
	case "skip":
		s.skipped = append(s.skipped, id)
		s.print(s.output[id])
	}
	delete(s.output, id)
}

func (s *summary) fail(id test) {
	s.failed = append(s.failed, id)
	s.print(s.output[id])
	if text := s.output[id]; text != nil {
		s.said[id] = ownWords(text.String())
	}
}

// How many lines of a failed test are said again at the end, and of what it printed
// at once: a long record may come before what is wrong with it.
const (
	mostWords   = 20
	mostAtATime = 6
)

// moreOfIt begins every line but the first of what a test prints at once.
const moreOfIt = "        "

var (
	ownLine = regexp.MustCompile(`^\s*(\w+_test\.go:\d+: |panic: )`)
	logLine = regexp.MustCompile(`\[(TRACE|DEBUG|INFO|WARN|ERROR)\]`)
)

// ownWords are the lines that a test printed itself, without the logs of what it
// tested, which may be thousands of lines after them.
func ownWords(output string) []string {
	var words []string
	own, atATime := false, 0
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, moreOfIt) || ownLine.MatchString(line) {
			own, atATime = ownLine.MatchString(line) && !logLine.MatchString(line), 0
		}
		if atATime++; own && atATime <= mostAtATime && len(words) < mostWords {
			words = append(words, line)
		}
	}
	return words
}

func (s *summary) print(text *strings.Builder) {
	if text != nil {
		fmt.Fprint(s.out, text)
	}
}

func (s *summary) close() {
	// Tests that never ended, because the process did.
	unended := slices.SortedFunc(maps.Keys(s.output), func(a, b test) int {
		return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.name, b.name))
	})
	for _, id := range unended {
		if id.name != "" {
			s.fail(id)
		}
	}
	fmt.Fprintln(s.out)
	for _, list := range []struct {
		word  string
		tests []test
	}{{"failed", s.failed}, {"skipped, which counts as failed", s.skipped}} {
		for _, t := range list.tests {
			fmt.Fprintf(s.out, "%s: %s %s\n", list.word, t.pkg, t.name)
			for _, line := range s.said[t] {
				fmt.Fprint(s.out, line)
			}
		}
	}
	fmt.Fprintf(s.out, "tests against real agents: %d\n", len(s.agents))
	fmt.Fprintf(s.out, "skipped: %d\n", len(s.skipped))
	fmt.Fprintf(s.out, "%d passed, %d failed\n", s.passed, len(s.failed)+len(s.skipped))
}

func builder[K comparable](m map[K]*strings.Builder, key K) *strings.Builder {
	b, ok := m[key]
	if !ok {
		b = &strings.Builder{}
		m[key] = b
	}
	return b
}
