// SPDX-License-Identifier: Apache-2.0

package google

import "net/http"

const awsTokenType = "urn:ietf:params:aws:token-type:aws4_request"

func (g *Google) oauth2Handler() http.Handler { return http.NewServeMux() }
func (g *Google) stsHandler() http.Handler    { return http.NewServeMux() }
func (g *Google) iamHandler() http.Handler    { return http.NewServeMux() }
