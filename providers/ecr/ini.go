// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"slices"
	"strings"

	"github.com/regmint/regmint/providers/internal/httpx"
)

// sections are those of ~/.aws/config: names to keys to values. The SDK reads
// profiles by name; which there are, and sso-session alone, it does not say.
type sections map[string]map[string]string

// readSections reads the INI dialect of AWS: "[profile NAME]", "[default]",
// "[sso-session NAME]"; indented lines belong to the value above them.
func readSections(text string) sections {
	out := sections{}
	var at map[string]string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
		case line[0] == '[':
			name, _, ok := strings.Cut(line[1:], "]")
			at = nil
			if name = strings.Join(strings.Fields(name), " "); ok && name != "" {
				if out[name] == nil {
					out[name] = map[string]string{}
				}
				at = out[name]
			}
		case line[0] == ' ' || line[0] == '\t' || at == nil:
		default:
			if k, v, ok := strings.Cut(line, "="); ok {
				if i := strings.Index(v, " #"); i >= 0 {
					v = v[:i]
				}
				at[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
			}
		}
	}
	return out
}

// candidate is a profile whose account can be told without asking.
type candidate struct {
	name    string
	account string
	what    string // "SSO corp, role Dev" for people
}

// profiles lists those of ~/.aws/config whose account is known: from
// IAM Identity Center or from the role they assume.
func (s sections) profiles() []candidate {
	var out []candidate
	for name, keys := range s {
		profile, ok := strings.CutPrefix(name, "profile ")
		if !ok && name != "default" {
			continue
		}
		if !ok {
			profile = name
		}
		p := candidate{name: profile}
		switch {
		case isAccount(accountOf(keys["role_arn"])):
			p.account, p.what = accountOf(keys["role_arn"]), "role "+roleName(keys["role_arn"])
		case isAccount(keys["sso_account_id"]):
			p.account, p.what = keys["sso_account_id"], "IAM Identity Center as "+httpx.Printable(keys["sso_role_name"], 64)
		default:
			continue
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b candidate) int { return strings.Compare(a.name, b.name) })
	return out
}

// sections reads the config file; a file that cannot be read has none.
func (s *source) sections(f files) sections {
	name, _ := f.named(s.deps.Home)
	if name == "" {
		return nil
	}
	b, err := readFile(name)
	if err != nil {
		return nil
	}
	return readSections(string(b))
}
