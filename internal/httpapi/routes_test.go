// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/access"
	"github.com/cairnflow/cairn/internal/api"
)

// Whoever adds a route says here, too, who may use it.
func TestEveryRouteSaysWhoMayUseIt(t *testing.T) {
	want := map[string]need{
		"GET /v1/agent/health": needNothing, "GET /v1/status/leader": needNothing,
		"GET /v1/operator/workers": needOperator, "GET /v1/operator/orphans": needOperator,
		"GET /v1/operator/members": needOperator, "GET /v1/operator/check": "operator",
		"POST /v1/operator/worker-dead": "operator",
		"GET /v1/operator/snapshots":    needOperator, "POST /v1/operator/snapshots": needOperator,
		"POST /v1/operator/step-down": needOperator, "GET /v1/operator/audit": needOperator,
		"GET /v1/runs": needList, "POST /v1/runs": needSubmit, "GET /v1/events": needList,
		"GET /v1/openapi.json": needNothing, "GET /metrics": needNothing,
		"GET /v1/run/{id}": needRead, "GET /v1/run/{id}/instances": needRead, "GET /v1/run/{id}/logs": needRead, "GET /v1/run/{id}/retry": needRead,
		"POST /v1/run/{id}/rerun": needRun,
		"GET /v1/workflows":       needList, "POST /v1/workflows": needSubmit,
		"GET /v1/workflow/{name}": needList, "DELETE /v1/workflow/{name}": needSubmit,
		"GET /v1/workflow/{name}/versions": needList, "POST /v1/workflow/{name}/run": needSubmit,
	}
	for _, verb := range api.Verbs() {
		want["POST /v1/run/{id}/"+string(verb)] = needRun
	}
	got := map[string]need{}
	for path, on := range (&handler{}).routes() {
		for method, rt := range on {
			got[method+" "+path] = rt.need
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who may use what (-want +got):\n%s", diff)
	}
}

// callers are known by the tokens that are their names.
type callers map[string]access.Caller

func (c callers) Whose(_ context.Context, token string) (access.Caller, error) {
	who, ok := c[token]
	if !ok {
		return who, access.ErrDenied
	}
	return who, nil
}

func (c callers) May(context.Context, string, access.Right, string) (bool, error) {
	return false, errors.New("nobody asks for namespaces")
}

func TestOperatorsAndRoutesOfNobody(t *testing.T) {
	known := callers{"boss": {Management: true}, "operator": {Policies: []string{"ops", "x"}}, "other": {Policies: []string{"x"}}, "": {}}
	for _, c := range []struct {
		access Access
		policy string
		need   need
		token  string
		status int
		words  string
	}{
		{nil, "", needOperator, "", 200, "done"},
		{known, "", needOperator, "boss", 200, "done"},
		{known, "ops", needOperator, "boss", 200, "done"},
		{known, "ops", needOperator, "operator", 200, "done"},
		{known, "ops", needOperator, "other", 403, "or one with the policy ops"},
		{known, "", needOperator, "operator", 403, "takes a management token"},
		{known, "ops", needOperator, "", 403, "set CAIRN_TOKEN"},
		{known, "ops", needOperator, "wrong", 403, "does not know this token"},
		{nil, "", "", "boss", 403, "nobody has said who may use /x"},
		{known, "", "", "boss", 403, "nobody has said who may use /x"},
		{known, "", "evrybody", "boss", 403, "nobody has said"},
		{known, "", needNothing, "wrong", 200, "done"},
	} {
		h := &handler{Config: Config{Access: c.access, OperatorPolicy: c.policy, Logger: hclog.NewNullLogger()}}
		rt := operators(func(w http.ResponseWriter, _ *http.Request) error {
			_, err := fmt.Fprint(w, "done")
			return err
		})
		rt.need = c.need
		r := httptest.NewRequest("POST", "/x", nil)
		r.Header.Set(api.TokenHeader, c.token)
		w := httptest.NewRecorder()
		h.answering("/x", rt)(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.words) {
			t.Errorf("need %q, policy %q, token %q: %d %s, want %d and words about %q", c.need, c.policy, c.token, w.Code, w.Body, c.status, c.words)
		}
	}
}
