// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package api

// Leader is the answer of GET /v1/status/leader: who leads. Nobody does where the name is empty.
type Leader struct {
	Name string `json:"name"`
	URL  string `json:"url"` // of its API
	// Epoch is the number of its leadership; where nobody leads, of the newest there was.
	Epoch uint64 `json:"epoch"`
}

// Members is the answer of GET /v1/operator/members: the servers that share a store, by name.
type Members struct {
	Members []Member `json:"members"`
}

// Member is a server.
type Member struct {
	Name    string `json:"name"`
	Address string `json:"address"` // host:port of its API
	Version string `json:"version"` // of Cairn
	Format  int    `json:"format"`  // of what it writes into the store; 0 = it does not say
	Healthy bool   `json:"healthy"`
	Problem string `json:"problem"` // why it is not healthy; empty otherwise
	Leader  bool   `json:"leader"`
	Answers bool   `json:"answers"` // it gave this answer
}

// StepDownRequest is the body of POST /v1/operator/step-down; it may be left out.
type StepDownRequest struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// SteppedDown is its answer: which server gave up the leadership, and of which epoch.
type SteppedDown struct {
	Name  string `json:"name"`
	Epoch uint64 `json:"epoch"`
	// Leader is who leads now; null as long as nobody is known to.
	Leader *Leader `json:"leader"`
}
