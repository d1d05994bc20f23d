// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package config reads the configuration of a Cairn server: HCL files over DefaultConfig.
package config

import (
	"cmp"
	"os"
	"time"
)

// Config is the configuration of a server.
type Config struct {
	Name     string // of this server: unique among those that share a store
	DataDir  string
	LogLevel string
	HTTP     HTTP
	TLS      TLS
	Access   Access
	Nomad    Nomad
	Consul   Consul
	Limits   Limits
	Calls    Calls
	// Retention and Archive are about runs that are over.
	Retention Retention
	Archive   Archive
	Backup    Backup
}

// HTTP says where the API is served.
type HTTP struct {
	Bind      string // host:port; port 0 draws one
	Advertise string // host:port at which others reach it; empty: what Bind became
}

// TLS says how the API is served, and how servers trust each other, with the names that Nomad's agents have for that. All
// files are PEM, and read again on SIGHUP.
type TLS struct {
	HTTP     bool   // serve https, and nothing else
	CAFile   string // who is trusted: of other servers, and of callers where VerifyHTTPSClient is set
	CertFile string
	KeyFile  string
	// VerifyHTTPSClient refuses callers without a certificate of that authority, but for the health of the server, which
	// Consul asks for without one.
	VerifyHTTPSClient bool
}

// The access modes.
const (
	AccessNone  = "none"  // whoever reaches the API may do everything
	AccessNomad = "nomad" // whatever Nomad lets the caller's own token do
)

// Access says who may do what.
type Access struct {
	Mode           string
	OperatorPolicy string // ACL policy of Nomad that makes operators; empty: only management tokens are
}

// Nomad says where tasks run. What is empty is taken from the variables that Nomad's own command line reads.
type Nomad struct {
	Address       string
	Region        string
	Moved         []string // names of regions and data centres that have become others: old=new
	TokenFile     string
	CACert        string
	ClientCert    string
	ClientKey     string
	TLSServerName string
}

// Consul says where state is kept. What is empty is taken from the variables that Consul's own command line reads.
type Consul struct {
	Address       string
	Prefix        string
	TokenFile     string
	CACert        string
	ClientCert    string
	ClientKey     string
	TLSServerName string
}

// Limits bound what a server does at once.
type Limits struct {
	MaxInflight int // attempts that are with Nomad at once, over all runs
	MaxWatches  int // requests that wait at this server at once
}

// Calls says what http tasks may call.
type Calls struct {
	Allow []string // hosts
}

// Retention says which runs that are over stay in the store: those that fit all of it.
type Retention struct {
	Runs  int
	Age   time.Duration
	Bytes int64
}

// Archive is where runs go that leave the store.
type Archive struct {
	Folder string // empty: archive in the data folder
}

// Backup says how the leader backs up what is stored: by snapshots of all of Consul.
type Backup struct {
	Enabled    bool
	Interval   time.Duration
	Retain     int           // backups
	Age        time.Duration // at most
	Folder     string        // empty: backup in the data folder
	TokenFile  string        // of the token for snapshots; empty: that for everything
	Recipients []string      // public keys of age; none: backups are not encrypted
}

// DefaultConfig returns the default of every setting.
func DefaultConfig() Config {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return Config{
		Name:     cmp.Or(host, "cairn"),
		LogLevel: "INFO",
		HTTP:     HTTP{Bind: "127.0.0.1:4680"},
		Access:   Access{Mode: AccessNone},
		Consul:   Consul{Prefix: "cairn/"},
		Limits: Limits{
			MaxInflight: 1000,   // Nomad's servers have fallen over at 30,000 pending jobs
			MaxWatches:  20_000, // about 1 GB at the leader
		},
		// What Consul carries without being felt: it answers with what retention reads of so many runs in one read of 0.9 MB,
		// measured, and its snapshots are taken and sent whole.
		Retention: Retention{Runs: 2000, Age: 7 * 24 * time.Hour, Bytes: 256 << 20},
		Backup:    Backup{Enabled: true, Interval: time.Hour, Retain: 48, Age: 30 * 24 * time.Hour},
	}
}
