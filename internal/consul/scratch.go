// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	consulapi "github.com/hashicorp/consul/api"
)

// Scratch is a Consul that nobody else uses: one server on this machine, on loopback, with its data in a temporary folder.
type Scratch struct {
	Address string // host:port of its HTTP API

	dir     string
	process *exec.Cmd
	ended   chan error // what became of the process, once
}

// scratchFolder begins the name of its folder, and scratchOld is the age from which nobody can be at work in one.
const (
	scratchFolder = "cairn-drill-"
	scratchOld    = 24 * time.Hour
)

// scratchPatience is how long it may take to answer.
const scratchPatience = time.Minute

// StartScratch starts the program of Consul as one. It ends with Close, or with this process.
func StartScratch(ctx context.Context, program string) (_ *Scratch, err error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, fmt.Errorf("start a scratch Consul: %w", err)
	}
	if err := tidyScratch(); err != nil {
		return nil, fmt.Errorf("remove what other scratch Consuls have left: %w", err)
	}
	dir, err := os.MkdirTemp("", scratchFolder)
	if err != nil {
		return nil, fmt.Errorf("start a scratch Consul: %w", err)
	}
	s := &Scratch{Address: fmt.Sprintf("127.0.0.1:%d", ports[0]), dir: dir, ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start a scratch Consul: %w", err), s.Close())
		}
	}()
	config, err := json.Marshal(map[string]any{
		"node_name": "cairn-drill", "data_dir": filepath.Join(dir, "data"), "server": true, "bootstrap_expect": 1, "disable_update_check": true,
		"bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "log_level": "WARN", "connect": map[string]any{"enabled": false},
		"ports":       map[string]int{"http": ports[0], "server": ports[1], "serf_lan": ports[2], "serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1},
		"performance": map[string]int{"raft_multiplier": 1},
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "consul.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(s.log())
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has it
	s.process = exec.Command(program, "agent", "-config-file="+path)
	s.process.Env, s.process.Dir, s.process.Stdout, s.process.Stderr = []string{"HOME=" + dir, "TMPDIR=" + dir}, dir, log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // with its end the signal would come
		defer runtime.UnlockOSThread()
		err := s.process.Start()
		started <- err
		if err == nil {
			s.ended <- s.process.Wait()
		}
	}()
	if err := <-started; err != nil {
		s.process = nil
		return nil, err
	}
	return s, s.Await(ctx)
}

// tidyScratch removes what drills have left that were killed, or whose machine was: it holds ACL tokens.
func tidyScratch() error {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), scratchFolder+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		info, err := os.Stat(dir)
		if err == nil && time.Since(info.ModTime()) > scratchOld {
			err = os.RemoveAll(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) { // somebody else's
			return err
		}
	}
	return nil
}

func (s *Scratch) log() string { return filepath.Join(s.dir, "log") }

// Await waits until it has a leader that answers: at its start, and after a restore.
func (s *Scratch) Await(ctx context.Context) error {
	api, err := consulapi.NewClient(&consulapi.Config{Address: s.Address})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, scratchPatience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, time.Second)
		_, _, err := api.KV().Keys("none/", "/", (&consulapi.QueryOptions{RequireConsistent: true}).WithContext(call))
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case end := <-s.ended:
			s.ended <- end
			return fmt.Errorf("it has ended: %w: %s", errors.Join(end, err), s.tail())
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w: %s", errors.Join(ctx.Err(), err), s.tail())
		}
	}
}

// tail is the end of what it has said.
func (s *Scratch) tail() string {
	const enough = 2000
	text, err := os.ReadFile(s.log())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-enough):]))
}

// Close ends it, and removes what it has written.
func (s *Scratch) Close() error {
	var err error
	if s.process != nil {
		if err = s.process.Process.Kill(); errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
		<-s.ended // killed
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// freePorts finds ports of loopback that nobody listens at.
func freePorts(n int) (ports []int, err error) {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
