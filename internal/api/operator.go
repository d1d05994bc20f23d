// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package api

import "time"

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

// Workers is the answer of GET /v1/operator/workers: the machines that run tasks, by name.
type Workers struct {
	Workers []Worker `json:"workers"`
	// Withheld says why Consul's suspicions are not to be believed at the moment; empty where they may be.
	Withheld string `json:"withheld"`
	// Trouble says what could not be asked; empty where everything was.
	Trouble string `json:"trouble"`
}

// Worker is a machine that runs tasks: a node of Nomad.
type Worker struct {
	ID         string `json:"id"` // of the node
	Name       string `json:"name"`
	Region     string `json:"region"` // empty: that of the servers' own Nomad
	Datacenter string `json:"datacenter"`
	Pool       string `json:"pool"`
	Version    string `json:"version"` // of its Nomad client
	// Status is the verdict on it: ready, ineligible, draining, starting, client_down, suspect, lost.
	Status   string          `json:"status"`
	Reason   string          `json:"reason"`
	Nomad    string          `json:"nomad"`    // its status there
	Eligible bool            `json:"eligible"` // for new tasks
	Draining bool            `json:"draining"`
	Consul   *WorkerHealth   `json:"consul"`   // null where nothing is known of its machine
	Attempts []WorkerAttempt `json:"attempts"` // in flight that are known to be on it, by allocation
}

// WorkerHealth is what Consul says of a worker. A status is passing, warning or critical; empty where there is no such check.
type WorkerHealth struct {
	Machine    string `json:"machine"`    // its name in Consul
	Datacenter string `json:"datacenter"` // of Consul
	Alive      string `json:"alive"`      // status of the machine, by gossip
	Client     string `json:"client"`     // status of its Nomad client
}

// WorkerAttempt is an allocation of an attempt on a worker.
type WorkerAttempt struct {
	Run     string  `json:"run"`
	Task    string  `json:"task"`
	Key     *string `json:"key"` // of the instance; null for a plain task
	Attempt string  `json:"attempt"`
	AllocID string  `json:"alloc_id"` // in Nomad
}

// WorkerDeadRequest is the body of POST /v1/operator/worker-dead: somebody knows that a worker is off.
type WorkerDeadRequest struct {
	Worker string `json:"worker"` // its name, or the beginning of its ID
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// WorkerDead is its answer: the attempts on the worker that are not waited for any more.
type WorkerDead struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Attempts []WorkerAttempt `json:"attempts"`
}

// Checkup is the answer of GET /v1/operator/check: how what Cairn depends on is set up.
type Checkup struct {
	Findings []Finding `json:"findings"`
}

// Finding is one thing that was looked at.
type Finding struct {
	Level   string `json:"level"`   // ok, unknown, warn, fail
	About   string `json:"about"`   // nomad, consul, workers, clocks, backup
	Subject string `json:"subject"` // what of it
	Finding string `json:"finding"` // in a sentence
	Advice  string `json:"advice"`  // what to change; empty where all is well
}

// The levels of a finding.
const (
	LevelOK      = "ok"
	LevelUnknown = "unknown" // it could not be looked at
	LevelWarn    = "warn"
	LevelFail    = "fail" // Cairn does not work, or does not keep its promises, like this
)

// Orphans is the answer of GET /v1/operator/orphans: jobs that run on in Nomad and whose runs the store does not know, as after
// it was restored from a backup. They are left alone.
type Orphans struct {
	Orphans []Orphan `json:"orphans"`
}

// Orphan is a job of an attempt whose run the store does not know.
type Orphan struct {
	Run         string    `json:"run"`
	Attempt     string    `json:"attempt"`
	JobID       string    `json:"job_id"` // in Nomad
	Name        string    `json:"name"`   // of the job
	Region      string    `json:"region"` // empty: that of the servers' own Nomad
	Namespace   string    `json:"namespace"`
	Status      string    `json:"status"` // of the job, in Nomad's word
	SubmittedAt time.Time `json:"submitted_at"`
}
