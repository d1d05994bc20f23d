// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/httpcall"
	"github.com/cairnflow/cairn/internal/workflow"
)

// oracle answers calls: /ok in text, /json in JSON, /418 with that status, /slow never, /big with more than is read, /there with
// the way to the same path of another name for this machine, and /here with the way to /ok.
type oracle struct {
	*httptest.Server
	mu    sync.Mutex // guards heard
	heard []heardCall
}

type heardCall struct{ method, path, body, key, header string }

func newOracle() *oracle {
	o := &oracle{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		o.mu.Lock()
		o.heard = append(o.heard, heardCall{r.Method, r.URL.Path, string(b), r.Header.Get("Idempotency-Key"), r.Header.Get("X-Day")})
		o.mu.Unlock()
		switch r.URL.Path {
		case "/json":
			_, _ = io.WriteString(w, `{"n":1}`)
		case "/418":
			w.WriteHeader(http.StatusTeapot)
		case "/slow":
			<-r.Context().Done()
		case "/big":
			_, _ = io.WriteString(w, strings.Repeat("x", workflow.MaxHTTPBodyBytes+1))
		case "/there":
			http.Redirect(w, r, strings.Replace(o.URL, "127.0.0.1", "localhost", 1)+"/ok", http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/ok", http.StatusFound)
		default:
			_, _ = io.WriteString(w, "fine")
		}
	}))
	return o
}

func (o *oracle) calls() []heardCall {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.heard
}

// answered makes the call that an http block is rendered to, and tells what is asked for: how it ended ("kind", "message"), the
// outputs ("status", "body", "json") and what was heard ("method", "sent", "key", "header", "calls"). PATH in the block is where
// the oracle is.
func answered(see, block string) func() string {
	return answeredWithin(httpcall.Policy{Everything: true}, see, block)
}

func answeredWithin(policy httpcall.Policy, see, block string) func() string {
	return func() string {
		o := newOracle()
		defer o.Close()
		p := play{flow: bare("a", "http {\n"+strings.ReplaceAll(block, "PATH", o.URL)+"\n}", ""), see: "a.body"}
		rendered := p.outcome()
		var body workflow.HTTPBody
		if err := json.Unmarshal([]byte(rendered), &body); err != nil {
			return rendered
		}
		caller := &httpcall.Caller{Policy: policy}
		out := caller.Call(context.Background(), body, "KEY")
		var last heardCall
		calls := o.calls()
		if len(calls) > 0 {
			last = calls[len(calls)-1]
		}
		shows := map[string]string{
			"kind": string(out.Kind), "message": strings.ReplaceAll(out.Message, o.URL, "PATH"), "calls": fmt.Sprint(len(calls)),
			"method": last.method, "sent": last.body, "key": last.key, "header": last.header,
			"status": shown(out.Values["status"]), "body": shown(out.Values["body"]), "json": shown(out.Values["json"]),
		}
		var seen []string
		for _, x := range strings.Fields(see) {
			seen = append(seen, shows[x])
		}
		return strings.Join(seen, " ")
	}
}

// ask is the check of a call with a block, and of one with another.
func ask(see, block, want, without string) check {
	return check{with: answered(see, block), without: answered(see, without), want: want}
}

// wrong is the check of a finding about an http block, of which one part is to be another.
func wrong(block, want string, but ...string) check {
	return check{play: play{flow: bare("a", "http {\n"+block+"\n}", ""), see: "a"}, want: "invalid: " + want, but: but}
}

const okay = "url = \"PATH/ok\""

var httpTable = map[string][]check{
	"http: `method`": {
		ask("kind method", okay, "exited GET", okay+"\nmethod = \"POST\""),
		ask("kind method", okay+"\nmethod = \"dElete\"", "exited DELETE", okay),
		ask("method", okay+"\nmethod = \"head\"", "HEAD", okay), ask("method", okay+"\nmethod = \"POST\"", "POST", okay), ask("method", okay+"\nmethod = \"PUT\"", "PUT", okay),
		ask("method", okay+"\nmethod = \"PATCH\"", "PATCH", okay), ask("method", okay+"\nmethod = \"OPTIONS\"", "OPTIONS", okay),
		wrong("url = \"https://h\"\nmethod = \"PSOT\"", "Wrong value: `http.method` of task a must be one of GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS. Did you mean `POST`?", "PSOT", "POST"),
	},
	"http: `url`": {
		wrong("# url", "Missing argument: The http block of task a needs url, such as url = \"https://example.com/load\".", "# url", "url = \"http://h\""),
		wrong("url = \"ftp://h\"", "Wrong value: `http.url` of task a must begin with http:// or https://.", "ftp", "https"),
		wrong("url = \"https://me:it@h\"", "Wrong value: `http.url` of task a must not hold a user and password, which URLs show everywhere. Write headers = { Authorization = … }.", "me:it@", ""),
	},
	"http: `headers`": {
		ask("header", okay+"\nheaders = { X-Day = \"today\" }", "today", okay),
		wrong("url = \"https://h\"\nheaders = { Idempotency-Key = \"x\" }", "Wrong value: `http.headers` of task a has the header Idempotency-Key, which Cairn sends itself: the ID of the attempt. Leave it out.", "Idempotency-Key", "X-Key"),
		wrong("url = \"https://h\"\nheaders = { host = \"x\" }", "Wrong value: `http.headers` of task a has the header host, which follows from url and body. Leave it out.", "host", "X-Host"),
		wrong("url = \"https://h\"\nheaders = { Content-Length = \"1\" }", "Wrong value: `http.headers` of task a has the header Content-Length, which follows from url and body. Leave it out.", "Content-Length", "Content-Type"),
	},
	"http: `body`": {
		ask("method sent", okay+"\nmethod = \"POST\"\nbody = \"hello\"", "POST hello", okay+"\nmethod = \"POST\""),
		wrong("url = \"https://h\"\nbody = join(\"\", [for i in range(8) : format(\"%08193d\", 1)])", "Wrong value: `http.body` of task a has 65544 bytes, at most 65536 are allowed. Put large data where it can be read, and pass its name.", "8193", "8192"),
	},
	"http: `expect_status`": {
		ask("kind message", "url = \"PATH/418\"", "failed GET PATH: answered 418, 200 to 299 was expected", okay),
		ask("kind status", "url = \"PATH/418\"\nexpect_status = 418", "exited 418", "url = \"PATH/418\""),
		ask("kind status", "url = \"PATH/418\"\nexpect_status = [200, 418]", "exited 418", "url = \"PATH/418\"\nexpect_status = [200]"),
		wrong("url = \"https://h\"\nexpect_status = 99", "Wrong value: `http.expect_status` of task a must be a status code from 100 to 599, or a list of them.", "99", "299"),
	},
	"http: `timeout`": {
		ask("kind message", "url = \"PATH/slow\"\ntimeout = \"20ms\"", "timed_out GET PATH: no answer within 20ms", okay+"\ntimeout = \"60s\""),
		{play: play{flow: bare("a", httpBody, ""), see: "a.body"}, want: `{"method":"GET","timeout":30000000000,"url":"https://h"}`, but: []string{"http {", "http {\ntimeout = \"31s\""}},
		wrong("url = \"https://h\"\ntimeout = \"61s\"", "Wrong value: `http.timeout` of task a must be more than nothing and at most 1m0s: the server that acts waits for the answer. "+
			"Start long work with one call, and ask for its end with wait and another.", "61s", "60s"),
	},
	"http: `idempotent`": {
		{with: inFlight("POST", "idempotent = true"), without: inFlight("POST", ""), want: "called twice, by one key: succeeded "},
		wrong("url = \"https://h\"\nidempotent = \"maybe\"", "Wrong value: `http.idempotent` of task a must be true or false, not text.", "\"maybe\"", "true"),
	},
	"http: output `status`": {ask("status", "url = \"PATH/418\"\nexpect_status = 418", "418", okay)},
	"http: output `body`": {
		ask("body", okay, `"fine"`, "url = \"PATH/json\""),
		ask("kind message", "url = \"PATH/big\"", "failed GET PATH: the answer is larger than 65536 bytes: let it be stored somewhere, and answer where it lies", okay),
	},
	"http: output `json`": {
		ask("json", "url = \"PATH/json\"", `{"n":1}`, okay), ask("kind json", okay, "exited null", "url = \"PATH/json\""),
	},
	"http: at least once": {
		ask("key", okay, "KEY", "url = \"ftp://h\""),
		{with: inFlight("GET", ""), without: inFlight("POST", ""), want: "called twice, by one key: succeeded "},
	},
	"http: outcome unknown": {
		{with: inFlight("POST", ""), without: inFlight("GET", ""), want: "called once: failed outcome unknown: the process that made the call ended before the answer was stored, " +
			"and POST is not repeated: write idempotent = true if it may be"},
		{with: repeatable(""), without: repeatable("idempotent = true"), want: "GET HEAD PUT DELETE"},
	},
	"http: destinations": {
		{with: answeredWithin(httpcall.Policy{}, "kind calls message", okay), without: answered("kind calls message", okay),
			want: "invalid 0 this Cairn calls nobody: the destinations of http tasks are to be allowed in its configuration"},
		{with: answeredWithin(httpcall.Policy{Hosts: []string{"example.org"}}, "kind calls message", okay), without: answered("kind calls message", okay),
			want: "invalid 0 this Cairn does not call 127.0.0.1: its configuration allows other destinations"},
		{with: heardLocally("http {\n url = \"URL\"\n}"), without: heardLocally("wait {\n duration = \"0s\"\n}"), want: "heard by this process: succeeded"},
	},
	"http: redirects": {
		ask("kind message calls", "url = \"PATH/there\"", "failed GET PATH: it is redirected to another host, localhost, where calls do not follow: call that one 1", "url = \"PATH/here\""),
		ask("kind body calls", "url = \"PATH/here\"", `exited "fine" 2`, "url = \"PATH/there\""),
	},
}

// repeatable are the methods whose calls may be repeated, with more in the block.
func repeatable(more string) func() string {
	return func() string {
		var found []string
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			var body workflow.HTTPBody
			p := play{flow: bare("a", "http {\nurl = \"https://h\"\nmethod = \""+method+"\"\n"+more+"\n}", ""), see: "a.body"}
			if err := json.Unmarshal([]byte(p.outcome()), &body); err != nil {
				return "broken: " + err.Error()
			}
			if body.Repeatable() {
				found = append(found, method)
			}
		}
		return strings.Join(found, " ")
	}
}

// inFlight tells what becomes of a call whose process ends while nobody has answered yet, when another process takes over.
func inFlight(method, more string) func() string {
	return sync.OnceValue(func() string {
		first, keys, mu := make(chan struct{}), []string(nil), sync.Mutex{}
		to := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				panic(err)
			}
			mu.Lock()
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			n := len(keys)
			mu.Unlock()
			if n == 1 {
				close(first)
				<-r.Context().Done()
			}
		}))
		defer to.Close()
		file := "w.hcl\nworkflow \"w\" {\n" + bare("a", "http {\nurl = \""+to.URL+"\"\nmethod = \""+method+"\"\n"+more+"\n}", "") + "}\n"
		return lived([]string{file}, func(l *live) {
			select {
			case <-first:
			case <-l.ctx.Done():
			}
			l.leave()
			a := newest(l.until(l.top, (*api.Run).Terminal))
			mu.Lock()
			defer mu.Unlock()
			calls := "called once"
			switch {
			case len(keys) == 2 && keys[0] == keys[1]:
				calls = "called twice, by one key"
			case len(keys) > 1:
				calls = fmt.Sprint("called with the keys ", keys)
			}
			l.see(fmt.Sprintf("%s: %s %s", calls, a.Verdict, a.Message))
		})()
	})
}
