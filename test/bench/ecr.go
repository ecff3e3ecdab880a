// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/aws"
)

// The registries of the fake AWS, and the API that both helpers ask.
const (
	ecrAPI       = "api.ecr.eu-west-1.amazonaws.com"
	ecrAccount   = "111111111111"
	steadyHost   = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
	rotatingHost = "222222222222.dkr.ecr.eu-west-1.amazonaws.com"
)

func manyHost(i int) string {
	return fmt.Sprintf("3%011d.dkr.ecr.eu-west-1.amazonaws.com", i)
}

// awsWorld is a person whose network ends at a fake AWS that verifies
// signatures, with regmint and ecr-login set up for the same identity: a
// credential_process.
type awsWorld struct {
	b     *bench
	cloud *fakecloud.Cloud
	aws   *aws.AWS
	home  string
	ca    string
}

// keySets is how many sets of keys the rotating program prints in turn.
const keySets = 25

func (b *bench) newAWS() (*awsWorld, error) {
	cloud, err := fakecloud.New()
	if err != nil {
		return nil, err
	}
	w := &awsWorld{b: b, cloud: cloud, aws: aws.New(cloud, aws.Options{}), home: filepath.Join(b.dir, "aws")}
	w.ca = filepath.Join(w.home, "ca.pem")
	role := w.aws.Role("arn:aws:iam::"+ecrAccount+":role/ci", aws.TrustAccount(ecrAccount)).Attach(aws.PowerUser)
	files := map[string]string{
		"ca.pem": string(cloud.CAPEM()), "rotating.next": "0\n",
		"steady":   "#!/bin/sh\nexec cat \"$0.keys\"\n",
		"rotating": "#!/bin/sh\nread -r n <\"$0.next\"\necho $(((n + 1) % " + fmt.Sprint(keySets) + ")) >\"$0.next\"\nexec cat \"$0.keys.$n\"\n",
	}
	files["steady.keys"] = role.Session("steady", time.Hour).Process()
	for i := range keySets {
		files[fmt.Sprintf("rotating.keys.%d", i)] = role.Session(fmt.Sprintf("job-%d", i), time.Hour).Process()
	}
	config := fmt.Sprintf("[agent]\nstore = \"memory\"\n\n[network]\nhttps_proxy = %q\nca_file = %q\n", cloud.ProxyURL(), w.ca)
	for _, p := range []struct{ program, hosts string }{{"steady", "*.dkr.ecr.*.amazonaws.com"}, {"rotating", rotatingHost}} {
		program := filepath.Join(w.home, p.program)
		files["aws-"+p.program] = fmt.Sprintf("[default]\nregion = eu-west-1\ncredential_process = %s\n", program)
		config += fmt.Sprintf("\n[[account]]\nname = %q\nprovider = \"ecr\"\nhosts = [%q]\ncredential_process = [%q]\n", p.program, p.hosts, program)
	}
	files[".config/regmint/config.toml"] = config
	for name, text := range files {
		path := filepath.Join(w.home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// command runs a program in this world; the identity of ecr-login is the one
// of a program.
func (w *awsWorld) command(program, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.b.ctx, filepath.Join(w.b.bin, name), args...)
	cmd.Dir = w.home
	cmd.Env = []string{
		"HOME=" + w.home, "PATH=" + w.b.bin + ":/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
		"REGMINT_RUNTIME_DIR=" + filepath.Join(w.home, "run"), "SSL_CERT_FILE=" + w.ca, "HTTPS_PROXY=" + w.cloud.ProxyURL(),
		"AWS_CONFIG_FILE=" + filepath.Join(w.home, "aws-"+program), "AWS_ECR_CACHE_DIR=" + w.cache(), "AWS_EC2_METADATA_DISABLED=true",
	}
	return cmd
}

func (w *awsWorld) cache() string { return filepath.Join(w.home, "ecr") }

// wave asks for all hosts at once and counts the tokens that AWS gave.
func (w *awsWorld) wave(helper, program string, hosts []string) (took time.Duration, calls int, err error) {
	before := len(w.aws.Mints())
	errs := make([]error, len(hosts))
	var wg sync.WaitGroup
	start := time.Now()
	for i, h := range hosts {
		wg.Go(func() { _, errs[i] = timed(w.command(program, helper, "get"), h) })
	}
	wg.Wait()
	return time.Since(start), len(w.aws.Mints()) - before, errors.Join(errs...)
}

// inTurn asks n times one after the other.
func (w *awsWorld) inTurn(helper, program, host string, n int) (calls int, err error) {
	before := len(w.aws.Mints())
	for range n {
		if _, err := timed(w.command(program, helper, "get"), host); err != nil {
			return 0, err
		}
	}
	return len(w.aws.Mints()) - before, nil
}

const (
	ours   = "docker-credential-regmint"
	theirs = "docker-credential-ecr-login"
)

// helpers are ours and, where it was built, the peer.
func (w *awsWorld) helpers() []string {
	if w.b.has(theirs) {
		return []string{ours, theirs}
	}
	return []string{ours}
}

// ecr compares what reaches AWS: both helpers against the same fake, which
// verifies every signature.
func (b *bench) ecr() error {
	w, err := b.newAWS()
	if err != nil {
		return err
	}
	defer w.cloud.Close()
	if out, err := w.command("steady", "regmint", "agent", "start").CombinedOutput(); err != nil {
		return fmt.Errorf("regmint agent start: %w\n%s", err, out)
	}
	defer func() { _ = w.command("steady", "regmint", "agent", "stop", "--force").Run() }()
	for _, f := range []func() error{w.herd, w.rotatingKeys, w.manyRegistries} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// herd is 200 cold gets of one registry.
func (w *awsWorld) herd() error {
	n := w.b.runs(200)
	w.cloud.Inject(fakecloud.Fault{Host: ecrAPI, Delay: 300 * time.Millisecond})
	defer w.cloud.ClearFaults()
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = steadyHost
	}
	text := map[string]string{theirs: "-"}
	for _, h := range w.helpers() {
		took, calls, err := w.wave(h, "steady", hosts)
		if err != nil {
			return fmt.Errorf("%s: %w", h, err)
		}
		text[h] = fmt.Sprintf("%d upstream call(s), %.2f s", calls, took.Seconds())
	}
	w.b.add(fmt.Sprintf("%d cold gets of one ECR registry at once, signed, ECR answering in 300 ms", n), "1 upstream call", text[ours], "ecr-login "+text[theirs])
	return nil
}

// rotatingKeys is a credential_process with other keys each time.
func (w *awsWorld) rotatingKeys() error {
	const n = 10
	text := map[string]string{theirs: "-"}
	for _, h := range w.helpers() {
		calls, err := w.inTurn(h, "rotating", rotatingHost, n)
		if err != nil {
			return fmt.Errorf("%s: %w", h, err)
		}
		text[h] = fmt.Sprintf("%d upstream call(s)", calls)
	}
	w.b.add(fmt.Sprintf("%d gets in turn, a credential_process that gives other keys each time", n), "1 upstream call", text[ours], "ecr-login "+text[theirs])
	return nil
}

// manyRegistries is 50 registries at once, twice.
func (w *awsWorld) manyRegistries() error {
	const n = 50
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = manyHost(i)
	}
	if err := os.RemoveAll(w.cache()); err != nil {
		return err
	}
	entries := map[string]func() (int, error){ours: w.ourEntries, theirs: w.theirEntries}
	text := map[string]string{theirs: "-"}
	for _, h := range w.helpers() {
		if _, _, err := w.wave(h, "steady", hosts); err != nil {
			return fmt.Errorf("%s: %w", h, err)
		}
		kept, err := entries[h]()
		if err != nil {
			return fmt.Errorf("%s: %w", h, err)
		}
		_, again, err := w.wave(h, "steady", hosts)
		if err != nil {
			return fmt.Errorf("%s: %w", h, err)
		}
		text[h] = fmt.Sprintf("%d entries, %d call(s) in the second wave", kept, again)
	}
	w.b.add(fmt.Sprintf("%d ECR registries at once, then once more", n), fmt.Sprintf("%d entries, second wave 0 calls", n), text[ours], "ecr-login "+text[theirs])
	return nil
}

// ourEntries counts the credentials of manyRegistries that the agent holds.
func (w *awsWorld) ourEntries() (int, error) {
	out, err := w.command("steady", "regmint", "status", "--format", "json").Output()
	if err != nil {
		return 0, err
	}
	var s struct{ Tokens []struct{ Host string } }
	if err := json.Unmarshal(out, &s); err != nil {
		return 0, err
	}
	n := 0
	for _, t := range s.Tokens {
		if t.Host[0] == '3' {
			n++
		}
	}
	return n, nil
}

// theirEntries counts those in ecr-login's file.
func (w *awsWorld) theirEntries() (int, error) {
	b, err := os.ReadFile(filepath.Join(w.cache(), "cache.json"))
	if err != nil {
		return 0, err
	}
	var s struct{ Registries map[string]any }
	if err := json.Unmarshal(b, &s); err != nil {
		return 0, err
	}
	return len(s.Registries), nil
}
