// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// firstGroup is that of the processes of the first server: the firewall drops by it what a server sends.
const firstGroup = 47_001

// shaped reports whether the tests have a network of their own, whose traffic they may drop: make test-faults says so.
func shaped() bool { return os.Getenv("CAIRN_FAULTS_NETWORK") != "" }

// firewall drops traffic on the loopback of the test's own network.
type firewall struct{ t *testing.T }

func newFirewall(t *testing.T) *firewall {
	t.Helper()
	f := &firewall{t}
	f.nft("add table inet cairn")
	f.nft("add chain inet cairn out { type filter hook output priority 0 ; }")
	t.Cleanup(func() { f.nft("delete table inet cairn") })
	return f
}

func (f *firewall) nft(rule string) {
	f.t.Helper()
	if out, err := exec.Command("nft", rule).CombinedOutput(); err != nil {
		f.t.Fatalf("nft %s: %v\n%s", rule, err, out)
	}
}

// drop drops what matches until clear.
func (f *firewall) drop(match string) { f.nft("add rule inet cairn out " + match + " drop") }

func (f *firewall) clear() { f.nft("flush chain inet cairn out") }

// sentBy matches what a server sends: with it gone, nobody has a connection with it.
func sentBy(m *member) string { return fmt.Sprintf("meta skgid %d", m.group) }

// to matches what is sent to a port of an address.
func to(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return "tcp dport " + port
}

// some matches so many of a hundred packets, by chance.
func some(percent int) string { return fmt.Sprintf("numgen random mod 100 < %d", percent) }

// ports matches what is sent to any port that an agent listens on, and what is sent from there.
func ports(t *testing.T, a *testcluster.Agent) (matches []string) {
	t.Helper()
	out, err := exec.Command("ss", "-Hlntup").Output()
	if err != nil {
		t.Fatalf("list the ports: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, fmt.Sprintf("pid=%d,", a.PID())) {
			continue
		}
		fields := strings.Fields(line)
		local := fields[4]
		matches = append(matches, fields[0]+" dport "+local[strings.LastIndex(local, ":")+1:], fields[0]+" sport "+local[strings.LastIndex(local, ":")+1:])
	}
	if len(matches) == 0 {
		t.Fatalf("agent %s listens on no port:\n%s", a.Name, out)
	}
	return matches
}
