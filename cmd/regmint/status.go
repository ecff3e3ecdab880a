// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

// watchEvery is how often status --watch looks again.
const watchEvery = 2 * time.Second

type statusOptions struct {
	host   string
	recent bool
	watch  bool
	format string
}

func newStatusCmd(a *app) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status [HOST]",
		Short: "show accounts, credentials in memory and jobs; never a secret",
		Args:  cobra.MaximumNArgs(1),
		RunE: command(func(ctx context.Context, args []string) error {
			if len(args) == 1 {
				k, err := providers.ParseKey(args[0])
				if err != nil {
					return err
				}
				o.host = k.Host.String()
			}
			return a.status(ctx, o)
		}),
	}
	c.Flags().BoolVar(&o.recent, "recent", false, "the last answers: who asked for what, and what was said")
	c.Flags().BoolVar(&o.watch, "watch", false, "look again every 2 seconds")
	c.Flags().StringVar(&o.format, "format", "table", "table or json")
	return c
}

func (a *app) status(ctx context.Context, o statusOptions) error {
	switch {
	case o.format != "table" && o.format != "json":
		return usage("", "--format %s: use table or json", o.format)
	case o.watch && o.recent:
		return usage("", "--watch and --recent exclude each other")
	case o.watch && (o.format != "table" || !a.isTerminal(a.out)):
		return usage("", "--watch needs a terminal and the table")
	case o.recent:
		return a.recent(ctx, o)
	case o.watch:
		return a.watch(ctx, o)
	}
	st, err := a.agentStatus(ctx, o.host)
	if err != nil {
		return err
	}
	st = onlyHost(st, o.host)
	if o.host != "" && len(st.Accounts)+len(st.Tokens) == 0 {
		return &exitStatus{code: exitNoAccount, err: errNoAccount(o.host), hint: a.noAccountHint(o.host)}
	}
	if o.format == "json" {
		return a.printJSON(st)
	}
	return a.print("%s", a.page(st, o.host))
}

// noAccountHint is what to do about a host that nobody has asked for.
func (a *app) noAccountHint(host string) string {
	h, err := providers.ParseHost(host)
	for _, p := range a.providers {
		if err == nil && p.Match(h) {
			return "nobody has asked yet; to try the " + p.Name() + " identity found here, run: regmint refresh " + host
		}
	}
	return "run: regmint login " + host
}

var errNoAccountText = errors.New("no account for this host")

func errNoAccount(host string) error {
	h, _ := providers.ParseHost(host)
	return &providers.Error{Kind: providers.NoAccount, Host: h, Err: errNoAccountText}
}

func (a *app) page(st api.Status, host string) string {
	return statusView{st: st, host: host, now: a.now(), colour: a.colour(), bars: a.isTerminal(a.out)}.render()
}

// agentStatus asks the agent that answers here. For a host it says more.
func (a *app) agentStatus(ctx context.Context, host string) (api.Status, error) {
	var st api.Status
	path := "/v1/status"
	if host != "" {
		path += "?host=" + url.QueryEscape(host)
	}
	if err := a.askAgain(ctx, "GET", path, nil, &st); err != nil {
		return st, err
	}
	a.sawVersion(st.Version)
	if own := a.lookup("REGMINT_CONFIG"); own != "" && own != st.Config {
		a.say("REGMINT_CONFIG is %s, and the running agent reads %s", own, st.Config)
		a.hint("run: regmint agent restart")
	}
	return st, nil
}

// onlyHost leaves what concerns one host.
func onlyHost(st api.Status, host string) api.Status {
	if host == "" {
		return st
	}
	st.Accounts = slices.DeleteFunc(slices.Clone(st.Accounts), func(a api.AccountStatus) bool {
		return !slices.ContainsFunc(a.Hosts, func(h string) bool { return covers(h, host) })
	})
	st.Tokens = slices.DeleteFunc(slices.Clone(st.Tokens), func(t api.TokenStatus) bool { return t.Host != host })
	st.Rotations = slices.DeleteFunc(slices.Clone(st.Rotations), func(r api.RotationStatus) bool {
		return !slices.ContainsFunc(r.Hosts, func(h string) bool { return covers(h, host) })
	})
	st.Revocations = slices.DeleteFunc(slices.Clone(st.Revocations), func(r api.RevocationStatus) bool { return r.Host != host })
	return st
}

// watch draws the page anew until it is interrupted.
func (a *app) watch(ctx context.Context, o statusOptions) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		st, err := a.agentStatus(ctx, o.host)
		if err != nil {
			return err
		}
		page := a.page(onlyHost(st, o.host), o.host)
		if err := a.print("\x1b[H\x1b[2J%s", page); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// recentJSON is the output of status --recent --format json.
type recentJSON struct {
	Schema int          `json:"schema"`
	Recent []api.Recent `json:"recent"`
}

func (a *app) recent(ctx context.Context, o statusOptions) error {
	list := []api.Recent{}
	if err := a.askAgain(ctx, "GET", "/v1/recent", nil, &list); err != nil {
		return err
	}
	if o.host != "" {
		list = slices.DeleteFunc(list, func(r api.Recent) bool {
			t, err := providers.ParseTarget(r.Key)
			return err != nil || t.Host.String() != o.host
		})
	}
	if o.format == "json" {
		return a.printJSON(recentJSON{Schema: 1, Recent: list})
	}
	if len(list) > 0 {
		return a.print("%s", recentTable(list, time.Local).render(a.colour()))
	}
	var st api.Status
	if err := a.askAgain(ctx, "GET", "/v1/status", nil, &st); err != nil {
		return err
	}
	a.sawVersion(st.Version)
	return a.print("no client has asked since %s: %s\n", st.Started.Local().Format("15:04"), a.whyNobody(o.host))
}

// whyNobody says what docker would do, where nobody has asked.
func (a *app) whyNobody(host string) string {
	if host == "" {
		host = providers.DockerHub.String()
	}
	path := dockerConfig(a.caller())
	if path == "" {
		return "docker has no configuration directory here"
	}
	ok, why := configdir.WouldAsk(path, host)
	if ok {
		return "docker would ask regmint for " + host
	}
	return strings.TrimSpace("docker does not ask regmint for " + host + "; " + printable(why))
}
