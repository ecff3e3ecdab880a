// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"slices"

	"github.com/regmint/regmint/providers"
)

// The variables GitHub Actions and Forgejo Actions give a job that has the
// permission "id-token: write".
const (
	GitHubURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	GitHubToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// The variables of the other CI systems.
const (
	// GitLabToken is a name of our choosing: GitLab has none of its own.
	GitLabToken = "GITLAB_OIDC_TOKEN"
	// BitbucketToken is there in a step with "oidc: true".
	BitbucketToken = "BITBUCKET_STEP_OIDC_TOKEN"
	// CircleCI gives every job both; they differ in their claim sub.
	CircleCIToken   = "CIRCLE_OIDC_TOKEN_V2"
	CircleCITokenV1 = "CIRCLE_OIDC_TOKEN"
	// BuildkiteToken and BuildkiteJob are there in every job.
	BuildkiteToken = "BUILDKITE_AGENT_ACCESS_TOKEN"
	BuildkiteJob   = "BUILDKITE_JOB_ID"
)

// kubernetesFile is the service account's token; its audience is the API
// server's.
const kubernetesFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// origin is what is known of one CI system or cluster.
type origin struct {
	refs                 []providers.SecretRef // what the token is made from
	otherName, otherFile bool                  // "kind:NAME", "kind:/PATH"
	// What to change there where a variable or file is missing, where the token
	// is over, and where it was made for somebody else. Short: an answer has one
	// line of 160 characters.
	missing, expired, audience string
}

var origins = map[string]origin{
	kindGitHub: {
		refs:    []providers.SecretRef{env(GitHubURL), env(GitHubToken)},
		missing: "add permissions: id-token: write to the job",
	},
	kindGitLab: {
		refs: []providers.SecretRef{env(GitLabToken)}, otherName: true, otherFile: true,
		missing:  "add id_tokens: to the job",
		expired:  "GitLab gives it once a job: it lives as long as the job's timeout",
		audience: "set aud: in the job's id_tokens:",
	},
	kindKubernetes: {
		refs: []providers.SecretRef{{Scheme: "file", Value: kubernetesFile}}, otherFile: true,
		missing:  "mount a service account token in the pod",
		expired:  "the kubelet renews a mounted token; a copy of it dies",
		audience: "project one with that audience, use kubernetes:/PATH",
	},
	kindBitbucket: {
		refs:     []providers.SecretRef{env(BitbucketToken)},
		missing:  "add oidc: true to the step",
		expired:  "Bitbucket gives it once a step: push in a step of its own",
		audience: "add it to oidc: audiences: of the step",
	},
	kindCircleCI: {
		refs: []providers.SecretRef{env(CircleCIToken)}, otherName: true,
		missing:  "only CircleCI's jobs have it; builds of forks where secrets are passed on",
		expired:  "make a new one in the step by circleci run oidc get, use env:NAME",
		audience: "make one in the step by circleci run oidc get, use env:NAME",
	},
	kindBuildkite: {
		refs:     []providers.SecretRef{env(BuildkiteToken), env(BuildkiteJob)},
		missing:  "run it inside a Buildkite job; pass it into containers",
		audience: "buildkite-agent did not ask for it: compare its version",
	},
}

func env(name string) providers.SecretRef { return providers.SecretRef{Scheme: "env", Value: name} }

// ambient is the order of Ambient: first those that a person switched on in the
// CI file, then those that every job has.
var ambient = []Ref{
	{Kind: kindGitHub, Refs: origins[kindGitHub].refs},
	{Kind: kindGitLab, Refs: origins[kindGitLab].refs},
	{Kind: kindBitbucket, Refs: origins[kindBitbucket].refs},
	{Kind: kindCircleCI, Refs: origins[kindCircleCI].refs},
	{Kind: kindCircleCI, Refs: []providers.SecretRef{env(CircleCITokenV1)}},
	{Kind: kindBuildkite, Refs: origins[kindBuildkite].refs},
}

// Ambient says which identity the caller's variables announce: the first of
// GitHub (and Forgejo), GitLab, Bitbucket, CircleCI, Buildkite all of whose
// variables are set. Kubernetes is none: its file is the agent's pod's, not the
// caller's, and is named by the variables of a cloud.
func Ambient(env map[string]string) (Ref, bool) {
	for _, r := range ambient {
		if !slices.ContainsFunc(r.EnvRefs(), func(n string) bool { return env[n] == "" }) {
			return Ref{Kind: r.Kind, Refs: slices.Clone(r.Refs)}, true
		}
	}
	return Ref{}, false
}

// EnvNames lists the variables that Ambient looks at: for a provider's Env().
// GitHub's request URL is among them since every job has its own; the only
// secret that goes there is the request token that came with it. Buildkite's
// endpoint is not: the program knows it.
func EnvNames() []string {
	var out []string
	for _, r := range ambient {
		out = append(out, r.EnvRefs()...)
	}
	return out
}
