// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/scheduler"
)

func TestMoreRequestsThanMayWaitAreRefused(t *testing.T) {
	r := newRuns(begun(t))
	r.waiting = make(chan struct{}, 1)
	r.logs = func(scheduler.LogRequest) (io.ReadCloser, error) { return nil, scheduler.ErrNotFound }
	watches := httpapi.NewWatches(2)
	h := documented{httpapi.New(httpapi.Config{Runs: r, Logger: hclog.NewNullLogger(), Watches: watches})}
	run := "/v1/run/" + string(runID)
	_, body := call(t, h, "GET", "/v1/runs", "")
	if strings.Contains(body, "code") {
		t.Fatal(body)
	}
	ctx, end := context.WithCancel(t.Context())
	answered := make(chan struct{}, 2)
	for _, path := range []string{run + "?index=" + strconv.FormatUint(r.index, 10), "/v1/events"} {
		go func() {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil).WithContext(ctx))
			answered <- struct{}{}
		}()
		<-r.waiting
	}
	if n := watches.Now(); n != 2 {
		t.Errorf("%d wait, want 2", n)
	}
	for _, path := range []string{run + "?index=" + strconv.FormatUint(r.index, 10), "/v1/runs?index=1", "/v1/events", run + "/logs?task=extract&key=eu&follow"} {
		status, body := call(t, h, "GET", path, "")
		var said api.Error
		if err := json.Unmarshal([]byte(body), &said); err != nil || status != http.StatusTooManyRequests || said.Code != api.CodeTooMany {
			t.Errorf("%s is answered %d %s, %v", path, status, body, err)
		}
	}
	if n := watches.Refused(); n != 4 {
		t.Errorf("%d were refused, want 4", n)
	}
	for _, path := range []string{run, run + "?index=1&wait=0s", "/v1/runs", "/v1/runs?index=1&wait=0s"} { // they do not wait
		if status, body := call(t, h, "GET", path, ""); status != http.StatusOK {
			t.Errorf("%s is answered %d %s", path, status, body)
		}
	}
	end()
	<-answered
	<-answered
	if n := watches.Now(); n != 0 {
		t.Errorf("%d wait when all have been answered", n)
	}
}

func TestAParamThatIsDeepIsRefusedWithItsPlace(t *testing.T) {
	deep := strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000)
	status, body := call(t, handlerOf(newRuns(nightly(t))), "POST", "/v1/runs", submission(fmt.Sprintf(oneWorkflow, "a"), `,"params":{"day":`+deep+`}`))
	var said api.Error
	if err := json.Unmarshal([]byte(body), &said); err != nil || status != http.StatusUnprocessableEntity || len(said.Diagnostics) != 1 ||
		!strings.Contains(said.Diagnostics[0].Detail, "2000 deep") || said.Diagnostics[0].Line != 2 {
		t.Errorf("%d %s, %v", status, body, err)
	}
}
