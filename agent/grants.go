// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"

	"github.com/regmint/regmint/providers"
)

// everything is what a grant without an access stands for when two sets meet.
const everything = providers.Push | providers.Delete

// grants unites every rule that narrows: the target of this ask, the job's
// targets (and those of the jobs around it), the account with its policy. Nothing
// named anywhere means the account as it is.
func grants(j *job, q asked, target []providers.Grant) ([]providers.Grant, error) {
	sets := [][]providers.Grant{target, q.account.Grants}
	for ; j != nil; j = j.parent {
		sets = append(sets, j.targets[q.host])
	}
	var out []providers.Grant
	for _, set := range sets {
		if len(set) == 0 {
			continue
		}
		if out == nil {
			out = providers.MergeGrants(set)
			continue
		}
		if out = intersect(out, set); len(out) == 0 {
			return nil, &providers.Error{
				Kind: providers.Denied, Host: q.host,
				Err:  errors.New("account " + q.account.Name + " may not do what was asked for"),
				Hint: "compare the target with access and repositories of the account and [policy]",
			}
		}
	}
	return out, nil
}

// intersect keeps what both sets allow; "" stands for every repository.
func intersect(a, b []providers.Grant) []providers.Grant {
	var out []providers.Grant
	for _, x := range a {
		for _, y := range b {
			if x.Repository != y.Repository && x.Repository != "" && y.Repository != "" {
				continue
			}
			g := providers.Grant{Repository: x.Repository, Access: full(x.Access) & full(y.Access)}
			if g.Repository == "" {
				g.Repository = y.Repository
			}
			if g.Access != 0 {
				out = append(out, g)
			}
		}
	}
	return providers.MergeGrants(out)
}

func full(a providers.Access) providers.Access {
	if a == 0 {
		return everything
	}
	return a
}
