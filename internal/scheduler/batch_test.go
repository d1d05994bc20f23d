// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestThoseWhoAskMeanwhileShareTheNextReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatches[int]()
		begun, goOn := make(chan struct{}), make(chan struct{})
		readings := 0
		read := func() (int, error) {
			readings++ // by one at a time
			n := readings
			begun <- struct{}{}
			<-goOn
			return n, nil
		}
		first := make(chan int)
		go func() {
			n, err := b.do(t.Context(), "a", read)
			if err != nil {
				t.Error(err)
			}
			first <- n
		}()
		<-begun
		const many = 100
		got := make(chan int, many)
		var group sync.WaitGroup
		for range many {
			group.Go(func() {
				n, err := b.do(t.Context(), "a", read)
				if err != nil {
					t.Error(err)
				}
				got <- n
			})
		}
		synctest.Wait()
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := b.do(gone, "a", read); !errors.Is(err, context.Canceled) {
			t.Errorf("who does not wait gets %v", err)
		}
		if n, err := b.do(t.Context(), "b", func() (int, error) { return 7, errors.ErrUnsupported }); n != 7 || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("of something else: %d, %v", n, err)
		}
		goOn <- struct{}{}
		if n := <-first; n != 1 {
			t.Errorf("the first one has reading %d", n)
		}
		<-begun
		goOn <- struct{}{}
		group.Wait()
		for range many {
			if n := <-got; n != 2 {
				t.Errorf("one who came meanwhile has reading %d, want the second", n)
			}
		}
		if len(b.running)+len(b.next) > 0 || readings != 2 {
			t.Errorf("%d readings; %d and %d are left", readings, len(b.running), len(b.next))
		}
	})
}
