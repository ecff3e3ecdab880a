// SPDX-License-Identifier: Apache-2.0

// Command bench measures the figures the design names, side by side with peers
// in one run: every pair is interleaved, and medians are printed. With -write
// the table goes to docs/benchmarks.md. It uses the loopback network and a
// temporary directory alone. The clouds behind it are those of test/fakecloud.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// row is one line of the table.
type row struct{ what, want, got, peer string }

type bench struct {
	ctx   context.Context
	dir   string // HOME of everything that is measured
	bin   string
	rows  []row
	quick bool
	api   *apiServer
}

func main() {
	if spec := os.Getenv(addLogin); spec != "" { // a process of sharedConfig
		if err := child(spec); err != nil {
			os.Exit(1)
		}
		return
	}
	if socket := os.Getenv(emptyServer); socket != "" { // a process of throughput
		_ = serveEmpty(socket)
		return
	}
	write := flag.Bool("write", false, "write docs/benchmarks.md; with -only the lines of that measurement alone")
	quick := flag.Bool("quick", false, "few runs: to see that it works")
	only := flag.String("only", "", "one of get, peers, burst, ecr, size, run, jobs, mints, throughput, memory, soak, shared")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	if err := run(ctx, *write, *quick, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, write, quick bool, only string) error {
	dir, err := os.MkdirTemp("/tmp", "rmbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{ctx: ctx, dir: dir, bin: filepath.Join(dir, "bin"), quick: quick}
	if err := b.build(); err != nil {
		return err
	}
	if b.api, err = newAPI(); err != nil {
		return err
	}
	defer b.api.close()
	if err := b.configure(); err != nil {
		return err
	}
	if out, err := b.command("regmint", "agent", "start").CombinedOutput(); err != nil {
		return fmt.Errorf("regmint agent start: %w\n%s", err, out)
	}
	defer func() { _ = b.command("regmint", "agent", "stop", "--force").Run() }()
	for _, m := range []struct {
		name string
		run  func() error
	}{
		{"get", b.warmGet},
		{"peers", b.systemHelpers},
		{"burst", b.coldBurst},
		{"ecr", b.ecr},
		{"size", b.sizes},
		{"run", b.runOverhead},
		{"jobs", b.jobs},
		{"mints", b.mints},
		{"throughput", b.throughput},
		{"memory", b.memory},
		{"soak", b.soak},
		{"shared", b.sharedConfig},
	} {
		if only != "" && only != m.name {
			continue
		}
		if err := m.run(); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	fmt.Println(b.table())
	if !write {
		return nil
	}
	if only != "" {
		if err := b.keepOthers(page); err != nil {
			return err
		}
	}
	return os.WriteFile(page, []byte(b.table()), 0o644)
}

// page is what -write writes.
const page = "docs/benchmarks.md"

// keepOthers takes over the lines of the page that this run did not measure,
// where they were; new ones come last.
func (b *bench) keepOthers(page string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	var rows []row
	_, body, _ := strings.Cut(string(text), "|---|---|---|---|\n")
	for line := range strings.Lines(body) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			continue
		}
		r := row{strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])}
		if i := slices.IndexFunc(b.rows, func(x row) bool { return x.what == r.what }); i >= 0 {
			r = b.rows[i]
			b.rows = slices.Delete(b.rows, i, i+1)
		}
		rows = append(rows, r)
	}
	b.rows = append(rows, b.rows...)
	return nil
}

// runs is how often something is measured.
func (b *bench) runs(n int) int {
	if b.quick {
		return max(3, n/20)
	}
	return n
}

func (b *bench) add(what, want, got, peer string) {
	b.rows = append(b.rows, row{what, want, got, peer})
	fmt.Fprintf(os.Stderr, "%s: %s (to reach: %s; %s)\n", what, got, want, peer)
}

// build makes the product as it is released, the floor, and the peer from its
// own module.
func (b *bench) build() error {
	cmd := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.bin+"/",
		"./cmd/regmint", "./cmd/docker-credential-regmint", "./test/bench/floor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	peer := exec.CommandContext(b.ctx, "go", "install", "-trimpath", "-ldflags", "-s -w",
		"github.com/awslabs/amazon-ecr-credential-helper/ecr-login/cli/docker-credential-ecr-login@v0.12.0")
	peer.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+b.bin, "GOFLAGS=")
	if out, err := peer.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "docker-credential-ecr-login was not built, its columns stay empty: %s\n", lastLine(out))
	}
	return nil
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

func (b *bench) has(name string) bool {
	_, err := os.Stat(filepath.Join(b.bin, name))
	return err == nil
}

// env is the environment of everything that is measured.
func (b *bench) env() []string {
	return []string{
		"HOME=" + b.dir, "PATH=" + b.bin + ":/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
		"REGMINT_RUNTIME_DIR=" + filepath.Join(b.dir, "run"),
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=example", "AWS_REGION=eu-west-1",
		"AWS_ENDPOINT_URL=" + b.api.url(), "AWS_ECR_CACHE_DIR=" + filepath.Join(b.dir, "ecr"), "AWS_EC2_METADATA_DISABLED=true",
	}
}

func (b *bench) command(name string, args ...string) *exec.Cmd {
	path := filepath.Join(b.bin, name)
	if !b.has(name) {
		path = name
	}
	cmd := exec.CommandContext(b.ctx, path, args...)
	cmd.Env, cmd.Dir = b.env(), b.dir
	return cmd
}

func (b *bench) configure() error {
	dir := filepath.Join(b.dir, ".config", "regmint")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	secret := filepath.Join(b.dir, "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		return err
	}
	var t bytes.Buffer
	fmt.Fprintf(&t, "[agent]\nstore = \"memory\"\n")
	account := func(name, hosts, user string, isDefault bool) {
		fmt.Fprintf(&t, "\n[[account]]\nname = %q\nprovider = \"http-exchange\"\nhosts = [%s]\ndefault = %t\nurl = \"%s/issue\"\n"+
			"secret = \"file:%s\"\njson = { user = %q, secret = \"{{.Secret}}\" }\nusername_path = \"username\"\npassword_path = \"password\"\nexpires_in_path = \"expires_in\"\n",
			name, hosts, isDefault, b.api.url(), secret, user)
	}
	account("ecr", `"`+ecrHost+`"`, "AWS", true)
	var hosts []string
	for i := range mintHosts {
		hosts = append(hosts, fmt.Sprintf("%q", mintHost(i)))
	}
	account("one", strings.Join(hosts, ", "), "one", true)
	account("two", strings.Join(hosts, ", "), "two", false)
	account("many", `"*.many.example"`, "many", true)
	return os.WriteFile(filepath.Join(dir, "config.toml"), t.Bytes(), 0o600)
}

// table is docs/benchmarks.md.
func (b *bench) table() string {
	var t strings.Builder
	fmt.Fprintf(&t, "# Benchmarks\n\nWritten by `make bench` (`go run ./test/bench -write`): one run on %s/%s with %d cores, Go %s, everything on loopback.\n"+
		"Pairs are interleaved; figures are medians of whole processes unless they say otherwise. Times drift with the machine, ratios less so.\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), strings.TrimPrefix(runtime.Version(), "go"))
	t.WriteString("| what | to reach | measured | beside |\n|---|---|---|---|\n")
	for _, r := range b.rows {
		fmt.Fprintf(&t, "| %s | %s | %s | %s |\n", r.what, r.want, r.got, r.peer)
	}
	return t.String()
}
