// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// maxPolicy is how many characters STS takes of a session policy.
const maxPolicy = 2048

// The actions that an access needs
// (docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html and the
// managed policy AmazonEC2ContainerRegistryPullOnly).
var (
	pullActions     = []string{"BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"}
	importActions   = []string{"BatchImportUpstreamImage", "CreateRepository"}
	pushActions     = []string{"CompleteLayerUpload", "InitiateLayerUpload", "PutImage", "UploadLayerPart"}
	deleteActions   = []string{"BatchDeleteImage"}
	lookActions     = []string{"DescribeImages", "DescribeRepositories", "ListImages"}
	publicPull      = []string{"BatchCheckLayerAvailability"}
	publicLook      = []string{"DescribeImages", "DescribeRepositories"}
	privateEveryone = []string{"ecr:GetAuthorizationToken"}
	publicEveryone  = []string{"ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"}
)

type statement struct {
	Effect   string
	Action   []string
	Resource any
}

// policy is the session policy for grants: what the session may do is this
// and what its role may do. native adds what looking around by the API needs.
func (c *call) policy(gs []providers.Grant, r role, native bool) (string, error) {
	gs = providers.MergeGrants(gs)
	text, err := c.render(gs, r, native)
	if err != nil || len(text) <= maxPolicy {
		return text, err
	}
	n := 0 // how many repositories fit
	for n < len(gs)-1 {
		if part, err := c.render(gs[:n+1], r, native); err != nil || len(part) > maxPolicy {
			break
		}
		n++
	}
	var drop []string
	for _, g := range gs[n:] {
		drop = append(drop, httpx.Printable(g.Repository, 60))
	}
	more := ""
	if len(drop) > 5 {
		drop, more = drop[:5], fmt.Sprintf(" and %d more", len(drop)-5)
	}
	return "", c.fail(providers.Misconfigured, "drop "+strings.Join(drop, ", ")+more,
		fmt.Errorf("a session policy for %d repositories has %d characters, AWS takes %d: %d fit", len(gs), len(text), maxPolicy, n))
}

func (c *call) render(gs []providers.Grant, r role, native bool) (string, error) {
	everyone := privateEveryone
	if c.place.public {
		everyone = publicEveryone
	}
	out := struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{{"Allow", everyone, "*"}}}
	// Repositories of one access share a statement.
	byAccess := map[providers.Access][]string{}
	for _, g := range gs {
		a := g.Access
		if a == 0 {
			a = providers.Push // delete is never given unasked
		}
		arn, err := c.arn(g.Repository, r)
		if err != nil {
			return "", err
		}
		byAccess[a] = append(byAccess[a], arn)
	}
	for a := range providers.Push | providers.Delete + 1 {
		if arns := byAccess[a]; len(arns) > 0 {
			out.Statement = append(out.Statement, statement{"Allow", c.actions(a, native), arns})
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return "", c.fail(providers.Misconfigured, "", errors.New("no session policy can be made"))
	}
	return string(b), nil
}

// actions are those of an access. ECR shortens none of them to a pattern that
// fits exactly.
func (c *call) actions(a providers.Access, native bool) []string {
	var out []string
	pull, look, service := pullActions, lookActions, "ecr:"
	if c.place.public {
		pull, look, service = publicPull, publicLook, "ecr-public:"
	}
	if a.Has(providers.Pull) || a.Has(providers.Delete) && native {
		out = append(out, pull...)
		if native {
			out = append(out, look...)
		}
		if c.options.PullThrough && !c.place.public {
			out = append(out, importActions...)
		}
	}
	if a.Has(providers.Push) {
		out = append(out, pushActions...)
	}
	if a.Has(providers.Delete) {
		out = append(out, deleteActions...)
	}
	slices.Sort(out)
	for i := range out {
		out[i] = service + out[i]
	}
	return out
}

// arn is the resource of a repository; "" is every one of the registry. In
// ECR Public the first part of a name is the registry's alias, which is no part
// of the ARN, and the registry is that of the role's account.
func (c *call) arn(repository string, r role) (string, error) {
	if strings.Trim(repository, "abcdefghijklmnopqrstuvwxyz0123456789._/-") != "" {
		return "", c.fail(providers.Misconfigured, "", fmt.Errorf("%s is no name of a repository of ECR", httpx.Printable(repository, 80)))
	}
	service, region, account := "ecr", c.place.region, c.place.account
	if c.place.public {
		service, region, account = "ecr-public", "", accountOf(r.arn)
		if _, rest, ok := strings.Cut(repository, "/"); ok {
			repository = rest
		}
	}
	name := c.place.prefix + repository
	if repository == "" {
		name += "*"
	}
	return "arn:" + c.place.partition + ":" + service + ":" + region + ":" + account + ":repository/" + name, nil
}
