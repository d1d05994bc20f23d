// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"
)

func TestConsulKeepsKeysAndSessionsOverARestart(t *testing.T) {
	cluster := Consul(t, ConsulConfig{})
	client := cluster.Client()
	pair := &consulapi.KVPair{Key: "smoke/key", Value: []byte("value")}
	if _, err := client.KV().Put(pair, nil); err != nil {
		t.Fatal(err)
	}
	session, _, err := client.Session().Create(&consulapi.SessionEntry{Name: "smoke", LockDelay: time.Millisecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	lock := &consulapi.KVPair{Key: "smoke/lock", Session: session}
	if ok, _, err := client.KV().Acquire(lock, nil); err != nil || !ok {
		t.Fatalf("acquire the lock: got %t, %v; want true", ok, err)
	}

	if err := cluster.Restart(); err != nil {
		t.Fatal(err)
	}
	got, _, err := client.KV().Get("smoke/key", nil)
	if err != nil || got == nil || string(got.Value) != "value" {
		t.Errorf("read the key after a restart: got %v, %v; want %q", got, err, "value")
	}
	held, _, err := client.KV().Get("smoke/lock", nil)
	if err != nil || held == nil || held.Session != session {
		t.Errorf("read the lock after a restart: got %v, %v; want session %s", held, err, session)
	}
}

func TestConsulOfThreeServersOutlivesItsLeader(t *testing.T) {
	cluster := Consul(t, ConsulConfig{Servers: 3, Clients: 1, ACL: true})
	if got := len(cluster.Agents()); got != 4 {
		t.Fatalf("got %d agents, want 4", got)
	}
	leader, err := cluster.Client().Status().Leader()
	if err != nil {
		t.Fatal(err)
	}
	lost, survivor := cluster.Servers[0], cluster.Servers[1]
	for _, a := range cluster.Servers {
		self, err := cluster.ClientOf(a).Agent().Self()
		if err != nil {
			t.Fatal(err)
		}
		if self["Stats"]["consul"].(map[string]any)["leader"] == "true" {
			lost = a
		} else {
			survivor = a
		}
	}
	if err := lost.PowerOff(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	client := cluster.ClientOf(survivor)
	err = retry(ctx, func(context.Context) error {
		_, err := client.KV().Put(&consulapi.KVPair{Key: "smoke", Value: []byte("1")}, nil)
		return err
	})
	if err != nil {
		t.Fatalf("write after the loss of leader %s: %v", leader, err)
	}
	if err := lost.Start(); err != nil {
		t.Fatal(err)
	}
}

func TestNomadRunsAJobToItsEndBeforeAndAfterARestart(t *testing.T) {
	cluster := Nomad(t, NomadConfig{})
	client := cluster.Client()
	runJob(t, client, rawExec("before", "/bin/true"))
	if err := cluster.Restart(); err != nil {
		t.Fatal(err)
	}
	runJob(t, client, rawExec("after", "/bin/true"))
	job, _, err := client.Jobs().Info("before", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *job.Status, "dead"; got != want {
		t.Errorf("the first job after the restart: got status %s, want %s", got, want)
	}
}

func TestNomadWithClientsOfTheirOwnSurvivesALostMachine(t *testing.T) {
	cluster := Nomad(t, NomadConfig{
		Clients: 2, ACL: true,
		MinHeartbeatTTL: time.Second, HeartbeatGrace: time.Second,
	})
	client := cluster.Client()
	runJob(t, client, rawExec("first", "/bin/true"))

	lost := cluster.Clients[0]
	node := nodeOf(t, client, lost.Name)
	if err := lost.PowerOff(); err != nil {
		t.Fatal(err)
	}
	waitNode(t, client, node, nomadapi.NodeStatusDown)
	runJob(t, client, rawExec("second", "/bin/true"))

	if err := lost.Start(); err != nil {
		t.Fatal(err)
	}
	if got := nodeOf(t, client, lost.Name); got != node {
		t.Errorf("node ID after the machine's return: got %s, want %s", got, node)
	}
}

func TestAPausedAgentIsSilentUntilItIsResumed(t *testing.T) {
	cluster := Nomad(t, NomadConfig{})
	agent := cluster.Servers[0]
	if err := agent.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := cluster.checkServer(ctx, agent); err == nil {
		t.Error("a paused agent answered")
	}
	if err := agent.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := cluster.checkServer(t.Context(), agent); err != nil {
		t.Errorf("a resumed agent does not answer: %v", err)
	}
}

func TestCloseLeavesNothingOfARunningTask(t *testing.T) {
	NomadBinary(t)
	cluster, err := StartNomad(NomadConfig{})
	if err != nil {
		t.Fatal(err)
	}
	client, dir := cluster.Client(), cluster.ground.dir
	if _, _, err := client.Jobs().Register(rawExec("long", "/bin/sh", "-c", "sleep 1000 & sleep 1000"), nil); err != nil {
		t.Fatal(err)
	}
	waitTask(t, client, "long", func(state *nomadapi.TaskState) bool { return state.State == "running" })
	if found := processesUnder(t, dir); len(found) < 3 {
		t.Fatalf("got %d processes with the cluster's mark, want the agent, its plugins and the task", len(found))
	}
	if err := cluster.Close(); err != nil {
		t.Fatal(err)
	}
	if found := processesUnder(t, dir); len(found) != 0 {
		t.Errorf("processes left: %v", found)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the cluster's folder is still there: %v", err)
	}
}

func TestAnAgentThatCannotStartSaysWhy(t *testing.T) {
	NomadBinary(t)
	cluster, err := StartNomad(NomadConfig{ExtraServer: `no_such_key = true`})
	if err == nil {
		cluster.Close()
		t.Fatal("a Nomad with a broken configuration started")
	}
	if got, want := err.Error(), "no_such_key"; !strings.Contains(got, want) {
		t.Errorf("got %q, want it to name %q", got, want)
	}
}
