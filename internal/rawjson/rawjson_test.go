// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package rawjson

import (
	"bytes"
	"encoding/json"
	"testing"
)

// decoded sorts by way of maps, which encode sorted.
func decoded(t *testing.T, raw []byte) []byte {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func samples() []string {
	return []string{
		`{}`, `[]`, `null`, `0`, `-1.5e300`, `""`, `"\"}{\\"`, ` [ 1 , 2 ] `, "{\n\t\"b\" : 1 ,\r\n \"a\" : [ ] }",
		`{"b":{"d":[{"z":1,"y":[[],{}]},"x"],"c":null},"a":true}`, `{"":1,"a b":2,"A":3,"aa":4,"a":5}`,
		`{"n":12345678901234567890,"s":"a\\","t":"}]","u":"\u00e4\n"}`, `[[[[{"k":"[{"}]]]]`,
	}
}

func TestSortPutsMembersInOrder(t *testing.T) {
	for _, s := range samples() {
		if got, want := decoded(t, Sort([]byte(s))), decoded(t, []byte(s)); !bytes.Equal(got, want) {
			t.Errorf("%s: the content became %s", s, got)
		}
	}
	for in, want := range map[string]string{
		"{\n \"b\" : [ 1, {\"d\":2 ,\"c\":3} ] , \"a\" : \"x y\" }": `{"a":"x y","b":[1,{"c":3,"d":2}]}`,
		`{"Z":1,"a":2,"aa":3,"B":4}`:                                `{"B":4,"Z":1,"a":2,"aa":3}`,
		` "x" `:                                                     `"x"`,
		`{"a b":1,"a":2}`:                                           `{"a":2,"a b":1}`,
	} {
		if got := string(Sort([]byte(in))); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestMembersAndElements(t *testing.T) {
	members, ok := Members([]byte(` {"a\u0062" : [1, 2] , "c":{"d":"}"}} `))
	if !ok || len(members) != 2 || members[0].Text() != "ab" || string(members[0].Value) != "[1, 2]" || string(members[1].Value) != `{"d":"}"}` {
		t.Errorf("got %q, %v", members, ok)
	}
	elements, ok := Elements([]byte(`[ "]", {"a":[ ]} ,null]`))
	if !ok || len(elements) != 3 || string(elements[0]) != `"]"` || string(elements[1]) != `{"a":[ ]}` || string(elements[2]) != "null" {
		t.Errorf("got %q, %v", elements, ok)
	}
	for _, s := range []string{`1`, `"{}"`, `null`, ``} {
		if _, ok := Members([]byte(s)); ok {
			t.Errorf("%q is taken for an object", s)
		}
		if _, ok := Elements([]byte(s)); ok {
			t.Errorf("%q is taken for an array", s)
		}
	}
}

func FuzzSort(f *testing.F) {
	for _, s := range samples() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		sorted := Sort(raw)
		if !bytes.Equal(decoded(t, sorted), decoded(t, raw)) {
			t.Errorf("%s became %s", raw, sorted)
		}
		if again := Sort(sorted); !bytes.Equal(again, sorted) {
			t.Errorf("%s sorted again is %s", sorted, again)
		}
	})
}
