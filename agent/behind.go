// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

// behindList are the former helpers: the job's own and the configuration's.
func (c *Core) behindList(s *snapshot, j *job) []api.Behind {
	var out []api.Behind
	for p := j; p != nil; p = p.parent {
		out = append(out, p.req.Behind...)
	}
	for h, helper := range s.cfg.Docker.Behind {
		if path, ok := helperPath(helper); ok {
			out = append(out, api.Behind{Host: h, Helper: path})
		}
	}
	return out
}

// helperPath is the absolute path of a former helper; a bare name, written by
// hand, is looked up once here.
func helperPath(v string) (string, bool) {
	if strings.HasPrefix(v, configdir.AuthsPrefix) {
		return "", false
	}
	if filepath.IsAbs(v) {
		return v, true
	}
	p, err := exec.LookPath("docker-credential-" + v)
	if err != nil || !filepath.IsAbs(p) {
		return "", false
	}
	return p, true
}

// behind answers for a host that is no account of ours. Nobody behind us knows
// of a product's own API.
func (c *Core) behind(s *snapshot, j *job, h providers.Host, req *api.GetRequest) *api.GetResponse {
	r := &api.GetResponse{Outcome: api.NotFound}
	if j.onlyAnywhere() || req.Native {
		return r
	}
	if path := c.helperFor(s, j, h); path != "" {
		r.Behind = path
		return r
	}
	for _, key := range []string{h.String(), "*"} {
		file, ok := strings.CutPrefix(s.cfg.Docker.Behind[key], configdir.AuthsPrefix)
		if !ok {
			continue
		}
		login, found, err := configdir.ReadAuth(file, h.String())
		if err != nil {
			return failure{host: h, err: &providers.Error{Kind: providers.Misconfigured, Host: h, Err: err}}.response()
		}
		if found {
			return &api.GetResponse{Outcome: api.OK, Username: login.Username, Secret: string(login.Secret), Account: "docker config.json"}
		}
	}
	return r
}

// helperFor is the path of the helper behind us for h, or "".
func (c *Core) helperFor(s *snapshot, j *job, h providers.Host) string {
	star := ""
	for _, b := range c.behindList(s, j) {
		if b.Host == "*" {
			if star == "" {
				star = b.Helper
			}
			continue
		}
		if bh, err := providers.ParseKey(b.Host); err == nil && bh.Host == h {
			return b.Helper
		}
	}
	return star
}

// passBehind tells the helper to run the former helper for a store or erase.
func (c *Core) passBehind(s *snapshot, h providers.Host) *api.Reply {
	if _, err := s.sel.Select(h, "", ""); providers.KindOf(err) != providers.NoAccount || err == nil {
		return nil
	}
	if path := c.helperFor(s, nil, h); path != "" {
		return &api.Reply{Outcome: api.NotFound, Behind: path}
	}
	return nil
}
