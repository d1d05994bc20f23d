// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConfigValidate(t *testing.T) {
	good := DefaultConfig()
	good.Cluster = testCluster
	if err := good.Validate(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"cluster":            func(c *Config) { c.Cluster = "prod" },
		"127.0.0.1:4646":     func(c *Config) { c.Address = "127.0.0.1:4646" },
		"client certificate": func(c *Config) { c.TLS.ClientCert = "cert.pem" },
		"CallTimeout":        func(c *Config) { c.CallTimeout = 0 },
		"keep_jobs":          func(c *Config) { c.KeepJobs = time.Minute },
		"jobs to keep":       func(c *Config) { c.KeepNewest = 0 },
	} {
		bad := good
		change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
		if _, err := New(bad); err == nil {
			t.Errorf("an executor was made in spite of %q", want)
		}
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	env := map[string]string{"NOMAD_ADDR": "https://nomad:4646", "NOMAD_TOKEN": "secret", "NOMAD_SKIP_VERIFY": "true", "NOMAD_REGION": "eu"}
	got := DefaultConfig().WithEnvironment(func(name string) string { return env[name] })
	type part struct {
		Address, Token, Region string
		Insecure               bool
	}
	want := part{"https://nomad:4646", "secret", "eu", true}
	if diff := cmp.Diff(want, part{got.Address, got.Token, got.Region, got.TLS.Insecure}); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}
