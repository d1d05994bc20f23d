// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package access says who a caller is and what he may do. Whoever issues the tokens knows; what he has said is remembered
// for a short time.
package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"time"
)

// Caller is whoever a token belongs to.
type Caller struct {
	Name       string // of the token; may be empty
	Accessor   string // names the token without giving anything away
	Management bool   // may do everything
	Policies   []string
}

// Label is what people call the caller.
func (c Caller) Label() string {
	if c.Name != "" {
		return c.Name
	}
	return c.Accessor
}

// Right is what a token may do in a namespace.
type Right string

// The rights.
const (
	Read Right = "read" // look at runs
	Run  Right = "run"  // start and steer them
)

// MaxToken bounds a token: far above any that there is.
const MaxToken = 4096

var (
	// ErrDenied: there is no such token (any more).
	ErrDenied = errors.New("permission denied")
	// ErrOff: whoever should issue the tokens has no access control, and lets everybody do everything.
	ErrOff = errors.New("there is no access control")
)

// Source knows the tokens. Any error but the named ones means that it could not be asked.
type Source interface {
	// Whose says whose token it is; an empty one is that of everybody. ErrDenied, ErrOff.
	Whose(ctx context.Context, token string) (Caller, error)
	// May reports whether a token has a right in a namespace: NAMESPACE, or REGION/NAMESPACE.
	May(ctx context.Context, token string, right Right, namespace string) (bool, error)
}

// Split takes REGION/NAMESPACE apart; the region of a bare namespace is empty.
func Split(namespace string) (region, name string) {
	if region, name, found := strings.Cut(namespace, "/"); found {
		return region, name
	}
	return "", namespace
}

const (
	// knownFor is how long a right lasts that was taken away; refusedFor how long one is missing that was just given.
	knownFor   = 30 * time.Second
	refusedFor = 5 * time.Second
	// maxKnown and maxRefused bound what is remembered. Whoever tries tokens pushes out refusals only.
	maxKnown   = 8192
	maxRefused = 1024
	// askTimeout bounds one question, whoever still waits for its answer.
	askTimeout = 10 * time.Second
)

// Cache remembers what a Source has said. Questions that are asked at the same time are asked once. It keeps no tokens, only
// what they hash to. It is safe for concurrent use.
type Cache struct {
	source Source
	now    func() time.Time

	mu      sync.Mutex // guards what follows
	asking  map[question]*asked
	known   remembered
	refused remembered
}

// question is what was asked: whose the token is where there is no right.
type question struct {
	token     [sha256.Size]byte
	right     Right
	namespace string
}

// asked is a question under way.
type asked struct {
	done chan struct{} // closed when answer is there
	answer
}

type answer struct {
	caller Caller
	yes    bool
	err    error
	until  time.Time
}

// NewCache returns an empty cache. now may be nil.
func NewCache(source Source, now func() time.Time) *Cache {
	if now == nil {
		now = time.Now
	}
	return &Cache{
		source: source, now: now, asking: map[question]*asked{},
		known: remembered{max: maxKnown, answers: map[question]answer{}}, refused: remembered{max: maxRefused, answers: map[question]answer{}},
	}
}

// Whose is Source.Whose.
func (c *Cache) Whose(ctx context.Context, token string) (Caller, error) {
	a, err := c.ask(ctx, question{token: sha256.Sum256([]byte(token))}, func(ctx context.Context) (a answer) {
		a.caller, a.err = c.source.Whose(ctx, token)
		a.yes = a.err == nil
		return a
	})
	if err != nil {
		return Caller{}, err
	}
	return a.caller, a.err
}

// May is Source.May.
func (c *Cache) May(ctx context.Context, token string, right Right, namespace string) (bool, error) {
	q := question{token: sha256.Sum256([]byte(token)), right: right, namespace: namespace}
	a, err := c.ask(ctx, q, func(ctx context.Context) (a answer) {
		a.yes, a.err = c.source.May(ctx, token, right, namespace)
		return a
	})
	if err != nil {
		return false, err
	}
	return a.yes, a.err
}

// ask gives the answer that is known, or gets it. The error is that of ctx.
func (c *Cache) ask(ctx context.Context, q question, get func(context.Context) answer) (answer, error) {
	c.mu.Lock()
	now := c.now()
	for _, r := range []*remembered{&c.known, &c.refused} {
		if a, ok := r.answers[q]; ok && now.Before(a.until) {
			c.mu.Unlock()
			return a, nil
		}
	}
	if under := c.asking[q]; under != nil {
		c.mu.Unlock()
		select {
		case <-under.done:
			return under.answer, nil
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	}
	mine := &asked{done: make(chan struct{})}
	c.asking[q] = mine
	c.mu.Unlock()
	// Others may wait for the answer: it does not go with whoever asked first.
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	mine.answer = answer{err: errors.New("nobody has answered")} // what stands if get panics
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.asking, q)
		c.remember(q, mine.answer, now)
		close(mine.done)
	}()
	mine.answer = get(detached)
	return mine.answer, nil
}

// remember keeps an answer. That somebody could not be asked is none. It counts from when it was asked. The caller holds mu.
func (c *Cache) remember(q question, a answer, now time.Time) {
	switch {
	case a.yes && a.err == nil:
		a.until = now.Add(knownFor)
		c.known.put(q, a)
	case a.err == nil || errors.Is(a.err, ErrDenied):
		a.until = now.Add(refusedFor)
		c.refused.put(q, a)
	}
}

// remembered are answers, of which the oldest makes room.
type remembered struct {
	max     int
	answers map[question]answer
	order   []question
}

func (r *remembered) put(q question, a answer) {
	if _, ok := r.answers[q]; !ok {
		if len(r.order) == r.max {
			delete(r.answers, r.order[0])
			r.order = r.order[1:]
		}
		r.order = append(r.order, q)
	}
	r.answers[q] = a
}
