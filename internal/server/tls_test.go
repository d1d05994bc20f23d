// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/config"
)

// authority issues certificates for tests.
type authority struct {
	t    *testing.T
	dir  string
	file string // of its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = a.write(name+".pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue makes a certificate for hosts, of servers and callers alike.
func (a *authority) issue(name string, hosts ...string) (cert, key string) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+"-key.pem", "EC PRIVATE KEY", secret)
}

// serves is the block tls of a server with a certificate for 127.0.0.1.
func (a *authority) serves(verify bool) config.TLS {
	cert, key := a.issue("server", "127.0.0.1")
	return config.TLS{HTTP: true, CAFile: a.file, CertFile: cert, KeyFile: key, VerifyHTTPSClient: verify}
}

// running is a server until the end of the test.
func running(t *testing.T, cfg AgentConfig) *Agent {
	t.Helper()
	a, err := NewAgent(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return a
}

// lists asks a server for its runs.
func lists(t *testing.T, s client.Server) error {
	t.Helper()
	c, err := client.TCP(s)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Runs(within(t), client.RunsQuery{})
	return err
}

func wantWords(t *testing.T, what, words string, err error) {
	t.Helper()
	switch {
	case words == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case words != "" && (err == nil || !strings.Contains(err.Error(), words)):
		t.Errorf("%s: %v, want words about %q", what, err, words)
	}
}

func TestServersAndCallersTrustEachOtherByCertificates(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	clear, secure, named, mutual := devConfig(t, t.TempDir()), devConfig(t, t.TempDir()), devConfig(t, t.TempDir()), devConfig(t, t.TempDir())
	secure.TLS, mutual.TLS = ours.serves(false), ours.serves(true)
	named.TLS = secure.TLS
	named.TLS.CertFile, named.TLS.KeyFile = ours.issue("named", "cairn.example")
	atClear, atSecure, atNamed, atMutual := running(t, clear).Address(), running(t, secure).Address(), running(t, named).Address(), running(t, mutual).Address()
	cert, key := ours.issue("caller")
	otherCert, otherKey := others.issue("stranger")
	for what, c := range map[string]struct {
		server client.Server
		words  string
	}{
		"with the authority":                {client.Server{Address: "https://" + atSecure, CACert: ours.file}, ""},
		"with a token":                      {client.Server{Address: "https://" + atSecure, CACert: ours.file, Token: "t"}, ""},
		"without the authority":             {client.Server{Address: "https://" + atSecure}, "not trusted here: name the authority's own with -ca-cert"},
		"with another authority":            {client.Server{Address: "https://" + atSecure, CACert: others.file}, "not trusted here"},
		"without looking":                   {client.Server{Address: "https://" + atSecure, SkipVerify: true}, ""},
		"without TLS":                       {client.Server{Address: "http://" + atSecure}, "speaks TLS: write https://"},
		"with TLS where there is none":      {client.Server{Address: "https://" + atClear, CACert: ours.file}, "does not speak TLS: write http://"},
		"by an address that is not meant":   {client.Server{Address: "https://" + atNamed, CACert: ours.file}, "with -tls-server-name"},
		"by the name that is":               {client.Server{Address: "https://" + atNamed, CACert: ours.file, TLSName: "cairn.example"}, ""},
		"mutually":                          {client.Server{Address: "https://" + atMutual, CACert: ours.file, ClientCert: cert, ClientKey: key}, ""},
		"mutually, without a certificate":   {client.Server{Address: "https://" + atMutual, CACert: ours.file}, "this server wants a certificate from whoever asks"},
		"mutually, with one of others":      {client.Server{Address: "https://" + atMutual, CACert: ours.file, ClientCert: otherCert, ClientKey: otherKey}, "this server wants a certificate from whoever asks"},
		"mutually, without TLS":             {client.Server{Address: "http://" + atMutual}, "speaks TLS"},
		"with a key that is not its own":    {client.Server{Address: "https://" + atMutual, ClientCert: cert, ClientKey: otherKey}, otherKey},
		"with a certificate and no key":     {client.Server{Address: "https://" + atMutual, ClientCert: cert}, "given together"},
		"with an authority that is no file": {client.Server{Address: "https://" + atMutual, CACert: "/no/such/ca.pem"}, "/no/such/ca.pem"},
		"with an authority that is a key":   {client.Server{Address: "https://" + atMutual, CACert: key}, key + " holds no certificate"},
		"with a token in clear, elsewhere":  {client.Server{Address: "http://10.0.0.5:4680", Token: "t"}, "would cross the network to 10.0.0.5:4680 in clear"},
		"with a token in clear, at a name":  {client.Server{Address: "cairn.example:4680", Token: "t"}, "in clear"},
		"with a token in clear, here":       {client.Server{Address: atClear, Token: "t"}, ""},
	} {
		wantWords(t, what, c.words, lists(t, c.server))
	}
	// A certificate that is wrong is not shown by clients in Go, but others may.
	pair, err := tls.LoadX509KeyPair(otherCert, otherKey)
	if err != nil {
		t.Fatal(err)
	}
	rude := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: poolOf(ours), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
	}}}
	if answer, err := rude.Get("https://" + atMutual + "/v1/agent/health"); err == nil {
		answer.Body.Close()
		t.Errorf("a certificate of another authority was taken: %s", answer.Status)
	}
	// Consul asks for the health without one.
	c, err := client.TCP(client.Server{Address: "https://" + atMutual, CACert: ours.file})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if health, err := c.Health(within(t)); err != nil || !health.Healthy {
		t.Errorf("health without a certificate: %+v, %v", health, err)
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: poolOf(ours), MaxVersion: tls.VersionTLS11}}}
	if answer, err := old.Get("https://" + atSecure + "/v1/agent/health"); err == nil {
		answer.Body.Close()
		t.Errorf("TLS 1.1 was taken: %s", answer.Status)
	}
}

func poolOf(a *authority) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func TestCertificatesAreReadAgainWithoutLosingConnections(t *testing.T) {
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	cfg := devConfig(t, t.TempDir())
	cfg.TLS = before.serves(false)
	a := running(t, cfg)
	at := "https://" + a.Address()

	// A connection that is in the middle of an answer, and one that is kept for the next request.
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: poolOf(before)}}
	defer transport.CloseIdleConnections()
	kept := &http.Client{Transport: transport}
	get := func() string {
		t.Helper()
		answer, err := kept.Get(at + "/v1/runs")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if _, err := io.ReadAll(answer.Body); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s %x", answer.Status, answer.TLS.PeerCertificates[0].SerialNumber)
	}
	first := get()

	broken := cfg.Config
	broken.TLS.KeyFile = "/no/such/key.pem"
	wantWords(t, "files that are not there", "/no/such/key.pem", a.Reload(broken))
	wantWords(t, "after that", "", lists(t, client.Server{Address: at, CACert: before.file}))

	next := cfg.Config
	next.TLS = after.serves(false)
	wantWords(t, "new files", "", a.Reload(next))
	if again := get(); again != first {
		t.Errorf("the connection from before says %s, and %s before", again, first)
	}
	wantWords(t, "the new authority", "", lists(t, client.Server{Address: at, CACert: after.file}))
	wantWords(t, "the old authority", "not trusted here", lists(t, client.Server{Address: at, CACert: before.file}))

	gone := cfg.Config
	gone.TLS = config.TLS{}
	wantWords(t, "a configuration without TLS", "takes a restart", a.Reload(gone))
	wantWords(t, "after that", "", lists(t, client.Server{Address: at, CACert: after.file}))
}

func TestAServerSaysWhichFileIsWrong(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	_, otherKey := b.issue("other")
	text := filepath.Join(t.TempDir(), "text.pem")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for words, change := range map[string]func(*config.TLS){
		"/no/such/cert.pem":               func(c *config.TLS) { c.CertFile = "/no/such/cert.pem" },
		"/no/such/ca.pem":                 func(c *config.TLS) { c.CAFile = "/no/such/ca.pem" },
		"key_file " + otherKey:            func(c *config.TLS) { c.KeyFile = otherKey },
		text + " holds no certificate":    func(c *config.TLS) { c.CAFile = text },
		"cert_file " + text + " with key": func(c *config.TLS) { c.CertFile = text },
	} {
		cfg := devConfig(t, t.TempDir())
		cfg.TLS = a.serves(false)
		change(&cfg.TLS)
		made, err := NewAgent(t.Context(), cfg)
		wantWords(t, words, words, err)
		if err == nil {
			err = made.Close()
		}
		if errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	cfg := devConfig(t, t.TempDir())
	cfg.Access.Mode = config.AccessNomad
	_, err := NewAgent(t.Context(), cfg)
	wantWords(t, "access control without Nomad", "has no Nomad that it could ask", err)
}

func TestAHeaderIsBounded(t *testing.T) {
	a := running(t, devConfig(t, t.TempDir()))
	req, err := http.NewRequestWithContext(within(t), "GET", a.URL()+"/v1/runs", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(api.TokenHeader, strings.Repeat("x", 2*maxHeader))
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %s", answer.Status)
	}
}
