// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config says which Nomad to use, and how patiently.
type Config struct {
	Address string // http://host:port, https://host:port or unix:///path
	Region  string // region of bodies that name none; empty = the agent's own
	Moved   Moved
	// Token is used unless TokenFile names a file, which is read at the first call and again whenever Nomad answers 403.
	Token     string
	TokenFile string
	HTTPAuth  string // user:password for a proxy before Nomad
	TLS       TLS

	// Cluster is the UUID made with the store (scheduler.Store.Cluster). Jobs of other clusters are never touched.
	Cluster string
	Logger  hclog.Logger
	// OnRestore is called when Nomad's index has gone backwards, before anything else is read: Nomad itself was restored
	// from a snapshot, and jobs of attempts long over may run again. The server sweeps. Optional.
	OnRestore func(ctx context.Context)
	// Now is the wall clock; nil = time.Now.
	Now func() time.Time

	// CallTimeout bounds each call to Nomad.
	CallTimeout time.Duration
	// ListEvery is the time between two lists of the jobs in flight. The event stream makes it a backstop.
	ListEvery time.Duration
	// LostAfter is the least time between the two lists after which a job that Nomad does not know is lost.
	LostAfter time.Duration
	// RollPatience is how long a worker says nothing of a task that Nomad calls running, when Nomad may have been restored,
	// before the task's job is stopped for that; and the pause between two questions.
	RollPatience time.Duration
	// IntentLimit is how long after its intent a start whose outcome is unknown is repeated; later it is given up.
	IntentLimit time.Duration
	// LossMargin is added to stop_after and kill_timeout before a lost worker's task is taken for dead: for clocks that run
	// apart and agents that pause.
	LossMargin time.Duration
	// OutputPatience is how long an output file is asked for whose worker does not answer.
	OutputPatience time.Duration

	// KeepJobs and KeepFailedJobs are how long a job stays in Nomad after its verdict; KeepNewest bounds their number. A
	// recovery from an older snapshot of the store needs larger values: it adopts only what Nomad still knows.
	KeepJobs       time.Duration
	KeepFailedJobs time.Duration
	KeepNewest     int
}

// TLS is what Nomad's own client takes: paths of files.
type TLS struct {
	CACert     string
	CAPath     string
	ClientCert string
	ClientKey  string
	ServerName string
	Insecure   bool
}

// MinKeepJobs is how long a job stays at least: a verdict saved by a leader that is just being deposed may be judged anew.
const MinKeepJobs = 10 * time.Minute

// DefaultConfig returns a configuration that lacks only Cluster.
func DefaultConfig() Config {
	return Config{
		Address:        "http://127.0.0.1:4646",
		Logger:         hclog.NewNullLogger(),
		Now:            time.Now,
		CallTimeout:    15 * time.Second,
		ListEvery:      30 * time.Second,
		LostAfter:      10 * time.Second,
		RollPatience:   15 * time.Second,
		IntentLimit:    30 * time.Minute,
		LossMargin:     15 * time.Second,
		OutputPatience: 5 * time.Minute,
		KeepJobs:       time.Hour,
		KeepFailedJobs: 4 * time.Hour,
		KeepNewest:     20_000,
	}
}

// WithEnvironment overlays the variables that Nomad's own command line reads.
func (c Config) WithEnvironment(getenv func(string) string) Config {
	for name, field := range map[string]*string{
		"NOMAD_ADDR":            &c.Address,
		"NOMAD_REGION":          &c.Region,
		"NOMAD_TOKEN":           &c.Token,
		"NOMAD_HTTP_AUTH":       &c.HTTPAuth,
		"NOMAD_CACERT":          &c.TLS.CACert,
		"NOMAD_CAPATH":          &c.TLS.CAPath,
		"NOMAD_CLIENT_CERT":     &c.TLS.ClientCert,
		"NOMAD_CLIENT_KEY":      &c.TLS.ClientKey,
		"NOMAD_TLS_SERVER_NAME": &c.TLS.ServerName,
	} {
		if v := getenv(name); v != "" {
			*field = v
		}
	}
	if skip, err := strconv.ParseBool(getenv("NOMAD_SKIP_VERIFY")); err == nil {
		c.TLS.Insecure = skip
	}
	return c
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u, err := url.Parse(c.Address); err != nil {
		bad("Nomad's address %q: %w", c.Address, err)
	} else if (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") && u.Scheme != "unix" {
		bad("Nomad's address %q: want http://host:port, https://host:port or unix:///path", c.Address)
	}
	if !uuidForm.MatchString(c.Cluster) {
		bad("cluster %q: want a UUID in lower case", c.Cluster)
	}
	if (c.TLS.ClientCert == "") != (c.TLS.ClientKey == "") {
		bad("TLS: a client certificate and its key are given together")
	}
	for name, d := range map[string]time.Duration{
		"CallTimeout": c.CallTimeout, "ListEvery": c.ListEvery, "LostAfter": c.LostAfter, "RollPatience": c.RollPatience, "IntentLimit": c.IntentLimit,
	} {
		if d <= 0 {
			bad("%s is %s: want more than 0", name, d)
		}
	}
	if c.KeepJobs < MinKeepJobs || c.KeepFailedJobs < MinKeepJobs {
		bad("keep_jobs is %s and %s for failed ones: want at least %s", c.KeepJobs, c.KeepFailedJobs, MinKeepJobs)
	}
	if c.KeepNewest < 1 {
		bad("the number of jobs to keep is %d: want at least 1", c.KeepNewest)
	}
	return errors.Join(errs...)
}
