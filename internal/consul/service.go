// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	consulapi "github.com/hashicorp/consul/api"
)

// ServiceName is the name under which every server registers.
const ServiceName = "cairn"

// The metadata of the service: what the others must know before they write.
const (
	metaVersion = "cairn_version"
	metaFormat  = "cairn_format"
	metaName    = "cairn_name"
	metaPrefix  = "cairn_prefix" // of the keys: several stores may share a Consul
)

// FormatVersion is that of what this Cairn writes into the store.
const FormatVersion = entryVersion

// ServiceConfig is what Consul is told of this server.
type ServiceConfig struct {
	Name    string // of the server
	Address string // host:port of its API
	Health  string // URL that answers 200 as long as the process can serve
	Version string // of Cairn
}

// Service tells the local Consul agent of this server.
type Service struct {
	client *client
	cfg    ServiceConfig
	prefix string
}

// NewService makes no call.
func NewService(cfg Config, service ServiceConfig) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := newClient(&cfg)
	if err != nil {
		return nil, err
	}
	return &Service{client: c, cfg: service, prefix: cfg.Prefix}, nil
}

// id is that of the service at its agent: several servers may share an agent.
func (s *Service) id() string { return ServiceID(s.cfg.Name) }

// ServiceID is the ID of the service of a server.
func ServiceID(server string) string { return ServiceName + "-" + server }

// ProcessCheck is the ID of the check that falls with a server's process; the leadership is bound to it.
func ProcessCheck(server string) string { return ServiceID(server) + ":process" }

// Register tells the local agent of this server. It may be called again at any time.
func (s *Service) Register(ctx context.Context) error {
	host, text, err := net.SplitHostPort(s.cfg.Address)
	if err != nil {
		return fmt.Errorf("register at Consul: address %q: %w", s.cfg.Address, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("register at Consul: address %q: %w", s.cfg.Address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	// Over TLS the agent asks without a certificate, and takes any: it is to learn whether this process answers at its own
	// address, and whoever could answer in its place there has the machine.
	unverified := strings.HasPrefix(s.cfg.Health, "https://")
	err = s.client.api.Agent().ServiceRegisterOpts(&consulapi.AgentServiceRegistration{
		ID: s.id(), Name: ServiceName, Address: host, Port: port,
		Meta: map[string]string{metaVersion: s.cfg.Version, metaFormat: strconv.Itoa(FormatVersion), metaName: s.cfg.Name,
			metaPrefix: s.prefix},
		Checks: consulapi.AgentServiceChecks{
			{
				CheckID: s.id() + ":api", Name: "Cairn's API answers", HTTP: s.cfg.Health, Interval: "1s", Timeout: "1s",
				FailuresBeforeCritical: 3, Status: consulapi.HealthPassing, TLSSkipVerify: unverified,
			},
			{
				// A process that is gone refuses the connection, and is noticed by the next check. One that does not answer may
				// only be short of processor: it gets the whole timeout. A session cannot be made on a critical check, so that
				// it begins as passing.
				CheckID: ProcessCheck(s.cfg.Name), Name: "Cairn's process lives", HTTP: s.cfg.Health, Interval: "1s", Timeout: "3s",
				Status: consulapi.HealthPassing, TLSSkipVerify: unverified,
			},
		},
	}, (&consulapi.ServiceRegisterOpts{ReplaceExistingChecks: true}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("register at Consul: %w", err)
	}
	return nil
}

// Namesakes lists the servers of the same name at other addresses that live, as far as Consul knows. One that was started again
// at another address meets itself, until the checks of the one before have failed, or for as long as both addresses are its own.
func (s *Service) Namesakes(ctx context.Context) ([]Member, error) {
	list, err := s.Members(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(m Member) bool {
		return m.Name != s.cfg.Name || m.Address == s.cfg.Address || m.Problem != ""
	}), nil
}

// Registered reports whether the local agent still knows this server, at its address: one that was started anew on empty data
// does not.
func (s *Service) Registered(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	found, _, err := s.client.api.Agent().Service(s.id(), (&consulapi.QueryOptions{}).WithContext(ctx))
	var status consulapi.StatusError
	if errors.As(err, &status) && status.Code == 404 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask Consul for this server: %w", err)
	}
	return net.JoinHostPort(found.Address, strconv.Itoa(found.Port)) == s.cfg.Address, nil
}

// Deregister takes the server out.
func (s *Service) Deregister(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	if err := s.client.api.Agent().ServiceDeregisterOpts(s.id(), (&consulapi.QueryOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("deregister at Consul: %w", err)
	}
	return nil
}
