// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"context"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

// eventPatience bounds the wait for an event.
const eventPatience = 10 * time.Minute

// Registrations listens to the first server from now on. What it returns waits for
// the first job registered since that is wanted, and ends the listening; it is called
// once. Nothing is asked meanwhile, so that waiting disturbs nobody.
func (n *NomadCluster) Registrations(t testing.TB) (first func(wanted func(*nomadapi.Job) bool) *nomadapi.Job) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), eventPatience)
	client := n.Client()
	_, meta, err := client.Jobs().List(&nomadapi.QueryOptions{PerPage: 1})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	stream, err := client.EventStream().Stream(ctx, map[nomadapi.Topic][]string{nomadapi.TopicJob: {"*"}}, meta.LastIndex+1, nil)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	return func(wanted func(*nomadapi.Job) bool) *nomadapi.Job {
		t.Helper()
		defer client.Close()
		defer cancel()
		for events := range stream {
			if events.Err != nil {
				t.Fatalf("Nomad's events: %v", events.Err)
			}
			for _, e := range events.Events {
				if e.Type != "JobRegistered" {
					continue
				}
				job, err := e.Job()
				if err != nil {
					t.Fatalf("Nomad's events: %v", err)
				}
				if wanted(job) {
					return job
				}
			}
		}
		t.Fatalf("no such job was registered: %v", ctx.Err())
		return nil
	}
}
