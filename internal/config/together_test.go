// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettingsThatDoNotGoTogetherAreRefused(t *testing.T) {
	const files = "ca_file = \"/ca\"\ncert_file = \"/cert\"\nkey_file = \"/key\"\n"
	const wide, advertised = "http {\n bind = \"10.0.0.5:4680\"\n}\n", "http {\n bind = \"0.0.0.0:4680\"\n advertise = \"10.0.0.5:4680\"\n}\n"
	const mtls = "tls {\nhttp = true\nverify_https_client = true\n" + files + "}\n"
	for text, want := range map[string][]string{
		"":                                      nil,
		"http {\n bind = \"localhost:4680\"\n}": nil,
		"http {\n bind = \"[::1]:0\"\n}":        nil,
		wide:                                    {"2,9 Everybody who reaches"},
		"http {\n bind = \"cairn:4680\"\n}":     {"2,9 Everybody who reaches"},
		wide + "access {\n mode = \"none\"\n}":  {"2,9 Everybody who reaches"},
		wide + "access {\n mode = \"nomad\"\n}": nil,
		wide + mtls:                             nil,
		wide + "tls {\nhttp = true\n" + files + "}": {"2,9 Everybody who reaches"},
		advertised + mtls:                           nil,
		"http {\n bind = \":4680\"\n}\n" + mtls:     {"2,9 http.bind stands for all"},
		"http {\n bind = \"[::]:4680\"\n}":          {"2,9 Everybody who reaches", "2,9 http.bind stands for all"},
		"tls {\nhttp = true\n}":                     {"2,8 tls.http needs tls.cert_file"},
		"tls {\nhttp = true\ncert_file = \"/c\"\n}": {"3,13 tls.cert_file needs tls.key_file"},
		"tls {\nhttp = true\nkey_file = \"/c\"\n}":  {"3,12 tls.key_file needs"},
		"tls {\n" + files + "}":                     {"2,11 tls.ca_file is of no use", "3,13 tls.cert_file is of no use", "4,12 tls.key_file is of no use"},
		"tls {\nverify_https_client = true\n}":      {"2,23 tls.verify_https_client is of no use"},
		"tls {\nhttp = true\ncert_file = \"/c\"\nkey_file = \"/k\"\nverify_https_client = true\n}": {"5,23 tls.verify_https_client needs tls.ca_file"},
		"access {\n operator_policy = \"boss\"\n}":                                                 {"2,20 access.operator_policy is of no use"},
		"access {\n mode = \"nomad\"\n operator_policy = \"boss\"\n}":                              nil,
	} {
		path := written(t, "cairn.hcl", text)
		_, problems := Load([]string{path})
		var got []string
		for _, p := range problems {
			got = append(got, strings.Replace(strings.TrimPrefix(p.Error(), path+":"), ": Settings that do not go together; ", " ", 1))
		}
		slices.Sort(got)
		for i := range min(len(got), len(want)) {
			got[i] = got[i][:min(len(got[i]), len(want[i]))]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("problems of %q (-want +got):\n%s", text, diff)
		}
	}
}
