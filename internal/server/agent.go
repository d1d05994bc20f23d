// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/access"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/archive"
	"github.com/cairnflow/cairn/internal/config"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/durable"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/httpcall"
	"github.com/cairnflow/cairn/internal/local"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/scheduler"
)

// AgentConfig is what a server is made of.
type AgentConfig struct {
	config.Config
	// Dev makes one process that needs nothing else: its store is a file, and its tasks are processes of this machine.
	Dev bool
	// Forget says that data_dir is removed afterwards: what still runs is terminated at the end. For Dev only.
	Forget  bool
	Version string // of Cairn
	Logger  hclog.Logger
	Getenv  func(string) string // NOMAD_*

	// Supervisor is the command line that starts the supervisor of local tasks, to which the data folder is added.
	Supervisor []string
	// Fault is scheduler.Config.Fault; nil outside tests.
	Fault func(point string)
}

// Agent is a Cairn server: one of several that share a store, of which one leads, or the only one.
type Agent struct {
	cfg       AgentConfig
	log       hclog.Logger
	listener  net.Listener
	advertise string // host:port
	certs     *certificates
	scheduler *scheduler.Scheduler
	metrics   *metrics
	archive   *archive.Folder
	handler   http.Handler
	tend      []func(context.Context) // run beside the scheduler
	// yield waits, after the leadership of an epoch was given up, until this server may stand again.
	yield   func(ctx context.Context, epoch uint64)
	leave   func()          // after the leadership was handed over; may be nil
	process string          // tells this process from others
	stands  <-chan struct{} // closed when this server may lead; nil: it may at once
	shut    []func() error  // in turn, after everything has ended
}

// NewAgent opens what a server needs and listens, but serves nobody yet. Consul and Nomad need not be reachable, but for the
// first server that ever starts. Run, or Close, ends what it has opened.
func NewAgent(ctx context.Context, cfg AgentConfig) (_ *Agent, err error) {
	a := &Agent{
		cfg: cfg, log: cfg.Logger, certs: &certificates{verify: cfg.TLS.VerifyHTTPSClient}, metrics: newMetrics(cfg.Version), process: rand.Text(),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if cfg.DataDir == "" {
		return nil, errors.New("data_dir is not set: give the server a folder of its own in the configuration, or say -dev")
	}
	if cfg.Dev && cfg.Access.Mode == config.AccessNomad {
		return nil, errors.New("access.mode is nomad, and a server with -dev has no Nomad that it could ask: leave the block access out")
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data_dir: %w", err)
	}
	lock, err := local.LockFile(filepath.Join(cfg.DataDir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("data_dir %s is that of another server, or cannot be used: %w", cfg.DataDir, err)
	}
	a.shut = append(a.shut, lock.Close)
	if err := a.certs.read(cfg.TLS); err != nil {
		return nil, err
	}
	a.shut = append(a.shut, func() error {
		a.certs.now.Load().transport.CloseIdleConnections()
		return nil
	})
	if a.listener, err = net.Listen("tcp", cfg.HTTP.Bind); err != nil {
		return nil, fmt.Errorf("serve the API: %w", err)
	}
	a.shut = append(a.shut, func() error {
		if err := a.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	if a.advertise = cfg.HTTP.Advertise; a.advertise == "" {
		a.advertise = a.listener.Addr().String()
	}
	if cfg.Dev {
		err = a.openDev()
	} else {
		err = a.openCluster(ctx)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// lockFile is locked by the server whose data_dir it is in.
const lockFile = "server.lock"

// Address is where the API is served: host:port.
func (a *Agent) Address() string { return a.listener.Addr().String() }

// URL is where the API is served.
func (a *Agent) URL() string { return a.url(a.Address()) }

func (a *Agent) url(address string) string {
	if a.cfg.TLS.HTTP {
		return "https://" + address
	}
	return "http://" + address
}

// Reload takes from a configuration what needs no restart: the files of its certificates. Where they cannot be read, those
// from before stay.
func (a *Agent) Reload(cfg config.Config) error {
	files := cfg.TLS
	files.HTTP = a.cfg.TLS.HTTP
	if files.HTTP && files.CertFile == "" {
		return errors.New("tls.cert_file is gone from the configuration: to serve without TLS takes a restart")
	}
	return a.certs.read(files)
}

func (a *Agent) schedulerConfig() scheduler.Config {
	sc := scheduler.DefaultConfig()
	sc.Logger, sc.Fault, sc.Saved = a.log, a.cfg.Fault, a.metrics.saved
	sc.MaxInflight = a.cfg.Limits.MaxInflight
	l := newLanguage(NewRun{})
	sc.Evaluators, sc.Children = l.evaluator, l.child
	return sc
}

// openDev makes the server that needs nothing else.
func (a *Agent) openDev() error {
	store, err := local.OpenStore(local.StoreConfig{Path: filepath.Join(a.cfg.DataDir, local.StoreFile)})
	if err != nil {
		return err
	}
	a.shut = append(a.shut, store.Close)
	executor, err := local.OpenExecutor(local.ExecutorConfig{Dir: a.cfg.DataDir, Command: a.cfg.Supervisor, Logger: a.log})
	if err != nil {
		return err
	}
	a.shut = append(a.shut, executor.Close)
	sc := a.schedulerConfig()
	sc.MaxInflight = localInflight()
	sc.Store, sc.Catalog, sc.Executor, sc.Elector = store, store, executor, local.NewElector(a.cfg.DataDir)
	a.openArchive(&sc, store)
	// Whoever starts a server by hand for a try may call everybody without it as well.
	sc.Caller = &httpcall.Caller{Policy: httpcall.Policy{Everything: true}}
	if a.scheduler, err = scheduler.New(sc); err != nil {
		return err
	}
	only := &alone{name: a.cfg.Name, address: a.advertise, url: a.url(a.advertise), version: a.cfg.Version, scheduler: a.scheduler}
	watches := httpapi.NewWatches(a.cfg.Limits.MaxWatches)
	a.metrics.ask(sources{scheduler: a.scheduler.Stats, watches: watches})
	a.handler = a.metrics.counting(httpapi.New(httpapi.Config{
		Runs: explaining{a.scheduler}, Workflows: a.scheduler, Archive: a.archive, Overdue: a.scheduler.Overdue, Servers: only,
		Metrics: a.metrics.handler(), Watches: watches, Version: a.cfg.Version, Process: a.process, Logger: a.log.Named("http"),
	}))
	return nil
}

// maxHeader bounds the header of a request: there is a token in it, and little else.
const maxHeader = 64 << 10

// seenFile keeps the highest counter of the store that this server has seen.
const seenFile = "seq"

// openCluster makes a server that shares its store with others.
func (a *Agent) openCluster(ctx context.Context) error {
	cc, err := a.consulConfig()
	if err != nil {
		return err
	}
	elector, err := consul.NewElector(cc)
	if err != nil {
		return err
	}
	service, err := consul.NewService(cc, consul.ServiceConfig{
		Name: a.cfg.Name, Address: a.advertise, Health: a.url(a.advertise) + httpapi.HealthPath, Version: a.cfg.Version,
	})
	if err != nil {
		return err
	}
	store := consul.NewStore(elector)
	cluster, err := a.clusterID(ctx, store)
	if err != nil {
		return &UnreachableError{Err: err}
	}
	elector.Belong(cluster)
	k := &keeper{log: a.log.Named("nomad"), scheduler: func() *scheduler.Scheduler { return a.scheduler }}
	k.surpassed = func(epoch uint64) {
		elector.Surpassed(epoch)
		a.scheduler.Surpassed(epoch)
	}
	k.recovered = elector.Recovered
	onRestore := func(ctx context.Context) {
		elector.Doubted()
		k.sweep(ctx)
	}
	if k.nomad, err = a.newNomad(cluster, onRestore); err != nil {
		return err
	}
	sc := a.schedulerConfig()
	sc.Store, sc.Catalog, sc.Executor, sc.Elector = store, store, k.nomad, elector
	a.openArchive(&sc, store)
	k.archive = a.archive
	policy := httpcall.Policy{Hosts: a.cfg.Calls.Allow, Own: a.own()}
	if err := policy.Validate(); err != nil {
		return fmt.Errorf("http_calls.allow: %w", err)
	}
	sc.Caller = &httpcall.Caller{Policy: policy}
	if a.scheduler, err = scheduler.New(sc); err != nil {
		return err
	}
	g := &group{
		name: a.cfg.Name, scheduler: a.scheduler, elector: elector, members: service.Members, machines: service.Machines,
		jobs: k, inspect: service.Inspect, access: a.cfg.Access.Mode == config.AccessNomad, log: a.log.Named("group"),
	}
	g.losses = newLosses(g, service.LostMachines)
	keeper, err := a.newBackups(cc, cluster)
	if err != nil {
		return err
	}
	g.backups = backups{keeper: keeper, folder: a.backupFolder(), cfg: a.cfg.Backup}
	others := &peers{name: a.cfg.Name, members: service.Members, transport: a.certs.transport, url: a.url}
	g.clocks = others.clocks
	away := &nomadWatch{
		reach: k.nomad.Answers, leading: a.scheduler.Leading, has: others.hasNomad, log: a.log.Named("nomad"),
		stepDown: func(ctx context.Context) error {
			_, err := a.scheduler.StepDown(ctx)
			return err
		},
	}
	a.yield = func(ctx context.Context, epoch uint64) {
		g.yield(ctx, epoch)
		away.standBack(ctx)
	}
	watches, passing := httpapi.NewWatches(a.cfg.Limits.MaxWatches), httpapi.NewWatches(a.cfg.Limits.MaxWatches)
	a.metrics.ask(sources{scheduler: a.scheduler.Stats, nomad: k.nomad.Calls, workers: g.losses.counts, backups: keeper.Status, watches: watches, passing: passing})
	served := httpapi.Config{
		Runs: a.scheduler, Workflows: a.scheduler, Archive: a.archive, Overdue: a.scheduler.Overdue, Nomad: away.trouble, Servers: g,
		Metrics: a.metrics.handler(), Watches: watches, Version: a.cfg.Version, Process: a.process, Logger: a.log.Named("http"),
		OperatorPolicy: a.cfg.Access.OperatorPolicy, Audit: auditBook{consul.NewAudit(store)},
	}
	if a.cfg.Access.Mode == config.AccessNomad {
		served.Access = access.NewCache(k.nomad.ACL(), nil)
	}
	own := a.metrics.counting(httpapi.New(served))
	leaders := newLeaderWatch(elector.Holder)
	a.handler = &forwarder{
		name: a.cfg.Name, own: own, leading: a.scheduler.Leading, holder: elector.Holder, other: leaders.other, log: a.log.Named("http"),
		transport: a.certs.transport, passing: passing, counted: a.metrics.forwarded,
	}
	r := &registered{service: service, health: others.health, process: a.process, log: a.log.Named("consul"), ready: make(chan struct{})}
	a.stands = r.ready
	a.tend, a.leave = append(a.tend, k.keep, g.losses.keep, leaders.keep, r.keep, away.keep, keeper.Keep), r.leave
	return nil
}

// own lists the addresses of the Consul and the Nomad that this server lives on, as far as they are given by number.
func (a *Agent) own() []netip.AddrPort {
	var out []netip.AddrPort
	for _, address := range []string{a.cfg.Consul.Address, a.cfg.Nomad.Address, a.cfg.Getenv("CONSUL_HTTP_ADDR"), a.cfg.Getenv("NOMAD_ADDR"),
		"127.0.0.1:8500", "127.0.0.1:4646"} {
		_, after, found := strings.Cut(address, "://")
		if !found {
			after = address
		}
		if ap, err := netip.ParseAddrPort(strings.TrimSuffix(after, "/")); err == nil {
			out = append(out, ap)
		}
	}
	return out
}

// clusterFile keeps the UUID of the cluster, so that a server starts without Consul.
const clusterFile = "cluster"

// clusterPatience is how long a server that has kept the UUID asks at its start whether the store is of that cluster still.
const clusterPatience = 2 * time.Second

// clusterStore is a store that is of a cluster.
type clusterStore interface {
	Cluster(ctx context.Context) (string, error)
	// KnownCluster is empty where the store does not say.
	KnownCluster(ctx context.Context) (string, error)
}

// clusterID is the UUID of the cluster: what the store says, where it says anything, else what was kept. The store may be of another
// cluster than it was, after a restore.
func (a *Agent) clusterID(ctx context.Context, store clusterStore) (string, error) {
	path := filepath.Join(a.cfg.DataDir, clusterFile)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the cluster's ID: %w", err)
	}
	kept, id := strings.TrimSpace(string(b)), ""
	if kept == "" {
		id, err = store.Cluster(ctx)
	} else {
		asking, cancel := context.WithTimeout(ctx, clusterPatience)
		defer cancel()
		if id, err = store.KnownCluster(asking); err != nil {
			a.log.Warn("the store cannot be asked for its cluster; it is taken for the one of before", "cluster", kept, "error", err)
			return kept, nil
		}
		id = cmp.Or(id, kept)
	}
	if err != nil || id == kept {
		return id, err
	}
	if kept != "" {
		a.log.Warn("the store is of another cluster than before: it was restored; this server belongs to that one now", "cluster", id, "before", kept)
	}
	if err := durable.Replace(path, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("keep the cluster's ID: %w", err)
	}
	return id, nil
}

func (a *Agent) consulConfig() (consul.Config, error) {
	c, cc := a.cfg.Consul, consul.DefaultConfig()
	token, err := readToken(c.TokenFile)
	if err != nil {
		return cc, fmt.Errorf("consul.token_file: %w", err)
	}
	cc.Address, cc.Token, cc.Prefix, cc.Logger = c.Address, token, c.Prefix, a.log
	cc.TLS = consul.TLS{CAFile: c.CACert, CertFile: c.ClientCert, KeyFile: c.ClientKey, ServerName: c.TLSServerName}
	cc.Name, cc.ServerURL = a.cfg.Name, a.url(a.advertise)
	cc.Checks = []string{consul.ProcessCheck(a.cfg.Name)}
	cc.SeenFile = filepath.Join(a.cfg.DataDir, seenFile)
	cc.Observe = a.metrics.transaction
	return cc, nil
}

// readToken reads a file that holds nothing but a token.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return token, nil
}

const (
	// snapshotsKnown is of how many snapshots back Nomad still knows all jobs: what ended since then does not run again when one
	// of them is restored.
	snapshotsKnown = 2
	// nomadCollects is when Nomad collects a job that has ended by itself, unless its job_gc_threshold is another one.
	nomadCollects = 4 * time.Hour
)

func (a *Agent) newNomad(cluster string, onRestore func(context.Context)) (*nomad.Executor, error) {
	nc, c := nomad.DefaultConfig().WithEnvironment(a.cfg.Getenv), a.cfg.Nomad
	for to, from := range map[*string]string{
		&nc.Address: c.Address, &nc.Region: c.Region, &nc.TokenFile: c.TokenFile, &nc.TLS.CACert: c.CACert,
		&nc.TLS.ClientCert: c.ClientCert, &nc.TLS.ClientKey: c.ClientKey, &nc.TLS.ServerName: c.TLSServerName,
	} {
		if from != "" {
			*to = from
		}
	}
	moved, err := nomad.ParseMoved(c.Moved)
	if err != nil {
		return nil, fmt.Errorf("nomad.moved: %w", err)
	}
	nc.Cluster, nc.Logger, nc.OnRestore, nc.Moved = cluster, a.log, onRestore, moved
	if a.cfg.Backup.Enabled {
		known := min(snapshotsKnown*a.cfg.Backup.Interval, nomadCollects)
		nc.KeepJobs, nc.KeepFailedJobs = max(nc.KeepJobs, known), max(nc.KeepFailedJobs, known)
	}
	return nomad.New(nc)
}

// lead drives runs whenever this server leads, until ctx ends or what it leads with is broken for good.
func (a *Agent) lead(ctx context.Context) error {
	if a.stands != nil {
		select {
		case <-a.stands:
		case <-ctx.Done():
			return nil
		}
	}
	for {
		err := a.scheduler.Run(ctx)
		var stepped *scheduler.SteppedDownError
		switch {
		case ctx.Err() != nil:
			return err
		case errors.As(err, &stepped):
			a.yield(ctx, stepped.Epoch)
		case !errors.Is(err, scheduler.ErrFenced) || a.cfg.Dev:
			return err
		}
		a.log.Warn("standing by", "error", err)
	}
}

// Run serves until ctx ends; then it hands the leadership over, answers what is under way, and closes everything. What runs
// on Nomad goes on.
func (a *Agent) Run(ctx context.Context) error {
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer endRequests()
	handler := a.handler
	if a.cfg.TLS.VerifyHTTPSClient {
		handler = certified(handler)
	}
	server := &http.Server{
		Handler:           guard(newBodies(handler), a.advertise),
		ReadHeaderTimeout: 10 * time.Second, // whoever needs longer for a header is no caller
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          a.log.Named("http").StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true}),
	}
	// The API is there before this server can lead: Consul asks it whether the process lives.
	var group sync.WaitGroup
	serving := make(chan error, 1)
	group.Go(func() {
		var err error
		if a.cfg.TLS.HTTP {
			server.TLSConfig, server.TLSNextProto = a.certs.config(), map[string]func(*http.Server, *tls.Conn, http.Handler){}
			err = server.ServeTLS(a.listener, "", "")
		} else {
			err = server.Serve(a.listener)
		}
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		serving <- err
	})
	driving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group.Go(func() {
		select {
		case <-ctx.Done():
			if a.cfg.Forget {
				a.terminate(driving)
			}
			stop()
		case <-driving.Done():
		}
	})
	var tending sync.WaitGroup
	for _, tend := range a.tend {
		tending.Go(func() { tend(driving) })
	}
	scheduled := make(chan error, 1)
	group.Go(func() { scheduled <- a.lead(driving) })
	a.log.Info("server started", "name", a.cfg.Name, "address", a.URL(), "access", a.cfg.Access.Mode, "dev", a.cfg.Dev)
	if host, _, err := net.SplitHostPort(a.Address()); err == nil && !config.Loopback(host) && !a.cfg.TLS.HTTP {
		a.log.Warn("callers' tokens cross the network in clear, between servers too: set tls, or see that nobody can listen there")
	}

	var err error
	select {
	case err = <-scheduled: // ctx has ended, or the elector is broken for good
	case err = <-serving:
		err = fmt.Errorf("serve the API: %w", err)
		stop()
		err = errors.Join(err, <-scheduled)
	}
	stop()
	tending.Wait()
	if a.leave != nil {
		a.leave() // not before: with the registration goes the check that the leadership is bound to
	}
	if err != nil && ctx.Err() != nil {
		a.log.Warn("the leadership was not handed over; it ends by itself", "error", err)
		err = nil
	}
	endRequests() // whoever waits for a change asks another server
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	if server.Shutdown(grace) != nil {
		err = errors.Join(err, server.Close()) // whoever did not take the answer in time
	}
	group.Wait()
	a.log.Info("server stopped", "name", a.cfg.Name)
	return errors.Join(err, a.Close())
}

// terminatePatience bounds how long the end waits for what it terminates: the longest kill_timeout that people use.
const terminatePatience = 30 * time.Second

// terminate ends every active run, and waits for that.
func (a *Agent) terminate(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, terminatePatience)
	defer cancel()
	active, err := a.scheduler.List(ctx, scheduler.Filter{Active: true})
	if err != nil {
		a.log.Warn("runs cannot be listed; what runs goes on", "error", err)
		return
	}
	for _, run := range active {
		err := a.scheduler.Verb(ctx, run.ID, engine.Event{Kind: engine.Terminate, By: a.cfg.Name, Reason: "the server ends"})
		if err == nil {
			_, err = a.scheduler.Wait(ctx, run.ID)
		}
		if err != nil {
			a.log.Warn("a run cannot be terminated; what runs of it goes on", "run", run.ID, "error", err)
		}
	}
}

// Close gives up what NewAgent has opened; Run does it itself.
func (a *Agent) Close() error {
	var errs []error
	for i := len(a.shut) - 1; i >= 0; i-- {
		errs = append(errs, a.shut[i]())
	}
	a.shut = nil
	return errors.Join(errs...)
}

// registered keeps this server registered at its Consul agent.
type registered struct {
	service *consul.Service
	health  func(context.Context, consul.Member) (api.Health, error)
	process string // of this server
	log     hclog.Logger
	once    bool          // it has been registered
	ready   chan struct{} // closed then
}

// namesakePatience is how long another server of this name is asked which process it is.
const namesakePatience = 2 * time.Second

// lookEvery is how often the agent is asked whether it still knows this server.
const lookEvery = 10 * time.Second

// register registers this server, unless there is another one of its name: requests for one of them would go to the other.
func (r *registered) register(ctx context.Context) error {
	namesakes, err := r.service.Namesakes(ctx)
	if err != nil {
		return err
	}
	for _, m := range namesakes {
		asking, cancel := context.WithTimeout(ctx, namesakePatience)
		h, err := r.health(asking, m)
		cancel()
		if err != nil || h.Process != r.process { // else it is this one, at an address that it had before
			return fmt.Errorf("another server of this name answers at %s: unless it is about to end, set name to one of its own for each",
				m.Address)
		}
	}
	if err := r.service.Register(ctx); err != nil {
		return err
	}
	if !r.once {
		r.once = true
		close(r.ready)
	}
	return nil
}

// keep registers, and registers again where the agent has forgotten.
func (r *registered) keep(ctx context.Context) {
	backoff := scheduler.DefaultConfig().Backoff
	known := false // what is there may be of a process before this one, at another address
	for failures := 0; ctx.Err() == nil; {
		var err error
		if known {
			known, err = r.service.Registered(ctx)
		}
		if err == nil && !known {
			err = r.register(ctx)
			known = err == nil
		}
		if err != nil {
			failures++
			if ctx.Err() == nil {
				r.log.Warn("this server cannot be registered; trying again", "failures", failures, "error", err)
			}
			if backoff.Wait(ctx, failures) != nil {
				return
			}
			continue
		}
		failures = 0
		pause := time.NewTimer(lookEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// leave takes the server out.
func (r *registered) leave() {
	if !r.once {
		return // what is registered there is another one of this name
	}
	if mine, err := r.service.Registered(context.Background()); err == nil && !mine {
		return // the same, since this one was taken for dead
	}
	if err := r.service.Deregister(context.Background()); err != nil {
		r.log.Warn("this server stays registered; Consul's check will find it gone", "error", err)
	}
}
