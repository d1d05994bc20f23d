// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Program watchers waits for news of one run many times over, spread over servers: by blocking reads of the run, by blocking
// reads of the list of runs, and by streams of events. It prints, as JSON, how many were told.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

// report is what the program prints.
type report struct {
	Woken  int       `json:"woken"`
	Failed int       `json:"failed"`
	Error  string    `json:"error,omitempty"` // the first one
	First  time.Time `json:"first"`           // when the first and the last one were told
	Last   time.Time `json:"last"`
}

// wait bounds a blocking read: as long as servers let it.
const wait = 10 * time.Minute

// pace is the pause between two watches that begin: no faster than a server takes connections.
const pace = 500 * time.Microsecond

func main() {
	n := flag.Int("n", 100, "how many watches")
	run := flag.String("run", "", "ID of the run that is watched")
	flag.Parse()
	if err := watch(*n, *run, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func watch(n int, run string, addresses []string) error {
	ctx := context.Background()
	var servers []*client.Client
	for _, a := range addresses {
		c, err := client.TCP(client.Server{Address: a})
		if err != nil {
			return err
		}
		servers = append(servers, c)
	}
	if len(servers) == 0 {
		return errors.New("name the servers")
	}
	_, ofRun, err := servers[0].Wait(ctx, run, 0, 0)
	if err != nil {
		return err
	}
	_, ofList, err := servers[0].WaitRuns(ctx, client.RunsQuery{}, 0, 0)
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards out
	var out report
	told := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			if out.Failed++; out.Error == "" {
				out.Error = err.Error()
			}
			return
		}
		out.Woken++
		if out.Last = time.Now(); out.First.IsZero() {
			out.First = out.Last
		}
	}
	var group sync.WaitGroup
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		c := servers[i%len(servers)]
		group.Go(func() {
			switch i / len(servers) % 3 {
			case 0:
				told(untilChanged(ofRun, func(index uint64) (uint64, error) {
					_, now, err := c.Wait(ctx, run, index, wait)
					return now, err
				}))
			case 1:
				told(untilChanged(ofList, func(index uint64) (uint64, error) {
					_, now, err := c.WaitRuns(ctx, client.RunsQuery{PerPage: 1}, index, wait)
					return now, err
				}))
			default:
				told(untilEvent(ctx, c, run))
			}
		})
	}
	group.Wait()
	return json.NewEncoder(os.Stdout).Encode(out)
}

// untilChanged reads until the index is another one.
func untilChanged(index uint64, read func(uint64) (uint64, error)) error {
	for {
		now, err := read(index)
		if err != nil || now != index {
			return err
		}
	}
}

// untilEvent reads events until one of the run comes.
func untilEvent(ctx context.Context, c *client.Client, run string) error {
	stream, err := c.Events(ctx, client.EventsQuery{Run: run})
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		e, err := stream.Next()
		if err != nil || e.Type == api.EventRun {
			return err
		}
	}
}
