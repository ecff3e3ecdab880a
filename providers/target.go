// SPDX-License-Identifier: Apache-2.0

package providers

import "strings"

// Target is HOST[/REPO][=ACCESS].
type Target struct {
	Host       Host
	Repository string
	Access     Access // 0: as the account is
}

// ParseTarget reads a target. The part before "=" is any form ParseKey reads;
// a repository of Docker Hub without a namespace is one of "library".
func ParseTarget(s string) (Target, error) {
	name, access, narrowed := strings.Cut(s, "=")
	k, err := ParseKey(name)
	if err != nil {
		return Target{}, err
	}
	if k.Item != "" {
		return Target{}, badAddress(s, "not a registry")
	}
	t := Target{Host: k.Host, Repository: k.Repository}
	if t.Host == DockerHub && t.Repository != "" && !strings.Contains(t.Repository, "/") {
		t.Repository = "library/" + t.Repository
	}
	if !narrowed {
		return t, nil
	}
	if t.Access, err = ParseAccess(access); err != nil {
		return Target{}, &Error{Kind: Misconfigured, Host: t.Host, Err: err}
	}
	return t, nil
}

// String is the form ParseTarget reads.
func (t Target) String() string {
	s := t.Host.String()
	if t.Repository != "" {
		s += "/" + t.Repository
	}
	if t.Access != 0 {
		s += "=" + t.Access.String()
	}
	return s
}
