// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// mergeLimit is how long `list` waits for former helpers.
const mergeLimit = 2 * time.Second

// list answers `list`: an object of server URL and user name, never null.
// Clients give up on all of it for one failure, so what cannot be had in time
// is left out.
func (c *call) list(ctx context.Context) int {
	a, err := connect(ctx)
	if err != nil {
		return c.fail("", errText(err))
	}
	if a.client == nil {
		return c.direct(ctx, a, "", "")
	}
	var resp api.ListResponse
	err = a.patiently(ctx, func() (err error) {
		resp, err = ask(ctx, a)
		return err
	})
	defer a.client.Close()
	if err != nil {
		return c.fail("", errText(err))
	}
	if resp.Outcome != api.OK {
		if resp.Message == "" {
			resp.Message = "the agent cannot list its accounts; run: regmint status"
		}
		return c.fail("", resp.Message)
	}
	all := resp.Entries
	if all == nil {
		all = map[string]string{}
	}
	if !a.inJob {
		merge(all, without(listSudoUser(ctx), resp.Withheld))
	}
	for _, entries := range listBehind(ctx, resp.Behind) {
		merge(all, without(entries, resp.Withheld))
	}
	out, err := json.Marshal(all)
	if err != nil {
		return c.fail("", err.Error())
	}
	return c.print(string(out) + "\n")
}

func ask(ctx context.Context, a agent) (api.ListResponse, error) {
	var resp api.ListResponse
	env := api.CallerEnv
	if a.foreign {
		env = api.UnsetEnv
	}
	return resp, a.client.Call(ctx, "POST", "/v1/list", api.ListRequest{Env: env(nil)}, &resp)
}

// merge adds what is not there yet: the first to name a host answers for it.
func merge(all, more map[string]string) {
	for k, v := range more {
		if _, taken := all[k]; !taken {
			all[k] = v
		}
	}
}

// without leaves out the entries of hosts whose get fails: one failure costs
// gitlab-runner and docker's classic build all of their credentials.
func without(entries map[string]string, hosts []string) map[string]string {
	maps.DeleteFunc(entries, func(key, _ string) bool {
		return slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(hostOf(key), hostOf(h)) })
	})
	return entries
}

func listSudoUser(ctx context.Context) map[string]string {
	a := connectSudoUser(ctx)
	if a.client == nil {
		return nil
	}
	defer a.client.Close()
	resp, err := ask(ctx, a)
	if err != nil || resp.Outcome != api.OK {
		return nil
	}
	return resp.Entries
}

// listBehind asks all former helpers at once.
func listBehind(ctx context.Context, helpers []string) []map[string]string {
	lists := make([]map[string]string, len(helpers))
	var wg sync.WaitGroup
	for i, path := range helpers {
		if !mayRun(path) {
			continue
		}
		wg.Go(func() {
			out, err := run(ctx, mergeLimit, path, "list", "")
			var entries map[string]string
			if err == nil && json.Unmarshal([]byte(out), &entries) == nil {
				lists[i] = maps.Clone(entries)
			}
		})
	}
	wg.Wait()
	return lists
}
