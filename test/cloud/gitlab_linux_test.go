// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestAPersonLogsInToGitLabInTheBrowser(t *testing.T) {
	r := newGitLab(t, gitlab.Options{DeviceInterval: time.Second})
	app := r.gl.Application("regmint", registryScopes...)
	r.configure(r.account(fmt.Sprintf("client_id = %q", app.ClientID), `password = "keyring:browser"`))
	if a := r.get(r.gl.Registry()); !strings.Contains(a.failure, "regmint login") {
		t.Errorf("before the login: %+v", a)
	}
	done := entersCode(t, r.gl.Codes, func(code string) bool { return r.gl.Approve(code, r.jane) == nil })
	x := r.terminal(nil, "regmint", "login", "--no-browser", "--no-wire", r.gl.Registry())
	<-done
	if x.code != 0 || !strings.Contains(x.out, "https://gitlab.com/oauth/device") || !strings.Contains(x.out, "logged in to registry.gitlab.com") {
		t.Fatalf("%s", x)
	}
	r.pushPull(r.image())
	old := r.mustGet(r.gl.Registry()).Secret
	r.gl.Set(func(o *gitlab.Options) { o.AccessLife = 12 * time.Second })
	if y := r.regmint("refresh", r.gl.Registry()); y.code != 0 || r.mustGet(r.gl.Registry()).Secret != old {
		t.Errorf("a token that lives is not refreshed: %s", y)
	}
	if y := r.regmint("agent", "restart", "--force"); y.code != 0 {
		t.Fatal(y)
	}
	r.pushPull(r.image())
	if n := r.gl.Counts(); n.Logins != 1 || n.ReusedRefresh != 0 {
		t.Errorf("%+v", n)
	}
}
