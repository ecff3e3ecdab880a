// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Suite is the behaviour every library must see.
func Suite(t *testing.T, clients []Client, docker Docker) {
	t.Run("every client gets the configured account", func(t *testing.T) { configured(t, clients) })
	t.Run("a host without an account is anonymous", func(t *testing.T) { unknown(t, clients) })
	t.Run("a failure is an error that names the host, never anonymous", func(t *testing.T) { failure(t, clients) })
	t.Run("a failure of the soft link is anonymous", func(t *testing.T) { soft(t, clients) })
	t.Run("asking for everything answers what can be answered", func(t *testing.T) { everything(t, clients, docker) })
	t.Run("gitlab-runner loses every login when one helper call fails, and none with the soft link", func(t *testing.T) { runner(t, docker) })
	t.Run("a login by one client serves all others until logout", func(t *testing.T) { login(t, clients, docker) })
	t.Run("inside a job every client gets the job's accounts", func(t *testing.T) { job(t, clients) })
	t.Run("a login inside a job ends with the job", func(t *testing.T) { jobLogin(t, clients) })
}

func configured(t *testing.T, clients []Client) {
	w := newWorld(t, true)
	for _, s := range w.shapes() {
		w.docker(s.store, s.helpers)
		for _, c := range clients {
			for host, want := range map[string]Login{w.host: localLogin, hubHost: hubLogin} {
				t.Run(s.name+"/"+c.Name+"/"+host, func(t *testing.T) {
					if c.HostsOnly && s.helpers == nil {
						want = Login{} // it never asks the default store
					}
					got, err := c.Resolve(t.Context(), host+image)
					if err != nil || got != want {
						t.Errorf("got %q, %v; want user %q", got.User, err, want.User)
					}
				})
			}
		}
	}
}

func unknown(t *testing.T, clients []Client) {
	w := newWorld(t, true)
	for _, s := range w.shapes() {
		w.docker(s.store, s.helpers)
		for _, c := range clients {
			got, err := c.Resolve(t.Context(), "unknown.registry.test"+image)
			if err != nil || got != (Login{}) {
				t.Errorf("%s, %s: got %q, %v; want anonymous", s.name, c.Name, got.User, err)
			}
		}
	}
}

func failure(t *testing.T, clients []Client) {
	w := newWorld(t, true)
	s := w.shapes()[2]
	w.docker(s.store, s.helpers)
	for _, c := range clients {
		got, err := c.Resolve(t.Context(), brokenHost+image)
		if err == nil || !strings.Contains(err.Error(), brokenHost+": ") {
			t.Errorf("%s: got %q, error %v; want an error that says %q and why", c.Name, got.User, err, brokenHost+": ")
		}
	}
}

func soft(t *testing.T, clients []Client) {
	w := newWorld(t, true)
	w.docker("regmint-soft", map[string]string{brokenHost: "regmint-soft", w.host: "regmint-soft"})
	for _, c := range clients {
		for host, want := range map[string]Login{brokenHost: {}, w.host: localLogin} {
			got, err := c.Resolve(t.Context(), host+image)
			if err != nil || got != want {
				t.Errorf("%s, %s: got %q, %v; want user %q", c.Name, host, got.User, err, want.User)
			}
		}
	}
}

func everything(t *testing.T, clients []Client, docker Docker) {
	w := newWorld(t, true)
	w.docker("regmint", nil)
	_, _ = clients[0].Resolve(t.Context(), brokenHost+image) // it is known to fail from now on
	all, err := docker.All()
	if err != nil {
		t.Fatalf("one failing account must not take the others along: %v", err)
	}
	if all[w.host] != localLogin {
		t.Errorf("no login for %s among %q", w.host, slices.Sorted(maps.Keys(all)))
	}
	if !slices.Contains(slices.Collect(maps.Values(all)), hubLogin) {
		t.Errorf("no login for Docker Hub among %q", slices.Sorted(maps.Keys(all)))
	}
}

// runnerLogins is how GitLab Runner collects the logins for job images: the
// store's list first, then each helper's entry, and the first error of any
// kind leaves it with nothing at all, silently.
func runnerLogins(d Docker) map[string]Login {
	store, helpers, err := d.Names()
	if err != nil {
		return nil
	}
	out := map[string]Login{}
	if store != "" {
		all, err := d.StoreAll(store)
		if err != nil {
			return nil
		}
		maps.Copy(out, all)
	}
	for server, helper := range helpers {
		l, err := d.HelperGet(helper, server)
		if err != nil {
			return nil
		}
		out[server] = l
	}
	return out
}

func runner(t *testing.T, docker Docker) {
	w := newWorld(t, true)
	w.docker("", map[string]string{w.host: "regmint", brokenHost: "regmint"})
	if got := runnerLogins(docker); len(got) != 0 {
		t.Errorf("the failing account went unnoticed: %q", slices.Sorted(maps.Keys(got)))
	}
	for _, s := range []shape{
		{"credsStore alone", "regmint", nil},
		{"credHelpers with the soft link", "", map[string]string{w.host: "regmint-soft", brokenHost: "regmint-soft"}},
		{"both with the soft link", "regmint-soft", map[string]string{w.host: "regmint-soft", brokenHost: "regmint-soft"}},
	} {
		w.docker(s.store, s.helpers)
		if got := runnerLogins(docker); got[w.host] != localLogin {
			t.Errorf("%s: no login for %s among %q", s.name, w.host, slices.Sorted(maps.Keys(got)))
		}
	}
}

func login(t *testing.T, clients []Client, docker Docker) {
	w := newWorld(t, false)
	// `werf cr login` stores the Hub under a name that no client asks for.
	for server, host := range map[string]string{w.host: w.host, "index.docker.io": hubHost} {
		s := w.shapes()[2]
		w.docker(s.store, s.helpers)
		want := Login{"person", "own-" + host}
		if err := docker.Store(server, want); err != nil {
			t.Fatalf("login to %s: %v", server, err)
		}
		for _, c := range clients {
			if got, err := c.Resolve(t.Context(), host+image); err != nil || got != want {
				t.Errorf("%s, %s after login: got %q, %v; want %q", c.Name, host, got.User, err, want.User)
			}
		}
		if err := docker.Erase(server); err != nil {
			t.Fatalf("logout from %s: %v", server, err)
		}
		for _, c := range clients {
			if got, err := c.Resolve(t.Context(), host+image); err != nil || got != (Login{}) {
				t.Errorf("%s, %s after logout: got %q, %v; want anonymous", c.Name, host, got.User, err)
			}
		}
	}
}

func job(t *testing.T, clients []Client) {
	w := newWorld(t, true)
	w.docker("", nil)
	got := w.inJob(errand{Images: []string{w.host + image, hubHost + image, "unknown.registry.test" + image, brokenHost + image}})
	for _, c := range clients {
		for host, want := range map[string]Login{w.host: localLogin, hubHost: hubLogin, "unknown.registry.test": {}} {
			if a := got[c.Name][host+image]; a.Err != "" || a.Login != want {
				t.Errorf("%s, %s: got %q, error %q; want user %q", c.Name, host, a.User, a.Err, want.User)
			}
		}
		if a := got[c.Name][brokenHost+image]; !strings.Contains(a.Err, brokenHost+": ") {
			t.Errorf("%s, %s: got %q, error %q; want the failure", c.Name, brokenHost, a.User, a.Err)
		}
	}
}

// jobLogin is `werf ci-env gitlab` and `docker login` in a pipeline: the login
// wins over the configured account for that job, and for no one else.
func jobLogin(t *testing.T, clients []Client) {
	w := newWorld(t, true)
	w.docker("regmint", map[string]string{w.host: "regmint"})
	want := Login{"gitlab-ci-token", "of-this-job-only"}
	inside := w.inJob(errand{Store: map[string]Login{w.host: want}, Images: []string{w.host + image}})
	for _, c := range clients {
		if a := inside[c.Name][w.host+image]; a.Err != "" || a.Login != want {
			t.Errorf("%s inside the job: got %q, error %q; want %q", c.Name, a.User, a.Err, want.User)
		}
		if got, err := c.Resolve(t.Context(), w.host+image); err != nil || got != localLogin {
			t.Errorf("%s after the job: got %q, %v; want %q again", c.Name, got.User, err, localLogin.User)
		}
	}
}
