// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func applied(t *testing.T, r Registration, hash string, want bool) Registration {
	t.Helper()
	next, changed := r.Apply(hash, 7, "ada")
	if changed != want {
		t.Fatalf("apply %s over %+v: changed %t, want %t", hash, r, changed, want)
	}
	return next
}

func TestVersionsCountFromOneAndNeverTwice(t *testing.T) {
	r := Registration{Namespace: "default", Name: "w"}
	r = applied(t, r, "a", true)
	r = applied(t, r, "a", false)
	r = applied(t, r, "b", true)
	r = applied(t, r, "a", true) // back to what was: a version of its own
	if now, ok := r.Current(); !ok || now != (Version{Number: 3, Hash: "a", AppliedAt: 7, By: "ada"}) {
		t.Errorf("current %+v, %t", now, ok)
	}
	if v, ok := r.Version(2); !ok || v.Hash != "b" {
		t.Errorf("version 2 is %+v, %t", v, ok)
	}
	if v, ok := r.Version(4); ok {
		t.Errorf("version 4 is %+v", v)
	}
	gone := r.Delete()
	if _, ok := gone.Current(); ok || gone.Serial != r.Serial+1 {
		t.Errorf("deleted: %+v", gone)
	}
	again := applied(t, gone, "a", true)
	if now, _ := again.Current(); now.Number != 4 || again.Serial != 5 {
		t.Errorf("applied after a deletion: %+v, want version 4 and serial 5", again)
	}
}

func TestTheNewestVersionsAreKept(t *testing.T) {
	r := Registration{Namespace: "default", Name: "w"}
	for n := range MaxVersions + 3 {
		before := r
		r = applied(t, r, fmt.Sprint(n), true)
		if now, ok := before.Current(); ok && now.Hash != fmt.Sprint(n-1) {
			t.Fatalf("apply changed what it was given: %+v", before)
		}
	}
	if _, ok := r.Version(3); ok || len(r.Versions) != MaxVersions || r.Versions[0].Number != 4 {
		t.Errorf("%d versions from %d on, want %d from 4 on", len(r.Versions), r.Versions[0].Number, MaxVersions)
	}
}

func goldenRegistration() Registration {
	return Registration{Namespace: "default", Name: "etl", Serial: 4, Last: 2, Versions: []Version{
		{Number: 1, Hash: "sha256:00", AppliedAt: 1_700_000_000_000_000_000, By: "ada"},
		{Number: 2, Hash: "sha256:01", AppliedAt: 1_700_000_001_000_000_000},
	}}
}

// The golden file is what an older Cairn has written: it must stay readable, and a change of the form must be noticed.
func TestStoredRegistrationIsTheGoldenFile(t *testing.T) {
	want := goldenRegistration()
	b, err := EncodeRegistration(want)
	if err != nil {
		t.Fatal(err)
	}
	plain := unpacked(t, b)
	path := filepath.Join("testdata", "registration.v1.json")
	if *update {
		if err := os.WriteFile(path, plain, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(golden), string(plain)); d != "" {
		t.Errorf("the stored form changed: raise registrationVersion, and keep reading the one before (-want +got):\n%s", d)
	}
	got, err := DecodeRegistration(packed(t, golden))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("decoded registration differs (-want +got):\n%s", d)
	}
}

func TestWhatIsNoRegistrationIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		in   []byte
		want string
	}{
		"nothing":                             {nil, "decompress registration"},
		"a newer version":                     {packed(t, []byte(`{"version":2}`)), "format version 2, this Cairn reads 1"},
		"no version":                          {packed(t, []byte(`{}`)), "format version 0"},
		"another shape":                       {packed(t, []byte(`{"version":1,"versions":7}`)), "decode registration"},
		"no JSON":                             {packed(t, []byte(`versions`)), "decode registration"},
		"something that grows without bounds": {packed(t, bytes.Repeat([]byte(" "), maxDecodedRegistration+1)), "more than 1048576 bytes"},
		"something cut short":                 {packed(t, []byte(`{"version":1}`))[:12], "decompress registration"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeRegistration(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// A transaction of Consul takes 350,000 bytes.
func TestEveryApplyFitsOneTransaction(t *testing.T) {
	r := Registration{Namespace: strings.Repeat("n", 128), Name: strings.Repeat("w", MaxNameBytes)}
	for n := range MaxVersions {
		hash := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte{byte(n)}))
		r, _ = r.Apply(hash, Time(1_700_000_000_000_000_000+int64(n)*987_654_321_987), "somebody@somewhere")
	}
	b, err := EncodeRegistration(r)
	if err != nil {
		t.Fatal(err)
	}
	if total := MaxApplied * (len(b) + 250); total > 350_000 {
		t.Errorf("%d registrations of %d bytes are %d bytes", MaxApplied, len(b), total)
	}
}

func packed(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpacked(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var raw json.RawMessage
	if err := json.NewDecoder(z).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	return raw
}
