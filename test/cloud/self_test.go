// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
)

// saved is an account with a password in a file, on a registry of its own that
// wants it.
func saved(t *testing.T) (*world, *fakecloud.Registry) {
	t.Helper()
	cloud := fakecloud.Start(t)
	reg := &fakecloud.Registry{}
	cloud.Handle("registry.example.com", basic("ci", "s3cret", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reg.Serve(w, r, "ci")
	})))
	cloud.Handle("public.example.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reg.Serve(w, r, "anonymous") }))
	w := newWorld(t, cloud)
	w.configure(fmt.Sprintf("[[account]]\nname = \"ci\"\nprovider = \"generic\"\nhosts = [\"registry.example.com\"]\nusername = \"ci\"\npassword = %q\n",
		"file:"+w.write("password", "s3cret\n")))
	return w, reg
}

func TestTheWorldPushesAndPullsUnderRealNames(t *testing.T) {
	w, reg := saved(t)
	w.pushPull("registry.example.com/team/app:1")
	w.pushPull("public.example.com/team/app:1")
	if got := w.cloud.Reached(); !slices.Equal(got, []string{"public.example.com", "registry.example.com"}) {
		t.Errorf("reached %q", got)
	}
	if err := w.pullAs("registry.example.com/team/app:1", "ci", "wrong"); status(err) != http.StatusUnauthorized {
		t.Errorf("a wrong password: %v", err)
	}
	if len(reg.Done()) == 0 {
		t.Error("the registry saw nothing")
	}
	if a := w.get("other.example.com"); !a.notFound {
		t.Errorf("another host: %+v", a)
	}
	w.write("password", "\n")
	w.configure("[[account]]\nname = \"ci\"\nprovider = \"generic\"\nhosts = [\"registry.example.com\"]\nusername = \"ci\"\npassword = \"file:" + w.path("password") + "\"\n")
	if a := w.get("registry.example.com"); a.failure == "" {
		t.Errorf("no password: %+v", a)
	}
}

func TestTheWorldsJobsReachTheCloud(t *testing.T) {
	w, _ := saved(t)
	w.pushPull("registry.example.com/team/app:1")
	got := w.with(w.craneEnv()...).must("regmint", "run", "-q", "--", "crane", "ls", "registry.example.com/team/app")
	if strings.TrimSpace(got) != "1" {
		t.Errorf("crane in a job lists %q", got)
	}
}
