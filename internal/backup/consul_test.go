// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// agent is a Consul that a test fills.
type agent struct {
	t      *testing.T
	consul *testcluster.ConsulCluster
}

// call calls the HTTP API and returns its answer.
func (a agent) call(method, path, body string) []byte {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), method, a.consul.Address()+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("X-Consul-Token", a.consul.Token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		a.t.Fatalf("%s %s: %s: %s, %v", method, path, response.Status, answer, err)
	}
	return answer
}

// fill writes what makes a record of every kind that one Consul without others can be made to write.
func (a agent) fill() {
	a.t.Helper()
	a.call("PUT", "/v1/agent/service/register", `{"Name": "web", "Port": 80, "Meta": {"a": "b"}, "Check": {"TTL": "1h"}}`)
	a.call("PUT", "/v1/catalog/register", `{"Node": "elsewhere", "Address": "192.0.2.1", "Service": {
		"Service": "proxy", "Kind": "connect-proxy", "Port": 81, "Proxy": {"DestinationServiceName": "web", "Config": {"deep": {"er": [1, 2.5, null]}}}}}`)
	a.call("POST", "/v1/query", `{"Name": "any", "Service": {"Service": "web"}}`)
	a.call("PUT", "/v1/config", `{"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"}}`)
	a.call("PUT", "/v1/config", `{"Kind": "service-intentions", "Name": "web", "Sources": [{"Name": "api", "Action": "allow"}]}`)
	a.call("PUT", "/v1/acl/role", `{"Name": "reader", "ServiceIdentities": [{"ServiceName": "web"}]}`)
	a.call("PUT", "/v1/acl/auth-method", `{"Name": "jwt", "Type": "jwt", "Config": {"BoundAudiences": ["cairn"], "JWTSupportedAlgs": ["ES256"], "JWTValidationPubKeys": [`+publicKey+`]}}`)
	a.call("PUT", "/v1/acl/binding-rule", `{"AuthMethod": "jwt", "BindType": "service", "BindName": "web"}`)

	a.call("PUT", "/api/multicluster/v2/exportedservices/exported", `{"data": {"services": ["web"]}}`)

	var session struct{ ID string }
	if err := json.Unmarshal(a.call("PUT", "/v1/session/create", `{"TTL": "1h"}`), &session); err != nil {
		a.t.Fatal(err)
	}
	a.call("PUT", "/v1/kv/cairn/locked?acquire="+session.ID, "held")
	a.call("PUT", "/v1/kv/cairn/gone", "soon")
	a.call("DELETE", "/v1/kv/cairn/gone", "")
	a.call("PUT", "/v1/kv/cairn/empty", "")
	a.call("PUT", "/v1/kv/cairn/flags?flags=18446744073709551615", "flags")
	for i := range 300 {
		value := bytes.Repeat([]byte{byte(i), 0xc1, 0}, i*i/20)
		a.call("PUT", "/v1/kv/"+url.PathEscape(fmt.Sprintf("cairn/%d/ü %%/%s", i, strings.Repeat("k", i))), string(value))
	}
	a.call("PUT", "/v1/kv/cairn/3/again", "1")
	a.call("PUT", "/v1/kv/cairn/3/again", strings.Repeat("2", 512<<10))
}

// publicKey is one whose private half nobody has kept, in JSON.
const publicKey = `"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdWGJTMsz3GbLajGLTETqcQ8hlYj+\nQeLUUugvLQdLXLNfQCcxOgZOBz1gsnz6Eglb8ILJmJISvcCzQKE0PvmGww==\n-----END PUBLIC KEY-----\n"`

func TestASnapshotOfConsulHoldsWhatConsulHolds(t *testing.T) {
	a := agent{t, testcluster.Consul(t, testcluster.ConsulConfig{ACL: true, Extra: "connect { enabled = true }"})}
	a.fill()
	snapshot := a.call("GET", "/v1/snapshot", "")
	found, entries := read(t, snapshot)

	var want []Entry // whose fields have the names that Consul's have
	if err := json.Unmarshal(a.call("GET", "/v1/kv/?recurse", ""), &want); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(want, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	if len(want) < 300 || !cmp.Equal(entries, want) {
		t.Errorf("Consul has %d keys, the snapshot %d, and they are not the same: %s", len(want), len(entries), cmp.Diff(want, entries))
	}
	size := int64(0)
	for _, e := range want {
		size += int64(len(e.Key) + len(e.Value))
	}
	if found.Keys != len(want) || found.KeyBytes != size || found.RaftVersion != 1 || found.Term == 0 || found.ID == "" {
		t.Errorf("found %+v", found)
	}
	if found.LastIndex < want[len(want)-1].ModifyIndex || found.Index < found.LastIndex {
		t.Errorf("index %d, last index %d, the last key is of %d", found.Index, found.LastIndex, want[len(want)-1].ModifyIndex)
	}
	for _, kind := range []string{
		"registration", "key", "session", "tombstone", "prepared query", "chunking state", "federation state", "CA root", "CA provider state", "CA configuration", "index",
		"ACL token", "ACL policy", "ACL role", "ACL binding rule", "ACL auth method", "config entry", "system metadata", "service virtual IP",
		"free virtual IP", "autopilot", "resource",
	} {
		if found.Records[kind] == 0 {
			t.Errorf("there is no record of the kind %q: %v", kind, found.Records)
		}
	}
	for name := range found.Records {
		if strings.HasPrefix(name, "kind ") {
			t.Errorf("Consul writes records of a kind that has no name here: %s", name)
		}
	}
	t.Log(found.Records)

	// What is cut off is refused, wherever.
	for i := range 100 {
		size := len(snapshot) * i / 100
		if _, err := Read(bytes.NewReader(snapshot[:size]), nil); err == nil {
			t.Errorf("its first %d bytes are accepted", size)
		}
	}
}
