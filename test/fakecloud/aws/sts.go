// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The rules of sessions
// (docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html).
const (
	shortest       = 900
	longest        = 43200
	longestChained = 3600
	longestOfUser  = 129600 // of GetSessionToken
	stsVersion     = "2011-06-15"
)

// sts serves the query protocol.
func (a *AWS) sts(w http.ResponseWriter, r *http.Request, ep endpoint) {
	body, ok := readBody(w, r)
	form, err := url.ParseQuery(string(body))
	if !ok || err != nil || r.URL.Path != "/" {
		a.refuseXML(w, &refusal{status: 400, code: "MalformedQueryString", message: "The query string contains a syntax error"})
		return
	}
	if r.Method == http.MethodGet {
		form = r.URL.Query()
	} else if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/x-www-form-urlencoded" {
		a.refuseXML(w, &refusal{status: 404, code: "UnknownOperationException", message: "The requested operation is not known to the service."})
		return
	}
	action := form.Get("Action")
	if action == "" {
		a.refuseXML(w, &refusal{status: 400, code: "MissingAction", message: "Missing Action"})
		return
	}
	if form.Get("Version") != stsVersion {
		a.refuseXML(w, &refusal{status: 400, code: "InvalidAction", message: fmt.Sprintf("Could not find operation %s for version %s", action, form.Get("Version"))})
		return
	}
	result, no := a.stsAction(r, body, action, form, ep)
	if no != nil {
		a.refuseXML(w, no)
		return
	}
	id := a.head(w, kindXML)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName  xml.Name
		Result   any
		Metadata struct {
			RequestID string `xml:"RequestId"`
		} `xml:"ResponseMetadata"`
	}{
		XMLName: xml.Name{Space: "https://sts.amazonaws.com/doc/2011-06-15/", Local: action + "Response"}, Result: result,
		Metadata: struct {
			RequestID string `xml:"RequestId"`
		}{id},
	})
}

func (a *AWS) stsAction(r *http.Request, body []byte, action string, form url.Values, ep endpoint) (any, *refusal) {
	if f := a.failure("sts:" + action); f != nil {
		return nil, f.refusal()
	}
	if no := a.stsIsOn(ep); no != nil {
		return nil, no
	}
	if action == "AssumeRoleWithWebIdentity" {
		return a.assumeWeb(form, ep)
	}
	k, f := a.authenticate(r, body, "sts", ep)
	if f != nil {
		return nil, f.in(queryCodes)
	}
	switch action {
	case "GetCallerIdentity":
		return callerIdentity{XMLName: xml.Name{Local: action + "Result"}, Arn: k.caller, UserID: k.userID, Account: k.who.account}, nil
	case "AssumeRole":
		return a.assume(k, form, ep)
	case "GetSessionToken":
		return a.sessionToken(k, form, ep)
	}
	return nil, &refusal{status: 400, code: "InvalidAction", message: fmt.Sprintf("Could not find operation %s for version %s", action, stsVersion)}
}

func (a *AWS) stsIsOn(ep endpoint) *refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.disabled[ep.region] {
		return nil
	}
	return &refusal{status: 403, code: "RegionDisabledException", message: "STS is not activated in this region for account. Your account administrator can activate STS in this region using the IAM Console."}
}

type callerIdentity struct {
	XMLName xml.Name
	Arn     string
	UserID  string `xml:"UserId"`
	Account string
}

type assumedRole struct {
	XMLName         xml.Name
	AssumedRoleUser struct {
		AssumedRoleID string `xml:"AssumedRoleId"`
		Arn           string
	}
	Credentials struct {
		AccessKeyID string `xml:"AccessKeyId"`
		SecretAccessKey,
		SessionToken,
		Expiration string
	}
	PackedPolicySize int    `xml:",omitempty"`
	Provider         string `xml:",omitempty"`
	Audience         string `xml:",omitempty"`
	Subject          string `xml:"SubjectFromWebIdentityToken,omitempty"`
}

// wish is what a session is asked to be.
type wish struct {
	arn, name, external string
	seconds             int
	policy              string
	docs                []*document
}

// readWish checks what AWS checks before it looks who asks.
func (a *AWS) readWish(form url.Values) (wish, *refusal) {
	invalid := func(name, value, rule string) (wish, *refusal) {
		return wish{}, &refusal{
			status: 400, code: "ValidationError",
			message: fmt.Sprintf("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: %s", value, name, rule),
		}
	}
	w := wish{arn: form.Get("RoleArn"), name: form.Get("RoleSessionName"), external: form.Get("ExternalId"), policy: form.Get("Policy"), seconds: longestChained}
	switch {
	case len(w.arn) < 20:
		return invalid("roleArn", w.arn, "Member must have length greater than or equal to 20")
	case !strings.HasPrefix(w.arn, "arn:") || !strings.Contains(w.arn, ":role/"):
		return wish{}, &refusal{status: 400, code: "ValidationError", message: w.arn + " is invalid"}
	case len(w.name) < 2:
		return invalid("roleSessionName", w.name, "Member must have length greater than or equal to 2")
	case len(w.name) > 64:
		return invalid("roleSessionName", w.name, "Member must have length less than or equal to 64")
	case strings.Trim(w.name, sessionLetters) != "":
		return invalid("roleSessionName", w.name, `Member must satisfy regular expression pattern: [\w+=,.@-]*`)
	case form.Has("ExternalId") && (len(w.external) < 2 || len(w.external) > 1224):
		return invalid("externalId", w.external, "Member must have length greater than or equal to 2")
	}
	if form.Has("DurationSeconds") {
		n, err := strconv.Atoi(form.Get("DurationSeconds"))
		switch {
		case err != nil || n < shortest:
			return invalid("durationSeconds", form.Get("DurationSeconds"), "Member must have value greater than or equal to 900")
		case n > longest:
			return invalid("durationSeconds", form.Get("DurationSeconds"), "Member must have value less than or equal to 43200")
		}
		w.seconds = n
	}
	if len(w.policy) > maxPolicy {
		return invalid("policy", w.policy, "Member must have length less than or equal to 2048")
	}
	return w, a.readPolicies(&w, form)
}

const sessionLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-"

func (a *AWS) readPolicies(w *wish, form url.Values) *refusal {
	malformed := func(text string) *refusal {
		return &refusal{status: 400, code: "MalformedPolicyDocument", message: text}
	}
	total := len(w.policy)
	for i := 1; ; i++ {
		arn := form.Get("PolicyArns.member." + strconv.Itoa(i) + ".arn")
		if arn == "" {
			break
		}
		text, ok := managed(arn)
		if !ok || i > 10 {
			return malformed("Policy arn: " + arn + " does not exist or is not attachable.")
		}
		total += len(arn)
		w.docs = append(w.docs, mustDocument(text, kindIdentity))
	}
	if w.policy != "" {
		d, err := parseDocument(w.policy, kindSession)
		if err != nil {
			return malformed(err.Error())
		}
		w.docs = append(w.docs, d)
	}
	if total > a.o.PackedLimit {
		return &refusal{status: 400, code: "PackedPolicyTooLarge", message: fmt.Sprintf("Packed policy consumes %d%% of allotted space, please use smaller policy.", total*100/a.o.PackedLimit)}
	}
	return nil
}

// assume serves AssumeRole.
func (a *AWS) assume(k *accessKey, form url.Values, ep endpoint) (any, *refusal) {
	w, no := a.readWish(form)
	if no != nil {
		return nil, no
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	q := asked{"sts:AssumeRole", w.arn, map[string][]string{"aws:principalarn": {k.who.arn}, "sts:rolesessionname": {w.name}}}
	if w.external != "" {
		q.context["sts:externalid"] = []string{w.external}
	}
	role := a.roles[w.arn]
	if role != nil && role.partition != ep.partition {
		role = nil
	}
	o := owned{account: k.who.account, policy: &document{}, trust: true}
	if role != nil {
		o.account, o.policy = role.account, role.trust
	}
	if text := a.permit(k, q, o); text != "" {
		// STS does not say which policy is missing.
		text, _, _ = strings.Cut(text, " because ")
		return nil, (&fault{accessDenied, text}).in(queryCodes)
	}
	if no := role.mayLast(w.seconds, k.role != nil); no != nil {
		return nil, no
	}
	return a.give(role, w, Assumed{By: k.caller, Via: "AssumeRole", Host: ep.host}), nil
}

// mayLast checks how long a session is to be.
func (r *Role) mayLast(seconds int, chained bool) *refusal {
	text := ""
	switch {
	case chained && seconds > longestChained:
		text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
	case time.Duration(seconds)*time.Second > r.longest:
		text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
	default:
		return nil
	}
	return &refusal{status: 400, code: "ValidationError", message: text}
}

// give makes the session. The lock is held.
func (a *AWS) give(role *Role, w wish, by Assumed) assumedRole {
	life := time.Duration(w.seconds) * time.Second
	k := a.newSession(role, w.name, life, w.docs, w.policy)
	by.Time, by.Role, by.Session, by.External, by.Policy, by.Duration, by.Keys = k.made, role.arn, w.name, w.external, w.policy, life, k.Keys
	a.assumed = append(a.assumed, by)
	out := assumedRole{XMLName: xml.Name{Local: by.Via + "Result"}, PackedPolicySize: len(w.policy) * 100 / a.o.PackedLimit}
	out.AssumedRoleUser.AssumedRoleID, out.AssumedRoleUser.Arn = k.userID, k.caller
	out.Credentials.AccessKeyID, out.Credentials.SecretAccessKey = k.AccessKeyID, k.SecretAccessKey
	out.Credentials.SessionToken, out.Credentials.Expiration = k.SessionToken, iso(k.Expires)
	return out
}

type sessionCredentials struct {
	XMLName     xml.Name
	Credentials struct {
		AccessKeyID string `xml:"AccessKeyId"`
		SecretAccessKey,
		SessionToken,
		Expiration string
	}
}

// sessionToken serves GetSessionToken: a session of a user, who needs no
// permission for it; sessions make none.
func (a *AWS) sessionToken(k *accessKey, form url.Values, ep endpoint) (any, *refusal) {
	if k.SessionToken != "" {
		return nil, (&fault{accessDenied, "Cannot call GetSessionToken with session credentials"}).in(queryCodes)
	}
	seconds := longest
	if form.Has("DurationSeconds") {
		n, err := strconv.Atoi(form.Get("DurationSeconds"))
		if err != nil || n < shortest || n > longestOfUser {
			return nil, &refusal{
				status: 400, code: "ValidationError",
				message: fmt.Sprintf("1 validation error detected: Value '%s' at 'durationSeconds' failed to satisfy constraint: Member must have value between %d and %d", form.Get("DurationSeconds"), shortest, longestOfUser),
			}
		}
		seconds = n
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	life := time.Duration(seconds) * time.Second
	n := &accessKey{
		Keys: Keys{
			AccessKeyID: newID("ASIA"), SecretAccessKey: random(40), SessionToken: "IQoJb3JpZ2luX2Vj" + random(340), Expires: a.c.Now().Add(life).Truncate(time.Second),
		},
		caller: k.caller, userID: k.userID, who: k.who, made: a.c.Now(),
	}
	a.keys[n.AccessKeyID] = n
	a.assumed = append(a.assumed, Assumed{Time: n.made, By: k.caller, Via: "GetSessionToken", Host: ep.host, Duration: life, Keys: n.Keys})
	out := sessionCredentials{XMLName: xml.Name{Local: "GetSessionTokenResult"}}
	out.Credentials.AccessKeyID, out.Credentials.SecretAccessKey = n.AccessKeyID, n.SecretAccessKey
	out.Credentials.SessionToken, out.Credentials.Expiration = n.SessionToken, iso(n.Expires)
	return out, nil
}
