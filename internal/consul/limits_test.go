// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"errors"
	"sync"
	"testing"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// A Consul that takes less at once than it does by default refuses what is too large. That is told of the write alone that is:
// those that share its transaction are done, and so is what comes after.
func TestAgentWritesThatConsulRefusesAreAlone(t *testing.T) {
	c := testcluster.Consul(t, testcluster.ConsulConfig{Extra: "limits {\n  kv_max_value_size = 100000\n  txn_max_req_len = 100000\n}"})
	cfg := testConfig(t)
	cfg.Address = c.Address()
	s, epoch := leading(t, cfg)
	const runs = 20
	for n := range runs {
		begin(t, s, epoch, n)
	}
	for range 3 {
		var wg sync.WaitGroup
		for n := range runs {
			wg.Go(func() {
				value := []byte("small")
				if n == 0 {
					value = make([]byte, 120_000)
				}
				err := s.Save(t.Context(), epoch, runID(n), []scheduler.Record{{Key: "g/0000", Value: value}}, false)
				if refused := errors.Is(err, errRefused); refused != (n == 0) || err != nil && !refused {
					t.Errorf("save of run %d: %v", n, err)
				}
			})
		}
		wg.Wait()
	}
	begin(t, s, epoch, runs)
}
