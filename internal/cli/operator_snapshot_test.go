// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// text is a string of MessagePack, as Consul writes it.
func text(s string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xdb}, uint32(len(s))), s...)
}

// snapshot is one of a Consul that has these keys.
func snapshot(t *testing.T, keys map[string]string) []byte {
	t.Helper()
	state := append([]byte{0x81}, append(text("LastIndex"), 7)...)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		state = append(state, 2, 0x82) // a key, with two fields
		for _, s := range []string{"Key", key, "Value", keys[key]} {
			state = append(state, text(s)...)
		}
	}
	meta := fmt.Appendf(nil, `{"Version": 1, "ID": "2-7-1", "Index": 7, "Term": 2, "Size": %d}`, len(state))
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	files, sums := tar.NewWriter(compressed), ""
	add := func(name string, content []byte) {
		if err := files.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write(content); err != nil {
			t.Fatal(err)
		}
		sums += fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name)
	}
	add("meta.json", meta)
	add("state.bin", state)
	add("SHA256SUMS", []byte(sums))
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := compressed.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// ofCairn are the keys of a store with one run that is over.
func ofCairn() map[string]string {
	const run = "2al46nukaaaaaaaaaaaa"
	return map[string]string{
		"cairn/cluster": "7dd2", "cairn/root": "d1", "cairn/seq": `{"incarnation": "5d5b", "epoch": 3, "n": 9}`, "other/key": "x",
		"cairn/d1/ix/" + run: `{"version": 1, "workflow": "w", "definition": "sha256:ab", "done": true}`, "cairn/d1/run/00/" + run + "/h": `{}`,
		"cairn/d1/run/00/" + run + "/r/i": `{}`, "cairn/d1/def/sha256-ab/00000": "x",
	}
}

// What is said of snapshots in files takes no server and no Consul.
func TestSnapshotsInFilesAreLookedAt(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	good := snapshot(t, ofCairn())
	put(t, "good.snap", good)
	sum := sha256.Sum256(good)
	manifest := api.Backup{
		Format: 1, Name: "good.snap", TakenAt: time.Now().Add(-3 * time.Hour), By: "cairn-1", Version: "1.0.0", Size: int64(len(good)), SHA256: hex.EncodeToString(sum[:]),
		Stock: api.BackupStock{Prefix: "cairn/", Ended: 1, Epoch: 3, Problems: []string{}},
	}
	describe := func(name string, m api.Backup) {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		put(t, name, b)
	}
	describe("good.json", manifest)
	put(t, "alone.snap", good)
	put(t, "cut.snap", good[:len(good)-30])
	broken := ofCairn()
	delete(broken, "cairn/d1/def/sha256-ab/00000")
	put(t, "broken.snap", snapshot(t, broken))
	put(t, "other.snap", snapshot(t, map[string]string{"other/key": "x"}))
	put(t, "locked.snap.age", []byte("age-encryption.org/v1\n-> X25519 …"))
	put(t, "swapped.snap", snapshot(t, broken))
	manifest.Name = "swapped.snap"
	describe("swapped.json", manifest)
	s := &transcript{console: newConsole(t)}
	for _, file := range []string{"good.snap", "alone.snap", "cut.snap", "broken.snap", "other.snap", "locked.snap.age", "swapped.snap", "none.snap"} {
		s.say("operator", "snapshot", "inspect", file)
		s.say("operator", "snapshot", "verify", file)
	}
	s.say("operator", "snapshot", "inspect", "-json", "good.snap")
	s.say("operator", "snapshot", "verify", "-json", "good.snap")
	s.say("operator", "snapshot", "verify", "-prefix", "rock", "good.snap")
	s.say("operator", "snapshot", "verify", "-identity", "none.key", "good.snap")
	s.say("operator", "snapshot", "restore", "cut.snap")
	s.say("operator", "snapshot", "drill")
	s.say("operator", "snapshot", "drill", "-max-age", "-1h", "good.snap")
	s.say("operator", "snapshot", "drill", "-folder", ".")
	s.say("operator", "snapshot", "drill", "-consul", "no-such-program", "good.snap")
	s.say("operator", "snapshot", "list", "-folder", ".")
	t.Chdir(home)
	golden(t, "snapshot_files.txt", s.String())
}

func TestAnOperatorSeesSnapshotsAndTakesOne(t *testing.T) {
	s := &transcript{console: newConsole(t)}
	now := time.Now()
	next := now.Add(40*time.Minute + 500*time.Millisecond)
	one := api.Backup{
		Format: 1, Name: "cairn-20260131T020000.000Z-AB12CD.snap", TakenAt: now.Add(-20 * time.Minute), By: "cairn-1", Version: "1.0.0", Size: 3_500_000, SHA256: "ab", Index: 7, Keys: 900,
		Stock: api.BackupStock{Prefix: "cairn/", Cluster: "7dd2", Epoch: 3, Keys: 800, Active: 12, Ended: 2000, Definitions: 5, Workflows: 4, Problems: []string{}},
	}
	sick := one
	sick.Name, sick.Encrypted, sick.Stock.Unreadable, sick.Stock.Problems = one.Name+".age", true, 1, []string{"run 2al46nuk has no head"}
	good, bad := one, sick
	good.Drill = &api.BackupDrill{At: now.Add(-5 * time.Hour), By: "worker-1", Restored: "1.2s", Read: "3s", Active: 12, Ended: 2000, Broken: []string{}}
	bad.Drill = &api.BackupDrill{At: now.Add(-3 * time.Hour), By: "worker-1", Broken: []string{"run 2al46nuk: its head is gone"}}
	for _, answers := range []map[string]any{
		{
			"GET /v1/operator/snapshots":  api.Backups{Backups: []api.Backup{one, sick}, Folder: "/srv/backup", Interval: "1h0m0s", NextAt: &next},
			"POST /v1/operator/snapshots": one,
		},
		{
			"GET /v1/operator/snapshots": api.Backups{Backups: []api.Backup{}, Folder: "/srv/backup", Interval: "1h0m0s", NextAt: &next, Running: true, Overdue: true,
				Trouble: "take a backup: write /srv/backup/x.snap: no space left on device"},
			"POST /v1/operator/snapshots": sick,
		},
		{
			"GET /v1/operator/snapshots":  api.Backups{Backups: []api.Backup{good, bad}, Folder: "/srv/backup", Drilled: good.Name},
			"POST /v1/operator/snapshots": one,
		},
		{
			"GET /v1/operator/snapshots":  api.Backups{Backups: []api.Backup{good, bad}, Folder: "/srv/backup", Drilled: bad.Name},
			"POST /v1/operator/snapshots": one,
		},
		{
			"GET /v1/operator/snapshots":  &api.Error{Status: 404, Code: api.CodeNotFound, Message: "this server runs with -dev"},
			"POST /v1/operator/snapshots": &api.Error{Status: 409, Code: api.CodeConflict, Message: "a backup is being taken at this moment"},
		},
	} {
		s.env["CAIRN_ADDR"] = answering(t, answers)
		s.say("operator", "snapshot", "list")
		s.say("operator", "snapshot", "save")
	}
	s.say("operator", "snapshot", "save", "-json")
	golden(t, "operator_snapshot.txt", s.String())
}
