// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posener/complete"

	"github.com/cairnflow/cairn/internal/client"
)

// The variables that say which server is meant, and how it is talked to, unless options do. They are named as Nomad's own. A
// NOMAD_TOKEN is not taken: it may be of another Nomad than the one behind the address, and would be told to that server.
const (
	addressEnv    = "CAIRN_ADDR" // without it, runs are those of this user on this machine
	tokenEnv      = "CAIRN_TOKEN"
	caCertEnv     = "CAIRN_CACERT"
	clientCertEnv = "CAIRN_CLIENT_CERT"
	clientKeyEnv  = "CAIRN_CLIENT_KEY"
	tlsNameEnv    = "CAIRN_TLS_SERVER_NAME"
	skipVerifyEnv = "CAIRN_SKIP_VERIFY"
)

// asksServer reports whether a command may talk to a server.
func asksServer(name string) bool {
	group, verb, _ := strings.Cut(name, " ")
	if slices.Contains([]string{"snapshot inspect", "snapshot verify", "snapshot restore", "snapshot drill"}, verb) {
		return false // a file, and Consul
	}
	return name == "run" || name == "plan" ||
		verb != "" && (group == "runs" || group == "task" || group == "workflow" || group == "operator")
}

// serverOptions are those of every command that may talk to a server.
func (a *App) serverOptions() []option {
	s := &a.server
	file := func(target *string, name, usage string) option {
		return predicted(textOption(target, name, "FILE", usage), complete.PredictFiles("*"))
	}
	return []option{
		textOption(&s.Address, "address", "URL", "Address of the server, as in https://cairn.example:4680. "+addressEnv+" by default."),
		textOption(&s.Token, "token", "SECRET", "ACL token of Nomad by which the server knows you. "+tokenEnv+" by default; others on this\nmachine see options, and no variables."),
		file(&s.CACert, "ca-cert", "Certificate of the authority that the server's is of. "+caCertEnv+", or the system's, by default."),
		file(&s.ClientCert, "client-cert", "Your own certificate, where the server wants one. "+clientCertEnv+" by default."),
		file(&s.ClientKey, "client-key", "The key of that certificate. "+clientKeyEnv+" by default."),
		textOption(&s.TLSName, "tls-server-name", "NAME", "Name that the server's certificate is for. "+tlsNameEnv+", or the host of the address, by default."),
		switchOption(&s.SkipVerify, "tls-skip-verify", "Take any certificate. For trying things: whoever is on the way may read your token. "+skipVerifyEnv+" does the same."),
	}
}

// staleOption is that of commands which only read.
func (a *App) staleOption() option {
	return switchOption(&a.server.Stale, "stale",
		"Be content with what the server asked can read by itself: it may be behind, and is there when nobody leads.")
}

// remote is the server that options and variables mean; without an address there is none.
func (a *App) remote() (client.Server, error) {
	s := a.server
	for env, value := range map[string]*string{
		addressEnv: &s.Address, tokenEnv: &s.Token, caCertEnv: &s.CACert, clientCertEnv: &s.ClientCert, clientKeyEnv: &s.ClientKey, tlsNameEnv: &s.TLSName,
	} {
		*value = cmp.Or(*value, a.Getenv(env))
	}
	if text := a.Getenv(skipVerifyEnv); text != "" && !s.SkipVerify {
		skip, err := strconv.ParseBool(text)
		if err != nil {
			return s, fmt.Errorf("%s is %q; want true or false", skipVerifyEnv, text)
		}
		s.SkipVerify = skip
	}
	if s.Stale && s.Address == "" {
		return s, fmt.Errorf("-stale is about a server: name it with -address or %s", addressEnv)
	}
	return s, nil
}
