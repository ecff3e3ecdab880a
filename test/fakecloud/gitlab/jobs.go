// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"crypto/rand"
	"fmt"
	"path"
	"strings"
)

// JobUser is the user name that goes with job tokens.
const JobUser = "gitlab-ci-token"

// Job is a CI job that runs.
type Job struct {
	ID      int
	Token   string // CI_JOB_TOKEN
	Project *Project
	User    *User // who started it

	g     *GitLab
	ended bool
}

// Job starts a job of u.
func (p *Project) Job(u *User) *Job {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	j := &Job{ID: p.g.id(), Token: "glcbt-64_" + rand.Text(), Project: p, User: u, g: p.g}
	p.g.jobs = append(p.g.jobs, j)
	return j
}

// End ends the job: its token works no longer.
func (j *Job) End() {
	j.g.mu.Lock()
	defer j.g.mu.Unlock()
	j.ended = true
}

// IDToken is what `id_tokens: NAME: aud: AUD` puts into the job's variable NAME.
// The instance's Issuer of the Cloud signs it.
func (j *Job) IDToken(aud string) string {
	return j.g.Cloud.Issuer("https://"+j.g.Host()).Sign("project_path:"+j.Project.Path+":ref_type:branch:ref:main", aud, map[string]any{
		"namespace_path": path.Dir(j.Project.Path), "project_path": j.Project.Path, "project_id": fmt.Sprint(j.Project.ID),
		"user_login": j.User.Username, "job_id": fmt.Sprint(j.ID), "ref": "main", "ref_type": "branch", "ref_protected": "true",
		"nbf": j.g.Cloud.Now().Unix() - 5,
	})
}

// Env are the variables that the job sees, as NAME=VALUE.
func (j *Job) Env() []string {
	j.g.mu.Lock()
	defer j.g.mu.Unlock()
	host, registry := j.g.options.Host, j.g.options.Registry
	root, _, _ := strings.Cut(j.Project.Path, "/")
	name, port, proxy := host, "443", host
	if i := strings.IndexByte(host, ':'); i > 0 {
		name, port = host[:i], host[i+1:]
	} else {
		proxy += ":443" // the product writes it
	}
	env := []string{
		"CI=true", "GITLAB_CI=true", "CI_SERVER=yes", "CI_SERVER_HOST=" + name, "CI_SERVER_PORT=" + port, "CI_SERVER_PROTOCOL=https",
		"CI_SERVER_URL=https://" + host, "CI_SERVER_FQDN=" + host, "CI_API_V4_URL=https://" + host + "/api/v4",
		fmt.Sprintf("CI_JOB_ID=%d", j.ID), "CI_JOB_TOKEN=" + j.Token,
		fmt.Sprintf("CI_PROJECT_ID=%d", j.Project.ID), "CI_PROJECT_PATH=" + j.Project.Path, "CI_PROJECT_ROOT_NAMESPACE=" + root,
		"GITLAB_USER_LOGIN=" + j.User.Username,
		"CI_DEPENDENCY_PROXY_SERVER=" + proxy, "CI_DEPENDENCY_PROXY_USER=" + JobUser, "CI_DEPENDENCY_PROXY_PASSWORD=" + j.Token,
		"CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX=" + proxy + "/" + strings.ToLower(root) + "/dependency_proxy/containers",
		"CI_DEPENDENCY_PROXY_DIRECT_GROUP_IMAGE_PREFIX=" + proxy + "/" + strings.ToLower(path.Dir(j.Project.Path)) + "/dependency_proxy/containers",
	}
	if !j.Project.noRegistry {
		env = append(env, "CI_REGISTRY="+registry, "CI_REGISTRY_IMAGE="+registry+"/"+strings.ToLower(j.Project.Path),
			"CI_REGISTRY_USER="+JobUser, "CI_REGISTRY_PASSWORD="+j.Token)
	}
	for _, d := range j.g.deploys {
		if d.Name == "gitlab-deploy-token" && d.active() && d.project == j.Project {
			env = append(env, "CI_DEPLOY_USER="+d.Username, "CI_DEPLOY_PASSWORD="+d.Secret)
		}
	}
	return env
}

// job finds the running job of a token. Callers hold mu.
func (g *GitLab) job(token string) *Job {
	for _, j := range g.jobs {
		if j.Token == token && !j.ended && !j.User.blocked {
			return j
		}
	}
	return nil
}
