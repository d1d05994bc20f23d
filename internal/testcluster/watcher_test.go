// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	nomadapi "github.com/hashicorp/nomad/api"
)

// abandonEnv makes the test binary start a cluster with a task and leave both
// behind, for the test of the watcher.
const abandonEnv = "CAIRN_TESTCLUSTER_ABANDON"

var shared Shared

func TestMain(m *testing.M) {
	if os.Getenv(abandonEnv) != "" {
		if err := abandon(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(shared.Run(m))
}

// abandon prints the folder of a cluster whose task runs and waits to be killed.
func abandon() error {
	cluster, err := StartNomad(NomadConfig{})
	if err != nil {
		return err
	}
	client := cluster.Client()
	if _, _, err := client.Jobs().Register(rawExec("long", "/bin/sleep", "1000"), nil); err != nil {
		return err
	}
	err = retry(context.Background(), func(context.Context) error {
		allocs, _, err := client.Jobs().Allocations("long", true, nil)
		if err != nil {
			return err
		}
		if len(allocs) == 0 || allocs[0].ClientStatus != nomadapi.AllocClientStatusRunning {
			return errors.New("the task does not run yet")
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Println(cluster.ground.dir)
	_, err = io.Copy(io.Discard, os.Stdin) // until the test ends, if it fails to kill us
	return err
}

func TestNothingOutlivesAKilledTestProcess(t *testing.T) {
	NomadBinary(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), abandonEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir = strings.TrimSpace(dir)
	// Two agents, log collector, executor, task.
	if found := processesUnder(t, dir); len(found) < 5 {
		t.Fatalf("got %d processes before the kill, want at least 5: %v", len(found), found)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the killed process ended with code 0")
	}
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	err = retry(ctx, func(context.Context) error {
		if found := processesUnder(t, dir); len(found) > 0 {
			return fmt.Errorf("still there: %v", found)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			return fmt.Errorf("%s is still there (%v)", dir, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTestsOfAPackageShareOneCluster(t *testing.T) {
	first, second := shared.Consul(t), shared.Consul(t)
	if first != second {
		t.Error("two calls started two clusters")
	}
}
