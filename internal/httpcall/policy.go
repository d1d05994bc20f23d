// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpcall

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Policy says where calls may go. The zero value lets nothing pass.
type Policy struct {
	// Everything lets every destination pass, this machine's own too: for runs that somebody started by hand, who may call
	// all of them without Cairn as well.
	Everything bool
	// Hosts may be called: names ("api.example.org", or "*.example.org" for everything below it) and addresses, as
	// networks ("10.1.0.0/16") or single ones. Without a port ("api.example.org:8443") every port is meant.
	Hosts []string
	// Own are the addresses of the Consul and the Nomad that Cairn itself lives on: they are never called.
	Own []netip.AddrPort
}

// Validate says which host cannot be understood.
func (p Policy) Validate() error {
	for _, h := range p.Hosts {
		if _, err := parseHost(h); err != nil {
			return err
		}
	}
	return nil
}

// host is one entry of Policy.Hosts.
type host struct {
	name  string // lower case; empty = the network counts
	below bool   // what lies below name, and not name itself
	net   netip.Prefix
	port  string // empty = every port
}

func parseHost(text string) (host, error) {
	var h host
	name := strings.ToLower(text)
	if net, err := netip.ParsePrefix(name); err == nil {
		h.net = net.Masked()
		return h, nil
	}
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		h.net = netip.PrefixFrom(ip, ip.BitLen())
		return h, nil
	}
	if at := strings.LastIndexByte(name, ':'); at >= 0 {
		name, h.port = name[:at], name[at+1:]
		if h.port == "" || strings.Trim(h.port, "0123456789") != "" {
			return h, fmt.Errorf("host %q: want a port after the colon", text)
		}
		if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
			h.net = netip.PrefixFrom(ip, ip.BitLen())
			return h, nil
		}
	}
	h.name, h.below = strings.CutPrefix(name, "*.")
	if h.name == "" || strings.ContainsAny(h.name, "*/:[] ") {
		return h, fmt.Errorf("host %q: want a name, *.name, an address or a network, with :port behind it or without", text)
	}
	return h, nil
}

// refusal says why a destination is not called.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// checkName judges a destination by what the call says, before anything is resolved. What the policy lets pass by its
// address is decided by checkAddress alone.
func (p Policy) checkName(name, port string) error {
	if p.Everything {
		return nil
	}
	byAddress := false
	for _, text := range p.Hosts {
		h, err := parseHost(text)
		if err != nil {
			return err
		}
		byAddress = byAddress || h.name == ""
		if h.matchesName(strings.ToLower(strings.TrimSuffix(name, ".")), port) {
			return nil
		}
	}
	switch {
	case byAddress:
		return nil
	case len(p.Hosts) == 0:
		return &refusal{"this Cairn calls nobody: the destinations of http tasks are to be allowed in its configuration"}
	}
	return &refusal{fmt.Sprintf("this Cairn does not call %s: its configuration allows other destinations", name)}
}

func (h host) matchesName(name, port string) bool {
	if h.name == "" || h.port != "" && h.port != port {
		return false
	}
	if h.below {
		return strings.HasSuffix(name, "."+h.name)
	}
	return name == h.name
}

// checkAddress judges the address that is about to be connected to for the call of a name: whatever a name has resolved to
// before, this is where the bytes go.
func (p Policy) checkAddress(name string, to netip.AddrPort) error {
	if p.Everything {
		return nil
	}
	for _, ip := range meanings(to.Addr()) {
		switch {
		case ip.IsLoopback(), ip.IsUnspecified():
			return &refusal{fmt.Sprintf("%s is this machine itself (%s), which is never called", name, ip)}
		case ip.IsLinkLocalUnicast(), ip.IsMulticast():
			return &refusal{fmt.Sprintf("%s is a link-local or multicast address (%s), which is never called", name, ip)}
		}
		for _, own := range p.Own {
			if own.Addr().Unmap() == ip && own.Port() == to.Port() {
				return &refusal{fmt.Sprintf("%s is the Consul or Nomad of this Cairn (%s), which is never called", name, own)}
			}
		}
	}
	port := fmt.Sprint(to.Port())
	for _, text := range p.Hosts {
		h, err := parseHost(text)
		if err != nil {
			return err
		}
		if h.matchesName(strings.ToLower(strings.TrimSuffix(name, ".")), port) {
			return nil
		}
		if h.name == "" && (h.port == "" || h.port == port) && h.net.Contains(to.Addr().Unmap().WithZone("")) {
			return nil
		}
	}
	return &refusal{fmt.Sprintf("this Cairn does not call %s (%s): its configuration allows other destinations", name, to)}
}

// nat64 and compatible are prefixes of IPv6 addresses that carry an IPv4 address in their last four bytes.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	compatible = netip.MustParsePrefix("::/96")
)

// meanings are the addresses that connecting to ip may end at: itself, and what it carries.
func meanings(ip netip.Addr) []netip.Addr {
	ip = ip.Unmap().WithZone("")
	out := []netip.Addr{ip}
	if ip.Is6() && (nat64.Contains(ip) || compatible.Contains(ip)) {
		b := ip.As16()
		out = append(out, netip.AddrFrom4([4]byte(b[12:])))
	}
	return out
}

// asRefusal finds a refusal below whatever the HTTP client has wrapped around it.
func asRefusal(err error) (*refusal, bool) {
	var r *refusal
	ok := errors.As(err, &r)
	return r, ok
}
