// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// client makes the calls, each with its own timeout.
type client struct {
	api     *consulapi.Client
	timeout time.Duration
	observe func(Transaction)
	reads   chan struct{} // a place for every read under way
}

// maxReads bounds the reads under way: an agent takes 200 connections from one address, and other servers may share it.
const maxReads = 32

func newClient(cfg *Config) (*client, error) {
	c := consulapi.DefaultConfig()
	c.Transport.DisableCompression = true // the agent is near; compressing costs both sides more than it saves
	c.Transport.MaxIdleConnsPerHost = maxReads / 2
	if cfg.Address != "" {
		c.Address = cfg.Address
	}
	if cfg.Token != "" {
		c.Token = cfg.Token
	}
	for to, from := range map[*string]string{
		&c.TLSConfig.CAFile: cfg.TLS.CAFile, &c.TLSConfig.CertFile: cfg.TLS.CertFile, &c.TLSConfig.KeyFile: cfg.TLS.KeyFile,
		&c.TLSConfig.Address: cfg.TLS.ServerName,
	} {
		if from != "" {
			*to = from
		}
	}
	api, err := consulapi.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	observe := cfg.Observe
	if observe == nil {
		observe = func(Transaction) {}
	}
	return &client{api: api, timeout: cfg.CallTimeout, observe: observe, reads: make(chan struct{}, maxReads)}, nil
}

// txnResult is what came of a transaction that Consul has answered.
type txnResult struct {
	pairs  []*consulapi.KVPair // by operation that returns something
	errors consulapi.TxnErrors // not empty: nothing was done
}

// errRefused: Consul has answered that it did not even try.
var errRefused = errors.New("refused")

// txn sends a transaction. errRefused means that nothing was done; any other error leaves that open.
func (c *client) txn(ctx context.Context, ops []*consulapi.KVTxnOp) (txnResult, error) {
	began := time.Now()
	r, err := c.write(ctx, ops)
	c.observe(Transaction{Kind: "write", Ops: len(ops), Bytes: sizes(ops), Took: time.Since(began), Err: err})
	return r, err
}

func (c *client) write(ctx context.Context, ops []*consulapi.KVTxnOp) (txnResult, error) {
	wrapped := make(consulapi.TxnOps, len(ops))
	for i, op := range ops {
		wrapped[i] = &consulapi.TxnOp{KV: op}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var out consulapi.TxnResponse
	_, err := c.api.Raw().Write("/v1/txn", wrapped, &out, (&consulapi.WriteOptions{}).WithContext(ctx))
	var status consulapi.StatusError
	switch {
	case errors.As(err, &status) && status.Code == http.StatusConflict:
		if err := json.Unmarshal([]byte(status.Body), &out); err != nil || len(out.Errors) == 0 {
			return txnResult{}, fmt.Errorf("transaction: Consul answers 409 with %q", status.Body)
		}
	case errors.As(err, &status) && status.Code >= 400 && status.Code < 500 && status.Code != http.StatusTooManyRequests:
		return txnResult{}, fmt.Errorf("transaction: %w: %w", errRefused, err)
	case err != nil:
		return txnResult{}, fmt.Errorf("transaction: %w", err)
	}
	var r txnResult
	r.errors = out.Errors
	for _, res := range out.Results {
		if res.KV == nil {
			return txnResult{}, errors.New("transaction: Consul answers with something that is no key")
		}
		r.pairs = append(r.pairs, res.KV)
	}
	return r, nil
}

// read reads keys and trees as of one moment, through a leader that has proven to lead; where the context is content with less
// (scheduler.Stale), from the nearest server. Keys that are not there are left out.
func (c *client) read(ctx context.Context, ops ...*consulapi.KVTxnOp) ([]*consulapi.KVPair, error) {
	began := time.Now()
	select {
	case c.reads <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("read: too many others are under way: %w", ctx.Err())
	}
	pairs, err := c.readAll(ctx, ops)
	<-c.reads
	bytes := sizes(ops)
	for _, p := range pairs {
		bytes += len(p.Key) + len(p.Value)
	}
	c.observe(Transaction{Kind: "read", Ops: len(ops), Bytes: bytes, Took: time.Since(began), Err: err})
	return pairs, err
}

func (c *client) readAll(ctx context.Context, ops []*consulapi.KVTxnOp) ([]*consulapi.KVPair, error) {
	wrapped := make(consulapi.TxnOps, len(ops))
	for i, op := range ops {
		wrapped[i] = &consulapi.TxnOp{KV: op}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ok, out, _, err := c.api.Txn().Txn(wrapped, consistency(ctx).WithContext(ctx))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read: %w", err)
	case !ok:
		return nil, fmt.Errorf("read %s: %s", ops[out.Errors[0].OpIndex].Key, out.Errors[0].What)
	}
	pairs := make([]*consulapi.KVPair, 0, len(out.Results))
	for _, r := range out.Results {
		if r.KV != nil && r.KV.ModifyIndex != 0 { // get-or-empty answers with an empty one
			pairs = append(pairs, r.KV)
		}
	}
	return pairs, nil
}

func consistency(ctx context.Context) *consulapi.QueryOptions {
	stale := scheduler.IsStale(ctx)
	return &consulapi.QueryOptions{RequireConsistent: !stale, AllowStale: stale}
}

// names lists the keys below a prefix; with a separator, the parts of them up to it.
func (c *client) names(ctx context.Context, prefix, separator string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	names, _, err := c.api.KV().Keys(prefix, separator, (&consulapi.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("list the keys below %s: %w", prefix, err)
	}
	return names, nil
}

func get(key string) *consulapi.KVTxnOp {
	return &consulapi.KVTxnOp{Verb: consulapi.KVGetOrEmpty, Key: key}
}

func tree(prefix string) *consulapi.KVTxnOp {
	return &consulapi.KVTxnOp{Verb: consulapi.KVGetTree, Key: prefix}
}

func set(key string, value []byte) *consulapi.KVTxnOp {
	return &consulapi.KVTxnOp{Verb: consulapi.KVSet, Key: key, Value: value}
}

func remove(key string) *consulapi.KVTxnOp {
	return &consulapi.KVTxnOp{Verb: consulapi.KVDelete, Key: key}
}

func removeTree(prefix string) *consulapi.KVTxnOp {
	return &consulapi.KVTxnOp{Verb: consulapi.KVDeleteTree, Key: prefix}
}

// wait returns when the key has changed since index, or after a while; index 0 returns at once. The pair is nil where the
// key is not there.
func (c *client) wait(ctx context.Context, key string, index uint64) (*consulapi.KVPair, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, longestWait+longestWait/16+c.timeout)
	defer cancel()
	q := (&consulapi.QueryOptions{WaitIndex: index, WaitTime: longestWait, RequireConsistent: true}).WithContext(ctx)
	pair, meta, err := c.api.KV().Get(key, q)
	if err != nil {
		return nil, 0, fmt.Errorf("watch %s: %w", key, err)
	}
	if meta.LastIndex < index { // restored
		return pair, 0, nil
	}
	return pair, meta.LastIndex, nil
}

// longestWait bounds a blocking query: after a restore of Consul one that waits for an index of before waits to its end.
const longestWait = 10 * time.Second
