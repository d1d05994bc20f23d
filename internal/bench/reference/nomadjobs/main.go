// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Nomadjobs runs n batch jobs on the Nomad that NOMAD_ADDR names, at most width at a time, and registers the next one as
// soon as the event stream reports one as complete. It remembers nothing, retries nothing and reads no list: the least that
// running n jobs one after another can cost with Nomad's API.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"
)

func main() {
	n := flag.Int("n", 10, "how many jobs")
	width := flag.Int("width", 1, "how many at a time")
	prefix := flag.String("prefix", "reference", "beginning of the job IDs")
	command := flag.String("command", "/bin/sleep 2", "what each job runs")
	flag.Parse()
	if err := run(*n, *width, *prefix, strings.Fields(*command)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(n, width int, prefix string, command []string) error {
	client, err := nomadapi.NewClient(nomadapi.DefaultConfig())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, meta, err := client.Jobs().List(nil)
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	topics := map[nomadapi.Topic][]string{nomadapi.TopicAllocation: {"*"}}
	stream, err := client.EventStream().Stream(ctx, topics, meta.LastIndex+1, nil)
	if err != nil {
		return fmt.Errorf("event stream: %w", err)
	}
	finished := make(chan error)
	go follow(stream, prefix, finished)
	failed := make(chan error, n)
	register := func(i int) {
		_, _, err := client.Jobs().Register(job(fmt.Sprintf("%s-%04d", prefix, i), command), nil)
		if err != nil {
			failed <- fmt.Errorf("register: %w", err)
		}
	}
	started := 0
	for ; started < min(width, n); started++ {
		go register(started)
	}
	for ended := 0; ended < n; ended++ {
		select {
		case err := <-failed:
			return err
		case err := <-finished:
			if err != nil {
				return err
			}
		}
		if started < n {
			go register(started)
			started++
		}
	}
	return nil
}

// follow reports each allocation of our jobs that ended, once.
func follow(stream <-chan *nomadapi.Events, prefix string, finished chan<- error) {
	seen := map[string]bool{}
	for events := range stream {
		if events.Err != nil {
			finished <- events.Err
			return
		}
		for i := range events.Events {
			alloc, err := events.Events[i].Allocation()
			if err != nil || alloc == nil || !strings.HasPrefix(alloc.JobID, prefix+"-") || seen[alloc.ID] {
				continue
			}
			switch alloc.ClientStatus {
			case nomadapi.AllocClientStatusComplete:
				seen[alloc.ID] = true
				finished <- nil
			case nomadapi.AllocClientStatusFailed, nomadapi.AllocClientStatusLost:
				finished <- fmt.Errorf("%s %s: %s", alloc.JobID, alloc.ClientStatus, alloc.ClientDescription)
				return
			}
		}
	}
}

func job(id string, command []string) *nomadapi.Job {
	task := nomadapi.NewTask("main", "raw_exec").SetConfig("command", command[0]).SetConfig("args", command[1:]).
		Require(&nomadapi.Resources{CPU: new(10), MemoryMB: new(10)})
	task.RestartPolicy = &nomadapi.RestartPolicy{Attempts: new(0), Mode: new("fail")}
	group := nomadapi.NewTaskGroup("main", 1).AddTask(task)
	group.ReschedulePolicy = &nomadapi.ReschedulePolicy{Attempts: new(0), Unlimited: new(false)}
	return nomadapi.NewBatchJob(id, id, "global", 50).AddDatacenter("*").AddTaskGroup(group)
}
