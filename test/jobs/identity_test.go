// SPDX-License-Identifier: Apache-2.0

//go:build unix

package jobs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakeregistry"
)

// Eight shell jobs of one user share one agent and no job directory: each has
// the identity token of its own CI job, and the registry sees eight identities.
func TestEightEnvironmentsAreEightIdentitiesAtTheRegistry(t *testing.T) {
	w := newWorld(t, time.Hour)
	const jobs = 8
	var clients []fakeregistry.Client
	for i := range jobs {
		clients = append(clients, fakeregistry.Client{ID: fmt.Sprint("c", i), Subject: fmt.Sprint("project:", i), User: fmt.Sprint("job-", i)})
	}
	reg, err := fakeregistry.Start(fakeregistry.Options{Issue: fakeregistry.IssueOptions{Clients: clients}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	w.write(".config/regmint/config.toml", fmt.Sprintf("[agent]\nstore = \"file\"\n\n[[account]]\nprovider = \"http-exchange\"\nhosts = [%q]\nurl = %q\n"+
		"identity_token = \"env:CI_JOB_JWT\"\n"+
		"form = { grant_type = \"urn:ietf:params:oauth:grant-type:jwt-bearer\", assertion = \"{{.IdentityToken}}\" }\n"+
		"username_path = \"username\"\npassword_path = \"password\"\nexpires_in_path = \"expires_in\"\n", reg.Host(), reg.IssueURL()))
	var wg sync.WaitGroup
	errs := make([]string, jobs)
	for i := range jobs {
		token, err := reg.SignAssertion(fmt.Sprint("project:", i), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range 3 {
				cmd := w.command("docker-credential-regmint", "get")
				cmd.Env = append(cmd.Env, "CI_JOB_JWT="+token)
				cmd.Stdin = strings.NewReader(reg.Host())
				out, err := cmd.Output()
				var c struct{ Username, Secret string }
				if err == nil {
					err = json.Unmarshal(out, &c)
				}
				if err != nil || c.Username != fmt.Sprint("job-", i) {
					errs[i] = fmt.Sprintf("job %d got %s %v", i, out, err)
					return
				}
				req, _ := http.NewRequest(http.MethodGet, reg.URL()+"/v2/", nil)
				req.SetBasicAuth(c.Username, c.Secret)
				resp, err := http.DefaultClient.Do(req)
				if err != nil || resp.StatusCode != http.StatusOK {
					errs[i] = fmt.Sprintf("job %d at the registry: %v %v", i, resp, err)
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	for _, e := range errs {
		if e != "" {
			t.Error(e)
		}
	}
	st := reg.Stats()
	for i := range jobs {
		who := fmt.Sprint("job-", i)
		if st.Issued[who] != 1 || st.Count("/v2/", who) != 3 {
			t.Errorf("%s: %d issued, %d requests at the registry", who, st.Issued[who], st.Count("/v2/", who))
		}
	}
}

func TestTwoHundredColdHelpersAreOneRequestUpstream(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.reg.Inject(fakeregistry.Fault{Path: "/issue", Delay: 300 * time.Millisecond})
	const helpers = 200
	var wg sync.WaitGroup
	bad := make(chan string, helpers)
	slots := make(chan struct{}, 100)
	for range helpers {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			cmd := w.command("docker-credential-regmint", "get")
			cmd.Stdin = strings.NewReader(w.reg.Host())
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"Username":"bot-one"`) {
				bad <- fmt.Sprintf("%v %s", err, out)
			}
		})
	}
	wg.Wait()
	close(bad)
	for b := range bad {
		t.Error(b)
	}
	if n := w.reg.Stats().Issued["bot-one"]; n != 1 {
		t.Fatalf("%d passwords issued for %d helpers, want 1", n, helpers)
	}
}
