// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/test/fakeregistry"
)

// pipelines are eight CI jobs of one user, each with an identity token in
// CI_JOB_TOKEN, at a registry that makes passwords of them.
func pipelines(t *testing.T, w *world) (reg *fakeregistry.Server, tokens []string) {
	o := fakeregistry.Options{}
	for i := range 8 {
		o.Issue.Clients = append(o.Issue.Clients, fakeregistry.Client{Subject: fmt.Sprint("job", i), User: fmt.Sprintf("job%d-bot", i)})
	}
	reg = startRegistry(t, o)
	for i := range 8 {
		token, err := reg.SignAssertion(fmt.Sprint("job", i), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, "CI_JOB_TOKEN="+token)
	}
	w.configure(`
[[account]]
name = "ci"
provider = "http-exchange"
hosts = ["` + reg.Host() + `"]
url = "` + reg.IssueURL() + `"
secret = "env:CI_JOB_TOKEN"
username_path = "username"
password_path = "password"
expires_in_path = "expires_in"
[account.json]
grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer"
assertion = "{{.Secret}}"

[[account]]
name = "plain"
provider = "generic"
hosts = ["plain.example"]
username = "gitlab-ci-token"
password = "env:CI_JOB_TOKEN"
`)
	return reg, tokens
}

func TestEightTokensOnOneAgentAreEightIdentities(t *testing.T) {
	w := newWorld(t)
	reg, tokens := pipelines(t, w)
	w.agent()
	w.write("docker/config.json", `{"credsStore": "regmint"}`)
	for _, way := range []string{"outside", "inside"} {
		var wg sync.WaitGroup
		for i, token := range tokens {
			wg.Go(func() {
				for round := range 3 {
					repo := fmt.Sprintf("%s/app%d", way, i)
					push := cmd("client", reg.Host(), repo).with(token, "DOCKER_CONFIG="+w.path("docker"))
					if way == "inside" {
						// The job is who it was when it was opened, whatever its
						// command does to its environment.
						push = cmd("regmint", "run", "-q", "--", "env", tokens[(i+1)%8], "client", reg.Host(), repo).with(token)
					}
					if out := w.run(push).out; out != fmt.Sprintf("job%d-bot\n", i) {
						t.Errorf("%s, round %d: job %d went as %s", way, round, i, out)
					}
					plain := w.run(cmd("docker-credential-regmint", "get").in("plain.example").with(token))
					if _, secret, _ := strings.Cut(token, "="); !strings.Contains(plain.out, secret) {
						t.Errorf("job %d got %s%s", i, plain.out, plain.err)
					}
				}
			})
		}
		wg.Wait()
		for i := range tokens {
			if who := reg.Stats().Who(fmt.Sprintf("%s/app%d", way, i), "push"); !slices.Equal(who, []string{fmt.Sprintf("job%d-bot", i)}) {
				t.Errorf("%s/app%d was pushed by %v", way, i, who)
			}
		}
	}
	for who, n := range reg.Stats().Issued {
		if n != 1 {
			t.Errorf("%d passwords were made for %s", n, who)
		}
	}
	if r := w.run(cmd("docker-credential-regmint", "get").in(reg.Host())); r.code != 1 || !strings.Contains(r.err, "CI_JOB_TOKEN") {
		t.Errorf("without the variable: exit %d: %s", r.code, r.err)
	}
}

func TestTwoHundredColdGetsAreOneMint(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	reg.Inject(fakeregistry.Fault{Path: "/issue", Delay: 300 * time.Millisecond})
	var wg sync.WaitGroup
	begin := time.Now()
	for range 200 { // no agent runs: they start it too
		wg.Go(func() { w.get(reg.Host(), "ci-bot") })
	}
	wg.Wait()
	if n := reg.Stats().Count("/issue", "*"); n != 1 {
		t.Errorf("%d passwords were made", n)
	}
	if n := len(w.agents()); n != 1 {
		t.Errorf("%d agents run", n)
	}
	t.Logf("200 cold gets without an agent: %s", time.Since(begin).Round(time.Millisecond))
}

func TestTenThousandGetsOfFortyIdentitiesAreFortyMints(t *testing.T) {
	w := newWorld(t)
	var regs []*fakeregistry.Server
	var accounts []string
	for i := range 20 {
		reg := issuer(t, fakeregistry.Options{}, "red", "blue")
		regs = append(regs, reg)
		for _, team := range []string{"red", "blue"} {
			text := w.minted(reg, team)
			accounts = append(accounts, strings.Replace(text, `name = "`+team+`"`, fmt.Sprintf("name = \"%s%d\"", team, i), 1))
		}
	}
	w.configure(accounts...)
	w.agent()
	socket := w.paths().MainSocket()
	var wg sync.WaitGroup
	begin := time.Now()
	const callers, each = 200, 50
	for caller := range callers {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			c, err := api.Dial(ctx, socket)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for n := range each {
				i, team := (caller+n)%20, []string{"red", "blue"}[(caller+n)/20%2]
				r, err := c.Get(ctx, &api.GetRequest{Key: regs[i].Host(), Account: fmt.Sprint(team, i)})
				if err != nil || r.Username != team+"-bot" {
					t.Errorf("%s at %d: %+v %v", team, i, r, err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d gets over %d connections: %s", callers*each, callers, time.Since(begin).Round(time.Millisecond))
	mints := 0
	for _, reg := range regs {
		mints += reg.Stats().Count("/issue", "*")
	}
	if mints != 40 {
		t.Errorf("%d passwords were made, want 40", mints)
	}
}
