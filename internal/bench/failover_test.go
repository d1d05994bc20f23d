// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/client"
)

const (
	alarmRuns = 200              // active
	alarms    = 24               // of each
	between   = 20 * time.Second // from one to the next of a run, give or take half of it
	failovers = 30               // of each kind
)

// BenchmarkFailover: the leader of two hundred runs is killed, or told to end, thirty times each. Every run waits again and again
// for a while and has a short task then, so that ten tasks are due each second, leader or not. Every wait has a length of its
// own: what was due while nobody led would come at once twenty seconds later otherwise, and with every round more of it, until
// what is measured is the wait for it. What is measured begins when kill(2) has returned. It ends when another server says that
// it leads, and with the first job that Nomad takes from that one, by Nomad's clock: two seconds in the middle and five at worst
// after SIGKILL, 300 ms in the middle after SIGTERM.
func BenchmarkFailover(b *testing.B) {
	for b.Loop() {
		s := newServers(b, 3)
		var text strings.Builder
		text.WriteString("workflow \"alarms\" {\n  param \"waits\" {\n    type = list(number)\n  }\n")
		for i := range alarms {
			after := ""
			if i > 0 {
				after = fmt.Sprintf("    depends_on = [task.m%d]\n", i-1)
			}
			fmt.Fprintf(&text, "  task \"w%d\" {\n%s    wait {\n      duration = \"${param.waits[%d]}ms\"\n    }\n  }\n", i, after, i)
			text.WriteString(mock(fmt.Sprintf("m%d", i), fmt.Sprintf("depends_on = [task.w%d]", i), 0))
		}
		text.WriteString("}\n")
		s.submit(s.leader(nil), "alarms", text.String(), alarmRuns, func(i int) map[string]json.RawMessage {
			waits := []int64{(between * time.Duration(i+1) / alarmRuns).Milliseconds()}
			for range alarms - 1 {
				waits = append(waits, (between/2 + rand.N(between)).Milliseconds())
			}
			list, err := json.Marshal(waits)
			if err != nil {
				b.Error(err) // numbers
			}
			return map[string]json.RawMessage{"waits": list}
		})
		led, gaps := map[syscall.Signal][]float64{}, map[syscall.Signal][]float64{}
		for range failovers {
			for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
				old := s.leader(nil)
				s.pass(time.Second + rand.N(time.Second))
				epoch := s.epoch(old)
				first := s.nomad.Registrations(b)
				at := s.end(old, how)
				s.leader(old)
				led[how] = append(led[how], float64(time.Since(at).Milliseconds()))
				gap := time.Unix(0, *first(ofLaterEpoch(b, epoch)).SubmitTime).Sub(at)
				gaps[how] = append(gaps[how], float64(gap.Milliseconds()))
				s.again(old)
			}
		}
		for how, goal := range map[syscall.Signal]float64{syscall.SIGKILL: 2000, syscall.SIGTERM: 300} {
			slices.Sort(led[how])
			slices.Sort(gaps[how])
			report(b, "from the signal \""+how.String()+"\" until another server leads", "ms", led[how], goal)
			report(b, "from the signal \""+how.String()+"\" to its first job", "ms", gaps[how], goal)
		}
		worst := gaps[syscall.SIGKILL]
		report(b, "the same at worst", "ms", worst[len(worst)-1:], 5000)
	}
}

// epoch is that of the leadership that a server knows of.
func (s *servers) epoch(m *member) uint64 {
	s.b.Helper()
	c, err := client.TCP(client.Server{Address: m.address})
	if err != nil {
		s.b.Fatal(err)
	}
	defer c.Close()
	leader, err := c.Leader(s.b.Context())
	if err != nil {
		s.b.Fatal(err)
	}
	return leader.Epoch
}

// ofLaterEpoch is true of jobs that a leader after the one of an epoch has submitted.
func ofLaterEpoch(b *testing.B, epoch uint64) func(*nomadapi.Job) bool {
	return func(job *nomadapi.Job) bool {
		of, err := strconv.ParseUint(job.Meta["cairn_epoch"], 10, 64)
		if err != nil {
			b.Fatalf("job %s: epoch: %v", *job.ID, err)
		}
		return of > epoch
	}
}
