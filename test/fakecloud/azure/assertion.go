// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"crypto/sha1" // x5t is defined with it
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

// authenticate checks a client's secret or assertion. Callers hold mu.
func (a *Azure) authenticate(p *Principal, form url.Values, t *Tenant) *refusal {
	assertion, typ := form.Get("client_assertion"), form.Get("client_assertion_type")
	switch {
	case assertion != "" && typ == jwtBearer:
		return a.checkAssertion(p, assertion, t)
	case assertion != "":
		return &refusal{400, "invalid_request", 900144, "The request body must contain the following parameter: 'client_assertion_type'."}
	case form.Get("client_secret") != "":
		return a.checkSecret(p, form.Get("client_secret"))
	}
	return &refusal{401, "invalid_client", 7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."}
}

func (a *Azure) checkSecret(p *Principal, value string) *refusal {
	for _, s := range p.secrets {
		if subtle.ConstantTimeCompare([]byte(s.value), []byte(value)) != 1 {
			continue
		}
		if !a.Cloud.Now().Before(s.expires) {
			return &refusal{401, "invalid_client", 7000222, "The provided client secret keys for app '" + p.ClientID + "' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."}
		}
		return nil
	}
	return &refusal{401, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + p.ClientID + "'."}
}

// checkAssertion takes a JWT that the client signed with its certificate, or a
// token of an issuer that it is federated with.
func (a *Azure) checkAssertion(p *Principal, assertion string, t *Tenant) *refusal {
	claims := jwt.MapClaims{}
	tok, _, err := jwt.NewParser().ParseUnverified(assertion, claims)
	if err != nil {
		return &refusal{401, "invalid_client", 50027, "JWT token is invalid or malformed."}
	}
	issuer, _ := claims.GetIssuer()
	if strings.EqualFold(issuer, p.ClientID) {
		return a.checkSigned(p, assertion, tok, t)
	}
	return a.checkFederated(p, assertion, claims, issuer)
}

func (a *Azure) checkSigned(p *Principal, assertion string, tok *jwt.Token, t *Tenant) *refusal {
	cert := p.certificate(tok.Header)
	if cert == nil {
		return &refusal{401, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found.]"}
	}
	base := "https://" + t.Environment.Authority + "/"
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) { return cert.PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256", "PS256"}), jwt.WithTimeFunc(a.Cloud.Now), jwt.WithExpirationRequired())
	subject, _ := claims.GetSubject()
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return staleAssertion(a)
	case err != nil:
		return &refusal{401, "invalid_client", 700027, "Client assertion failed signature validation. [Reason - The signature could not be validated.]"}
	case !strings.EqualFold(subject, p.ClientID):
		return &refusal{401, "invalid_client", 700021, "Client assertion application identifier doesn't match 'client_id' parameter."}
	}
	audience, _ := claims.GetAudience()
	for _, aud := range audience {
		for _, name := range []string{t.ID, t.Domain} {
			if name != "" && (strings.EqualFold(aud, base+name+"/oauth2/v2.0/token") || strings.EqualFold(aud, base+name+"/v2.0")) {
				return nil
			}
		}
	}
	return &refusal{401, "invalid_client", 700023, "Client assertion audience claim does not match Realm issuer."}
}

func staleAssertion(a *Azure) *refusal {
	return &refusal{401, "invalid_client", 700024, "Client assertion is not within its valid time range. Current time: " + a.Cloud.Now().UTC().Format("2006-01-02T15:04:05.0000000Z") + "."}
}

// certificate finds the one that the header's x5t#S256 or x5t names: base64url
// by the standard, plain base64 by what clients send and Entra takes.
func (p *Principal) certificate(header map[string]any) *x509.Certificate {
	for _, c := range p.certs {
		long, short := sha256.Sum256(c.Raw), sha1.Sum(c.Raw)
		for name, sum := range map[string][]byte{"x5t#S256": long[:], "x5t": short[:]} {
			v, _ := header[name].(string)
			v = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(v), "=")
			if v != "" && v == base64.RawURLEncoding.EncodeToString(sum) {
				return c
			}
		}
	}
	return nil
}

func (a *Azure) checkFederated(p *Principal, assertion string, claims jwt.MapClaims, issuer string) *refusal {
	if len(p.federated) == 0 {
		return &refusal{401, "invalid_client", 70025, "The client '" + p.ClientID + "'(" + p.Name + ") has no configured federated identity credentials."}
	}
	subject, _ := claims.GetSubject()
	audience, _ := claims.GetAudience()
	issuerFound, subjectFound := false, false
	for _, f := range p.federated {
		if f.Issuer != issuer {
			continue
		}
		issuerFound = true
		if f.Subject != subject {
			continue
		}
		subjectFound = true
		// One audience, as Entra demands.
		if len(audience) != 1 || audience[0] != f.Audience {
			continue
		}
		switch _, err := a.Cloud.Identity(assertion, f.Audience); {
		case errors.Is(err, fakecloud.ErrExpired):
			return staleAssertion(a)
		case err != nil:
			return &refusal{401, "invalid_client", 5013, "Assertion failed signature validation. [Reason - The key was not found.]"}
		}
		return nil
	}
	switch {
	case !issuerFound:
		return &refusal{401, "invalid_client", 700211, "No matching federated identity record found for presented assertion issuer '" + issuer + "'. Please check your federated identity credential Subject, Audience and Issuer against the presented assertion."}
	case !subjectFound:
		return &refusal{401, "invalid_client", 700213, "No matching federated identity record found for presented assertion subject '" + subject + "'. Please check your federated identity credential Subject, Audience and Issuer against the presented assertion."}
	}
	return &refusal{401, "invalid_client", 700212, "No matching federated identity record found for presented assertion audience '" + strings.Join(audience, ",") + "'. Please check your federated identity credential Subject, Audience and Issuer against the presented assertion."}
}
