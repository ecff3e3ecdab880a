// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// peer is a helper of the system with a store of its own that holds the
// registry's login.
type peer struct {
	env  []string
	stop func()
}

// command runs a program in the peer's world.
func (b *bench) peerCommand(p peer, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Env, cmd.Dir = append(b.env(), p.env...), b.dir
	return cmd
}

// keep stores the login that get will be asked for.
func (b *bench) keep(p peer, helper string) error {
	cmd := b.peerCommand(p, helper, "store")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"ServerURL":%q,"Username":"AWS","Secret":%q}`, ecrHost, strings.Repeat("A", 1736)))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s store: %w\n%s", helper, err, out)
	}
	return nil
}

// pass is docker-credential-pass with a key that has no passphrase.
func (b *bench) pass() (peer, error) {
	p := peer{env: []string{"GNUPGHOME=" + filepath.Join(b.dir, "gnupg"), "PASSWORD_STORE_DIR=" + filepath.Join(b.dir, "pass")}}
	p.stop = func() { _ = b.peerCommand(p, "gpgconf", "--kill", "all").Run() }
	if err := os.MkdirAll(filepath.Join(b.dir, "gnupg"), 0o700); err != nil {
		return p, err
	}
	for _, args := range [][]string{
		{"gpg", "--batch", "--passphrase", "", "--quick-generate-key", "bench@example.com", "default", "default", "never"},
		{"pass", "init", "bench@example.com"},
	} {
		if out, err := b.peerCommand(p, args[0], args[1:]...).CombinedOutput(); err != nil {
			return p, fmt.Errorf("%s: %w\n%s", args[0], err, out)
		}
	}
	return p, b.keep(p, "docker-credential-pass")
}

// secretservice is docker-credential-secretservice with an unlocked
// gnome-keyring on a session bus of its own.
func (b *bench) secretservice() (peer, error) {
	bus := exec.CommandContext(b.ctx, "dbus-daemon", "--session", "--print-address", "--nofork")
	bus.Env, bus.Dir = b.env(), b.dir
	out, err := bus.StdoutPipe()
	if err != nil {
		return peer{}, err
	}
	if err := bus.Start(); err != nil {
		return peer{}, err
	}
	p := peer{stop: func() { _ = bus.Process.Kill(); _ = bus.Wait() }}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return p, err
	}
	p.env = []string{"DBUS_SESSION_BUS_ADDRESS=" + strings.TrimSpace(address), "XDG_RUNTIME_DIR=" + b.dir}
	keyring := b.peerCommand(p, "gnome-keyring-daemon", "--unlock", "--components=secrets", "--foreground")
	keyring.Stdin = strings.NewReader("bench")
	if err := keyring.Start(); err != nil {
		return p, err
	}
	stopBus := p.stop
	p.stop = func() { _ = keyring.Process.Kill(); _ = keyring.Wait(); stopBus() }
	for range 50 { // until the service has its name on the bus
		if err = b.keep(p, "docker-credential-secretservice"); err == nil {
			return p, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-b.ctx.Done():
			return p, b.ctx.Err()
		}
	}
	return p, err
}

// systemHelpers compares with the stores that most people have today.
func (b *bench) systemHelpers() error {
	for _, h := range []struct {
		name, want string
		start      func() (peer, error)
	}{{"pass", "≥ 14 × faster", b.pass}, {"secretservice", "≥ 6 × faster", b.secretservice}} {
		what := "warm get against docker-credential-" + h.name
		if _, err := exec.LookPath("docker-credential-" + h.name); err != nil {
			b.add(what, h.want, "not installed here", "apt-get install golang-docker-credential-helpers")
			continue
		}
		p, err := h.start()
		if err == nil {
			err = b.against(p, h.name, what, h.want)
		}
		if p.stop != nil {
			p.stop()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) against(p peer, name, what, want string) error {
	cmd := b.peerCommand(p, "docker-credential-"+name, "get")
	cmd.Stdin = strings.NewReader(ecrHost)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "AWS") {
		return fmt.Errorf("%s does not answer: %w\n%s", name, err, out)
	}
	them := &rival{name: name, run: func() (time.Duration, error) {
		return timed(b.peerCommand(p, "docker-credential-"+name, "get"), ecrHost)
	}}
	us := b.helper("regmint")
	if err := b.interleave(b.runs(60), us, them); err != nil {
		return err
	}
	b.add(what, want, ratio(them.median(), us.median())+" faster", ms(them.median()))
	return nil
}
