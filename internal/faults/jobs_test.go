// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// deployed is Cairn as jobs/cairn.nomad.hcl deploys it, on a Nomad and a Consul that deny by default.
type deployed struct {
	g      *ground
	nomad  *testcluster.NomadCluster
	consul *testcluster.ConsulCluster
	api    *nomadapi.Client
}

// workloads has Consul trust Nomad's workload identities: whoever is of the job cairn gets the role that servers need.
func (d *deployed) workloads() {
	t := d.g.t
	acl := d.consul.Client().ACL()
	policy, err := os.ReadFile(filepath.Join("..", "..", "jobs", "policies", "consul.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := acl.PolicyCreate(&consulapi.ACLPolicy{Name: "cairn", Rules: string(policy)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := acl.RoleCreate(&consulapi.ACLRole{Name: "cairn", Policies: []*consulapi.ACLLink{{Name: "cairn"}}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := acl.AuthMethodCreate(&consulapi.ACLAuthMethod{Name: "nomad-workloads", Type: "jwt", Config: map[string]any{
		"JWKSURL": d.nomad.Address() + "/.well-known/jwks.json", "JWTSupportedAlgs": []string{"RS256"}, "BoundAudiences": []string{"consul.io"},
		"ClaimMappings": map[string]string{"nomad_namespace": "nomad_namespace", "nomad_job_id": "nomad_job_id"},
	}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := acl.BindingRuleCreate(&consulapi.ACLBindingRule{
		AuthMethod: "nomad-workloads", BindType: consulapi.BindingRuleBindTypeRole, BindName: "cairn",
		Selector: `value.nomad_namespace == "default" and value.nomad_job_id == "cairn"`,
	}, nil); err != nil {
		t.Fatal(err)
	}
}

// tool runs Nomad's own command line with the management token.
func (d *deployed) tool(args ...string) {
	d.g.t.Helper()
	nomadTool(d.g.t, d.nomad, args...)
}

func nomadTool(t *testing.T, nomad *testcluster.NomadCluster, args ...string) {
	t.Helper()
	cmd := exec.Command(testcluster.NomadBinary(t), args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(clean(os.Environ()), "NOMAD_ADDR="+nomad.Address(), "NOMAD_TOKEN="+nomad.Token)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nomad %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// servers returns the addresses of the servers that run, when there are three and one of them leads.
func (d *deployed) servers(version uint64) (addresses []string) {
	t := d.g.t
	t.Helper()
	d.g.await(fmt.Sprintf("three servers of version %d of the job, and a leader", version), soon(), func() bool {
		addresses = nil
		leaders := 0
		allocs, _, err := d.api.Jobs().Allocations("cairn", false, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range allocs {
			if a.ClientStatus == nomadapi.AllocClientStatusFailed {
				t.Fatalf("a server has failed: %s", d.why(a.ID))
			}
			if a.ClientStatus != nomadapi.AllocClientStatusRunning || a.DesiredStatus != nomadapi.AllocDesiredStatusRun || a.JobVersion != version {
				continue
			}
			full, _, err := d.api.Allocations().Info(a.ID, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range full.AllocatedResources.Shared.Ports {
				address := fmt.Sprintf("%s:%d", p.HostIP, p.Value)
				addresses = append(addresses, address)
				if (&member{address: address}).leads() {
					leaders++
				}
			}
		}
		return len(addresses) == 3 && leaders == 1
	})
	return addresses
}

// why is what an allocation's tasks wrote to standard error.
func (d *deployed) why(id string) string {
	alloc, _, err := d.api.Allocations().Info(id, nil)
	if err != nil {
		return err.Error()
	}
	told, _ := json.Marshal(alloc.TaskStates) // of Nomad's own making
	return string(told)
}

// Servers are deployed as the guide says, with exactly the policies it says, by workload identity. A run goes on while they are
// updated one after the other.
func TestServersRunAsAJobOfNomad(t *testing.T) {
	t.Parallel()
	d := &deployed{g: newGround(t), consul: testcluster.Consul(t, testcluster.ConsulConfig{ACL: true})}
	const identities = "consul {\n  token = %q\n  service_identity {\n    aud = [\"consul.io\"]\n  }\n  task_identity {\n    aud = [\"consul.io\"]\n  }\n}\n"
	extra := fmt.Sprintf(identities, d.consul.Token)
	d.nomad = testcluster.Nomad(t, testcluster.NomadConfig{ACL: true, ConsulAddress: d.consul.Address(), ExtraServer: extra, ExtraClient: extra})
	d.api = d.nomad.Client()
	defer d.api.Close()
	d.workloads()
	d.tool("acl", "policy", "apply", "-namespace", "default", "-job", "cairn", "cairn", "jobs/policies/nomad.hcl")
	job := []string{
		"job", "run", "-detach", "-var", "binary=" + d.g.cairn, "-var", "own_machines=false", "-var", "nomad_address=" + d.nomad.Address(),
		"-var", "consul_address=" + d.consul.Address(), "-var", "consul_token=identity",
	}
	const file = "jobs/cairn.nomad.hcl"
	d.tool(append(slices.Clone(job), file)...)
	addresses := d.servers(0)

	user := d.nomad.NewToken(t, "user", "namespace \"default\" {\n  policy = \"write\"\n}\n")
	call := func(code int, address, token, command string, args ...string) *process {
		all := append(strings.Fields(command), "-address", "http://"+address, "-token", token)
		return d.g.call(code, append(all, args...)...)
	}
	p := newGround(t).shared() // with a ledger of its own
	run := call(0, addresses[0], user, "run -json", p.file()).document()
	if run.Status != "succeeded" {
		t.Errorf("the run is %s: %s", run.Status, run.Reason)
	}
	contains(t, call(1, addresses[1], "", "runs list").stderr(), "token")

	long := d.g.newPlan("long")
	long.task(spec{name: "first", work: "-for 15s"})
	long.task(spec{name: "second", work: "-for 15s", after: []string{"first"}})
	long.task(spec{name: "third", work: "-for 1ms", after: []string{"second"}})
	call(0, addresses[2], user, "run -detach", long.file())
	id := d.g.begun("first").Run
	d.tool(append(slices.Clone(job), "-var", "log_level=DEBUG", file)...)
	renewed := d.servers(1)
	for _, a := range renewed {
		if slices.Contains(addresses, a) {
			t.Errorf("server %s is of before the update", a)
		}
	}
	watch := call(0, renewed[0], user, "runs watch", id)
	contains(t, watch.stdout(), "succeeded")
	d.g.judge(call(0, renewed[1], user, "runs show -json", id).document(), long.expect)
}

// The drill runs as a periodic job, as the guide says, and servers and people are told what came of it.
func TestTheDrillRunsAsAJobOfNomad(t *testing.T) {
	t.Parallel()
	s := newSite(t, false)
	g, nomad := s.g, cluster.Nomad(t)
	good, _ := s.save()
	contains(t, g.call(0, "operator", "snapshot", "list").stdout(), "DRILLED", " -")
	nomadTool(t, nomad, "job", "run", "-var", "backup="+s.backups, "-var", "binary="+g.cairn, "-var", "consul="+testcluster.ConsulBinary(t),
		"-var", "prefix="+s.prefix(), "jobs/drill.nomad.hcl")
	drill := func(file string) *api.BackupDrill {
		nomadTool(t, nomad, "job", "periodic", "force", "cairn-drill")
		var found *api.BackupDrill
		g.await("a drill of "+file, soon(), func() bool {
			var list api.Backups
			asked := g.start("operator", "snapshot", "list", "-json", "-folder", s.backups)
			asked.code()
			if err := json.Unmarshal([]byte(asked.stdout()), &list); err != nil {
				t.Fatal(err)
			}
			if list.Drilled == filepath.Base(file) {
				found = list.LastDrilled().Drill
			}
			return found != nil
		})
		return found
	}
	if came := drill(good); !came.Good() {
		t.Errorf("the drill failed: %v", came.Broken)
	}
	bad, _ := s.save() // servers look at the folder again with it
	var told api.Backups
	if err := json.Unmarshal([]byte(g.call(0, "operator", "snapshot", "list", "-json").stdout()), &told); err != nil || told.Drilled != filepath.Base(good) {
		t.Errorf("the servers take %q for the last that was drilled, want %s (%v)", told.Drilled, good, err)
	}
	s.checks(api.LevelOK, filepath.Base(good)+" was restored for a try")

	if err := os.Truncate(bad, 1000); err != nil {
		t.Fatal(err)
	}
	if came := drill(bad); came.Good() {
		t.Error("a damaged snapshot was drilled, and nobody noticed")
	}
	contains(t, g.call(1, "operator", "snapshot", "list", "-folder", s.backups).stderr(), "The drill of "+filepath.Base(bad)+" failed", "no sound snapshot")
	s.save()
	s.checks(api.LevelFail, "the drill of "+filepath.Base(bad))
}

// checks looks for a finding about drills.
func (s *site) checks(level, text string) {
	t := s.g.t
	t.Helper()
	asked := s.g.start("operator", "check", "-json")
	asked.code() // other findings may have one of their own
	var told api.Checkup
	if err := json.Unmarshal([]byte(asked.stdout()), &told); err != nil {
		t.Fatal(err)
	}
	for _, f := range told.Findings {
		if f.About == "backup" && f.Subject == "drill" && f.Level == level && strings.Contains(f.Finding, text) {
			return
		}
	}
	t.Errorf("nothing is said of %q: %+v", text, told.Findings)
}
