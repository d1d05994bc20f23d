// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
)

// written puts text into a file of its own.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEverySettingIsRead(t *testing.T) {
	var text strings.Builder
	values := map[string]string{
		"name": "server-1", "data_dir": "/var/lib/cairn", "log_level": "DEBUG", "http.bind": "127.0.0.1:0", "http.advertise": "10.0.0.5:4680",
		"nomad.address": "https://nomad:4646", "consul.prefix": "other/", "access.mode": "nomad", "access.operator_policy": "operators",
	}
	block := ""
	for _, s := range Settings() {
		if s.Block != block {
			if block != "" {
				text.WriteString("}\n")
			}
			fmt.Fprintf(&text, "%s {\n", s.Block)
			block = s.Block
		}
		switch {
		case s.number != nil:
			fmt.Fprintf(&text, "%s = 7\n", s.Name)
		case s.yes != nil:
			fmt.Fprintf(&text, "%s = true\n", s.Name)
		case s.duration != nil:
			fmt.Fprintf(&text, "%s = \"1h30m\"\n", s.Name)
		case s.size != nil:
			fmt.Fprintf(&text, "%s = \"7 MiB\"\n", s.Name)
		case s.list != nil:
			fmt.Fprintf(&text, "%s = [\"a\", \"b\"]\n", s.Name)
		case values[s.path()] != "":
			fmt.Fprintf(&text, "%s = %q\n", s.Name, values[s.path()])
		default:
			values[s.path()] = "/path/of/" + s.path()
			fmt.Fprintf(&text, "%s = %q\n", s.Name, values[s.path()])
		}
	}
	text.WriteString("}\n")
	c, problems := Load([]string{written(t, "cairn.hcl", text.String())})
	if len(problems) > 0 {
		t.Fatalf("%v in\n%s", problems, text.String())
	}
	for _, s := range Settings() {
		if s.number != nil {
			if got := *s.number(&c); got != 7 {
				t.Errorf("%s is %d, want 7", s.path(), got)
			}
		} else if s.yes != nil {
			if !*s.yes(&c) {
				t.Errorf("%s is false", s.path())
			}
		} else if s.duration != nil {
			if got := *s.duration(&c); got != 90*time.Minute {
				t.Errorf("%s is %s, want 90 minutes", s.path(), got)
			}
		} else if s.size != nil {
			if got := *s.size(&c); got != 7<<20 {
				t.Errorf("%s is %d, want 7 MiB", s.path(), got)
			}
		} else if s.list != nil {
			if got := *s.list(&c); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("%s is %q, want a and b", s.path(), got)
			}
		} else if got := *s.text(&c); got != values[s.path()] {
			t.Errorf("%s is %q, want %q", s.path(), got, values[s.path()])
		}
	}
}

func TestTheDefaultsAreInRange(t *testing.T) {
	c := DefaultConfig()
	for _, s := range Settings() {
		if !strings.HasSuffix(s.About, ".") {
			t.Errorf("%s is not told in a sentence: %q", s.path(), s.About)
		}
		n, ranged := int64(0), true
		switch {
		case s.number != nil:
			n = int64(*s.number(&c))
		case s.duration != nil:
			n = int64(*s.duration(&c))
		case s.size != nil:
			n = *s.size(&c)
		default:
			ranged = false
		}
		if ranged && (n < s.low || n > s.high || s.low >= s.high) {
			t.Errorf("%s is %d, not from %d to %d", s.path(), n, s.low, s.high)
		}
		if ranged || s.list != nil || s.yes != nil {
			continue
		}
		if text := *s.text(&c); text != "" && s.check != nil {
			if err := s.check(text); err != nil {
				t.Errorf("%s is %q: %v", s.path(), text, err)
			}
		}
	}
}

func TestWhatIsWrongIsSaidWithItsPlace(t *testing.T) {
	for text, want := range map[string][]string{
		"":             nil,
		"nmae = \"a\"": {`1,1: Unknown setting; The top level has no setting "nmae". Did you mean "name"? Its settings are name, data_dir, log_level.`},
		"name = \"-\"": {`1,8: Wrong value; name: "-": want 1 to 63 letters, digits, dots, dashes and underscores, with a letter or digit at both ends.`},
		"name = 1.5":   nil,
		"name = true":  {`1,8: Wrong value; name: want a string, this is a bool.`},
		"name = null":  {`1,8: Wrong value; name: want a string, this is null.`},
		"name = [\"a\"]\ndata_dir = \"x\"": {`1,8: Wrong value; name: want a string, this is a tuple.`,
			`2,12: Wrong value; data_dir: "x": want an absolute path: a server may be started anywhere.`},
		"name = foo":                                 {`1,8: Variables not allowed; Variables may not be used here. A configuration holds plain values: it has no variables and no functions.`},
		"http = { bind = \"127.0.0.1:1\" }":          {`1,1: Unknown setting; http is a block: write http { … } without an equals sign.`},
		"htp {}":                                     {`1,1: Unknown block; There is no block "htp". Did you mean "http"? The blocks are http, tls, access, nomad, consul, limits, http_calls, retention, archive, backup.`},
		"http \"x\" {}":                              {`1,6: Block with a label; Block http takes no label. Remove it.`},
		"http {}\nhttp {}":                           {`2,1: Block stands twice; Block http stands in this file before. Put both together.`},
		"http {\n a {}\n}":                           {`2,2: Unknown block; Block http takes no blocks.`},
		"backup {}":                                  nil,
		"backup {\n interval = \"1s\"\n}":            {`2,13: Wrong value; backup.interval: "1s": want a duration from 1m to 720h, as in 168h.`},
		"backup {\n retain = 0\n}":                   {`2,11: Wrong value; backup.retain: want a whole number from 1 to 10000.`},
		"backup {\n folder = \"here\"\n}":            {`2,11: Wrong value; backup.folder: "here": want an absolute path: a server may be started anywhere.`},
		"backup {\n recipients = \"age1\"\n}":        {`2,15: Wrong value; backup.recipients: want a list of strings, this is a string.`},
		"tls {\n http = \"yes\"\n}":                  {`2,9: Wrong value; tls.http: want true or false, this is a string.`},
		"tls {\n http = null\n}":                     {`2,9: Wrong value; tls.http: want true or false, this is null.`},
		"access {\n mode = \"None\"\n}":              {`2,9: Wrong value; access.mode: "None": want none or nomad.`},
		"access {\n operator_policy = \"a b\"\n}":    {`2,20: Wrong value; access.operator_policy: "a b": want the name of a policy: 1 to 128 letters, digits and dashes.`},
		"http {\n bind = \"127.0.0.1\"\n}":           {`2,9: Wrong value; http.bind: "127.0.0.1": want an address and a port, as in 127.0.0.1:4680.`},
		"http {\n advertise = \"a:0\"\n}":            {`2,14: Wrong value; http.advertise: "a:0": port 0: want a number from 1 to 65535.`},
		"limits {\n max_inflight = 0\n}":             {`2,17: Wrong value; limits.max_inflight: want a whole number from 1 to 30000.`},
		"limits {\n max_inflight = \"x\"\n}":         {`2,17: Wrong value; limits.max_inflight: want a number, this is a string.`},
		"http_calls {\n allow = \"x\"\n}":            {`2,10: Wrong value; http_calls.allow: want a list of strings, this is a string.`},
		"nomad {\n address = \"nomad\"\n}":           {`2,12: Wrong value; nomad.address: "nomad": want a URL, as in https://127.0.0.1:4646.`},
		"consul {\n prefix = \"cairn\"\n}":           {`2,11: Wrong value; consul.prefix: "cairn": want names with a slash after each, as in cairn/.`},
		"retention {\n age = \"1w\"\n}":              {`2,8: Wrong value; retention.age: "1w": want a duration from 1m to 87600h, as in 168h.`},
		"retention {\n age = \"1s\"\n}":              {`2,8: Wrong value; retention.age: "1s": want a duration from 1m to 87600h, as in 168h.`},
		"retention {\n bytes = \"5\"\n}":             {`2,10: Wrong value; retention.bytes: "5": want a whole number of B, KiB, MiB or GiB, as in 256MiB.`},
		"retention {\n bytes = \"-1MiB\"\n}":         {`2,10: Wrong value; retention.bytes: "-1MiB": want a whole number of B, KiB, MiB or GiB, as in 256MiB.`},
		"retention {\n bytes = \"9999999999GiB\"\n}": {`2,10: Wrong value; retention.bytes: "9999999999GiB": want a whole number of B, KiB, MiB or GiB, as in 256MiB.`},
		"retention {\n bytes = \"1KiB\"\n}":          {`2,10: Wrong value; retention.bytes: "1KiB": want a size from 1MiB to 4GiB.`},
		"retention {\n age = [1]\n}":                 {`2,8: Wrong value; retention.age: want a string, this is a tuple.`},
		"archive {\n folder = \"here\"\n}":           {`2,11: Wrong value; archive.folder: "here": want an absolute path: a server may be started anywhere.`},
		"name = ":                                    {`1,8: Missing expression; Expected the start of an expression, but found the end of the file.`},
	} {
		path := written(t, "cairn.hcl", text)
		_, problems := Load([]string{path})
		var got []string
		for _, p := range problems {
			got = append(got, strings.TrimPrefix(p.Error(), path+":"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("problems of %q (-want +got):\n%s", text, diff)
		}
	}
}

func TestLaterFilesWin(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"1.hcl": "name = \"one\"\nlog_level = \"DEBUG\"\n", "2.hcl": "name = \"two\"\nlimits {\n max_inflight = 5\n}\n", "3.json": "nonsense",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, problems := Load([]string{dir, written(t, "more.hcl", "limits {\n max_inflight = 6\n}\n")})
	if len(problems) > 0 || c.Name != "two" || c.LogLevel != "DEBUG" || c.Limits.MaxInflight != 6 {
		t.Errorf("%+v, %v", c, problems)
	}
}

func TestWhatCannotBeReadIsSaid(t *testing.T) {
	empty := t.TempDir()
	for path, words := range map[string]string{
		filepath.Join(empty, "none.hcl"): "no such file", empty: "no file that ends in .hcl",
		written(t, "huge.hcl", strings.Repeat("#", maxFile+1)): "larger than",
	} {
		if _, problems := Load([]string{path}); len(problems) != 1 || !strings.Contains(problems[0].Detail, words) || problems[0].File != path {
			t.Errorf("%s: %v, want words about %q", path, problems, words)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("name = \"a\"\nhttp {\n bind = \"127.0.0.1:0\"\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := DefaultConfig()
		path := filepath.Join(t.TempDir(), "cairn.hcl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, p := range c.apply(path, map[string]hcl.Range{}) {
			if p.Detail == "" || p.File == "" {
				t.Errorf("a problem that says nothing: %+v", p)
			}
		}
	})
}
