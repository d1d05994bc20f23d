// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

const id = "abcdefghijklmnopqrst"

func TestErrorsSayWhomWeAsked(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "sock")
	dead := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	closed.Close()
	tcp, err := client.TCP(client.Server{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		client *client.Client
		want   string
	}{
		{client.Unix(gone), "no Cairn answers at " + gone + ": there is no such socket"},
		{client.Unix(dead), "no Cairn answers at " + dead + ": the connection was refused"},
		{tcp, "no Cairn answers at http://" + address + ": the connection was refused"},
	} {
		_, err := c.client.Run(context.Background(), id)
		var unreachable *client.UnreachableError
		if !errors.As(err, &unreachable) || !unreachable.NotSent || err.Error() != c.want {
			t.Errorf("got %v (%+v), want %s", err, unreachable, c.want)
		}
	}
}

func TestAnAddressMustBeOne(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:4680": true, "http://localhost:4680/": true, "https://cairn.example": true,
		"ftp://x": false, "http://": false, "http://[::1": false, "unix:///x": false,
	} {
		if _, err := client.TCP(client.Server{Address: address}); (err == nil) != ok {
			t.Errorf("TCP(%q): %v", address, err)
		}
	}
}

// answering is a client of a server that answers with a status and a body, over TCP and in process.
func answering(t *testing.T, h http.HandlerFunc) map[string]*client.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	tcp, err := client.TCP(client.Server{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*client.Client{"over TCP": tcp, "in process": client.InProcess("here", h)}
}

func TestOtherServersAreRecognised(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a web page": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"another JSON": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"hello":"world"}`) // no index
		},
		"an error page":    func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"nothing":          func(http.ResponseWriter, *http.Request) {},
		"an error in JSON": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"errors":["no"]}`, 500) },
	} {
		for how, c := range answering(t, h) {
			_, err := c.Run(context.Background(), id)
			if err == nil || !strings.Contains(err.Error(), "is that a Cairn server?") {
				t.Errorf("%s %s: %v", name, how, err)
			}
		}
	}
}

func TestErrorsOfTheServerArriveWhole(t *testing.T) {
	for how, c := range answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(409)
		fmt.Fprint(w, `{"status":409,"code":"conflict","message":"the run is over"}`)
	}) {
		_, err := c.Verb(context.Background(), id, api.VerbStop, api.VerbRequest{})
		var said *api.Error
		if !errors.As(err, &said) || said.Code != api.CodeConflict || err.Error() != "the run is over" {
			t.Errorf("%s: %v", how, err)
		}
	}
}

func TestARequestArrivesAsItWasMeant(t *testing.T) {
	var got string
	clients := answering(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body)
		fmt.Fprint(w, "{}")
	})
	key := "a b&c"
	for how, c := range clients {
		if _, err := c.Verb(context.Background(), id, api.VerbCancel, api.VerbRequest{By: "ada", Task: "t", Key: &key}); err != nil {
			t.Fatal(err)
		}
		if want := `POST /v1/run/` + id + `/cancel {"by":"ada","task":"t","key":"a b\u0026c"}`; got != want {
			t.Errorf("%s: got %s, want %s", how, got, want)
		}
		log, err := c.Logs(context.Background(), id, api.LogQuery{Task: "t", Key: &key, Attempt: 2, Stderr: true, Follow: true, Tail: 5})
		if err != nil {
			t.Fatal(err)
		}
		log.Close()
		if want := `GET /v1/run/` + id + `/logs?attempt=2&follow=true&key=a+b%26c&stream=stderr&tail=5&task=t `; got != want {
			t.Errorf("%s: got %s, want %s", how, got, want)
		}
	}
}

func TestALogIsReadAsItComes(t *testing.T) {
	next := make(chan struct{})
	left := make(chan struct{}, 2)
	clients := answering(t, func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		fmt.Fprint(w, "one\n")
		if err := out.Flush(); err != nil {
			t.Error(err)
		}
		<-next
		fmt.Fprint(w, "two\n")
		if err := out.Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done() // the reader goes away
		left <- struct{}{}
	})
	for how, c := range clients {
		log, err := c.Logs(context.Background(), id, api.LogQuery{Task: "t", Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4)
		for _, want := range []string{"one\n", "two\n"} {
			if _, err := io.ReadFull(log, buf); err != nil || string(buf) != want {
				t.Errorf("%s: read %q, %v; want %q", how, buf, err, want)
			}
			if want == "one\n" {
				next <- struct{}{}
			}
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		<-left
	}
}

func TestALogThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	clients := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", 300_000))
		panic(http.ErrAbortHandler)
	})
	for how, c := range clients {
		log, err := c.Logs(context.Background(), id, api.LogQuery{Task: "t"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(log)
		var unreachable *client.UnreachableError
		if !errors.As(err, &unreachable) {
			t.Errorf("%s: %v; want a broken connection", how, err)
		}
		log.Close()
	}
}

func TestAnEndedContextIsNotTheServersFault(t *testing.T) {
	begun := make(chan struct{})
	clients := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	})
	for how, c := range clients {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-begun
			cancel()
		}()
		if _, err := c.Run(ctx, id); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want a cancelled context", how, err)
		}
	}
}
