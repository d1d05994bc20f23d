// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	_ "embed"
	"net/http"
)

// openAPI describes everything that the handler serves; a test holds it against the handler and the shapes of package api.
//
//go:embed openapi.json
var openAPI []byte

// Paths of what a server says of itself and of the API.
const (
	openAPIPath = "/v1/openapi.json"
	MetricsPath = "/metrics"
)

func (h *handler) openAPI(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(openAPI); err != nil {
		h.Logger.Debug("answer was not taken", "path", r.URL.Path, "error", err)
	}
	return nil
}

func (h *handler) metrics(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r); err != nil {
		return err
	}
	if h.Metrics == nil {
		return notFound("this is the process of one run and no server: it has no metrics")
	}
	h.Metrics.ServeHTTP(w, r)
	return nil
}
