// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strconv"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// jobLogin is a login that lives and dies with its job.
type jobLogin struct {
	host     providers.Host
	username string
	secret   providers.Secret
	serial   int       // tells it from the login before
	until    time.Time // of a token that another tool fetched; zero: of no known end
}

// carriedPrefix marks references to logins that the job's caller had.
const carriedPrefix = "carried/"

// ref is what a reference to the login's secret reads.
func (l jobLogin) ref(prefix string) string {
	return prefix + l.host.String() + "#" + strconv.Itoa(l.serial)
}

// take keeps a login in the job's memory.
func (j *job) take(l api.Login) error {
	k, err := providers.ParseKey(l.ServerURL)
	if err != nil {
		return &providers.Error{Kind: providers.Misconfigured, Err: err}
	}
	login := jobLogin{host: k.Host, username: l.Username, secret: providers.NewSecret(l.Secret), until: j.ends(k, l)}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.edits++
	login.serial = j.edits
	if l.Carried {
		j.carry[k.Host] = login
		return nil
	}
	j.logins[itemName(k)] = login
	j.sel = nil
	return nil
}

// drop forgets a login of the job and says whether there was one.
func (j *job) drop(k providers.Key) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.logins[itemName(k)]
	delete(j.logins, itemName(k))
	if k.Item == "" {
		if _, carried := j.carry[k.Host]; carried {
			delete(j.carry, k.Host)
			ok = true
		}
	}
	j.edits++
	j.sel = nil
	return ok
}

// loggedIn reports a login to h made inside the job or one around it.
func (j *job) loggedIn(h providers.Host) bool {
	for ; j != nil; j = j.parent {
		j.mu.Lock()
		_, ok := j.logins[h.String()]
		j.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}

// itemName is the name of what a key stores: the host, or host/item for the
// extra items of docker's web login.
func itemName(k providers.Key) string {
	if k.Item != "" {
		return k.Host.String() + "/" + k.Item
	}
	return k.Host.String()
}

// secret resolves a reference of scheme "job" to a login of this very job.
func (j *job) secret(ref string) (providers.Secret, error) {
	if j != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, l := range j.logins {
			if l.ref("") == ref {
				return l.secret, nil
			}
		}
		for _, l := range j.carry {
			if l.ref(carriedPrefix) == ref {
				return l.secret, nil
			}
		}
	}
	return providers.Secret{}, &providers.Error{Kind: providers.LoginRequired, Err: errors.New("the login of this job is gone"), Hint: "log in again in this job"}
}

// until is when the login of the job that a stands for ends; zero: not by
// itself.
func (j *job) until(a providers.Account) time.Time {
	owner := j.owner(a)
	if owner == nil {
		return time.Time{}
	}
	owner.mu.Lock()
	defer owner.mu.Unlock()
	if a.Layer == providers.LayerCarried {
		for _, l := range owner.carry {
			if l.ref(carriedPrefix) == a.Password.Value {
				return l.until
			}
		}
	}
	return owner.logins[a.Name].until
}

// loginAccount makes the account of a login; generic serves every registry.
func loginAccount(l jobLogin, layer providers.Layer, ref string) providers.Account {
	pat, _ := providers.ParsePattern(l.host.String())
	return providers.Account{
		Name: l.host.String(), Provider: "generic", Hosts: []providers.Pattern{pat}, Username: l.username,
		Password: providers.SecretRef{Scheme: schemeJob, Value: ref}, Layer: layer,
		Source: "login of this job", PlainHTTP: l.host.IsLoopback(),
	}
}

// carried is a login of DOCKER_AUTH_CONFIG: the last one asked.
func (j *job) carried(h providers.Host) (providers.Account, bool) {
	for ; j != nil; j = j.parent {
		j.mu.Lock()
		l, ok := j.carry[h]
		j.mu.Unlock()
		if ok {
			return loginAccount(l, providers.LayerCarried, l.ref(carriedPrefix)), true
		}
	}
	return providers.Account{}, false
}
