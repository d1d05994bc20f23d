// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/access"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// aclOf asks the Nomad at an address.
func aclOf(t *testing.T, address string) *ACL {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Address, cfg.Cluster = address, "9d7c6e1a-0000-4000-8000-000000000000"
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e.ACL()
}

// granting makes tokens.
type granting struct {
	t   *testing.T
	api *nomadapi.Client
}

func (g granting) policy(name, rules string) {
	g.t.Helper()
	if _, err := g.api.ACLPolicies().Upsert(&nomadapi.ACLPolicy{Name: name, Rules: rules}, nil); err != nil {
		g.t.Fatal(err)
	}
}

func (g granting) token(token nomadapi.ACLToken) *nomadapi.ACLToken {
	g.t.Helper()
	if token.Type == "" {
		token.Type = "client"
	}
	made, _, err := g.api.ACLTokens().Create(&token, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return made
}

func TestNomadSaysWhoCallersAreAndWhatTheyMayDo(t *testing.T) {
	t.Parallel()
	n := testcluster.Nomad(t, testcluster.NomadConfig{ACL: true})
	g := granting{t, n.Client()}
	for _, ns := range []string{"team", "strict"} {
		space := nomadapi.Namespace{Name: ns}
		if ns == "strict" {
			// What such a namespace says of drivers is not what is asked.
			space.Capabilities = &nomadapi.NamespaceCapabilities{EnabledTaskDrivers: []string{"docker"}}
		}
		if _, err := g.api.Namespaces().Register(&space, nil); err != nil {
			t.Fatal(err)
		}
	}
	g.policy("run", `namespace "team" { capabilities = ["submit-job"] }`)
	g.policy("read", `namespace "team" { capabilities = ["list-jobs"] }`)
	g.policy("write", "namespace \"strict\" {\n policy = \"write\"\n}\nnamespace \"default\" {\n policy = \"scale\"\n}")
	if _, _, err := g.api.ACLRoles().Create(&nomadapi.ACLRole{Name: "both", Policies: []*nomadapi.ACLRolePolicyLink{{Name: "run"}, {Name: "read"}}}, nil); err != nil {
		t.Fatal(err)
	}
	acl := aclOf(t, n.Address())
	run, read := g.token(nomadapi.ACLToken{Name: "runner", Policies: []string{"run"}}), g.token(nomadapi.ACLToken{Name: "reader", Policies: []string{"read"}})
	write := g.token(nomadapi.ACLToken{Name: "writer", Policies: []string{"write"}})
	role := g.token(nomadapi.ACLToken{Roles: []*nomadapi.ACLTokenRoleLink{{Name: "both"}}})
	gone := g.token(nomadapi.ACLToken{Name: "gone", Policies: []string{"run"}})
	if _, err := g.api.ACLTokens().Delete(gone.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	boss, _, err := g.api.ACLTokens().Self(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token string
		who   access.Caller
		err   error
		may   string // in turn: run in team, read in team, run in strict, read in strict, run in default, run in a namespace that is not there
	}{
		"one that may run":         {run.SecretID, access.Caller{Name: "runner", Accessor: run.AccessorID, Policies: []string{"run"}}, nil, "yes no no no no no"},
		"one that may read":        {read.SecretID, access.Caller{Name: "reader", Accessor: read.AccessorID, Policies: []string{"read"}}, nil, "no yes no no no no"},
		"one that may elsewhere":   {write.SecretID, access.Caller{Name: "writer", Accessor: write.AccessorID, Policies: []string{"write"}}, nil, "no no yes yes no no"},
		"one with a role":          {role.SecretID, access.Caller{Accessor: role.AccessorID, Policies: []string{"read", "run"}}, nil, "yes yes no no no no"},
		"one that may everything":  {boss.SecretID, access.Caller{Name: boss.Name, Accessor: boss.AccessorID, Management: true}, nil, "yes yes yes yes yes yes"},
		"one that is not there":    {"00000000-0000-0000-0000-000000000000", access.Caller{}, access.ErrDenied, "no no no no no no"},
		"one that was taken away":  {gone.SecretID, access.Caller{}, access.ErrDenied, "no no no no no no"},
		"one that is none":         {"x y\nz", access.Caller{}, access.ErrDenied, "no no no no no no"},
		"nobody's":                 {"", access.Caller{Name: "Anonymous Token", Accessor: "anonymous"}, nil, "no no no no no no"},
		"the public ID of a token": {run.AccessorID, access.Caller{}, access.ErrDenied, "no no no no no no"},
	} {
		who, err := acl.Whose(t.Context(), c.token)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		if diff := cmp.Diff(c.who, who); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		var may []string
		for _, q := range []struct {
			right     access.Right
			namespace string
		}{{access.Run, "team"}, {access.Read, "team"}, {access.Run, "strict"}, {access.Read, "strict"}, {access.Run, "default"}, {access.Run, "nowhere"}} {
			yes, err := acl.May(t.Context(), c.token, q.right, q.namespace)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			may = append(may, map[bool]string{true: "yes", false: "no"}[yes])
		}
		if got := strings.Join(may, " "); got != c.may {
			t.Errorf("%s may: %s, want %s", name, got, c.may)
		}
	}
	for _, namespace := range []string{"*", "", "nowhere/team", "team?region=x"} {
		if yes, err := acl.May(t.Context(), boss.SecretID, access.Run, namespace); yes || err != nil {
			t.Errorf("whoever may everything may run in %q: %v, %v", namespace, yes, err)
		}
	}
	if jobs, _, err := g.api.Jobs().List(&nomadapi.QueryOptions{Namespace: "*"}); err != nil || len(jobs) > 0 {
		t.Errorf("asking made %d jobs, %v", len(jobs), err)
	}
	// What everybody may is what its policy says.
	g.policy("anonymous", `namespace "team" { policy = "read" }`)
	if who, err := acl.Whose(t.Context(), ""); err != nil || cmp.Diff(who.Policies, []string{"anonymous"}) != "" {
		t.Errorf("everybody is %+v, %v", who, err)
	}
	if yes, err := acl.May(t.Context(), "", access.Read, "team"); !yes || err != nil {
		t.Errorf("everybody may not read: %v", err)
	}
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := acl.Whose(t.Context(), run.SecretID); err == nil || errors.Is(err, access.ErrDenied) {
		t.Errorf("without Nomad: %v, want to hear that it does not answer", err)
	}
	if _, err := acl.May(t.Context(), run.SecretID, access.Run, "team"); err == nil {
		t.Error("without Nomad somebody may or may not")
	}
}

func TestANomadWithoutAccessControlIsNotOneThatAllowsEverything(t *testing.T) {
	t.Parallel()
	acl := aclOf(t, cluster.Nomad(t).Address())
	for _, token := range []string{"", "00000000-0000-0000-0000-000000000000"} {
		if who, err := acl.Whose(t.Context(), token); !errors.Is(err, access.ErrOff) {
			t.Errorf("token %q: %+v, %v, want %v", token, who, err, access.ErrOff)
		}
	}
}
