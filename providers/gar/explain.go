// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The roles that refusals are about.
const (
	roleCreator  = "roles/iam.serviceAccountTokenCreator"
	roleWorkload = "roles/iam.workloadIdentityUser"
	permission   = "iam.serviceAccounts.getAccessToken"
)

// explain drops the hint of a 401: no login here mends what another endpoint
// refuses. Who was refused says more.
func (w *wire) explain(e *providers.Error) error {
	if e == nil {
		return w.unusable(errors.New("no answer"))
	}
	out := *e
	if out.Kind == providers.LoginRequired {
		out.Hint = ""
	}
	return &out
}

// as words a refusal anew and keeps Google's own text.
func (w *wire) as(k providers.Kind, hint, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if a := w.said(); a.text != "" {
		text += ": " + a.text
	}
	return &providers.Error{Kind: k, Host: w.host, Hint: hint, Err: errors.New(text)}
}

// refusal reports an answer that speaks of what was sent.
func (w *wire) refusal() (said, bool) {
	a := w.said()
	return a, w.fail != nil && (a.status == http.StatusBadRequest || a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.status == http.StatusNotFound)
}

func (k *key) refused(w *wire, err error) error {
	a, ok := w.refusal()
	if !ok {
		return err
	}
	who := httpx.Printable(k.file.ClientEmail, 120)
	switch {
	case a.has("iat and exp", "reasonable timeframe", "short-lived token"):
		return w.as(providers.Misconfigured, "set the time of this machine", "the clock of this machine differs from Google's")
	case a.has("Invalid JWT Signature"):
		return w.as(providers.LoginRequired, "put a new key into "+k.name, "%s has no such key any more", who)
	case a.has("account not found", "account deleted", "Not a valid email"):
		return w.as(providers.Denied, "", "there is no service account %s any more", who)
	case a.has("disabled"):
		return w.as(providers.Denied, "enable the service account", "%s is disabled", who)
	case a.code == "invalid_scope":
		return w.as(providers.Misconfigured, "check scopes", "Google refuses the scopes")
	case a.code == "invalid_grant", a.code == "invalid_client", a.code == "unauthorized_client":
		return w.as(providers.LoginRequired, "put a valid key into "+k.name, "Google refuses the key of %s", who)
	}
	return err
}

func (p *person) refused(w *wire, err error) error {
	a, ok := w.refusal()
	if !ok {
		return err
	}
	switch {
	case a.subtype == "invalid_rapt", a.has("invalid_rapt", "reauth"):
		return w.as(providers.LoginRequired, loginCommand, "your organisation asks for a new login")
	case a.code == "invalid_grant", a.status == http.StatusUnauthorized && a.code != "invalid_client":
		return w.as(providers.LoginRequired, loginCommand, "the login in %s is expired or revoked", p.name)
	case a.code == "invalid_client", a.code == "unauthorized_client", a.code == "deleted_client":
		return w.as(providers.Misconfigured, loginCommand, "Google does not know the client in %s", p.name)
	}
	return err
}

func (f *federation) refused(w *wire, err error) error {
	a, ok := w.refusal()
	if !ok {
		return err
	}
	switch {
	case a.has("attribute condition"):
		return w.as(providers.Denied, "check attribute_condition of the provider, and which repository and branch the job runs for", "the condition of the workload identity provider refuses this job")
	case a.has("audience in ID Token", "expected audience"):
		return w.as(providers.Misconfigured, "set audience to one that the provider allows", "the identity token is made for another audience")
	case a.code == "invalid_target", a.has("The target service indicated"):
		return w.as(providers.Misconfigured, "check workload_identity_provider: the project's number, the pool and the provider", "there is no such workload identity provider, or it is disabled")
	case a.has("stale to sign-in", "expired", "is not yet valid", "issued in the future"):
		return w.as(providers.LoginRequired, "", "the identity token is expired, or the clocks differ")
	case a.has("connecting to the given credential's issuer", "Error connecting"):
		return w.as(providers.Unavailable, "", "Google cannot reach the issuer of the identity token")
	case a.has("issuer"):
		return w.as(providers.Misconfigured, "check issuer_uri of the provider", "the provider is for another issuer of identity tokens")
	case a.code == "invalid_scope":
		return w.as(providers.Misconfigured, "check scopes", "Google refuses the scopes")
	case a.code == "invalid_grant", a.code == "unauthorized_client", a.code == "access_denied":
		return w.as(providers.Denied, "", "Google refuses the identity token")
	}
	return err
}

func (i *impersonation) refused(w *wire, err error, from access) error {
	a, ok := w.refusal()
	if !ok {
		return err
	}
	role := roleCreator
	if _, federated := i.from.(*federation); federated {
		role = roleWorkload + " or " + roleCreator
	}
	switch {
	case a.has("has not been used in project", "it is disabled", "SERVICE_DISABLED"):
		return w.as(providers.Misconfigured, "run: gcloud services enable iamcredentials.googleapis.com", "the IAM Service Account Credentials API is off")
	case a.status == http.StatusForbidden:
		return w.as(providers.Denied, fmt.Sprintf("grant %s on %s", role, i.account), "%s denied to %s", permission, from.who)
	case a.status == http.StatusNotFound:
		return w.as(providers.Misconfigured, "", "there is no service account %s", i.account)
	case a.has("lifetime", "max duration"):
		return w.as(providers.Misconfigured, "take lifetime down to 1h, or allow more in the organisation policy", "%s gives no tokens of that life", i.account)
	case a.status == http.StatusUnauthorized:
		return w.as(providers.LoginRequired, "", "Google no longer accepts the token of %s", from.who)
	}
	return err
}

func (m *metadata) refused(w *wire, err error) error {
	a, ok := w.refusal()
	if !ok {
		return err
	}
	switch {
	case a.status == http.StatusNotFound && m.s.plan.identity == "" && m.s.account.Layer == providers.LayerAmbient:
		return m.s.fail(w.host, providers.NoAccount, "", errors.New("no Google credentials here: this machine has no service account"))
	case a.status == http.StatusNotFound:
		return w.as(providers.Misconfigured, "give the machine or pod a service account", "the metadata server knows no service account %s", m.account)
	case a.status == http.StatusForbidden:
		return w.as(providers.Denied, "grant "+roleWorkload+" to the Kubernetes service account", "the metadata server gives no token of %s", m.account)
	}
	return err
}
