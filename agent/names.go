// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// AccountName is the name of a saved account that was given none: its host,
// with "-" for what no account's name may have (the colon before a port).
func AccountName(h providers.Host) string {
	s := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, h.String())
	s = strings.Trim(s, ".-_")
	return s[:min(len(s), 120)]
}

// NewAccountName is the name for a new saved account of h: that of its host,
// with a number where another host's account has it (reg:5 and reg-5 read
// alike).
func NewAccountName(h providers.Host, accounts []providers.Account) string {
	base := cmp.Or(AccountName(h), "registry") // [::] has no letter
	name := base
	for n := 2; config.CheckAccountName(name) != nil || slices.ContainsFunc(accounts, func(a providers.Account) bool {
		return strings.EqualFold(a.Name, name) && (a.Layer != providers.LayerSaved || hostOf(a) != h)
	}); n++ {
		name = base + "-" + strconv.Itoa(n)
	}
	return name
}
