// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"net/http"
	"strings"
	"time"
)

// repoKey names a repository; the region of ECR Public is "".
type repoKey struct{ partition, account, region, name string }

// Repository is a repository of ECR or ECR Public.
type Repository struct {
	a       *AWS
	key     repoKey
	policy  *document
	created time.Time
	digests []string // of manifests that were pushed
}

// Repository makes a repository, or finds one, by its full name:
// "111111111111.dkr.ecr.eu-west-1.amazonaws.com/acme/app" (any of a registry's
// host names is the same registry), or "public.ecr.aws/acme/app" with an alias
// that PublicAlias gave away. Registries know no other repositories.
func (a *AWS) Repository(name string) *Repository {
	host, path, _ := strings.Cut(name, "/")
	a.mu.Lock()
	defer a.mu.Unlock()
	ep, ok := a.registryOf(host)
	if !ok || path == "" {
		panic("fakecloud/aws: no repository: " + name)
	}
	k, ok := a.repoKey(ep, path)
	if !ok {
		panic("fakecloud/aws: no alias of ECR Public: " + name)
	}
	return a.create(k)
}

// create is called with the lock held.
func (a *AWS) create(k repoKey) *Repository {
	if r := a.repos[k]; r != nil {
		return r
	}
	r := &Repository{a: a, key: k, created: a.c.Now()}
	a.repos[k] = r
	return r
}

// ARN names the repository.
func (r *Repository) ARN() string { return r.key.arn() }

func (k repoKey) arn() string {
	service := "ecr"
	if k.region == "" {
		service = "ecr-public"
	}
	return "arn:" + k.partition + ":" + service + ":" + k.region + ":" + k.account + ":repository/" + k.name
}

// Policy adds a policy of the repository, which has principals and no
// resources: what other accounts need besides their own permissions.
func (r *Repository) Policy(text string) *Repository {
	doc := mustDocument(text, kindResource)
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	if r.policy == nil {
		r.policy = &document{}
	}
	r.policy.Statement = append(r.policy.Statement, doc.Statement...)
	return r
}

// ShareWith lets another account pull, and push where asked for.
func (r *Repository) ShareWith(account string, push bool) *Repository {
	actions := []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"}
	if push {
		actions = append(actions, "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage")
	}
	return r.Policy(render(map[string]any{
		"Effect": "Allow", "Action": actions, "Principal": map[string]any{"AWS": "arn:" + r.key.partition + ":iam::" + account + ":root"},
	}))
}

// PublicAlias gives an alias of ECR Public to an account: public.ecr.aws/ALIAS/….
func (a *AWS) PublicAlias(alias, account string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.aliases[alias] = account
}

// CustomDomain serves a registry under a name of its owner's.
func (a *AWS) CustomDomain(domain, registry string) {
	a.mu.Lock()
	a.domains[domain] = registry
	a.mu.Unlock()
	a.c.Handle(domain, http.HandlerFunc(a.serveRegistry))
}

// cacheRule is a pull-through cache rule.
type cacheRule struct {
	registry repoKey // without a name
	prefix   string
	upstream http.Handler
}

// PullThrough makes a registry get repositories below prefix from an upstream
// (a registry's handler) when they are first pulled: who pulls needs
// ecr:BatchImportUpstreamImage, and ecr:CreateRepository where the repository is
// new.
func (a *AWS) PullThrough(registry, prefix string, upstream http.Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ep, ok := a.registryOf(registry)
	if !ok || ep.public {
		panic("fakecloud/aws: no registry: " + registry)
	}
	a.caches = append(a.caches, &cacheRule{registry: repoKey{ep.partition, ep.account, ep.region, ""}, prefix: strings.Trim(prefix, "/") + "/", upstream: upstream})
}
