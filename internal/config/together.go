// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package config

import (
	"net"

	"github.com/hashicorp/hcl/v2"
)

// Loopback reports whether only this machine reaches an address with a host.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// together says which settings do not go together. places is where they are written.
func (c *Config) together(places map[string]hcl.Range) []Problem {
	var problems []Problem
	refuse := func(setting, detail string) {
		r := places[setting]
		problems = append(problems, at(r, "Settings that do not go together", detail))
	}
	t := c.TLS
	for name, path := range map[string]string{"tls.ca_file": t.CAFile, "tls.cert_file": t.CertFile, "tls.key_file": t.KeyFile} {
		if path != "" && !t.HTTP {
			refuse(name, name+" is of no use without tls.http = true. Write that too, or leave the file out.")
		}
	}
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		refuse("tls.cert_file", "tls.cert_file needs tls.key_file, the key of the certificate.")
	case t.KeyFile != "" && t.CertFile == "":
		refuse("tls.key_file", "tls.key_file needs tls.cert_file, the certificate of the key.")
	case t.HTTP && t.CertFile == "":
		refuse("tls.http", "tls.http needs tls.cert_file and tls.key_file, this server's certificate and its key.")
	}
	switch {
	case t.VerifyHTTPSClient && !t.HTTP:
		refuse("tls.verify_https_client", "tls.verify_https_client is of no use without tls.http = true: only callers over TLS have certificates.")
	case t.VerifyHTTPSClient && t.CAFile == "":
		refuse("tls.verify_https_client", "tls.verify_https_client needs tls.ca_file, the authority of the callers' certificates: every certificate of a public one would do otherwise.")
	}
	if c.Access.OperatorPolicy != "" && c.Access.Mode != AccessNomad {
		refuse("access.operator_policy", "access.operator_policy is of no use with access.mode = \"none\": everybody is an operator then. Set the mode to nomad.")
	}
	host, _, err := net.SplitHostPort(c.HTTP.Bind)
	if err != nil || Loopback(host) {
		return problems
	}
	if c.Access.Mode == AccessNone && !(t.HTTP && t.VerifyHTTPSClient) {
		refuse("http.bind", "Everybody who reaches this address could do everything. Set access { mode = \"nomad\" }, or tls { http = true, verify_https_client = true } with its files, or bind to an address of loopback, as in 127.0.0.1:4680.")
	}
	if ip := net.ParseIP(host); (host == "" || ip != nil && ip.IsUnspecified()) && c.HTTP.Advertise == "" {
		refuse("http.bind", "http.bind stands for all addresses of this machine, and the other servers need one of them. Set http.advertise too.")
	}
	return problems
}
