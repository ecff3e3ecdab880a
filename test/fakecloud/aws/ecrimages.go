// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// imageID names an image, by one or both.
type imageID struct {
	Digest string `json:"imageDigest,omitempty"`
	Tag    string `json:"imageTag,omitempty"`
}

// target are the members that calls about a repository share.
type target struct {
	RegistryID     string
	RepositoryName string
}

// repository finds the repository of a call and asks whether the action is
// permitted on it. The lock is held.
func (c *apiCall) repository(t target, action string) (*Repository, *refusal) {
	k := repoKey{c.ep.partition, cmp.Or(t.RegistryID, c.key.who.account), c.ep.region, t.RepositoryName}
	repo := c.a.repos[k]
	o := owned{account: k.account}
	if repo != nil {
		o.policy = repo.policy
	}
	if text := c.a.permit(c.key, asked{action: action, resource: k.arn()}, o); text != "" {
		return nil, (&fault{accessDenied, text}).in(jsonCodes)
	}
	if repo == nil {
		return nil, &refusal{
			status: 400, code: "RepositoryNotFoundException",
			message: fmt.Sprintf("The repository with name '%s' does not exist in the registry with id '%s'", k.name, k.account),
		}
	}
	return repo, nil
}

func (r *Repository) describe() map[string]any {
	ep := endpoint{partition: r.key.partition, region: r.key.region}
	return map[string]any{
		"repositoryArn": r.ARN(), "registryId": r.key.account, "repositoryName": r.key.name,
		"repositoryUri": ep.classic(r.key.account) + "/" + r.key.name, "createdAt": epoch(r.created), "imageTagMutability": "MUTABLE",
	}
}

func (c *apiCall) describeRepositories() (any, *refusal) {
	var in struct {
		RegistryID      string
		RepositoryNames []string
	}
	if no := c.read(&in); no != nil {
		return nil, no
	}
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	account := cmp.Or(in.RegistryID, c.key.who.account)
	out := []any{}
	if len(in.RepositoryNames) == 0 {
		all := repoKey{c.ep.partition, account, c.ep.region, "*"}
		if text := c.a.permit(c.key, asked{action: "ecr:DescribeRepositories", resource: all.arn()}, owned{account: account}); text != "" {
			return nil, (&fault{accessDenied, text}).in(jsonCodes)
		}
		for _, name := range c.a.names(all) {
			all.name = name
			out = append(out, c.a.repos[all].describe())
		}
		return map[string]any{"repositories": out}, nil
	}
	for _, name := range in.RepositoryNames {
		r, no := c.repository(target{in.RegistryID, name}, "ecr:DescribeRepositories")
		if no != nil {
			return nil, no
		}
		out = append(out, r.describe())
	}
	return map[string]any{"repositories": out}, nil
}

// names are the repositories of a registry, sorted. The lock is held.
func (a *AWS) names(k repoKey) []string {
	var out []string
	for other := range maps.Keys(a.repos) {
		if other.partition == k.partition && other.account == k.account && other.region == k.region {
			out = append(out, other.name)
		}
	}
	slices.Sort(out)
	return out
}

func (c *apiCall) createRepository() (any, *refusal) {
	var in target
	if no := c.read(&in); no != nil {
		return nil, no
	}
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	k := repoKey{c.ep.partition, cmp.Or(in.RegistryID, c.key.who.account), c.ep.region, in.RepositoryName}
	if text := c.a.permit(c.key, asked{action: "ecr:CreateRepository", resource: k.arn()}, owned{account: k.account}); text != "" {
		return nil, (&fault{accessDenied, text}).in(jsonCodes)
	}
	if len(k.name) < 2 || strings.Trim(k.name, "abcdefghijklmnopqrstuvwxyz0123456789._/-") != "" {
		return nil, &refusal{status: 400, code: "InvalidParameterException", message: fmt.Sprintf("Invalid parameter at 'repositoryName' failed to satisfy constraint: '%s'", "must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'")}
	}
	if c.a.repos[k] != nil {
		return nil, &refusal{status: 400, code: "RepositoryAlreadyExistsException", message: fmt.Sprintf("The repository with name '%s' already exists in the registry with id '%s'", k.name, k.account)}
	}
	return map[string]any{"repository": c.a.create(k).describe()}, nil
}

func (c *apiCall) deleteRepository() (any, *refusal) {
	var in struct {
		target
		Force bool
	}
	if no := c.read(&in); no != nil {
		return nil, no
	}
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	r, no := c.repository(in.target, "ecr:DeleteRepository")
	if no != nil {
		return nil, no
	}
	images := c.a.images(r)
	if len(images) > 0 && !in.Force {
		return nil, &refusal{status: 400, code: "RepositoryNotEmptyException", message: fmt.Sprintf("The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", r.key.name, r.key.account)}
	}
	for _, i := range images {
		c.a.remove(r, i)
	}
	delete(c.a.repos, r.key)
	return map[string]any{"repository": r.describe()}, nil
}

func (c *apiCall) listImages() (any, *refusal) {
	var in target
	if no := c.read(&in); no != nil {
		return nil, no
	}
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	r, no := c.repository(in, "ecr:ListImages")
	if no != nil {
		return nil, no
	}
	out := []imageID{}
	for _, i := range c.a.images(r) {
		for _, tag := range i.tags {
			out = append(out, imageID{i.digest, tag})
		}
		if len(i.tags) == 0 {
			out = append(out, imageID{Digest: i.digest})
		}
	}
	return map[string]any{"imageIds": out}, nil
}

func (c *apiCall) describeImages() (any, *refusal) {
	var in struct {
		target
		ImageIDs []imageID
	}
	if no := c.read(&in); no != nil {
		return nil, no
	}
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	r, no := c.repository(in.target, "ecr:DescribeImages")
	if no != nil {
		return nil, no
	}
	all := c.a.images(r)
	out := []any{}
	for _, i := range all {
		if len(in.ImageIDs) == 0 || slices.ContainsFunc(in.ImageIDs, i.is) {
			out = append(out, map[string]any{
				"registryId": r.key.account, "repositoryName": r.key.name, "imageDigest": i.digest, "imageTags": i.tags,
				"imageSizeInBytes": len(i.manifest), "imagePushedAt": epoch(r.created), "imageManifestMediaType": i.kind,
			})
		}
	}
	for _, id := range in.ImageIDs {
		if !slices.ContainsFunc(all, func(i image) bool { return i.is(id) }) {
			return nil, &refusal{status: 400, code: "ImageNotFoundException", message: fmt.Sprintf("The image with imageId {imageDigest:'%s', imageTag:'%s'} does not exist within the repository with name '%s' in the registry with id '%s'", id.Digest, id.Tag, r.key.name, r.key.account)}
		}
	}
	return map[string]any{"imageDetails": out}, nil
}

// batch are calls that fail image by image, with status 200.
func (c *apiCall) batch(action string, each func(*Repository, image, imageID) any) (done []any, failures []any, refused *refusal) {
	var in struct {
		target
		ImageIDs []imageID
	}
	if no := c.read(&in); no != nil {
		return nil, nil, no
	}
	if n := len(in.ImageIDs); n == 0 || n > 100 {
		return nil, nil, &refusal{status: 400, code: "InvalidParameterException", message: "Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member must have length between 1 and 100'"}
	}
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	r, no := c.repository(in.target, action)
	if no != nil {
		return nil, nil, no
	}
	done, failures = []any{}, []any{}
	for _, id := range in.ImageIDs {
		all := c.a.images(r)
		fail := func(code, reason string) {
			failures = append(failures, map[string]any{"imageId": id, "failureCode": code, "failureReason": reason})
		}
		switch at := slices.IndexFunc(all, func(i image) bool { return i.is(id) }); {
		case id.Digest == "" && id.Tag == "":
			fail("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
		case id.Digest != "" && !strings.HasPrefix(id.Digest, "sha256:"):
			fail("InvalidImageDigest", "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
		case at >= 0:
			done = append(done, each(r, all[at], id))
		case id.Digest != "" && id.Tag != "" && slices.ContainsFunc(all, func(i image) bool { return i.is(imageID{Tag: id.Tag}) }):
			fail("ImageTagDoesNotMatchDigest", "Image tag does not match the digest")
		default:
			fail("ImageNotFound", "Requested image not found")
		}
	}
	return done, failures, nil
}

func (c *apiCall) batchGetImage() (any, *refusal) {
	done, failures, no := c.batch("ecr:BatchGetImage", func(r *Repository, i image, id imageID) any {
		return map[string]any{
			"registryId": r.key.account, "repositoryName": r.key.name, "imageId": imageID{i.digest, id.Tag},
			"imageManifest": string(i.manifest), "imageManifestMediaType": i.kind,
		}
	})
	if no != nil {
		return nil, no
	}
	return map[string]any{"images": done, "failures": failures}, nil
}

// batchDeleteImage removes a tag, or by digest an image with all its tags.
func (c *apiCall) batchDeleteImage() (any, *refusal) {
	done, failures, no := c.batch("ecr:BatchDeleteImage", func(r *Repository, i image, id imageID) any {
		if id.Tag != "" && len(i.tags) > 1 {
			c.a.untag(r, id.Tag)
		} else {
			c.a.remove(r, i)
		}
		return imageID{i.digest, id.Tag}
	})
	if no != nil {
		return nil, no
	}
	return map[string]any{"imageIds": done, "failures": failures}, nil
}
