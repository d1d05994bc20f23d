// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"errors"
	"fmt"

	consulapi "github.com/hashicorp/consul/api"
)

// AgentFacts is how the agent of Consul that a server talks to is set up, by its own word.
type AgentFacts struct {
	Version  string
	ACL      bool // access control is on
	MaxValue int  // bytes of a value: limits.kv_max_value_size
	MaxTxn   int  // bytes of a transaction: limits.txn_max_req_len
	MaxConns int  // connections from one address: limits.http_max_conns_per_client
}

// Inspect asks the agent how it is set up. It takes agent:read.
func (s *Service) Inspect(ctx context.Context) (AgentFacts, error) {
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	var answer struct {
		DebugConfig *struct {
			Version               string
			ACLsEnabled           bool
			KVMaxValueSize        int
			TxnMaxReqLen          int
			HTTPMaxConnsPerClient int
		}
	}
	_, err := s.client.api.Raw().Query("/v1/agent/self", &answer, (&consulapi.QueryOptions{}).WithContext(ctx))
	if err == nil && answer.DebugConfig == nil {
		err = errors.New("it does not tell")
	}
	if err != nil {
		return AgentFacts{}, fmt.Errorf("ask Consul's agent for its configuration: %w", err)
	}
	c := answer.DebugConfig
	return AgentFacts{Version: c.Version, ACL: c.ACLsEnabled, MaxValue: c.KVMaxValueSize, MaxTxn: c.TxnMaxReqLen, MaxConns: c.HTTPMaxConnsPerClient}, nil
}
