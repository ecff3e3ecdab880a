// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// The prefixes of X-Amz-Target.
const (
	targetECR    = "AmazonEC2ContainerRegistry_V20150921."
	targetPublic = "SpencerFrontendService."
)

// registryToken is an authorization token, or a bearer of ECR Public.
type registryToken struct {
	key     *accessKey // nil: anonymous, of ECR Public
	place   endpoint   // partition and region
	expires time.Time
	revoked bool
}

// api is a call of an API in JSON 1.1.
type apiCall struct {
	a    *AWS
	ep   endpoint
	key  *accessKey
	body []byte
}

// ecr serves the API of private registries.
func (a *AWS) ecr(w http.ResponseWriter, r *http.Request, ep endpoint) {
	a.json11(w, r, ep, "ecr", targetECR, map[string]func(*apiCall) (any, *refusal){
		"GetAuthorizationToken": (*apiCall).authorizationToken,
		"DescribeRepositories":  (*apiCall).describeRepositories,
		"CreateRepository":      (*apiCall).createRepository,
		"DeleteRepository":      (*apiCall).deleteRepository,
		"ListImages":            (*apiCall).listImages,
		"DescribeImages":        (*apiCall).describeImages,
		"BatchGetImage":         (*apiCall).batchGetImage,
		"BatchDeleteImage":      (*apiCall).batchDeleteImage,
	})
}

// ecrPublic serves the API of ECR Public.
func (a *AWS) ecrPublic(w http.ResponseWriter, r *http.Request, ep endpoint) {
	a.json11(w, r, ep, "ecr-public", targetPublic, map[string]func(*apiCall) (any, *refusal){
		"GetAuthorizationToken": (*apiCall).publicToken,
	})
}

func (a *AWS) json11(w http.ResponseWriter, r *http.Request, ep endpoint, service, target string, actions map[string]func(*apiCall) (any, *refusal)) {
	body, ok := readBody(w, r)
	action, isTarget := strings.CutPrefix(r.Header.Get("X-Amz-Target"), target)
	f := actions[action]
	if !ok || !isTarget || f == nil || r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != kindJSON11 {
		a.refuseJSON(w, &refusal{status: 400, code: "UnknownOperationException"})
		return
	}
	if f := a.failure(service + ":" + action); f != nil {
		a.refuseJSON(w, f.refusal())
		return
	}
	key, no := a.authenticate(r, body, service, ep)
	if no != nil {
		a.refuseJSON(w, no.in(jsonCodes))
		return
	}
	if !json.Valid(body) {
		a.refuseJSON(w, &refusal{status: 400, code: "SerializationException"})
		return
	}
	out, refused := f(&apiCall{a: a, ep: ep, key: key, body: body})
	if refused != nil {
		a.refuseJSON(w, refused)
		return
	}
	a.head(w, kindJSON11)
	fakecloud.WriteJSON(w, http.StatusOK, out)
}

// read takes the input apart; members nobody knows are passed over, as AWS does.
func (c *apiCall) read(v any) *refusal {
	if err := json.Unmarshal(c.body, v); err != nil {
		return &refusal{status: 400, code: "SerializationException"}
	}
	return nil
}

// may asks permit for a resource of everybody.
func (c *apiCall) may(action string) *refusal {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	if text := c.a.permit(c.key, asked{action: action, resource: "*"}, owned{}); text != "" {
		return (&fault{accessDenied, text}).in(jsonCodes)
	}
	return nil
}

func (c *apiCall) authorizationToken() (any, *refusal) {
	var in struct{ RegistryIDs []string }
	if no := c.read(&in); no != nil {
		return nil, no
	}
	if no := c.may("ecr:GetAuthorizationToken"); no != nil {
		return nil, no
	}
	for _, id := range in.RegistryIDs {
		if !isAccount(id) {
			return nil, &refusal{status: 400, code: "InvalidParameterException", message: "Invalid parameter at 'registryIds' failed to satisfy constraint: 'Member must satisfy regular expression pattern: [0-9]{12}'"}
		}
	}
	if len(in.RegistryIDs) == 0 {
		in.RegistryIDs = []string{c.key.who.account}
	}
	var data []any
	for _, id := range in.RegistryIDs {
		token, expires := c.a.mint(c.key, c.ep, "ecr")
		data = append(data, map[string]any{
			"authorizationToken": token, "expiresAt": epoch(expires), "proxyEndpoint": "https://" + c.ep.classic(id),
		})
	}
	return map[string]any{"authorizationData": data}, nil
}

func (c *apiCall) publicToken() (any, *refusal) {
	for _, action := range []string{"ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"} {
		if no := c.may(action); no != nil {
			return nil, no
		}
	}
	token, expires := c.a.mint(c.key, c.ep, "ecr-public")
	return map[string]any{"authorizationData": map[string]any{"authorizationToken": token, "expiresAt": epoch(expires)}}, nil
}

// mint makes an authorization token: base64 of "AWS:" and a password, which is
// base64 of an envelope itself.
func (a *AWS) mint(k *accessKey, ep endpoint, service string) (token string, expires time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.c.Now()
	expires = now.Add(a.o.TokenLife)
	envelope, err := json.Marshal(map[string]any{
		"payload": random(max(a.o.TokenSize*3/4-400, 40)), "datakey": rand.Text() + random(216), "version": "2", "type": "DATA_KEY", "expiration": expires.Unix(),
	})
	if err != nil {
		panic(err)
	}
	password := base64.StdEncoding.EncodeToString(envelope)
	place := endpoint{partition: ep.partition, region: ep.region, public: ep.public}
	a.tokens[password] = &registryToken{key: k, place: place, expires: expires}
	a.mints = append(a.mints, Mint{
		Time: now, Service: service, Region: ep.region, Host: ep.host, Principal: k.who.arn, Session: k.caller, Policy: k.policy,
		Password: password, Expires: expires,
	})
	return base64.StdEncoding.EncodeToString([]byte("AWS:" + password)), expires
}

// RevokeTokens makes the registries refuse every authorization token of a
// principal (the ARN of a user or role). ECR has no such thing; tests need one.
func (a *AWS) RevokeTokens(principal string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tokens {
		if t.key.who.arn == principal {
			t.revoked = true
		}
	}
}
