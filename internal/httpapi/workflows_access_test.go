// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/httpapi"
)

// teamTask is a workflow of namespace default with a task in namespace team.
const teamTask = `workflow "w" {
  task "t" {
    group {
      task "x" {
        driver = "raw_exec"
        config { command = "/bin/true" }
      }
    }
    namespace = "team"
  }
}
`

func TestWorkflowsAreForThoseWhoMayRunInTheirNamespaces(t *testing.T) {
	may := rights{
		"both": "run default read default run team read team ", "one": "run default read default ",
		"reader": "read default read team ", "nobody": "read other ",
	}
	b, err := json.Marshal(api.ApplyRequest{By: "somebody else", Folders: []api.Folder{folderOf("", teamTask)}})
	if err != nil {
		t.Fatal(err)
	}
	apply := string(b)
	dry := strings.TrimSuffix(apply, "}") + `,"dry_run":true}`
	for _, c := range []struct {
		token, method, path, body string
		status                    int
		words                     string
	}{
		{"both", "GET", "/v1/workflows", "", 200, `"name":"w"`},
		{"reader", "GET", "/v1/workflows", "", 200, `"name":"w"`},
		{"nobody", "GET", "/v1/workflows", "", 200, `"workflows":[]`},
		{"", "GET", "/v1/workflows", "", 403, "CAIRN_TOKEN"},
		{"both", "GET", "/v1/workflow/w", "", 200, `"version":1`},
		{"reader", "GET", "/v1/workflow/w", "", 200, `"version":1`},
		{"one", "GET", "/v1/workflow/w", "", 404, "there is no workflow"},
		{"nobody", "GET", "/v1/workflow/w", "", 404, "there is no workflow"},
		{"nobody", "GET", "/v1/workflow/v", "", 404, `there is no workflow \"v\" in namespace default"`}, // and none that is near
		{"nobody", "GET", "/v1/workflow/w/versions", "", 404, "there is no workflow"},
		{"both", "POST", "/v1/workflows", apply, 200, `"action":"none"`},
		{"one", "POST", "/v1/workflows", apply, 403, "may not run jobs in namespace team, which workflow w uses"},
		{"reader", "POST", "/v1/workflows", apply, 403, "may not run jobs in namespace default"},
		{"one", "POST", "/v1/workflows", dry, 403, "may not run jobs in namespace team"},
		{"both", "POST", "/v1/workflow/w/run", "", 200, `"id"`},
		{"reader", "POST", "/v1/workflow/w/run", "", 403, "may not run jobs in namespace default"},
		{"one", "POST", "/v1/workflow/w/run", "", 403, "may not run jobs in namespace team"},
		{"reader", "DELETE", "/v1/workflow/w", "", 403, "may not run jobs in namespace default"},
		{"one", "DELETE", "/v1/workflow/w", "", 403, "may not run jobs in namespace team"},
		{"both", "DELETE", "/v1/workflow/w", "", 200, `"active_runs":1`},
	} {
		t.Run(fmt.Sprint(c.token, " ", c.method, " ", c.path), func(t *testing.T) {
			shelf, r, book := newCatalog(), newRuns(begun(t)), &book{records: map[string]api.AuditRecord{}}
			r.state.Input.Namespaces = []string{"default"}
			h := httpapi.New(httpapi.Config{Runs: r, Workflows: shelf, Logger: hclog.NewNullLogger(), Access: may, Audit: book})
			ask := func(token, method, path, body string) (int, string) {
				req := httptest.NewRequest(method, path, strings.NewReader(body))
				req.Header.Set(api.TokenHeader, token)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, req)
				return w.Code, w.Body.String()
			}
			if status, body := ask("both", "POST", "/v1/workflows", apply); status != 200 {
				t.Fatalf("apply: %d %s", status, body)
			}
			registered := shelf.registrations["default/w"]
			if now, _ := registered.Current(); now.By != "both's (of-both)" && now.By != "both's" {
				t.Errorf("applied by %q, want whoever the token belongs to", now.By)
			}
			before := len(book.records)
			status, body := ask(c.token, c.method, c.path, c.body)
			if status != c.status || !strings.Contains(body, c.words) {
				t.Errorf("%d %s, want %d and %q", status, body, c.status, c.words)
			}
			noted := 0
			if c.status == 200 && c.method != "GET" {
				noted = 1
			}
			if got := len(book.records) - before; got != noted {
				t.Errorf("%d records in the audit, want %d", got, noted)
			}
			for _, record := range book.records {
				started := record.Action == "submit" // of the fake's only run
				if record.Outcome != "done" || !started && record.Workflow != "w" || !strings.Contains("apply submit delete", record.Action) {
					t.Errorf("record %+v", record)
				}
			}
		})
	}
}

// Who has lost the right to read what was there learns nothing of it from a difference.
func TestADifferenceHidesWhatMayNotBeRead(t *testing.T) {
	may := rights{"both": "run default read default run team read team ", "one": "run default read default "}
	shelf := newCatalog()
	h := httpapi.New(httpapi.Config{Runs: newRuns(begun(t)), Workflows: shelf, Logger: hclog.NewNullLogger(), Access: may})
	ask := func(token, text string) (out api.Applied) {
		b, err := json.Marshal(api.ApplyRequest{Folders: []api.Folder{folderOf("", text)}})
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("POST", "/v1/workflows", strings.NewReader(string(b)))
		req.Header.Set(api.TokenHeader, token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return out
	}
	ask("both", teamTask)
	plain := strings.Replace(teamTask, "namespace = \"team\"", "", 1)
	if got := ask("one", plain).Workflows[0]; got.Action != api.ActionUpdate || len(got.Changes) != 0 {
		t.Errorf("one: %+v", got)
	}
	if got := ask("both", teamTask).Workflows[0]; len(got.Changes) == 0 {
		t.Errorf("both: %+v", got)
	}
}
