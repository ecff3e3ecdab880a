// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"slices"
	"strings"
)

// access is one entry of an access claim.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

func parseScope(s string) (access, bool) {
	typ, rest, ok := strings.Cut(s, ":")
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 || typ != "repository" && typ != "registry" {
		return access{}, false
	}
	return access{Type: typ, Name: rest[:i], Actions: strings.Split(rest[i+1:], ",")}, true
}

func covers(list []access, typ, name, action string) bool {
	return slices.ContainsFunc(list, func(x access) bool {
		return x.Type == typ && x.Name == name && slices.Contains(x.Actions, action)
	})
}

// knows tells whether subject still is somebody. Callers hold mu.
func (r *Registry) knows(subject string) bool {
	switch {
	case subject == subjectAdmin:
		return r.admin[0] != ""
	case subject == subjectAnonymous:
		return r.anonymous
	case strings.HasPrefix(subject, subjectToken):
		return slices.ContainsFunc(r.tokens, func(t *Token) bool { return subjectToken+t.Name == subject && r.valid(t) })
	}
	return slices.ContainsFunc(r.assigned, func(x assignment) bool { return x.object == subject })
}

// actions are what subject may do with a thing. Callers hold mu.
func (r *Registry) actions(subject, typ, name string) []string {
	catalog := typ == "registry" && name == "catalog"
	if typ != "repository" && !catalog {
		return nil
	}
	all := []string{actionPull, actionPush, actionDelete, actionMetadataRead, actionMetadataWrite}
	if catalog {
		all = []string{actionCatalog}
	}
	switch {
	case subject == subjectAdmin:
		return all
	case subject == subjectAnonymous && catalog:
		return nil
	case subject == subjectAnonymous:
		return []string{actionPull, actionMetadataRead}
	case strings.HasPrefix(subject, subjectToken):
		return r.tokenActions(strings.TrimPrefix(subject, subjectToken), name)
	}
	var out []string
	for _, x := range r.assigned {
		switch {
		case x.object != subject || len(x.repositories) > 0 && !slices.Contains(x.repositories, name):
		case catalog && (x.role == CatalogLister || x.role == AcrPull || x.role == AcrPush):
			out = append(out, actionCatalog)
		case !catalog:
			out = append(out, roleActions[x.role]...)
		}
	}
	return out
}

func (r *Registry) tokenActions(token, name string) []string {
	var out []string
	for _, t := range r.tokens {
		if t.Name != token {
			continue
		}
		for _, act := range t.Actions[name] {
			if a := scopeMapActions[act]; a != "" {
				out = append(out, a)
			}
		}
	}
	return out
}

var scopeMapActions = map[string]string{
	"content/read": actionPull, "content/write": actionPush, "content/delete": actionDelete,
	"metadata/read": actionMetadataRead, "metadata/write": actionMetadataWrite,
}
