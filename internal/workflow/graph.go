// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"fmt"
	"sort"
	"strings"
)

// Graph is the graph of a definition by task numbers, which are positions in Definition.Tasks.
type Graph struct {
	number map[string]int
	tasks  []edges
}

type edges struct {
	depends    []int // explicit edges
	rule       []int // what the trigger rule counts
	all        []int // explicit and data edges: what it waits for before its view is fixed, but for the rule's own exceptions
	data       []int // data edges
	dependents []int // tasks with an edge to this one
}

// CycleError says which tasks wait for each other.
type CycleError struct {
	Tasks []string // the cycle in order, the first repeated at the end
}

func (e *CycleError) Error() string {
	return "tasks wait for each other: " + strings.Join(e.Tasks, " -> ")
}

// NewGraph builds the graph. It fails on a name that is not there, on two tasks of one name, on an edge between a task and
// a finally task, and on a cycle (*CycleError). A reference of a finally task to a normal one is no edge: those are all
// over when finally begins.
func NewGraph(def *Definition) (*Graph, error) {
	g := &Graph{number: make(map[string]int, len(def.Tasks)), tasks: make([]edges, len(def.Tasks))}
	for i := range def.Tasks {
		name := def.Tasks[i].Name
		if _, ok := g.number[name]; ok {
			return nil, fmt.Errorf("task %s is declared twice", name)
		}
		g.number[name] = i
	}
	for i := range def.Tasks {
		if err := g.connect(def, i); err != nil {
			return nil, err
		}
	}
	if cycle := g.cycle(); cycle != nil {
		names := make([]string, len(cycle))
		for i, n := range cycle {
			names[i] = def.Tasks[n].Name
		}
		return nil, &CycleError{Tasks: names}
	}
	return g, nil
}

func (g *Graph) connect(def *Definition, i int) error {
	t, e := &def.Tasks[i], &g.tasks[i]
	resolve := func(names []string, explicit bool) ([]int, error) {
		var out []int
		for _, name := range names {
			n, ok := g.number[name]
			switch {
			case !ok:
				return nil, fmt.Errorf("task %s refers to task %s, which is not declared", t.Name, name)
			case def.Tasks[n].Kind == t.Kind:
				out = append(out, n)
			case explicit || t.Kind == KindTask:
				return nil, fmt.Errorf("%s %s cannot depend on %s %s", t.Kind, t.Name, def.Tasks[n].Kind, name)
			}
		}
		sort.Ints(out)
		return compact(out), nil
	}
	var err error
	if e.depends, err = resolve(t.DependsOn, true); err != nil {
		return err
	}
	if e.data, err = resolve(t.Refs, false); err != nil {
		return err
	}
	e.all = append(append([]int(nil), e.depends...), e.data...)
	sort.Ints(e.all)
	e.all = compact(e.all)
	switch t.TriggerRule {
	case AllSuccess, NoneFailed, AllDone:
		e.rule = e.all
	default:
		e.rule = e.depends
	}
	for _, n := range e.all {
		g.tasks[n].dependents = append(g.tasks[n].dependents, i)
	}
	return nil
}

func compact(sorted []int) []int {
	out := sorted[:0]
	for i, n := range sorted {
		if i == 0 || n != sorted[i-1] {
			out = append(out, n)
		}
	}
	return out
}

// cycle finds one cycle, or nil. It walks with its own stack: a chain may be as long as a workflow is large.
func (g *Graph) cycle() []int {
	const white, grey, black = 0, 1, 2
	colour := make([]byte, len(g.tasks))
	type frame struct{ task, next int }
	for root := range g.tasks {
		if colour[root] != white {
			continue
		}
		stack := []frame{{task: root}}
		colour[root] = grey
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == len(g.tasks[top.task].all) {
				colour[top.task] = black
				stack = stack[:len(stack)-1]
				continue
			}
			n := g.tasks[top.task].all[top.next]
			top.next++
			switch colour[n] {
			case white:
				colour[n] = grey
				stack = append(stack, frame{task: n})
			case grey:
				cycle := []int{n}
				for i := len(stack) - 1; i >= 0; i-- {
					cycle = append(cycle, stack[i].task)
					if stack[i].task == n {
						break
					}
				}
				return cycle
			}
		}
	}
	return nil
}

// Number returns the number of a task by name.
func (g *Graph) Number(name string) (int, bool) {
	n, ok := g.number[name]
	return n, ok
}

// Depends returns the explicit edges of task n, sorted.
func (g *Graph) Depends(n int) []int { return g.tasks[n].depends }

// Data returns the data edges of task n, sorted.
func (g *Graph) Data(n int) []int { return g.tasks[n].data }

// Rule returns the predecessors that the trigger rule of task n counts, sorted.
func (g *Graph) Rule(n int) []int { return g.tasks[n].rule }

// Predecessors returns every edge of task n, sorted.
func (g *Graph) Predecessors(n int) []int { return g.tasks[n].all }

// Dependents returns the tasks that have an edge to task n, sorted.
func (g *Graph) Dependents(n int) []int { return g.tasks[n].dependents }
