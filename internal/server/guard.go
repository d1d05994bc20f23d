// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// bodyTimeout bounds how long the body of a request may take, before anybody knows who sends it: the largest at 140 KB/s.
const bodyTimeout = 2 * time.Minute

// guard keeps web pages out of the API: a browser on this machine reaches every port of it, and a page may make it send
// requests. Those from another origin are refused, and those to a name that is not this server's: a page can give its own name
// any address.
func guard(h http.Handler, advertise string) http.Handler {
	own, _, err := net.SplitHostPort(advertise)
	if err != nil {
		own = advertise
	}
	refuse := func(w http.ResponseWriter, why string) {
		// Whoever does not take the answer is refused all the same.
		_ = writeError(w, &api.Error{Status: http.StatusForbidden, Code: api.CodeForbidden, Message: why})
	}
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, fmt.Sprintf("the request comes from a page of %s: the API is not for pages of others", r.Header.Get("Origin")))
	}))
	return origins.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil && host != "localhost" && !strings.EqualFold(host, own) {
			refuse(w, fmt.Sprintf("this server is not %s: use an address, or the name in http.advertise", host))
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			// Whoever cannot has no connection that could be kept waiting.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		h.ServeHTTP(w, r)
	}))
}
