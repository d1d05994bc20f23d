// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Server says where a server is, who calls it, and how the two trust each other. Files are PEM.
type Server struct {
	Address    string // such as http://127.0.0.1:4680; the scheme may be left out
	Token      string // of Nomad
	CACert     string // file of the authority that its certificate is of; empty: those of the system
	ClientCert string // file of the caller's own certificate
	ClientKey  string
	TLSName    string // that its certificate is for; empty: the host of the address
	SkipVerify bool   // takes any certificate
	Stale      bool   // reads are content with what that server knows by itself, and do not wait for changes
}

// TCP returns a client of a server. It makes no call. A token is refused where everybody on the way could read it.
func TCP(s Server) (*Client, error) {
	address := s.Address
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, fmt.Errorf("address %q: %w", s.Address, err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("address %q: want something like http://127.0.0.1:4680", s.Address)
	case s.Token != "" && u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("a token would cross the network to %s in clear: use an address with https://, or leave the token out", u.Host)
	}
	trust, err := s.trust()
	if err != nil {
		return nil, err
	}
	dial := net.Dialer{Timeout: dialTimeout}
	return &Client{
		where: u.Scheme + "://" + u.Host,
		base:  u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/"),
		token: s.Token,
		stale: s.Stale,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         dial.DialContext,
				TLSClientConfig:     trust,
				TLSHandshakeTimeout: dialTimeout,
				MaxIdleConnsPerHost: 4,
				IdleConnTimeout:     time.Minute,
			},
			// Servers do not send callers elsewhere, and whoever does must not get the token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (s Server) trust() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.TLSName, InsecureSkipVerify: s.SkipVerify}
	if s.CACert != "" {
		pem, err := os.ReadFile(s.CACert)
		if err != nil {
			return nil, fmt.Errorf("certificate of the authority: %w", err)
		}
		if out.RootCAs = x509.NewCertPool(); !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate of the authority: %s holds no certificate in PEM", s.CACert)
		}
	}
	if s.ClientCert == "" && s.ClientKey == "" {
		return out, nil
	}
	if s.ClientCert == "" || s.ClientKey == "" {
		return nil, errors.New("a client certificate and its key are given together")
	}
	pair, err := tls.LoadX509KeyPair(s.ClientCert, s.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("client certificate %s with key %s: %w", s.ClientCert, s.ClientKey, err)
	}
	out.Certificates = []tls.Certificate{pair} // not shown to a server that names other authorities; its answer says so
	return out, nil
}

// saysTLS is what Go's servers answer to a request without TLS.
const saysTLS = "Client sent an HTTP request to an HTTPS server"

// distrust says what is wrong between two that do not trust each other; empty: it is something else.
func distrust(err error) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid *tls.CertificateVerificationError
	var alert tls.AlertError
	switch {
	case errors.As(err, &authority):
		return "shows a certificate of an authority that is not trusted here: name the authority's own with -ca-cert or CAIRN_CACERT"
	case errors.As(err, &name):
		return fmt.Sprintf("shows a certificate that is not for this address (%s): name what it is for with -tls-server-name or CAIRN_TLS_SERVER_NAME", name)
	case errors.As(err, &invalid):
		return fmt.Sprintf("shows a certificate that is not valid: %s", invalid.Err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return "does not speak TLS: write http:// in its address"
	case errors.As(err, &alert):
		return fmt.Sprintf("does not take the connection (%s): if callers need a certificate there, is -client-cert or CAIRN_CLIENT_CERT of its authority?", alert)
	}
	return ""
}
