// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// row is one row of a table, named by the heading above the table and its first cell: "retry: `max_attempts`".
type row struct {
	key  string
	text string // the whole row
	at   string
}

// rowsOfMarkdown reads the tables of a text. Code fences hold no tables.
func rowsOfMarkdown(file, text string) []row {
	var rows []row
	heading, fenced, inTable := "", false, false
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			fenced, inTable = !fenced, false
		case fenced:
		case strings.HasPrefix(line, "#"):
			heading, inTable = strings.TrimSpace(strings.TrimLeft(line, "#")), false
		case ruler.MatchString(trimmed):
			inTable = true
		case inTable && strings.HasPrefix(trimmed, "|"):
			cells := cellsOf(trimmed)
			rows = append(rows, row{key: heading + ": " + cells[0], text: trimmed, at: fmt.Sprintf("%s:%d", file, i+1)})
		case !strings.HasPrefix(trimmed, "|"):
			inTable = false
		}
	}
	return rows
}

// ruler is the line between the head and the rows of a table.
var ruler = regexp.MustCompile(`^\|(\s*:?-+:?\s*\|)+$`)

// cellsOf takes a row apart. A bar in a cell is written \|.
func cellsOf(line string) []string {
	line = strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|")
	cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(strings.TrimSpace(c), "\x00", "|")
	}
	return cells
}

// rowsOfReference reads the language reference.
func rowsOfReference(t *testing.T) []row {
	t.Helper()
	const path = "../../hcl/README.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return rowsOfMarkdown("hcl/README.md", string(b))
}

// rowsOfEngine reads the package documentation of engine, whose tables stand in it as preformatted text.
func rowsOfEngine(t *testing.T) []row {
	t.Helper()
	const path = "../engine/doc.go"
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	if f.Doc == nil {
		t.Fatalf("%s has no package documentation", path)
	}
	rows := rowsOfMarkdown("internal/engine/doc.go", f.Doc.Text())
	for i := range rows {
		rows[i].key = "engine, " + rows[i].key
	}
	return rows
}

func TestTablesAreFoundWithTheirHeadings(t *testing.T) {
	rows := rowsOfMarkdown("x.md", "# A\n\n| a | b |\n|---|:-:|\n| `x` \\| y | 1 |\n\n## B\n```\n| no |\n|---|\n| no |\n```\n| | |\n|-|-|\n| z | 2 |\n")
	var keys []string
	for _, r := range rows {
		keys = append(keys, r.key+" @ "+r.at)
	}
	want := "A: `x` | y @ x.md:5\nB: z @ x.md:15"
	if got := strings.Join(keys, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
