// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

// exceptions are all outcomes of the comparison with Nomad's parser that are neither equality nor a job file that both refuse.
var exceptions = []exception{
	{"job", "own/group-secret-twice.nomad.hcl", secretsDiffer, secretTwice},
	{"group", "nomad/demo/csi/kadalu-csi/controller.nomad group 0", bothRefuse, missingFile},
	{"inline", "nomad/demo/csi/kadalu-csi/controller.nomad group 0", bothRefuse, missingFile},
	{"group", "docs/website/content/docs/reference/hcl2/functions/file/file.mdx#1 group 0", bothRefuse, missingFile},
	{"inline", "docs/website/content/docs/reference/hcl2/functions/file/file.mdx#1 group 0", bothRefuse, missingFile},
	{"group", "own/group-secret-twice.nomad.hcl group 0", secretsDiffer, secretTwice},
	{"group", "own/constraints-nomad-ignores.nomad.hcl group 0", onlyWe, ignoredWord},
	{"group", "docs/website/content/docs/job-declare/nomad-variables.mdx#1 group 0", onlyWe, unknownRoot},
	{"group", "docs/website/content/docs/reference/runtime-variable-interpolation.mdx#2 group 0", onlyWe, unknownRoot},
	{"group", "docs/website/content/docs/secure/workload-identity/vault.mdx#4 group 0", onlyWe, unknownRoot},
	{"group", "docs/website/content/docs/secure/workload-identity/vault.mdx#5 group 0", onlyWe, unknownRoot},
	{"group", "docs/website/content/docs/secure/workload-identity/vault.mdx#6 group 0", onlyWe, unknownRoot},
	{"group", "nomad/demo/csi/ceph-csi-plugin/plugin-cephrbd-controller-vagrant.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/demo/csi/ceph-csi-plugin/plugin-cephrbd-controller.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/demo/csi/ceph-csi-plugin/plugin-cephrbd-node.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/demo/csi/cinder-csi-plugin/cinder-csi-plugin.hcl group 0", onlyWe, unknownRoot},
	{"group", "nomad/demo/csi/digitalocean/plugin.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/demo/csi/digitalocean/volume-job.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/demo/csi/hostpath/plugin.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/demo/csi/nfs/jobs/controller-plugin.nomad.hcl group 0", onlyWe, unknownRoot},
	{"group", "nomad/demo/csi/nfs/jobs/node-plugin.nomad.hcl group 0", onlyWe, unknownRoot},
	{"group", "nomad/e2e/csi/input/plugin-aws-ebs-controller.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/e2e/csi/input/plugin-aws-ebs-nodes.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/e2e/csi/input/plugin-aws-efs-nodes.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/e2e/docker_registry/registry-auths.hcl group 0", onlyWe, unknownRoot},
	{"group", "nomad/e2e/ui/input/proxy.nomad group 0", onlyWe, unknownRoot},
	{"group", "nomad/enos/modules/run_workloads/jobs/plugin-nfs-controllers.nomad.hcl group 0", onlyWe, unknownRoot},
	{"group", "nomad/enos/modules/run_workloads/jobs/plugin-nfs-nodes.nomad.hcl group 0", onlyWe, unknownRoot},
	{"group", "nomad/enos/modules/run_workloads/templates/vault-secrets.nomad.hcl.tpl group 0", onlyWe, unknownRoot},
	{"group", "nomad/terraform/examples/tensorrt/tensorrt-demo.nomad group 1", onlyWe, unknownRoot},
	{"group", "own/roots-of-nobody.nomad.hcl group 0", onlyWe, unknownRoot},
	{"inline", "docs/website/content/docs/reference/runtime-variable-interpolation.mdx#2 group 0", onlyWe, unknownRoot},
	{"inline", "docs/website/content/docs/secure/workload-identity/vault.mdx#4 group 0", onlyWe, unknownRoot},
	{"inline", "docs/website/content/docs/secure/workload-identity/vault.mdx#5 group 0", onlyWe, unknownRoot},
	{"inline", "docs/website/content/docs/secure/workload-identity/vault.mdx#6 group 0", onlyWe, unknownRoot},
	{"inline", "nomad/demo/csi/ceph-csi-plugin/plugin-cephrbd-controller-vagrant.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/demo/csi/ceph-csi-plugin/plugin-cephrbd-controller.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/demo/csi/ceph-csi-plugin/plugin-cephrbd-node.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/demo/csi/digitalocean/plugin.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/demo/csi/digitalocean/volume-job.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/demo/csi/hostpath/plugin.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/demo/csi/nfs/jobs/controller-plugin.nomad.hcl group 0", onlyWe, unknownRoot},
	{"inline", "nomad/demo/csi/nfs/jobs/node-plugin.nomad.hcl group 0", onlyWe, unknownRoot},
	{"inline", "nomad/e2e/csi/input/plugin-aws-ebs-controller.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/e2e/csi/input/plugin-aws-ebs-nodes.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/e2e/csi/input/plugin-aws-efs-nodes.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/e2e/ui/input/proxy.nomad group 0", onlyWe, unknownRoot},
	{"inline", "nomad/enos/modules/run_workloads/jobs/plugin-nfs-controllers.nomad.hcl group 0", onlyWe, unknownRoot},
	{"inline", "nomad/enos/modules/run_workloads/jobs/plugin-nfs-nodes.nomad.hcl group 0", onlyWe, unknownRoot},
	{"inline", "nomad/enos/modules/run_workloads/templates/vault-secrets.nomad.hcl.tpl group 0", onlyWe, unknownRoot},
	{"inline", "nomad/terraform/examples/tensorrt/tensorrt-demo.nomad group 1", onlyWe, unknownRoot},
	{"inline", "own/roots-of-nobody.nomad.hcl group 0", onlyWe, unknownRoot},
}

const (
	missingFile = "the file that it reads is not there"

	secretsDiffer = "differs at /TaskGroups/0/Tasks/0/Secrets/1/Name /TaskGroups/0/Tasks/0/Secrets/1/Path"
	secretTwice   = "Nomad 1.11 gives a task that has secrets of its own those twice, and not the group's"

	onlyWe      = "only we refuse"
	unknownRoot = "a name that is neither a root of Nomad's nor declared in env is an error in a workflow, which asks for $${…}"
	ignoredWord = "words of a constraint that Nomad takes and then ignores are an error in a workflow"
)
