// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// defaultSeeds is what `go test` runs; CAIRN_SIM_SEEDS asks for another number, CAIRN_SIM_SEED for one seed alone.
const defaultSeeds = 2000

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// report runs a failing seed again, smaller, with a transcript.
func report(t *testing.T, seed uint64) {
	t.Helper()
	opt := Options{Faults: AllFaults()}
	if os.Getenv("CAIRN_SIM_SHRINK") != "0" {
		opt = Shrink(seed, opt)
	}
	opt.Transcript = true
	res := Run(seed, opt)
	lines := 60
	if os.Getenv("CAIRN_SIM_SEED") != "" {
		lines = 1 << 20
	}
	t.Errorf("%s\n\nrepeat it with: CAIRN_SIM_SEED=%d go test ./internal/sim", res.Report(opt, lines), seed)
}

func TestSeeds(t *testing.T) {
	if os.Getenv("CAIRN_SIM_SEED") != "" {
		seed := number(t, "CAIRN_SIM_SEED", 0)
		if res := Run(seed, Options{Faults: AllFaults()}); res.Violation != "" {
			report(t, seed)
		}
		return
	}
	seeds := number(t, "CAIRN_SIM_SEEDS", defaultSeeds)
	var (
		next, steps, failures atomic.Int64
		mu                    sync.Mutex // guards total and failed
		total                 = NewStats()
		failed                []uint64
		workers               sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for failures.Load() < 3 {
				seed := uint64(next.Add(1))
				if seed > seeds {
					return
				}
				res := Run(seed, Options{Faults: AllFaults()})
				steps.Add(int64(res.Steps))
				mu.Lock()
				total.Add(res.Stats)
				if res.Violation != "" {
					failures.Add(1)
					failed = append(failed, seed)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	for _, seed := range failed {
		report(t, seed)
	}
	t.Logf("%d seeds, %d steps; exercised:\n%s", min(uint64(next.Load()), seeds), steps.Load(), total)
	if t.Failed() || seeds < defaultSeeds {
		return
	}
	if missing := total.Missing(); len(missing) > 0 {
		t.Errorf("never exercised in %d seeds: %q", seeds, missing)
	}
}
