// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/aws"
	"github.com/regmint/regmint/test/fakecloud/azure"
	"github.com/regmint/regmint/test/fakecloud/google"
)

// vendor is a cloud whose registry every client meets under its real name, with
// an identity in the person's environment and no configuration at all.
type vendor struct {
	name  string
	start func(w *world, c *fakecloud.Cloud) *cloudRegistry
	whole bool // nothing makes the identity do less: it has no jobs for pulling
}

// cloudRegistry is a repository that the identity may push to, and one that it
// may not.
type cloudRegistry struct {
	host   string
	own    string // repository
	others string
	who    string // as the registry knows the identity, or how that begins
	done   func() []fakecloud.Done
	home   func(host string) bool // names that belong to the vendor
	// narrowing is the account with which jobs may do less, where the identity of
	// the environment cannot; narrowed is who pulls then, if that is another.
	narrowing, narrowed string
	logIn               func() // what a person does first
	less                func() // swaps the identity for one that may only pull, where none can be narrowed
}

var vendors = []vendor{
	{"Amazon ECR", startECR, false},
	{"Azure Container Registry", startACR, false},
	{"Google Artifact Registry", startArtifactRegistry, false},
}

func startECR(w *world, c *fakecloud.Cloud) *cloudRegistry {
	a := aws.New(c, aws.Options{})
	const account, host = "111111111111", "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
	a.Repository(host + "/team/app")
	a.Repository(host + "/team/other")
	ci := a.Role("arn:aws:iam::"+account+":role/ci", aws.TrustAccount(account)).Attach(
		aws.PowerUser, aws.DenyOn("arn:aws:ecr:eu-west-1:"+account+":repository/team/other", "ecr:*"))
	maps.Copy(w.env, ci.Session("job", time.Hour).Env())
	// Only a role that is assumed for it can be made to do less.
	jane := a.User("arn:aws:iam::" + account + ":user/jane").Attach(aws.Allow("sts:AssumeRole")).Keys()
	return &cloudRegistry{
		host: host, own: "team/app", others: "team/other", who: "arn:aws:sts::" + account + ":assumed-role/ci/", done: a.Done,
		narrowing: fmt.Sprintf("[[account]]\nprovider = \"ecr\"\nhosts = [%q]\nrole_arn = [%q]\naccess_key_id = %q\nsecret_access_key = %q\n",
			host, ci.ARN(), jane.AccessKeyID, "file:"+w.write("secret", jane.SecretAccessKey+"\n")),
		home: func(h string) bool {
			return strings.HasSuffix(h, ".amazonaws.com") && strings.Contains(h, ".eu-west-1.")
		},
	}
}

func startACR(w *world, c *fakecloud.Cloud) *cloudRegistry {
	az := azure.New(c, azure.Options{})
	tenant := az.Tenant(azure.Public, "contoso.onmicrosoft.com")
	ci := tenant.App("ci")
	w.env["AZURE_TENANT_ID"], w.env["AZURE_CLIENT_ID"], w.env["AZURE_CLIENT_SECRET"] = tenant.ID, ci.ClientID, ci.AddSecret(0)
	tenant.Registry("acmeimages").Assign(ci, azure.AcrPush, "team/app", "team/chart/demo")
	return &cloudRegistry{
		host: "acmeimages.azurecr.io", own: "team/app", others: "team/other", who: ci.Name, done: az.Images.Done,
		home: func(h string) bool {
			return h == "acmeimages.azurecr.io" || h == "acmeimages.eastus.data.azurecr.io" || h == azure.Public.Authority
		},
	}
}

func startArtifactRegistry(w *world, c *fakecloud.Cloud) *cloudRegistry {
	g := google.New(c, google.Options{})
	ci := g.ServiceAccount("ci@acme.iam.gserviceaccount.com")
	const host = "europe-west1-docker.pkg.dev"
	g.Repository(host + "/acme/images").Writers(ci.Member())
	w.env["GOOGLE_APPLICATION_CREDENTIALS"] = w.write("key.json", string(ci.Key()))
	return &cloudRegistry{
		host: host, own: "acme/images/team/app", others: "acme/others/app", who: ci.Member(),
		done: g.Done,
		home: func(h string) bool { return h == host || h == "oauth2.googleapis.com" },
	}
}

// cloudClient is a client that speaks TLS through a proxy.
type cloudClient struct {
	client     string
	push, pull func(w *world, ref string) []command
}

var cloudClients = []cloudClient{
	{
		"crane",
		func(w *world, ref string) []command { return []command{cmd("crane", "push", w.path("image.tar"), ref)} },
		func(w *world, ref string) []command {
			return []command{cmd("crane", "pull", ref, w.path("pulled.tar"))}
		},
	},
	{
		"docker",
		func(_ *world, ref string) []command {
			return []command{cmd("docker", "tag", localImage, ref), cmd("docker", "push", ref)}
		},
		func(_ *world, ref string) []command {
			return []command{cmd("docker", "image", "rm", "-f", ref), cmd("docker", "pull", ref)}
		},
	},
	{
		"skopeo",
		func(w *world, ref string) []command {
			return []command{cmd("skopeo", "copy", "docker-archive:"+w.path("image.tar"), "docker://"+ref)}
		},
		func(w *world, ref string) []command {
			return []command{cmd("skopeo", "copy", "docker://"+ref, "dir:"+w.path("skopeo-pulled"))}
		},
	},
	{
		"podman",
		func(w *world, ref string) []command {
			return []command{cmd("podman", "load", "-q", "-i", w.path("image.tar")), cmd("podman", "push", localImage, "docker://"+ref)}
		},
		func(_ *world, ref string) []command { return []command{cmd("podman", "pull", ref)} },
	},
	{
		"oras",
		func(w *world, ref string) []command {
			return []command{cmd("oras", "push", "--disable-path-validation", ref, w.path("image.tar"))}
		},
		func(w *world, ref string) []command {
			return []command{cmd("oras", "pull", "--allow-path-traversal", "-o", w.path("oras-pulled"), ref)}
		},
	},
}

// TestEveryCloudIsPushedToAndPulledFrom is the matrix: cloud × way × client.
func TestEveryCloudIsPushedToAndPulledFrom(t *testing.T) {
	for _, v := range vendors {
		for _, way := range jobWays {
			t.Run(v.name+", "+way, func(t *testing.T) {
				t.Parallel()
				v.meet(t, way)
			})
		}
	}
}

// forPulling is the way of a job that may not push.
const forPulling = "job for pulling"

var jobWays = []string{"installed", "job", forPulling}

// meet lets every client push to and pull from a new registry in one way.
func (v vendor) meet(t *testing.T, way string) {
	w := newWorld(t)
	c := fakecloud.Start(t)
	w.reach(t, c)
	r := v.start(w, c)
	m := cloudMeeting{t: t, w: w, s: w, r: r, readOnly: way == forPulling}
	if m.readOnly {
		w.configure(r.narrowing)
	} else {
		w.configure()
	}
	w.hubEngine(t)
	if r.logIn != nil && (!m.readOnly || r.narrowing == "") {
		r.logIn()
	}
	switch way {
	case "installed":
		must(t, w, cmd("regmint", "install", "--containers"))
	case "job":
		m.s = w.openJob(t, "-q", "--ca", w.path("ca.pem"), "-r", r.host)
	default:
		m.prepare()
		m.s = w.openJob(t, "-q", "--ca", w.path("ca.pem"), "-r", r.host+"/"+r.own+"=pull")
	}
	for _, k := range cloudClients {
		t.Run(k.client, func(t *testing.T) {
			clients[slices.IndexFunc(clients, func(c client) bool { return c.name == k.client })].ready(t, w)
			m := m
			m.t = t
			m.whole(k.client, k.push, k.pull)
		})
	}
	m.nothingElseReached(c)
	m.secretNotOnDisk()
}

// reach leads the world's programs to the fake cloud: real names, by a proxy.
func (w *world) reach(t *testing.T, c *fakecloud.Cloud) {
	t.Helper()
	system, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	w.env["SSL_CERT_FILE"] = w.write("ca.pem", string(system)+string(c.CAPEM()))
	w.env["HTTPS_PROXY"] = c.ProxyURL()
	w.env["NO_PROXY"] = "127.0.0.1,localhost"
}

// cloudMeeting is one cloud in one way.
type cloudMeeting struct {
	t        *testing.T
	w        *world
	s        shell
	r        *cloudRegistry
	readOnly bool
}

// prepare pushes what jobs that may only pull ask for.
func (m cloudMeeting) prepare() {
	m.t.Helper()
	need(m.t, "crane")
	imageFile(m.t, m.w.path("image.tar"), "base")
	must(m.t, m.w, cmd("regmint", "run", "-q", "--ca", m.w.path("ca.pem"), "--", "crane", "push", m.w.path("image.tar"), m.r.host+"/"+m.r.own+":given"))
	if m.r.less != nil {
		m.r.less()
	}
	if m.r.narrowed != "" {
		m.r.who = m.r.narrowed
	}
}

// whole is a push, a pull and a push to somebody else's repository.
func (m cloudMeeting) whole(client string, push, pull func(*world, string) []command) {
	m.t.Helper()
	ref := m.r.host + "/" + m.r.own + ":" + client
	if m.readOnly {
		if out := do(m.s, push(m.w, ref)); out.code == 0 {
			m.t.Errorf("%s: a job that may pull pushed", last(push(m.w, ref)))
		}
		if client == "oras" {
			return // what was given is an image, and oras pulls files
		}
		ref = m.r.host + "/" + m.r.own + ":given"
	} else {
		m.works(push(m.w, ref))
		m.was("push")
		out := do(m.s, push(m.w, m.r.host+"/"+m.r.others+":"+client))
		if out.code == 0 {
			m.t.Errorf("another's repository was pushed to:\n%s", out.out)
		}
	}
	m.works(pull(m.w, ref))
	m.was("pull")
}

// works runs commands that must not fail and ask regmint.
func (m cloudMeeting) works(list []command) {
	m.t.Helper()
	r := do(m.s, list)
	if r.code != 0 {
		m.t.Fatalf("%s: exit %d\n%s", last(list), r.code, r.out)
	}
	if len(m.w.keys(r.at)) == 0 {
		m.t.Errorf("%s: regmint was not asked", last(list))
	}
}

// was looks for what the identity did in the registry's own record.
func (m cloudMeeting) was(action string) {
	m.t.Helper()
	op := fakecloud.Op{Repository: m.r.own, Action: action}
	if got := m.r.done(); !slices.ContainsFunc(got, func(d fakecloud.Done) bool {
		return d.Host == m.r.host && strings.HasPrefix(d.Who, m.r.who) && d.Op == op
	}) {
		m.t.Errorf("no %s of %s by %s in %v", action, m.r.own, m.r.who, got)
	}
}

// nothingElseReached: no client and no part of regmint sent a packet elsewhere.
func (m cloudMeeting) nothingElseReached(c *fakecloud.Cloud) {
	m.t.Helper()
	if foreign := slices.DeleteFunc(c.Reached(), m.r.home); len(foreign) > 0 {
		m.t.Errorf("reached %q", foreign)
	}
}

// secretNotOnDisk: what was minted is in no file of HOME.
func (m cloudMeeting) secretNotOnDisk() {
	m.t.Helper()
	var a struct{ Username, Secret string }
	out := must(m.t, m.s, cmd("sh", "-c", "echo "+m.r.host+" | docker-credential-regmint get"))
	if err := json.Unmarshal([]byte(out), &a); err != nil || a.Secret == "" {
		m.t.Fatalf("%v: %s", err, out)
	}
	files := 0
	err := filepath.WalkDir(m.w.home, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, m.w.path("job")) { // what the test's shell saw
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(a.Secret)) {
			m.t.Errorf("%s holds the minted secret", path)
		}
		return err
	})
	if err != nil || files == 0 {
		m.t.Errorf("%d files of HOME were read: %v", files, err)
	}
}
