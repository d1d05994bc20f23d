// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/config"
	"github.com/cairnflow/cairn/internal/httpapi"
)

// certificates are what a server shows and trusts, as its files have it. They may be read again at any time: connections that
// are there go on, and new ones see what is new.
type certificates struct {
	verify bool // callers are asked for theirs
	now    atomic.Pointer[trust]
}

// maxIdle is how many connections to another server stay open for the next requests.
const maxIdle = 1000

// trust is what the files held at one time.
type trust struct {
	server    *tls.Config     // towards callers
	transport *http.Transport // towards other servers
}

// read reads the files. Where it fails, what was read before stays.
func (c *certificates) read(files config.TLS) error {
	next := &trust{transport: http.DefaultTransport.(*http.Transport).Clone()}
	next.transport.Proxy = nil // servers reach each other
	// Many requests that wait may end together, and are short: their answers are copied on.
	next.transport.MaxIdleConns, next.transport.MaxIdleConnsPerHost = maxIdle, maxIdle
	next.transport.WriteBufferSize, next.transport.ReadBufferSize = 1<<10, 1<<10
	if files.HTTP {
		pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
		if err != nil {
			return fmt.Errorf("tls: cert_file %s with key_file %s: %w", files.CertFile, files.KeyFile, err)
		}
		var pool *x509.CertPool // nil: that of the system
		if files.CAFile != "" {
			pem, err := os.ReadFile(files.CAFile)
			if err != nil {
				return fmt.Errorf("tls: ca_file: %w", err)
			}
			if pool = x509.NewCertPool(); !pool.AppendCertsFromPEM(pem) {
				return fmt.Errorf("tls: ca_file %s holds no certificate in PEM", files.CAFile)
			}
		}
		next.server = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
		if c.verify {
			// Who has none learns that from an answer, and Consul, which has none, still asks for the health.
			next.server.ClientAuth, next.server.ClientCAs = tls.VerifyClientCertIfGiven, pool
		}
		next.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}
	}
	if before := c.now.Swap(next); before != nil {
		before.transport.CloseIdleConnections()
	}
	return nil
}

// config is that of a listener. Every connection gets what is there when it begins.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.now.Load().server, nil
		},
	}
}

// transport is what other servers are called with.
func (c *certificates) transport() http.RoundTripper { return c.now.Load().transport }

// certified refuses callers without a certificate of the authority.
func certified(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != httpapi.HealthPath && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
			// Whoever does not take the answer is refused all the same.
			_ = writeError(w, &api.Error{
				Status: http.StatusForbidden, Code: api.CodeForbidden,
				Message: "this server wants a certificate from whoever asks, of the authority in its tls.ca_file: name one with -client-cert and -client-key, or CAIRN_CLIENT_CERT and CAIRN_CLIENT_KEY",
			})
			return
		}
		h.ServeHTTP(w, r)
	})
}
