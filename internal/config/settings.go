// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting is one setting of the configuration.
type Setting struct {
	Block string // it stands in; empty: at the top
	Name  string
	About string // a sentence

	text     func(*Config) *string // one of these is set
	number   func(*Config) *int
	list     func(*Config) *[]string
	yes      func(*Config) *bool
	duration func(*Config) *time.Duration
	size     func(*Config) *int64    // in bytes
	check    func(text string) error // of a text that is not empty; may be nil
	low      int64                   // of a number, a duration or a size
	high     int64
}

// Settings lists every setting, in the order in which people read them.
func Settings() []Setting {
	return []Setting{
		{Name: "name", About: "Name of this server, unique among those that share a store. The machine's name by default.",
			text: func(c *Config) *string { return &c.Name }, check: checkName},
		{Name: "data_dir", About: "Folder of what this server keeps for itself. Needed, but for -dev.",
			text: func(c *Config) *string { return &c.DataDir }, check: checkPath},
		{Name: "log_level", About: "What is logged, and worse: TRACE, DEBUG, INFO, WARN or ERROR. Read again on SIGHUP.",
			text: func(c *Config) *string { return &c.LogLevel }, check: oneOf("TRACE", "DEBUG", "INFO", "WARN", "ERROR")},
		{Block: "http", Name: "bind", About: "Address and port of the HTTP API; port 0 draws a free one. One that is not of loopback needs access control or mTLS.",
			text: func(c *Config) *string { return &c.HTTP.Bind }, check: checkBind},
		{Block: "http", Name: "advertise", About: "Address and port at which the other servers and Consul reach the API; what bind became by default.",
			text: func(c *Config) *string { return &c.HTTP.Advertise }, check: checkHostPort},
		{Block: "tls", Name: "http", About: "Whether the API is served over TLS (https), and only so.",
			yes: func(c *Config) *bool { return &c.TLS.HTTP }},
		{Block: "tls", Name: "ca_file", About: "File with the certificates of the authority that other servers, and callers, are trusted by. That of the system by default.",
			text: func(c *Config) *string { return &c.TLS.CAFile }, check: checkPath},
		{Block: "tls", Name: "cert_file", About: "File with this server's certificate, for callers and for other servers. Read again on SIGHUP, like the other two files.",
			text: func(c *Config) *string { return &c.TLS.CertFile }, check: checkPath},
		{Block: "tls", Name: "key_file", About: "File with the key of that certificate.",
			text: func(c *Config) *string { return &c.TLS.KeyFile }, check: checkPath},
		{Block: "tls", Name: "verify_https_client", About: "Whether callers need a certificate of the authority in ca_file (mTLS). The health of the server is told without one.",
			yes: func(c *Config) *bool { return &c.TLS.VerifyHTTPSClient }},
		{Block: "access", Name: "mode", About: "Who may do what: nomad asks Nomad with the caller's own ACL token; none lets everybody do everything, on loopback or behind mTLS only.",
			text: func(c *Config) *string { return &c.Access.Mode }, check: exactly(AccessNone, AccessNomad)},
		{Block: "access", Name: "operator_policy", About: "ACL policy of Nomad whose tokens may use the verbs of operators. Only management tokens may by default.",
			text: func(c *Config) *string { return &c.Access.OperatorPolicy }, check: checkPolicy},
		{Block: "nomad", Name: "address", About: "URL of Nomad's HTTP API. NOMAD_ADDR, or http://127.0.0.1:4646, by default.",
			text: func(c *Config) *string { return &c.Nomad.Address }, check: checkURL},
		{Block: "nomad", Name: "region", About: "Region of jobs that name none. NOMAD_REGION, or the agent's own, by default.",
			text: func(c *Config) *string { return &c.Nomad.Region }},
		{Block: "nomad", Name: "moved", About: "Names of regions and data centres that have become others, as in north=south: what runs were made for in the one goes to the other. None by default.",
			list: func(c *Config) *[]string { return &c.Nomad.Moved }},
		{Block: "nomad", Name: "token_file", About: "File with the ACL token; it is read again when Nomad refuses it. NOMAD_TOKEN by default.",
			text: func(c *Config) *string { return &c.Nomad.TokenFile }, check: checkPath},
		{Block: "nomad", Name: "ca_cert", About: "File with the certificate of Nomad's authority. NOMAD_CACERT by default.",
			text: func(c *Config) *string { return &c.Nomad.CACert }, check: checkPath},
		{Block: "nomad", Name: "client_cert", About: "File with this server's certificate for Nomad. NOMAD_CLIENT_CERT by default.",
			text: func(c *Config) *string { return &c.Nomad.ClientCert }, check: checkPath},
		{Block: "nomad", Name: "client_key", About: "File with the key of that certificate. NOMAD_CLIENT_KEY by default.",
			text: func(c *Config) *string { return &c.Nomad.ClientKey }, check: checkPath},
		{Block: "nomad", Name: "tls_server_name", About: "Name that Nomad's certificate is for. NOMAD_TLS_SERVER_NAME, or the address's, by default.",
			text: func(c *Config) *string { return &c.Nomad.TLSServerName }},
		{Block: "consul", Name: "address", About: "Address of the local Consul agent. CONSUL_HTTP_ADDR, or 127.0.0.1:8500, by default.",
			text: func(c *Config) *string { return &c.Consul.Address }},
		{Block: "consul", Name: "prefix", About: "Prefix of every key in Consul's KV store; it ends with a slash.",
			text: func(c *Config) *string { return &c.Consul.Prefix }, check: checkPrefix},
		{Block: "consul", Name: "token_file", About: "File with the ACL token. CONSUL_HTTP_TOKEN by default.",
			text: func(c *Config) *string { return &c.Consul.TokenFile }, check: checkPath},
		{Block: "consul", Name: "ca_cert", About: "File with the certificate of Consul's authority. CONSUL_CACERT by default.",
			text: func(c *Config) *string { return &c.Consul.CACert }, check: checkPath},
		{Block: "consul", Name: "client_cert", About: "File with this server's certificate for Consul. CONSUL_CLIENT_CERT by default.",
			text: func(c *Config) *string { return &c.Consul.ClientCert }, check: checkPath},
		{Block: "consul", Name: "client_key", About: "File with the key of that certificate. CONSUL_CLIENT_KEY by default.",
			text: func(c *Config) *string { return &c.Consul.ClientKey }, check: checkPath},
		{Block: "consul", Name: "tls_server_name", About: "Name that Consul's certificate is for. CONSUL_TLS_SERVER_NAME, or the address's, by default.",
			text: func(c *Config) *string { return &c.Consul.TLSServerName }},
		{Block: "limits", Name: "max_inflight", About: "Attempts that are with Nomad at once, over all runs; the others wait in Cairn.",
			number: func(c *Config) *int { return &c.Limits.MaxInflight }, low: 1, high: 30_000},
		{Block: "limits", Name: "max_watches", About: "Requests that wait at this server at once: blocking reads, streams of events, logs that are followed. More are refused with 429.",
			number: func(c *Config) *int { return &c.Limits.MaxWatches }, low: 1, high: 1_000_000},
		{Block: "http_calls", Name: "allow", About: "Destinations that http tasks may call: names, *.names, addresses and networks, with or without a port. None by default.",
			list: func(c *Config) *[]string { return &c.Calls.Allow }},
		{Block: "retention", Name: "runs", About: "Runs that are over and stay in the store: the newest so many. The others leave it for the archive.",
			number: func(c *Config) *int { return &c.Retention.Runs }, low: 1, high: 20_000},
		{Block: "retention", Name: "age", About: "How long after its end a run stays in the store at most.",
			duration: func(c *Config) *time.Duration { return &c.Retention.Age }, low: int64(time.Minute), high: int64(10 * 365 * 24 * time.Hour)},
		{Block: "retention", Name: "bytes", About: "What the runs that are over take up in the store together at most.",
			size: func(c *Config) *int64 { return &c.Retention.Bytes }, low: 1 << 20, high: 4 << 30},
		{Block: "archive", Name: "folder", About: "Folder of the runs that have left the store; archive in data_dir by default. The server that leads writes and reads " +
			"its own: put it on storage that all servers share, or a new leader cannot show what another one has archived until that one leads again.",
			text: func(c *Config) *string { return &c.Archive.Folder }, check: checkPath},
		{Block: "backup", Name: "enabled", About: "Whether the server that leads takes snapshots of all of Consul by itself.",
			yes: func(c *Config) *bool { return &c.Backup.Enabled }},
		{Block: "backup", Name: "interval", About: "Time from one snapshot to the next.",
			duration: func(c *Config) *time.Duration { return &c.Backup.Interval }, low: int64(time.Minute), high: int64(30 * 24 * time.Hour)},
		{Block: "backup", Name: "retain", About: "Snapshots that are kept: the newest so many. The newest one is always kept.",
			number: func(c *Config) *int { return &c.Backup.Retain }, low: 1, high: 10_000},
		{Block: "backup", Name: "age", About: "How long a snapshot is kept at most.",
			duration: func(c *Config) *time.Duration { return &c.Backup.Age }, low: int64(time.Hour), high: int64(10 * 365 * 24 * time.Hour)},
		{Block: "backup", Name: "folder", About: "Folder of the snapshots; backup in data_dir by default. The server that leads writes its own: put it on storage that all servers " +
			"share and that outlives their machines. Snapshots hold all secrets of Consul.",
			text: func(c *Config) *string { return &c.Backup.Folder }, check: checkPath},
		{Block: "backup", Name: "token_file", About: "File with the Consul ACL token for snapshots, which needs acl = \"write\". That of block consul by default.",
			text: func(c *Config) *string { return &c.Backup.TokenFile }, check: checkPath},
		{Block: "backup", Name: "recipients", About: "Public keys of age (age1…), for whose private keys snapshots are encrypted. They are not encrypted by default.",
			list: func(c *Config) *[]string { return &c.Backup.Recipients }},
	}
}

// path is the name of a setting with that of its block.
func (s *Setting) path() string {
	if s.Block == "" {
		return s.Name
	}
	return s.Block + "." + s.Name
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

func checkName(text string) error {
	if !nameForm.MatchString(text) {
		return errors.New("want 1 to 63 letters, digits, dots, dashes and underscores, with a letter or digit at both ends")
	}
	return nil
}

func checkPath(text string) error {
	if !filepath.IsAbs(text) {
		return errors.New("want an absolute path: a server may be started anywhere")
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(text string) error {
		if !slices.Contains(words, strings.ToUpper(text)) {
			return fmt.Errorf("want one of %s", strings.Join(words, ", "))
		}
		return nil
	}
}

func exactly(words ...string) func(string) error {
	return func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("want %s", strings.Join(words, " or "))
		}
		return nil
	}
}

// policyForm is that of the names of Nomad's policies.
var policyForm = regexp.MustCompile(`^[a-zA-Z0-9-]{1,128}$`)

func checkPolicy(text string) error {
	if !policyForm.MatchString(text) {
		return errors.New("want the name of a policy: 1 to 128 letters, digits and dashes")
	}
	return nil
}

func checkHostPort(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return errors.New("want an address and a port, as in 10.0.0.5:4680")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("port %s: want a number from 1 to 65535", port)
	}
	return nil
}

func checkBind(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return errors.New("want an address and a port, as in 127.0.0.1:4680")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %s: want a number from 0 to 65535", port)
	}
	return nil
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") && (u.Scheme != "unix" || u.Path == "") {
		return errors.New("want a URL, as in https://127.0.0.1:4646")
	}
	return nil
}

func checkPrefix(text string) error {
	if text == "/" || strings.HasPrefix(text, "/") || !strings.HasSuffix(text, "/") || strings.Contains(text, "//") ||
		strings.Contains(text, "./") || strings.TrimSpace(text) != text {
		return errors.New("want names with a slash after each, as in cairn/")
	}
	return nil
}

// units of sizes, the largest first.
var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// parseSize reads a whole number of a unit.
func parseSize(text string) (int64, error) {
	for _, unit := range units {
		number, found := strings.CutSuffix(text, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/unit.bytes {
			break
		}
		return n * unit.bytes, nil
	}
	return 0, errors.New("want a whole number of B, KiB, MiB or GiB, as in 256MiB")
}

// formatSize writes a size as parseSize reads it.
func formatSize(n int64) string {
	for _, unit := range units {
		if n%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", n/unit.bytes, unit.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}
