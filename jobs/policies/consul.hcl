# What the token of a Cairn server may do in Consul, with the default consul.prefix.

# Runs, definitions, the audit, and who leads.
key_prefix "cairn/" {
  policy = "write"
}

# The leadership is a session on the server's own machine. Name that node to be exact: session "machine-1".
session_prefix "" {
  policy = "write"
}

# Servers register with checks of their health.
service "cairn" {
  policy = "write"
}

# Servers see each other's health, which has that of the machine in it.
node_prefix "" {
  policy = "read"
}

# Nomad's clients are registered under this name, with a check that tells when one of them is down.
service "nomad-client" {
  policy = "read"
}
