// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

func goldenDefinition() *Definition {
	text := func(kind ExprKind, s string, line int) Expr {
		return Expr{Kind: kind, Text: s, Range: Range{File: "etl.hcl", Line: line, Column: 3, Byte: 10 * line, End: 10*line + len(s)}}
	}
	when := text(ExprValue, "param.full", 9)
	each := text(ExprValue, `["eu", "us"]`, 10)
	body := text(ExprBody, "task \"load\" {}", 12)
	policy := DefaultPolicy()
	policy.Timeout = 90 * time.Second
	policy.Retry.OnExitCodes = []int{75}
	return &Definition{
		Name: "etl", Description: "Loads <orders>", Namespace: "default", Priority: 50, Timeout: time.Hour,
		OnFailure: OnFailureContinue, MaxParallel: 4, Labels: map[string]string{"team": "data"},
		Params: []Param{{Name: "full", Type: "bool", Required: true}},
		Tasks: []Task{
			{Name: "extract", Kind: KindTask, TriggerRule: AllSuccess, WhenFalse: WhenFalseSkip, Policy: policy, When: &when, ForEach: &each,
				BodyKind: BodyTask, Body: &body, Outputs: []Output{{Name: "rows", Type: text(ExprConvert, "number", 14), From: FromFile,
					Default: &Value{JSON: json.RawMessage("0")}}}},
			{Name: "done", Kind: KindFinally, DependsOn: []string{}, TriggerRule: AllDone, WhenFalse: WhenFalseSkip, Policy: DefaultPolicy(), BodyKind: BodyJoin,
				Dynamic: []PolicyExpr{{Attr: "timeout", Expr: text(ExprValue, "param.t", 20)}}},
		},
		Concurrency: &Concurrency{MaxRuns: 2, OnLimit: OnLimitSkip},
		Outputs:     []RunOutput{{Name: "rows", Value: text(ExprValue, "task.extract", 30), Refs: []string{"extract"}}},
		Files:       []File{{Path: "etl.hcl", Bytes: []byte("workflow \"etl\" {}\n")}, {Path: "logo.bin", Bytes: []byte{0xff, 0, 1}, Named: true}, {Path: "none", Bytes: []byte{}}},
		Hash:        "sha256:00",
	}
}

func TestStoredDefinitionReadsBackEqual(t *testing.T) {
	def := goldenDefinition()
	b, err := EncodeDefinition(def)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDefinition(b)
	if err != nil {
		t.Fatal(err)
	}
	def.Tasks[1].DependsOn = nil // an empty list is left out
	if d := cmp.Diff(def, got); d != "" {
		t.Errorf("decoded definition differs (-want +got):\n%s", d)
	}
	if len(def.Files) != 3 {
		t.Errorf("EncodeDefinition changed its argument: %d files left", len(def.Files))
	}
}

// The golden file is what an older Cairn has written: it must stay readable, and a change of the form must be noticed.
func TestStoredDefinitionMatchesGolden(t *testing.T) {
	path := filepath.Join("testdata", "definition.v1.json")
	def := goldenDefinition()
	def.Tasks[1].DependsOn = nil
	plain, err := encodePlain(def)
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, plain, "", "  "); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(pretty.Bytes(), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), pretty.String()+"\n"); d != "" {
		t.Errorf("stored form changed (-want +got); a new form needs a new version:\n%s", d)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDefinition(z.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(def, got); d != "" {
		t.Errorf("golden file reads differently (-want +got):\n%s", d)
	}
}

func TestDefinitionErrors(t *testing.T) {
	pack := func(s string) []byte {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write([]byte(s))
		_ = w.Close()
		return z.Bytes()
	}
	for name, tc := range map[string]struct {
		in   []byte
		want string
	}{
		"bytes that are not gzip":             {[]byte("{}"), "decompress definition"},
		"a cut-off file":                      {pack(`{"version":1}`)[:14], "decompress definition"},
		"a version from the future":           {pack(`{"version":2,"definition":{"tasks":7}}`), "format version 2, this Cairn reads 1"},
		"no version":                          {pack(`{}`), "format version 0"},
		"no definition":                       {pack(`{"version":1}`), "it is empty"},
		"text that is not JSON":               {pack(`definition`), "decode definition"},
		"something that grows without bounds": {pack(strings.Repeat(" ", maxDecodedDefinition+1)), "more than 67108864 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeDefinition(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	large := make([]byte, MaxDefinitionBytes)
	for i := range large {
		large[i] = byte(random.Uint32())
	}
	def := &Definition{Name: "big", Files: []File{{Path: "big.bin", Bytes: large}}}
	if _, err := EncodeDefinition(def); err == nil || !strings.Contains(err.Error(), "definition big has") || !strings.Contains(err.Error(), "the limit is 2097152") {
		t.Errorf("got %v, want the size and the limit", err)
	}
}
