# What the token of a Cairn server may do in Nomad. Name the namespaces that workflows run in instead of "*" to hold Cairn to
# them: nothing it does needs any other.

namespace "*" {
  capabilities = [
    "list-jobs",       # finds its jobs again, and sweeps those whose attempts are over
    "read-job",        # follows jobs, allocations, evaluations and events
    "submit-job",      # registers, deregisters and purges
    "dispatch-job",    # for tasks with a dispatch block
    "read-fs",         # reads outputs and logs
    "alloc-lifecycle", # asks workers, by signal 0, what runs, when Nomad was restored from a snapshot
  ]
}

# Says on which machine an allocation lingers, and whether that is lost.
node {
  policy = "read"
}
