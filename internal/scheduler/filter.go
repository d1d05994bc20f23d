// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"cmp"
	"slices"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Filter restricts List. What is empty restricts nothing.
type Filter struct {
	Active    bool // only runs that are not done
	Done      bool // only runs that are
	Workflow  string
	Namespace string
	Labels    map[string]string // the run has all of them
	Children  bool              // child runs too; without it only runs that somebody started
	Since     workflow.Time     // only runs that were created then or later
	Until     workflow.Time     // only runs that were created before

	// Before is a place in the list: only runs behind that ID are listed, whether or not there is still a run with it.
	Before workflow.RunID
	Limit  int // at most so many
}

// Matches reports whether a run belongs on the list. Limit is for the one who makes it.
func (f *Filter) Matches(s *Summary) bool {
	switch {
	case f.Before != "" && s.ID >= f.Before,
		f.Active && s.Done,
		f.Done && !s.Done,
		f.Workflow != "" && f.Workflow != s.Workflow,
		f.Namespace != "" && f.Namespace != s.Namespace,
		!f.Children && s.Parent != "",
		s.CreatedAt < f.Since,
		f.Until != 0 && s.CreatedAt >= f.Until:
		return false
	}
	for name, value := range f.Labels {
		if has, ok := s.Labels[name]; !ok || has != value {
			return false
		}
	}
	return true
}

// NewestFirst puts a list in its order.
func NewestFirst(list []Summary) {
	slices.SortFunc(list, func(a, b Summary) int { return cmp.Compare(b.ID, a.ID) })
}
