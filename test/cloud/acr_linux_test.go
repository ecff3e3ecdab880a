// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud/azure"
)

// approve enters the next code that somebody is shown.
func approve(t *testing.T, r azureRig, who *azure.Principal) {
	done := entersCode(t, r.az.Codes, func(code string) bool { return r.az.Approve(code, who) == nil })
	t.Cleanup(func() { <-done })
}

func TestAPersonLogsInToAzureWithACode(t *testing.T) {
	r := newAzure(t)
	r.az.Set(func(o *azure.Options) { o.DeviceInterval = time.Second })
	jane := r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPush)
	w := newWorld(t, r.cloud)
	approve(t, r, jane)
	x := w.terminal(nil, "regmint", "login", "--no-browser", "--no-wire", r.reg.Host)
	if x.code != 0 || !strings.Contains(x.out, "jane@contoso.example") || !strings.Contains(x.out, r.tenant.ID) || !strings.Contains(x.out, `identity = "device"`) {
		t.Fatalf("%s", x)
	}
	w.pushPull(r.reg.Host + "/team/app:1")
	if who := r.who(); len(who) != 1 || who[0] != jane.Name {
		t.Errorf("the registry saw %q", who)
	}
	// The refresh token was renewed with its use and survives the agent.
	if y := w.regmint("agent", "restart", "--force"); y.code != 0 {
		t.Fatal(y)
	}
	w.mustGet(r.reg.Host)
	jane.SignOut()
	if y := w.regmint("agent", "restart", "--force"); y.code != 0 {
		t.Fatal(y)
	}
	if a := w.get(r.reg.Host); !strings.Contains(a.failure, "regmint login") {
		t.Errorf("signed out: %+v", a)
	}
	approve(t, r, jane)
	if y := w.terminal(nil, "regmint", "login", "--no-browser", "--no-wire", r.reg.Host); y.code != 0 {
		t.Fatalf("again: %s", y)
	}
	w.mustGet(r.reg.Host)
}

func TestAPersonChoosesALoginOfAz(t *testing.T) {
	r := newAzure(t)
	w := newWorld(t, r.cloud)
	cli := azIn(w, r)
	jane := r.tenant.User("jane@contoso.example")
	away := r.az.Tenant(azure.Public, "fabrikam.onmicrosoft.com")
	away.Invite(jane)
	r.reg.Assign(jane, azure.AcrPush)
	if err := cli.Login(w.path(".azure"), jane, azure.Subscription{Name: "away", Tenant: away}, azure.Subscription{Name: "here", Tenant: r.tenant}); err != nil {
		t.Fatal(err)
	}
	if a := w.get(r.reg.Host); !strings.Contains(a.failure, jane.Name) {
		t.Errorf("az's default login is of another tenant: %+v", a)
	}
	x := w.terminal(nil, "regmint", "login", "--no-wire", r.reg.Host)
	if x.code != 0 || !strings.Contains(x.out, fmt.Sprintf("tenant_id = %q", r.tenant.ID)) || !strings.Contains(x.out, `identity = "az"`) {
		t.Fatalf("%s", x)
	}
	w.pushPull(r.reg.Host + "/team/app:1")
}
