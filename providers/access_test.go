// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestAccessReadsAndPrints(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Access
		text string
	}{
		{"pull", Pull, "pull"},
		{"push", Push, "push"},
		{"delete", Delete, "delete"},
		{"pull,push", Push, "push"},
		{"push,pull,push", Push, "push"},
		{"delete,pull", Pull | Delete, "pull,delete"},
		{"push,delete", Push | Delete, "push,delete"},
	} {
		got, err := ParseAccess(tt.in)
		if err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("ParseAccess(%q) = %d %q, %v", tt.in, got, got, err)
		}
		if again, err := ParseAccess(got.String()); err != nil || again != got {
			t.Errorf("%q reads back as %d, %v", got, again, err)
		}
	}
	for _, in := range []string{"", "Pull", "pull ", "pull,", ",pull", "*", "pull;push", "admin"} {
		if got, err := ParseAccess(in); err == nil || got != 0 || !strings.Contains(err.Error(), "use pull, push or delete") {
			t.Errorf("ParseAccess(%q) = %d, %v", in, got, err)
		}
	}
}

func TestPushIncludesPullAndDeleteStandsAlone(t *testing.T) {
	for _, tt := range []struct {
		a, b Access
		want bool
	}{
		{Push, Pull, true}, {Pull, Push, false}, {Push, Delete, false}, {Delete, Pull, false}, {Push | Delete, Delete, true}, {Pull, 0, true}, {0, Pull, false},
	} {
		if tt.a.Has(tt.b) != tt.want {
			t.Errorf("%q has %q: %v", tt.a, tt.b, !tt.want)
		}
	}
}

func TestAccessAsText(t *testing.T) {
	type box struct{ A, B Access }
	b, err := json.Marshal(box{A: Push | Delete})
	if err != nil || string(b) != `{"A":"push,delete","B":""}` {
		t.Fatalf("%s, %v", b, err)
	}
	out := box{B: Pull}
	if err := json.Unmarshal(b, &out); err != nil || out != (box{A: Push | Delete}) {
		t.Errorf("%+v, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"write"}`), &out); err == nil {
		t.Error("an unknown access is accepted")
	}
}

func TestGrantsAreSortedAndMerged(t *testing.T) {
	in := []Grant{{"b", Pull}, {"a", Pull}, {"b", Delete}, {"", Pull}, {"a", Push}, {"b", Pull}}
	want := []Grant{{"", Pull}, {"a", Push}, {"b", Pull | Delete}}
	if got := MergeGrants(in); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if in[0] != (Grant{"b", Pull}) || in[2] != (Grant{"b", Delete}) {
		t.Error("the input is changed")
	}
	if got := MergeGrants(MergeGrants(in)); !reflect.DeepEqual(got, want) {
		t.Errorf("merging twice: %v", got)
	}
	if got := MergeGrants(nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
