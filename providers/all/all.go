// SPDX-License-Identifier: Apache-2.0

// Package all is the ordered list of every provider.
package all

import (
	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/acr"
	"github.com/regmint/regmint/providers/dockerhub"
	"github.com/regmint/regmint/providers/ecr"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/providers/generic"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/httpexchange"
)

// List returns every provider in the order they are asked, generic last.
func List() []providers.Provider {
	return []providers.Provider{
		ecr.New(),
		acr.New(),
		gar.New(),
		dockerhub.New(),
		github.New(),
		gitlab.New(),
		httpexchange.New(),
		generic.New(),
	}
}
