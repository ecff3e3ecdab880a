// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"os"
	"testing"
)

// TestWithoutAnAgent: where none may run, the helper does the work itself.
func TestWithoutAnAgent(t *testing.T) {
	w := newWorld(t)
	r, minted := startToken(t), startMinted(t)
	w.configure(minted.account)
	w.dockerEngine()
	must(t, w, cmd("regmint", "install", "--containers"))
	must(t, w, cmd("regmint", "agent", "stop", "--force"))
	w.env["REGMINT_AGENT"] = "off"
	t.Cleanup(func() { delete(w.env, "REGMINT_AGENT") })
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			c.ready(t, w)
			m := meeting{t: t, w: w, s: w, c: c, r: r, way: "direct"}
			m.login()
			for _, host := range []string{r.host, minted.host} {
				ref := host + "/direct/" + c.name + ":1"
				for _, list := range [][]command{c.push(w, ref), c.pull(w, ref)} {
					if res := do(w, list); res.code != 0 {
						t.Errorf("%s: exit %d\n%s", last(list), res.code, res.out)
					}
				}
			}
			must(t, w, m.logout())
			mustFail(t, w, last(c.pull(w, r.host+"/direct/"+c.name+":1")))
		})
	}
	if _, err := os.Lstat(w.path("r", "agent.sock")); err == nil {
		t.Error("an agent was started although REGMINT_AGENT is off")
	}
}
