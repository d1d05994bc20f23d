// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"context"
	"fmt"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// storeBulk holds what a store loads of many runs against what it loads of each, where it can load many.
func storeBulk(ctx context.Context, g StoreGround) error {
	bulk, ok := g.Store.(scheduler.Bulk)
	if !ok {
		return nil
	}
	var ids []workflow.RunID
	for n := range scheduler.BulkRuns - 1 {
		r := newRun(n)
		r.Definition.Hash = fmt.Sprintf("sha256:%d", n%3)
		if err := create(ctx, g.Store, 1, r); err != nil {
			return err
		}
		if n%4 == 1 { // ended, and ended and begun again
			if err := g.Store.Save(ctx, 1, r.ID, []scheduler.Record{{Key: "c/0000", Value: []byte("last")}}, true); err != nil {
				return err
			}
		}
		if n%8 == 1 {
			if err := g.Store.Save(ctx, 1, r.ID, []scheduler.Record{{Key: "c/0001", Value: []byte("again")}}, false); err != nil {
				return err
			}
		}
		ids = append(ids, r.ID)
	}
	loaded, err := bulk.LoadAll(ctx, append(ids, runID(1000)))
	if err != nil {
		return err
	}
	want := map[workflow.RunID]scheduler.Loaded{}
	for _, id := range ids {
		records, def, err := g.Store.Load(ctx, id)
		if err != nil {
			return err
		}
		want[id] = scheduler.Loaded{Records: records, Definition: def}
	}
	if d := cmp.Diff(want, loaded); d != "" {
		return fmt.Errorf("loaded one by one (-) and together (+):\n%s", d)
	}
	return nil
}
