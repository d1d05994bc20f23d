// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"testing"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/porttest"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestAgentCatalogConforms(t *testing.T) {
	porttest.Catalog(t, func(t testing.TB) porttest.CatalogGround {
		s := &serverSuccession{t: t, cfg: testConfig(t)}
		s.restart()
		return porttest.CatalogGround{CatalogStore: s, Restart: func() (porttest.CatalogStore, error) {
			s.restart()
			return s, nil
		}}
	})
}

var _ scheduler.Catalog = (*serverSuccession)(nil)

func (s *serverSuccession) Register(
	ctx context.Context, epoch uint64, registrations []workflow.Registration, definitions []scheduler.Definition,
) error {
	store, epoch := s.server(epoch)
	return store.Register(ctx, epoch, registrations, definitions)
}

func (s *serverSuccession) Registration(ctx context.Context, namespace, name string) (workflow.Registration, error) {
	return s.read().Registration(ctx, namespace, name)
}

func (s *serverSuccession) Registrations(ctx context.Context, namespace string) ([]workflow.Registration, error) {
	return s.read().Registrations(ctx, namespace)
}

func (s *serverSuccession) Definition(ctx context.Context, hash string) (scheduler.Definition, error) {
	return s.read().Definition(ctx, hash)
}

func (s *serverSuccession) Named(ctx context.Context) ([]string, error) {
	return s.read().Named(ctx)
}

func TestAgentADamagedRegistrationKeepsNobodyElseFromTheList(t *testing.T) {
	e := newElector(t, testConfig(t))
	l := lead(t, e)
	s := NewStore(e)
	good, _ := workflow.Registration{Namespace: "default", Name: "good"}.Apply("sha256:1", 1, "ada")
	if err := s.Register(t.Context(), l.Epoch, []workflow.Registration{good}, nil); err != nil {
		t.Fatal(err)
	}
	d, err := s.data(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.client.api.KV().Put(&consulapi.KVPair{Key: d.workflow("default", "bad"), Value: []byte("nonsense")}, nil); err != nil {
		t.Fatal(err)
	}
	list, err := s.Registrations(t.Context(), "default")
	if err != nil || len(list) != 1 || list[0].Name != "good" {
		t.Errorf("list %v, error %v; want the one that can be read", list, err)
	}
	if named, err := s.Named(t.Context()); err == nil {
		t.Errorf("named definitions %v without an error: one of them is missing, and would be removed", named)
	}
}
