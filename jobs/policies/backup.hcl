# What a token needs in Consul to take and restore snapshots, beside consul.hcl or in a token of its own. It is nearly as much as
# there is: who may take a snapshot may read every token in it.

acl = "write"
