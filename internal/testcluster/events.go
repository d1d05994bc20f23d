// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"context"
	"sync"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

// eventPatience bounds the wait for an event.
const eventPatience = 10 * time.Minute

// unheard is how many batches of events are kept that nobody has looked at yet.
const unheard = 10_000

// Registrations listens to the first server from now on. What it returns waits for
// the first job registered since that is wanted, and ends the listening; it is called
// once. Nothing is asked meanwhile, so that waiting disturbs nobody.
func (n *NomadCluster) Registrations(t testing.TB) (first func(wanted func(*nomadapi.Job) bool) *nomadapi.Job) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), eventPatience)
	t.Cleanup(cancel)
	client := n.Client()
	_, meta, err := client.Jobs().List(&nomadapi.QueryOptions{PerPage: 1})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := client.EventStream().Stream(ctx, map[nomadapi.Topic][]string{nomadapi.TopicJob: {"*"}}, meta.LastIndex+1, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Nomad drops a reader that falls behind.
	heard := make(chan *nomadapi.Events, unheard)
	var listening sync.WaitGroup
	listening.Go(func() {
		defer close(heard)
		for events := range stream {
			select {
			case heard <- events:
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		listening.Wait()
		client.Close()
	})
	return func(wanted func(*nomadapi.Job) bool) *nomadapi.Job {
		t.Helper()
		defer cancel()
		for events := range heard {
			if job := registered(t, events, wanted); job != nil {
				return job
			}
		}
		t.Fatalf("no such job was registered: %v", ctx.Err())
		return nil
	}
}

// registered is the first job that was registered, by these events, and is wanted; nil if there is none.
func registered(t testing.TB, events *nomadapi.Events, wanted func(*nomadapi.Job) bool) *nomadapi.Job {
	t.Helper()
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
	return nil
}
