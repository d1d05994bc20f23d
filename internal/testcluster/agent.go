// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// readyTimeout bounds a start. An agent is ready in one or two seconds; the
	// rest is for two cores that build and test other packages meanwhile.
	readyTimeout = 90 * time.Second

	// stopTimeout is how long an agent may take over SIGTERM before SIGKILL.
	stopTimeout = 20 * time.Second
)

// Agent is one Nomad or Consul process with its own data folder and ports, which
// outlive the process: it can be stopped and started again as the same agent.
// Methods may be called from any goroutine, one at a time.
type Agent struct {
	Name    string // also the node name
	Address string // of its HTTP API: http://127.0.0.1:port
	Dir     string // config, log and data live here
	LogFile string
	Group   uint32 // of its process and of what it starts, so that a firewall knows them; 0 = that of the test

	binary string
	args   []string
	ready  func(ctx context.Context) error

	mu   sync.Mutex // guards proc
	proc *process   // nil before the first start
}

// process is one life of an agent.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once the process has been waited for
	err  error         // of the wait; read after done
}

// Start starts a stopped agent and waits until it is ready. It does nothing where
// the agent runs.
func (a *Agent) Start() error {
	if err := a.spawn(); err != nil {
		return err
	}
	return a.waitReady()
}

// Stop ends the agent with SIGTERM, and with SIGKILL if it does not go. The tasks
// of a Nomad client go on, as they do on a real machine.
func (a *Agent) Stop() error {
	p := a.running()
	if p == nil {
		return nil
	}
	if err := a.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		return a.Kill()
	}
}

// Kill ends the agent with SIGKILL and returns when it is gone. The tasks of a
// Nomad client go on.
func (a *Agent) Kill() error {
	p := a.running()
	if p == nil {
		return nil
	}
	err := a.signal(syscall.SIGKILL)
	<-p.done
	return err
}

// PowerOff is the loss of the machine: it kills the agent first, then every
// process the agent has started, tasks included.
func (a *Agent) PowerOff() error {
	if err := a.Kill(); err != nil {
		return err
	}
	return reap("kill", a.Dir+"/")
}

// Pause stops the agent with SIGSTOP: it keeps its connections and answers nothing.
func (a *Agent) Pause() error { return a.signal(syscall.SIGSTOP) }

// Resume continues a paused agent.
func (a *Agent) Resume() error { return a.signal(syscall.SIGCONT) }

// Restart stops the agent and starts it on the same data and ports.
func (a *Agent) Restart() error {
	if err := a.Stop(); err != nil {
		return err
	}
	return a.Start()
}

// PID returns the process ID of the running agent, 0 if it does not run.
func (a *Agent) PID() int {
	p := a.running()
	if p == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (a *Agent) signal(sig syscall.Signal) error {
	p := a.running()
	if p == nil {
		return fmt.Errorf("send %s to %s: it does not run", sig, a.Name)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %s to %s: %w", sig, a.Name, err)
	}
	return nil
}

// running returns the agent's process, nil if there is none.
func (a *Agent) running() *process {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.proc == nil {
		return nil
	}
	select {
	case <-a.proc.done:
		return nil
	default:
		return a.proc
	}
}

func (a *Agent) spawn() error {
	if a.running() != nil {
		return nil
	}
	log, err := os.OpenFile(a.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", a.Name, err)
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(a.binary, a.args...)
	cmd.Dir = "/"
	cmd.Env = append(agentEnv(), marker+"="+a.Dir+"/")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = ownGroup()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if a.Group != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(os.Getuid()), Gid: a.Group}
	}

	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Linux sends Pdeathsig when the thread that started the child ends, not
		// the process: this goroutine keeps its thread until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", a.Name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.proc = p
	return nil
}

// waitReady waits for the agent's own word that it serves.
func (a *Agent) waitReady() error {
	return a.wait(a.Name, a.ready)
}

// wait retries a check until it succeeds, and gives up early if the agent ends.
func (a *Agent) wait(what string, check func(context.Context) error) error {
	a.mu.Lock()
	p := a.proc
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- retry(ctx, check) }()
	select {
	case err := <-result:
		if err != nil {
			return fmt.Errorf("wait for %s: %w\n%s", what, err, tail(a.LogFile))
		}
		return nil
	case <-p.done:
		cancel()
		<-result
		return fmt.Errorf("%s ended while starting: %w\n%s", a.Name, p.err, tail(a.LogFile))
	}
}

// agentEnv is the environment of this process without what would point an agent,
// or a task it starts, at another cluster.
func agentEnv() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !hasAnyPrefix(entry, "NOMAD_", "CONSUL_", "VAULT_", "CAIRN_") {
			env = append(env, entry)
		}
	}
	return env
}

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// retry calls try until it succeeds or ctx ends, waiting longer each time, from 10
// to 200 milliseconds: for what an agent cannot be asked to report by itself.
func retry(ctx context.Context, try func(ctx context.Context) error) error {
	wait := 10 * time.Millisecond
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: last answer: %w", ctx.Err(), err)
		case <-timer.C:
		}
		wait = min(2*wait, 200*time.Millisecond)
	}
}
