// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// LoginGroup implements providers.LoginGrouper: accounts that live by one login
// of gcloud.
func (Provider) LoginGroup(a providers.Account) string {
	o, ok := a.Options.(*Options)
	switch {
	case !ok || o == nil:
		return ""
	case o.GcloudConfiguration != "" && o.GcloudAccount != "":
		return fmt.Sprintf("gcloud account %s of configuration %q", httpx.Printable(o.GcloudAccount, 80), httpx.Printable(o.GcloudConfiguration, 60))
	case o.GcloudConfiguration != "":
		return fmt.Sprintf("gcloud configuration %q", httpx.Printable(o.GcloudConfiguration, 60))
	case o.GcloudAccount != "":
		return "gcloud account " + httpx.Printable(o.GcloudAccount, 80)
	case len(o.explicit()) == 0:
		return "the Google credentials of this machine"
	}
	return ""
}

// Login implements providers.Loginer. An account that says who it is is tried;
// else gcloud's configurations and accounts are offered, else what the machine
// has is tried. Nothing here logs in to gcloud: its own command does that.
func (p Provider) Login(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	own := q.Account.Layer == providers.LayerConfigured || q.Account.Layer == providers.LayerJobConfig
	if own || !isRegistry(q.Host) {
		q.Deps.Env = map[string]string{} // what is written down reads nothing of a caller
	}
	s, err := p.open(q.Account, q.Deps)
	if err != nil {
		return providers.LoginResult{}, err
	}
	// What is found at one of Google's hosts needs no account.
	write := s.plan.identity == "" && !own && !isRegistry(q.Host)
	account := q.Account
	if s.plan.identity == "" && !s.hasCredentials() {
		picked, active, err := s.pick(ctx, q)
		if err != nil {
			return providers.LoginResult{}, err
		}
		if picked != nil {
			a := q.Account
			a.Provider, a.Options = p.Name(), picked
			if s, err = p.open(a, q.Deps); err != nil {
				return providers.LoginResult{}, err
			}
			if write = write || !active; write {
				account = a
			}
		}
	}
	who, err := s.try(ctx, q)
	if err != nil {
		return providers.LoginResult{}, err
	}
	// Google does not say when a person has to log in again.
	return providers.LoginResult{Account: account, Write: write, Who: who}, nil
}

// hasCredentials reports what goes before gcloud in the search.
func (s *source) hasCredentials() bool {
	if s.deps.Env[envCredentials] != "" || s.ci() != nil {
		return true
	}
	name := adcFile(s.configDir())
	if name == "" {
		return false
	}
	_, err := readFile(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// try mints and says as whom.
func (s *source) try(ctx context.Context, q providers.LoginRequest) (who string, err error) {
	if err := s.owns(q.Host); err != nil {
		return "", err
	}
	id, err := s.find(ctx, q.Host)
	if err != nil {
		return "", noIdentity(err)
	}
	c := s.plan.choose(nil)
	if s.plan.ServiceAccount != "" {
		id = s.impersonated(id, c)
	}
	asked := s.deps.Now()
	t, err := id.token(ctx, call{host: q.Host, scopes: c.scopes})
	if err != nil {
		return "", err
	}
	_, err = s.expiry(q.Host, t, asked)
	return t.who, err
}

// noIdentity asks for a login where nobody is anybody.
func noIdentity(err error) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != providers.NoAccount {
		return err
	}
	return &providers.Error{Kind: providers.LoginRequired, Host: e.Host, Err: errors.New("no Google credentials on this machine"), Hint: loginHint(e.Host)}
}

// candidate is one way of gcloud to be somebody.
type candidate struct {
	label   string
	options Options
	active  bool
}

// pick offers what gcloud has. nil: gcloud has nothing to offer. What is active
// is found without being written down.
func (s *source) pick(ctx context.Context, q providers.LoginRequest) (picked *Options, active bool, err error) {
	list, err := s.candidates(ctx, q.Host)
	if err != nil || len(list) == 0 {
		return nil, false, err
	}
	labels := make([]string, len(list))
	for i, c := range list {
		labels[i] = c.label
	}
	i, err := q.UI.Choose(ctx, fmt.Sprintf("Who logs in to %s?", q.Host), labels)
	if errors.Is(err, providers.ErrNobody) {
		// What needs no configuration is what goes on as it is.
		if i = slices.IndexFunc(list, func(c candidate) bool { return c.active }); i < 0 {
			return nil, false, s.fail(q.Host, providers.LoginRequired, "set gcloud_configuration, or run in a terminal: regmint login "+q.Host.String(), errors.New("gcloud has several accounts and none is active"))
		}
	} else if err != nil {
		return nil, false, err
	}
	if i < 0 || i >= len(list) {
		return nil, false, s.fail(q.Host, providers.LoginRequired, "", errors.New("nothing was chosen"))
	}
	o := *s.plan.Options // keep service_account and the others
	o.GcloudConfiguration, o.GcloudAccount = list[i].options.GcloudConfiguration, list[i].options.GcloudAccount
	return &o, list[i].active, nil
}

// candidates are gcloud's configurations that have an account, then the
// accounts that no configuration names.
func (s *source) candidates(ctx context.Context, h providers.Host) ([]candidate, error) {
	var accounts []struct {
		Account string `json:"account"`
		Status  string `json:"status"`
	}
	var configurations []struct {
		Name       string `json:"name"`
		Active     bool   `json:"is_active"`
		Properties struct {
			Core struct {
				Account string `json:"account"`
				Project string `json:"project"`
			} `json:"core"`
		} `json:"properties"`
	}
	if there, err := s.list(ctx, h, &accounts, "auth", "list", "--format=json"); err != nil || !there {
		return nil, err
	}
	if _, err := s.list(ctx, h, &configurations, "config", "configurations", "list", "--format=json"); err != nil {
		return nil, err
	}
	known := map[string]bool{} // true: some configuration names it
	for _, a := range accounts {
		known[a.Account] = false
	}
	var out []candidate
	for _, c := range configurations {
		account := c.Properties.Core.Account
		if _, loggedIn := known[account]; !loggedIn || account == "" {
			continue
		}
		known[account] = true
		label := fmt.Sprintf("%s (gcloud configuration %s", httpx.Printable(account, 80), httpx.Printable(c.Name, 40))
		if p := c.Properties.Core.Project; p != "" {
			label += ", project " + httpx.Printable(p, 40)
		}
		out = append(out, candidate{label: label + ")", options: Options{GcloudConfiguration: c.Name}, active: c.Active})
	}
	for _, a := range accounts {
		if a.Account != "" && !known[a.Account] {
			out = append(out, candidate{label: httpx.Printable(a.Account, 80) + " (gcloud account)", options: Options{GcloudAccount: a.Account}})
		}
	}
	slices.SortStableFunc(out, func(a, b candidate) int {
		switch {
		case a.active == b.active:
			return 0
		case a.active:
			return -1
		}
		return 1
	})
	return out, nil
}

// list runs a listing of gcloud's; false: there is no gcloud.
func (s *source) list(ctx context.Context, h providers.Host, to any, args ...string) (bool, error) {
	b, err := s.runGcloud(ctx, args...)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, s.hosted(h, err)
	case json.Unmarshal(b, to) != nil:
		return false, s.fail(h, providers.Unavailable, "", errors.New("gcloud wrote no list; is it up to date?"))
	}
	return true, nil
}
