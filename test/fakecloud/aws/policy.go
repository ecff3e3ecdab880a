// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
)

// maxPolicy is how many characters STS takes of a session policy
// (docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html).
const maxPolicy = 2048

// Policies by the names of AWS's managed ones: AmazonEC2ContainerRegistryPullOnly,
// AmazonEC2ContainerRegistryPowerUser, and what ECR Public's users need.
var (
	PullOnly = Allow("ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage", "ecr:BatchImportUpstreamImage")

	PowerUser = Allow("ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:GetRepositoryPolicy",
		"ecr:DescribeRepositories", "ecr:ListImages", "ecr:DescribeImages", "ecr:BatchGetImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart",
		"ecr:CompleteLayerUpload", "ecr:PutImage")

	PublicUser = Allow("ecr-public:*", "sts:GetServiceBearerToken")
)

// Allow is a policy document that allows actions on every resource.
func Allow(actions ...string) string { return AllowOn("*", actions...) }

// AllowOn is a policy document that allows actions on a resource.
func AllowOn(resource string, actions ...string) string {
	return render(map[string]any{"Effect": "Allow", "Action": actions, "Resource": resource})
}

// DenyOn is a policy document that denies actions on a resource.
func DenyOn(resource string, actions ...string) string {
	return render(map[string]any{"Effect": "Deny", "Action": actions, "Resource": resource})
}

// TrustAccount is the trust of a role in every identity of an account that may
// sts:AssumeRole itself.
func TrustAccount(account string) string { return TrustPrincipal("arn:aws:iam::" + account + ":root") }

// TrustPrincipal is the trust of a role in one user or role, by ARN.
func TrustPrincipal(arn string) string {
	return render(map[string]any{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"AWS": arn}})
}

// TrustExternal is TrustPrincipal for callers that name an external id.
func TrustExternal(arn, externalID string) string {
	return render(map[string]any{
		"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"AWS": arn},
		"Condition": map[string]any{"StringEquals": map[string]string{"sts:ExternalId": externalID}},
	})
}

// TrustWeb is the trust of a role in identity tokens of an issuer, for an
// audience and a pattern of subjects.
func TrustWeb(account, issuer, audience, subject string) string {
	name := strings.TrimPrefix(issuer, "https://")
	return render(map[string]any{
		"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
		"Principal": map[string]any{"Federated": "arn:aws:iam::" + account + ":oidc-provider/" + name},
		"Condition": map[string]any{
			"StringEquals": map[string]string{name + ":aud": audience}, "StringLike": map[string]string{name + ":sub": subject},
		},
	})
}

// TrustService is the trust of a role in a service of AWS: machines and
// containers, "ec2.amazonaws.com".
func TrustService(name string) string {
	return render(map[string]any{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"Service": name}})
}

func render(statement map[string]any) string {
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{statement}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// document is a policy.
type document struct {
	Version   string            `json:"Version"`
	ID        string            `json:"Id"`
	Statement listOf[statement] `json:"Statement"`
}

type statement struct {
	Sid         string
	Effect      string
	Principal   *principals
	Action      listOf[string]
	NotAction   listOf[string]
	Resource    listOf[string]
	NotResource listOf[string]
	Condition   map[string]map[string]listOf[string]
}

// listOf reads one value as a list of one.
type listOf[T any] []T

func (l *listOf[T]) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("[")) {
		return strict(b, (*[]T)(l))
	}
	var one T
	if err := strict(b, &one); err != nil {
		return err
	}
	*l = listOf[T]{one}
	return nil
}

// principals are "*", or lists by kind.
type principals struct {
	everyone bool
	by       map[string]listOf[string]
}

func (p *principals) UnmarshalJSON(b []byte) error {
	if string(bytes.TrimSpace(b)) == `"*"` {
		p.everyone = true
		return nil
	}
	return strict(b, &p.by)
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

type docKind int

const (
	kindIdentity docKind = iota
	kindSession
	kindTrust
	kindResource
)

// malformed is what MalformedPolicyDocument says.
type malformed string

func (m malformed) Error() string { return string(m) }

// parseDocument reads a policy; its errors are malformed.
func parseDocument(text string, kind docKind) (*document, error) {
	if !json.Valid([]byte(text)) {
		return nil, malformed("The policy is not in the valid JSON format.")
	}
	d := &document{}
	if err := strict([]byte(text), d); err != nil {
		return nil, malformed("Syntax errors in policy.")
	}
	if d.Version != "" && d.Version != "2012-10-17" && d.Version != "2008-10-17" || len(d.Statement) == 0 {
		return nil, malformed("Syntax errors in policy.")
	}
	for _, s := range d.Statement {
		if text := s.fault(kind); text != "" {
			return nil, malformed(text)
		}
	}
	return d, nil
}

func mustDocument(text string, kind docKind) *document {
	d, err := parseDocument(text, kind)
	if err != nil {
		panic("fakecloud/aws: " + err.Error() + " " + text)
	}
	return d
}

// fault is what AWS would say of a statement, "" for nothing.
func (s statement) fault(kind docKind) string {
	carries := kind == kindTrust || kind == kindResource
	switch {
	case s.Effect != "Allow" && s.Effect != "Deny":
		return "Syntax errors in policy."
	case !carries && s.Principal != nil:
		return "Policy document should not specify a principal."
	case carries && s.Principal == nil:
		return "Missing required field Principal"
	case len(s.Action) == 0 && len(s.NotAction) == 0:
		return "Policy statement must contain actions."
	case !carries && len(s.Resource) == 0 && len(s.NotResource) == 0:
		return "Policy statement must contain resources."
	case kind == kindTrust && len(s.Resource)+len(s.NotResource) > 0:
		return "Has prohibited field Resource"
	}
	for _, a := range slices.Concat(s.Action, s.NotAction) {
		if service, name, ok := strings.Cut(a, ":"); a != "*" && (!ok || service == "" || name == "") {
			return "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
		}
	}
	for _, r := range slices.Concat(s.Resource, s.NotResource) {
		f := strings.SplitN(r, ":", 6)
		switch {
		case r == "*":
		case len(f) != 6 || f[0] != "arn":
			return `Resource ` + r + ` must be in ARN format or "*".`
		case f[1] != "*" && !slices.Contains(partitionNames, f[1]):
			return `Partition "` + f[1] + `" is not valid for resource "` + r + `".`
		}
	}
	for op := range s.Condition {
		if !knownOperator(op) {
			return "Invalid Condition type : " + op + "."
		}
	}
	return ""
}

// asked is a question to policies.
type asked struct {
	action, resource string
	context          map[string][]string // keys in lower case
}

func (s statement) applies(q asked) bool {
	action := strings.ToLower(q.action)
	is := func(list []string) bool {
		return slices.ContainsFunc(list, func(p string) bool { return wild(strings.ToLower(p), action) })
	}
	on := func(list []string) bool {
		return slices.ContainsFunc(list, func(p string) bool { return wild(p, q.resource) })
	}
	switch {
	case len(s.Action) > 0 && !is(s.Action), len(s.NotAction) > 0 && is(s.NotAction):
		return false
	case len(s.Resource) > 0 && !on(s.Resource), len(s.NotResource) > 0 && on(s.NotResource):
		return false
	}
	return s.holds(q.context)
}

// verdict of policies: Deny beats Allow.
func verdict(docs []*document, q asked) (allow, deny bool) {
	for _, d := range docs {
		for _, s := range d.Statement {
			if s.applies(q) {
				allow, deny = allow || s.Effect == "Allow", deny || s.Effect == "Deny"
			}
		}
	}
	return allow && !deny, deny
}

// wild matches * and ? over the whole text.
func wild(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark, p = p, t, p+1
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p, t = p+1, t+1
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
