// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// roles are the registry roles that contain an action, the weakest first.
var roles = []struct{ action, role string }{
	{"pull", "AcrPull"}, {"push", "AcrPush"}, {"delete", "AcrDelete"}, {"metadata_read", "AcrPull"},
}

// rolesFor names the roles that actions need.
func rolesFor(actions []string) string {
	var out []string
	for _, r := range roles {
		if slices.Contains(actions, r.action) && !slices.Contains(out, r.role) {
			out = append(out, r.role)
		}
	}
	return strings.Join(out, " and ")
}

// explain words a refusal of the exchange. The registry answers the same 401
// whether the identity has no role, is of another tenant, or the audience is
// switched off: the text names who asked, so that a person can tell.
func (g *granted) explain(err error) error {
	se, ok := errors.AsType[*httpx.StatusError](err)
	if !ok {
		return err
	}
	switch se.Status {
	case http.StatusUnauthorized:
		// What to think of comes first: a helper's line ends after 160 characters.
		text := "no role here, or the wrong tenant: " + g.by.person()
		return &providers.Error{Kind: providers.Denied, Host: g.host, Err: errors.New(text), Hint: "assign AcrPull or AcrPush, or set tenant_id"}
	case http.StatusForbidden:
		if se.Message != "" {
			return firewall(err)
		}
	}
	return err
}

// explainScope words a refusal of an access token.
func (g *granted) explainScope(err error, scopes []string) error {
	if !refused(err) {
		return g.explain(err)
	}
	name, actions := scopes[0], []string{"pull"}
	if parts := strings.SplitN(scopes[0], ":", 3); len(parts) == 3 {
		name, actions = parts[1], strings.Split(parts[2], ",")
	}
	return g.noRight(actions, name)
}

func (g *granted) noRight(missing []string, repository string) error {
	e := &providers.Error{
		Kind: providers.Denied, Host: g.host,
		Err: fmt.Errorf("no right to %s %s: %s", strings.Join(missing, ", "), httpx.Printable(repository, 100), g.by.person()),
	}
	if r := rolesFor(missing); r != "" {
		e.Hint = "assign it " + r
	}
	return e
}

// rejection is an error answer of Entra: {"error", "error_description",
// "error_codes"}.
type rejection struct {
	oauth string // RFC 6749 and 8628: "invalid_client", "authorization_pending"
	code  int    // AADSTS, 0 where there is none
	text  string // first sentence, fit for an error
}

func rejectionOf(body []byte, secrets ...providers.Secret) (rejection, bool) {
	v, err := httpx.ParseJSON(body)
	m, ok := v.(map[string]any)
	if err != nil || !ok {
		return rejection{}, false
	}
	oauth, _ := m["error"].(string)
	text, _ := m["error_description"].(string)
	if oauth == "" {
		return rejection{}, false
	}
	r := rejection{oauth: httpx.Clean(oauth, 60), code: codeOf(m, text)}
	for _, end := range []string{"\r", "\n", " Trace ID:", " Correlation ID:"} {
		text, _, _ = strings.Cut(text, end)
	}
	r.text = httpx.Clean(text, 200, secrets...)
	return r, true
}

// codeOf is the first of error_codes, else what the description begins with.
func codeOf(m map[string]any, text string) int {
	if list, ok := m["error_codes"].([]any); ok && len(list) > 0 {
		if n, ok := number(list[0]); ok {
			return int(n)
		}
	}
	return aadstsIn(text)
}

// aadstsIn finds the first AADSTS code in a text, 0 if there is none.
func aadstsIn(text string) int {
	_, rest, ok := strings.Cut(text, "AADSTS")
	if !ok {
		return 0
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, err := strconv.Atoi(rest[:min(end, 9)])
	if err != nil {
		return 0
	}
	return n
}

func number(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

// circumstances fill the words of a rejection.
type circumstances struct {
	host          providers.Host
	app, tenant   string
	resource      string
	ref           string           // where the secret or certificate is read
	assertion     providers.Secret // an identity token
	loginRequired string           // hint where a login mends it
}

func (c circumstances) fill(s string) string {
	claims, _ := httpx.JWTClaims(c.assertion.Reveal())
	claim := func(k string) string {
		v, _ := claims[k].(string)
		if v == "" {
			return "?"
		}
		return httpx.Printable(v, 120)
	}
	return strings.NewReplacer(
		"{app}", c.app, "{tenant}", c.tenant, "{resource}", c.resource, "{ref}", c.ref, "{login}", c.loginRequired, "{host}", c.host.String(),
		"{issuer}", claim("iss"), "{subject}", claim("sub"), "{audience}", claim("aud"),
	).Replace(s)
}

// words are what an AADSTS code means to a person.
type words struct {
	kind       providers.Kind
	text, hint string
}

var (
	noFederation = words{providers.Misconfigured, "no federated credential for subject {subject}, issuer {issuer}, audience {audience} in application {app}", "add one with exactly these"}
	loginOver    = words{providers.LoginRequired, "the Entra login has ended", "{login}"}
	moreProof    = words{providers.LoginRequired, "Entra asks for a fresh sign-in with a second factor", "{login}"}
	conditional  = words{providers.Denied, "a conditional access policy of tenant {tenant} forbids it", "ask who runs the tenant"}
	busy         = words{providers.Unavailable, "Entra is busy", ""}
)

// aadsts is read from Microsoft's list of error codes
// (learn.microsoft.com/entra/identity-platform/reference-error-codes).
var aadsts = map[int]words{
	7000215: {providers.LoginRequired, "the client secret of application {app} is wrong", "put the secret's value, not its id, into {ref}"},
	7000222: {providers.LoginRequired, "the client secret of application {app} has expired", "make a new one and put it into {ref}"},
	7000216: {providers.Misconfigured, "application {app} needs a secret or an assertion", ""},
	7000218: {providers.Misconfigured, "application {app} does not allow public client flows", "allow them, or leave client_id out"},
	7000112: {providers.Denied, "application {app} is disabled in tenant {tenant}", ""},
	700016:  {providers.Misconfigured, "there is no application {app} in tenant {tenant}", "check client_id and tenant_id"},
	7000229: {providers.Misconfigured, "application {app} has no service principal in tenant {tenant}", "run: az ad sp create --id {app}"},
	700027:  {providers.LoginRequired, "the certificate is none of application {app}, or has expired", "upload it, or renew {ref}"},
	700024:  {providers.LoginRequired, "the identity token is not valid at this time", "it has expired, or the clock of this machine is wrong"},
	700023:  {providers.Misconfigured, "the proof of application {app} is made for another tenant or cloud", "check tenant_id and cloud"},
	50027:   {providers.Misconfigured, "the identity token of {ref} is no valid JWT", ""},
	700005:  {providers.LoginRequired, "the login is that of another application", "{login}"},
	70021:   noFederation, 70025: noFederation, 700211: noFederation, 700212: noFederation, 700213: noFederation, 7002138: noFederation,
	90002:  {providers.Misconfigured, "there is no tenant {tenant} in this cloud", "check tenant_id and cloud"},
	900023: {providers.Misconfigured, "{tenant} is no tenant", "check tenant_id"},
	900382: {providers.Misconfigured, "application {app} is of another cloud", "check cloud"},
	500011: {providers.Misconfigured, "tenant {tenant} does not know the audience {resource}", "check audience and cloud"},
	65001:  {providers.Misconfigured, "application {app} has no consent for {resource}", "ask who runs the tenant for it"},
	50034:  {providers.LoginRequired, "the account is not known in tenant {tenant}", "{login}"},
	50020:  {providers.Denied, "the account is no guest of tenant {tenant}", "ask who runs the tenant for an invitation"},
	50057:  {providers.Denied, "the account is disabled", ""},
	50105:  {providers.Denied, "the account is not assigned to application {app}", ""},
	50173:  loginOver, 700082: loginOver, 700084: loginOver, 70008: loginOver, 70043: loginOver, 50078: loginOver, 50089: loginOver,
	50132: loginOver, 50133: loginOver, 54005: loginOver, 9002313: loginOver, 160021: loginOver,
	50076: moreProof, 50079: moreProof, 50158: moreProof,
	53000: conditional, 53001: conditional, 53002: conditional, 53003: conditional, 53004: conditional, 530003: conditional,
	50196: busy, 90033: busy, 90055: busy,
}

// rejected makes an *Error of an answer of Entra; err is what httpx made of it.
func rejected(err error, body []byte, c circumstances, secrets ...providers.Secret) error {
	e, ok := errors.AsType[*providers.Error](err)
	r, isEntra := rejectionOf(body, secrets...)
	if !ok || !isEntra || e.Kind == providers.Unavailable {
		return err
	}
	w, known := aadsts[r.code]
	if !known {
		out := *e
		if r.oauth == "invalid_grant" || r.oauth == "interaction_required" {
			out.Kind, out.Hint = providers.LoginRequired, c.loginRequired
		}
		if r.text != "" {
			out.Err = fmt.Errorf("refused by Entra: %s: %s", r.oauth, r.text)
		}
		return &out
	}
	return &providers.Error{
		Kind: w.kind, Host: c.host, RetryAfter: e.RetryAfter,
		Err: fmt.Errorf("%s (AADSTS%d)", c.fill(w.text), r.code), Hint: c.fill(w.hint),
	}
}
