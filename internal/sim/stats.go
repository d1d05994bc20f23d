// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Stats counts what seeds exercised, by class.
type Stats struct {
	count map[string]int
	seeds map[string]int
}

// NewStats returns empty statistics.
func NewStats() *Stats { return &Stats{count: map[string]int{}, seeds: map[string]int{}} }

func (s *Stats) hit(class string) { s.count[class]++ }

// Add adds the statistics of one seed.
func (s *Stats) Add(o *Stats) {
	for class, n := range o.count {
		s.count[class] += n
		s.seeds[class]++
	}
}

// Missing lists the classes of Classes that never occurred.
func (s *Stats) Missing() []string {
	var out []string
	for _, class := range Classes() {
		if s.count[class] == 0 {
			out = append(out, class)
		}
	}
	return out
}

func (s *Stats) String() string {
	var b strings.Builder
	for _, class := range slices.Sorted(maps.Keys(s.count)) {
		fmt.Fprintf(&b, "  %-45s %9d in %6d seeds\n", class, s.count[class], s.seeds[class])
	}
	return b.String()
}

// Classes is what 2,000 seeds must have met for the simulator to be worth its time.
func Classes() []string {
	out := []string{
		"crash before the save", "crash after the save", "crash midway through the commands", "crash between turns",
		"takeover from a living leader", "save lost", "save commits and reports a timeout", "save fenced", "store rolled back",
		"message very late", "observation lost", "observation doubled", "observation refused", "command repeated",
		"late event after a loss", "worker lost under an attempt", "executor forgets a job", "lost: the executor forgot it",
		"tombstone", "clock step", "clock jump", "tick out of time", "admit of a withdrawn want", "verb doubled",
		"executor replaces an allocation", "event that fits nothing", "save put off", "deadline passed between tries",
		"reload compared", "load", "process started", "run paused", "finally begun", "cascade over several steps",
		"killed as cancelled", "killed as timed_out", "killed as error", "deadline passed", "start_timeout passed",
		"view with a predecessor still open", "handler began under drain", "handler began under fail_fast",
		"failure recovered", "run output that cannot be evaluated", "fan-out succeeded by min_success",
		"retry after failed", "retry after timed_out", "retry after error", "retry after lost",
		"ending stop", "ending timeout", "ending drain", "ending fail_fast",
		"run succeeded", "run failed", "run cancelled",
	}
	for _, v := range []string{"succeeded", "failed", "timed_out", "error", "lost", "interrupted", "cancelled"} {
		out = append(out, "verdict "+v)
	}
	for _, v := range []string{
		"stop", "terminate", "pause", "resume", "retry", "skip_run", "cancel_task", "retry_task", "skip_task", "succeed_task", "approve", "reject",
	} {
		out = append(out, "verb "+v, "verb "+v+" due", "verb "+v+" unfit")
	}
	for _, v := range []string{"approval", "wait"} {
		out = append(out, v+" succeeded", v+" cancelled")
	}
	out = append(out,
		"approval failed", "approval timed out", "child run", "child run paused", "child run skipped", "child run taken up again",
		"reset by retry", "reset by retry_task", "reset by skip_task", "reset by succeed_task", "reset over several steps",
		"crash while a retry is taken up", "run taken up when it was over", "expanded anew", "element kept", "element new",
		"by hand skipped", "by hand succeeded", "instance by hand skipped", "instance by hand succeeded",
		"rerun", "rerun that needs what is not there", "run skipped",
	)
	for _, shape := range []string{"map", "list"} {
		for _, st := range []string{"succeeded", "failed", "cancelled"} {
			out = append(out, "fan-out "+shape+" "+st)
		}
	}
	for _, rule := range []string{"all_success", "none_failed", "all_done", "one_success", "one_failed", "all_failed"} {
		out = append(out, "rule met: "+rule)
		for _, st := range []string{"succeeded", "failed", "skipped", "omitted", "cancelled"} {
			if rule != "one_failed" || st != "omitted" { // it is skipped below what is omitted
				out = append(out, "rule "+rule+": "+st)
			}
		}
	}
	return out
}
