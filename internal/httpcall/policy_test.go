// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpcall

import (
	"net/netip"
	"strconv"
	"testing"
)

func TestPolicies(t *testing.T) {
	own := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:8500")}
	some := Policy{Hosts: []string{"api.example.org", "*.below.example.org", "port.example.org:8443", "10.0.0.0/24", "192.0.2.7:80"}, Own: own}
	for name, tc := range map[string]struct {
		policy Policy
		host   string
		to     string // the address the name resolves to, and the port
		want   bool
	}{
		"everything is everything":                  {Policy{Everything: true}, "localhost", "127.0.0.1:80", true},
		"nothing until something is allowed":        {Policy{}, "api.example.org", "192.0.2.1:443", false},
		"a name":                                    {some, "API.example.org", "192.0.2.1:443", true},
		"a name with its final dot":                 {some, "api.example.org.", "192.0.2.1:443", true},
		"another name":                              {some, "api.example.com", "192.0.2.1:443", false},
		"a name that ends like one":                 {some, "my-api.example.org", "192.0.2.1:443", false},
		"a name below":                              {some, "a.below.example.org", "192.0.2.1:443", true},
		"the name itself is not below":              {some, "below.example.org", "192.0.2.1:443", false},
		"its port":                                  {some, "port.example.org", "192.0.2.1:8443", true},
		"another port":                              {some, "port.example.org", "192.0.2.1:443", false},
		"an address of a network":                   {some, "10.0.0.9", "10.0.0.9:1234", true},
		"a name that leads into an allowed one":     {some, "elsewhere", "10.0.0.9:1234", true},
		"an address outside":                        {some, "10.0.1.9", "10.0.1.9:1234", false},
		"an address and its port":                   {some, "192.0.2.7", "192.0.2.7:80", true},
		"an address and another port":               {some, "192.0.2.7", "192.0.2.7:81", false},
		"an IPv4 address in IPv6 clothes":           {some, "x", "[::ffff:10.0.0.9]:1234", true},
		"loopback behind an allowed name":           {some, "api.example.org", "127.0.0.1:443", false},
		"loopback, the whole net":                   {some, "api.example.org", "127.9.9.9:443", false},
		"loopback, IPv6":                            {some, "api.example.org", "[::1]:443", false},
		"loopback in IPv6 clothes":                  {some, "api.example.org", "[::ffff:127.0.0.1]:443", false},
		"loopback behind a translator":              {some, "api.example.org", "[64:ff9b::7f00:1]:443", false},
		"the unspecified address":                   {some, "api.example.org", "0.0.0.0:443", false},
		"link-local: the metadata service":          {some, "api.example.org", "169.254.169.254:80", false},
		"link-local behind a translator":            {some, "api.example.org", "[64:ff9b::a9fe:a9fe]:80", false},
		"link-local, IPv6":                          {some, "api.example.org", "[fe80::1]:80", false},
		"multicast":                                 {some, "api.example.org", "224.0.0.1:80", false},
		"Cairn's own Consul":                        {some, "10.0.0.5", "10.0.0.5:8500", false},
		"Cairn's own Consul behind a name":          {some, "api.example.org", "10.0.0.5:8500", false},
		"Cairn's own Consul in IPv6 clothes":        {some, "api.example.org", "[::ffff:10.0.0.5]:8500", false},
		"something else on the machine of Consul":   {some, "10.0.0.5", "10.0.0.5:80", true},
		"an entry that is none lets nothing pass":   {Policy{Hosts: []string{"http://x/"}}, "x", "192.0.2.1:80", false},
		"an address is not allowed by its own text": {Policy{Hosts: []string{"x"}}, "192.0.2.1", "192.0.2.1:80", false},
	} {
		t.Run(name, func(t *testing.T) {
			to := netip.MustParseAddrPort(tc.to)
			err := tc.policy.checkName(tc.host, strconv.Itoa(int(to.Port())))
			if err == nil {
				err = tc.policy.checkAddress(tc.host, to)
			}
			if (err == nil) != tc.want {
				t.Errorf("got %v, want allowed %t", err, tc.want)
			}
		})
	}
}

func TestPolicyValidate(t *testing.T) {
	good := Policy{Hosts: []string{"a.b", "*.a.b", "a.b:80", "10.0.0.0/8", "10.0.0.1", "10.0.0.1:80", "::1", "[::1]:80"}}
	if err := good.Validate(); err != nil {
		t.Errorf("got %v, want everything understood", err)
	}
	for _, text := range []string{"", "http://a", "a:", "a:b", "*", "a.*.b", "a b", "10.0.0.0/33"} {
		if err := (Policy{Hosts: []string{text}}).Validate(); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
