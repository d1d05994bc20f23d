// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"fmt"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/workers"
)

// NomadClient is the name under which Nomad registers its clients unless it is told another one.
const NomadClient = "nomad-client"

// serfHealth is the check of a machine by gossip, which every agent has.
const serfHealth = "serfHealth"

// Machines says how Consul finds the machines of a datacenter that have an agent of it, by name, and the Nomad clients on them.
// A client whose check the token may not read has none here. No datacenter is that of the agent.
func (s *Service) Machines(ctx context.Context, datacenter string) (map[string]workers.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	q := (&consulapi.QueryOptions{
		RequireConsistent: true, Datacenter: datacenter, Filter: fmt.Sprintf("CheckID == %q or ServiceName == %q", serfHealth, NomadClient),
	}).WithContext(ctx)
	checks, _, err := s.client.api.Health().State(consulapi.HealthAny, q)
	if err != nil {
		return nil, fmt.Errorf("ask Consul for the health of machines: %w", err)
	}
	machines := map[string]workers.Machine{}
	for _, c := range checks {
		m := machines[c.Node]
		check := workers.Check{Status: workers.CheckStatus(c.Status), Output: said(c)}
		if c.CheckID == serfHealth {
			m.Alive = check
		} else if m.Client.Status != workers.Critical { // of several clients on a machine, the worst
			m.Client = check
		}
		machines[c.Node] = m
	}
	return machines, nil
}

// LostMachines names the machines of a datacenter that gossip has lost, as the agent has heard: a cheap question, whose answer
// may be behind. No datacenter is that of the agent.
func (s *Service) LostMachines(ctx context.Context, datacenter string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	q := (&consulapi.QueryOptions{AllowStale: true, Datacenter: datacenter, Filter: fmt.Sprintf("CheckID == %q", serfHealth)}).WithContext(ctx)
	checks, _, err := s.client.api.Health().State(consulapi.HealthCritical, q)
	if err != nil {
		return nil, fmt.Errorf("ask Consul for lost machines: %w", err)
	}
	var names []string
	for _, c := range checks {
		names = append(names, c.Node)
	}
	return names, nil
}
