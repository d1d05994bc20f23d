// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

// Routes are the methods of every path, for tests.
func Routes() map[string][]string {
	all := map[string][]string{}
	for path, on := range (&handler{}).routes() {
		for method := range on {
			all[path] = append(all[path], method)
		}
	}
	return all
}

// OpenAPI is the document that is served.
func OpenAPI() []byte { return openAPI }
