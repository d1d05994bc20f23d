// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"testing"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"
)

// NewToken makes a token with a policy of these rules, and returns its secret. The
// name is that of both. It needs ACL.
func (n *NomadCluster) NewToken(tb testing.TB, name, rules string) string {
	tb.Helper()
	client := n.Client()
	defer client.Close()
	if _, err := client.ACLPolicies().Upsert(&nomadapi.ACLPolicy{Name: name, Rules: rules}, nil); err != nil {
		tb.Fatalf("policy %s: %v", name, err)
	}
	token, _, err := client.ACLTokens().Create(&nomadapi.ACLToken{Name: name, Type: "client", Policies: []string{name}}, nil)
	if err != nil {
		tb.Fatalf("token %s: %v", name, err)
	}
	return token.SecretID
}

// NewNamespace makes a namespace.
func (n *NomadCluster) NewNamespace(tb testing.TB, name string) {
	tb.Helper()
	client := n.Client()
	defer client.Close()
	if _, err := client.Namespaces().Register(&nomadapi.Namespace{Name: name}, nil); err != nil {
		tb.Fatalf("namespace %s: %v", name, err)
	}
}

// NewToken makes a token with a policy of these rules, and returns its secret. It
// needs ACL.
func (c *ConsulCluster) NewToken(tb testing.TB, name, rules string) string {
	tb.Helper()
	acl := c.Client().ACL()
	if _, _, err := acl.PolicyCreate(&consulapi.ACLPolicy{Name: name, Rules: rules}, nil); err != nil {
		tb.Fatalf("policy %s: %v", name, err)
	}
	token, _, err := acl.TokenCreate(&consulapi.ACLToken{Description: name, Policies: []*consulapi.ACLTokenPolicyLink{{Name: name}}}, nil)
	if err != nil {
		tb.Fatalf("token %s: %v", name, err)
	}
	return token.SecretID
}
